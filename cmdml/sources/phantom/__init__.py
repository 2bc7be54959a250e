"""The phantom: procedural frontal chest radiographs. Drawn by formulas, from no patient, never to be taken for real."""

from cmdml.sources.phantom.sampling import draw, prepare, sample_scene, sample_table

__all__ = ["draw", "prepare", "sample_scene", "sample_table"]
