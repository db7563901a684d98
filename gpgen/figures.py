"""A figure made without pyplot that a notebook shows all the same."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from gpgen.errors import MissingPackageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure"]


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
