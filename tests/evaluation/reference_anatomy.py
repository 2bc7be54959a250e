"""Loops that say what the fast code must return; imports nothing of ``cmdml``."""

import math


def stratified_auroc(positive, scores, strata, weights):
    """One method, one weight per film: a loop over all pairs."""
    right = total = 0.0
    for i in range(len(scores)):
        for j in range(len(scores)):
            if positive[i] and not positive[j] and strata[i] == strata[j]:
                pair = weights[i] * weights[j]
                total += pair
                right += pair * (1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0)
    return right / total if total else math.nan
