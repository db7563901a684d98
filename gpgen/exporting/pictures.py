"""A folder of pictures: a file a sample, a table beside them, and what grey means.

All pictures are on one scale, from the smallest pixel of those written to the largest, so that
they can be compared and turned back into values to within half a step of grey.
"""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from gpgen.dataset.samples import Samples
from gpgen.errors import Argument, TargetError, UsageError
from gpgen.exporting.files import Exported, indices_at, sync_all
from gpgen.format.image_writing import batch_size
from gpgen.format.manifest import image_axes
from gpgen.io import files
from gpgen.io.beside import put_in_place, working_folder
from gpgen.io.litter import is_litter
from gpgen.io.output_files import check_folder, check_space, free_bytes
from gpgen.io.png import grey_png

__all__ = ["PICTURES", "Pictures", "write_pictures"]

Pictures = Literal["png16", "png8", "npy"]
PICTURES: Final = ("png16", "png8", "npy")

_TABLE: Final = "metadata.csv"
_ABOUT: Final = "pictures.json"
_OWN: Final = re.compile(r"\d{8,}\.(png|npy)|metadata\.csv|pictures\.json", re.ASCII)

_compress: Final = functools.partial(zlib.compress, level=4)


@dataclasses.dataclass(frozen=True)
class _Grey:
    """A scale of grey.

    Parameters
    ----------
    black, white
        The values of the first and the last level.
    bits
        Of a pixel: 8 or 16.
    """

    black: float
    white: float
    bits: int

    @property
    def last(self) -> int:
        """The number of the last level."""
        return (1 << self.bits) - 1

    def levels(self, image: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the levels nearest to an image's values, uint8 or uint16."""
        width = self.white - self.black
        share = (image.astype(np.float64) - self.black) / (width or 1.0)
        return np.rint(share * self.last).astype(f"u{self.bits // 8}")

    def described(self) -> dict[str, Any]:
        """Return what tells a reader how to get values back."""
        return {
            "black": self.black,
            "white": self.white,
            "last_level": self.last,
            "value": "black + (white - black) * level / last_level",
            "largest_error": (self.white - self.black) / self.last / 2,
        }


def write_pictures(
    chosen: Samples,
    target: Path,
    pictures: Pictures,
    *,
    overwrite: bool,
    told: Callable[[int], None],
) -> Exported:
    """Write a folder with a picture of each sample, named by its index in the whole dataset.

    Parameters
    ----------
    chosen
        The samples.
    target
        The folder.
    pictures, overwrite
        As for `gpgen.exporting.export`.
    told
        Is called with a number of samples when so many more are written.
    """
    recipe = chosen.recipe
    if pictures != "npy" and len(recipe.shape) != 2:
        raise UsageError(
            f"an image has {len(recipe.shape)} axes, and a PNG has two",
            f"give {Argument.PICTURES} as npy",
        )
    if chosen.chosen is not None and len(np.unique(chosen.indices)) < len(chosen):
        raise UsageError(
            "a sample is named twice, and pictures are named by their index", "name it once"
        )
    check_folder(target.parent)
    _check_replaceable(target, overwrite=overwrite)
    pixel = {"png8": 1, "png16": 2, "npy": recipe.numpy_dtype.itemsize}[pictures]
    size = recipe.image_nbytes // recipe.numpy_dtype.itemsize * pixel + 256
    check_space(target, len(chosen) * size, free_bytes(target.parent))
    with working_folder(target, "converting") as folder:
        grey = None if pictures == "npy" else _grey(chosen, int(pictures[3:]))
        suffix = "npy" if grey is None else "png"
        nbytes = _put(folder / _ABOUT, _about(chosen, grey))
        descriptor = files.create(folder / _TABLE)
        try:
            files.write(descriptor, [_lines([_columns(chosen)])])
            for positions in _batches(chosen):
                images = chosen.image.read(positions)
                rows = list(_rows(chosen, positions, suffix))
                for image, row in zip(images, rows, strict=True):
                    nbytes += _put(folder / str(row[0]), _picture(image, grey))
                files.write(descriptor, [_lines(rows)])
                told(len(positions))
            nbytes += os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
        sync_all()
        put_in_place(folder, target)
    return Exported(target, len(chosen), len(chosen) + 2, nbytes)


def _batches(chosen: Samples) -> Iterator[npt.NDArray[np.int64]]:
    step = batch_size(chosen.recipe)
    for start in range(0, len(chosen), step):
        yield np.arange(start, min(start + step, len(chosen)), dtype=np.int64)


def _grey(chosen: Samples, bits: int) -> _Grey:
    """Return the scale on which all the samples have their place; they are read for it."""
    low, high = np.inf, -np.inf
    for positions in _batches(chosen):
        images = chosen.image.read(positions)
        low, high = min(low, float(images.min())), max(high, float(images.max()))
    return _Grey(low, high, bits)


def _picture(image: npt.NDArray[Any], grey: _Grey | None) -> bytes:
    if grey is not None:
        return grey_png(grey.levels(image), _compress, differences=True)
    content = io.BytesIO()
    np.lib.format.write_array(content, image, version=(1, 0), allow_pickle=False)
    return content.getvalue()


def _put(path: Path, content: bytes) -> int:
    descriptor = files.create(path)
    try:
        files.write(descriptor, [content])
    finally:
        os.close(descriptor)
    return len(content)


def _about(chosen: Samples, grey: _Grey | None) -> bytes:
    about: dict[str, Any] = {
        "samples": len(chosen),
        "dtype": chosen.recipe.dtype,
        "gpgen_version": chosen.manifest.gpgen_version,
        "recipe_sha256": chosen.manifest.recipe_sha256,
        "recipe": chosen.recipe.to_dict(),
    }
    if grey is not None:
        about = {"grey": grey.described(), **about}
    return (json.dumps(about, indent=1) + "\n").encode()


def _columns(chosen: Samples) -> list[object]:
    _, components, *axes = chosen.length_scales.shape
    suffixes = [f"_{axis}" for axis in image_axes(axes[0])] if axes else [""]
    scales = [
        f"length_scale_{number}{suffix}"
        for number, suffix in itertools.product(range(1, components + 1), suffixes)
    ]
    if hasattr(chosen, "weights"):
        scales += [f"weight_{number}" for number in range(1, components + 1)]
    seed = ["seed"] if hasattr(chosen, "seed") else []
    return ["file_name", "sample", "label", "class", *scales, *seed, "split"]


def _rows(chosen: Samples, positions: npt.NDArray[np.int64], suffix: str) -> Iterator[list[object]]:
    numbers = chosen.length_scales.read(positions).reshape(len(positions), -1)
    if hasattr(chosen, "weights"):
        numbers = np.column_stack([numbers, chosen.weights.read(positions)])
    seeds: list[list[object]] = [[]] * len(positions)
    if hasattr(chosen, "seed"):
        # Many readers have no integers above 2**63 - 1: so it is text, also to those that guess.
        seeds = [[f"{seed:#018x}"] for seed in chosen.seed.read(positions).tolist()]
    for index, label, values, seed, split in zip(
        indices_at(chosen, positions).tolist(),
        chosen.label.read(positions).tolist(),
        numbers.tolist(),
        seeds,
        chosen.split_code.read(positions).tolist(),
        strict=True,
    ):
        yield [
            f"{index:08d}.{suffix}",
            index,
            label,
            chosen.classes[label],
            *values,
            *seed,
            chosen.splits[split],
        ]


def _lines(rows: list[list[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _check_replaceable(target: Path, *, overwrite: bool) -> None:
    """Refuse to replace anything but an empty folder and, if asked, one of pictures."""
    if not os.path.lexists(target):
        return
    names: set[str] = set()
    if target.is_dir():
        names = {entry.name for entry in os.scandir(target) if not is_litter(entry.name)}
        if not names:
            return
    if not overwrite:
        raise TargetError(
            f"{target} exists", f"choose another {Argument.OUT}, or use {Argument.OVERWRITE}"
        )
    others = sorted(name for name in names if not _OWN.fullmatch(name))
    if not names >= {_TABLE, _ABOUT} or others:
        what = f"holds {others[0]}" if others and _ABOUT in names else "is no folder of pictures"
        raise TargetError(f"{target} exists and {what}", f"choose another {Argument.OUT}")
