"""Scripts of the repository, which are no modules of the package, loaded from their files."""

import importlib.util
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # a make under no make


def load(path):
    """The module in a file, by its path from the repository's root; loaded anew at every call."""
    path = ROOT / path
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
