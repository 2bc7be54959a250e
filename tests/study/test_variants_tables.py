"""Tables of the variants: ranks and differences by hand, what is tried once, the test within folds, the command."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.evaluation.strata import stratified_auroc
from cmdml.study import variants_tables
from cmdml.study.rotation import Rotation
from cmdml.study.variants_tables import RIVALS, compared, effects, main, ranked, tried

CHANGES = {"base": {}, "gamma_0": {"gamma": 0.0}, "both": {"gamma": 0.0, "tau": 2.0}, "linear": {"hidden": 0}}


def cells_of(**values):
    """(pseudo-unseen, seen, seconds) of three cells of each variant."""
    rows = [{"variant": name, "quadruple": q // 2, "pseudo": f"p{q % 2}", "pseudo_unseen": u, "seen": s, "seconds": t}
            for name, cells in values.items() for q, (u, s, t) in enumerate(cells)]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=0)  # in no order


VALUES = {
    "base": [(0.5, 0.8, 1.0), (0.6, 0.7, 2.0), (0.7, 0.6, 3.0)],
    "gamma_0": [(0.6, 0.9, 4.0), (0.65, 0.9, 5.0), (0.7, 0.9, 9.0)],
    "both": [(0.9, 0.5, 1.0), (0.3, 0.5, 1.0), (0.5, 0.5, 1.0)],
    "linear": [(0.4, 0.1, 7.0), (0.4, 0.2, 7.0), (0.4, 0.3, 7.0)],
}


def test_ranks_means_and_differences_over_the_same_cells():
    table = ranked(cells_of(**VALUES), CHANGES)
    assert list(table["variant"]) == ["gamma_0", "base", "both", "linear"] and list(table["rank"]) == [1, 2, 3, 4]
    for row in table.itertuples():
        unseen, seen, seconds = np.array(VALUES[row.variant]).T
        less = unseen - np.array(VALUES["base"])[:, 0]
        assert row.pseudo_unseen == pytest.approx(unseen.mean()) and row.seen == pytest.approx(seen.mean())
        assert row.difference == pytest.approx(less.mean()) and row.sd == pytest.approx(less.std(ddof=1))
        assert (row.cells_better, row.cells) == (sum(less > 1e-12), 3)
        assert row.seconds == pytest.approx(seconds.mean()) and json.loads(row.changes) == CHANGES[row.variant]


def test_of_equal_variants_the_one_named_first_stays_first():
    same = dict.fromkeys(CHANGES, VALUES["base"])
    assert list(ranked(cells_of(**same), CHANGES)["variant"]) == list(CHANGES)


def test_an_effect_is_of_one_parameter_alone():
    parameters = {"gamma": 2.0, "alpha": 0.75, "tau": 1.0, "direction": "joint"}
    table = effects(ranked(cells_of(**VALUES), CHANGES), CHANGES, parameters)
    found = [(row.parameter, row.value, row.variant) for row in table.itertuples()]
    assert found == [("gamma", 2.0, "base"), ("gamma", 0.0, "gamma_0"), ("alpha", 0.75, "base"), ("tau", 1.0, "base"),
                     ("direction", "joint", "base")]  # fmt: skip
    assert table.pseudo_unseen[1] == pytest.approx(0.65) and table.difference[1] == pytest.approx(0.05)


@pytest.fixture
def profile(rotation_profile, tmp_path):
    plan = {"design": 1, "quadruples": [4, 9], "variants": {"base": {}, "linear": {"hidden": 0}}}
    given = {"run_dir": str(tmp_path), "gamma": 2.0, "alpha": 0.75, "tau": 1.0, "direction": "joint"}
    return rotation_profile | {"parameters": rotation_profile["parameters"] | given,
                               "rotation": rotation_profile["rotation"] | {"improvements": plan}}  # fmt: skip


@pytest.fixture
def asked(monkeypatch):
    """Stands for the training of a cell; returns what it was asked."""
    calls = []

    def validated(rotation, changes, quadruple, pseudo):
        calls.append((changes, quadruple, pseudo))
        return {"pseudo_unseen": 0.5 + 0.1 * len(changes) + 0.01 * quadruple, "seen": 0.6}

    monkeypatch.setattr(variants_tables, "validated", validated)
    return calls


def test_a_variant_is_tried_once_a_cell_and_again_where_it_changed(profile, asked, tmp_path, rotation):
    rows = tried(profile, "linear")
    assert [(changes, quadruple) for changes, quadruple, _ in asked] == [({"hidden": 0}, 4), ({"hidden": 0}, 9)]
    for row, (_, quadruple, pseudo) in zip(rows, asked, strict=True):
        names = " ".join(rotation.films.findings[c] for c in pseudo)
        assert (row["variant"], row["quadruple"], row["pseudo"]) == ("linear", quadruple, names)
        assert row["pseudo_unseen"] == pytest.approx(0.6 + 0.01 * quadruple) and 0 <= row["seconds"] < 60
    held = json.loads((tmp_path / "variants/linear.json").read_text())
    assert held["rows"] == rows and {"commit", "dirty", "asked"} <= set(held)
    asked.clear()
    assert tried(profile, "linear") == rows and not asked
    for name, value in (("quadruples", [4]), ("variants", {"linear": {"hidden": 4}})):
        plan = profile["rotation"]["improvements"] | {name: value}
        tried(profile | {"rotation": profile["rotation"] | {"improvements": plan}}, "linear")
        assert asked, name
        asked.clear()


@pytest.fixture(scope="module")
def made(rotation):
    shape = (len(rotation.sets), len(rotation.films), len(rotation.films.findings))
    rng = np.random.default_rng(0)
    return {"mine": rng.normal(size=shape) + rotation.films.labels[None], "noise": rng.normal(size=shape)}


def naive(rotation, scores, protocol, unseen, strata):
    """Mean over findings and quadruples of the AUROC within strata, pooled by pairs."""
    labels, values = rotation.films.labels, []
    count = labels.sum(1)
    keep = {"abnormal": count > 0, "single": count == 1, "all": count >= 0}[protocol]
    for c in range(labels.shape[1]):
        for q, chosen in enumerate(rotation.sets):
            if (c in chosen) == unseen:
                above = pairs = 0.0
                for stratum in np.unique(strata):
                    here = keep & (strata == stratum)
                    y = labels[here, c] == 1
                    order = scores[q, here, c][y][:, None] > scores[q, here, c][~y]
                    above, pairs = above + order.sum(), pairs + order.size
                values.append(above / pairs)
    return np.mean(values)


def test_the_test_is_within_folds_and_within_source_and_view(rotation, made):
    few = Rotation(rotation.profile, 1, rotation.films, rotation.sets[:3], rotation.fold)
    some = {name: scores[:3] for name, scores in made.items()}
    rows = pd.DataFrame(compared(few, some, "mine", 10))
    table, fold = rotation.films.table, rotation.fold.astype(str)
    together = fold + "/" + table["source_repo"].to_numpy(str) + "/" + table["view"].to_numpy(str)
    assert len(rows) == 3 * 2 * 2 * 2
    row = rows.set_index(["method", "protocol", "stratum", "metric"])
    for protocol, stratum, metric in (("abnormal", "none", "S"), ("all", "source_view", "S")):
        strata = fold if stratum == "none" else together
        for method in some:
            expected = naive(few, some[method], protocol, metric == "U", strata)
            assert row.loc[(method, protocol, stratum, metric), "value"] == pytest.approx(expected, abs=1e-6)
        mine, noise = (row.loc[(method, protocol, stratum, metric)] for method in some)
        assert noise.variant_minus == pytest.approx(mine.value - noise.value, abs=1e-6)
        assert mine.variant_minus == mine.minus_low == mine.minus_high == 0
        assert noise.low < noise.value < noise.high and noise.minus_low < noise.variant_minus < noise.minus_high


def test_a_patient_s_films_are_drawn_together(rotation, made):
    """With one patient every draw is the set itself, however many films there are."""
    films = replace(rotation.films, table=rotation.films.table.assign(patient="p"))
    few = Rotation(rotation.profile, 1, films, rotation.sets[:1], rotation.fold)
    rows = pd.DataFrame(compared(few, {name: scores[:1] for name, scores in made.items()}, "mine", 5))
    np.testing.assert_allclose(rows[["low", "high"]], rows[["value", "value"]], atol=1e-12)
    np.testing.assert_allclose(rows[["minus_low", "minus_high"]], rows[["variant_minus"] * 2], atol=1e-12)


def test_the_chosen_variant_and_its_rivals_score_the_test_films_of_each_fold(profile, monkeypatch):
    seen, given = [], {}

    class Made:
        def __init__(self, rotation, what, quadruple):
            self.what, self.quadruple = what, quadruple

        def choose(self):
            return f"chosen for {self.what}", None

        def __call__(self, cell, setting, films):
            seen.append((str(self.what), setting))
            assert np.array_equal(films, cell.test)
            return np.full((len(films), 14), self.quadruple)

    few = Rotation.of(profile, 1)
    few = Rotation(profile, 1, few.films, few.sets[:2], few.fold)
    monkeypatch.setattr(variants_tables.Rotation, "of", lambda *_: few)
    monkeypatch.setattr(variants_tables, "Scorer", Made)
    monkeypatch.setattr(variants_tables, "VariantScorer", Made)
    monkeypatch.setattr(variants_tables, "compared", lambda rotation, made, name, n: given.update(
        made=made, name=name, n=n) or ["rows"])  # fmt: skip
    assert variants_tables.tested(profile, "linear") == ["rows"]
    assert list(given["made"]) == ["linear", *RIVALS] and given["name"] == "linear" and given["n"] == 20
    for scores in given["made"].values():
        assert (scores[0] == 0).all() and (scores[1] == 1).all()
    assert len(seen) == 2 * 3 * 5 and ("{'hidden': 0}", {}) in seen
    assert {setting for what, setting in seen if what == "eszsl"} == {"chosen for eszsl"}


@pytest.fixture
def command(profile, asked, monkeypatch):
    published = []
    monkeypatch.setattr(variants_tables.run, "load_profile", lambda name: profile)
    monkeypatch.setattr(variants_tables.run, "settings", lambda profile: {"seed": 0})
    monkeypatch.setattr(variants_tables.run, "publish", lambda out, tables, **about: published.append(
        (out, tables, about)) or out)  # fmt: skip
    monkeypatch.setattr(variants_tables, "tested", lambda profile, name: [{"method": name}])
    return published


def test_the_command_writes_once_all_variants_are_tried(command, capsys):
    assert main("rank", "made", "base") is None and not command
    assert "1 variants are not tried yet: linear" in capsys.readouterr().out
    assert main("rank", "made", "linear") == "data/results/variants-made"
    (_, tables, about), = command
    assert set(tables) == {"ranking", "cells", "effects"} and len(tables["cells"]) == 4
    assert about["first"] == "linear" and about["seed"] == 1
    assert about["seconds"] == pytest.approx(tables["cells"].seconds.sum())
    main("test", "made")
    assert command[1][1]["test"].to_dict("records") == [{"method": "linear"}]


def test_the_command_refuses_what_it_does_not_know(command, profile):
    with pytest.raises(ValueError, match="unknown task 'rnak': did you mean 'rank'"):
        main("rnak", "made")
    with pytest.raises(ValueError, match="unknown variant 'linaer': did you mean 'linear'"):
        main("rank", "made", "linaer")
    for rotation in (None, {"designs": [1]}):
        profile["rotation"] = rotation
        with pytest.raises(ValueError, match=r"^profile made has no rotation\.improvements: see profiles/nih-mini"):
            main("rank", "made")


def test_intervals_are_those_of_drawn_patients(rotation, made):
    """U by hand, and the difference draw by draw."""
    few = Rotation(rotation.profile, 1, rotation.films, rotation.sets[:1], rotation.fold)
    rows = pd.DataFrame(compared(few, {name: scores[:1] for name, scores in made.items()}, "mine", 30))
    row = rows.set_index(["method", "protocol", "stratum", "metric"]).loc[("noise", "abnormal", "none", "U")]
    patients, labels = rotation.films.table["patient"].to_numpy(), rotation.films.labels
    weights, unit = bootstrap_weights(patients, 30, 0)
    keep, draws = labels.any(1), {}
    for name, scores in made.items():
        each = [stratified_auroc(labels[keep, c], scores[0, keep, c][:, None], rotation.fold[keep], weights,
                                 unit[keep])[0][1:, 0] for c in rotation.sets[0]]  # fmt: skip
        draws[name] = np.mean(each, axis=0)
    wanted = [*np.quantile(draws["noise"], [0.025, 0.975]),
              *np.quantile(draws["mine"] - draws["noise"], [0.025, 0.975])]  # fmt: skip
    found = row[["low", "high", "minus_low", "minus_high"]].astype(float)
    np.testing.assert_allclose(found, wanted, atol=1e-9)


def test_another_training_is_tried_anew(profile, asked, tmp_path):
    """Parameters of the heads count, of the profile or of the plan; folders and what is no training's do not."""
    tried(profile, "linear")
    asked.clear()
    trained = profile["rotation"]["trained"] | {"parameters": {"lr": 0.5}}
    for changed in (profile | {"parameters": profile["parameters"] | {"epochs": 9}},
                    profile | {"rotation": profile["rotation"] | {"trained": trained}}):  # fmt: skip
        tried(changed, "linear")
        assert len(asked) == 2
        asked.clear()
    tried(profile, "linear")
    asked.clear()
    tried(profile | {"parameters": profile["parameters"] | {"nih_root": "/elsewhere", "replicates": 7}}, "linear")
    assert not asked


def test_other_films_are_tried_anew(profile, asked, rotation, monkeypatch):
    tried(profile, "linear")
    asked.clear()
    films = replace(rotation.films, card=rotation.films.card | {"sha256": "another"})
    other, cells = replace(rotation, films=films), variants_tables.cells_of(profile)[1]
    monkeypatch.setattr(variants_tables, "cells_of", lambda _: (other, cells))
    tried(profile, "linear")
    assert len(asked) == 2


def test_the_manifest_says_what_was_asked_and_of_which_films(command, profile, rotation):
    for task in ("rank", "test"):
        main(task, "made")
        about = command[-1][2]
        assert about["command"] == f"python -m cmdml.study.variants_tables {task} made" and about["profile"] == "made"
        assert about["improvements"] == profile["rotation"]["improvements"] and about["parameters"] == {"seed": 0}
        assert about["radiographs"].card["sha256"] == rotation.films.card["sha256"]
    assert set(about) == {"profile", "started", "first", "improvements", "seed", "command", "parameters", "radiographs",
                          "seconds"}  # fmt: skip
