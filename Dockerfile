# The study in a container: docker build -t cmdml . && docker run --rm -v "$PWD/out:/home/study/cmdml/_build" cmdml
FROM python:3.12-slim
RUN apt-get update && apt-get install -y --no-install-recommends git make && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home study
USER study
WORKDIR /home/study/cmdml
# The packages first: they change seldom, and every one is checked against its hash.
COPY --chown=study requirements.lock ./
RUN python -m venv .venv && .venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r requirements.lock
COPY --chown=study . .
RUN make install
CMD ["make", "book"]
