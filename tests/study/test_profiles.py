"""Profiles: what is refused, in which words, and what wins."""

import nbformat
import pytest

from cmdml.study import plan, run
from cmdml.study.parameters import checked
from cmdml.study.results import manifest_of as results_of

CELL = """profile: str = "x"  # a
run_dir: str = "y"  # b
gamma: float = 2.0  # c
epochs: int = 3  # d
unseen: str = "default"  # e
hidden: int or list[int] = 3  # f
seed: int = 0  # g"""


@pytest.fixture
def load(tmp_path):
    cell = nbformat.v4.new_code_cell(CELL, metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "one.ipynb")

    def load(text, overrides=None, name="mine"):
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return run.load_profile(path, overrides, notebooks=tmp_path)

    return load


def test_what_a_profile_holds(load):
    profile = load("title: Mine\nparameters: {gamma: 1, seed: 4}\nvariants: {plain: {gamma: 0}}", {"seed": 5})
    assert profile["title"] == "Mine" and profile["variants"] == {"plain": {"gamma": 0.0}}
    assert profile["parameters"] == {"gamma": 1.0, "seed": 5, "profile": "mine", "run_dir": "runs/mine"}
    assert isinstance(profile["parameters"]["gamma"], float) and profile["given"] == ["seed"]
    assert profile["sweep"] == {"seeds": [0], "splits": ["default"], "methods": {}}


def test_run_dir_wins_where_it_is_said_last(load):
    assert load("parameters: {run_dir: runs/b}")["parameters"]["run_dir"] == "runs/b"
    assert load("parameters: {run_dir: runs/b}", {"run_dir": "runs/c"})["parameters"]["run_dir"] == "runs/c"
    with pytest.raises(ValueError, match="`profile` is the name of the file"):
        load("parameters: {}", {"profile": "other"})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "profile mine.yaml is empty"),
        ("# nothing", "profile mine.yaml is empty"),
        ("parameters: [", "profile mine.yaml, line 1: expected the node content"),
        ("parameters:\n\tgamma: 1", "profile mine.yaml, line 2: found character"),
        ("just words", "must hold keys (title, description, parameters, variants, sweep, rotation), got just words"),
        ("parameters: {gama: 1}", "profile mine.yaml, line 1: unknown parameter 'gama': did you mean 'gamma'?"),
        ("parameter: {gamma: 1}", "line 1: unknown key 'parameter': did you mean 'parameters'?"),
        ("title: a\nvariants:\n  plain: {unsen: a}", "line 3: unknown parameter 'unsen': did you mean 'unseen'?"),
        ("parameters:\n  seed: 1\n  seed: 2", "profile mine.yaml, line 3: the key 'seed' stands there twice."),
        ("sweep:\n  methods:\n    a: {}\n    a: {}", "line 4: the key 'a' stands there twice"),
        ("parameters:\n  seed: 010", "profile mine.yaml, line 2: YAML reads 010 as the number 8"),
        ("parameters:\n  seed: 0x10", "YAML reads 0x10 as the number 16"),
        ("parameters: {seed: 1:30}", "YAML reads 1:30 as the number 90"),
        ("parameters: {gamma: 1e-3}", "parameter gamma must be float, got '1e-3' (str). YAML reads 1e-3 as text"),
        ("parameters: {gamma: .nan}", "parameter gamma must be finite, got nan."),
        ("parameters: {gamma: -.inf}", "parameter gamma must be finite, got -inf."),
        ("parameters: {epochs: true}", "parameter epochs must be int, got True (bool)."),
        ("parameters: {epochs: '3'}", "parameter epochs must be int, got '3' (str)."),
        ("parameters: {hidden: [3, true]}", "parameter hidden must be int or list[int], got [3, True]"),
        ("parameters: {seed: -1}", "parameter seed must be at least 0, got -1."),
        ("parameters: {profile: b}", "`profile` is the name of the file"),
        ("parameters: 3", "parameters: must be a valid dictionary, got 3."),
        ("title: 3", "title: must be a valid string, got 3."),
        ("variants: {a b: {}}", "the name 'a b' may hold letters, digits, _ and - only."),
        ("variants: {../a: {}}", "the name '../a' may hold"),
        ("variants: {'': {}}", "the name '' may hold"),
        ("variants: {a: {run_dir: b}}", "`run_dir` is the whole study's"),
        ("sweep: {methods: {'x; touch y': {}}}", "the name 'x; touch y' may hold"),
        ('sweep: {methods: {"a\\n": {}}}', "may hold letters"),
        ("sweep: {methods: {a: {gama: 2}}}", "unknown parameter 'gama'"),
        ("sweep: {methods: {a: {only: randon}}}", "unknown split 'randon': did you mean 'random'?"),
        ("sweep: {methods: {a: {unseen: default}}}", "may only be none"),
        ("sweep: {seeds: [0, -1]}", "sweep.seeds.1: must be greater than or equal to 0, got -1."),
        ("sweep: {seeds: [true]}", "sweep.seeds.0: must be a valid integer, got True."),
        ("sweep: {seeds: 3}", "sweep.seeds: must be a valid list, got 3."),
        ("sweep: {seeds: []}", "sweep.seeds: list should have at least 1 item"),
        ("sweep: {seeds: [1, 1]}", "sweep.seeds names one twice"),
        ("sweep: {splits: [randon]}", "sweep.splits.0: must be 'default' or 'random', got 'randon'."),
        ("sweep: {seds: [1]}", "unknown key 'seds': did you mean 'seeds'?"),
        ("sweep: {tuning: {methods: []}}", "sweep.tuning.lr is missing."),
        ("sweep: {tuning: {lr: [0], methods: []}}", "sweep.tuning.lr.0: must be greater than 0, got 0."),
        ("sweep: {tuning: {lr: [.inf], methods: []}}", "sweep.tuning.lr.0: must be a finite number, got inf."),
        ("sweep: {tuning: {rl: [0.1], lr: [0.1], methods: []}}", "unknown key 'rl': did you mean 'lr'?"),
        ("sweep: {methods: {bce: {}}, tuning: {lr: [1], methods: [bec]}}", "unknown method 'bec': did you mean 'bce'"),
        ("1: 2", "the key 1 must be text."),
    ],
)
def test_what_is_refused(load, text, sentence):
    with pytest.raises(ValueError) as caught:
        load(text)
    assert sentence in str(caught.value) and str(caught.value).startswith("profile mine.yaml")
    assert "\n" not in str(caught.value)


def test_names_that_are_none(load):
    with pytest.raises(ValueError, match="did you mean 'epochs'"):
        load("parameters: {}", {"epoch": 5})
    with pytest.raises(FileNotFoundError, match="unknown profile 'fantom': did you mean 'phantom'?"):
        run.load_profile("fantom")
    with pytest.raises(ValueError, match="the name 'my profile' may hold"):
        load("parameters: {}", name="my profile")


def test_bytes_that_are_no_text(load, tmp_path):
    load("title: a")
    (tmp_path / "mine.yaml").write_bytes(b"title: \xff\xfe")
    with pytest.raises(ValueError, match="profile mine.yaml is no UTF-8 text"):
        run.load_profile(tmp_path / "mine.yaml", notebooks=tmp_path)


@pytest.mark.parametrize("annotation", ["__import__('os').system('x')", "os", "dict", "list[os]", "a or b", "int()"])
def test_annotations_are_read_not_run(annotation):
    with pytest.raises(ValueError, match="the annotation .* is none of"):
        checked("gamma", 1, annotation)


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"objective": "focussed"}, "profile smoke, parameters: unknown objective 'focussed': did you mean 'focused'?"),
        ({"epochs": 0}, "profile smoke, .*epochs"),
        ({"unseen": "Edma"}, "profile smoke, .*unknown unseen finding 'Edma': did you mean 'Edema'?"),
        ({"semantics": "descriptions"}, "did you mean 'description'?"),
        ({"source": "fantom"}, "unknown source 'fantom': did you mean 'phantom'?"),
    ],
)
def test_a_profile_whose_trainings_would_be_refused_is_refused_before(overrides, sentence):
    with pytest.raises(ValueError, match=sentence.replace("?", r"\?")):
        plan.check(run.load_profile("smoke", overrides))


def test_every_training_is_checked():
    for part in ("variants", "sweep"):
        profile = run.load_profile("smoke")
        (profile[part] if part == "variants" else profile[part]["methods"])["odd"] = {"objective": "bec"}
        with pytest.raises(ValueError, match="odd: unknown objective 'bec'"):
            plan.check(profile)


ROTATION = """
rotation:
  features: data/f
  random_features: data/r
  designs: [1]
  folds: 5
  replicates: 0
  permutations: 0
  pseudo: {draws: 1, unseen: 3}
  trained: {settings: {hidden: [0]}, methods: {focused: {}}}
  closed: {ridge: [1.0], semantic_ridge: [1.0]}
  comparisons: {primary: [], secondary: [], strata: [none]}
"""
OWN = ROTATION.replace("features: data/f\n  random_features: data/r", "extractor: {quadruples: 3}").replace("5", "1")


def test_a_rotation_has_features_or_trains_extractors(load):
    given = load(ROTATION)["rotation"]
    assert not {"extractor", "without", "improvements"} & set(given) and "parameters" not in given["trained"]
    given = load(OWN)["rotation"]
    assert given["extractor"] == {"quadruples": 3, "parameters": {}} and given["folds"] == 1
    on_gpu = load(OWN.replace("quadruples: 3", "quadruples: 3, device: cuda"))["rotation"]["extractor"]
    assert on_gpu == {"quadruples": 3, "device": "cuda", "parameters": {}}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (ROTATION.replace("random_features: data/r", ""), "rotation.random_features is missing without an extractor."),
        (OWN + "  features: data/f\n", "rotation.features is of no use beside an extractor."),
        (ROTATION.replace("folds: 5", "folds: 1"), "line 6: rotation.folds must be 1 with an extractor"),
        (OWN.replace("folds: 1", "folds: 5"), "rotation.folds must be 1 with an extractor"),
        (OWN.replace("quadruples: 3", "quadruples: 3, parameters: {epoch: 1}"), "unknown parameter 'epoch'"),
        (ROTATION.replace("methods: {focused: {}}", "methods: {focused: {}}, parameters: {gamma: a}"), "gamma must"),
        (ROTATION + "  improvements: {design: 1, quadruples: [], variants: {a: {}}}\n", "quadruples"),
        (ROTATION + "  improvements: {design: 1, quadruples: [0], variants: {}}\n", "variants"),
    ],
)
def test_a_rotation_that_is_refused(load, text, sentence):
    with pytest.raises(ValueError) as caught:
        load(text)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("parameters: {run_dir: 'a{b}'}", "line 1: run_dir must name a folder without { } and line breaks, got "),
        ("parameters: {run_dir: ''}", "run_dir must name a folder"),
        ('parameters: {run_dir: "a\\nb"}', "run_dir must name a folder"),
        ("sweep: {methods: {a: {run_dir: b}}}", "`run_dir` is the whole study's: set it under `parameters`."),
        ("sweep:\n  seeds: [1,\n    1]", "line 2: sweep.seeds names one twice: [1, 1]."),
        ("sweep: {splits: [default, default]}", "sweep.splits names one twice"),
        ("sweep:\n  methods:\n    a:\n      unseen: Mass", "line 4: a method's `unseen` may only be none"),
        ("sweep:\n  methods: {bce: {}}\n  tuning:\n    lr: [1]\n    methods:\n      - bce\n      - bec",
         "line 7: unknown method 'bec'"),
        (ROTATION.replace("designs: [1]", "designs: [1, 2, 1]"), "line 5: rotation.designs names one twice: [1, 2, "),
        (ROTATION.replace("folds: 5", "folds: 2"), "rotation.folds must be 1 with an extractor (the set's own split), "
         "and from 3 on without."),
        (ROTATION.replace("features: data/f", "features: ''"), "rotation.features is missing without an extractor."),
        (OWN + "  random_features: data/r\n", "rotation.random_features is of no use beside an extractor."),
        (ROTATION.replace("settings: {hidden: [0]}", "settings: {hidden: [a]}"), "hidden must be int or list[int]"),
        (ROTATION.replace("methods: {focused: {}}", "methods: {a b: {}}"), "the name 'a b' may hold letters"),
        (ROTATION.replace("methods: {focused: {}}", "methods: {focused: {only: default}}"), "unknown parameter 'only'"),
        (ROTATION.replace("pseudo: {draws: 1, unseen: 3}", "pseudo: {draws: 1}"), "rotation.pseudo.unseen is missing."),
        (ROTATION.replace("pseudo: {draws: 1,", "pseudo: {drawn: 1, draws: 1,"), "unknown key 'drawn': did you mean "
         "'draws'?"),
    ],
)
def test_what_else_is_refused(load, text, sentence):
    with pytest.raises(ValueError) as caught:
        load(text)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_a_profile_without_a_title_is_called_after_its_file(load):
    profile = load("parameters: {}\ndescription: Words.", name="plain")
    assert (profile["name"], profile["title"], profile["description"]) == ("plain", "plain", "Words.")
    assert profile["rotation"] is None and profile["given"] == []


def test_three_folds_are_enough_and_settings_are_checked_one_by_one(load):
    text = ROTATION.replace("folds: 5", "folds: 3").replace("hidden: [0]", "hidden: [0, [3, 4]], gamma: [1, 2]")
    given = load(text)["rotation"]
    assert given["folds"] == 3 and given["trained"]["settings"] == {"hidden": [0, [3, 4]], "gamma": [1.0, 2.0]}
    assert all(isinstance(value, float) for value in given["trained"]["settings"]["gamma"])
    given = load(OWN.replace("quadruples: 3", "quadruples: 3, parameters: {gamma: 1}"))["rotation"]
    assert given["extractor"]["parameters"] == {"gamma": 1.0} and given["features"] == ""
    text = ROTATION.replace("methods: {focused: {}}", "methods: {focused: {gamma: 1}}, parameters: {gamma: 3}")
    trained = load(text)["rotation"]["trained"]
    assert trained["parameters"] == {"gamma": 3.0} and isinstance(trained["methods"]["focused"]["gamma"], float)


def test_what_a_rotation_has_stays_in_its_plan(load):
    text = ROTATION + "  without: [source]\n  improvements: {design: 1, quadruples: [0], variants: {a: {gamma: 1}}}\n"
    given = load(text)["rotation"]
    assert given["without"] == ["source"] and given["improvements"]["quadruples"] == [0]


def test_methods_of_a_sweep_with_a_split_of_their_own_and_a_tuning(load):
    text = "sweep: {methods: {a: {only: random}, b: {unseen: none}}, tuning: {lr: [0.1], methods: [b], seed: 1}}"
    made = load(text)["sweep"]
    assert made["methods"] == {"a": {"only": "random"}, "b": {"unseen": "none"}}
    assert made["tuning"] == {"lr": [0.1], "methods": ["b"], "seed": 1}
    assert "tuning" not in load("sweep: {methods: {a: {}}}")["sweep"]


def test_the_line_of_what_an_alias_repeats_is_where_it_stands_first(load):
    text = "variants:\n  a: &own\n    gamma: 1\n    gama: 2\n  b: *own"
    with pytest.raises(ValueError, match="profile mine.yaml, line 4: unknown parameter 'gama'"):
        load(text)
    assert load("variants:\n  a: &own {gamma: 1}\n  b: *own")["variants"] == {"a": {"gamma": 1.0}, "b": {"gamma": 1.0}}


def test_overrides_are_no_part_of_the_file_and_are_listed_by_name(load):
    profile = load("parameters: {gamma: 1}", {"seed": 1, "epochs": 2})
    assert profile["given"] == ["epochs", "seed"]
    with pytest.raises(ValueError) as caught:
        load("parameters: {gamma: 1}", {"gamma": "a"})
    assert str(caught.value).startswith("parameter gamma must be float")


def test_the_line_of_what_is_refused_only_where_it_is_repeated(load):
    text = "parameters: &own\n  run_dir: runs/b\nvariants:\n  b: *own"
    with pytest.raises(ValueError, match="profile mine.yaml, line 4: `run_dir` is the whole study's"):
        load(text)


@pytest.mark.parametrize("name", ["smoke", "nih", "nih-mini", "chestmnist"])
def test_a_variant_is_the_same_in_every_profile(name):
    """A control of one set of films is that of another; what only one profile has is listed here."""
    own, phantom = run.load_profile(name)["variants"], run.load_profile("phantom")["variants"]
    assert phantom["shuffled"] == {"semantics": "shuffled"} and "shuffled" in own
    extra = {"nih": {"euclidean": {"gamma": 0.0, "alpha": 0.5}}}.get(name, {})
    assert own == {variant: phantom[variant] for variant in own if variant in phantom} | extra


@pytest.mark.parametrize("results", ["rotation-nih-mini", "rotation-phantom", "default-nih-mini", "truth-nih-mini",
                                     "variants-nih-mini", "transfer-kermany"])  # fmt: skip
def test_a_profile_is_the_one_that_the_committed_numbers_were_made_with(results):
    about = results_of(run.ROOT / "data/results" / results)
    profile = run.load_profile(about["profile"])
    here = ("nih_root", "npz", "run_dir", "profile")  # folders of a machine; a name
    differ = {name for name, value in about["parameters"].items()
              if name not in here and value != profile["parameters"].get(name)}  # fmt: skip
    assert differ == set() and set(profile["parameters"]) - set(about["parameters"]) <= {"pairs", *here}
    assert about.get("rotation", profile["rotation"]) == profile["rotation"]
    assert about.get("improvements") in (None, profile["rotation"].get("improvements"))


@pytest.mark.parametrize("name", ["phantom", "nih"])
def test_a_sweep_is_the_one_that_the_committed_numbers_were_made_with(name):
    """What a method is told, whoever says it; the margin was 0 for none, the precision that of its machine."""
    about, profile = results_of(run.ROOT / f"data/results/sweep-{name}"), run.load_profile(name)
    here = ("profile", "run_dir", "nih_root", "npz", "pairs", "margin", "precision")
    assert about["methods"].keys() == profile["sweep"]["methods"].keys()
    for method, changed in profile["sweep"]["methods"].items():
        made, asked = ({key: value for key, value in {**parameters, **changes}.items() if key not in here}
                       for parameters, changes in ((about["parameters"], about["methods"][method]),
                                                   (profile["parameters"], changed)))  # fmt: skip
        assert made | {"semantics": {"shuffled": "shuffled_description"}.get(made["semantics"], made["semantics"])} == {
            key: asked[key] for key in made}, method  # fmt: skip
        assert changed.keys() <= made.keys() | {"only"} and len(made) > 20, method


@pytest.mark.parametrize("name", ["phantom", "nih"])
def test_a_main_run_is_the_one_that_the_committed_numbers_were_made_with(name):
    folder, profile = run.ROOT / "data/results" / name, run.load_profile(name)
    for place, changed in {"": {}, **{f"variants/{v}": c for v, c in profile["variants"].items()}}.items():
        if (folder / place / "manifest.json").is_file():
            about = results_of(folder / place)
            wired = {"run_dir", "training", "out", "compare"}
            made = {key: value for key, value in about["parameters"].items() if key not in wired}
            asked = {**profile["parameters"], **changed}
            assert made == {key: asked[key] for key in made} and len(made) > 2, place
