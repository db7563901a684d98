"""``python -m benchmarks.kernels``: one image of each kernel beside circulant embedding.

The embedding is SciPy's, in float64, on the same torus, from the same covariance, with NumPy's
random numbers: a field that is neither certified nor the same on another machine. Processor time,
since on a shared machine others take the rest; the least of several rounds.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe_machine
from gpgen.exact.convolution import Convolution
from gpgen.exact.fourier import SCIPY
from gpgen.exact.offered_kernels import stationary_kernel
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.torus_choice import torus_for
from gpgen.exact.torus_size import ImageGrid
from gpgen.recipe import Recipe
from gpgen.sampling import Sampler

KERNELS: dict[str, tuple[str, dict[str, float]]] = {
    "Matérn 1/2": ("matern", {"smoothness": 0.5}),
    "Matérn 3/2": ("matern", {"smoothness": 1.5}),
    "Matérn 5/2": ("matern", {"smoothness": 2.5}),
    "Matérn 0.8": ("matern", {"smoothness": 0.8}),
    "rational quadratic 1": ("rational-quadratic", {"alpha": 1.0}),
    "power law 3": ("power-law", {"exponent": 3.0}),
}


SEED = np.array([1], dtype=np.uint64)


def least(work: Callable[[], Any], rounds: int) -> float:
    """The least processor time of several rounds, in ms."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


class Embedding:
    """Circulant embedding: one field from half a plane of complex noise."""

    def __init__(self, convolution: Convolution) -> None:
        self.sizes = convolution.torus.sizes
        self.pixels = convolution.torus.grid.pixels
        self.amplitude = np.abs(convolution.torus.spectrum()) * 2.0**-28
        self.rng = np.random.default_rng(0)

    def draw(self) -> npt.NDArray[np.float32]:
        noise = self.rng.standard_normal((*self.amplitude.shape, 2)).view(np.complex128)[..., 0]
        noise *= self.amplitude
        field = scipy.fft.irfft2(noise, s=self.sizes, overwrite_x=True)
        return field[tuple(slice(n) for n in self.pixels)].astype(np.float32)


def ours(recipe: Recipe) -> Callable[[], npt.NDArray[np.float32]]:
    sampler = Sampler(recipe)
    out = np.empty(recipe.shape, np.float32)
    return lambda: sampler.image(1, 0, out=out)


def measure(name: str, length_scale: float, side: int, rounds: int) -> list[str]:
    kernel, numbers = KERNELS[name]
    scaled = ScaledKernel(stationary_kernel(kernel, 2, numbers), (length_scale,) * 2)
    start = time.process_time()
    torus = torus_for(scaled, ImageGrid((side, side), (False, False)))
    error = torus.covariance_error
    loading = time.process_time() - start
    convolution = Convolution(torus)
    component = {"kernel": kernel, **numbers, "length_scales": [length_scale]}
    draw = ours(Recipe.from_dict({"name": "one", "shape": [side] * 2, "components": [component]}))
    draw()
    embedding = Embedding(convolution)
    mine = least(draw, rounds)
    noise = least(lambda: convolution.noise(SEED, 0, SCIPY), rounds)
    theirs = least(embedding.draw, rounds)
    return [
        f"{name}, {length_scale:g}",
        str(torus.sizes[0]),
        f"{error:.1e}",
        f"{loading:.2f}",
        f"{mine:.0f}",
        f"{noise:.0f}",
        f"{theirs:.0f}",
        f"{mine / theirs:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    table = Table("kernel", "torus", "error", "load, s", "image, ms", "noise", "SciPy", "ratio")
    for name in KERNELS:
        for length_scale in (arguments.side * 10 / 1024, arguments.side * 80 / 1024):
            table.add_row(*measure(name, length_scale, arguments.side, arguments.rounds))
    console = Console()
    console.print(describe_machine())
    console.print(table)


if __name__ == "__main__":
    main()
