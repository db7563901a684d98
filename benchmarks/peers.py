"""``python -m benchmarks.peers``: every kernel, by gpgen and by other people's packages.

Three tables. One image: processor time, the least of interleaved rounds, ready as float32, one
thread, the packages' preparation left out where they let one keep it. The covariance: the mean
product of pixels over many images of 128 x 128 with l = 10 px beside the kernel, and that of
opposite edges, which open boundaries leave alone. Bytes: one image again in another process, on
what looks like an older processor, and with another FFT library.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy._core._multiarray_umath import __cpu_dispatch__
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.machine import describe_machine
from benchmarks.packages import ALPHA, EXPONENT, MATERN, PACKAGES, Draw, installed
from benchmarks.timing import interleaved
from gpgen.exact.offered_kernels import stationary_kernel
from gpgen.recipe import Recipe
from gpgen.sampling import Sampler

__all__ = ["KERNELS", "covariance_errors", "main"]

OURS = "gpgen"
KERNELS: dict[str, dict[str, Any]] = {
    "rbf": {"kernel": "rbf"},
    **{name: {"kernel": "matern", "smoothness": nu} for name, nu in MATERN.items()},
    "rational-quadratic": {"kernel": "rational-quadratic", "alpha": ALPHA},
    "power-law": {"kernel": "power-law", "exponent": EXPONENT},
}
UNUSED = "not used"
LENGTH_SCALES = (10.0, 80.0)  # pixels of 1024
# What libraries are told, so that they take the code of a processor without AVX.
OLDER_PROCESSOR = {
    "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
    "OPENBLAS_CORETYPE": "NEHALEM",
    "ATEN_CPU_CAPABILITY": "default",
    "MKL_CBWR": "COMPATIBLE",
    "NUMBA_CPU_NAME": "nehalem",
    "NUMBA_CPU_FEATURES": "",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2_Usable,-FMA_Usable,-AVX2,-FMA,-AVX512F",
}


def ours(kernel: str, side: int, length_scale: float) -> Draw:
    """A field of one component, not standardized, into an array that is there already."""
    component = {**KERNELS[kernel], "length_scales": [length_scale]}
    fields = {"name": kernel, "shape": [side, side], "components": [component]}
    sampler = Sampler(Recipe.from_dict(fields | {"standardize": False}))
    out = np.empty((side, side), np.float32)
    seeds = itertools.count()
    return lambda: sampler.image(next(seeds), 0, out=out)


def drawing(name: str, kernel: str, side: int, length_scale: float) -> Draw:
    """A call that draws one field with that package, as float32."""
    if name == OURS:
        return ours(kernel, side, length_scale)
    field = PACKAGES[name].field(kernel, side, length_scale)
    return lambda: np.asarray(field(), np.float32)


def packages_with(kernel: str) -> list[str]:
    """gpgen, and what is installed and draws that kernel."""
    return [OURS] + [
        name for name, package in PACKAGES.items() if kernel in package.kernels and installed(name)
    ]


def time_images(side: int, rounds: int) -> Table:
    """Time one image of each kernel by each package."""
    table = Table("kernel", "package", "10 px, ms", "80 px, ms", "of gpgen", "of gpgen", "note")
    for kernel in KERNELS:
        names = packages_with(kernel)
        columns = []
        for length_scale in (pixels * side / 1024 for pixels in LENGTH_SCALES):
            sides = {name: PACKAGES[name].side if name != OURS else side for name in names}
            sides = {name: min(side, largest) for name, largest in sides.items()}
            calls: dict[str, Callable[[], object]] = {
                name: drawing(name, kernel, sides[name], length_scale) for name in names
            }
            timings = interleaved(calls, rounds, frozenset(names[1:]), max(3, rounds // 3))
            scale = {name: 1e3 * (side / sides[name]) ** 2 for name in names}
            columns.append({name: min(timings[name].cpu) * scale[name] for name in names})
        for name in names:
            times = [f"{column[name]:,.1f}" for column in columns]
            ratios = [f"{column[name] / column[OURS]:.3g}" for column in columns]
            note = PACKAGES[name].note if name != OURS else "exact, open, same bytes"
            table.add_row(kernel, name, *times, *ratios, note)
    return table


def expected(kernel: str, distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The kernel's covariance at distances in length-scales."""
    numbers = {key: value for key, value in KERNELS[kernel].items() if key != "kernel"}
    return stationary_kernel(KERNELS[kernel]["kernel"], 2, numbers).covariance(distance)


def covariance_errors(
    kernel: str, draw: Draw, side: int, length_scale: float, count: int, seconds: float
) -> tuple[int, tuple[float, float], tuple[float, float]]:
    """Compare the mean product of pixels with the kernel.

    Returns
    -------
    tuple
        Images drawn; the error that is most standard errors large, of lags up to three
        length-scales, and its standard error; the same of the opposite edges.
    """
    lags = np.unique(np.linspace(0, 3 * length_scale, 16).astype(int))
    products = []
    start = time.process_time()
    while len(products) < count and (len(products) < 20 or time.process_time() - start < seconds):
        field = draw().astype(np.float64)
        near = [
            (field[lag:] * field[: side - lag]).mean() / 2
            + (field[:, lag:] * field[:, : side - lag]).mean() / 2
            for lag in lags
        ]
        edges = ((field[0] * field[-1]).mean() + (field[:, 0] * field[:, -1]).mean()) / 2
        products.append([*near, edges])
    right = expected(kernel, np.array([*lags, side - 1]) / length_scale)
    errors = np.mean(products, axis=0) - right
    spread = np.std(products, axis=0, ddof=1) / np.sqrt(len(products))
    worst = int(np.argmax(np.abs(errors[:-1] / spread[:-1])))
    return (
        len(products),
        (float(errors[worst]), float(spread[worst])),
        (float(errors[-1]), float(spread[-1])),
    )


def compare_covariances(count: int, seconds: float) -> Table:
    """Measure what each package's fields are wrong by, with standard errors."""
    table = Table("kernel", "package", "images", "error", "opposite edges")
    side, length_scale = 128, 10.0
    # No power law: the kernels of the plane and of the torus are different ones.
    for kernel in list(KERNELS)[:-1]:
        for name in packages_with(kernel):
            draw = drawing(name, kernel, side, length_scale)
            images, near, edges = covariance_errors(
                kernel, draw, side, length_scale, count, seconds
            )
            cells = [f"{error:+.4f} ± {spread:.4f}" for error, spread in (near, edges)]
            table.add_row(kernel, name, str(images), *cells)
    return table


def use_fftw() -> list[str]:
    """Have FFTW do what NumPy's and SciPy's FFT would; return a list that notes what is called."""
    import scipy.fft
    from pyfftw.interfaces import numpy_fft, scipy_fft

    called: list[str] = []

    def noted(transform: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            called.append(transform.__name__)
            return transform(*args, **kwargs)

        return call

    for name in ("fft", "ifft", "rfft", "irfft", "fftn", "ifftn", "rfftn", "irfftn"):
        setattr(np.fft, name, noted(getattr(numpy_fft, name)))
        setattr(scipy.fft, name, noted(getattr(scipy_fft, name)))
    return called


def print_hashes(fft: str) -> None:
    """Print the hash of one image of each kernel and package: what the other processes do."""
    called = use_fftw() if fft == "fftw" else ["their own"]
    hashes = {}
    for kernel in KERNELS:
        for name in packages_with(kernel):
            if fft == "fftw":
                called.clear()
            draw = ours if name == OURS else PACKAGES[name].field
            field = np.ascontiguousarray(draw(kernel, 128, 10.0)())
            digest = hashlib.sha256(field).hexdigest()
            hashes[f"{kernel}|{name}"] = digest if called else UNUSED
    print(json.dumps(hashes))


def hashes_elsewhere(fft: str, environment: dict[str, str]) -> dict[str, str]:
    """Return the hashes of images that a new process draws."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.peers", "--hashes", fft],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    hashes: dict[str, str] = json.loads(run.stdout)
    return hashes


def compare_bytes() -> Table:
    """Draw one image again, on an older processor's code paths, and with FFTW."""
    table = Table("kernel", "package", "again", "older processor", "FFTW")
    here = hashes_elsewhere("own", {})
    others = [
        hashes_elsewhere(fft, environment)
        for fft, environment in (("own", {}), ("own", OLDER_PROCESSOR), ("fftw", {}))
    ]
    for key, expected_hash in here.items():
        verdicts = {expected_hash: "same", UNUSED: UNUSED}
        cells = [verdicts.get(other[key], "differ") for other in others]
        table.add_row(*key.split("|"), *cells)
    return table


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--count", type=int, default=2000, help="images for a covariance, at most")
    parser.add_argument("--seconds", type=float, default=4, help="of the processor, at most")
    parser.add_argument("--tables", nargs="*", default=["time", "covariance", "bytes"])
    parser.add_argument("--hashes", choices=["own", "fftw"], help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.hashes:
        with threadpool_limits(1):
            print_hashes(options.hashes)
        return
    console = Console(width=None if Console().is_terminal else 140)
    console.print(describe_machine())
    tables: dict[str, Callable[[], Table]] = {
        "time": partial(time_images, options.side, options.rounds),
        "covariance": partial(compare_covariances, options.count, options.seconds),
        "bytes": compare_bytes,
    }
    with threadpool_limits(1):
        for name in options.tables:
            console.print(tables[name]())


if __name__ == "__main__":
    main()
