"""Label tables of the same films: read by image, and refused in a sentence."""

import numpy as np
import pytest

from cmdml.sources.label_tables import label_table


def test_a_label_table_is_read_by_image_and_refused_in_a_sentence(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("image,A,B\nx.png,1,0\ny.png,0,1\n")
    table = label_table(file, ["y.png", "z.png", "x.png"], ["B"])
    np.testing.assert_array_equal(table["B"], [1, np.nan, 0])
    file.write_text("image,A\nx.png,1\nx.png,0\n")
    with pytest.raises(ValueError, match="x.png is listed twice"):
        label_table(file, ["x.png"], ["A"])
    file.write_text("image,A\nx.png,2\n")
    with pytest.raises(ValueError, match="x.png has A '2'; expected 0 or 1"):
        label_table(file, ["x.png"], ["A"])
