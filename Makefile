# The study in a few words: `make help`.
SHELL   := /bin/bash
PYTHON  ?= python3
PROFILE ?= phantom
CORES   ?= all
# Further parameters for a run, e.g. SET="gamma=3 epochs=5".
SET     ?=
# They reach the commands through the environment, as they were typed: no shell and no make reads a folder called $(x).
override PROFILE  := $(value PROFILE)
override CORES    := $(value CORES)
override SET      := $(value SET)
override METHODS  := $(value METHODS)
override DESIGNS  := $(value DESIGNS)
override NIH_ROOT := $(value NIH_ROOT)
override NIH_1024 := $(value NIH_1024)
override SCREENSHOTS := $(value SCREENSHOTS)
export SCREENSHOTS PROFILE CORES SET METHODS DESIGNS NIH_ROOT NIH_1024
BIN     := .venv/bin
# Named after what it holds, so the environment is installed again when the lock changes and only then.
READY   := .venv/ready-$(shell cat requirements.lock pyproject.toml | cksum | cut -d' ' -f1)
COMMAND := $(BIN)/python -m cmdml.study.command

.DEFAULT_GOAL := help
.PHONY: help install bench heads book study sweep rotation plan-nih results readme test torture mutants lint lab clean check-install slides wheels check-book pdf trials

help:  ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):[^#]*## /  make \1|/' | column -t -s '|'
	@echo; echo "  PROFILE is one of: $(basename $(notdir $(wildcard profiles/*.yaml)))  (now $$PROFILE)"

install: $(READY)  ## virtual environment in .venv with the exact versions of requirements.lock
$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + ": make PYTHON=python3.12 ...")'
	@echo "Installing into .venv (about 7 GB, 3 more while it unpacks, some minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps -r requirements.lock || { \
	  echo "pip stopped, see above. It needs 7 GB here, where $$(df -Ph . | awk 'END {print $$4}') are free now, and 3 GB in $${TMPDIR:-/tmp} while it unpacks, where $$(df -Ph "$${TMPDIR:-/tmp}" | awk 'END {print $$4}') are free. Run make again: it goes on." >&2; exit 1; }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@rm -f .venv/ready-* && touch $@

study: $(READY)  ## run the notebooks of PROFILE into runs/PROFILE (NIH_ROOT=..., SET="gamma=3 epochs=5")
	@$(COMMAND) study

book: $(READY)  ## run the study and render it to _build/html/index.html
	@$(COMMAND) book

check-book: $(READY)  ## look at the rendered book in Chromium: links, widths, both themes, axe-core (SCREENSHOTS=folder)
	$(BIN)/python book/check.py $(if $(value SCREENSHOTS),--screenshots "$$SCREENSHOTS")

pdf: $(READY)  ## print the book of PROFILE, once `make book` has laid it out, to _build/cmdml.pdf by Chromium
	$(BIN)/python book/pdf.py "$$PROFILE"

sweep: $(READY)  ## every method, seed and split of PROFILE into data/results/sweep-PROFILE (METHODS="focused ranking")
	@$(COMMAND) sweep

rotation: $(READY)  ## every finding takes its turn: data/results/rotation-PROFILE (PROFILE=nih-mini DESIGNS=1 METHODS="focused eszsl")
	@$(COMMAND) rotation

plan-nih: $(READY)  ## the command for the full NIH set, its time and the sample size
	@$(BIN)/python -m cmdml.study.rotation_jobs plan

results: $(READY)  ## copy the numbers of runs/PROFILE to data/results/PROFILE and the README, to be committed
	$(BIN)/python book/stage.py results "$$PROFILE"

readme: $(READY)  ## fill the README's table from data/results
	$(BIN)/python book/stage.py readme

# Into runs/ first: a results file in the tree would mark the next one's code as changed.
bench: $(READY)  ## measure this machine into data/results/benchmarks (NIH_1024=folder of original PNG files, else phantoms)
	$(BIN)/python benchmarks/input_pipeline.py --source-size 1024 --root "$$NIH_1024" --out runs/benchmarks
	$(BIN)/python benchmarks/input_pipeline.py --source-size 224 --out runs/benchmarks
	$(BIN)/python benchmarks/train_step.py --out runs/benchmarks
	$(BIN)/python benchmarks/loss.py --out runs/benchmarks
	$(BIN)/python benchmarks/bootstrap.py --out runs/benchmarks
	$(BIN)/python benchmarks/sealing.py --out runs/benchmarks
	$(BIN)/python benchmarks/features.py --out runs/benchmarks
	$(BIN)/python benchmarks/scale.py --out runs/benchmarks
	test -z "$$NIH_1024" || $(BIN)/python benchmarks/prepare.py "$$NIH_1024" --out runs/benchmarks
	mkdir -p data/results/benchmarks && cp runs/benchmarks/*.json data/results/benchmarks

heads: $(READY)  ## train data/heads/phantom and data/heads/nih-mini again, the two that the repository carries
	$(BIN)/python data/make_heads.py

trials: $(READY)  ## list the trainings made by hand (runs/trials) by what they change, with S, U and H
	@$(BIN)/python -m cmdml.study.trials

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest

torture: $(READY)  ## kills, bad inputs, full disks, races by the thousand; half an hour on two cores, goes on where it was stopped
	$(BIN)/python tests/reliability/torture.py

mutants: $(READY)  ## plant 200 bugs, one at a time, and see whether the tests notice
	$(BIN)/python tests/mutants.py --count 200

lint: $(READY)  ## ruff
	$(BIN)/ruff check .

lab: $(READY)  ## JupyterLab with the notebooks
	$(BIN)/jupyter lab notebooks

check-install: $(READY)  ## is this computer ready for the lab? versions, sizes, one forward pass
	@$(BIN)/python teaching/check_install.py

slides: $(READY)  ## the deck of the lessons: _build/slides/slides.html
	@$(BIN)/python teaching/make_slides.py

wheels: $(READY)  ## every package of the lock file into _build/wheels, for laptops without a network
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock -d _build/wheels
	@du -sh _build/wheels

clean:  ## remove the rendered book and caches (runs/ and .venv/ stay: they cost time; remove them by hand)
	rm -rf _build .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
