"""The test radiographs of a set, and what a score matrix of them comes to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cmdml.evaluation.calibration import calibrated_stacking
from cmdml.evaluation.controls import swapped_text
from cmdml.evaluation.metrics import PROTOCOLS, bootstrap_weights, evaluate, protocol_rows, summary_metrics
from cmdml.files import check_seal
from cmdml.radiographs import RadiographSet
from cmdml.run_folder import FORMAT


def embedded(training, rows) -> dict[str, np.ndarray]:
    """What a training's ``embeddings.npz`` holds of the radiographs ``rows``, in that order.

    Returns
    -------
    dict
        ``visual`` (M, D), ``scores`` (M, C), one row for each of ``rows``; ``semantic`` (C, D).

    Raises
    ------
    ValueError
        If one of ``rows`` was not embedded: the training is of other radiographs; or the file is not what was sealed.
    FileNotFoundError
        If the training is not finished.
    """
    check_seal(training, FORMAT, ["embeddings.npz"], way_out="delete that folder and train again")
    with np.load(Path(training) / "embeddings.npz", allow_pickle=False) as file:
        found = dict(file)
    place = {row: i for i, row in enumerate(found.pop("index").tolist())}
    missing = [row for row in np.asarray(rows).tolist() if row not in place]
    if missing:
        raise ValueError(
            f"{training} was trained on other radiographs (it holds no row {missing[0]}): delete it and train again"
        )
    at = [place[row] for row in np.asarray(rows).tolist()]
    return {name: value if name == "semantic" else value[at] for name, value in found.items()}


class TestSet:
    """The test radiographs of a set, the same for every run, and what a score matrix of them comes to.

    Parameters
    ----------
    folder : of a :class:`~cmdml.radiographs.RadiographSet`.
    replicates : patient draws, for :meth:`replicates`.
    seed : of the draws.
    """

    __test__ = False  # no test, whatever pytest makes of the name

    def __init__(self, folder, replicates: int = 0, seed: int = 0):
        self.radiographs = RadiographSet.load(folder)
        self.rows = np.flatnonzero(self.radiographs.table["split"] == "test")
        self.labels = self.radiographs.labels[self.rows]
        self.patients = self.radiographs.table["patient"].to_numpy()[self.rows]
        keep = {protocol: protocol_rows(self.labels, protocol) for protocol in PROTOCOLS}
        # Drawn once: every run is weighed by the same patients, so that differences are paired.
        self.draws = {p: (k, *bootstrap_weights(self.patients[k], replicates, seed)) for p, k in keep.items()}

    def scores(self, training) -> np.ndarray:
        """Scores of the test radiographs, (N, C), of a training's folder."""
        return embedded(training, self.rows)["scores"]

    def tables(self, scores, findings, about) -> tuple[pd.DataFrame, pd.DataFrame]:
        """(a row per finding and protocol, a row per metric and protocol), ``about`` in their first columns."""
        result = evaluate(self.labels, scores, self.patients, findings, replicates=0)
        per_finding = result.per_finding[["protocol", "finding", "seen", "images", "positives", "auroc", "ap"]]
        curve = calibrated_stacking(self.labels, scores, findings)
        seen, unseen, mean = curve.at(0)
        # Only images with a finding can be hits: these belong to the abnormal ones.
        extra = {"ausuc": curve.ausuc, "accuracy_S": seen, "accuracy_U": unseen, "accuracy_H": mean}
        extra["own_text"] = swapped_text(self.labels, scores, self.patients, findings, replicates=0)[1][0]
        extra = pd.DataFrame({"protocol": "abnormal", "metric": extra.keys(), "value": extra.values()})
        summary = pd.concat([result.summary[["protocol", "metric", "value"]], extra])
        return tuple(table.assign(**about)[[*about, *table.columns]] for table in (per_finding, summary))

    def replicates(self, scores, findings, protocol) -> dict[str, np.ndarray]:
        """{metric: (1 + R,)}: the point estimate, then one value per draw of patients."""
        keep, weights, unit = self.draws[protocol]
        scores = np.asarray(scores, dtype=np.float64)
        return summary_metrics(self.labels[keep], scores[keep], weights, unit, findings, (2, 3))[0]
