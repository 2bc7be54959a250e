"""One way into all sources: the name and the options are checked before anything is read."""

import inspect

import pytest

from cmdml import sources


def test_a_source_gets_its_options(monkeypatch):
    monkeypatch.setitem(sources.SOURCES, "phantom", lambda folder, images=8, size=64: (folder, images, size))
    assert sources.prepare("phantom", "here", images=3) == ("here", 3, 64)


def test_another_source_or_option_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match="did you mean 'phantom'"):
        sources.prepare("phantm", "here")
    with pytest.raises(ValueError, match="option of source phantom.*did you mean 'images'"):
        sources.prepare("phantom", "here", imags=3)


def test_the_defaults_are_those_of_every_committed_set():
    """A default that moved would make every set anew that does not name it."""
    given = {source: {name: p.default for name, p in inspect.signature(prepare).parameters.items() if name != "folder"}
             for source, prepare in sources.SOURCES.items()}  # fmt: skip
    films = {"size": 64, "non_square": "refuse", "workers": 0, "progress": True, "root": inspect.Parameter.empty}
    assert given == {
        "phantom": {"size": 64, "images": 8000, "seed": 0, "prevalence": 1.0, "progress": True},
        "chestmnist": {"size": 64, "npz": None, "root": None, "limit": 0, "progress": True},
        "nih": films | {"splits": "auto", "min_source_pixels": 0, "exclude_sources": (), "seed": 0},
        "kermany": films,
    }
