"""``python -m benchmarks.gpu``: images a second on a GPU, beside a CPU's core and other programs.

Every contender draws batches of one kernel, float32 in the GPU's memory at the end, and the GPU is
waited for. gpgen's are compared with the CPU's, bit for bit. The embedding is circulant, in
PyTorch, on the torus and from the spectrum that gpgen takes, with PyTorch's random numbers: a field
that is neither standardized, certified nor the same elsewhere. diffgrf sums 1,000 random waves.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.machine import describe_machine
from benchmarks.packages import installed
from gpgen.exact.convolution import Convolution
from gpgen.exact.offered_kernels import stationary_kernel
from gpgen.exact.scaled_kernel import ScaledKernel
from gpgen.exact.torus_choice import torus_for
from gpgen.exact.torus_size import ImageGrid
from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for
from gpgen.torch import sample_batch

KERNELS: dict[str, dict[str, Any]] = {
    "rbf": {},
    "matern": {"smoothness": 1.5},
    "rational-quadratic": {"alpha": 1.0},
    "power-law": {"exponent": 3.0},
}
LENGTH_SCALES = (10.0, 80.0)  # pixels of 1024

Draw = Callable[[], object]


def recipe_of(kernel: str, side: int, length_scale: float) -> Recipe:
    component = {"kernel": kernel, **KERNELS[kernel], "length_scales": [length_scale]}
    return Recipe.from_dict({"name": kernel, "shape": [side] * 2, "components": [component]})


class Embedding:
    """Circulant embedding on a device: fields from half a plane of complex noise each."""

    def __init__(
        self, kernel: str, side: int, length_scale: float, device: str, dtype: torch.dtype
    ) -> None:
        scaled = ScaledKernel(stationary_kernel(kernel, 2, KERNELS[kernel]), (length_scale,) * 2)
        torus = Convolution(torus_for(scaled, ImageGrid((side, side), (False, False)))).torus
        amplitude = np.abs(torus.spectrum()) * 2.0**-28 * math.sqrt(torus.points)
        self.amplitude = torch.from_numpy(amplitude).to(device, dtype)
        self.sizes, self.side = torus.sizes, side

    def draw(self, count: int) -> torch.Tensor:
        noise = torch.randn(
            (count, *self.amplitude.shape),
            dtype=torch.complex64 if self.amplitude.dtype == torch.float32 else torch.complex128,
            device=self.amplitude.device,
        )
        noise *= self.amplitude
        fields = torch.fft.irfft2(noise, s=self.sizes, norm="ortho")
        return fields[:, : self.side, : self.side].to(torch.float32, copy=True)


def waves(kernel: str, side: int, length_scale: float, device: str) -> Draw:
    """diffgrf's, in its own float32."""
    from diffgrf import DifferentiableGRF

    seeds = itertools.count()
    given: dict[str, Any] = {"device": device, "dtype": torch.float32}
    if kernel == "rbf":
        kind, scale = "gau", length_scale * math.sqrt(math.pi / 2)
    else:
        kind, scale = "mat", length_scale / math.sqrt(2)
        given["nu"] = KERNELS[kernel]["smoothness"]

    def draw() -> object:
        field = DifferentiableGRF(kind, 2, 1.0, scale, seed=next(seeds), **given)
        with torch.no_grad():
            return field.structured([side, side])

    return draw


def rate(draw: Draw, images: int, device: str, seconds: float) -> float:
    """Images a second: the median over calls, after one that doesn't count."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    times: list[float] = []
    until = math.inf
    while len(times) < 4 or time.perf_counter() < until:
        start = time.perf_counter()
        draw()
        wait()
        if until == math.inf:
            until = time.perf_counter() + seconds
        else:
            times.append(time.perf_counter() - start)
    return images / statistics.median(times)


def check(recipe: Recipe, device: str) -> None:
    """Compare eight images with the CPU's."""
    indices = np.arange(3, 11)
    here = sample_batch(recipe, indices, device)[:, 0].cpu().numpy()
    if here.tobytes() != sampler_for(recipe).images_at(indices).tobytes():
        raise SystemExit(f"{recipe.name}: images drawn on {device} differ from the CPU's")


def measure(kernel: str, length_scale: float, arguments: argparse.Namespace) -> list[str]:
    side, batch, device, seconds = (
        arguments.side, arguments.batch, arguments.device, arguments.seconds
    )  # fmt: skip
    recipe = recipe_of(kernel, side, length_scale)
    check(recipe, device)
    indices = np.arange(batch)
    with threadpool_limits(1):
        core = rate(lambda: sampler_for(recipe).images(0, 4), 4, "cpu", seconds)
    rates = [core, rate(lambda: sample_batch(recipe, indices, device), batch, device, seconds)]
    for dtype in (torch.float64, torch.float32):
        embedding = Embedding(kernel, side, length_scale, device, dtype)
        rates.append(rate(partial(embedding.draw, batch), batch, device, seconds))
    if installed("diffgrf") and kernel in ("rbf", "matern"):
        rates.append(rate(waves(kernel, side, length_scale, device), 1, device, seconds))
    shown = [f"{value:,.1f}" if value < 100 else f"{value:,.0f}" for value in rates]
    return [f"{kernel}, {length_scale:g} px", *shown, *[""] * (5 - len(shown))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each number")
    arguments = parser.parse_args()
    titles = ("gpgen, a CPU core", "gpgen", "embedding, float64", "embedding, float32", "diffgrf")
    table = Table("images a second", *titles)
    for kernel in KERNELS:
        for pixels in LENGTH_SCALES:
            length_scale = pixels * arguments.side / 1024
            table.add_row(*measure(kernel, length_scale, arguments))
    console = Console(width=120)
    name = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else "no GPU"
    console.print(f"{name}, torch {torch.__version__}; {describe_machine()}")
    console.print(table)


if __name__ == "__main__":
    main()
