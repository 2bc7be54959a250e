"""From one value per (design, quadruple, unseen finding) to the numbers of the study, with their intervals.

``values`` is (D, K, 1 + R) throughout: D designs, K = quadruples x 4 cells, and the metric at unit weights followed by
R patient replicates, the *same draws* for every design and every method, so that differences are paired. float32 will
do: 5 designs x 56 cells x 1,001 are 1.1 MB per method. ``finding`` is (D, K) or (K,): the finding a cell's value is of.

A cell is undefined where its value at unit weights is NaN. Its finding then leaves every mean, in all designs, and the
result names it; nothing is averaged in silence.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from cmdml.evaluation.bootstrap import percentile_interval


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % percentile interval over patients.

    Attributes
    ----------
    value, low, high : float; NaN where undefined.
    sd_designs : standard deviation (n - 1) of the designs' own values; NaN for a single design.
    undefined_replicates : replicates without a value, left out of the interval.
    left_out : numbers of the findings that the value does not average.
    p : two-sided bootstrap p that the value is 0 (differences only), else NaN.
    """

    value: float
    low: float
    high: float
    sd_designs: float = np.nan
    undefined_replicates: int = 0
    left_out: tuple[int, ...] = ()
    p: float = np.nan


def undefined_findings(*tables, finding) -> tuple[int, ...]:
    """Findings with an undefined cell in any of the ``tables`` (D, K, 1 + R)."""
    finding = np.broadcast_to(finding, tables[0].shape[:2])
    return tuple(sorted({int(f) for values in tables for f in finding[np.isnan(values[:, :, 0])]}))


def mean_unseen(values, finding, left_out=()) -> np.ndarray:
    """(D, 1 + R) mean over the cells of each design whose finding is not ``left_out``; NaN where a kept cell is NaN.

    As every finding is unseen equally often in a design, this is the mean over findings of their means over quadruples.
    """
    values = np.asarray(values)
    finding = np.broadcast_to(finding, values.shape[:2])
    keep = ~np.isin(finding, list(left_out))
    if not keep.any(axis=1).all():
        return np.full((values.shape[0], values.shape[2]), np.nan)
    return np.stack([v[k].mean(axis=0, dtype=np.float64) for v, k in zip(values, keep, strict=True)])


def estimate(by_design, left_out=(), *, test=False) -> Estimate:
    """Mean over designs of (D, 1 + R), its patient interval, the designs' spread and, on request, ``bootstrap_p``."""
    by_design = np.asarray(by_design, dtype=np.float64)
    mean = by_design.mean(axis=0)
    low, high, lost = percentile_interval(mean[1:])
    sd = by_design[:, 0].std(ddof=1) if len(by_design) > 1 else np.nan
    p = bootstrap_p(mean[1:]) if test else np.nan
    return Estimate(float(mean[0]), float(low), float(high), float(sd), int(lost), tuple(left_out), p)


def unseen(values, finding, rare=()) -> Estimate:
    """``U``: mean over cells, then over designs; without the ``rare`` findings (< 20 positives) it is ``U20``."""
    left_out = tuple(sorted({*undefined_findings(values, finding=finding), *rare}))
    return estimate(mean_unseen(values, finding, left_out), left_out)


def by_finding(values, finding, findings: int) -> np.ndarray:
    """(D, C, 1 + R) mean over the quadruples of a design in which each finding is unseen; NaN where it never is."""
    values = np.asarray(values)
    finding = np.broadcast_to(finding, values.shape[:2])
    out = np.full((len(values), findings, values.shape[2]), np.nan, dtype=np.float64)
    for d, numbers in enumerate(finding):
        for c in np.unique(numbers):
            out[d, c] = values[d, numbers == c].mean(axis=0, dtype=np.float64)
    return out


def finding_estimates(values, finding, findings: int) -> list[Estimate]:
    """One `Estimate` per finding: mean over its quadruples, then over designs."""
    table = by_finding(values, finding, findings)
    return [estimate(table[:, c]) for c in range(findings)]


def difference(values, reference, finding, rare=()) -> Estimate:
    """``U`` of a method minus ``U`` of a reference, cell by cell and draw by draw, with its two-sided p."""
    left_out = tuple(sorted({*undefined_findings(values, reference, finding=finding), *rare}))
    return estimate(mean_unseen(_minus(values, reference), finding, left_out), left_out, test=True)


def bootstrap_p(replicates) -> float:
    """``min(1, 2 (k + 1) / (R + 1))``, k = the smaller of the numbers of defined replicates <= 0 and >= 0.

    Twice the share of the bootstrap distribution on the far side of 0; at least 2 / (R + 1). NaN without replicates.
    """
    known = np.asarray(replicates)[~np.isnan(replicates)]
    if not len(known):
        return np.nan
    k = min((known <= 0).sum(), (known >= 0).sum())
    return float(min(1.0, 2 * (k + 1) / (len(known) + 1)))


def holm(p) -> np.ndarray:
    """Holm's step-down correction (1979): the i-th smallest of n times ``n - i + 1``, never below the one before.

    NaN stays NaN and still counts among the n comparisons: one that was planned was made.
    """
    p = np.asarray(p, dtype=np.float64)
    order = np.argsort(p, kind="stable")  # NaN last
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def over_findings(gains, replicates: int = 10_000, seed: int = 0) -> dict[str, float]:
    """How far a mean gain hangs on which findings there are: resample findings, count gains, leave one out.

    Parameters
    ----------
    gains : (C,) each finding's mean difference; NaN (undefined or left out) is counted in ``undefined``.

    Returns
    -------
    dict : value, low, high, gaining, findings, undefined, leave_one_low, leave_one_high.
    """
    gains = np.asarray(gains, dtype=np.float64)
    known = gains[~np.isnan(gains)]
    n = len(known)
    out = {"value": np.nan, "low": np.nan, "high": np.nan, "gaining": int((known > 0).sum()), "findings": n,
           "undefined": len(gains) - n, "leave_one_low": np.nan, "leave_one_high": np.nan}  # fmt: skip
    if n < 2:
        return out
    drawn = np.random.default_rng(seed).integers(0, n, (replicates, n))
    low, high, _ = percentile_interval(known[drawn].mean(axis=1))
    without = (known.sum() - known) / (n - 1)
    return out | {"value": float(known.mean()), "low": float(low), "high": float(high),
                  "leave_one_low": float(without.min()), "leave_one_high": float(without.max())}  # fmt: skip


def share_of_ceiling(values, illness, ceiling, finding, rare=()) -> Estimate:
    """``(U - U_illness) / (U_ceiling - U_illness)``, bootstrapped as a ratio, over the findings defined in all three.

    Blank (NaN) where the interval of the denominator includes 0: a share of nothing has no value.
    """
    left_out = tuple(sorted({*undefined_findings(values, illness, ceiling, finding=finding), *rare}))
    gain, room = (mean_unseen(_minus(v, illness), finding, left_out) for v in (values, ceiling))
    denominator = estimate(room)
    if not (denominator.low > 0 or denominator.high < 0):
        return Estimate(np.nan, np.nan, np.nan, left_out=left_out)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = gain.mean(axis=0) / room.mean(axis=0)  # of the means over designs, not the mean of the designs' ratios
        designs = gain[:, 0] / room[:, 0]
    ratio[~np.isfinite(ratio)] = np.nan
    low, high, lost = percentile_interval(ratio[1:])
    sd = float(designs.std(ddof=1)) if len(designs) > 1 else np.nan
    return Estimate(float(ratio[0]), float(low), float(high), sd, int(lost), left_out)


def permutation_p(real: float, permuted) -> float:
    """``(1 + k) / (1 + n)``, k = how many of n permutations reach the real value; NaN if any number is."""
    permuted = np.asarray(permuted, dtype=np.float64)
    if np.isnan(real) or np.isnan(permuted).any():
        return np.nan
    return float((1 + (permuted >= real).sum()) / (1 + len(permuted)))


def spearman(coverage, gains, replicates: int = 10_000, seed: int = 0) -> dict[str, float]:
    """Rank correlation of sign coverage (C,) with gain (C,), interval from resampling findings.

    Findings without a gain (NaN) are counted in ``undefined``; resamples in which either is constant have no
    correlation and are counted in ``undefined_replicates``.
    """
    coverage, gains = np.asarray(coverage, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    known = ~(np.isnan(coverage) | np.isnan(gains))
    x, y, n = coverage[known], gains[known], int(known.sum())
    out = {"value": np.nan, "low": np.nan, "high": np.nan, "findings": n, "undefined": int((~known).sum()),
           "undefined_replicates": 0}  # fmt: skip
    if n < 3:
        return out
    drawn = np.concatenate([np.arange(n)[None], np.random.default_rng(seed).integers(0, n, (replicates, n))])
    a, b = (rankdata(v[drawn], axis=1) - (n + 1) / 2 for v in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    low, high, lost = percentile_interval(rho[1:])
    return out | {"value": float(rho[0]), "low": float(low), "high": float(high), "undefined_replicates": int(lost)}


def abstention_curve(coverage, gains) -> list[dict[str, float]]:
    """Mean gain over the findings with coverage >= c, for every c that occurs, rising: threshold, findings, gain."""
    coverage, gains = np.asarray(coverage, dtype=np.float64), np.asarray(gains, dtype=np.float64)
    known = ~(np.isnan(coverage) | np.isnan(gains))
    coverage, gains = coverage[known], gains[known]
    return [{"threshold": float(c), "findings": int((coverage >= c).sum()), "gain": float(gains[coverage >= c].mean())}
            for c in np.unique(coverage)]  # fmt: skip


def _minus(values, reference):
    """Differences in float64: float32 would round what two methods hardly differ by."""
    values, reference = np.asarray(values, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if values.shape != reference.shape:
        raise ValueError(f"values {values.shape} and reference {reference.shape} must be of the same cells and draws")
    return values - reference
