"""How many samples go into a chunk and a shard, and where a dataset's files lie."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from gpgen.errors import Argument, UsageError
from gpgen.io.paths import AnyPath, Given, place_of
from gpgen.whole_numbers import whole_number

__all__ = [
    "CHUNK_BYTES",
    "MOST_SAMPLES",
    "SHARDED",
    "SHARD_BYTES",
    "Format",
    "Layout",
    "Target",
    "choose_layout",
]

Format = Literal["zarr", "hdf5", "hdf5-shards", "webdataset"]

# Formats with a file a shard, named after a pattern, and the shards' usual suffixes.
SHARDED: dict[Format, tuple[str, ...]] = {"hdf5-shards": (".h5", ".hdf5"), "webdataset": (".tar",)}

# One read of a chunk should cost about as much as finding it: 1 MiB.
CHUNK_BYTES = 2**20
# A shard is lost work when a worker dies, and a file to look after: 256 MiB. A small dataset
# is cut finer, so that there is something to do for several workers.
SHARD_BYTES = 2**28
_SMALLEST_SHARD_BYTES = 2**24
_SHARDS_OF_A_SMALL_DATASET = 16

# What asks for more is a typing error or a hostile manifest.
MOST_SAMPLES = 2**48
# Files and arrays are measured in signed 64-bit numbers; half of them leaves room for the rest.
_MOST_IMAGE_BYTES = 2**62

_FIELD = re.compile(r"\{shard(?::0?(\d{1,2})d?)?\}")
_FORMS = "name it like data.zarr, data.h5, 'data-{shard:05d}.h5' or 'data-{shard:05d}.tar'"


@dataclasses.dataclass(frozen=True)
class Layout:
    """How ``n`` samples are cut into shards, and shards into chunks.

    Parameters
    ----------
    n
        Number of samples.
    shard_size
        Samples a shard; the last shard may hold fewer.
    chunk_size
        Samples a chunk, dividing ``shard_size``; ``None`` where the format has no chunks.
    """

    n: int
    shard_size: int
    chunk_size: int | None

    @property
    def shards(self) -> int:
        """Number of shards."""
        return -(-self.n // self.shard_size)

    def bounds(self, shard: int) -> tuple[int, int]:
        """Return the first index of a shard and the index after its last."""
        start = shard * self.shard_size
        return start, min(start + self.shard_size, self.n)


def _samples(name: str, value: int, hint: str) -> int:
    value = whole_number(name, value, 1, hint)
    if value > MOST_SAMPLES:
        raise UsageError(f"{name} is {value}", f"{MOST_SAMPLES} samples are the most there can be")
    return value


def _size(name: str, value: int | None) -> int | None:
    if value is None:
        return None
    return _samples(name, value, f"give {name} as a number of samples, 1 or more")


def choose_layout(
    form: Format,
    image_nbytes: int,
    n: int,
    chunk_size: int | None = None,
    shard_size: int | None = None,
) -> Layout:
    """Return the layout asked for, choosing from the image's size what is not given.

    The choice depends on the recipe and ``n`` alone, never on the machine or
    its workers, so that a dataset made elsewhere has the same bytes.

    Raises
    ------
    UsageError
        If a size is not a positive number or too large, or the two don't fit each other or the
        format.
    """
    n = _samples("n", n, "ask for 1 sample or more")
    if n * image_nbytes > _MOST_IMAGE_BYTES:
        raise UsageError(
            f"n is {n}: images of {n * image_nbytes} bytes fit no file system",
            f"ask for at most {_MOST_IMAGE_BYTES // image_nbytes} samples",
        )
    chunk_size, shard_size = _size("chunk_size", chunk_size), _size("shard_size", shard_size)
    if form != "zarr":
        if chunk_size is not None:
            raise UsageError(
                f"chunk_size is {chunk_size}, but only Zarr stores images in chunks",
                f"leave out {Argument.CHUNK_SIZE}, or write to a .zarr target",
            )
        return Layout(n, min(shard_size or _usual_shard_size(image_nbytes, n), n), None)
    if chunk_size is not None and shard_size is not None and shard_size % chunk_size:
        raise UsageError(
            f"shard_size {shard_size} is not a multiple of chunk_size {chunk_size}",
            f"try {Argument.SHARD_SIZE} {-(-shard_size // chunk_size) * chunk_size}",
        )
    if chunk_size is None:
        chunk_size = min(max(1, CHUNK_BYTES // image_nbytes), n)
        if shard_size is not None:
            chunk_size = _largest_divisor(shard_size, chunk_size)
    if shard_size is None:
        shard_size = _usual_shard_size(image_nbytes, n)
        shard_size = max(chunk_size, shard_size // chunk_size * chunk_size)
    return Layout(n, min(shard_size, -(-n // chunk_size) * chunk_size), chunk_size)


def _usual_shard_size(image_nbytes: int, n: int) -> int:
    share = n * image_nbytes // _SHARDS_OF_A_SMALL_DATASET
    nbytes = min(max(share, _SMALLEST_SHARD_BYTES), SHARD_BYTES)
    return max(1, nbytes // image_nbytes)


def _largest_divisor(number: int, limit: int) -> int:
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a dataset goes, and by its name in which format.

    Parameters
    ----------
    path
        Absolute path of the Zarr folder or HDF5 file; for a file a shard the
        path with the field ``{shard:05d}`` still in its name.
    form
        The format.
    """

    path: AnyPath
    form: Format

    @classmethod
    def parse(cls, out: Given) -> Target:
        """Return the target that ``out`` names.

        Raises
        ------
        UsageError
            If no format belongs to the name, or it is not text.
        """
        path = place_of(out)
        try:
            path.name.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"the target's name {path.name!r} is not UTF-8",
                "choose another name, or use a UTF-8 locale, such as LC_ALL=C.UTF-8",
            ) from error
        fields = _FIELD.findall(path.name)
        if "{" in str(path) and "shard" in str(path):
            if len(fields) != 1 or _FIELD.search(str(path.parents[0])):
                raise UsageError(
                    f"the target {str(out)!r} must have one field {{shard}} in the file's name",
                    _FORMS,
                )
            for form, suffixes in SHARDED.items():
                if path.suffix in suffixes:
                    return cls(path, form)
            raise UsageError(f"the shards {str(out)!r} are neither HDF5 nor tar files", _FORMS)
        if "{" in path.name and path.suffix in (".zarr", *SHARDED["hdf5-shards"]):
            raise UsageError(f"the target {str(out)!r} has a field that isn't {{shard}}", _FORMS)
        if path.suffix == ".zarr":
            return cls(path, "zarr")
        if path.suffix in SHARDED["hdf5-shards"]:
            return cls(path, "hdf5")
        raise UsageError(f"no format belongs to the target {str(out)!r}", _FORMS)

    @property
    def manifest(self) -> AnyPath:
        """The path whose existence makes the dataset a dataset."""
        if self.form not in SHARDED:
            return self.path
        name = _FIELD.sub("manifest", self.path.name)
        return self.path.with_name(name + ".h5" if self.form == "webdataset" else name)

    @property
    def working(self) -> AnyPath:
        """The folder in which an unfinished dataset is made."""
        return self.manifest.with_name(self.manifest.name + ".making")

    def shard_name(self, shard: int) -> str:
        """Return the file name of a shard (a file a shard only)."""
        field = _FIELD.search(self.path.name)
        width = int(field.group(1) or 1) if field else 1
        return _FIELD.sub(f"{shard:0{width}d}", self.path.name)

    def shard_number(self, name: str) -> int | None:
        """Return the shard whose file is called ``name``, or ``None``."""
        before, after = _FIELD.sub("\0", self.path.name).split("\0")
        match = re.fullmatch(re.escape(before) + r"(\d+)" + re.escape(after), name)
        if match is None or self.shard_name(int(match.group(1))) != name:
            return None
        return int(match.group(1))
