"""Damaged inputs, drawn by hypothesis, reader by reader: refused in one sentence, or harmless."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reliability import readers, torture
from reliability.damage import ways

QUICK = settings(derandomize=True, max_examples=25, deadline=None, database=None,
                 suppress_health_check=list(HealthCheck))  # fmt: skip
SHARE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize("kind", [kind for kind in readers.READERS if kind not in ("checkpoint", "run", "rotation")])
def test_no_damage_is_accepted_in_silence(kind, tmp_path_factory):
    """Those that take longest to read are tried by ``make torture`` alone, but for a few cases below."""
    bench = readers.Bench(kind, tmp_path_factory.mktemp("bad"))

    @QUICK
    @given(st.data())
    def try_one(data):
        file = data.draw(st.integers(0, len(bench.files) - 1))
        how = data.draw(st.sampled_from(sorted(set(ways(bench.files[file])))))
        noise = data.draw(st.binary(min_size=1, max_size=20))
        case = readers.Case(file, how, data.draw(SHARE), data.draw(SHARE), noise)
        where, outcome, said = bench.judge(case)
        assert outcome not in readers.FAULTS, f"{where}, {case}: {outcome}: {said}"

    try_one()


@pytest.mark.parametrize("kind", ["checkpoint", "run", "rotation"])
def test_what_a_step_continues_or_counts_is_checked(kind, tmp_path):
    bench, rng = readers.Bench(kind, tmp_path), np.random.default_rng(0)
    found = [bench.judge(bench.draw(rng)) for _ in range(6)]
    assert not [one for one in found if one[1] in readers.FAULTS]
    assert readers.REFUSED in {one[1] for one in found}


@pytest.mark.parametrize("name", [name for name, (*_, kind, _) in torture.PLANTED.items() if kind in (
    "set", "features", "half a set", "results", "nih", "vectors")])  # fmt: skip
def test_a_planted_acceptance_is_reported(name, tmp_path):
    outcome, said = torture.unveil(name, np.random.default_rng(1), tmp_path)
    assert outcome == "seen", said


def test_a_sentence_is_one_line_of_ours_with_the_path():
    root = Path("/some/where")
    assert readers.sentence(ValueError("/some/where/a.csv: line 3 is odd; mend it"), root)
    assert readers.sentence(FileNotFoundError(2, "No such file", "/some/where/a"), root)
    for error in (ValueError("a.csv is odd"), ValueError("/some/where/a:\ntwo lines"), KeyError("/some/where"),
                  UnicodeDecodeError("utf-8", b"x", 0, 1, "/some/where"), MemoryError("/some/where")):  # fmt: skip
        assert not readers.sentence(error, root)
