"""What can be imported: ``.gp`` files and ``.npy`` samples, in folders or zips.

The input is treated as hostile. It is indexed and checked as a whole before the first
image is read, and nothing is unpacked to the disk.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError
from gpgen.exact.texture import length_scale_name
from gpgen.golkar2018.gp_reading import read_gp_images, read_gp_index
from gpgen.golkar2018.gp_unpickler import ByteStream
from gpgen.golkar2018.npy_header import NpyHeader, parse_npy_header
from gpgen.golkar2018.zip_reading import GuardedZip
from gpgen.io.failures import reading
from gpgen.io.local_path import LocalPath
from gpgen.io.recognizing import recognize, refused
from gpgen.io.user_paths import AnyText, given

__all__ = ["LabelledFiles", "open_source"]

Image = npt.NDArray[Any]

_SAMPLE: Final = re.compile(
    r"final_size-\d{1,6}(?:\.0)?_corr-(\d{1,6}(?:\.\d{1,9})?)_v(\d{1,6})\.npy", re.ASCII
)
_GIVE: Final = "give a .gp file, or a folder or zip that has samples of 2018"
_MOST_FILES: Final = 20_000
_HEADER_BYTES: Final = 512


Opener = Callable[[], contextlib.AbstractContextManager[ByteStream]]


@dataclass(frozen=True)
class LabelledFiles(contextlib.AbstractContextManager["LabelledFiles"]):
    """Images with labels, not yet read; a context manager that closes what it reads from.

    Attributes
    ----------
    name
        The file's or folder's name.
    kind
        "gp" for crosses, "npy" for single textures.
    shape
        Of every image: (y, x) in pixels.
    dtype
        float32 or float64, in the machine's byte order.
    class_names
        By label.
    labels
        Of every image.
    """

    name: str
    kind: str
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    class_names: tuple[str, ...]
    labels: tuple[int, ...]
    _read: Callable[[], Iterator[Image]]
    _archive: GuardedZip | None = None

    def __exit__(self, *_: object) -> None:
        if self._archive is not None:
            self._archive.close()

    def images(self) -> Iterator[Image]:
        """Read the images one after the other.

        Raises
        ------
        DatasetError
            If the source is damaged or has changed.
        """
        return self._read()


def open_source(path: AnyText) -> LabelledFiles:
    """Index and check what is to be imported.

    Parameters
    ----------
    path
        A ``.gp`` file, a folder of ``.npy`` samples, or a zip of either. The 2018 archive's
        folders ``gp-samples`` and ``gp-crosses`` are looked into.

    Raises
    ------
    DatasetError
        If it is anything else, or can't be trusted. Nothing in it was run or unpacked.
    """
    path = given(path)
    if path.is_dir():
        return _choose(path, _files_in(path))
    if not path.exists():
        raise DatasetError(f"{path} doesn't exist", "give a .gp file, a folder or a zip")
    if path.suffix == ".gp" and path.is_file():
        return _gp_source(path.name, path.stat().st_size, _opener(path))
    start = b""
    if path.is_file():
        with reading(path, _GIVE), path.open("rb") as file:
            start = file.read(2)
    if start != b"PK":
        raise refused(path, "a zip or a .gp file", _GIVE) or DatasetError(
            f"{path} is neither a zip nor a .gp file", _GIVE
        )
    archive = GuardedZip(path)
    try:
        members = {
            name: (size, partial(archive.open, name)) for name, size in archive.members.items()
        }
        return dataclasses.replace(_choose(path, members), _archive=archive)
    except BaseException:
        archive.close()
        raise


def _opener(path: Path) -> Opener:
    @contextlib.contextmanager
    def opened() -> Iterator[ByteStream]:
        with reading(path, "give it again"), path.open("rb") as file:
            yield file

    return opened


def _files_in(folder: Path) -> dict[str, tuple[int, Opener]]:
    found: dict[str, tuple[int, Opener]] = {}
    for pattern in ("*.npy", "*.gp", "gp-samples/*.npy", "gp-crosses/*.gp"):
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix()
            if path.is_file():
                found[name] = (path.stat().st_size, _opener(path))
    return found


def _choose(path: LocalPath, found: Mapping[str, tuple[int, Opener]]) -> LabelledFiles:
    # Skip hidden files, such as .DS_Store and ._name.
    found = {n: f for n, f in found.items() if not n.rpartition("/")[2].startswith(".")}
    crosses = {n: f for n, f in found.items() if n.endswith(".gp")}
    samples = {n: f for n, f in found.items() if _SAMPLE.fullmatch(n.rpartition("/")[2])}
    if len(crosses) == 1 and not samples:
        ((name, (size, opener)),) = crosses.items()
        return _gp_source(f"{path.name}/{name}", size, opener)
    if samples and not crosses:
        return _npy_source(path.name, samples)
    if not samples and not crosses:
        known = recognize(path)
        if known is not None and known.what not in ("an empty folder", "a folder of other things"):
            raise DatasetError(f"{path} is {known.what}, not the files of 2018", known.use or _GIVE)
        raise DatasetError(
            f"{path} has neither samples named like final_size-1024_corr-9.5_v1.npy nor a .gp file",
            "give the folder or zip that has them",
        )
    raise DatasetError(
        f"{path} has {len(samples)} samples and {len(crosses)} .gp files",
        "give one .gp file, or a folder or zip of samples alone",
    )


def _gp_source(name: str, size: int, opener: Opener) -> LabelledFiles:
    with opener() as stream:
        index = read_gp_index(stream, size, name)

    def read() -> Iterator[Image]:
        with opener() as stream:
            yield from read_gp_images(stream, index, name)

    dtype = index.dtype.newbyteorder("=")
    return LabelledFiles(name, "gp", index.shape, dtype, index.names, index.labels, read)


def _npy_source(name: str, found: Mapping[str, tuple[int, Opener]]) -> LabelledFiles:
    if len(found) > _MOST_FILES:
        raise DatasetError(f"{name} has {len(found)} samples", f"import at most {_MOST_FILES}")
    keys = {}
    for file in found:
        match = _SAMPLE.fullmatch(file.rpartition("/")[2])
        if match is not None:
            keys[file] = (int(match[2]), float(match[1]))
    scales = sorted({scale for _, scale in keys.values()})
    if len(set(keys.values())) < len(keys):
        raise DatasetError(f"{name} has a sample twice", "remove one of the two")
    # Interleave the length-scales, so that every prefix is balanced.
    order = sorted(keys, key=lambda file: keys[file])
    headers = [_header(file, *found[file]) for file in order]
    if len({(header.shape, header.dtype) for header in headers}) > 1:
        raise DatasetError(f"the samples of {name} differ in shape or type", "import them apart")

    def read() -> Iterator[Image]:
        for file, header in zip(order, headers, strict=True):
            with found[file][1]() as stream:
                yield _pixels(stream, header, file)

    names = tuple(map(length_scale_name, scales))
    labels = tuple(scales.index(keys[file][1]) for file in order)
    dtype = headers[0].dtype.newbyteorder("=")
    return LabelledFiles(name, "npy", headers[0].shape, dtype, names, labels, read)


def _header(file: str, size: int, opener: Opener) -> NpyHeader:
    with opener() as stream:
        header = parse_npy_header(stream.read(min(size, _HEADER_BYTES)), file)
    if size != header.offset + header.nbytes:
        raise DatasetError(f"{file} isn't as long as its header says", "get it again")
    return header


def _pixels(stream: ByteStream, header: NpyHeader, file: str) -> Image:
    stream.read(header.offset)
    data = stream.read(header.nbytes)
    if len(data) < header.nbytes:
        raise DatasetError(f"{file} ends early", "get it again")
    order: Any = "F" if header.fortran_order else "C"
    pixels: Image = np.frombuffer(data, header.dtype).reshape(header.shape, order=order)
    return np.ascontiguousarray(pixels.astype(header.dtype.newbyteorder("="), copy=False))
