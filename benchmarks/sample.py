"""``python -m benchmarks.sample``: what one two-scale sample costs, ours and others'.

Everything runs in one process, on one thread, in interleaved rounds; the table
shows medians, and the ratio to one float32 ``scipy.fft.irfft2`` of the same
side measured in the same rounds.
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import fft
from threadpoolctl import threadpool_limits

from benchmarks.circulant import CirculantEmbedding, CirculantPair, PrunedCirculantEmbedding
from benchmarks.machine import describe_machine
from benchmarks.packages import PACKAGES, installed
from benchmarks.timing import interleaved
from gpgen.recipe import Recipe
from gpgen.sampling import Sampler

__all__ = ["contenders", "inverse_fft", "main", "ours", "two_scale"]

Draw = Callable[[], NDArray[Any]]

LENGTH_SCALES = (10.0, 80.0)  # pixels
WEIGHTS = (0.75, 1.25)
OURS = "gpgen"
REFERENCE = "scipy.fft.irfft2, float32"
PAIRED = "circulant, two per complex FFT"

EMBEDDINGS = {
    "circulant embedding": CirculantEmbedding,
    PAIRED: CirculantPair,
    "circulant, pruned modes": PrunedCirculantEmbedding,
}
NOTES = {
    OURS: "exact to 1e-6, same bytes everywhere",
    "circulant embedding": "scipy, as an expert writes it",
    PAIRED: "scipy, half of a call that makes two",
    "circulant, pruned modes": "scipy, noise and first FFT for live modes only",
} | {name: package.note for name, package in PACKAGES.items()}


def inverse_fft(side: int, dtype: type[np.floating]) -> Draw:
    """One inverse real FFT and nothing else: no noise drawn, nothing padded, no spectrum."""
    spectrum = np.ones((side, side // 2 + 1), np.complex64 if dtype == np.float32 else complex)
    return lambda: fft.irfft2(spectrum, s=(side, side), workers=1)


def two_scale_recipe(side: int, length_scales: Sequence[float], *, standardize: bool) -> Recipe:
    """The paper's recipe cut down to one class, or to one component."""
    components = [
        {"kernel": "rbf", "length_scales": [length_scale], "weight": weight}
        for length_scale, weight in zip(length_scales, WEIGHTS, strict=False)
    ]
    return Recipe.load("two-scale").replace(
        shape=[side, side], components=components, standardize=standardize
    )


def ours(side: int, length_scales: Sequence[float], *, standardize: bool) -> Draw:
    """`Sampler.image` into a float32 array that is there already, a new seed each call."""
    recipe = two_scale_recipe(side, length_scales, standardize=standardize)
    sampler = Sampler(recipe)
    out = np.empty(recipe.shape, np.float32)
    seeds = itertools.count()
    return lambda: sampler.image(next(seeds), 0, out=out)


def two_scale(fields: Sequence[Draw], side: int) -> Draw:
    """The recipe's sample from one field each: standardized, weighted, summed, float32."""
    out = np.empty((side, side), np.float32)

    def draw() -> NDArray[Any]:
        total: NDArray[Any] | None = None
        shift = 0.0
        for field, weight in zip(fields, WEIGHTS, strict=True):
            values = field()
            mean = float(values.mean())
            square = float(np.einsum("yx,yx->", values, values)) / values.size
            scale = weight / math.sqrt(square - mean**2)
            shift += mean * scale
            values *= values.dtype.type(scale)
            if total is None:
                total = values
            else:
                total += values
        np.subtract(total, shift, out=out, casting="same_kind")
        return out

    return draw


def two_scale_pair(fields: Sequence[Draw], side: int) -> Draw:
    """As `two_scale`, for methods that draw two fields at a time: two samples a call."""

    def draw() -> NDArray[Any]:
        pairs = [field() for field in fields]
        for which in (0, 1):
            sample = two_scale([partial(pair.__getitem__, which) for pair in pairs], side)()
        return sample

    return draw


def embedded(
    kind: type[CirculantEmbedding | CirculantPair | PrunedCirculantEmbedding],
    side: int,
    dtype: type[np.floating],
    random: np.random.Generator,
    length_scale: float,
) -> Draw:
    """One call of an embedding, whose spectrum is computed beforehand."""
    return partial(kind(side, length_scale, dtype).draw, random)


def timed_side(name: str, side: int, full: bool) -> int:
    """The side that a method is timed at: a sum of waves at a small one, unless it is asked for."""
    if name not in PACKAGES or (full and name == "gstools"):
        return side
    return min(side, PACKAGES[name].side)


def contenders(side: int, length_scales: Sequence[float], full: bool) -> dict[str, Draw]:
    """What is timed: ``method | column`` to a call. Columns are 0, 1 and ``both``."""
    calls: dict[str, Draw] = {}

    def add(name: str, make_field: Callable[[float], Draw]) -> None:
        fields = [make_field(length_scale) for length_scale in length_scales]
        calls[f"{name}|0"], calls[f"{name}|1"] = fields
        combine = two_scale_pair if name.startswith(PAIRED) else two_scale
        calls[f"{name}|both"] = combine(fields, side)

    for column, length_scale in enumerate(length_scales):
        calls[f"{OURS}|{column}"] = ours(side, [length_scale], standardize=False)
    calls[f"{OURS}|both"] = ours(side, length_scales, standardize=True)
    for dtype in (np.float32, np.float64):
        calls[f"scipy.fft.irfft2, {dtype.__name__}|both"] = inverse_fft(side, dtype)
    for name, kind in EMBEDDINGS.items():
        for dtype in (np.float32, np.float64):
            random = np.random.Generator(np.random.SFC64(0))
            add(f"{name}, {dtype.__name__}", partial(embedded, kind, side, dtype, random))
    for name, package in PACKAGES.items():
        if "rbf" not in package.kernels or not installed(name):
            continue
        drawn = timed_side(name, side, full)
        if drawn == side:
            add(name, partial(package.field, "rbf", side))
        else:
            for column, length_scale in enumerate(length_scales):
                calls[f"{name}|{column}"] = package.field("rbf", drawn, length_scale)
    return calls


def sample_table(
    side: int,
    length_scales: Sequence[float],
    repeats: int,
    slow_repeats: int,
    full: bool = False,
    clock: Literal["wall", "cpu"] = "wall",
) -> tuple[Table, list[dict[str, Any]]]:
    """Time all contenders and lay the medians out."""
    calls = contenders(side, length_scales, full)
    slow = frozenset(call for call in calls if call.split("|")[0] in PACKAGES)
    timings = interleaved(calls, repeats, slow, slow_repeats)
    reference = timings[f"{REFERENCE}|both"].seconds(clock)

    def seconds(name: str, column: str) -> float | None:
        timing = timings.get(f"{name}|{column}")
        if timing is None:
            return None
        if name.startswith(PAIRED):
            return 0.5 * timing.seconds(clock)
        return timing.seconds(clock) * (side / timed_side(name, side, full)) ** 2

    rows: list[dict[str, Any]] = []
    for name in dict.fromkeys(call.split("|")[0] for call in calls):
        first, second, both = (seconds(name, column) for column in ("0", "1", "both"))
        if both is None and first is not None and second is not None:
            both = first + second
        base = name.removesuffix(", float32").removesuffix(", float64")
        note = NOTES.get(base, "")
        drawn = timed_side(name, side, full)
        if drawn < side:
            note += f"; timed on {drawn} x {drawn} pixels, scaled up"
        threads = max(t.threads for call, t in timings.items() if call.split("|")[0] == name)
        rows.append(
            {"method": name, "first_s": first, "second_s": second, "sample_s": both}
            | {"over_irfft2": both / reference if both else None, "note": note}
            | {"threads": threads}
        )
    own = next(row["sample_s"] for row in rows if row["method"] == OURS)
    table = Table(
        title=f"One sample, {side} x {side} pixels, one thread, {clock} time, "
        f"median of {repeats} rounds "
        f"({slow_repeats} for packages)"
    )
    table.add_column("method", no_wrap=True)
    for length_scale in length_scales:
        table.add_column(f"l = {length_scale:g} px\nms", justify="right")
    table.add_column("two-scale\nms", justify="right")
    table.add_column("÷ irfft2\nfloat32", justify="right")
    table.add_column("÷ gpgen", justify="right")
    table.add_column("CPU\n÷ wall", justify="right")
    table.add_column("note")
    for row in rows:
        row["over_gpgen"] = row["sample_s"] / own
        times = [row["first_s"], row["second_s"], row["sample_s"]]
        cells = ["" if t is None else f"{1e3 * t:,.2f}" for t in times]
        ratios = [f"{row['over_irfft2']:,.2f}", f"{row['over_gpgen']:,.2f}"]
        table.add_row(row["method"], *cells, *ratios, f"{row['threads']:.2f}", row["note"])
    return table, rows


def growth_table(
    sides: Sequence[int],
    length_scales: Sequence[float],
    repeats: int,
    clock: Literal["wall", "cpu"] = "wall",
) -> tuple[Table, list[dict[str, float]]]:
    """Cost of an image against its side, at fixed length-scales; small images in batches."""
    table = Table(
        title=f"A two-scale image against its side, one thread, {clock} time, medians, ms"
    )
    for heading in (
        "side",
        "drawn\nat once",
        "gpgen",
        "gpgen,\nns a pixel",
        "irfft2\nfloat32",
        "circulant embedding\nfloat32",
        "circulant, pruned\nfloat32",
    ):
        table.add_column(heading, justify="right")
    rows = []
    random = np.random.Generator(np.random.SFC64(0))
    for side in sides:
        batch = max(1, 2**20 // side**2)
        sampler = Sampler(two_scale_recipe(side, length_scales, standardize=True))
        out = np.empty((batch, side, side), np.float32)
        calls: dict[str, Draw] = {
            "gpgen": partial(sampler.images, 0, batch, out),
            "irfft2": inverse_fft(side, np.float32),
        }
        for kind in (CirculantEmbedding, PrunedCirculantEmbedding):
            draws = [embedded(kind, side, np.float32, random, scale) for scale in length_scales]
            calls[kind.__name__] = two_scale(draws, side)
        timings = interleaved(calls, repeats if side < 2048 else max(3, repeats // 5))
        seconds = {name: timing.seconds(clock) for name, timing in timings.items()}
        seconds["gpgen"] /= batch
        rows.append({"side": side, "batch": batch, **seconds})
        milliseconds = [f"{1e3 * value:,.3f}" for value in seconds.values()]
        per_pixel = f"{1e9 * seconds['gpgen'] / side**2:,.1f}"
        table.add_row(str(side), str(batch), milliseconds[0], per_pixel, *milliseconds[1:])
    return table, rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Print the tables; returns what they show."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sample", description=__doc__)
    parser.add_argument("--side", type=int, default=1024, help="pixels (default 1024; 0: none)")
    parser.add_argument("--repeats", type=int, default=20, help="rounds (default 20)")
    parser.add_argument("--slow-repeats", type=int, default=3, help="rounds for the packages")
    parser.add_argument(
        "--sides", type=int, nargs="*", default=[64, 128, 256, 512, 1024, 2048, 4096]
    )
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu where something else keeps the machine busy (CPU ÷ wall below 1)",
    )
    parser.add_argument("--full", action="store_true", help="time GSTools at the full size too")
    options = parser.parse_args(arguments)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(describe_machine())
    result: dict[str, Any] = {}
    with threadpool_limits(1):
        if options.side:
            table, result["sample"] = sample_table(
                options.side,
                LENGTH_SCALES,
                options.repeats,
                options.slow_repeats,
                options.full,
                options.clock,
            )
            console.print(table)
        if options.sides:
            table, result["growth"] = growth_table(
                options.sides, LENGTH_SCALES, options.repeats, options.clock
            )
            console.print(table)
    return result


if __name__ == "__main__":
    main()
