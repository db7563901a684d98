"""What all figures share: made without pyplot, shown by notebooks, textures in one colour map."""

from __future__ import annotations

import io
from numbers import Real
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from gpgen.errors import MissingPackageError, UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["TEXTURE_COLOURS", "check_width", "lettered", "new_figure", "texture_palette"]

TEXTURE_COLOURS: Final = "RdBu_r"
"""The colour map of textures, by matplotlib's name; 0 is its middle, white."""

# ColorBrewer's diverging scheme RdBu of 11 colours (https://colorbrewer2.org), from blue to red.
_RED: Final = (5, 33, 67, 146, 209, 247, 253, 244, 214, 178, 103)
_GREEN: Final = (48, 102, 147, 197, 229, 247, 219, 165, 96, 24, 0)
_BLUE: Final = (97, 172, 195, 222, 240, 247, 199, 130, 77, 43, 31)


def new_figure(width: float, height: float, **options: Any) -> Figure:  # noqa: ANN401
    """Return an empty figure; nothing global is set, no window opens.

    Parameters
    ----------
    width, height
        Inches.
    **options
        `matplotlib.figure.Figure`'s.

    Raises
    ------
    MissingPackageError
        If matplotlib isn't installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingPackageError(
            "pictures need matplotlib, which isn't installed",
            "install it with `pip install 'gpgen[plot]'`",
        ) from error
    figure = Figure(figsize=(width, height), **options)
    # IPython knows figures only once pyplot is imported.
    figure._repr_png_ = _PNG(figure)  # type: ignore[attr-defined]
    return figure


def check_width(width: float) -> None:
    """Raise `UsageError` unless a figure can be so many inches wide: 1 to 50."""
    if not isinstance(width, Real) or not 1 <= width <= 50:
        raise UsageError(f"width is {width!r}", "give inches, a number from 1 to 50")


def lettered(title: str, number: int) -> str:
    """Return a panel's title with its letter: (a) for number 0."""
    return f"({chr(ord('a') + number % 26) * (1 + number // 26)}) {title}"


def texture_palette() -> bytes:
    """Return `TEXTURE_COLOURS` without matplotlib: 256 colours of three bytes, from low to high."""
    places = np.linspace(0, 10, 256)
    colours = [np.interp(places, range(11), part) for part in (_RED, _GREEN, _BLUE)]
    return np.rint(np.stack(colours, axis=1)).astype(np.uint8).tobytes()


class _PNG:
    """Draws a figure for a notebook; a class, so that the figure still pickles.

    Parameters
    ----------
    figure
        The figure.
    """

    def __init__(self, figure: Figure) -> None:
        self._figure = figure

    def __call__(self) -> bytes:
        stream = io.BytesIO()
        self._figure.savefig(stream, format="png")
        return stream.getvalue()
