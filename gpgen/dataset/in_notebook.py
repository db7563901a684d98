"""A dataset in a notebook: what it is, and a few thumbnails."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import GpgenError
from gpgen.figures import TEXTURE_COLOURS
from gpgen.sampling import Sample

__all__ = ["as_html"]

_MOST: Final = 6
_SIDE: Final = 128  # pixels


def as_html(title: str, first: Callable[[int], list[Sample]]) -> str:
    """Return a line of text and thumbnails of samples, each with its index and class.

    It never raises for what lies on the disk: a damaged image is reported in its place. Without
    matplotlib there is the text alone.

    Parameters
    ----------
    title
        The text.
    first
        Reads the first samples, at most as many as it is given.
    """
    title = f"<div>{html.escape(title)}</div>"
    try:
        import matplotlib.image  # noqa: F401
    except ImportError:
        return f"{title}<div>install <code>gpgen[plot]</code> for thumbnails</div>"
    try:
        shown = first(_MOST)
    except GpgenError as error:
        return f"{title}<div>{html.escape(str(error))}</div>"
    limit = max((_largest(sample.image) for sample in shown), default=1.0)
    figures = [
        f'<figure style="display: inline-block; margin: 4px"><img width="{_SIDE}" '
        f'alt="sample {sample.index}" src="data:image/png;base64,{_png(sample.image, limit)}">'
        f"<figcaption>{sample.index}: {html.escape(sample.class_name)}</figcaption></figure>"
        for sample in shown
    ]
    return f"{title}<div>{''.join(figures)}</div>"


def _largest(image: npt.NDArray[Any]) -> float:
    values = np.abs(image[np.isfinite(image)])
    return float(values.max()) if values.size and values.max() > 0 else 1.0


def _png(image: npt.NDArray[Any], limit: float) -> str:
    """Return a small PNG in base64: a volume's middle slice; a line as a strip."""
    from matplotlib.image import imsave

    while image.ndim > 2:
        image = image[len(image) // 2]
    if image.ndim == 1:
        image = np.broadcast_to(image, (len(image) // 4 + 1, len(image)))
    step = math.ceil(max(image.shape) / _SIDE)
    stream = io.BytesIO()
    pixels = image[::step, ::step].astype(np.float64)
    imsave(stream, pixels, cmap=TEXTURE_COLOURS, vmin=-limit, vmax=limit, format="png")
    return base64.b64encode(stream.getvalue()).decode("ascii")
