"""Speed and size of codecs on these textures: ``python -m benchmarks.codecs``.

One thread, one 1024 x 1024 float32 image a chunk, medians over the images of all four classes.
"""

from __future__ import annotations

import statistics
import time
import zlib
from collections.abc import Callable
from typing import TypeVar

import numcodecs
import numpy as np
import numpy.typing as npt
from google_crc32c import value as crc32c
from numcodecs.blosc import BITSHUFFLE, SHUFFLE, Blosc
from rich.console import Console
from rich.table import Table

from gpgen import Recipe, Sampler

Image = npt.NDArray[np.float32]
Codec = tuple[Callable[[Image], bytes], Callable[[bytes], object]]
T = TypeVar("T")


def blosc(name: str, level: int, shuffle: int) -> Codec:
    """Return a Blosc codec, one thread."""
    codec = Blosc(name, level, shuffle)
    return codec.encode, codec.decode


def zstd(level: int) -> Codec:
    """Return Zarr's default codec."""
    codec = numcodecs.Zstd(level)
    return codec.encode, codec.decode


def shuffled_deflate(level: int) -> Codec:
    """Return what HDF5's shuffle and gzip filters write and read."""

    def encode(image: Image) -> bytes:
        return zlib.compress(image.view("u1").reshape(-1, 4).T.tobytes(), level)

    def decode(data: bytes) -> object:
        return np.frombuffer(zlib.decompress(data), "u1").reshape(4, -1).T.tobytes()

    return encode, decode


CODECS: dict[str, Codec] = {
    "none, CRC-32C": (
        lambda image: image.tobytes() + crc32c(image.tobytes()).to_bytes(4, "little"),
        lambda data: crc32c(data[:-4]),
    ),
    "Blosc lz4, level 5, bit shuffle": blosc("lz4", 5, BITSHUFFLE),
    "Blosc zstd, level 1, bit shuffle": blosc("zstd", 1, BITSHUFFLE),
    "Blosc zstd, level 1, byte shuffle": blosc("zstd", 1, SHUFFLE),
    "Blosc zstd, level 5, byte shuffle": blosc("zstd", 5, SHUFFLE),
    "zstd, level 0 (Zarr's default)": zstd(0),
    "deflate, level 1, byte shuffle (HDF5's)": shuffled_deflate(1),
}


def milliseconds(function: Callable[[T], object], data: list[T]) -> float:
    """Return the median time of a call, after one that isn't counted."""
    function(data[0])
    times = []
    for item in data:
        start = time.perf_counter()
        function(item)
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Print the table."""
    numcodecs.blosc.use_threads = False
    images = list(Sampler(Recipe.load("two-scale")).images(0, 12))
    table = Table("codec", "encode, ms", "decode, ms", "size, of raw")
    for name, (encode, decode) in CODECS.items():
        encoded = [encode(image) for image in images]
        size = sum(map(len, encoded)) / sum(image.nbytes for image in images)
        table.add_row(
            name,
            f"{milliseconds(encode, images):.1f}",
            f"{milliseconds(decode, encoded):.1f}",
            f"{size:.3f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
