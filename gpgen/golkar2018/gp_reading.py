"""Reading ``.gp`` files, the pickles of the 2018 archive.

A ``.gp`` file is the pickle of ``[images, names]``: images is a list of ``[array,
label]``, names the dictionary from label to class name. The index says where in the
file each image is, so that an archive of any size is read one image at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError
from gpgen.golkar2018.gp_unpickler import ByteStream, Record, Refusal, unpickle
from gpgen.golkar2018.npy_header import MAX_SIDE
from gpgen.imported import CLASS_NAME

__all__ = ["GpIndex", "read_gp_images", "read_gp_index"]

MAX_CLASSES: Final = 4096

_Array = tuple[tuple[int, int], np.dtype[Any], range]


@dataclass(frozen=True)
class GpIndex:
    """What a ``.gp`` file holds.

    Attributes
    ----------
    offsets
        Where the pixels of each image begin, in bytes.
    labels
        The class of each image.
    shape
        Of every image: (y, x) in pixels.
    dtype
        Of every image.
    names
        The class name of each label, 0 first.
    """

    offsets: tuple[int, ...]
    labels: tuple[int, ...]
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    names: tuple[str, ...]

    @property
    def image_nbytes(self) -> int:
        """Bytes of one image."""
        return self.shape[0] * self.shape[1] * self.dtype.itemsize


def read_gp_index(stream: ByteStream, size: int, name: str) -> GpIndex:
    """Read a ``.gp`` file except its pixels, and check every byte that isn't a pixel.

    Parameters
    ----------
    stream
        The file, at its beginning. Read to the end.
    size
        Its length in bytes; no more is read.
    name
        What to call it in errors.

    Returns
    -------
    GpIndex

    Raises
    ------
    DatasetError
        For anything but a ``.gp`` file. Nothing in the file was run.
    """
    try:
        return _checked_index(unpickle(stream, size))
    except Refusal as refusal:
        raise _refused(name, str(refusal)) from None


def read_gp_images(
    stream: ByteStream, index: GpIndex, name: str
) -> Iterator[npt.NDArray[np.float64]]:
    """Read the images one after the other from a stream at its beginning.

    Yields
    ------
    ndarray of shape `index.shape`, dtype `index.dtype` in the machine's byte order

    Raises
    ------
    DatasetError
        If the stream ends early.
    """
    position = 0
    for offset in index.offsets:
        stream.read(offset - position)
        data = stream.read(index.image_nbytes)
        if len(data) < index.image_nbytes:
            raise _refused(name, "it ends inside an image")
        position = offset + len(data)
        pixels = np.frombuffer(data, index.dtype).reshape(index.shape)
        yield pixels.astype(index.dtype.newbyteorder("="), copy=False)


def _refused(name: str, why: str) -> DatasetError:
    return DatasetError(
        f"{name} isn't a .gp file: {why}",
        "nothing in it was run; get the file again, or write it with `gpgen archive`",
    )


def _checked_index(value: object) -> GpIndex:
    match value:
        case [list(pairs), dict(names)] if isinstance(value, list) and pairs:
            classes = _checked_names(names)
        case _:
            raise Refusal("it isn't a list of images and class names")
    arrays: list[_Array] = []
    labels: list[int] = []
    for number, pair in enumerate(pairs):
        match pair:
            case [array, int(label)] if type(label) is int and 0 <= label < len(classes):
                arrays.append(_checked_array(array))
                labels.append(label)
            case _:
                raise Refusal(f"its image {number} isn't a pair of an array and a label")
    shape, dtype, _ = arrays[0]
    if any(array[:2] != (shape, dtype) for array in arrays):
        raise Refusal("its images differ in shape or type")
    if any(one.stop > other.start for (*_, one), (*_, other) in itertools.pairwise(arrays)):
        raise Refusal("two of its images share pixels")
    offsets = tuple(place.start for *_, place in arrays)
    return GpIndex(offsets, tuple(labels), shape, dtype, classes)


def _checked_array(array: object) -> _Array:
    """Return the shape and dtype of an array, and the place of its pixels in the file."""
    match array:
        case Record(
            "numpy.core.multiarray _reconstruct" | "numpy._core.multiarray _reconstruct",
            (Record("numpy ndarray", None), (0,), b"b"),
            (1, (int(y), int(x)), Record("numpy dtype") as kind, False | 0, range() as place),
        ) if type(y) is type(x) is int and 1 <= y <= MAX_SIDE and 1 <= x <= MAX_SIDE:
            dtype = _checked_dtype(kind)
        case _:
            raise Refusal("its images aren't arrays with two axes")
    if len(place) != y * x * dtype.itemsize:
        raise Refusal(f"an image of {y} x {x} pixels has {len(place)} bytes")
    return (y, x), dtype, place


def _checked_dtype(kind: Record) -> np.dtype[Any]:
    match kind.arguments, kind.state:
        case (
            ("f4" | "f8" as code, False | 0, True | 1),
            (3, "<" | ">" as order, None, None, None, -1, -1, 0),
        ):
            return np.dtype(f"{order}{code}")
    raise Refusal("its arrays aren't of float32 or float64")


def _checked_names(names: dict[int, str]) -> tuple[str, ...]:
    classes = tuple(names.get(label, "") for label in range(len(names)))
    if not 1 <= len(classes) <= MAX_CLASSES:
        raise Refusal(f"it has {len(classes)} class names")
    if len(set(classes)) < len(classes) or not all(map(CLASS_NAME.fullmatch, classes)):
        raise Refusal("its class names aren't length-scales joined by '-', numbered from 0")
    return classes
