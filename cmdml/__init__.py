"""Cross-modal deep metric learning for generalized zero-shot diagnosis on chest radiographs."""

from importlib import import_module

__version__ = "0.1.0"
_HOME = {
    "CMDML": "model",
    "RadiographSet": "radiographs",
    "SeenUnseen": "findings",
    "WeightedFocusedEuclideanLoss": "loss",
    "load_findings": "findings",
    "partition": "radiographs",
    "predict": "prediction",
    "split_findings": "findings",
    "weighted_focused_euclidean": "loss",
}
__all__ = list(_HOME)


# Loaded when first asked for: torch takes seconds to import, and what only orders the work (Snakefile) never needs it.
def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'cmdml' has no attribute {name!r}")
    return getattr(import_module(f"cmdml.{_HOME[name]}"), name)
