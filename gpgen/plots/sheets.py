"""Contact sheets, and a texture taken apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from gpgen.contact_sheet.content import ContactSheet, names_explained, reduced, shown_plane
from gpgen.figures import check_width, lettered
from gpgen.format.stored_recipe import StoredRecipe
from gpgen.labelled_images import LabelledImages
from gpgen.plots.grid import LABEL, RIGHT, Grid
from gpgen.plots.lettering import LINE, broken_name, width_of
from gpgen.recipe import Recipe
from gpgen.sampling import sample, seeds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpgen.dataset import Samples
    from gpgen.recipe import AnyRecipe

__all__ = ["components_figure", "contact_sheet", "recipe_sheet"]

_WIDTH: Final = 7.0  # inches: the text width of a paper
_MOST_ROWS: Final = 16
_FINEST: Final = 512  # pixels a side that a small picture can still show
_NAMES: Final = 0.35  # part of the width that class names take, at most, if they can be broken
_PANEL: Final = 0.9  # inches, at least, before panels go into one more row
_SIGN: Final = 0.3  # inches between panels
_TITLE: Final = LABEL + 1
# A weight so small that the component vanishes below the last bit of the sum.
_NOTHING: Final = 1e-12


def contact_sheet(
    dataset: Samples,
    *,
    columns: int = 4,
    classes: Sequence[str] | None = None,
    width: float = _WIDTH,
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
    width
        Of the figure in inches, at most: 7 is the text width of a paper, 3.3 that of a column.

    Returns
    -------
    matplotlib.figure.Figure
        All images on one colour scale. Of volumes it shows the middle slice; one-dimensional
        textures are lines on one axis.

    Raises
    ------
    MissingPackageError
        If matplotlib isn't installed.
    UsageError
        If there is no class of such a name, or no room for so many columns.
    DatasetError
        If an image that is to be drawn is damaged.
    """
    check_width(width)
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
    return _draw_sheet(recipe, sheet, width)


def recipe_sheet(
    recipe: AnyRecipe,
    *,
    columns: int = 4,
    classes: Sequence[str] | None = None,
    width: float = _WIDTH,
) -> Figure:
    """Draw what `contact_sheet` would show of a dataset made from `recipe`."""
    check_width(width)
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
    return _draw_sheet(recipe, sheet, width)


def components_figure(recipe: AnyRecipe, *, index: int = 0, width: float = _WIDTH) -> Figure:
    """Draw a sample's weighted components, each alone, and their sum.

    Parameters
    ----------
    recipe
        What to draw from: a recipe, the name of a built-in one, a path, or a dict.
    index
        Which sample.
    width
        Of the figure in inches, at most, as for `contact_sheet`.

    Returns
    -------
    matplotlib.figure.Figure
        One panel a component and one for the sum, lettered, on one colour scale; in several rows
        if the panels would be narrower than 0.9 inches.

    Raises
    ------
    MissingPackageError
        If matplotlib isn't installed.
    UsageError
        If there is no room for one panel.
    """
    check_width(width)
    recipe = Recipe.load(recipe)
    label = recipe.label_of(index)
    seed = int(seeds(recipe.seed, index, index + 1)[0])
    drawn = recipe.texture.drawn(np.array([seed], dtype=np.uint64))[0]
    weights = recipe.weights_of(seed)
    images, names = [], []
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
        names.append((f"{weights[position]:g} \N{MULTIPLICATION SIGN} GP, ", f"\u2113 = {name} px"))
    images.append(sample(recipe, index).image)
    names.append(("class ", recipe.classes[label]))

    wide = width - RIGHT  # as if a gap followed the last panel, too
    columns = max(1, min(len(images), int(wide / (_PANEL + _SIGN))))
    titles, size = _titles(names, wide / columns - 0.2)
    panels = [reduced(image, _FINEST) for image in images]
    grid = Grid(
        recipe,
        [panels[start : start + columns] for start in range(0, len(panels), columns)],
        width=width,
        left=0.1 if columns == len(panels) else _SIGN,
        head=size * LINE / 72 * (1 + max(title.count("\n") for title in titles)) + 0.12,
        between=_SIGN,
        column_width=0.08 + max(width_of(title, size) for title in titles),
        notes=_notes(recipe, recipe.classes[label : label + 1]),
    )
    signs = [
        "",
        *["+"] * (len(panels) - 2),
        "=" if recipe.transform is None else "\N{RIGHTWARDS ARROW}",
    ]
    flat = [axes for row in grid.axes for axes in row]
    for axes, title, sign in zip(flat, titles, signs, strict=True):
        axes.set_title(title, fontsize=size, pad=4, linespacing=LINE)
        x = -grid.between / 2 / grid.cell
        axes.text(x, 0.5, sign, transform=axes.transAxes, ha="center", va="center", fontsize=14)
    return grid.figure


def _titles(names: Sequence[tuple[str, str]], width: float) -> tuple[list[str], float]:
    """Return titles in lines of at most `width` inches, and the size of their letters."""
    first = [lettered(parts[0], number) for number, parts in enumerate(names)]
    titles = [start + parts[1] for start, parts in zip(first, names, strict=True)]
    fits = [width_of(title, _TITLE) <= width for title in titles]
    # The components' titles are broken alike.
    for number, whole in enumerate([*[all(fits[:-1])] * (len(names) - 1), fits[-1]]):
        if not whole:
            name = broken_name(names[number][1], width, _TITLE)
            titles[number] = f"{first[number].rstrip()}\n{name}"
    widest = max(width_of(title, _TITLE) for title in titles)
    return titles, _TITLE * min(1.0, width / widest)


def _draw_sheet(recipe: LabelledImages, sheet: ContactSheet, width: float) -> Figure:
    names = [broken_name(name, _NAMES * width, LABEL) for name in sheet.names]
    grid = Grid(
        recipe,
        sheet.rows,
        width=width,
        left=max(0.4, 0.2 + max(width_of(name, LABEL) for name in names)),
        row_height=LINE * LABEL / 72 * (1 + max(name.count("\n") for name in names)),
        notes=[
            "rows: length-scales in px",
            *_notes(recipe, sheet.names),
            *filter(None, [sheet.omission]),
        ],
    )
    for row, name in enumerate(names):
        grid.name_row(row, name)
    return grid.figure


def _notes(recipe: LabelledImages, names: Sequence[str]) -> list[str]:
    """Say what numbers in class names mean, and which part of a volume is shown."""
    plane = shown_plane(recipe.shape)
    return names_explained(names, len(recipe.shape)) + (
        [f"volumes: {plane} along z"] if plane else []
    )
