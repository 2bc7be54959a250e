"""The one place for the repository's address, the buttons that come from it, and the container behind Binder's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from scripts import load

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def with_buttons():
    return load("book/stage.py").with_buttons


@pytest.fixture
def config():
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))


def test_without_an_address_there_is_no_button(with_buttons, config):
    config["repository"]["url"] = ""
    made = with_buttons(config)
    assert "repository" not in made and not made["html"]["use_repository_button"]
    assert made["launch_buttons"]["binderhub_url"] == made["launch_buttons"]["colab_url"] == ""
    assert made == {name: value for name, value in config.items() if name != "repository"}


@pytest.mark.parametrize("url", ["https://github.com/owner/name", "https://github.com/owner/name.git/"])
def test_with_an_address_there_are_all(with_buttons, config, url):
    config["repository"]["url"] = url
    made = with_buttons(config)
    assert made["repository"] == {"url": "https://github.com/owner/name", "branch": "main"}
    assert made["launch_buttons"]["binderhub_url"] and made["launch_buttons"]["colab_url"]
    assert made["html"]["use_repository_button"] and made["html"]["use_issues_button"]
    assert made["execute"] == config["execute"] and made["sphinx"] == config["sphinx"]


@pytest.mark.parametrize("url", ["github.com/owner/name", "https://github.com/owner", "https://example.org/a/b"])
def test_an_address_that_is_none_ends_in_one_sentence(with_buttons, config, url):
    config["repository"]["url"] = url
    with pytest.raises(SystemExit, match=r"_config.yml: repository.url is .*https://github.com/<owner>/<name>"):
        with_buttons(config)


def test_the_buttons_appear_on_a_notebook_s_page(with_buttons, config, tmp_path):
    """A book of one page, built as ours is: both links lead to the notebook, and no image comes from elsewhere.

    What its code wrote when it ran stands below it; it is not run again, and progress bars are left out.
    """
    config["repository"]["url"] = "https://github.com/owner/name"
    made = {
        key: value for key, value in with_buttons(config).items() if key not in ("sphinx", "logo", "bibtex_bibfiles")
    }
    made["html"].pop("favicon")
    made["sphinx"] = {"config": {k: v for k, v in config["sphinx"]["config"].items() if k.startswith("nb_")}}
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(made), encoding="utf-8")
    (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: notebooks/08_traps\n", encoding="utf-8")
    notebook = nbformat.read(ROOT / "notebooks/08_traps.ipynb", as_version=4)
    outputs = [nbformat.v4.new_output("stream", name="stdout", text="2 films of the run\n"),
               nbformat.v4.new_output("stream", name="stderr", text="100% of a progress bar\n")]  # fmt: skip
    code = [nbformat.v4.new_code_cell("print(f'{1 + 1} films of the run')", outputs=outputs, execution_count=1),
            nbformat.v4.new_code_cell("print(f'{1 + 1 + 1} films')")]  # fmt: skip
    notebook.cells = [nbformat.v4.new_markdown_cell("# A page"), *code]
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks/08_traps.ipynb")
    build = [str(Path(sys.executable).with_name("jupyter-book")), "build", "-W", str(tmp_path)]
    done = subprocess.run(build, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    page = (tmp_path / "_build/html/notebooks/08_traps.html").read_text(encoding="utf-8")
    assert "https://mybinder.org/v2/gh/owner/name/main?urlpath=tree/notebooks/08_traps.ipynb" in page
    assert "https://colab.research.google.com/github/owner/name/blob/main/notebooks/08_traps.ipynb" in page
    assert not re.findall(r'<img[^>]+src="https?://', page)
    assert "2 films of the run" in page and "3 films" not in page and "progress bar" not in page
    for name in ("logo_binder.svg", "logo_colab.png"):
        assert (tmp_path / f"_build/html/_static/images/{name}").is_file() and name in page


def test_every_page_loads_the_book_s_own_scripts_and_style(config):
    asked = config["sphinx"]["config"]
    ours = [path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.py")]
    added = {name for code in ours for name in re.findall(r'add_js_file\("([\w.-]+)"', code)}
    scripts = {name for name, _ in asked["html_js_files"]} | added
    held = {path.name for path in (ROOT / "book/_static").glob("*.js")}
    assert held and held <= scripts and asked["html_css_files"] == ["custom.css"]
    assert all(how == {"loading_method": "defer"} for _, how in asked["html_js_files"])


def test_the_container_installs_what_the_lock_says():
    folder = ROOT / "binder"
    python = (folder / "runtime.txt").read_text().strip()
    assert re.fullmatch(r"python-3\.1[1-9]", python)
    (line,) = [line for line in (folder / "requirements.txt").read_text().splitlines() if line and line[0] != "#"]
    assert (folder / line.removeprefix("--requirement ")).resolve() == ROOT / "requirements.lock"
    script = folder / "postBuild"
    assert os.access(script, os.X_OK) and subprocess.run(["bash", "-n", script]).returncode == 0
    named = re.findall(r"python (\S+\.py)", script.read_text())
    assert named and all((ROOT / name).is_file() for name in named)
