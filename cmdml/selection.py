"""How a training chooses its epoch: by findings that it was shown, on films that it was not."""

import numpy as np
from scipy.stats import rankdata

NOTHING_TO_CHOOSE_BY = (
    "no seen finding has both positive and negative validation images, among those with a seen finding, so no epoch "
    "can be chosen: use a larger validation split"
)


def seen_validation_auroc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Mean AUROC over the seen findings, among images that show at least one of them; the criterion of model selection.

    Parameters
    ----------
    labels, scores : ndarray, shape (N, S)
        Seen findings only: an unseen label never enters. A finding without positives or negatives is left out.
    """
    abnormal = labels.any(1)
    labels, scores = labels[abnormal], scores[abnormal]
    defined = both_kinds(labels)
    if not defined:
        raise ValueError(NOTHING_TO_CHOOSE_BY)
    # By ranks (Mann and Whitney), all findings at once: scikit-learn, a finding at a time, takes as long as an epoch of
    # heads on frozen features.
    labels, ranks = labels[:, defined] != 0, rankdata(scores[:, defined], axis=0)
    positives = labels.sum(0)
    above = np.where(labels, ranks, 0).sum(0) - positives * (positives + 1) / 2
    return float((above / (positives * (len(labels) - positives))).mean())


def both_kinds(labels: np.ndarray) -> list[int]:
    """Columns with a positive and a negative among images that all show something."""
    return [c for c in range(labels.shape[1]) if 0 < labels[:, c].sum() < len(labels)]
