"""Figures of the chapter on evaluation: swapped texts, what a text leans on, alarms, groups, examples."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmdml.evaluation.metrics import age_bands, evaluate_subgroups, image_kinds
from cmdml.findings import SeenUnseen
from cmdml.plots import evidence, figures
from cmdml.plots.figures import OTHER, SEEN, UNSEEN, WIDTH, colours, words


def swapped(panels: dict[str, np.ndarray], findings: SeenUnseen) -> Figure:
    """AUROC of every unseen label (row) by every unseen text (column), a panel for each way to tell the texts.

    ``panels``: {title: (U, U) matrix}. With no panel, or fewer than two unseen findings, the figure says so.
    """
    fig, axes = plt.subplots(1, max(len(panels), 1), figsize=(WIDTH, 3.6), squeeze=False)
    if not panels:
        evidence.nothing(axes[0, 0], "fewer than two unseen findings: nothing to swap")
    names = [words(key) for key in findings.unseen]
    for i, (ax, (title, matrix)) in enumerate(zip(axes[0], panels.items(), strict=False)):
        sns.heatmap(matrix, ax=ax, annot=True, fmt=".2f", vmin=0, vmax=1, cmap="PuOr_r", cbar=False, square=True,
                    linewidths=1, xticklabels=names, yticklabels=names if i == 0 else False)  # fmt: skip
        figures.readable(ax)
        for own in range(len(names)):
            ax.add_patch(plt.Rectangle((own, own), 1, 1, fill=False, edgecolor="black", lw=1.6))
        ax.set(xlabel="searched for with the text of", ylabel="" if i else "films with", title=title)
        ax.tick_params(length=0)
        ax.set_xticklabels(names, rotation=30, ha="right")
        ax.tick_params(axis="y", rotation=0)
    return fig


def pairs(panels: dict[str, tuple[np.ndarray, np.ndarray]], findings: SeenUnseen) -> Figure:
    """AUROC of unseen label by unseen text against what look-alikes predict, own texts filled, a panel per training.

    ``panels``: {title: (predicted (U, U), matrix (U, U))}, both less their row and column means.
    """
    fig, axes = plt.subplots(1, max(len(panels), 1), figsize=(WIDTH, 3.3), squeeze=False, sharey=True)
    if not panels:
        evidence.nothing(axes[0, 0], "fewer than two unseen findings: no pairs")
    for i, (ax, (title, (predicted, matrix))) in enumerate(zip(axes[0], panels.items(), strict=False)):
        own, rank = np.eye(len(matrix), dtype=bool), matrix.diagonal().argsort().argsort()
        ax.scatter(predicted[~own], matrix[~own], s=28, facecolors="white", edgecolors=OTHER, label="another's text")
        ax.scatter(predicted[own], matrix[own], s=34, color=UNSEEN, zorder=3, label="its own text")
        for j, key in enumerate(findings.unseen):
            above = 9 * (rank[j] - (len(rank) - 1) / 2)  # names of neighbours stay apart
            ax.annotate(words(key), (predicted[j, j], matrix[j, j]), xytext=(7, above - 3), fontsize=8.5,
                        textcoords="offset points", color=UNSEEN)  # fmt: skip
        ax.axhline(0, color="black", lw=0.8, ls=":")
        ax.axvline(0, color="black", lw=0.8, ls=":")
        ax.set(title=title, xlabel="look-alikes predict", ylabel="" if i else "AUROC of the pair")
        ax.margins(x=0.25)
    if panels:
        axes[0, 0].legend(loc="upper left")
    return fig


def alarms(labels: np.ndarray, scores: np.ndarray, findings: SeenUnseen) -> pd.DataFrame:
    """Precision where a finding is called as often as it occurs: of its n highest of n positives, how many have it.

    Returns
    -------
    DataFrame
        finding, positives, precision, prevalence (what guessing reaches); NaN for a finding without positives.
    """
    labels, rows = np.asarray(labels), []
    for column, key in enumerate(findings.keys):
        n = int(labels[:, column].sum())
        top = np.argsort(-np.asarray(scores)[:, column], kind="stable")[:n]
        precision = labels[top, column].mean() if n else np.nan
        rows.append({"finding": key, "positives": n, "precision": precision,
                     "prevalence": labels[:, column].mean() if n else np.nan})  # fmt: skip
    return pd.DataFrame(rows)


def alarm_figure(table: pd.DataFrame, findings: SeenUnseen, ax: Axes) -> Axes:
    """Precision (dot) against prevalence (stroke) of every finding; ``table`` is :func:`alarms`."""
    table = table.assign(seen=~table.finding.isin(findings.unseen)).dropna()
    table = table.sort_values(["seen", "precision"], ignore_index=True)
    tones = colours(findings, table.finding)
    ax.hlines(table.index, table.prevalence, table.precision, color=tones, lw=2, alpha=0.5)
    ax.scatter(table.precision, table.index, color=tones, s=34, zorder=3)
    ax.plot(table.prevalence, table.index, "|", ms=11, mew=2, color="black", label="guessing (prevalence)")
    ax.set_yticks(table.index, [f"{words(r.finding)} ({r.positives:,})" for r in table.itertuples()])
    figures.colour_ticks(ax.get_yticklabels(), table.finding, findings)
    ax.set(xlim=(0, 1), xlabel="right alarms, of all alarms")
    ax.legend(loc="lower right")
    ax.grid(axis="x", lw=0.4, alpha=0.6)
    return ax


def examples(pixels: Sequence[np.ndarray], labels, scores, findings: SeenUnseen, name: str, *, seed=0) -> Figure:
    """Six abnormal radiographs drawn at random, three with seen findings only (left), three with an unseen one (right).

    ``pixels`` (N, H, W), ``labels`` and ``scores`` (N, C) of the same radiographs.
    """
    generator = np.random.default_rng(seed)
    with_unseen = labels[:, findings.unseen_index].any(1)
    pools = [np.flatnonzero(labels.any(1) & ~with_unseen), np.flatnonzero(with_unseen)]
    chosen = [generator.choice(pool, min(3, len(pool)), replace=False) for pool in pools]
    fig, axes = plt.subplots(3, 4, figsize=(WIDTH, 5.8), width_ratios=[1, 1.05, 1, 1.05])
    for side, picks in enumerate(chosen):
        for line, i in zip(axes[:, 2 * side : 2 * side + 2], picks, strict=False):
            figures.radiograph(line[0], pixels[i])
            figures.ranking(line[1], scores[i], labels[i], findings)
    for ax in axes.flat:
        ax.axis("off") if not ax.has_data() else None
    axes[0, 0].set_title("seen findings only", color=SEEN)
    axes[0, 2].set_title("with an unseen finding", color=UNSEEN)
    fig.suptitle(f"{name} radiographs, what the model names first", fontsize=11.5)
    return fig


def groups(table: pd.DataFrame, labels, scores, patients, findings, name: str, **options) -> tuple[Figure, list[str]]:
    """AUROC of seen and unseen findings by sex, age, view and kind of findings, protocol ``abnormal``.

    ``table`` is that of the test radiographs. Returns the figure, and which findings each group leaves out.
    """
    abnormal, narrow = labels.any(1), []
    groupings = {
        "sex": table.sex.replace({"F": "women", "M": "men"}),
        "age": age_bands(table.age),
        "view": table.view,
        "findings": image_kinds(labels, findings),
    }
    fig, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.6), sharex=True)
    for ax, (title, of) in zip(axes.flat, groupings.items(), strict=True):
        found = evaluate_subgroups(labels, scores, patients, findings, of, **options)
        found = found[(found.protocol == "abnormal") & found.metric.isin(["auroc_S", "auroc_U"])]
        found = found[found.group != "none"]
        inside = pd.Series(abnormal).groupby(np.asarray(of, dtype=object)).sum()
        found["method"] = [f"{group} ({inside.get(group, inside.get('', 0)):,})" for group in found.group]
        order = sorted(dict.fromkeys(found.method), key=lambda group: not group.startswith("<"))  # the youngest first
        found = found.dropna(subset="value")
        evidence.seen_unseen(found, order, ax)
        ax.set(title=title, xlabel="")
        narrow += [f"{row.method}, {row.undefined}" for row in found.itertuples() if row.undefined]
    fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    fig.supxlabel(f"{name}: AUROC, protocol abnormal", fontsize=10.5)
    return fig, narrow


def groups_of_scores(labels, scores, findings: SeenUnseen, per_finding: pd.DataFrame, name: str) -> Figure:
    """Scores of up to four unseen findings in three groups, with the AUROC of both protocols: why these differ."""
    per, abnormal = per_finding.set_index(["protocol", "finding"]), labels.any(1)
    keys = findings.unseen[:4] or findings.seen[:4]
    fig, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.0), sharey=True)
    for ax, key in zip(axes.flat, keys, strict=False):
        column = findings.keys.index(key)
        has, s = labels[:, column] == 1, scores[:, column]
        tone = colours(findings, [key])[0]
        figures.protocol_scores(s[has], s[~has & abnormal], s[~abnormal], ax, colour=tone)
        both = [f"{per.auroc[protocol, key]:.2f} {protocol}" for protocol in ("abnormal", "all")]
        ax.set_title(f"{words(key)}: {', '.join(both)}", fontsize=10)
    for ax in axes.flat[len(keys) :]:
        ax.axis("off")
    fig.supxlabel(f"{name}: score (higher = more likely)", fontsize=10.5)
    return fig


def reliability(tables: dict[str, pd.DataFrame | None], name: str) -> Figure:
    """Observed share against predicted closeness, seen left and unseen right; None says that there is none to check."""
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.5), sharey=True)
    for ax, (title, table) in zip(axes, tables.items(), strict=True):
        if table is None:
            evidence.nothing(ax, "no closeness to check")
        else:
            evidence.reliability_diagram(table, ax, colour={"seen": SEEN, "unseen": UNSEEN}.get(title, OTHER))
        ax.set_title(f"{name}: {title}")
    axes[1].set_ylabel("")
    return fig
