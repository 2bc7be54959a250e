"""What the contributor guide says of planted bugs is what was judged."""

import json
import re
from collections import Counter
from pathlib import Path

from scipy.stats import binomtest

ROOT = Path(__file__).resolve().parents[1]


def test_the_guide_counts_the_bugs_that_were_planted():
    plants = [json.loads(line) for line in (ROOT / "tests/plants.jsonl").read_text(encoding="utf-8").splitlines()]
    judged, lived = Counter(one["draw"] for one in plants), Counter(one["draw"] for one in plants if one["lived"])
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| the (\w+)\b[^|]*\| (\d+) \| (\d+) \|$", guide, re.M)
    told = {draw: (int(planted), int(alive)) for draw, planted, alive in rows}
    assert {draw: numbers for draw, numbers in told.items() if draw != "first"} == {
        draw: (judged[draw], lived[draw]) for draw in judged}  # fmt: skip
    late = [one for one in plants if one["draw"] != "second"]  # after the tests were gone through
    k, n = sum(one["lived"] for one in late), len(late)
    low, high = binomtest(k, n).proportion_ci(method="wilson")
    assert f"({k} of {n}; 95 % interval by Wilson: {100 * low:.0f} to {100 * high:.0f} %)" in guide
    for place, inside in (("in the package", True), ("outside it", False)):
        here = [one for one in late if one["file"].startswith("cmdml/") == inside]
        assert f"{sum(one['lived'] for one in here)} of {len(here)} {place}" in guide
