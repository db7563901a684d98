"""Draw the pictures of textures and masks in ``docs/pictures``: ``python docs/site/pictures.py``.

Names as arguments draw these alone.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import torch
from matplotlib import colormaps

import gpgen
from backdrop import plots as masks
from gpgen.figures import TEXTURE_COLOURS
from gpgen.plots import components_figure, recipe_sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path(__file__).parents[1] / "pictures"
_LEVELS = 216


def _first() -> torch.Tensor:
    return torch.from_numpy(gpgen.sample(gpgen.Recipe.load("two-scale-mini"), index=0).image)


TEXTURES: dict[str, tuple[int, Callable[[], Figure]]] = {
    "classes": (100, partial(recipe_sheet, "two-scale", columns=4, width=7)),
    "components": (120, partial(components_figure, "two-scale-mini")),
    **{
        name: (100, partial(recipe_sheet, name, classes=chosen))
        for name, chosen in {
            "two-scale": ("9.5-80", "9.5-140"),
            "two-scale-mini": ("4-24", "4-32"),
            "three-scale": ("9.5-60-140", "9.5-60-200"),
            "golkar2018": ("9.5-80", "9.5-140"),
        }.items()
    },
    **{
        name: (100, partial(recipe_sheet, name, columns=3, width=width))
        for name, width in {
            "matern-two-scale": 6.2,
            "rough-or-smooth": 7.0,
            "turbulence": 7.0,
            "oriented": 7.0,
            "regression": 7.0,
        }.items()
    },
}
"""Dots an inch, and what draws the figure."""

MASKS: dict[str, Callable[[], Figure]] = {
    "one-mask": lambda: masks.plot_one_mask(_first()),
    "two-masks": lambda: masks.plot_two_masks(_first()),
    "wide-kernels": masks.plot_wide_kernels,
    "sparse-backward": lambda: masks.plot_sparse_backward(_first()),
}


def _small_png(figure: Figure, dpi: int) -> bytes:
    """Return a picture of textures with 256 colours: their map's, so that none shows bands."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi)
    picture = PIL.Image.open(stream).convert("RGB")
    colours = colormaps[TEXTURE_COLOURS](np.linspace(0, 1, _LEVELS), bytes=True)[:, :3]
    greys = np.linspace(0, 255, 256 - _LEVELS).astype(np.uint8)
    palette = PIL.Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([colours, np.stack([greys] * 3, 1)]).tobytes())
    stream = io.BytesIO()
    picture.quantize(palette=palette, dither=PIL.Image.Dither.NONE).save(
        stream, "PNG", optimize=True
    )
    return stream.getvalue()


if __name__ == "__main__":
    for name in sys.argv[1:] or [*TEXTURES, *MASKS]:
        path = FOLDER / f"{name}.png"
        if name in MASKS:
            MASKS[name]().savefig(path)
        else:
            dpi, draw = TEXTURES[name]
            path.write_bytes(_small_png(draw(), dpi))
        print(f"{path.name}: {path.stat().st_size:,} bytes")  # noqa: T201 - a script
