"""The front page's figure: which film is shown is decided by a rule, and by test films alone."""

import hero
import numpy as np
import pandas as pd
import pytest

from cmdml.findings import KEYS, SeenUnseen, split_findings
from cmdml.study.places import ROOT

FINDINGS = SeenUnseen(("Mass", "Edema", "Hernia"), ("Edema", "Hernia"))


def test_the_film_is_the_median_of_those_with_one_unseen_finding():
    labels = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    scores = np.array([[0, 0.9, 0], [0, 0.0, 0.0], [0, 0.1, 0.2], [0, 0.8, 0.1], [0, 0.2, 0.3], [0, 0.3, 0.4]])
    every = np.ones(6, bool)
    # percentiles of the film's own finding: film 0 1.0, 3 0.8, 4 0.4, 5 1.0; of four, the lower of the middle two
    assert hero.typical(labels, FINDINGS, scores, every) == 3
    assert hero.typical(labels, FINDINGS, scores, np.arange(6) >= 4) == 4
    with pytest.raises(ValueError, match="exactly one finding, an unseen one: draw more films"):
        hero.typical(labels, FINDINGS, scores, np.arange(6) < 0)


def test_the_real_film_and_its_places_are_those_that_were_committed():
    _, labels, percentiles, name = hero.real(split_findings(KEYS, "default"))
    places = pd.read_csv(ROOT / "data/results/hero/places.csv").query("kind == 'real film'")
    table = pd.read_csv(ROOT / "data/films/films.csv").set_index("image")
    assert set(places.film) == {name} and table.split[name] == "test"
    assert [key for key, shown in zip(KEYS, labels, strict=True) if shown] == list(places[places.labelled].finding[:1])
    for told, part in places.groupby("told"):
        np.testing.assert_allclose(part.percentile, percentiles[told], atol=0.01)
