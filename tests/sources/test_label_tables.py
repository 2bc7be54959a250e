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


def test_columns_come_in_the_order_that_is_asked_for_and_rows_in_that_of_the_films(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("A,image,B,C\n1,x.png,0,1\n0,y.png,1,odd\n")
    table = label_table(str(file), ["y.png", "x.png", "y.png"], ["B", "A"])
    assert list(table) == ["B", "A"] and table.index.tolist() == [0, 1, 2]
    assert table.to_numpy().tolist() == [[1, 0], [0, 1], [1, 0]] and set(map(str, table.dtypes)) == {"float64"}


def test_a_missing_column_and_a_missing_file_are_named(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("image,A\nx.png,1\n")
    with pytest.raises(ValueError, match=r"labels\.csv.*B"):
        label_table(file, ["x.png"], ["A", "B"])
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        label_table(tmp_path / "none.csv", ["x.png"], ["A"])
    file.write_text("image,A\nx.png,1\ny.png,\n")
    with pytest.raises(ValueError, match="y.png has A ''; expected 0 or 1"):
        label_table(file, ["x.png"], ["A"])
