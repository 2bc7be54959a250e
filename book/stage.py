"""Bring together what ran and what is written.

stage RUN_DIR    lay out RUN_DIR/book for Jupyter Book: the prose, the executed notebooks, the status page
results PROFILE  copy the numbers of runs/PROFILE to data/results/PROFILE, to be committed
readme           fill the README's table from data/results
"""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import folding
import matplotlib
import pandas as pd
import yaml

from cmdml.files import is_sealed
from cmdml.study import film_tables
from cmdml.study.places import resolve
from cmdml.study.results import manifest_of

matplotlib.use("agg")
ROOT = Path(__file__).resolve().parents[1]
NUMBERS = ("*.csv", "manifest.json")
TOOLS = ("stage.py", "folding.py", "browser.py", "check.py", "pdf.py")  # of this folder, and no part of the book
ROTATION = "data/results/rotation-nih-mini"
IMPROVED = "data/results/variants-nih-mini"


def fill(path: Path, marker: str, text: str) -> None:
    """Put `text` between <!-- marker --> and <!-- /marker -->."""
    before, _, rest = path.read_text().partition(f"<!-- {marker} -->")
    _, closing, after = rest.partition(f"<!-- /{marker} -->")
    if not closing:
        raise ValueError(f"{path}: the markers <!-- {marker} --> and <!-- /{marker} --> are missing.")
    path.write_text(f"{before}<!-- {marker} -->\n{text.strip()}\n{closing}{after}")


def status(run: Path, names: list[str]) -> str:
    """The status page: which notebook ran when, how long, on what."""
    rows, about = [], {}
    for name in names:
        for path in [run / f"notebooks/{name}.ipynb", *sorted(run.glob(f"variants/*/notebooks/{name}.ipynb"))]:
            metadata = json.loads(path.read_text())["metadata"]
            variant = path.parts[-3] if "variants" in path.parts else ""
            rows.append((name, variant, metadata["papermill"]["duration"], metadata["papermill"]["start_time"]))
            about = about or metadata["cmdml"]
    total = sum(row[2] for row in rows)
    whole = str.maketrans({"-": "\u2011", "T": "\u00a0"})  # a date is not broken
    lines = [
        f"| [{name}](../notebooks/{name}.ipynb){f', variant *{variant}*' if variant else ''} "
        f"| {seconds / 60:.1f} | {seconds / total:.0%} | {started[:16].translate(whole)} |"
        for name, variant, seconds, started in rows
    ]
    code = "unknown (not run from a git checkout)" if about["commit"] is None else f"`{about['commit'][:12]}`"
    code += ", with changes that were not committed" if about["dirty"] else ""
    machine, versions = about["machine"], {"python": about["python"], **about["versions"]}
    return "\n".join([
        "# Status", "",
        f"Profile **{run.name}**: every notebook ran to its end. Variants run beside each other, so their",
        f"minutes overlap; all together they are {total / 60:.1f} minutes of work.", "",
        "| notebook | minutes | share | started (UTC) |", "|---|---:|---:|---|", *lines, "",
        "## Machine and versions", "",
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}. Code: {code}.", "",
        "| package | version |", "|---|---|", *(f"| {name} | {version} |" for name, version in versions.items()), "",
    ])  # fmt: skip


COLUMNS = {
    "method": "", "findings": "findings", "images": "images", "films": "films", "seconds": "seconds",
    "fastest": "fastest", "slowest": "slowest", "per_second": "per second", "images_per_s": "images / s",
    "ratio": "ratio", "ratio_per_core": "ratio per core", "cpu_ms_per_image": "CPU ms / image",
    "ms_per_image": "ms / image", "peak_above_imports_mib": "peak memory above imports, MiB",
    "store_mib": "store, MiB", "gflops": "GFLOP/s",
    "cpu_s": "processor seconds", "own_mib": "memory of its own, MiB", "resident_mib": "with mapped files, MiB",
    "grown": "processor time, times", "full_minutes": "112,120 films, minutes",
    "full_cpu_minutes": "112,120 films, processor minutes", "full_own_mib": "112,120 films, memory of its own, MiB",
    "limit": "share of the limit", "share": "share of the time", "max_difference": "largest difference",
}  # fmt: skip


def _number(value) -> str:
    """Three significant digits, whole numbers from 1000 on, nothing where there is no value."""
    if isinstance(value, str) or pd.isna(value):
        return value if isinstance(value, str) else ""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _load(samples: list) -> str:
    """How busy a machine was, one-minute averages: ``4.2 → 5.1``."""
    return " → ".join(f"{sample[0]:.1f}" for sample in samples)


def code_of(about: dict) -> str:
    """The commit that a results file names, and whether its tree was clean."""
    return (about["commit"] or "unknown")[:12] + (", with changes" if about["dirty"] else "")


def benchmarks(page: Path) -> None:
    """Fill the page's marked places, one for each table of each file of data/results/benchmarks."""
    for file in sorted((ROOT / "data/results/benchmarks").glob("*.json")):
        if f"<!-- {file.stem} " not in page.read_text(encoding="utf-8"):
            continue  # another page's
        found = json.loads(file.read_text())
        if "sealed" in found and not is_sealed(found):
            raise ValueError(f"{file} was edited since it was measured: measure again (make bench)")
        machine, versions = found["machine"], found["versions"]
        where = f"{found.get('device', 'cpu')}; {machine['cpu']}, {machine['cores']} cores, {machine['system']}; "
        where += f"Python {found['python']}, torch {versions['torch']}; code `{code_of(found)}`; "
        where += f"median of {found['repeats']}."
        where += f" Load of the machine: {_load(found['load'])}." if "load" in found else ""
        for key in ("rows", "growth"):
            if key in found:
                table = pd.DataFrame(found[key])
                table = table[[name for name in COLUMNS if name in table]].rename(columns=COLUMNS)
                shown = table.map(_number)
                align = ["left" if name == "" else "right" for name in shown]
                fill(
                    page,
                    f"{file.stem} {key}",
                    shown.to_markdown(index=False, disable_numparse=True, colalign=align) + f"\n\n*{where}*",
                )


def reliability(page: Path) -> None:
    """Fill the page's marked places with what the long trial found."""
    folder = ROOT / "data/results/reliability"
    if not (folder / "manifest.json").is_file():
        return
    about = manifest_of(folder)
    for name in sorted(about["files"]):
        table = pd.read_csv(folder / name)
        align = ["left", *["right"] * (table.shape[1] - 1)]
        text = table.to_markdown(index=False, disable_numparse=True, colalign=align)
        fill(page, f"reliability {Path(name).stem}", text)
    tried, planned = sum(about["tried"].values()), sum(about["planned"].values())
    machine = about["machine"]
    lines = [
        f"{tried:,} trials of {planned:,} planned, {about['faults']:,} faults. Seed {about['seed']}, "
        f"{about['started'][:10]}, {about['cores_used']} of {machine['cores']} cores, {machine['system']}; "
        f"Python {about['python']}, torch {about['versions']['torch']}; code `{code_of(about)}`.",
        *(f"Not tried: {why}." for why in about["skipped"]),
    ]
    fill(page, "reliability about", " ".join(lines))


def cluster(page: Path) -> None:
    """Fill the page's marked place with what became of a part of the rotation on Slurm."""
    folder = ROOT / "data/results/cluster"
    if not (folder / "manifest.json").is_file():
        return
    about, jobs = manifest_of(folder, ["jobs.csv"]), pd.read_csv(folder / "jobs.csv")
    told = {"cancelled": "a job was cancelled with `scancel`", "controller killed": "the controller was killed",
            "controller started": "the controller was started again"}  # fmt: skip
    events = [told[one["event"]] for one in about["events"]]
    text = (f"Seen: {about['jobs']} jobs of design {about['seed']}. While they ran, {', '.join(events)}. "
            f"{about['submitted']} submissions, {jobs.arrived.sum()} of {len(jobs)} results arrived, and "
            f"{jobs.same.sum()} of {len(jobs)} hold bit for bit the scores that the same jobs gave without Slurm. "
            f"*{about['started'][:10]}, {about['seconds'] / 60:.0f} minutes, one node of {about['machine']['cores']} "
            f"cores; code `{code_of(about)}`.*")  # fmt: skip
    fill(page, "cluster", text)


def sizes(page: Path, file: Path) -> None:
    """Fill the page's marked place with what a laptop needs, as it was measured."""
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        megabytes = [f"{count / 1e6:,.1f}" for count in found["bytes"].values()]
        table = pd.DataFrame({"what": found["bytes"].keys(), "MB": megabytes})
        shown = table.to_markdown(index=False, disable_numparse=True, colalign=["left", "right"])
        fill(page, "sizes", f"{shown}\n\n*{found['system']}, Python {found['python']}.*")


def with_buttons(config: dict) -> dict:
    """The book's configuration, with Binder, Colab and repository buttons if ``repository.url`` is filled in."""
    about = config.get("repository") or {}
    url = (about.get("url") or "").rstrip("/").removesuffix(".git")
    if not url:
        return {name: value for name, value in config.items() if name != "repository"}
    if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", url):
        raise SystemExit(f"_config.yml: repository.url is {url!r}; write https://github.com/<owner>/<name>, or nothing")
    launch = {"binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com"}
    html = {"use_repository_button": True, "use_issues_button": True}
    return config | {"repository": about | {"url": url}, "launch_buttons": config["launch_buttons"] | launch,
                     "html": config["html"] | html}  # fmt: skip


def stage(run_dir: str) -> Path:
    """Write <run_dir>/book, with the same relative paths as the repository. Returns the folder."""

    from cmdml.plots import figures

    run = ROOT / run_dir
    out = run / "book"
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ROOT / "book", out / "book", ignore=shutil.ignore_patterns(*TOOLS, "__pycache__"))
    shutil.copy2(ROOT / "_toc.yml", out / "_toc.yml")
    config = with_buttons(yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8")))
    (out / "_config.yml").write_text(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), encoding="utf-8")
    for path in [*ROOT.glob("data/*.md"), *ROOT.glob("data/results/**/*.*")]:
        (out / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, out / path.relative_to(ROOT))
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    chapters = [Path(chapter["file"]) for part in parts for chapter in part["chapters"]]
    names = [path.name for path in chapters if path.parent.name == "notebooks"]
    (out / "notebooks").mkdir()
    for name in names:
        folding.fold(Path(shutil.copy2(run / f"notebooks/{name}.ipynb", out / "notebooks")))
    (out / "book/status.md").write_text(status(run, names))
    (out / "book/figures").mkdir(exist_ok=True)
    figures.loss_figure().savefig(out / "book/figures/loss.svg", bbox_inches="tight", metadata={"Date": None})
    benchmarks(out / "book/performance.md")
    reliability(out / "book/reliability.md")
    cluster(out / "book/reproducing.md")
    benchmarks(out / "book/reliability.md")
    for marker, text in film_tables.texts(ROOT / "data/results").items():
        fill(out / "book/one-film.md", marker, text)
    sizes(out / "book/teaching.md", ROOT / "teaching/sizes.json")
    rotation = ROOT / ROTATION
    if (rotation / "manifest.json").is_file():  # the same lines, table and figure as in the README
        fill(out / "book/intro.md", "answer", answer(rotation))
        fill(out / "book/intro.md", "rotation", anatomy(rotation))
        drawn(rotation, out / "book/figures/anatomy.png")
    return out


def own_manifest(folder: Path, run: Path, profile: str) -> dict:
    """The manifest of a run's or a variant's evaluation; SystemExit if it is another training's or its tables changed.

    Parameters
    ----------
    folder : of the run or the variant: its training and its evaluation lie there.
    run : the run's folder, whose radiographs it must be about.
    """
    again = f"`make study PROFILE={profile}` makes it again once that folder is deleted"
    try:
        about = manifest_of(folder / "evaluation")
    except (OSError, ValueError) as error:
        raise SystemExit(f"no results copied: {error}") from None
    given = about["parameters"]
    asked = given.get("training") or f"{given['run_dir']}/training"
    for what, found, wanted in (
        ("training", resolve(about.get("trained_in", asked)), folder / "training"),
        ("run", resolve(given["run_dir"]), run),
        ("profile", about["profile"], profile),
    ):
        if found != wanted:
            sentence = f"{folder / 'evaluation'} is of another {what}, {found}: {again}"
            raise SystemExit(f"no results copied: {sentence}")
    return about


def results(profile: str) -> Path:
    """Copy tables and manifests of the main run and of its variants to data/results/<profile>. Returns the folder.

    Nothing is copied, and nothing that lies there is touched, if one of them is not the run's own.
    """
    run, out = ROOT / "runs" / profile, ROOT / "data/results" / profile
    if not (run / "evaluation/manifest.json").is_file():
        raise SystemExit(f"runs/{profile} holds no evaluation to copy: `make study PROFILE={profile}` first")
    folders = [run, *(path for path in sorted(run.glob("variants/*")) if (path / "evaluation").is_dir())]
    for folder in folders:
        own_manifest(folder, run, profile)
    new, old = (out.with_name(f".{out.name}.{name}") for name in ("new", "old"))
    shutil.rmtree(new, ignore_errors=True)
    for folder in folders:
        to = new / folder.relative_to(run)
        to.mkdir(parents=True)
        for pattern in NUMBERS:
            for file in (folder / "evaluation").glob(pattern):
                shutil.copy2(file, to)
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        os.replace(out, old)
    os.replace(new, out)
    shutil.rmtree(old, ignore_errors=True)
    return out


def readme() -> None:
    """S, U and H with intervals of every committed result into the README: main run, other words, shuffled control."""
    lines = ["| radiographs | texts | protocol | test images | S | U | H |", "|---|---|---|---:|---|---|---|"]
    found = (ROOT / "data/results").glob("*/summary.csv")
    mains = [path for path in found if "protocol" in pd.read_csv(path, nrows=0)]  # others are of other things
    for main in sorted(mains, key=lambda p: (p.parent.name != "phantom", p)):
        others = (main.parent / f"variants/{name}/summary.csv" for name in ("description", "signs", "shuffled"))
        for file in (main, *others):
            if not file.exists():
                continue
            about = manifest_of(file.parent, ["summary.csv"])
            summary = pd.read_csv(file).set_index(["protocol", "metric"])
            for protocol, images in (("abnormal", about["images_test_abnormal"]), ("all", about["images_test"])):
                cells = (summary.loc[(protocol, f"auroc_{mean}")] for mean in "SUH")
                text = " | ".join(f"{c.value:.2f} ({c.low:.2f}–{c.high:.2f})" for c in cells)
                name = f"{about['profile']}, {about['images_total']:,}"
                lines.append(f"| {name} | {about['semantics']} | {protocol} | {images:,} | {text} |")
    fill(ROOT / "README.md", "results", "\n".join(lines))
    rotation = ROOT / ROTATION
    if (rotation / "manifest.json").is_file():
        fill(ROOT / "README.md", "answer", answer(rotation))
        fill(ROOT / "README.md", "rotation", anatomy(rotation))
        drawn(rotation, ROOT / "book/figures/anatomy.png")


def answer(folder: Path) -> str:
    """The answer in five lines, as Markdown."""
    from cmdml.study import report

    return "\n".join(f"* {line}" for line in report.answer(report.load(folder)))


def drawn(folder: Path, out: Path) -> None:
    """The anatomy figure of a rotation."""
    from cmdml.plots import anatomy as plots
    from cmdml.plots import figures
    from cmdml.study import report

    figures.style()
    tables = report.load(folder)
    plots.both(tables["findings"], tables["methods"]).savefig(out, dpi=150, bbox_inches="tight")


def anatomy(folder: Path) -> str:
    """The short answer of a rotation as Markdown: a table, the planned comparisons, and how it was made."""
    from cmdml.study import improvements, report

    tables, variants = report.load(folder), improvements.load(ROOT / IMPROVED)
    about, table = tables["manifest"], report.headline(tables)
    best = report.pick(tables["methods"], protocol="abnormal", stratum="none", metric="U")
    best = best[~best.method.isin(report.TOLD_LABELS)].sort_values("value").iloc[-1]
    missing = about["missing_designs"]
    lines = [
        table.reset_index().to_markdown(index=False, disable_numparse=True), "",
        *(f"* {line}" for line in report.planned(tables)), "",
        f"Highest U of all zero-shot scorers: **{report.NAMES[best.method]}**, {report.cell(best)}. "
        f"{about['films']:,} films, {about['abnormal']:,} of them with a finding; designs "
        + ", ".join(map(str, about["designs"]))
        + (f" (planned and not run yet: {', '.join(map(str, missing))})" if missing else "")
        + f"; `make rotation PROFILE=nih-mini`, {sum(about['seconds'].values()) / 60:.0f} minutes of jobs "
        "on a busy machine of two cores.",
        *(["", improvements.in_one_line(variants)] if variants else []),
    ]  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    task, *given = sys.argv[1:]
    if task == "stage":
        print(stage(*given))
    if task == "results":
        print(results(*given))
    if task in ("results", "readme"):
        readme()
