"""What ``make`` starts: check the configuration, then run Snakemake, then say where things are.

``python -m cmdml.study.command study|book|sweep|rotation|check`` reads its options from the environment, where
``make`` puts them as they were typed: ``PROFILE``, ``SET`` ("gamma=3 epochs=5"), ``NIH_ROOT``, ``METHODS``,
``DESIGNS``, ``CORES``. No shell sees them.
"""

from __future__ import annotations

import os
import signal
import sys


def stopped(*_) -> None:
    """What is said when somebody stopped it, at once."""
    target = sys.argv[1] if len(sys.argv) > 1 else "study"
    sys.stderr.write(f"\nStopped. `make {target}` with the same options goes on where it was.\n")
    sys.stderr.flush()
    os._exit(130)


if __name__ == "__main__":  # before the imports, which take a second or two
    signal.signal(signal.SIGINT, stopped)
    signal.signal(signal.SIGTERM, stopped)

import json  # noqa: E402
import shlex  # noqa: E402
import subprocess  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from pathlib import Path  # noqa: E402

import yaml  # noqa: E402

from cmdml.names import check  # noqa: E402
from cmdml.strict_yaml import read_yaml  # noqa: E402
from cmdml.study import plan, profiles, rotation_jobs  # noqa: E402
from cmdml.study.places import ROOT, resolve, shown  # noqa: E402
from cmdml.study.wording import minutes  # noqa: E402

# Not "all": that hides errors, too.
QUIET = ("host", "progress", "reason", "rules")
TARGETS = {
    "study": ["--", "study"],
    "book": ["--forcerun", "stage", "--", "stage"],
    "sweep": ["--keep-going", "--", "sweep"],
    "rotation": ["--keep-going", "--", "rotation"],
    "rotation_runs": ["--keep-going", "--", "rotation_runs"],  # of some methods: too few for tables
}
PATIENCE = 5  # seconds that jobs get to end after Ctrl-C; what a killed one leaves is continued


def overrides(text: str, nih_root: str = "") -> dict:
    """``gamma=3 "nih_root=my films"`` as {name: value}, the values read as in a profile.

    Raises
    ------
    ValueError
        A word without ``=``, a name twice, or a value that is no YAML.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"SET={text!r} cannot be split into words ({error}): write SET='gamma=3 epochs=5'.") from None
    given = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign or not name:
            raise ValueError(f"SET: {word!r} is no parameter: write SET='gamma=3 epochs=5'.")
        if name in given:
            raise ValueError(f"SET: {name} is given twice.")
        try:
            given[name] = read_yaml(value) if value else ""
        except yaml.YAMLError as error:
            raise ValueError(f"SET: {word!r}: {getattr(error, 'problem', None) or 'no value'}.") from None
    if nih_root:
        if given.get("nih_root", nih_root) != nih_root:
            raise ValueError("NIH_ROOT and SET name two folders: give one of them.")
        given["nih_root"] = nih_root  # as it is: a folder called 007 is no number
    return given


def snakemake(target: str, given: dict, cores: str) -> int:
    """Run Snakemake on ``target`` with a configuration file, so that values keep their types and need no quotes."""
    folder = ROOT / "runs"
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".make-", suffix=".json", encoding="utf-8") as file:
        json.dump(given, file)
        file.flush()
        # --nolock: a killed run leaves a lock behind that would stop the next one; --rerun-incomplete: half-made files
        # are redone.
        command = [sys.executable, "-m", "snakemake", "--cores", cores, "--nolock", "--rerun-incomplete", "--quiet",
                   *QUIET, "--configfile", file.name, *TARGETS[target]]  # fmt: skip
        process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)  # its jobs are a group that can be ended
        try:
            return process.wait()
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            end(process)
            raise


def end(process: subprocess.Popen) -> None:
    """End Snakemake, which would report at length that its jobs were ended, then its jobs: asked first, then not."""
    process.kill()
    process.wait()
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            for _ in range(10 * PATIENCE):
                time.sleep(0.1)
                os.killpg(process.pid, 0)
        except (ProcessLookupError, PermissionError):  # none is left, or none that is ours
            return


def main(target: str, options: dict) -> int:
    """Check, run and report; returns the exit code. ``options`` are those of the environment."""
    name = options.get("PROFILE") or "phantom"
    given = overrides(options.get("SET", ""), options.get("NIH_ROOT", ""))
    methods = options.get("METHODS", "").replace(",", " ").split()
    profile = profiles.load_profile(name, given)
    plan.check(profile, sweep=target == "sweep")
    if target != "rotation":
        plan.plan(profile, methods)
    if target == "check":
        return 0
    if target == "rotation":
        return rotate(profile, methods, options)
    run_dir, started = resolve(profile["parameters"]["run_dir"]), time.monotonic()
    code = snakemake(target, {"profile": name, "methods": " ".join(methods), **given}, options.get("CORES") or "all")
    if code == 0 and target == "book":
        builder = [str(Path(sys.executable).with_name("jupyter-book")), "build", "--path-output", str(ROOT)]
        code = subprocess.run([*builder, "-n", "-W", "--keep-going", str(run_dir / "book")], cwd=ROOT).returncode
    if code == 0:
        print({"study": f"Executed notebooks: {shown(run_dir)}/notebooks   Numbers: {shown(run_dir)}/evaluation",
               "sweep": f"Tables: {shown(plan.results_folder(profile))}   Runs: {shown(run_dir)}/sweep",
               "book": "Read it: _build/html/index.html"}[target],
              f"  Time: {minutes(time.monotonic() - started)}")  # fmt: skip
    return code


def rotate(profile: dict, methods: list[str], options: dict) -> int:
    """Score all films by every method under every design, and make the tables; of some ``METHODS``, the scores alone.

    A rotation is of the profile as it stands, so it takes no other parameters, only the folder of films: one that
    trains its extractors reads them.
    """
    if options.get("SET"):
        raise ValueError("a rotation runs as its profile says, without SET: change a copy of the profile.")
    name, designs = profile["name"], options.get("DESIGNS", "")
    rotation_jobs.jobs(rotation_jobs.first_designs(profile, designs), methods)
    if (profile["rotation"].get("extractor") or {}).get("device") == "cuda":
        from cmdml.study.rotation_extractors import device_of  # loads torch

        device_of(profile)
    given = {"profile": name, "rotation_methods": " ".join(methods), "designs": designs}
    if options.get("NIH_ROOT"):
        given["nih_root"] = options["NIH_ROOT"]
    code = snakemake("rotation_runs" if methods else "rotation", given, options.get("CORES") or "all")
    if code == 0:
        scores = f"{shown(resolve(profile['parameters']['run_dir']))}/rotation"
        where = f"data/results/rotation-{name}, or where the job above said"
        print(f"Scores: {scores}" if methods else f"Tables: {where}   Scores: {scores}")
    return code


if __name__ == "__main__":
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    try:
        check(sys.argv[1] if len(sys.argv) > 1 else "", ["study", "book", "sweep", "rotation", "check"], "target")
        sys.exit(main(sys.argv[1], dict(os.environ)))
    except KeyboardInterrupt:
        stopped()
    except (ValueError, OSError) as error:
        sys.exit(f"Nothing was run. {error}")
