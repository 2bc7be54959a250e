"""What sweeps show, in sentences with numbers: Markdown for the chapter, made from the tables of `ablation.load`."""

from __future__ import annotations

import pandas as pd

from cmdml.evaluation.metrics import PROTOCOLS
from cmdml.plots.evidence import label
from cmdml.study.ablation import REFERENCES, RIVALS, difference, gap, grids, rows, validation
from cmdml.study.wording import interval

STEPS = {
    "gamma0_alpha75": "focusing (γ = 2 against 0, the same α)",
    "gamma2_alpha50": "weighting (α = 0.75 against 0.5, the same γ)",
}
UNTRAINED = 0.1  # so far below the study's own S, a method was hardly trained


def what_ran(sweeps: dict, absent=()) -> str:
    """A line per sweep: how many trainings, on what, what is missing; and the folders without any."""
    lines = []
    for name, sweep in sweeps.items():
        about = sweep["about"]
        unseen = "drawn anew for each seed" if sweep["split"] == "random" else "the default four"
        left = f". Planned, but not run yet: {left_out(about['missing'])}" if about["missing"] else ""
        lines.append(
            f"* **{name}**: {about['runs']} trainings of about {about['seconds_per_run']:.0f} s; "
            f"{about['images_test']:,} test radiographs, {about['images_test_abnormal']:,} with a finding; "
            f"unseen findings: {unseen}; radiographs: {about['name']}{left}."
        )
    if absent:
        folders = ", ".join(f"`{folder}`" for folder in absent)
        lines.append(f"* No sweep yet in {folders}: `make sweep PROFILE=...` makes one.")
    return "\n".join(lines)


def left_out(missing) -> str:
    """Methods of the plan whose runs are not there, each with how many."""
    counts = pd.Series([one.partition("/")[0] for one in missing]).value_counts(sort=False)
    return ", ".join(f"`{method}` ({count})" for method, count in counts.items())


def verdict(sweep: dict, method: str, reference: str, **where) -> str:
    """Which of two methods has the higher H, if the interval of the difference tells."""
    row, who, other = difference(sweep, method, reference, **where), label(method), label(reference)
    if row is None:
        return f"{who} and {other} have no seed in common yet."
    outcome = (
        f"{who} is better than {other}" if row.low > 0
        else f"{who} is **worse** than {other}" if row.high < 0
        else f"{who} and {other} cannot be told apart (the interval includes 0)"
    )  # fmt: skip
    return f"{outcome}. H differs by {gap(row, f', {row.seeds:.0f} seeds')}."


def rivals(sweeps: dict) -> str:
    """The study's loss against each reference, under both protocols."""
    lines = []
    for name, sweep in sweeps.items():
        for reference in REFERENCES:
            for protocol in PROTOCOLS:
                found = verdict(sweep, "focused", reference, protocol=protocol)
                lines.append(f"* **{name}**, `{protocol}`: {found}")
    return "*What to see:*\n\n" + ("\n".join(lines) or "nothing yet: there are no results.")


def focusing(sweeps: dict) -> str:
    """What the grid of γ and α spans, and what focusing and weighting are worth."""
    lines = []
    for name, points in grids(sweeps).items():
        best, worst = points.loc[points.value.idxmax()], points.loc[points.value.idxmin()]
        own = best.method == "focused"
        lines.append(
            f"* **{name}**: H spans {worst.value:.3f} to {best.value:.3f} over {len(points)} points; the highest is γ "
            f"= {best.gamma:g}, α = {best.alpha:g}. It was found on test labels, so it is a description and no choice. "
            + ("It is the study's own setting." if own
               else verdict(sweeps[name], "focused", best.method, split=best.split))
        )  # fmt: skip
    for name, sweep in sweeps.items():
        for without, what in STEPS.items():
            worth = {mean: difference(sweep, "focused", without, f"auroc_{mean}") for mean in "SUH"}
            if worth["S"] is not None:
                numbers = "; ".join(f"{mean} {gap(row)}" for mean, row in worth.items())
                lines.append(f"* **{name}**, what {what} is worth: {numbers}.")
    return "*What to see:*\n\n" + "\n".join(lines) if lines else "No grid of γ and α among these results."


def told(sweeps: dict) -> str:
    """What the text is worth: the controls, then the rivals that are told signs, too."""
    lines = []
    for name, sweep in sweeps.items():
        for control in ("shuffled", "one_hot"):
            found = rows(sweep, metric="auroc_U").set_index("method")
            if control not in found.index:
                continue
            row, more = found.loc[control], difference(sweep, "focused", control, "auroc_U")
            chance = "includes" if row.low <= 0.5 <= row.high else "does **not** include"
            lines.append(
                f"* **{name}**: U with `{control}` is {interval(row.value, row.low, row.high)}; the interval {chance} "
                f"0.5. The true descriptions differ from it by {gap(more)}."
            )
    for name, sweep in sweeps.items():
        ran = [(other, row) for other in RIVALS if (row := difference(sweep, "signs", other)) is not None]
        if ran:
            gaps = "; of ".join(f"{label(other)} {gap(row)}" for other, row in ran)
            lines.append(f"* **{name}**, all told signs: H of CM-DML minus H of {gaps}.")
    found = "\n".join(lines) or "Nothing yet: no control was run."
    return f"*What to see:* what the text is worth.\n\n{found}"


def readings(sweeps: dict) -> str:
    """How seen validation labels rank the readings and settings of the distance loss."""
    lines = []
    for name, sweep in sweeps.items():
        chosen_by = validation(sweep)
        kin = [m for m in chosen_by.index
               if m.startswith(("focused", "gamma", "tau", "euclidean")) and "normals" not in m]  # fmt: skip
        ranked = chosen_by[kin].sort_values(ascending=False)
        place = {method: f"number {i + 1} ({value:.3f})" for i, (method, value) in enumerate(ranked.items())}
        first = ", ".join(f"{label(m)} ({ranked[m]:.3f})" for m in ranked.index[:3])
        lines.append(
            f"* **{name}**: of {len(kin)} readings and settings of the distance loss, seen validation labels rank "
            f"first {first}. The study's own is {place.get('focused', 'absent')}, plain Euclidean "
            f"{place.get('euclidean', 'absent')}."
        )
    return "*What to see:*\n\n" + "\n".join(lines)


def in_short(sweeps: dict) -> str:
    """On every split, whom the study's own method beats, whom it does not, and who was hardly trained."""
    lines, untrained = [], []
    for name, sweep in sweeps.items():
        untrained += hardly_trained(name, sweep)
        table = sweep["paired"]
        table = table[(table.method == "focused") & (table.protocol == "abnormal") & (table.metric == "auroc_H")]
        for split, part in table.groupby("split"):
            groups = {"better than": part.low > 0, "worse than": part.high < 0}
            groups["not told apart from"] = ~groups["better than"] & ~groups["worse than"]
            lines.append(f"* **{name}**, {split} split. CM-DML's H is")
            for what in ("better than", "not told apart from", "worse than"):
                lines.append(f"  * {what}: {'; '.join(map(label, part.reference[groups[what]])) or 'none'}.")
    text = "\n".join(lines) or "No results yet."
    if untrained:
        text += ("\n\n**Hardly trained under this budget**, so a difference to them says as much about the budget as "
                 f"about the method: {'; '.join(untrained)}.")  # fmt: skip
    more = "Intervals are not corrected for the number of comparisons: of twenty true ties, one may look like a win."
    return f"{text}\n\n{more}"


def hardly_trained(name: str, sweep: dict) -> list[str]:
    """Trained methods whose S is far below the study's own, on findings that both were shown."""
    means, found = sweep["methods"], []
    means = means[(means.protocol == "abnormal") & (means.metric == "auroc_S")].set_index("method")
    for split, part in means.value.groupby(means.split):
        short = [m for m in part.index
                 if part[m] < part.get("focused", 0) - UNTRAINED and m in sweep["about"]["methods"]]  # fmt: skip
        found += [f"{label(m)} ({name}, {split} split, S = {part[m]:.2f})" for m in short]
    return found
