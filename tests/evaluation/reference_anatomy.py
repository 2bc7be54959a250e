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


def mean_unseen(values, finding, left_out=()):
    """values[d][k] numbers of one draw: mean over kept cells of each design, then over designs."""
    designs = []
    for cells, names in zip(values, finding, strict=True):
        kept = [value for value, name in zip(cells, names, strict=True) if name not in left_out]
        designs.append(sum(kept) / len(kept))
    return sum(designs) / len(designs)


def by_finding(values, finding, name):
    """Mean of one finding over its cells of each design, then over designs."""
    return mean_unseen(values, finding, {other for names in finding for other in names} - {name})


def holm(p):
    """Adjusted p: the largest, over the comparisons with p up to this one, of p times those not yet decided."""
    ranked = sorted(range(len(p)), key=lambda i: p[i])
    out, worst = [0.0] * len(p), 0.0
    for done, i in enumerate(ranked):
        worst = max(worst, (len(p) - done) * p[i])
        out[i] = min(1.0, worst)
    return out
