"""The tables of a rotation, end to end on made films: every number against a loop over folds."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from cmdml.evaluation.anatomy import holm
from cmdml.evaluation.metrics import bootstrap_weights
from cmdml.files import sealed, sha256
from cmdml.findings import KEYS, findings_of
from cmdml.study import anatomy, rotation_plan
from cmdml.study.anatomy import Scores, collect
from cmdml.study.rotation import Rotation
from cmdml.study.scorers import methods

COLUMNS = {  # what a reader of the tables can count on
    "methods": "method protocol stratum metric value low high sd_designs films",
    "findings": "method protocol stratum finding value low high positives",
    "paired": "method reference protocol stratum metric difference low high p planned p_holm",
    "permutation": "method design kind real mean sd largest permutations p",
    "coverage": "design quadruple finding coverage neighbour_seen gain",
    "tuning": "method design quadruple setting auroc used",
}
VIEWS = list(product(("abnormal", "single", "all"), ("none", "view", "source", "source_view")))


@pytest.fixture(scope="module")
def results(rotation_profile, scored, tmp_path_factory):
    out = tmp_path_factory.mktemp("results") / "rotation-made"
    folder = collect(rotation_profile, out)
    assert folder == out
    return folder, {name: pd.read_csv(folder / f"{name}.csv", keep_default_na=True) for name in COLUMNS}


@pytest.fixture(scope="module")
def scores(rotation_profile, scored):
    return Scores(rotation_profile)


def stored(path):
    with safe_open(path, framework="np") as file:
        return file.get_tensor("scores")


def kept(labels, protocol):
    count = labels.sum(1)
    return {"abnormal": count > 0, "single": count == 1, "all": count >= 0}[protocol]


def pooled(rotation, values, c, protocol, columns=(), weight=None):
    """AUROC within folds (and the table's columns), pooled by pairs, and the positives that took part."""
    labels, table = rotation.films.labels, rotation.films.table
    keep, groups = kept(labels, protocol), [rotation.fold, *(table[name].to_numpy() for name in columns)]
    weight = np.ones(len(labels)) if weight is None else weight
    above = pairs = positives = 0.0
    for key in set(zip(*groups, strict=True)):
        rows = keep & np.logical_and.reduce([g == k for g, k in zip(groups, key, strict=True)])
        y, w = labels[rows, c] == 1, weight[rows]
        n = w[y].sum() * w[~y].sum()
        if y.any() and not y.all():
            positives += y.sum()
        if n:
            above, pairs = above + n * roc_auc_score(y, values[rows, c], sample_weight=w), pairs + n
    return above / pairs if pairs else np.nan, positives


def test_every_table_is_there_with_its_columns_and_a_manifest_that_vouches_for_it(results, rotation_profile):
    folder, tables = results
    assert {p.name for p in folder.iterdir()} == {*(f"{name}.csv" for name in COLUMNS), "manifest.json"}
    for name, columns in COLUMNS.items():
        found = [column for column in tables[name] if column in columns.split()]
        assert sorted(found) == sorted(columns.split()) and len(tables[name]), name
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"] == {f"{name}.csv": sha256(folder / f"{name}.csv") for name in COLUMNS}
    assert (manifest["designs"], manifest["missing_designs"]) == ([1], [])
    assert manifest["rotation"] == rotation_profile["rotation"]
    assert list(manifest["seconds"]) == methods(rotation_profile["rotation"])


def test_every_method_stands_in_every_view(results, rotation_profile):
    _, tables = results
    names = methods(rotation_profile["rotation"])
    for name, metrics in (("methods", ["U", "U20", "share"]), ("findings", KEYS)):
        key = "metric" if name == "methods" else "finding"
        table = tables[name][tables[name][key].isin(metrics)]
        rows = list(table[["method", "protocol", "stratum", key]].itertuples(index=False, name=None))
        assert sorted(rows) == sorted((m, *view, k) for m, view, k in product(names, VIEWS, metrics))
    with_seen = tables["methods"][tables["methods"]["metric"].isin(["S", "H"])]
    assert len(with_seen) == 2 * 3 * len(names) and set(with_seen["stratum"]) == {"none"}


@pytest.mark.parametrize(("protocol", "stratum"), [("abnormal", "none"), ("single", "view"), ("all", "source_view")])
def test_a_findings_value_is_the_loop_over_folds(results, rotation, scored, protocol, stratum):
    _, tables = results
    columns = {"none": (), "view": ("view",), "source_view": ("source_repo", "view")}[stratum]
    values, c = stored(scored["eszsl"]), 3
    cells = [pooled(rotation, values[q], c, protocol, columns) for q, one in enumerate(rotation.sets) if c in one]
    assert len(cells) == 4
    table = tables["findings"].set_index(["method", "protocol", "stratum", "finding"])
    row = table.loc[("eszsl", protocol, stratum, KEYS[c])]
    assert row["value"] == pytest.approx(np.mean([value for value, _ in cells]), abs=1e-5)
    assert row["positives"] == cells[0][1] and row["low"] <= row["value"] <= row["high"]


def test_u_s_and_h_are_means_of_those_loops(results, rotation, scored):
    _, tables = results
    values, labels = stored(scored["eszsl"]), rotation.films.labels
    seen, unseen = [], []
    for q, one in enumerate(rotation.sets):
        for c in range(len(KEYS)):
            (unseen if c in one else seen).append(pooled(rotation, values[q], c, "abnormal")[0])
    table = tables["methods"].set_index(["method", "protocol", "stratum", "metric"])
    found = {metric: table.loc[("eszsl", "abnormal", "none", metric)] for metric in ("U", "S", "H")}
    s, u = np.mean(seen), np.mean(unseen)
    assert len(seen) == 140 and len(unseen) == 56
    assert [found[m]["value"] for m in ("U", "S", "H")] == pytest.approx([u, s, 2 * s * u / (s + u)], abs=1e-5)
    assert all(found[m]["films"] == (labels.sum(1) > 0).sum() for m in found)
    assert u > 0.75 and found["U"]["low"] > 0.7 and np.isnan(found["U"]["sd_designs"])  # one design


def test_all_methods_strata_and_halves_share_the_draws_of_patients(scores, rotation, scored):
    """Draw 7 by hand: the same number of times each patient, whoever is asked."""
    patients = rotation.films.table["patient"].to_numpy()
    weight = scores.weights[7][np.unique(patients, return_inverse=True)[1]]
    assert scores.weights.dtype.kind in "iu" and (scores.weights[0] == 1).all() and scores.weights.shape[0] == 21
    assert scores.weights[7].sum() == len(np.unique(patients)) and (weight == 0).any()
    for protocol, stratum, columns in (("abnormal", "none", ()), ("all", "view", ("view",))):
        cells, _ = scores.cells(protocol, stratum)
        for method in ("eszsl", "label_count", "ceiling"):
            m = scores.methods.index(method)
            for k in (0, 9, 55):
                c = scores.finding[0, k]
                want, _ = pooled(rotation, stored(scored[method])[k // 4], c, protocol, columns, weight)
                assert cells[m, 0, k, 7] == pytest.approx(want, abs=1e-5)
    halves, _ = scores.cells("abnormal", "none", seen=True)
    each = [pooled(rotation, stored(scored["eszsl"])[q], c, "abnormal", (), weight)[0]
            for q, one in enumerate(rotation.sets) for c in range(len(KEYS)) if c not in one]  # fmt: skip
    assert halves[scores.methods.index("eszsl"), 0, 7] == pytest.approx(np.mean(each), abs=1e-5)


def test_films_of_two_folds_are_never_compared(scores, rotation, monkeypatch):
    """Each fold's scores become ranks, far above those of the fold before: nothing may change, in no stratum."""

    def ranked(design):
        out = real(design)
        for at in range(3):
            rows = rotation.fold == at
            out[:, rows] = rankdata(out[:, rows], axis=1) + 10_000 * at
        return out

    real = scores.of
    for stratum, seen in product(("none", "source_view"), (False, True)):
        monkeypatch.undo()
        before, _ = scores.cells("abnormal", stratum, seen)
        monkeypatch.setattr(scores, "of", ranked)
        np.testing.assert_array_equal(scores.cells("abnormal", stratum, seen)[0], before)


def test_comparisons_are_paired_and_the_planned_ones_marked_and_corrected(results):
    _, tables = results
    paired = tables["paired"].fillna({"planned": ""})
    table = tables["methods"].set_index(["method", "protocol", "stratum", "metric"])["value"]
    for row in paired[paired.left_out.isna()].sample(30, random_state=0).itertuples():
        a, b = (table[(m, row.protocol, row.stratum, "U")] for m in (row.method, row.reference))
        assert row.difference == pytest.approx(a - b, abs=2e-5)
    planned = paired[paired.planned != ""].set_index(["method", "reference", "stratum"])
    assert set(planned.protocol) == {"abnormal"} and (planned.metric == "U").all()
    pairs = {"primary": [("focused", "mean_of_seen")], "secondary": [("focused", "eszsl"), ("eszsl", "ceiling")]}
    for kind, given in pairs.items():
        found = planned[planned.planned == kind]
        assert set(found.index) == {(*pair, s) for pair, s in product(given, ("none", "source_view"))}
    second = planned[planned.planned == "secondary"]
    np.testing.assert_allclose(second.p_holm, holm(second.p.to_numpy()), rtol=1e-5)
    assert paired[paired.planned != "secondary"].p_holm.isna().all() and (second.p_holm > second.p).any()


def test_the_share_of_the_ceiling_is_one_for_the_ceiling_and_nothing_for_illness(results):
    _, tables = results
    table = tables["methods"]
    here = table[(table.metric == "share") & (table.protocol == "abnormal") & (table.stratum == "none")]
    share = here.set_index("method")["value"]
    assert (share["ceiling"], share["mean_of_seen"]) == (1, 0) and 0.3 < share["eszsl"] < 1.2


def test_coverage_tells_where_signs_were_taught(results, rotation, scores):
    _, tables = results
    signs = [set(finding.signs) for finding in findings_of(KEYS)]
    unit = np.array([[len(a & b) / np.sqrt(len(a) * len(b)) for b in signs] for a in signs])
    cells, _ = scores.cells("abnormal", "none")
    focused, ill = (cells[scores.methods.index(m), 0, :, 0] for m in ("focused", "mean_of_seen"))
    assert len(tables["coverage"]) == 56
    for k, row in enumerate(tables["coverage"].itertuples()):
        c, unseen = KEYS.index(row.finding), rotation.sets[row.quadruple]
        taught = set().union(*(signs[s] for s in range(14) if s not in unseen))
        assert c == unseen[k % 4] and row.coverage == pytest.approx(len(signs[c] & taught) / len(signs[c]), abs=1e-5)
        others = [s for s in range(14) if s != c]
        near = max(others, key=lambda s: round(unit[c, s], 6))
        assert row.neighbour_seen == (near not in unseen)
        assert row.gain == pytest.approx(focused[k] - ill[k], abs=1e-5)


def test_coverage_of_sets_of_another_size(scores, monkeypatch):
    """Sets of two unseen findings: each of the 28 rows names a finding of its own set."""
    sets = tuple(tuple(one[:2]) for one in scores.rotations[1].sets)
    monkeypatch.setitem(scores.rotations, 1, replace(scores.rotations[1], sets=sets))
    monkeypatch.setattr(scores, "finding", np.ravel(sets)[None])
    table = anatomy.coverage(scores, np.zeros((len(scores.methods), 1, 28, 1)))
    assert len(table) == 28
    for row in table.itertuples():
        assert KEYS.index(row.finding) in sets[row.quadruple]


def test_tuning_lists_every_setting_and_which_was_used(results):
    _, tables = results
    tuning = tables["tuning"]
    assert (tuning.groupby(["method", "design", "quadruple"])["used"].sum() == 1).all()
    assert len(tuning[tuning.method == "eszsl"]) == 14 * 4 and len(tuning[tuning.method == "focused"]) == 14 * 2


def planted(profile, scored, tmp_path, leave_out=(), **about):
    """The profile with its scores in another folder: some methods missing, or telling something else of themselves."""
    out = tmp_path / "rotation" / "1"
    out.mkdir(parents=True)
    for method, path in scored.items():
        if method not in leave_out:
            with safe_open(path, framework="np") as file:
                told = json.loads(file.metadata()["about"]) | about
                meta = {"about": json.dumps(told)}
                save_file({"scores": file.get_tensor("scores")}, out / path.name, metadata=meta)
    return profile | {"parameters": profile["parameters"] | {"run_dir": str(tmp_path)}}


def test_a_design_without_one_method_does_not_count(rotation_profile, scored, tmp_path):
    with pytest.raises(FileNotFoundError, match="no design is complete"):
        Scores(planted(rotation_profile, scored, tmp_path, leave_out=["dap"]))
    both = rotation_profile | {"rotation": rotation_profile["rotation"] | {"designs": [1, 2]}}
    assert Scores(both).designs == [1]


def test_scores_of_other_films_are_refused(rotation_profile, scored, tmp_path):
    with pytest.raises(ValueError, match="not of the features"):
        Scores(planted(rotation_profile, scored, tmp_path, films_sha256="another"))


def test_scores_of_another_plan_are_refused_and_what_only_counts_may_change(rotation_profile, scored, tmp_path):
    plan, parameters = rotation_profile["rotation"], rotation_profile["parameters"]
    for part, changed in (
        ("plan", {"pseudo": {"draws": 2, "unseen": 2}}), ("plan", {"folds": 4}),
        ("plan", {"closed": plan["closed"] | {"ridge": [1.0]}}),
        ("plan", {"trained": plan["trained"] | {"settings": {"hidden": [8]}}}), ("parameters", {"lr": 0.02}),
    ):  # fmt: skip
        about = {"plan": plan, "parameters": parameters}
        about[part] = about[part] | changed
        with pytest.raises(ValueError, match=f"was made with another {part} than the profile has: delete it"):
            Scores(planted(rotation_profile, scored, tmp_path / str(len(list(tmp_path.iterdir()))), **about))
    more = {"focused": {}, "euclidean": {"objective": "euclidean"}}
    good = {"plan": plan | {"replicates": 7, "designs": [9], "trained": plan["trained"] | {"methods": more}},
            "parameters": parameters | {"replicates": 3, "run_dir": "elsewhere"}}  # fmt: skip
    assert Scores(planted(rotation_profile, scored, tmp_path / "good", **good)).designs == [1]


def test_tables_of_some_designs_do_not_replace_those_of_more(rotation_profile, tmp_path, monkeypatch, capsys):
    own = {"run_dir": str(tmp_path / "runs/made")}
    profile = rotation_profile | {"parameters": rotation_profile["parameters"] | own}
    monkeypatch.setattr(rotation_plan, "ROOT", tmp_path)
    committed = tmp_path / "data/results/rotation-made"
    assert rotation_plan.results_folder(profile, [1]) == committed
    committed.mkdir(parents=True)
    (committed / "manifest.json").write_text(json.dumps(sealed({"designs": [1, 2], "files": {}})))
    assert rotation_plan.results_folder(profile, [1, 2, 3]) == committed and not capsys.readouterr().out
    assert rotation_plan.results_folder(profile, [1]) == tmp_path / "runs/made/rotation/tables"
    assert "holds designs 2, too, and stays as it is" in capsys.readouterr().out


def test_a_planned_comparison_of_an_unknown_method_is_refused_before_any_work(rotation_profile):
    plan = rotation_profile["rotation"]
    for pair in (["focussed", "eszsl"], ["eszsl", "random"]):
        changed = plan | {"comparisons": plan["comparisons"] | {"primary": [pair]}}
        with pytest.raises(ValueError, match="planned comparison"):
            Scores(rotation_profile | {"rotation": changed})


def test_a_finding_without_positives_leaves_the_means_by_name(scores, monkeypatch):
    """Hernia on no film: its cells are undefined, U says whom it leaves out."""
    empty = scores.labels.copy()
    empty[:, KEYS.index("Hernia")] = 0
    monkeypatch.setattr(scores, "labels", empty)
    rows = anatomy.tables_of(scores, "abnormal", "none")
    found = {r["metric"]: r for r in rows["methods"] if r["method"] == "eszsl"}
    assert all(found[m]["left_out"] == "Hernia" and np.isfinite(found[m]["value"]) for m in ("U", "S", "H"))
    hernia = next(r for r in rows["findings"] if (r["method"], r["finding"]) == ("eszsl", "Hernia"))
    assert np.isnan(hernia["value"]) and hernia["positives"] == 0


def test_the_manifest_counts_films_and_sums_seconds(results, scores, rotation_profile):
    folder, _ = results
    about, labels = json.loads((folder / "manifest.json").read_text()), scores.films.labels
    assert (about["films"], about["tested"], about["abnormal"]) == (300, 300, int(labels.any(1).sum()))
    assert about["seed"] == [1] and about["profile"] == "made" and about["parameters"] == rotation_profile["parameters"]
    assert about["run_commits"] == sorted({str(one["commit"]) for one in scores.about})
    assert about["run_dirty"] == any(one["dirty"] for one in scores.about)
    told = {one["method"]: one["seconds"] for one in scores.about}
    assert about["seconds"] == {method: round(seconds, 1) for method, seconds in told.items()}
    assert about["data_sha256"] == scores.films.card["sha256"]


def test_rare_findings_have_fewer_than_twenty_positives(scores, monkeypatch):
    """Mass on 20 films and Hernia on 19: Hernia alone is left out of U20."""
    labels = scores.labels.copy()
    labels[:] = 0
    for c in range(len(KEYS)):
        labels[20 * c : 20 * c + 20, c] = 1
    labels[20 * KEYS.index("Hernia"), KEYS.index("Hernia")] = 0
    monkeypatch.setattr(scores, "labels", labels)
    monkeypatch.setattr(scores, "weights", scores.weights[:2])
    rows = anatomy.tables_of(scores, "all", "none")
    found = {row["metric"]: row for row in rows["methods"] if row["method"] == "eszsl"}
    each = {row["finding"]: row for row in rows["findings"] if row["method"] == "eszsl"}
    assert found["U20"]["left_out"] == "Hernia" and found["U"]["left_out"] == ""
    assert (each["Hernia"]["positives"], each["Mass"]["positives"]) == (19, 20)
    rest = [row["value"] for key, row in each.items() if key != "Hernia"]
    assert found["U20"]["value"] == pytest.approx(np.mean(rest), abs=1e-6)
    assert found["U"]["value"] == pytest.approx(np.mean([row["value"] for row in each.values()]), abs=1e-6)
    (gain,) = (row for row in rows["paired"] if (row["method"], row["reference"]) == ("eszsl", "mean_of_seen"))
    (other,) = (row for row in rows["methods"] if (row["method"], row["metric"]) == ("mean_of_seen", "U"))
    assert gain["left_out"] == "" and gain["difference"] == pytest.approx(found["U"]["value"] - other["value"])


def test_positives_of_a_finding_are_the_mean_of_its_turns(scores, monkeypatch):
    """Not all turns compare as many: a positive without a negative of its fold and stratum takes no part."""
    counts = np.random.default_rng(0).integers(5, 100, scores.finding.shape)
    values = np.random.default_rng(1).random((len(scores.methods), *counts.shape, 2))
    monkeypatch.setattr(scores, "cells", lambda protocol, stratum: (values, counts))
    rows = anatomy.tables_of(scores, "all", "view")["findings"]
    for c, key in enumerate(KEYS):
        wanted = round(counts[scores.finding == c].mean())
        assert {row["positives"] for row in rows if row["finding"] == key} == {wanted}


def test_only_differences_have_a_p_and_how_many_findings_gain(results):
    _, tables = results
    assert "p" not in tables["methods"] and "p" not in tables["findings"]
    paired, findings = tables["paired"], tables["findings"].set_index(["method", "protocol", "stratum", "finding"])
    row = paired[(paired.method == "eszsl") & (paired.reference == "mean_of_seen") & (paired.protocol == "abnormal")
                 & (paired.stratum == "none")].iloc[0]  # fmt: skip
    gains = np.array([findings.loc[("eszsl", "abnormal", "none", key), "value"]
                      - findings.loc[("mean_of_seen", "abnormal", "none", key), "value"] for key in KEYS])
    assert row.findings_gaining == (gains > 0).sum() and row.findings_findings == 14
    assert not (paired.method == paired.reference).any()
    assert set(paired.reference) == {"mean_of_seen", "eszsl", "focused", "ceiling"}  # those of the plan's methods


def test_a_finding_gains_if_the_mean_of_all_designs_does(scores, monkeypatch):
    """Three findings gain more in the second design than they lose in the first; the rest the other way round."""
    finding = np.stack([scores.finding[0], scores.finding[0][::-1]])
    gain = np.where(finding < 3, [[-0.1], [0.3]], [[0.1], [-0.3]])
    values = np.zeros((len(scores.methods), *finding.shape, 2))
    values[scores.methods.index("eszsl")] = gain[..., None]
    monkeypatch.setattr(scores, "finding", finding)
    monkeypatch.setattr(scores, "cells", lambda protocol, stratum: (values, np.full(finding.shape, 30)))
    rows = anatomy.tables_of(scores, "all", "view")["paired"]
    (row,) = (row for row in rows if (row["method"], row["reference"]) == ("eszsl", "mean_of_seen"))
    assert row["findings_gaining"] == 3 and row["difference"] == pytest.approx((3 * 0.1 - 11 * 0.1) / 14)


def test_other_protocols_and_strata_are_not_planned():
    rows = [{"method": "a", "reference": "b", "protocol": p, "stratum": s, "p": 0.01}
            for p in ("abnormal", "all") for s in ("none", "view")] + [
            {"method": m, "reference": r, "protocol": "abnormal", "stratum": "none", "p": 0.02}
            for m, r in (("b", "a"), ("a", "c"), ("c", "b"))]  # fmt: skip
    plan = {"comparisons": {"primary": [["a", "b"]], "secondary": [["a", "c"], ["c", "b"]], "strata": ["none"]}}
    found = anatomy.planned(pd.DataFrame(rows), plan)
    assert found.planned.tolist() == ["primary", "", "", "", "", "secondary", "secondary"]
    assert found.p_holm[5:].tolist() == [0.04, 0.04] and found.p_holm[:5].isna().all()


def test_strata_are_those_whose_columns_the_films_have(rotation_profile, scored, monkeypatch):
    films = anatomy.films_of(rotation_profile)
    less = replace(films, table=films.table.drop(columns="source_repo"))
    monkeypatch.setattr(anatomy, "films_of", lambda _: less)
    found = Scores(rotation_profile, ["eszsl", "mean_of_seen"])
    assert found.strata == ["none", "view"] and found.methods == ["eszsl", "mean_of_seen"]
    assert found.designs == [1] and len(found.about) == 2 and found.finding.shape == (1, 56)


@pytest.fixture(scope="module")
def two(rotation_profile, scored, tmp_path_factory):
    """A profile of designs 1, 2 and 3: 1 as it is, 2 of noise and made by other code, 3 without all of its methods."""
    where, rng = tmp_path_factory.mktemp("two") / "rotation", np.random.default_rng(4)
    for design in (1, 2, 3):
        (where / str(design)).mkdir(parents=True)
        for method, path in list(scored.items())[: 4 if design == 3 else None]:
            with safe_open(path, framework="np") as file:
                told, scores = json.loads(file.metadata()["about"]), file.get_tensor("scores")
            told |= {"design": design, "seconds": 10.0 * design + len(method), "commit": f"c{design}",
                     "dirty": design == 2}  # fmt: skip
            scores = rng.normal(size=scores.shape).astype(np.float32) if design > 1 else scores
            save_file({"scores": scores}, where / str(design) / path.name, metadata={"about": json.dumps(told)})
    plan = rotation_profile["rotation"] | {"designs": [1, 2, 3], "replicates": 1}
    return rotation_profile | {"parameters": rotation_profile["parameters"] | {"run_dir": str(where.parent)},
                               "rotation": plan}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*noted no hash")
def test_each_design_has_its_own_scores_quadruples_and_folds(two, rotation):
    only = ["eszsl", "focused", "mean_of_seen"]
    both = Scores(two, only)
    rotations = dict(zip((1, 2), (rotation, Rotation.of(two, 2)), strict=True))
    assert both.designs == [1, 2] and both.finding.tolist() == [np.ravel(r.sets).tolist() for r in rotations.values()]
    both.rotations = {design: replace(one, sets=one.sets[:2]) for design, one in both.rotations.items()}
    both.finding = both.finding[:, :8]  # two quadruples: a seventh of the time
    values, counts = both.cells("all", "view")
    halves, _ = both.cells("all", "none", seen=True)
    gains = anatomy.coverage(both, values)
    for d, (design, rotation) in enumerate(rotations.items()):
        stores = {m: stored(both.files[design][m]) for m in only}
        for k in (1, 6):
            c, q = int(both.finding[d, k]), k // 4
            assert c == rotation.sets[q][k % 4]
            want = {m: pooled(rotation, one[q], c, "all", ("view",)) for m, one in stores.items()}
            for m, method in enumerate(only):
                assert values[m, d, k, 0] == pytest.approx(want[method][0], abs=1e-5)
            assert counts[d, k] == want["eszsl"][1]
            row = gains[(gains.design == design) & (gains.quadruple == q) & (gains.finding == KEYS[c])].iloc[0]
            assert row.gain == pytest.approx(want["focused"][0] - want["mean_of_seen"][0], abs=1e-5)
        each = [pooled(rotation, stores["eszsl"][q], c, "all")[0] for q, one in enumerate(rotation.sets[:2])
                for c in range(len(KEYS)) if c not in one]  # fmt: skip
        assert halves[0, d, 0] == pytest.approx(np.mean(each), abs=1e-5)


@pytest.mark.filterwarnings("ignore:.*noted no hash")
def test_a_manifest_of_several_designs_names_those_that_count(two, monkeypatch, at_once):
    """Tables and permutations are replaced: which were asked for, and what the manifest says of all runs."""
    asked, published = [], []
    rows = [{"method": "focused", "reference": "mean_of_seen", "protocol": "abnormal", "stratum": "none", "p": 0.5}]
    monkeypatch.setattr(anatomy, "workers", at_once)
    monkeypatch.setattr(anatomy, "_part", lambda given: asked.append(given[1:]) or {"paired": rows})
    monkeypatch.setattr(anatomy.permutations, "row", lambda job: {"design": job[0].design, "kind": job[1], "n": job[2]})
    monkeypatch.setattr(anatomy, "coverage", lambda scores, values: pd.DataFrame({"shape": [values.shape]}))
    monkeypatch.setattr(anatomy.run, "publish", lambda out, tables, **about: published.append((out, tables, about)))
    collect(two)
    ((out, tables, about),) = published
    names = methods(two["rotation"])
    assert out == rotation_plan.results_folder(two, [1, 2]) and asked == VIEWS
    assert list(tables["permutation"].itertuples(index=False, name=None)) == [
        (design, kind, 9) for design in (1, 2) for kind in ("free", "opacities")]  # fmt: skip
    assert tables["coverage"]["shape"].tolist() == [(len(names), 2, 56, 1)]
    assert tables["paired"].planned.tolist() == ["primary"] * 12
    assert (about["designs"], about["missing_designs"], about["seed"]) == ([1, 2], [3], [1, 2, 3])
    assert about["run_commits"] == ["c1", "c2"] and about["run_dirty"] is True
    assert about["seconds"] == {method: 30.0 + 2 * len(method) for method in names}
    assert tables["tuning"].groupby("method").size()["eszsl"] == 2 * 14 * 4
    assert about["profile"] == "made" and about["rotation"] == two["rotation"]


@pytest.mark.filterwarnings("ignore:.*noted no hash")
def test_draws_are_as_many_as_the_profile_says_and_the_same_for_all_designs(two):
    few = two | {"rotation": two["rotation"] | {"replicates": 3, "designs": [2, 1]}}
    found = Scores(few, ["eszsl", "mean_of_seen"])
    assert found.weights.shape[0] == 4 and found.designs == [2, 1] and found.methods == ["eszsl", "mean_of_seen"]
    patients = found.table["patient"].to_numpy()
    weights, unit = bootstrap_weights(patients, 3, 0)
    assert (found.weights == weights).all() and (found.unit == unit).all()
    assert [(one["design"], one["method"]) for one in found.about] == list(product([2, 1], found.methods))
