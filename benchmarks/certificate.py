"""``python -m benchmarks.certificate``: how far FFTs are from the integers, over many samples.

For each kernel it draws images of 32 x 32 pixels, and tells the largest distance from an integer
and how many samples were not certified at once and tried again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe_machine
from gpgen.exact.convolution import Convolution
from gpgen.exact.fourier import ScipyFourier
from gpgen.exact.offered_kernels import stationary_kernel
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.torus_choice import torus_for
from gpgen.exact.torus_size import ImageGrid

KERNELS: dict[str, tuple[str, dict[str, float], tuple[float, float]]] = {
    "Matérn 1/2": ("matern", {"smoothness": 0.5}, (2.0, 2.0)),
    "Matérn 3/2": ("matern", {"smoothness": 1.5}, (4.0, 4.0)),
    "Matérn 5/2": ("matern", {"smoothness": 2.5}, (3.0, 6.0)),
    "Matérn 0.8": ("matern", {"smoothness": 0.8}, (3.0, 3.0)),
    "rational quadratic 1": ("rational-quadratic", {"alpha": 1.0}, (3.0, 3.0)),
    "power law 3": ("power-law", {"exponent": 3.0}, (16.0, 16.0)),
    "white": ("white", {}, (1.0, 1.0)),
}


@dataclass(frozen=True)
class Watched(ScipyFourier):
    """SciPy's transforms, and what comes of them."""

    distances: list[float] = field(default_factory=list, hash=False, compare=False)

    def irfft(self, x: Any, n: int, axis: int) -> Any:
        values = super().irfft(x, n, axis)
        self.distances.append(float(np.abs(values - np.rint(values)).max()))
        return values


def look(convolution: Convolution, samples: int) -> tuple[float, int]:
    """Return the largest distance on the torus, and how many samples took a second try."""
    watched, worst, again = Watched(), 0.0, 0
    for seed in range(samples):
        watched.distances.clear()
        noise = convolution.noise(np.array([seed], dtype=np.uint64), 0, watched)
        convolution.draw(noise, watched)
        worst = max(worst, watched.distances[0])
        again += len(watched.distances) > 1
    return worst, again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=15_000, help="for each kernel")
    arguments = parser.parse_args()
    table = Table("kernel", "samples", "largest distance", "tried again")
    for name, (kernel, numbers, lengths) in KERNELS.items():
        scaled = ScaledKernel(stationary_kernel(kernel, 2, numbers), lengths)
        convolution = Convolution(torus_for(scaled, ImageGrid((32, 32), (False, False))))
        distance, again = look(convolution, arguments.samples)
        table.add_row(name, f"{arguments.samples:,}", f"{distance:.4f}", str(again))
    console = Console()
    console.print(describe_machine())
    console.print(table)


if __name__ == "__main__":
    main()
