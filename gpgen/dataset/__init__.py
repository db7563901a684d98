"""Finished datasets, open: whole, or a view of some of their samples."""

from __future__ import annotations

from gpgen.dataset.arrays import ImageArray, LazyArray, SampleArray
from gpgen.dataset.opened import Dataset, open_dataset
from gpgen.dataset.samples import DatasetView, Samples

__all__ = [
    "Dataset", "DatasetView", "ImageArray", "LazyArray", "SampleArray", "Samples", "open_dataset",
]  # fmt: skip
