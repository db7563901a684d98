"""A folder made by `gpgen archive`, read: its plan, its checksums and its samples."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError
from gpgen.exact.texture import length_scale_name
from gpgen.golkar2018.archive import CHECKSUMS, DATASET, PLAN, SAMPLES, read_plan
from gpgen.golkar2018.archive_plan import sample_name
from gpgen.golkar2018.npy_header import parse_npy_header
from gpgen.io.failures import reading

__all__ = ["ArchiveReader", "is_archive"]

_VERIFY: Final = "run `gpgen verify` on it, and remake it if that names damage"


def is_archive(path: Path) -> bool:
    """Return whether a folder is one that `gpgen archive` made."""
    return (path / SAMPLES).is_file() and (path / CHECKSUMS).is_file()


class ArchiveReader:
    """The samples of an archive, ordered by length-scale.

    Parameters
    ----------
    path
        The folder.

    Attributes
    ----------
    plan
        What was asked for.
    plan_text, fields
        The content of archive.json, as text and as plain values.
    sha256
        Of ``samples.zip`` and ``dataset.zip``, as SHA256SUMS says, by name.
    classes, counts
        The length-scales' names, by label, and how many samples each has.

    Raises
    ------
    DatasetError
        If its files are missing or don't say what they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.plan = read_plan(path)
        self.plan_text = (path / PLAN).read_text(encoding="utf-8")
        self.fields: dict[str, Any] = json.loads(self.plan_text)
        self.sha256 = _read_sums(path)
        self.classes = tuple(length_scale_name(scale) for scale, _ in self.plan.samples)
        self.counts = tuple(count for _, count in self.plan.samples)
        self._labels = np.repeat(np.arange(len(self.counts)), self.counts)

    def __len__(self) -> int:
        return len(self._labels)

    def labels(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the labels of a range of samples."""
        return self._labels[start:stop]

    def read(self, indices: Sequence[int]) -> npt.NDArray[np.float64]:
        """Read samples, shape (sample, y, x).

        Raises
        ------
        DatasetError
            If one is missing or damaged.
        """
        images = np.empty((len(indices), self.plan.size, self.plan.size))
        samples = self.path / SAMPLES
        try:
            with reading(samples), samples.open("rb") as s, zipfile.ZipFile(s) as archive:
                for image, index in zip(images, indices, strict=True):
                    name = sample_name(self.plan.size, *self.plan.members[index])
                    data = archive.read(name)  # which compares its CRC-32
                    header = parse_npy_header(data[:512], name)
                    pixels = np.frombuffer(data, header.dtype, offset=header.offset)
                    image[...] = pixels.reshape(header.shape)
        except (KeyError, ValueError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{samples} is damaged: {error}", _VERIFY) from error
        return images


def _read_sums(path: Path) -> dict[str, str]:
    sums = {}
    for line in (path / CHECKSUMS).read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if name in (SAMPLES, DATASET):
            sums[name] = digest
    missing = [name for name in sums if not (path / name).is_file()]
    if missing or SAMPLES not in sums:
        raise DatasetError(f"{path / (missing or [SAMPLES])[0]} is missing", "make it again")
    return sums
