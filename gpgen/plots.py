"""Pictures: a contact sheet of a dataset or a recipe, and a texture taken apart.

Figures are made without pyplot, so nothing global is set and no window opens; a notebook shows
them as the value of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.contact_sheet.content import ContactSheet, reduced, shown_plane
from gpgen.errors import TargetError, UsageError
from gpgen.figures import new_figure
from gpgen.format.stored_recipe import StoredRecipe
from gpgen.io.output_files import check_output_file
from gpgen.io.user_paths import AnyText, given, text_of
from gpgen.labelled_images import LabelledImages
from gpgen.recipe import Recipe
from gpgen.sampling import sample, seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gpgen.dataset import Samples
    from gpgen.recipe import AnyRecipe

__all__ = ["check_picture", "components_figure", "contact_sheet", "recipe_sheet", "save"]

Image = npt.NDArray[np.floating[Any]]

COLOUR_MAP: Final = "RdBu_r"
_WIDTH: Final = 7.0  # inches: the text width of a paper
_MOST_ROWS: Final = 16
_FINEST: Final = 512  # pixels a side that a small picture can still show
_RANGE: Final = 99.8  # per cent of the pixels that the colours cover
_LABEL: Final = 8  # points
_FORMATS: Final = (".png", ".pdf", ".svg")
# A weight so small that the component vanishes below the last bit of the sum.
_NOTHING: Final = 1e-12


def contact_sheet(
    dataset: Samples, *, columns: int = 4, classes: Sequence[str] | None = None
) -> Figure:
    """Draw the first samples of each class of a dataset, one row a class.

    Parameters
    ----------
    dataset
        An open dataset, or a view of one.
    columns
        Samples a class.
    classes
        Names of the classes to draw; by default all, or sixteen evenly chosen if there are more.

    Returns
    -------
    matplotlib.figure.Figure
        Seven inches wide, all images on one colour scale. Of volumes it shows the middle slice.

    Raises
    ------
    MissingPackageError
        If matplotlib isn't installed.
    UsageError
        If there is no class of such a name.
    DatasetError
        If an image that is to be drawn is damaged.
    """
    recipe = dataset.recipe
    sheet = ContactSheet.read(
        recipe.classes,
        lambda start, stop: dataset.label[start:stop],
        len(dataset),
        dataset.read,
        classes=classes,
        columns=columns,
        most_classes=_MOST_ROWS,
        side=_FINEST,
    )
    return _draw_sheet(recipe, sheet)


def recipe_sheet(
    recipe: AnyRecipe, *, columns: int = 4, classes: Sequence[str] | None = None
) -> Figure:
    """Draw what `contact_sheet` would show of a dataset made from `recipe`."""
    recipe = Recipe.load(recipe)
    sheet = ContactSheet.read(
        recipe.classes,
        recipe.labels,
        columns * recipe.class_count,
        lambda indices: [sample(recipe, index).image for index in indices],
        classes=classes,
        columns=columns,
        most_classes=_MOST_ROWS,
        side=_FINEST,
    )
    return _draw_sheet(recipe, sheet)


def components_figure(recipe: AnyRecipe, *, index: int = 0) -> Figure:
    """Draw a sample's weighted components, each alone, and their sum.

    Parameters
    ----------
    recipe
        What to draw from: a recipe, the name of a built-in one, a path, or a dict.
    index
        Which sample.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a component and one for the sum, on one colour scale.
    """
    recipe = Recipe.load(recipe)
    label = recipe.label_of(index)
    seed = int(seeds(recipe.seed, index, index + 1)[0])
    drawn = recipe.texture.drawn(np.array([seed], dtype=np.uint64))[0]
    weights = recipe.weights_of(seed)
    images, titles = [], []
    for position, component in enumerate(recipe.components):
        alone = recipe.to_dict()
        alone.pop("transform", None)  # of the sum
        for other, fields in enumerate(alone["components"]):
            if other != position:
                fields["weight"] = _NOTHING
        one = StoredRecipe.from_dict(alone)  # as a new recipe it would be refused
        images.append(sample(one, seed=seed, label=label).image)
        choice = recipe.texture.chosen(label)[position][drawn[position]]
        name = component.name_of((choice,))
        titles.append(rf"{weights[position]:g} $\times$ GP, $\ell$ = {name} px")
    images.append(sample(recipe, index).image)
    titles.append(f"class {recipe.classes[label]}")
    grid = _Grid(
        recipe, [[reduced(image, _FINEST) for image in images]], left=0.1, top=0.3, gap=0.3
    )
    signs = ["+"] * (len(images) - 2) + ["=" if recipe.transform is None else r"$\to$"]
    for axes, title in zip(grid.axes[0], titles, strict=True):
        axes.set_title(title, fontsize=_LABEL + 1, pad=4)
    for axes, sign in zip(grid.axes[0], signs, strict=False):
        middle = 1 + grid.between / (2 * grid.cell)
        axes.text(
            middle, 0.5, sign, transform=axes.transAxes, ha="center", va="center", fontsize=14
        )
    return grid.figure


def check_picture(path: AnyText) -> None:
    """Refuse a picture that `save` couldn't write, before it is drawn.

    Raises
    ------
    MissingPackageError
        If matplotlib isn't installed.
    UsageError
        If the suffix is no picture's.
    TargetError
        If the file can't be written.
    """
    _check_suffix(path)
    check_output_file(given(path))
    new_figure(1, 1)


def save(figure: Figure, path: AnyText, *, dpi: int = 200) -> None:
    """Write a figure as PNG, PDF or SVG, by its suffix; equal figures give equal files.

    Raises
    ------
    UsageError
        If the suffix is none of these.
    TargetError
        If the file can't be written.
    """
    from matplotlib import rc_context

    target = given(path)
    suffix = _check_suffix(path)
    dated = {".pdf": "CreationDate", ".svg": "Date"}.get(suffix)
    try:
        with rc_context({"svg.hashsalt": "gpgen", "pdf.fonttype": 42, "svg.fonttype": "none"}):
            figure.savefig(target, dpi=dpi, metadata={dated: None} if dated else None)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TargetError(
            f"the picture {text_of(path)!r} can't be written: {reason}",
            "choose another folder or make this one writable",
        ) from error


def _check_suffix(path: AnyText) -> str:
    suffix = given(path).suffix.lower()
    if suffix not in _FORMATS:
        raise UsageError(
            f"no kind of picture belongs to {text_of(path)!r}",
            f"end the name in {', '.join(_FORMATS)}",
        )
    return suffix


def _limit(images: Iterable[Image], share: float) -> float:
    """Return the end of a symmetric scale for `share` per cent of the pixels, two digits."""
    values = np.concatenate([np.abs(image).ravel() for image in images])
    values = values[np.isfinite(values)]
    largest = float(np.percentile(values, share)) if values.size else 0.0
    step = 10.0 ** (math.floor(math.log10(largest)) - 1) if largest > 0 else 1.0
    return max(step, step * math.ceil(largest / step))


def _draw_sheet(recipe: LabelledImages, sheet: ContactSheet) -> Figure:
    # Whole names, whatever their length: a digit of this size is 0.07 inches wide.
    left = max(1.0, 0.2 + 0.07 * max(map(len, sheet.names)))
    grid = _Grid(recipe, sheet.rows, left=left, note=sheet.omission)
    for row, name in enumerate(sheet.names):
        grid.name_row(row, name)
    grid.remark(grid.left - 0.1, "length-scales, px")
    return grid.figure


class _Grid:
    """Images in rows on one colour scale; lines on one axis for one-dimensional textures.

    Positions are in inches: titles and labels keep their size whatever the grid's.
    """

    gap: Final = 0.06
    right: Final = 0.62
    bottom: Final = 0.3

    def __init__(
        self,
        recipe: LabelledImages,
        rows: Sequence[Sequence[Image]],
        *,
        left: float,
        top: float = 0.08,
        gap: float | None = None,
        note: str = "",
    ) -> None:
        self.left = left
        self.between = self.gap if gap is None else gap
        columns = max(map(len, rows))
        flat = [image for row in rows for image in row]
        lines = len(recipe.shape) == 1
        self.limit = _limit(flat, 100 if lines else _RANGE)
        aspect = 0.4 if lines else flat[0].shape[0] / flat[0].shape[1]
        free = _WIDTH - left - self.right - (columns - 1) * self.between
        # A grid of one column would fill a page with its rows.
        self.cell = min(free / columns, 2.2)
        self.cell_height = self.cell * aspect
        self.height = top + self.bottom + len(rows) * (self.cell_height + self.gap) - self.gap
        self.end = left + columns * (self.cell + self.between) - self.between
        self.width = self.end + self.right
        self.figure = new_figure(self.width, self.height)
        self.axes = [
            [self._draw(image, row, column, top, lines) for column, image in enumerate(images)]
            for row, images in enumerate(rows)
        ]
        if lines:
            self._mark_lines()
        else:
            self._add_colour_bar(top)
        self._mark_width(recipe, note)

    def place(self, x: float, y: float, width: float, height: float) -> Axes:
        """Add axes at a place in inches from the lower left corner."""
        size = (self.width, self.height)
        box = (x / size[0], y / size[1], width / size[0], height / size[1])
        return self.figure.add_axes(box)

    def _draw(self, image: Image, row: int, column: int, top: float, lines: bool) -> Axes:
        x = self.left + column * (self.cell + self.between)
        y = self.height - top - (row + 1) * self.cell_height - row * self.gap
        axes = self.place(x, y, self.cell, self.cell_height)
        if lines:
            axes.plot(image, color="0.15", linewidth=0.6)
            axes.set_xlim(0, len(image) - 1)
            axes.set_ylim(-self.limit, self.limit)
        else:
            axes.imshow(image, cmap=COLOUR_MAP, vmin=-self.limit, vmax=self.limit)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_linewidth(0.5)
        return axes

    def name_row(self, row: int, name: str) -> None:
        """Write a class name to the left of its row."""
        self.axes[row][0].set_ylabel(
            name, rotation=0, ha="right", va="center", fontsize=_LABEL, labelpad=6
        )

    def _add_colour_bar(self, top: float) -> None:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        axes = self.place(self.end + 0.1, self.bottom, 0.1, self.height - top - self.bottom)
        scale = ScalarMappable(Normalize(-self.limit, self.limit), COLOUR_MAP)
        bar = self.figure.colorbar(scale, cax=axes, extend="both", extendfrac=0.02)
        bar.outline.set_linewidth(0.5)
        bar.set_label("pixel value", fontsize=_LABEL)
        axes.tick_params(labelsize=_LABEL - 1, width=0.5, length=2)

    def _mark_lines(self) -> None:
        axes = self.axes[-1][-1]
        axes.yaxis.tick_right()
        axes.set_yticks([-self.limit, 0, self.limit])
        axes.tick_params(labelsize=_LABEL - 1, width=0.5, length=2)

    def _mark_width(self, recipe: LabelledImages, note: str) -> None:
        """Draw a bar as long as an image is wide, with its pixels, under the first column."""
        y = self.bottom - 0.08
        bar = self.place(self.left, y - 0.03, self.cell, 0.06)
        bar.axis("off")
        bar.set_xlim(0, 1)
        bar.set_ylim(-1, 1)
        bar.plot(
            [0, 0, 0, 1, 1, 1], [-1, 1, 0, 0, 1, -1], color="0.2", linewidth=0.6, clip_on=False
        )
        text = f"{recipe.shape[-1]} px"
        if plane := shown_plane(recipe.shape):
            text += f", {plane}"
        self.remark(self.left + self.cell / 2, text, align="center")
        self.remark(self.end, note)

    def remark(self, x: float, text: str, align: str = "right") -> None:
        """Write something small below the grid, at a place in inches."""
        y = (self.bottom - 0.13) / self.height
        style: dict[str, Any] = {"fontsize": _LABEL - 1, "color": "0.2", "va": "top"}
        self.figure.text(x / self.width, y, text, ha=align, **style)
