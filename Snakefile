# The order of the study, once. `make study PROFILE=phantom` runs it; `snakemake -n` says what would run and why.
# Every notebook is one job: its inputs are the notebook, the package files it uses and the artefacts before it; its
# parameters come from profiles/<profile>.yaml, so a changed value, like a changed file, reruns what depends on it.
import ast
import json
import re
import shlex
import sys
from importlib import import_module
from pathlib import Path

from snakemake.exceptions import WorkflowError

from cmdml.findings import KEYS
from cmdml.features import place
from cmdml.sources import nih_tables
from cmdml.study import plan, rotation_jobs, run

ABOUT = ("profile", "methods", "rotation_methods", "designs")  # what to run; the rest of the configuration: parameters
OVERRIDES = {name: value for name, value in config.items() if name not in ABOUT}
GIVEN = json.dumps({name: value for name, value in OVERRIDES.items() if name != "nih_root"})  # what makes other scores
METHODS, ROTATED = (str(config.get(name) or "").replace(",", " ").split() for name in ("methods", "rotation_methods"))
DESIGNS = str(config.get("designs") or "")  # the first so many of the profile's
try:
    PROFILE = run.load_profile(config.get("profile", "phantom"), OVERRIDES)
    PLANNED = plan.plan(PROFILE, METHODS)
    ROTATION = rotation_jobs.first_designs(PROFILE, DESIGNS)["rotation"] if PROFILE["rotation"] or DESIGNS else None
    TURNS = rotation_jobs.jobs(PROFILE | {"rotation": ROTATION}, ROTATED) if ROTATION else []
except (ValueError, OSError) as error:
    raise WorkflowError(str(error))
RUN = PROFILE["parameters"]["run_dir"]
VARIANTS = sorted(PROFILE["variants"])
# What the evaluation sets beside the main run: its variants, and the committed results of other profiles.
SWEEPS = ["data/results/sweep-phantom", "data/results/sweep-nih"]  # what the chapter on evidence reads
TURNED = "data/results/rotation-nih-mini"
DRAWN = "data/results/rotation-phantom"
LEARNT = "data/results/rotation-nih-trained"
VARIED = "data/results/variants-nih-mini"
TRUTH = "data/results/truth-nih-mini"
FURTHER = [f"data/results/{name}" for name in
           ("truth-nih-mini", "transfer-kermany", "default-nih-mini", "retrained-nih-mini")]  # chapter 7
OTHERS = sorted(str(p.parent) for p in Path("data/results").glob("*/per_finding.csv")
                if p.parent.name != PROFILE["name"])
MODULES = {str(path.relative_to("cmdml").with_suffix("")).replace("/", "."): path for path in Path("cmdml").rglob("*.py")}
# Data that a module reads, besides what it is given.
READS = {
    "findings": ["data/findings.yaml"],
    "semantics": sorted(map(str, Path("data/semantics").glob("*.safetensors"))),
    "sources.phantom.sampling": ["data/label_sets.csv", "data/label_sets.json"],
}


def imports(code):
    """Modules of the package that a piece of code imports."""
    for node in ast.walk(ast.parse(re.sub(r"^[ \t]*[%!].*$", "", code, flags=re.M))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            origin = f"cmdml.{node.module}" if node.level else node.module
            names = [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in (name.removeprefix("cmdml.") for name in names if name.startswith("cmdml.")):
            # `from cmdml import CMDML`: the package says which module it is from.
            name = import_module("cmdml")._HOME.get(name, name)
            yield from (m for m in (name, f"{name}.__init__") if m in MODULES)


def package(*code):
    """The package files that pieces of code import, directly or not, and the data that those read."""
    found, queue = set(), list(code)
    while queue:
        new = set(imports(queue.pop())) - found
        found |= new
        queue += [MODULES[module].read_text() for module in new]
    return [*(str(MODULES[m]) for m in sorted(found)), *(file for m in sorted(found) for file in READS.get(m, []))]


def sources(notebook):
    """The notebook, and the package files and data that it uses."""
    path = f"notebooks/{notebook}.ipynb"
    cells = json.loads(Path(path).read_text())["cells"]
    return [path, *package(*("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))]


def parameters(notebook, variant=None, **wiring):
    changed = {**PROFILE["parameters"], **(PROFILE["variants"][variant] if variant else {}), **wiring}
    return json.dumps(run.notebook_parameters(f"notebooks/{notebook}.ipynb", {"parameters": changed}), sort_keys=True)


def films(wildcards):
    """The tables of an NIH download; chapter 1 says what is missing. Snakemake cannot name a file with braces."""
    given = PROFILE["parameters"]
    if given.get("source") != "nih":
        return []
    try:
        found = nih_tables.input_files(run.resolve(given["nih_root"]), given.get("splits", "auto"))
    except (OSError, ValueError):
        return []
    return [str(file) for file in found if not set(str(file)) & set("{}")]


def variant(wildcards):
    return None if wildcards.at == RUN else Path(wildcards.at).name


# Every value that a shell sees is quoted: by :q, or here, where Snakemake reads braces, too.
PYTHON = shlex.quote(sys.executable).replace("{", "{{").replace("}", "}}")
EXECUTE = PYTHON + " -m cmdml.study.run {input[0]:q} {output[0]:q} {params.values:q}"
NOTEBOOKS = [f"{RUN}/notebooks/{name}.ipynb" for name in
             ("01_data", "02_semantics", "03_training", "04_evaluation", "05_embeddings", "06_ablation", "07_anatomy",
              "08_traps", "09_own_finding")]
# A training's folder outlives the job that was killed, but only if nothing that went into it has changed.
RECIPE = ('folder={params.folder:q}; recipe="$(cat {input.made_from:q} | cksum) "{params.values:q}; '
          'test "$(cat "$folder/recipe" 2>/dev/null)" = "$recipe" || {{ rm -rf "$folder"; mkdir -p "$folder"; }}; '
          'printf "%s\\n" "$recipe" > "$folder/recipe"; ')


wildcard_constraints:
    at=f"{re.escape(RUN)}(/variants/[^/]+)?",


rule study:
    default_target: True
    input:
        NOTEBOOKS,


rule data:
    input:
        sources("01_data"),
        films,
    output:
        f"{RUN}/notebooks/01_data.ipynb",
        f"{RUN}/radiographs/card.json",
    params:
        values=lambda w: parameters("01_data"),  # a function: a word in braces is no wildcard
    threads: workflow.cores
    shell:
        EXECUTE


rule semantics:
    input:
        sources("02_semantics"),
    output:
        f"{RUN}/notebooks/02_semantics.ipynb",
    params:
        values=parameters("02_semantics"),
    shell:
        EXECUTE


# What a frozen backbone saw, once for all trainings; extraction goes on where it was stopped.
FROZEN = PROFILE["parameters"].get("tune") == "frozen"
BACKBONE = [PROFILE["parameters"].get(name, "") for name in ("backbone", "weights")]
FEATURES = [f"{place(f'{RUN}/features', *BACKBONE)}/card.json"] if FROZEN else []
if FROZEN:

    rule features:
        input:
            package("import cmdml.features"),
            f"{RUN}/radiographs/card.json",
        output:
            FEATURES,
        params:
            folders=[f"{RUN}/radiographs", f"{RUN}/features", *BACKBONE],
        threads: workflow.cores
        shell:
            PYTHON + " -m cmdml.features {params.folders:q}"


# The main run lies in runs/<profile>, a variant (a control, a baseline) in runs/<profile>/variants/<variant>. Snakemake
# removes a job's outputs before it runs. The checkpoint is not among them, so a killed training goes on where it was,
# but only if nothing that went into it has changed: the recipe tells.
rule training:
    input:
        made_from=[*sources("03_training"), f"{RUN}/radiographs/card.json", *FEATURES],
    output:
        "{at}/notebooks/03_training.ipynb",
        "{at}/training/weights.safetensors",
        "{at}/training/embeddings.npz",
        "{at}/training/history.csv",
        "{at}/training/seal.json",
    params:
        values=lambda w: parameters("03_training", variant(w), out=f"{w.at}/training"),
        folder="{at}/training",
    priority: 1  # the longest jobs first
    threads: lambda w: 1 if variant(w) else workflow.cores
    shell:
        RECIPE + EXECUTE


rule evaluation:
    input:
        sources("04_evaluation"),
        "{at}/training/embeddings.npz",
        lambda w: [] if variant(w) else [
            *(f"{RUN}/variants/{name}/evaluation/summary.csv" for name in VARIANTS),
            *(f"{other}/summary.csv" for other in OTHERS),
        ],
    output:
        "{at}/notebooks/04_evaluation.ipynb",
        "{at}/evaluation/per_finding.csv",
        "{at}/evaluation/summary.csv",
        "{at}/evaluation/manifest.json",
    params:
        values=lambda w: parameters(
            "04_evaluation",
            variant(w),
            training=f"{w.at}/training",
            out=f"{w.at}/evaluation",
            compare=[] if variant(w) else [*(f"{RUN}/variants/{name}" for name in VARIANTS), *OTHERS],
        ),
    shell:
        EXECUTE


# Beside the main run, what was told descriptions, where the profile has that variant.
BESIDE = [f"{RUN}/variants/description/training/embeddings.npz"] if "description" in VARIANTS else []


rule embeddings:
    input:
        sources("05_embeddings"),
        f"{RUN}/training/embeddings.npz",
        BESIDE,
    output:
        f"{RUN}/notebooks/05_embeddings.ipynb",
    params:
        values=parameters(
            "05_embeddings",
            training=f"{RUN}/training",
            out=f"{RUN}/embeddings",
            beside=f"{RUN}/variants/description/training" if BESIDE else "",
        ),
    shell:
        EXECUTE


# Reads the committed tables of the sweeps and no run, so that the book costs no sweep.
rule ablation:
    input:
        sources("06_ablation"),
        [str(file) for folder in [*SWEEPS, TURNED, VARIED] for file in sorted(Path(folder).glob("*.*"))],
    output:
        f"{RUN}/notebooks/06_ablation.ipynb",
    params:
        values=parameters("06_ablation", results=SWEEPS, rotation=TURNED, improved=VARIED),
    shell:
        EXECUTE


# As the ablation, from the committed tables of a rotation.
rule anatomy:
    input:
        sources("07_anatomy"),
        [str(file) for folder in [TURNED, DRAWN, LEARNT, *FURTHER] for file in sorted(Path(folder).glob("*.*"))],
    output:
        f"{RUN}/notebooks/07_anatomy.ipynb",
    params:
        values=parameters("07_anatomy", rotation=TURNED, drawn=DRAWN, learnt=LEARNT),
    shell:
        EXECUTE


# Reads committed tables alone, and counts in the table of the committed films.
rule traps:
    input:
        sources("08_traps"),
        [str(file) for name in ("results/rotation-nih-mini", "results/sweep-nih", "features")
         for file in sorted(Path("data", name).glob("*.*"))],
    output:
        f"{RUN}/notebooks/08_traps.ipynb",
    params:
        values=parameters("08_traps", rotation="data/results/rotation-nih-mini", sweep="data/results/sweep-nih"),
    shell:
        EXECUTE


# The main run and, for a finding of real films, committed tables.
rule own_finding:
    input:
        sources("09_own_finding"),
        f"{RUN}/training/embeddings.npz",
        sorted(map(str, Path(TRUTH).glob("*.*"))),
    output:
        f"{RUN}/notebooks/09_own_finding.ipynb",
    params:
        values=parameters(
            "09_own_finding", training=f"{RUN}/training", out=f"{RUN}/own_finding", truth=TRUTH
        ),
    shell:
        EXECUTE


# One job per run of the sweep; methods="focused ranking" in the configuration picks some. What only counts and
# compares (tables) makes no run stale.
rule sweep_run:
    input:
        made_from=[*package("import cmdml.training, cmdml.semantics"), f"{RUN}/radiographs/card.json"],
        measured_by=sorted(set(package("import cmdml.study.sweep")) - {"cmdml/study/tables.py"}),
    output:
        f"{RUN}/sweep/{{method}}/{{split}}-{{seed}}/manifest.json",
    params:
        values=lambda w: json.dumps(plan.settings(PROFILE, w.method, int(w.seed), w.split), sort_keys=True),
        given=lambda w: GIVEN,
        folder=f"{RUN}/sweep/{{method}}/{{split}}-{{seed}}/training",
        profile=PROFILE["name"],
    threads: 1
    shell:
        RECIPE + "OMP_NUM_THREADS=1 " + PYTHON + " -m cmdml.study.sweep run {params.profile:q} "
        "{wildcards.method:q} {wildcards.split:q} {wildcards.seed:q} {params.given:q}"


# Its tables are committed, and the book reads them: as declared outputs they would draw the whole sweep into the book.
rule sweep:
    input:
        [f"{RUN}/sweep/{method}/{split}-{seed}/manifest.json"
         for method, split, seed in PLANNED],
        package("import cmdml.study.tables"),
    output:
        touch(f"{RUN}/sweep/collected"),
    params:
        given=lambda w: json.dumps(OVERRIDES),
        profile=PROFILE["name"],
    shell:
        "OMP_NUM_THREADS={threads} " + PYTHON + " -m cmdml.study.sweep collect {params.profile:q} {params.given:q}"


# One job per design and method: no label of one reaches another. What only counts and compares makes no run stale.
if ROTATION:
    COMMITTED = [f"{ROTATION[stem]}{end}" for stem in ("features", "random_features") if ROTATION[stem]
                 for end in (".safetensors", ".csv", ".json") if Path(f"{ROTATION[stem]}{end}").is_file()]
    # Where each quadruple trains a network of its own, a job each, and one for the untrained network.
    OWN = [*map(str, range(len(KEYS))), "random"] if "extractor" in ROTATION else []

    rule rotation_features:
        input:
            # Not all that a rotation imports: what scores features makes no network stale.
            made_from=[*package("import cmdml.training, cmdml.features, cmdml.semantics, cmdml.study.design"),
                       "cmdml/study/rotation.py", "cmdml/study/rotation_extractors.py", f"{RUN}/radiographs/card.json"],
        output:
            f"{RUN}/rotation/{{design}}/features/{{quadruple}}/card.json",
        params:
            # Where the films lie makes no other network.
            values=lambda w: json.dumps({name: value for name, value in PROFILE["parameters"].items()
                                         if name != "nih_root"} | {"rotation": ROTATION.get("extractor")}, sort_keys=True),
            folder=f"{RUN}/rotation/{{design}}/training/{{quadruple}}",
            profile=PROFILE["name"],
            given=lambda w: GIVEN,
        wildcard_constraints:
            design=r"\d+",
        priority: 2
        # Four at a time share a GPU.
        threads: max(1, workflow.cores // 4) if (ROTATION.get("extractor") or {}).get("device") == "cuda" else 1
        shell:
            RECIPE + "OMP_NUM_THREADS=1 " + PYTHON + " -m cmdml.study.rotate extract {params.profile:q} "
            "{wildcards.design:q} {wildcards.quadruple:q} {params.given:q}"

    rule rotation_run:
        input:
            package("import cmdml.study.rotation"),
            COMMITTED,
            lambda w: [f"{RUN}/rotation/{w.design}/features/{one}/card.json" for one in OWN],
        output:
            f"{RUN}/rotation/{{design}}/{{method}}.safetensors",
        params:
            plan=json.dumps({name: value for name, value in ROTATION.items()
                             if name not in rotation_jobs.ONLY_COUNTED}, sort_keys=True),
            values=parameters("03_training", out=""),
            profile=PROFILE["name"],
            given=lambda w: GIVEN,
        wildcard_constraints:
            design=r"\d+",
        priority: 1
        threads: 1
        shell:
            "OMP_NUM_THREADS=1 " + PYTHON + " -m cmdml.study.rotate run {params.profile:q} "
            "{wildcards.design:q} {wildcards.method:q} {params.given:q}"

    rule rotation_runs:
        input:
            [f"{RUN}/rotation/{design}/{method}.safetensors" for design, method in TURNS],

    # As with the sweep, its tables are committed and no outputs.
    rule rotation:
        input:
            [f"{RUN}/rotation/{design}/{method}.safetensors" for design, method in
             rotation_jobs.jobs(PROFILE | {"rotation": ROTATION})],
            package("import cmdml.study.anatomy"),
        output:
            touch(f"{RUN}/rotation/collected"),
        params:
            plan=json.dumps(ROTATION, sort_keys=True),
            profile=PROFILE["name"],
            designs=DESIGNS,
            given=lambda w: GIVEN,
        threads: workflow.cores
        shell:
            "OMP_NUM_THREADS=1 " + PYTHON + (" -m cmdml.study.rotation_jobs collect {params.profile:q} {params.designs:q}"
            if DESIGNS else " -m cmdml.study.rotate collect {params.profile:q}") + " {params.given:q}"


rule stage:
    input:
        NOTEBOOKS,
    output:
        f"{RUN}/book/_toc.yml",
    params:
        run=RUN,
    shell:
        PYTHON + " book/stage.py stage {params.run:q}"
