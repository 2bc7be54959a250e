"""One way into all sources: the name and the options are checked before anything is read."""

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
