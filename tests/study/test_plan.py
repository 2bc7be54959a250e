"""Which runs a sweep consists of, what each is given and where it lies, on profiles that are made by hand."""

from pathlib import Path

import pytest

from cmdml.config import TrainConfig
from cmdml.study import plan, run
from cmdml.study.parameters import default_parameters

DEFAULTS = default_parameters(plan.TRAINING)


@pytest.fixture
def profile():
    """Three methods, two seeds, two splits; one method runs on one split only."""
    methods = {"focused": {}, "bce": {"objective": "bce", "lr": 0.5}, "one": {"only": "random", "unseen": "none"}}
    return {"name": "made", "given": ["epochs"], "variants": {"plain": {"gamma": 0.0}},
            "parameters": {"epochs": 7, "seed": 9, "profile": "made", "run_dir": "runs/made"},
            "sweep": {"seeds": [0, 2], "splits": ["default", "random"], "methods": methods}}  # fmt: skip


TUNING = {"seed": 4, "lr": [0.001, 0.25], "methods": ["bce", "focused"]}
TRIED = [("bce", "default@0.001", 4), ("bce", "default@0.25", 4),
         ("focused", "default@0.001", 4), ("focused", "default@0.25", 4)]  # fmt: skip
ALL = [("focused", "default", 0), ("focused", "default", 2), ("focused", "random", 0), ("focused", "random", 2),
       ("bce", "default", 0), ("bce", "default", 2), ("bce", "random", 0), ("bce", "random", 2),
       ("one", "random", 0), ("one", "random", 2)]  # fmt: skip


def test_every_method_split_and_seed_in_order(profile):
    assert plan.plan(profile) == ALL
    assert plan.plan(profile, ["one", "focused"]) == ALL[-2:] + ALL[:4]
    assert plan.plan(profile, []) == ALL  # none named: all of them


def test_tuning_comes_last_or_where_it_is_asked_for(profile):
    profile["sweep"]["tuning"] = TUNING
    assert plan.plan(profile) == ALL + TRIED
    assert plan.plan(profile, ["tuning"]) == TRIED
    assert plan.plan(profile, ["one", "tuning"]) == ALL[-2:] + TRIED
    assert plan.plan(profile, ["one"]) == ALL[-2:]


def test_a_method_on_a_split_that_the_sweep_has_not_runs_nowhere(profile):
    profile["sweep"]["splits"] = ["default"]
    assert [one[0] for one in plan.plan(profile)] == ["focused", "focused", "bce", "bce"]


def test_unknown_names_are_refused(profile):
    with pytest.raises(ValueError, match="^unknown method 'focussed': did you mean 'focused'"):
        plan.plan(profile, ["focussed"])
    with pytest.raises(ValueError, match="^unknown method 'tunning': did you mean 'tuning'"):
        plan.plan(profile, ["tunning"])
    with pytest.raises(ValueError, match="^unknown method 'focussed': did you mean 'focused'"):
        plan.settings(profile, "focussed", 0)
    profile["sweep"]["tuning"] = TUNING | {"methods": ["bec"]}
    with pytest.raises(ValueError, match="^unknown method 'bec': did you mean 'bce'"):
        plan.plan(profile, ["focused"])
    del profile["sweep"]["tuning"]
    profile["sweep"]["methods"]["one"]["only"] = "randon"
    with pytest.raises(ValueError, match="^unknown split 'randon': did you mean 'random'"):
        plan.plan(profile)
    profile["sweep"]["methods"]["one"]["only"] = "random"
    profile["sweep"]["splits"] = ["defualt"]
    with pytest.raises(ValueError, match="^unknown split 'defualt': did you mean 'default'"):
        plan.plan(profile)


def test_whom_a_split_counts_as_unseen(profile):
    assert plan.counted_unseen(profile, "random") == "random"
    assert plan.counted_unseen(profile, "default") == plan.counted_unseen(profile, "default@0.1") == "default"
    profile["parameters"]["unseen"] = "Mass,Nodule"
    assert plan.counted_unseen(profile, "default") == plan.counted_unseen(profile, "default@0.1") == "Mass,Nodule"
    assert plan.counted_unseen(profile, "random") == "random"
    profile["parameters"]["unseen"] = "none"
    with pytest.raises(ValueError, match="leaves a sweep nothing to count as unseen: say `unseen: none` for a method"):
        plan.counted_unseen(profile, "default")
    assert plan.counted_unseen(profile, "random") == "random"


def expected(**changes):
    given = DEFAULTS | {"epochs": 7, "profile": "made", "run_dir": "runs/made", "unseen": "default"} | changes
    return {name: value for name, value in given.items() if name != "out"}


def test_settings_are_defaults_then_profile_then_method_then_split_and_seed(profile):
    assert plan.settings(profile, "focused", 3) == expected(seed=3)
    assert plan.settings(profile, "focused", 3, "random") == expected(seed=3, unseen="random")
    assert plan.settings(profile, "bce", 0) == expected(seed=0, objective="bce", lr=0.5)
    assert plan.settings(profile, "bce", 4, "default@0.25") == expected(seed=4, objective="bce", lr=0.25)
    assert plan.settings(profile, "one", 0, "random") == expected(seed=0, unseen="none")


def test_a_configuration_leaves_out_what_its_objective_ignores(profile):
    config, dropped = plan.training_config(plan.settings(profile, "bce", 5))
    assert isinstance(config, TrainConfig)
    assert (config.objective, config.lr, config.seed, config.epochs) == ("bce", 0.5, 5, 7)
    assert {"gamma", "alpha"} <= set(dropped)
    config, dropped = plan.training_config(plan.settings(profile, "focused", 5) | {"gamma": 3.0})
    assert config.gamma == 3.0 and "gamma" not in dropped
    with pytest.raises(ValueError, match="objective bce does not use gamma"):
        plan.training_config(plan.settings(profile, "bce", 5), ["gamma"])


def test_changed_parameters_are_those_that_are_not_at_their_default():
    assert plan.changed(DEFAULTS) == set()
    assert plan.changed({"gamma": DEFAULTS["gamma"] + 1, "epochs": DEFAULTS["epochs"], "foreign": 1}) == {"gamma"}


def test_all_trainings_of_a_study(profile):
    found = plan.trainings(profile)
    assert list(found) == ["parameters", "variant plain", "method focused", "method bce", "method one"]
    assert found["parameters"] == (expected(seed=9, unseen=DEFAULTS["unseen"]), {"epochs"})
    assert found["variant plain"] == (expected(seed=9, gamma=0.0, unseen=DEFAULTS["unseen"]), {"epochs", "gamma"})
    assert found["method bce"] == (expected(seed=0, objective="bce", lr=0.5), {"epochs", "objective", "lr"})
    assert list(plan.trainings(profile, sweep=False)) == ["parameters", "variant plain"]


def test_a_study_that_can_be_trained_passes_and_one_that_cannot_says_where(profile):
    plan.check(profile)
    profile["parameters"]["source"] = "phantom"
    plan.check(profile)
    for change, said in (({"semantics": "sings"}, "unknown semantics 'sings': did you mean 'signs'"),
                         ({"unseen": "Edma"}, "unknown unseen finding 'Edma'"), ({"dim": 0}, "dim"),
                         ({"objective": "bce", "gamma": 1.0}, "objective bce does not use gamma")):  # fmt: skip
        with pytest.raises(ValueError, match=f"^profile made, method odd: .*{said}"):
            plan.check(profile | {"sweep": profile["sweep"] | {"methods": {"odd": change}}})
        with pytest.raises(ValueError, match=f"^profile made, variant odd: .*{said}"):
            plan.check(profile | {"variants": {"odd": change}})
        plan.check(profile | {"sweep": profile["sweep"] | {"methods": {"odd": change}}}, sweep=False)
    profile["parameters"]["source"] = "fantom"
    with pytest.raises(ValueError, match="unknown source 'fantom': did you mean 'phantom'"):
        plan.check(profile)


def test_where_runs_and_tables_lie(profile):
    assert plan.folder(profile, "bce", "default@0.25", 4) == run.ROOT / "runs/made/sweep/bce/default@0.25-4"
    assert plan.radiographs_of(profile) == run.ROOT / "runs/made/radiographs"
    assert plan.results_folder(profile) == run.ROOT / "data/results/sweep-made"
    profile["parameters"]["run_dir"] = "/elsewhere/made"
    assert plan.folder(profile, "bce", "random", 0) == Path("/elsewhere/made/sweep/bce/random-0")
    assert plan.results_folder(profile) == Path("/elsewhere/made/results")
