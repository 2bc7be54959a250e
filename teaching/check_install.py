"""Is this computer ready for the lab? States versions and sizes, and makes one forward pass.

``make check-install`` (or ``python teaching/check_install.py``) ends with *ready*, or with one sentence that says what
is missing, and exit status 1. ``--sizes FILE`` also writes what was measured, as JSON.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("torch", "torchvision", "numpy", "pandas", "scikit-learn", "matplotlib", "jupyterlab", "safetensors", "timm")
SHIPPED = {
    "features of the films": "data/features",
    "forty films": "data/films",
    "vectors of the words": "data/semantics",
    "trained heads": "data/heads",
    "results": "data/results",
}
FIRST = "make install puts it there"


def locked(path=ROOT / "requirements.lock") -> dict[str, list[str]]:
    """{package: versions} of the lock file; some packages have one for older and one for newer versions of Python."""
    found = {}
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", path.read_text(encoding="utf-8"), re.M):
        found.setdefault(name, []).append(version)
    return found


def versions() -> dict[str, str]:
    """What is installed; SystemExit in one sentence for an old Python, a missing package or another version."""
    if sys.version_info < (3, 11):  # noqa: UP036 - whoever runs this may have any
        raise SystemExit(f"Not ready: Python {platform.python_version()} is too old, 3.11 or newer is needed.")
    wanted, found = locked(), {"python": platform.python_version()}
    for name in NEEDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise SystemExit(f"Not ready: the package {name} is missing; {FIRST}.") from None
        allowed, plain = wanted.get(name, []), found[name].partition("+")[0]  # 2.9.1+cpu is 2.9.1
        if allowed and plain not in allowed:
            told = " or ".join(allowed)
            raise SystemExit(f"Not ready: {name} {found[name]} is not the {told} of requirements.lock; {FIRST}.")
    return found


def size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links are not followed."""
    if path.is_file():
        return path.stat().st_size
    below = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return sum(file.lstat().st_size for file in below)


def sizes(environment: bool = False) -> dict[str, int]:
    """Bytes of what a laptop needs and has: parts of the repository, the archive of wheels and the environment."""
    places = {name: ROOT / place for name, place in SHIPPED.items()} | {"archive of wheels": ROOT / "_build/wheels"}
    if environment:
        places["environment"] = Path(sys.prefix)
    return {name: size(place) for name, place in places.items() if place.exists()}


def forward() -> str:
    """One film through a trained head where the repository carries one, else through the closed form; a sentence."""
    started = time.perf_counter()
    try:
        if (ROOT / "data/heads").is_dir():
            from cmdml import predict

            film = sorted((ROOT / "data/films").glob("*.png"))[0]
            said = predict([str(film)]).table
            what = f"{film.name} through a trained head: {len(said)} findings"
        else:
            what = closed_form()
    except (ImportError, AttributeError, OSError, ValueError) as error:
        raise SystemExit(f"Not ready: the forward pass stopped ({' '.join(str(error).split())}).") from None
    return f"{what}, {time.perf_counter() - started:.1f} s"


def closed_form() -> str:
    """Scores of all films by the closed form, told signs."""
    import numpy as np

    from cmdml.closed_form import Ridge, eszsl
    from cmdml.feature_set import FeatureSet
    from cmdml.findings import findings_of
    from cmdml.semantics import semantic_vectors

    films = FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0")
    x, vectors = films.pixels.astype(float), semantic_vectors(findings_of(films.findings)).numpy().astype(float)
    scores = eszsl(Ridge(x), films.labels[:, :10].astype(float), x, vectors[:10], vectors, 1000.0, 1.0)
    if not np.isfinite(scores).all():
        raise ValueError("scores are no numbers")
    return f"{len(films):,} films through the closed form: {scores.shape[1]} findings each"


def main(given=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=Path, metavar="FILE", help="write the sizes, the environment's too, as JSON")
    options = parser.parse_args(given)
    for name, version in versions().items():
        print(f"  {name:24} {version}")
    measured = sizes(environment=options.sizes is not None)
    for name, amount in measured.items():
        print(f"  {name:24} {amount / 1e6:,.1f} MB")
    missing = [place for place in ("data/features", "data/films", "data/semantics") if not (ROOT / place).is_dir()]
    if missing:
        raise SystemExit(f"Not ready: {missing[0]} is missing; fetch the repository again.")
    print(f"  {forward()}")
    if options.sizes:
        about = {"bytes": measured, "system": platform.system(), "python": platform.python_version()}
        options.sizes.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print("ready")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
