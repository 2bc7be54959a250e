"""Jobs of a rotation: ``python -m cmdml.study.rotate run PROFILE DESIGN METHOD``; ``… collect PROFILE``: its tables.

Where a rotation trains its extractors: ``… extract PROFILE DESIGN QUADRUPLE`` (or ``random``) before that. Parameters
that replace the profile's come last, as JSON: ``… run PROFILE DESIGN METHOD '{"run_dir": "runs/aside"}'``.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from cmdml.names import check
from cmdml.study import run
from cmdml.study.anatomy import collect
from cmdml.study.rotation import score
from cmdml.study.rotation_plan import profile_of


def main(task: str, name: str, *given: str) -> None:
    """Do one job; ValueError in one sentence where it cannot be done."""
    check(task, ("extract", "run", "collect"), "task")
    profile = profile_of(name, *(one for one in given[-1:] if one.startswith("{")))
    if profile["rotation"] is None:
        raise ValueError(f"profile {name} has no section `rotation`: see profiles/nih-mini.yaml.")
    if task == "extract":
        from cmdml.study.rotation_extractors import extract_features

        done = extract_features(profile, int(given[0]), given[1])
    else:
        done = score(profile, int(given[0]), given[1]) if task == "run" else collect(profile)
    print(f"{done} done, {(datetime.now(UTC) - run.IMPORTED).total_seconds():.0f} s", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (ValueError, OSError) as error:
        sys.exit(f"rotation stopped. {error}")
