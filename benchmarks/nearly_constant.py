"""``python -m benchmarks.nearly_constant``: standardized images that are nearly constant.

Twelve recipes of one component whose length-scales are long, or whose images are small, so that
many samples lie far below the expected deviation. Of every sample: is it finite, and are its mean
0 and its deviation 1. Of some, those of the smallest deviations among them, every pixel is compared
with one that is computed in Python's integers from the same noise and factors. The exit status is
1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe_machine
from gpgen.exact.axis import FACTOR_BITS
from gpgen.exact.axis_product import AxisProduct
from gpgen.exact.field_kinds import field_of
from gpgen.exact.normal import NORMAL_BITS
from gpgen.recipe import Recipe
from gpgen.sampling import Sampler, seeds

__all__ = ["RECIPES", "Found", "exact", "images_sha256", "main", "measure"]

Array = npt.NDArray[np.float64]

LARGEST_ERROR: Final = 1e-5
"""Of the mean and of the deviation; of a pixel x, this and as much of x."""


def _recipe(shape: list[int], *scale: float, boundary: str = "open") -> Recipe:
    component = {"kernel": "rbf", "length_scales": [list(scale) if scale[1:] else scale[0]]}
    name = f"{'x'.join(map(str, shape))} px, l = {'x'.join(f'{s:g}' for s in scale)}, {boundary}"
    return Recipe.from_dict(
        {"name": name, "shape": shape, "boundary": boundary, "components": [component]}
    )


RECIPES: Final = [
    _recipe([2], 1.0),
    _recipe([64], 500.0),
    _recipe([16, 256], 1000.0),
    _recipe([64, 64], 1000.0),
    _recipe([8, 8], 100.0),
    _recipe([16], 16.0),
    _recipe([2048], 20_000.0),
    _recipe([2, 2], 15.0),
    _recipe([40, 24], 25.0, 900.0),
    _recipe([4, 6, 8], 90.0),
    _recipe([12, 12, 12], 40.0, 90.0, 300.0),
    _recipe([3], 0.26, boundary="periodic"),
]


@dataclass(frozen=True)
class Found:
    """What was found of one recipe's samples.

    Parameters
    ----------
    name, samples
        The recipe, and how many were drawn.
    finite
        Samples all of whose pixels are finite.
    smallest
        The smallest deviation before standardizing, of samples compared pixel by pixel.
    mean, deviation
        The largest distances from 0 and 1.
    compared
        Samples compared pixel by pixel.
    pixel
        The largest error of a pixel x, divided by 1 + |x|.
    wrong
        Samples that are not finite or not good to `LARGEST_ERROR`.
    sha256
        Of all images.
    """

    name: str
    samples: int
    finite: int
    smallest: float
    mean: float
    deviation: float
    compared: int
    pixel: float
    wrong: int
    sha256: str


def measure(recipe: Recipe, n: int, compared: int, batch: int = 2000) -> Found:
    """Draw and check n samples of a recipe; compare every pixel of `compared` of them."""
    means, deviations, digest = [], [], hashlib.sha256()
    for images in _batches(recipe, n, batch):
        digest.update(images)
        pixels = images.reshape(len(images), -1).astype(np.longdouble)
        means.append(np.abs(pixels.mean(axis=1)))
        deviations.append(np.abs(pixels.std(axis=1) - 1))
    mean, deviation = np.concatenate(means), np.concatenate(deviations)
    finite = np.isfinite(mean) & np.isfinite(deviation)
    right = finite & (mean < LARGEST_ERROR) & (deviation < LARGEST_ERROR)
    smallest, worst = math.inf, 0.0
    sampler = Sampler(recipe)
    for index in _chosen(recipe, n, compared):
        seed = int(seeds(recipe.seed, index, index + 1)[0])
        expected, spread = exact(
            field_of(recipe.texture, "rbf", recipe.length_scales_of(0)[0]), seed
        )
        error = np.abs(sampler.image(seed, 0).ravel() - expected) / (1 + np.abs(expected))
        worst, smallest = max(worst, float(error.max())), min(smallest, spread)
        right[index] &= bool(error.max() < LARGEST_ERROR)
    return Found(
        recipe.name,
        n,
        int(finite.sum()),
        smallest,
        float(mean.max()),
        float(deviation.max()),
        min(compared, n),
        worst,
        int((~right).sum()),
        digest.hexdigest(),
    )


def images_sha256(recipe: Recipe, n: int) -> str:
    """Hash the first n images."""
    digest = hashlib.sha256()
    for images in _batches(recipe, n, 2000):
        digest.update(images)
    return digest.hexdigest()


def exact(field: AxisProduct, seed: int, stream: int = 0) -> tuple[Array, float]:
    """Return a sample's standardized pixels and its deviation, computed in Python's integers."""
    noise = field.noise(np.array([seed], dtype=np.uint64), stream)[0]
    values = _integers(noise, NORMAL_BITS)
    for axis, factor in enumerate(field.factors):
        matrix = factor.matrix.apply(np.eye(factor.columns)[None])[0]
        product = np.tensordot(_integers(matrix, FACTOR_BITS), values, axes=(1, axis))
        values = np.moveaxis(product, 0, axis)
    pixels = [int(value) for value in values.ravel()]
    total, count = sum(pixels), len(pixels)
    centred = [count * value - total for value in pixels]
    # The root of the sum of squares, with 200 bits more than it needs.
    root = math.isqrt(sum(value * value for value in centred) * count << 400)
    standardized = [((value * count << 264) // root) * 2.0**-64 for value in centred]
    bits = NORMAL_BITS + FACTOR_BITS * len(field.factors)
    return np.array(standardized), math.ldexp(root >> 136, -64 - bits) / count**2


def _integers(values: Array, bits: int) -> npt.NDArray[Any]:
    scaled = values * 2.0**bits
    integers = np.array([int(v) for v in scaled.ravel()], dtype=object).reshape(values.shape)
    assert (integers == scaled).all()
    return integers


def _batches(recipe: Recipe, n: int, batch: int) -> Iterator[npt.NDArray[Any]]:
    sampler = Sampler(recipe)
    for start in range(0, n, batch):
        yield sampler.images(start, min(start + batch, n))


def _chosen(recipe: Recipe, n: int, count: int) -> list[int]:
    """Choose samples: half of them with the smallest deviations, the rest spread evenly."""
    field = field_of(recipe.texture, "rbf", recipe.length_scales_of(0)[0])
    deviations = [
        field.moments(field.noise(seeds(recipe.seed, start, min(start + 2000, n)), 0))[1]
        for start in range(0, n, 2000)
    ]
    smallest = np.argsort(np.concatenate(deviations), kind="stable")[: count // 2].tolist()
    spread = [k * n // max(1, count) for k in range(count)]
    return list(dict.fromkeys([*smallest, *spread]))[: min(count, n)]


def main(arguments: Sequence[str] | None = None) -> list[Found]:
    """Print a row for each recipe; return what was found."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nearly_constant", description=__doc__
    )
    parser.add_argument("--n", type=int, default=20_000, help="samples of each (default 20,000)")
    parser.add_argument("--pixels", type=int, default=200, help="compared pixel by pixel (200)")
    options = parser.parse_args(arguments)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(describe_machine())
    table = Table(title=f"{options.n:,} samples of each, {options.pixels} pixel by pixel")
    for heading in ("recipe", "not finite", "mean", "deviation", "smallest", "pixels", "wrong"):
        table.add_column(heading, justify="left" if heading == "recipe" else "right")
    found = []
    for recipe in RECIPES:
        one = measure(recipe, options.n, options.pixels)
        found.append(one)
        figures = (f"{v:.1e}" for v in (one.mean, one.deviation, one.smallest, one.pixel))
        table.add_row(one.name, str(one.samples - one.finite), *figures, str(one.wrong))
    console.print(table)
    return found


if __name__ == "__main__":
    sys.exit(any(one.wrong for one in main()))
