"""What every job is told and what makes it due again, read from a dry run: ``snakemake -n -p``."""

import json
import re
import shlex
import subprocess
import sys

import pytest
import yaml

from cmdml.study import run


def dry(target, folder, reads=None, **config):
    """The words of every shell command of a dry run; nothing lies in ``folder``, so all of it is due.

    ``reads``, a dict, is given the input files of every job by its first output.
    """
    given = [f"{name}={json.dumps(value)}" for name, value in config.items()]
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--cores", "1", "--nolock", "--config", *given]
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
            reads[files.split(", ")[0]] = read
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
    """The folder, {(variant, chapter): (words, values)}, {first output: input files}; smoke and one variant more."""
    folder = tmp_path_factory.mktemp("runs") / "my run"  # a space, too
    profile, found, reads = written("smoke"), {}, {}
    profile["variants"]["again"] = AGAIN
    file = tmp_path_factory.mktemp("profiles") / "smoke.yaml"
    file.write_text(yaml.safe_dump(profile))
    for words in dry("study", folder, reads, profile=str(file), gamma=3.0):
        at = words.index("cmdml.study.run")
        notebook, out, values = words[at + 1 : at + 4]
        assert out.startswith(str(folder)) and out.endswith(notebook)
        found[out.removeprefix(f"{folder}/").removesuffix(f"/{notebook}").removesuffix(notebook), notebook[10:12]] = (
            words, json.loads(values))  # fmt: skip
    return folder, found, reads


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
    folder, jobs, reads = study
    for number in ("06", "07", "08", "09"):
        (path,) = (run.ROOT / "notebooks").glob(f"{number}_*.ipynb")
        cells = json.loads(path.read_text())["cells"]
        code = "".join("".join(c["source"]) for c in cells if "parameters" not in c["metadata"].get("tags", ()))
        named = set(re.findall(r"data/(?:results/[\w-]+|features(?=\"))", json.dumps(jobs["", number][1]) + code))
        tables = {str(f.relative_to(run.ROOT)) for name in named for f in (run.ROOT / name).glob("*.csv")}
        assert tables and tables <= reads[f"{folder}/notebooks/{path.name}"], number


def test_a_chapter_waits_for_the_artefacts_that_it_reads(study):
    folder, _, reads = study
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


def test_the_tables_of_a_download_make_its_films_due_again(tmp_path):
    root, folder, reads = tmp_path / "my films", tmp_path / "runs", {}
    names = ["Data_Entry_2017.csv", "sources.csv", *(f"splits/{part}_list.txt" for part in ("train", "val", "test"))]
    (root / "splits").mkdir(parents=True)
    for name in names:
        (root / name).touch()
    dry(f"{folder}/radiographs/card.json", folder, reads, profile="nih-mini", nih_root=str(root))
    (read,) = reads.values()
    assert {f"{root}/{name}" for name in names} <= read


def test_a_sweep_s_runs_are_told_what_their_method_says(tmp_path):
    profile, jobs, reads = written("smoke"), {}, {}
    for words in dry("sweep", tmp_path, reads, profile="smoke"):
        if "cmdml.study.sweep" in words and words[words.index("cmdml.study.sweep") + 1] == "run":
            name, method, split, seed, given = words[words.index("cmdml.study.sweep") + 2 :][:5]
            assert name == "smoke" and json.loads(given) == {"run_dir": str(tmp_path)}
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


def test_methods_pick_the_runs_of_a_sweep(tmp_path):
    jobs = [words for words in dry("sweep", tmp_path, profile="smoke", methods="bce") if "run" in words]
    assert sum("cmdml.study.sweep" in words for words in jobs) == 2


def test_a_rotation_is_a_job_per_design_and_method(tmp_path):
    plan, jobs, collected, reads = written("nih-mini")["rotation"], set(), [], {}
    for words in dry("rotation", tmp_path, reads, profile="nih-mini", designs=2):
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
        read = reads[f"{tmp_path}/rotation/{design}/{method}.safetensors"]
        assert features | {"cmdml/closed_form.py", "cmdml/study/scorers.py", "cmdml/study/design.py"} <= read


def test_all_of_its_plan_makes_the_tables_of_a_rotation_due_again(tmp_path):
    """Replicates and comparisons stand in no command and in no score."""
    asks = tmp_path / "Snakefile"
    asks.write_text(f"include: {str(run.ROOT / 'Snakefile')!r}\nprint('PLAN', rules.rotation.params.plan)\n")
    command = [sys.executable, "-m", "snakemake", "-s", str(asks), "--list-rules", "--config", "profile=nih-mini"]
    done = subprocess.run(command, cwd=run.ROOT, capture_output=True, text=True)
    (plan,) = [line.removeprefix("PLAN ") for line in done.stdout.splitlines() if line.startswith("PLAN ")]
    assert json.loads(plan) == run.load_profile("nih-mini")["rotation"]


def test_where_quadruples_have_extractors_of_their_own_each_is_a_job(tmp_path):
    jobs, scored, profile = set(), set(), written("phantom")
    for words in dry("rotation", tmp_path, profile="phantom", designs=1):
        if "cmdml.study.rotate" in words:
            task, name, design, what, given = words[words.index("cmdml.study.rotate") + 1 :][:5]
            assert json.loads(given) == {"run_dir": str(tmp_path)}
            assert name == "phantom" and design == str(profile["rotation"]["designs"][0])
            (jobs if task == "extract" else scored).add(what)
    assert jobs == {*map(str, range(14)), "random"}
    assert {"focused", "focused_description", "eszsl", "mean_of_seen", "ceiling_same_size"} <= scored
    assert "source" not in scored  # phantoms have none


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
