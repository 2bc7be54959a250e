"""Cross-modal deep metric learning for generalized zero-shot diagnosis on chest radiographs."""

from cmdml.findings import SeenUnseen, load_findings, split_findings
from cmdml.loss import WeightedFocusedEuclideanLoss, weighted_focused_euclidean
from cmdml.model import CMDML
from cmdml.radiographs import RadiographSet, partition

__version__ = "0.1.0"
__all__ = [
    "CMDML",
    "RadiographSet",
    "SeenUnseen",
    "WeightedFocusedEuclideanLoss",
    "load_findings",
    "partition",
    "split_findings",
    "weighted_focused_euclidean",
]
