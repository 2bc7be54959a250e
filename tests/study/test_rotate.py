"""Jobs of a rotation: each task does its own work, on what it was told, and what is no job ends in one sentence."""

import json

import pytest

from cmdml.study import rotate, rotation_extractors, run


@pytest.fixture
def asked(monkeypatch):
    """The work replaced: what was asked for, in order."""
    found = []
    for module, name in ((rotate, "score"), (rotate, "collect"), (rotation_extractors, "extract_features")):
        monkeypatch.setattr(module, name, lambda *given, name=name: found.append((name, *given)) or f"<{name}>")
    return found


@pytest.mark.parametrize(
    ("words", "work"),
    [
        (("run", "nih-mini", "102", "eszsl"), ("score", 102, "eszsl")),
        (("collect", "nih-mini"), ("collect",)),
        (("collect", "nih-mini", "{}"), ("collect",)),
        (("extract", "nih-mini", "3", "random"), ("extract_features", 3, "random")),
    ],
)
def test_a_task_does_its_work_and_says_so(asked, capsys, words, work):
    rotate.main(*words)
    assert asked == [(work[0], run.load_profile("nih-mini"), *work[1:])]
    assert capsys.readouterr().out.startswith(f"<{work[0]}> done, ")


def test_parameters_of_one_s_own_come_last(asked, tmp_path):
    own = {"run_dir": str(tmp_path / "a b"), "semantic_model": "another"}
    profile = run.load_profile("nih-mini", own)
    for words in (("run", "102", "eszsl"), ("extract", "3", "random"), ("collect",)):
        rotate.main(words[0], "nih-mini", *words[1:], json.dumps(own))
    assert asked == [("score", profile, 102, "eszsl"), ("extract_features", profile, 3, "random"),
                     ("collect", profile)]  # fmt: skip


def test_what_is_no_job_is_refused_before_any_work(asked):
    with pytest.raises(ValueError, match="unknown task 'colect': did you mean 'collect'"):
        rotate.main("colect", "nih-mini")
    for task in ("run", "collect", "extract"):
        with pytest.raises(ValueError, match="profile smoke has no section `rotation`: see profiles/nih-mini.yaml"):
            rotate.main(task, "smoke", "1", "eszsl")
    assert not asked


def test_the_command_ends_in_one_sentence(as_command):
    sentence = "rotation stopped. profile smoke has no section `rotation`: see profiles/nih-mini.yaml."
    assert as_command("cmdml.study.rotate", "collect", "smoke") == sentence
    assert as_command("cmdml.study.rotate", "run", "fantom").startswith("rotation stopped. unknown profile 'fantom'")
