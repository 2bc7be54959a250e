"""Fold away what a reader of the rendered book does not need: the executed notebooks themselves stay as they are."""

import json
from pathlib import Path

IMPORT = ("import ", "from ")


def fold(path: Path) -> None:
    """Rewrite a staged notebook: parameters and set-up folded, the values of this run among the parameters.

    The cell that papermill adds is merged into the parameters, so that what is unfolded still runs as it did; the first
    cell that imports is the set-up.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    kept, parameters, set_up = [], None, None
    for cell in notebook["cells"]:
        tags = cell["metadata"].get("tags", [])
        if "injected-parameters" in tags and parameters is not None:
            given = "".join(cell["source"]).removeprefix("# Parameters\n").strip()
            parameters["source"] = f"{''.join(parameters['source']).rstrip()}\n\n# The values of this run\n{given}"
            continue
        kept.append(cell)
        if "parameters" in tags:
            parameters = hide(cell, "Parameters")
        elif set_up is None and cell["cell_type"] == "code" and "".join(cell["source"]).startswith(IMPORT):
            set_up = hide(cell, "Set-up")
    path.write_text(json.dumps(notebook | {"cells": kept}, ensure_ascii=False, indent=1), encoding="utf-8")


def hide(cell: dict, name: str) -> dict:
    """Fold the code of a cell under a line that says what it is."""
    about = cell["metadata"]
    about["tags"] = sorted({*about.get("tags", []), "hide-input"})
    about["mystnb"] = about.get("mystnb", {}) | {"code_prompt_show": name, "code_prompt_hide": name}
    return cell
