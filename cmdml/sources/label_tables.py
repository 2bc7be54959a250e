"""Further labels of the same films: tables of 0 and 1 by image, read where the user has them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cmdml.sources import reading


def label_table(path, images, columns) -> pd.DataFrame:
    """0/1 columns of a label table for these ``images``, NaN for films that it does not list.

    Raises
    ------
    ValueError : a column is missing, an image is listed twice, or a value is neither 0 nor 1.
    """
    raw = reading.read_csv(Path(path), ["image", *columns])
    twice = raw["image"][raw["image"].duplicated()]
    if len(twice):
        raise ValueError(f"{path}: {twice.iloc[0]} is listed twice; keep one of its rows")
    for name in columns:
        odd = raw[~raw[name].isin(["0", "1"])]
        if len(odd):
            raise ValueError(f"{path}: {odd['image'].iloc[0]} has {name} {odd[name].iloc[0]!r}; expected 0 or 1")
    return raw.set_index("image")[list(columns)].astype(float).reindex(list(images)).reset_index(drop=True)
