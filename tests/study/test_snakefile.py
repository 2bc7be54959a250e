"""What every job is told and what makes it due again, read from a dry run: ``snakemake -n -p``."""

import ast
import json
import re
import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from cmdml.study import run

CORES = "3"


def dry(target, folder, reads=None, needs=None, **config):
    """The words of every shell command of a dry run; nothing lies in ``folder``, so all of it is due.

    ``reads``, a dict, is given the input files of every job by its first output; ``needs``, what it says of its
    ``priority`` and ``threads``, where they are not 0 and 1.
    """
    given = [f"{name}={json.dumps(value)}" for name, value in config.items()]
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", CORES, "--nolock", "--config", *given]
    if folder:
        command.append(f"run_dir={json.dumps(str(folder))}")
    done = subprocess.run([*command, "--", target], cwd=run.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (done.stdout + done.stderr).splitlines()
    read = set()
    for kind, _, files in (line.strip().partition(": ") for line in lines) if reads is not None else ():
        if kind.startswith("rule "):
            read = set()
        elif kind == "input":
            read = set(files.split(", "))
        elif kind == "output":
            first = files.split(", ")[0]
            reads[first] = read
        elif kind in ("priority", "threads") and needs is not None:
            needs.setdefault(first, {})[kind] = files
    shells = [line.partition(":")[2].strip() for line in lines if line.strip().startswith("Shell command:")]
    return [shlex.split(line) for line in shells if line != "None"]  # a rule that only gathers has none


def written(name):
    return yaml.safe_load((run.ROOT / f"profiles/{name}.yaml").read_text())


def told(words):
    """The JSON objects in the words of a command: in its recipe, and what it is given."""
    return [json.loads(word[word.index('{"') :].rstrip(";")) for word in words if '{"' in word]


AGAIN = {"seed": 7, "replicates": 50}  # what the evaluation is told, too


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder, {(variant, chapter): (words, values)}, {first output: input files}; smoke and one variant more.

    Then {first output: priority and threads}.
    """
    folder = tmp_path_factory.mktemp("runs") / "my (first) run"  # spaces and brackets, too
    profile, found, reads, needs = written("smoke"), {}, {}, {}
    profile["variants"]["again"] = AGAIN
    file = tmp_path_factory.mktemp("profiles") / "smoke.yaml"
    file.write_text(yaml.safe_dump(profile))
    for words in dry("study", folder, reads, needs, profile=str(file), gamma=3.0):
        at = words.index("cmdml.study.run")
        notebook, out, values = words[at + 1 : at + 4]
        assert out.startswith(str(folder)) and out.endswith(notebook)
        found[out.removeprefix(f"{folder}/").removesuffix(f"/{notebook}").removesuffix(notebook), notebook[10:12]] = (
            words, json.loads(values))  # fmt: skip
    return folder, found, reads, needs


def test_every_notebook_runs_once_and_its_variants_train_and_evaluate(study):
    own = [("", f"0{i}") for i in range(1, 10)]
    assert set(study[1]) == {*own, *((f"variants/{name}", n) for name in ("shuffled", "again") for n in ("03", "04"))}


@pytest.mark.parametrize("at", ["", "variants/shuffled", "variants/again"])
def test_a_training_is_told_what_the_profile_and_its_variant_say(study, at):
    folder, profile = study[0], written("smoke")
    words, values = study[1][at, "03"]
    declared = run.declared_parameters("notebooks/03_training.ipynb")
    changed = {"": {}, "variants/again": AGAIN}.get(at, profile["variants"]["shuffled"])
    expected = {**profile["parameters"], "gamma": 3.0, **changed, "profile": "smoke", "run_dir": str(folder)}
    expected = {name: value for name, value in expected.items() if name in declared}
    here = folder / at if at else folder
    assert values == expected | {"out": f"{here}/training"} and values["semantics"] == expected["semantics"]
    assert told(words) == [values, values]  # its recipe is what it is told


def test_an_evaluation_reads_its_own_training_and_is_set_beside_the_others(study):
    folder = study[0]
    for at in ("", "variants/shuffled"):
        values, here = study[1][at, "04"][1], folder / at if at else folder
        assert (values["training"], values["out"]) == (f"{here}/training", f"{here}/evaluation")
        assert values["replicates"] == 100 and (f"{folder}/variants/shuffled" in values["compare"]) == (not at)


def test_an_evaluation_is_told_what_its_variant_says(study):
    told = {at: study[1][at, "04"][1] for at in ("", "variants/again")}
    assert {name: told["variants/again"][name] for name in AGAIN} == AGAIN
    assert told[""]["seed"] == written("smoke")["parameters"].get("seed", 0)


def test_a_table_that_a_chapter_reads_makes_it_due_again(study):
    folder, jobs, reads, _ = study
    for number in ("06", "07", "08", "09"):
        (path,) = (run.ROOT / "notebooks").glob(f"{number}_*.ipynb")
        cells = json.loads(path.read_text())["cells"]
        code = "".join("".join(c["source"]) for c in cells if "parameters" not in c["metadata"].get("tags", ()))
        named = set(re.findall(r"data/(?:results/[\w-]+|features(?=\"))", json.dumps(jobs["", number][1]) + code))
        tables = {str(f.relative_to(run.ROOT)) for name in named for f in (run.ROOT / name).glob("*.csv")}
        assert tables and tables <= reads[f"{folder}/notebooks/{path.name}"], number


def test_a_chapter_waits_for_the_artefacts_that_it_reads(study):
    folder, _, reads, _ = study
    for at in (folder, folder / "variants/shuffled", folder / "variants/again"):
        assert f"{folder}/radiographs/card.json" in reads[f"{at}/notebooks/03_training.ipynb"]
        assert f"{at}/training/embeddings.npz" in reads[f"{at}/notebooks/04_evaluation.ipynb"]
    for name in ("05_embeddings", "09_own_finding"):
        assert f"{folder}/training/embeddings.npz" in reads[f"{folder}/notebooks/{name}.ipynb"]
    rivals = {f"{folder}/variants/{name}/evaluation/summary.csv" for name in ("shuffled", "again")}
    rivals |= {f"data/results/{name}/summary.csv" for name in ("phantom", "nih")}
    assert rivals <= reads[f"{folder}/notebooks/04_evaluation.ipynb"]


def test_code_and_words_that_a_training_uses_make_it_due_again(study):
    read = study[2][f"{study[0]}/notebooks/03_training.ipynb"]
    assert {"notebooks/03_training.ipynb", "cmdml/loss.py", "cmdml/objectives.py", "cmdml/optimisation.py",
            "data/findings.yaml", "data/semantics/all-MiniLM-L6-v2.safetensors"} <= read  # fmt: skip
    assert not {file for file in read if file.startswith(("cmdml/plots/anatomy", "cmdml/evaluation/strata"))}


def download(root):
    """The names of the tables of an NIH download, which lie in ``root`` afterwards."""
    names = ["Data_Entry_2017.csv", "sources.csv", *(f"splits/{part}_list.txt" for part in ("train", "val", "test"))]
    (root / "splits").mkdir(parents=True)
    for name in names:
        (root / name).touch()
    return names


def test_the_tables_of_a_download_make_its_films_due_again(tmp_path):
    root, folder, reads = tmp_path / "my films", tmp_path / "runs", {}
    names = download(root)
    dry(f"{folder}/radiographs/card.json", folder, reads, profile="nih-mini", nih_root=str(root))
    (read,) = reads.values()
    assert {f"{root}/{name}" for name in names} <= read


def test_films_whose_folder_has_braces_make_nothing_due_and_stop_nothing(tmp_path):
    """Snakemake would read them as wildcards."""
    root, folder, reads = tmp_path / "my {films}", tmp_path / "runs", {}
    download(root)
    (words,) = dry(f"{folder}/radiographs/card.json", folder, reads, profile="nih-mini", nih_root=str(root))
    assert json.loads(words[-1])["nih_root"] == str(root)
    assert not any("{" in file for read in reads.values() for file in read)
    (words,) = dry(f"{folder}/radiographs/card.json", folder, profile="chestmnist", npz="my {films}.npz")
    assert json.loads(words[-1])["npz"] == "my {films}.npz" and json.loads(words[-1])["source"] == "chestmnist"


class Quoted(list):
    """Words as Snakemake's ``:q`` writes them."""

    def __format__(self, _):
        return shlex.join(self)


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """What the Snakefile holds: the recipe, parameters of `rotation`'s and `rotation_run`'s jobs."""
    asks = tmp_path_factory.mktemp("asks") / "Snakefile"
    lines = [f"include: {str(run.ROOT / 'Snakefile')!r}", "asked = rules.rotation.params, rules.rotation_run.params",
             "for one in (json.dumps(RECIPE), asked[0].plan, asked[1].plan, asked[1].values):",
             "    print('ASKED', one)", ""]  # fmt: skip
    asks.write_text("\n".join(lines))
    command = [sys.executable, "-m", "snakemake", "-s", str(asks), "--list-rules", "--config", "profile=nih-mini"]
    done = subprocess.run([*command, "gamma=3.0"], cwd=run.ROOT, capture_output=True, text=True)
    return [json.loads(line.removeprefix("ASKED ")) for line in done.stdout.splitlines() if line.startswith("ASKED ")]


def test_a_killed_training_goes_on_only_if_nothing_that_went_into_it_has_changed(asked, tmp_path):
    files, folder = [tmp_path / "my code.py", tmp_path / "films.json"], tmp_path / "my training"
    checkpoint = folder / "checkpoint"

    def start(values):
        """Whether the checkpoint is still there when the training begins; then it leaves one."""
        params = SimpleNamespace(folder=Quoted([str(folder)]), values=Quoted([values]))
        shell = asked[0].format(input=SimpleNamespace(made_from=Quoted(map(str, files))), params=params)
        subprocess.run(["bash", "-euo", "pipefail", "-c", shell + "true"], check=True, cwd=tmp_path)
        there = checkpoint.exists()
        assert folder.is_dir()
        checkpoint.touch()
        return there

    for file in files:
        file.write_text("one")
    values = '{"lr": 0.01, "objective": "it\'s"}'
    assert not start(values) and start(values) and start(values)
    files[1].write_text("two")  # as long as before
    assert not start(values) and start(values)
    other = values.replace("0.01", "0.02")
    assert not start(other) and start(other) and not start(values)


def test_a_sweep_s_runs_are_told_what_their_method_says(tmp_path):
    profile, jobs, reads = written("smoke"), {}, {}
    for words in dry("sweep", tmp_path, reads, profile="smoke"):
        if "cmdml.study.sweep" in words and words[words.index("cmdml.study.sweep") + 1] == "run":
            name, method, split, seed, given = words[words.index("cmdml.study.sweep") + 2 :][:5]
            assert name == "smoke" and json.loads(given) == {"run_dir": str(tmp_path)}
            assert "OMP_NUM_THREADS=1" in words
            jobs[method, split, int(seed)] = told(words)[0]
    sweep = profile["sweep"]
    assert set(jobs) == {(m, split, s) for m in sweep["methods"] for split in sweep["splits"] for s in sweep["seeds"]}
    for (method, _, seed), values in jobs.items():
        expected = {**profile["parameters"], **sweep["methods"][method], "seed": seed}
        assert {name: values[name] for name in expected if name in values} == {
            name: value for name, value in expected.items() if name in values
        }
        assert {"semantics", "keep_no_finding", "unseen", "objective", "epochs", "gamma"} <= values.keys()
    for method, split, seed in jobs:
        read = reads[f"{tmp_path}/sweep/{method}/{split}-{seed}/manifest.json"]
        assert {f"{tmp_path}/radiographs/card.json", "cmdml/loss.py", "cmdml/evaluation/testset.py",
                "data/semantics/all-MiniLM-L6-v2.safetensors"} <= read  # fmt: skip
        assert "cmdml/study/tables.py" not in read  # what only counts and compares


def test_what_takes_longest_starts_first_and_what_runs_beside_others_has_one_core(study, tmp_path):
    folder, _, _, needs = study
    assert needs[f"{folder}/notebooks/03_training.ipynb"] == {"priority": "1", "threads": CORES}
    for name in ("shuffled", "again"):
        assert needs[f"{folder}/variants/{name}/notebooks/03_training.ipynb"] == {"priority": "1"}
    assert needs[f"{folder}/notebooks/01_data.ipynb"] == {"threads": CORES}


def test_methods_pick_the_runs_of_a_sweep(tmp_path):
    jobs = [words for words in dry("sweep", tmp_path, profile="smoke", methods="bce") if "run" in words]
    assert sum("cmdml.study.sweep" in words for words in jobs) == 2


def test_a_rotation_is_a_job_per_design_and_method(tmp_path):
    plan, jobs, collected, reads, needs = written("nih-mini")["rotation"], set(), [], {}, {}
    for words in dry("rotation", tmp_path, reads, needs, profile="nih-mini", designs=2):
        if "cmdml.study.rotate" in words:
            task, name, design, method, given = words[words.index("cmdml.study.rotate") + 1 :][:5]
            assert (task, name) == ("run", "nih-mini") and "OMP_NUM_THREADS=1" in words
            assert json.loads(given) == {"run_dir": str(tmp_path)}
            jobs.add((int(design), method))
        if "cmdml.study.rotation_jobs" in words:
            collected.append(words[words.index("cmdml.study.rotation_jobs") + 1 :][:4])
    assert {design for design, _ in jobs} == set(plan["designs"][:2])
    assert collected == [["collect", "nih-mini", "2", json.dumps({"run_dir": str(tmp_path)})]]
    methods = {method for _, method in jobs}
    assert set(plan["trained"]["methods"]) | {"eszsl", "mean_of_seen", "ceiling", "view"} <= methods
    assert len(jobs) == 2 * len(methods)
    features = {f"{plan[kind]}.safetensors" for kind in ("features", "random_features")}
    for design, method in jobs:
        assert needs[f"{tmp_path}/rotation/{design}/{method}.safetensors"] == {"priority": "1"}
        read = reads[f"{tmp_path}/rotation/{design}/{method}.safetensors"]
        assert features | {"cmdml/closed_form.py", "cmdml/study/scorers.py", "cmdml/study/design.py"} <= read


def test_all_of_its_plan_makes_the_tables_of_a_rotation_due_again_and_its_scores_what_makes_them(asked):
    """Replicates and comparisons stand in no command and in no score."""
    _, plan, scores, values = asked
    assert plan == run.load_profile("nih-mini")["rotation"]
    assert {"features", "random_features", "folds", "pseudo", "trained", "closed"} <= scores.keys()
    assert not {"replicates", "permutations", "comparisons", "improvements"} & scores.keys()
    assert scores == {name: plan[name] for name in scores}
    assert (values["gamma"], values["lr"], values["semantics"]) == (3.0, 0.003, "signs_text")


def test_where_quadruples_have_extractors_of_their_own_each_is_a_job(tmp_path):
    jobs, scored, profile, reads, needs = set(), set(), written("phantom"), {}, {}
    own = profile["rotation"]["extractor"]
    for words in dry("rotation", tmp_path, reads, needs, profile="phantom", designs=1):
        if "cmdml.study.rotate" in words:
            task, name, design, what, given = words[words.index("cmdml.study.rotate") + 1 :][:5]
            assert json.loads(given) == {"run_dir": str(tmp_path)} and "OMP_NUM_THREADS=1" in words
            assert name == "phantom" and design == str(profile["rotation"]["designs"][0])
            (jobs if task == "extract" else scored).add(what)
            for values in told(words)[:1] if task == "extract" else ():  # its recipe
                assert values["rotation"] == own and values["images"] == profile["parameters"]["images"]
    assert jobs == {*map(str, range(14)), "random"}
    assert {"focused", "focused_description", "eszsl", "mean_of_seen", "ceiling_same_size"} <= scored
    assert "source" not in scored  # phantoms have none
    folder = f"{tmp_path}/rotation/{design}"
    cards = {f"{folder}/features/{one}/card.json" for one in jobs}
    for method in scored:  # waits for every extractor of its design
        assert {file for file in reads[f"{folder}/{method}.safetensors"] if file.endswith("card.json")} == cards
    for card in cards:
        assert needs[card] == {"priority": "2"}  # before any score, and beside the others
        assert {f"{tmp_path}/radiographs/card.json", "cmdml/study/rotation_extractors.py",
                "cmdml/study/design.py"} <= reads[card]  # fmt: skip


def test_extractors_that_are_trained_on_a_gpu_share_it_with_three_others_wherever_the_films_lie(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "CORES", "9")
    reads, needs, recipes = {}, {}, []
    for words in dry("rotation", tmp_path, reads, needs, profile="nih-trained", designs=1, nih_root="my films"):
        if words[-5:-3] == ["extract", "nih-trained"]:
            recipes += told(words)[:1]
            assert "nih_root" not in json.loads(words[-1])
    assert len(recipes) == 15 and not any("nih_root" in values for values in recipes)
    assert all(values["rotation"] == written("nih-trained")["rotation"]["extractor"] for values in recipes)
    for which in (*range(14), "random"):
        assert needs[f"{tmp_path}/rotation/1/features/{which}/card.json"] == {"priority": "2", "threads": "2"}


def test_frozen_features_are_extracted_once_and_before_the_trainings(tmp_path):
    folder, jobs, reads = tmp_path / "runs", [], {}
    for words in dry("study", folder, reads, profile="nih-mini", nih_root="nowhere"):
        if "cmdml.features" in words:
            jobs.append("features")
            at = words.index("cmdml.features")
            expected = [f"{folder}/radiographs", f"{folder}/features", "efficientnet_lite0", "imagenet"]
            assert words[at + 1 : at + 5] == expected
        elif "notebooks/03_training.ipynb" in words:
            jobs.append("training")
            assert "/features/efficientnet_lite0-imagenet/card.json" in " ".join(words)
    assert jobs == ["features", *["training"] * (1 + len(written("nih-mini")["variants"]))]
    card = f"{folder}/features/efficientnet_lite0-imagenet/card.json"
    assert {f"{folder}/radiographs/card.json", "cmdml/features.py", "cmdml/extractors.py"} <= reads[card]


def defaults(notebook):
    """{parameter: default} of a notebook, as it stands there."""
    cells = json.loads((run.ROOT / notebook).read_text())["cells"]
    (cell,) = ["".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", ())]
    return {node.target.id: ast.literal_eval(node.value) for node in ast.parse(cell).body}


def test_committed_tables_that_a_chapter_is_given_are_those_that_it_reads_on_its_own(study):
    for number, names in {"06": {"results", "rotation", "improved"}, "07": {"rotation", "drawn"},
                          "08": {"rotation", "sweep"}, "09": {"truth"}}.items():  # fmt: skip
        words, values = study[1]["", number]
        own = defaults(words[words.index("cmdml.study.run") + 1])
        assert {name: values[name] for name in names} == {name: own[name] for name in names}, number


def test_a_chapter_reads_the_study_s_training_and_writes_beside_it(study):
    folder = study[0]
    for number, out in {"05": "embeddings", "09": "own_finding"}.items():
        values = study[1]["", number][1]
        assert (values["training"], values["out"]) == (f"{folder}/training", f"{folder}/{out}")
    for (_, number), (_, values) in study[1].items():
        assert (values["run_dir"], values["profile"]) == (str(folder), "smoke"), number


def test_code_that_is_imported_inside_a_function_makes_a_chapter_due_again(study):
    """Chapter 5 imports the pictures of the space, and a function of theirs imports what texts say."""
    space = ast.parse((run.ROOT / "cmdml/plots/space.py").read_text())
    above = {one.module for one in space.body if isinstance(one, ast.ImportFrom)}
    below = {one.module for one in ast.walk(space) if isinstance(one, ast.ImportFrom)}
    (inside,) = (name for name in below - above if name.startswith("cmdml."))
    assert f"{inside.replace('.', '/')}.py" in study[2][f"{study[0]}/notebooks/05_embeddings.ipynb"]


def test_code_that_a_chapter_imports_makes_it_due_again(study):
    folder, jobs, reads, _ = study
    for at, number in jobs:
        (path,) = (run.ROOT / "notebooks").glob(f"{number}_*.ipynb")
        read = reads["/".join(filter(None, (str(folder), at, f"notebooks/{path.name}")))]
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        named = re.findall(r"^from (cmdml[\w.]*) import (\w+)", code, re.M)
        assert named and f"notebooks/{path.name}" in read
        for module, name in named:
            place = module.replace(".", "/")
            files = {f"{place}.py", f"{place}/{name}.py", f"{place}/__init__.py", f"{place}/{name}/__init__.py"}
            assert {file for file in files if (run.ROOT / file).is_file()} <= read, (path.name, module, name)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """The folder, {chapter of the main run: values}, {first output: input files} of the book's own profile."""
    folder, found, reads = tmp_path_factory.mktemp("runs"), {}, {}
    target = f"{folder}/book/_toc.yml"
    for words in dry(target, folder, reads, profile="phantom"):
        at = words.index("cmdml.study.run") if "cmdml.study.run" in words else None
        if at is None:
            found["stage"] = words
        elif words[at + 2] == f"{folder}/{words[at + 1]}":
            found[words[at + 1][10:12]] = json.loads(words[at + 3])
    return folder, found, reads


def test_a_study_is_set_beside_other_profiles_results_and_not_its_own(phantom):
    folder, found, reads = phantom
    variants = {f"{folder}/variants/{name}" for name in written("phantom")["variants"]}
    others = {str(path.parent.relative_to(run.ROOT)) for path in run.ROOT.glob("data/results/*/per_finding.csv")}
    assert "data/results/phantom" in others and set(found["04"]["compare"]) == variants | others - {
        "data/results/phantom"}  # fmt: skip
    assert "data/results/phantom/summary.csv" not in reads[f"{folder}/notebooks/04_evaluation.ipynb"]


def test_descriptions_stand_beside_the_signs(phantom, study):
    folder, found, reads = phantom
    beside = f"{folder}/variants/description/training"
    assert found["05"]["beside"] == beside and study[1]["", "05"][1]["beside"] == ""  # smoke has no such variant
    assert f"{beside}/embeddings.npz" in reads[f"{folder}/notebooks/05_embeddings.ipynb"]


def test_counts_of_label_sets_make_phantoms_due_again(phantom):
    folder, _, reads = phantom
    assert {"data/label_sets.csv", "data/label_sets.json", "data/findings.yaml",
            "cmdml/sources/phantom/sampling.py"} <= reads[f"{folder}/notebooks/01_data.ipynb"]  # fmt: skip


def test_a_book_is_laid_out_of_all_notebooks_of_its_own_run(phantom):
    folder, found, reads = phantom
    assert found["stage"][1:] == ["book/stage.py", "stage", str(folder)]
    notebooks = {f"{folder}/notebooks/{path.name}" for path in (run.ROOT / "notebooks").glob("0[1-9]_*.ipynb")}
    assert reads[f"{folder}/book/_toc.yml"] == notebooks and len(notebooks) == 9


def test_a_sweep_is_collected_of_what_ran(tmp_path):
    reads, given = {}, {"run_dir": str(tmp_path), "gamma": 3.0, "nih_root": "my {films}"}
    for words in dry("sweep", None, reads, profile="nih", **given):
        at = words.index("cmdml.study.sweep") + 1 if "cmdml.study.sweep" in words else 0
        if words[at] == "collect":
            assert words[at + 1] == "nih" and json.loads(words[at + 2]) == given and words[0] == "OMP_NUM_THREADS=1"
        elif at:  # where the films lie makes no other scores
            assert json.loads(words[at + 5]) == {"run_dir": str(tmp_path), "gamma": 3.0}
    planned = {file for file in reads if file.startswith(f"{tmp_path}/sweep/") and file.endswith("manifest.json")}
    collected = reads[f"{tmp_path}/sweep/collected"]
    assert planned and planned <= collected and "cmdml/study/tables.py" in collected


def test_a_rotation_of_all_its_designs_is_collected_from_all_its_jobs(tmp_path):
    plan, collected, reads = written("nih-mini")["rotation"], [], {}
    for words in dry("rotation", tmp_path, reads, profile="nih-mini", rotation_methods="eszsl"):
        if "collect" in words:
            collected.append(words[words.index("collect") - 1 :])
    assert collected == [["cmdml.study.rotate", "collect", "nih-mini", json.dumps({"run_dir": str(tmp_path)})]]
    jobs = {file for file in reads if file.endswith(".safetensors")}
    read = reads[f"{tmp_path}/rotation/collected"]
    assert jobs <= read and "cmdml/study/anatomy.py" in read
    assert {f"{tmp_path}/rotation/{design}/focused.safetensors" for design in plan["designs"]} <= jobs
