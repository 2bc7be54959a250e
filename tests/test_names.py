"""One "did you mean": the nearest name where there is one, all of them where there is none."""

import pytest

from cmdml.names import check, nearest, unknown

NAMES = ["gamma", "alpha", "Pleural_Thickening"]


@pytest.mark.parametrize(
    ("word", "name"), [("gama", "gamma"), ("GAMMA", "gamma"), ("pleural-thickening", "Pleural_Thickening")]
)
def test_the_nearest_name_is_offered_as_it_is_written(word, name):
    assert nearest(word, NAMES) == f"did you mean {name!r}?"


def test_where_none_is_close_all_are_listed_up_to_twenty():
    assert nearest("zzz", NAMES) == "choose from gamma, alpha, Pleural_Thickening"
    many = nearest("zzz", range(100, 130))
    assert many.endswith("119, …") and "120" not in many
    assert nearest(3, []) == "there are none"


def test_names_pass_and_others_are_refused_with_what_they_are():
    check("gamma", iter(NAMES), "parameter")
    for word in ("Gamma", "gam", None, 3):  # case is forgiven in the offer only
        with pytest.raises(ValueError, match=f"unknown parameter {word!r}: "):
            check(word, iter(NAMES), "parameter")
    assert isinstance(unknown("gama", NAMES, "parameter"), ValueError)
