"""The deck: ``teaching/slides.md`` with figures and numbers of the committed results, as one HTML file.

``make slides`` writes ``_build/slides/slides.html``. It holds its figures, its style and its keys (arrows, space, Home,
End; P prints one slide a page), and loads nothing.
"""

import base64
import html
import io
import json
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from cmdml.feature_set import FeatureSet  # noqa: E402
from cmdml.plots import anatomy, figures  # noqa: E402
from cmdml.plots import traps as drawn  # noqa: E402
from cmdml.study import report, traps  # noqa: E402

STYLE = """
body { margin: 0; font: 26px/1.45 system-ui, sans-serif; color: #1b1b1b; background: #fff }
section { display: none; box-sizing: border-box; min-height: 100vh; padding: 4vh 6vw }
section.on { display: block }
h1 { font-size: 1.5em; margin: 0 0 .6em; color: #4a2c7a }
img { max-width: 100%; max-height: 68vh; display: block; margin: auto }
table { border-collapse: collapse; font-size: .62em }
th, td { padding: .25em .7em; border-bottom: 1px solid #ccc; text-align: left }
pre { background: #f3f1f7; padding: .6em }
footer { position: fixed; right: 1em; bottom: .5em; font-size: .5em; color: #555 }
@media print { section { display: block; page-break-after: always } footer { display: none } }
"""
KEYS = """
const all = [...document.querySelectorAll('section')];
let at = Math.max(0, (parseInt(location.hash.slice(1)) || 1) - 1);
function show(to) {
  at = Math.min(all.length - 1, Math.max(0, to));
  all.forEach((slide, i) => slide.classList.toggle('on', i == at));
  document.querySelector('footer').textContent = (at + 1) + ' / ' + all.length;
  history.replaceState(null, '', '#' + (at + 1));
}
addEventListener('keydown', event => {
  const to = {ArrowRight: at + 1, PageDown: at + 1, ' ': at + 1, ArrowLeft: at - 1, PageUp: at - 1,
              Home: 0, End: all.length}[event.key];
  if (to !== undefined) { show(to); event.preventDefault(); }
  if (event.key == 'p') print();
});
addEventListener('click', event => show(at + (event.clientX > innerWidth / 3 ? 1 : -1)));
show(at);
"""


def svg(fig) -> str:
    """A figure as a data address."""
    out = io.BytesIO()
    fig.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(fig)
    return address(out.getvalue())


def address(content: bytes) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(content).decode()


def pictures(rotated: dict, films: FeatureSet) -> dict[str, str]:
    """{name: data address} of the figures that the deck asks for, from committed results."""
    figures.style()
    where = {"protocol": "abnormal", "stratum": "none"}
    out = {"loss": svg(figures.loss_figure())}
    fig, ax = plt.subplots(figsize=(8, 5.4))
    found = report.pick(rotated["findings"], **where)
    anatomy.anatomy(found, report.pick(rotated["methods"], metric="U", **where), ax)
    ax.legend(fontsize=8, loc="lower right")
    out["anatomy"] = svg(fig)
    fig, ax = plt.subplots(figsize=(8, 4.6))
    drawn.alone(traps.alone(films.table, films.findings, films.table["view"] == "AP"), ax, "AUROC of AP alone")
    out["view"] = svg(fig)
    fig, ax = plt.subplots(figsize=(8, 4))
    drawn.quadruples(traps.quadruple_gains(rotated["coverage"]), ax)
    return out | {"split": svg(fig)}


def values(rotated: dict) -> dict[str, str]:
    """{name: Markdown} of the numbers and tables that the deck asks for."""
    about, shown = rotated["manifest"], report.headline(rotated)
    seeds = traps.by_seed(traps.load_sweep(ROOT / "data/results/sweep-nih")["metrics"])
    chosen = traps.winners(seeds).rename(columns={"printed": "U in the seed it won", "again": "U in the other seeds"})
    return {
        "films": f"{about['films']:,}", "abnormal": f"{about['abnormal']:,}", "designs": str(len(about["designs"])),
        "commit": f"From results of commit {(about['commit'] or 'unknown')[:12]}",
        "headline": shown[["U", "U, gain over illness"]].to_markdown(),
        "protocols": traps.by_protocol(rotated["methods"]).to_markdown(),
        "chosen": traps.shown(chosen).to_markdown(),
    }  # fmt: skip


def deck(text: str, told: dict[str, str], drawings: dict[str, str]) -> str:
    """The page. ValueError for a number or a figure that the deck names and nobody makes."""

    def value(match):
        if match[1] not in told:
            raise ValueError(f"slides.md asks for {{{match[1]}}}; there are {', '.join(sorted(told))}.")
        return told[match[1]]

    def picture(match):
        alt, source = match.groups()
        if source.startswith("figure:"):
            if source[7:] not in drawings:
                raise ValueError(f"slides.md asks for {source}; there are {', '.join(sorted(drawings))}.")
            source = drawings[source[7:]]
        else:
            source = address((ROOT / source).read_bytes())
        return f'<img alt="{html.escape(alt)}" src="{source}">'

    text = re.sub(r"\{([a-z]+)\}", value, text)
    render = MarkdownIt("commonmark", {"html": True}).enable("table").render
    slides = [re.sub(r"!\[(.*?)\]\((.*?)\)", picture, slide) for slide in re.split(r"^---$", text, flags=re.M)]
    title = html.escape(re.search(r"^# (.*)$", text, re.M)[1])
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "".join(f"<section>{render(slide)}</section>\n" for slide in slides)
    return (
        f'<!doctype html><html lang="en"><head>{head}<style>{STYLE}</style></head>\n'
        f"<body>{body}<footer></footer><script>{KEYS}</script></body></html>\n"
    )


def main(out=ROOT / "_build/slides/slides.html") -> Path:
    out = Path(out)
    rotated = report.load("data/results/rotation-nih-mini")
    films = FeatureSet.load(ROOT / "data/features/nih-mini-efficientnet_lite0")
    page = deck((ROOT / "teaching/slides.md").read_text(encoding="utf-8"), values(rotated), pictures(rotated, films))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page, encoding="utf-8")
    return out


if __name__ == "__main__":
    try:
        print(main(*sys.argv[1:]))
    except (ValueError, OSError, json.JSONDecodeError) as error:
        sys.exit(f"No slides were written. {error}")
