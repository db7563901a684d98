"""Images in rows on one colour scale, with their size, the scale and notes beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import UsageError
from gpgen.figures import TEXTURE_COLOURS, new_figure
from gpgen.labelled_images import LabelledImages
from gpgen.plots.lettering import LINE, broken, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["LABEL", "RIGHT", "Grid"]

Image = npt.NDArray[np.floating[Any]]

LABEL: Final = 8
"""Points."""

RIGHT: Final = 0.7
"""Inches for the colour bar, or the axis of lines; more if their numbers are long."""

_SMALL: Final = LABEL - 1
_RANGE: Final = 99.8  # per cent of the pixels that the colours cover
_EDGE: Final = 0.1
_LARGEST: Final = 2.2  # a grid of one column would fill a page with its rows
_TALLEST: Final = 4.4
_PAGE: Final = 9.0  # all rows, of a paper's page
_LOWEST_LINES: Final = 0.45  # so that their axis has room for three numbers
_SMALLEST: Final = 0.1
_SCALE: Final = 0.75  # inches that the colour bar's label needs


class Grid:
    """Images in rows on one colour scale; lines on one axis for one-dimensional textures.

    Positions are in inches: titles and labels keep their size whatever the grid's.

    Parameters
    ----------
    recipe
        What the images are of.
    rows
        The images.
    width
        Of the figure, at most.
    left
        What to leave free on the left.
    head, between
        What to leave free above each row, and between columns.
    row_height, column_width
        Of a row, and of a column, at least.
    notes
        Sentences to write below.
    """

    def __init__(
        self,
        recipe: LabelledImages,
        rows: Sequence[Sequence[Image]],
        *,
        width: float,
        left: float,
        head: float = 0.06,
        between: float = 0.06,
        row_height: float = 0.0,
        column_width: float = 0.0,
        notes: Sequence[str] = (),
    ) -> None:
        self.head = head
        columns = max(map(len, rows))
        flat = [image for row in rows for image in row]
        self._lines = len(recipe.shape) == 1
        self.limit = _limit(flat, 100 if self._lines else _RANGE)
        aspect = 0.4 if self._lines else flat[0].shape[0] / flat[0].shape[1]
        right = max(RIGHT, 0.44 + width_of(f"{-self.limit:g}", _SMALL))
        free = width - left - right - (columns - 1) * between
        tallest = min(_TALLEST, _PAGE / len(rows) - head)
        self.cell = min(free / columns, _LARGEST, tallest / aspect)
        if free / columns < _SMALLEST:
            raise UsageError(
                f"{width:g} inches have no room for {columns} column{'s' if columns > 1 else ''}",
                "ask for a wider picture or for fewer columns",
            )
        self.cell_height = self.cell * aspect
        if self._lines:
            self.cell_height = max(self.cell_height, _LOWEST_LINES)
        self._pitch = head + max(self.cell_height, row_height, _SCALE / len(rows) - head)
        beside = max(0.0, column_width - self.cell - between)
        self.left, self.between = left + beside / 2, between + beside
        self.end = self.left + columns * (self.cell + self.between) - self.between
        if beside:
            self.end += beside / 2 + between / 2
        # Notes may need more than a narrow column of images.
        self.width = max(self.end + right, min(width, 3.0))
        note = broken("; ".join(notes), self.width - 2 * _EDGE, _SMALL)
        note_height = LINE * _SMALL / 72 * (note.count("\n") + 1) + 0.04 if note else 0.0
        self.bottom = (0.42 if self._lines else 0.3) + note_height
        self.height = 0.02 + len(rows) * self._pitch + self.bottom
        self.figure = new_figure(self.width, self.height)
        self.axes = [
            [self._draw(image, row, column) for column, image in enumerate(images)]
            for row, images in enumerate(rows)
        ]
        if self._lines:
            self._mark_lines(columns)
        else:
            self._add_colour_bar(len(rows))
            self._mark_width(f"{recipe.shape[-1]} px")
        style: dict[str, Any] = {"fontsize": _SMALL, "color": "0.2", "linespacing": LINE}
        self.figure.text(_EDGE / self.width, 0.05 / self.height, note, va="bottom", **style)

    def place(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes at a place in inches from the lower left corner."""
        size = (self.width, self.height)
        box = (x / size[0], y / size[1], width / size[0], height / size[1])
        return self.figure.add_axes(box)

    def name_row(self, row: int, name: str) -> None:
        """Write a class name to the left of its row."""
        self.axes[row][0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=LABEL, labelpad=6
        )

    def _draw(self, image: Image, row: int, column: int) -> Axes:
        x = self.left + column * (self.cell + self.between)
        middle = self.height - 0.02 - row * self._pitch - (self.head + self._pitch) / 2
        axes = self.place(x, middle - self.cell_height / 2, self.cell, self.cell_height)
        if self._lines:
            axes.plot(image, color="0.15", linewidth=0.6)
            axes.set_xlim(0, len(image) - 1)
            axes.set_ylim(-self.limit, self.limit)
        else:
            axes.imshow(image, cmap=TEXTURE_COLOURS, vmin=-self.limit, vmax=self.limit)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_linewidth(0.5)
        return axes

    def _add_colour_bar(self, rows: int) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        axes = self.place(self.end + 0.1, self.bottom, 0.1, rows * self._pitch - self.head)
        scale = ScalarMappable(Normalize(-self.limit, self.limit), TEXTURE_COLOURS)
        bar = self.figure.colorbar(scale, cax=axes, extend="both", extendfrac=0.02)
        bar.outline.set_linewidth(0.5)
        bar.set_label("pixel value", fontsize=LABEL)
        axes.tick_params(labelsize=_SMALL, width=0.5, length=2)

    def _mark_lines(self, columns: int) -> None:
        """Number the pixels below the first column, the values beside the last whole row."""
        from matplotlib.ticker import MaxNLocator

        below = self.axes[-1][0]
        beside = next(row[-1] for row in reversed(self.axes) if len(row) == columns)
        below.xaxis.set_major_locator(MaxNLocator(3 if self.cell > 1 else 2, integer=True))
        below.set_xlabel("position (px)", fontsize=LABEL, labelpad=2)
        beside.yaxis.tick_right()
        beside.yaxis.set_label_position("right")
        beside.set_yticks([-self.limit, 0, self.limit])
        beside.set_ylabel("value", fontsize=LABEL, labelpad=2)
        for axes in (below, beside):
            axes.tick_params(labelsize=_SMALL, width=0.5, length=2)

    def _mark_width(self, text: str) -> None:
        """Draw a bar as long as an image is wide, with its pixels, under the first column."""
        y = self.axes[-1][0].get_position().y0 * self.height - 0.08
        bar = self.place(self.left, y - 0.03, self.cell, 0.06)
        bar.axis("off")
        bar.set_xlim(0, 1)
        bar.set_ylim(-1, 1)
        bar.plot(
            [0, 0, 0, 1, 1, 1], [-1, 1, 0, 0, 1, -1], color="0.2", linewidth=0.6, clip_on=False
        )
        style: dict[str, Any] = {"fontsize": _SMALL, "color": "0.2", "va": "top", "ha": "center"}
        x = (self.left + self.cell / 2) / self.width
        self.figure.text(x, (y - 0.05) / self.height, text, **style)


def _limit(images: Iterable[Image], share: float) -> float:
    """Return the end of a symmetric scale for `share` per cent of the pixels, two digits."""
    values = np.concatenate([np.abs(image).ravel() for image in images])
    values = values[np.isfinite(values)]
    largest = float(np.percentile(values, share)) if values.size else 0.0
    step = 10.0 ** (math.floor(math.log10(largest)) - 1) if largest > 0 else 1.0
    return max(step, step * math.ceil(largest / step))
