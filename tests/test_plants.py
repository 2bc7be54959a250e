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
    k, n = (sum(count[draw] for draw in ("third", "fourth")) for count in (lived, judged))
    low, high = binomtest(k, n).proportion_ci(method="wilson")
    assert f"({k} of {n}; 95 % interval by Wilson: {100 * low:.0f} to {100 * high:.0f} %)" in guide
