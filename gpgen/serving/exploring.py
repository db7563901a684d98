"""What the page shows of a recipe that its reader has changed: samples, spectra, difficulty."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.contact_sheet.content import choose_classes, reduced, shown_plane
from gpgen.contact_sheet.png import data_uri, tiles
from gpgen.errors import UsageError
from gpgen.observer.estimating import difficulty
from gpgen.observer.result import Difficulty
from gpgen.recipe import Recipe
from gpgen.report.charts import power_chart
from gpgen.report.measuring import measurable, measure
from gpgen.sampling import sampler_for

__all__ = ["Choices", "difficulty_of", "power_of", "sheet_of", "sliders_of"]

_COLUMNS: Final = 3
_SIDE: Final = 160
_MOST_CLASSES: Final = 8
_MOST_SPECTRA: Final = 4
_SIMULATED: Final = 1000
_REACH: Final = 4.0
"""A length-scale's slider goes from a fourth of it to four times it."""

_NUMBER: Final = re.compile(r"[0-9]{1,20}")
_NUMBERS: Final = re.compile(r"[0-9]{1,6}(,[0-9]{1,6}){0,7}")
_SCALES: Final = re.compile(r"[0-9]{1,2}\.[0-9]{1,2}:[0-9]{1,5}(\.[0-9]{1,6})?")
_HINT: Final = "open the page again"


@dataclass(frozen=True)
class Slider:
    """A length-scale that can be changed.

    Parameters
    ----------
    name
        Its component and its place there, as in ``1.0``.
    label
        The same in words.
    value, low, high
        Pixels.
    """

    name: str
    label: str
    value: float
    low: float
    high: float


def sliders_of(recipe: Recipe) -> list[Slider]:
    """Return the length-scales that are one number each."""
    return [
        Slider(
            f"{number}.{place}",
            f"Component {number + 1}, choice {place + 1}",
            scale,
            scale / _REACH,
            scale * _REACH,
        )
        for number, component in enumerate(recipe.to_dict()["components"])
        for place, scale in enumerate(_scales(component))
        if isinstance(scale, float | int)
    ]


def _scales(component: Mapping[str, Any]) -> list[Any]:
    found = component.get("length_scales")
    return found if isinstance(found, list) and component["kernel"] != "white" else []


@dataclass(frozen=True)
class Choices:
    """A recipe as the reader has changed it, and the classes to be shown.

    Parameters
    ----------
    recipe
        What is drawn.
    labels
        The classes, at most eight.
    """

    recipe: Recipe
    labels: tuple[int, ...]

    @classmethod
    def parse(cls, recipe: Recipe, query: Mapping[str, str]) -> Choices:
        """Read ``seed``, ``classes`` (labels) and ``scales`` (``1.0:80.5,...``) of a query.

        Raises
        ------
        UsageError
            If it is none that the page would send, or the recipe can't be drawn so.
        """
        seed, scales = query.get("seed", str(recipe.seed)), query.get("scales", "")
        changes = scales.split(",") if scales else []
        if not _NUMBER.fullmatch(seed) or not all(map(_SCALES.fullmatch, changes)):
            raise UsageError("the page asks for what it doesn't offer", _HINT)
        fields = recipe.to_dict() | {"seed": int(seed)}
        for change in changes:
            place, _, value = change.partition(":")
            component, _, number = place.partition(".")
            try:
                offered = fields["components"][int(component)]["length_scales"]
                if not isinstance(offered[int(number)], float | int):
                    raise UsageError(f"length-scale {place} is no single number", _HINT)
                offered[int(number)] = float(value)
            except (LookupError, TypeError) as error:
                raise UsageError(f"there is no length-scale {place}", _HINT) from error
        changed = recipe.replace(**fields) if changes or int(seed) != recipe.seed else recipe
        every = range(changed.class_count)
        wanted = query.get("classes", "")
        if not wanted:
            return cls(changed, tuple(choose_classes(changed.classes, every, most=_MOST_CLASSES)))
        if not _NUMBERS.fullmatch(wanted):
            raise UsageError("the page asks for what it doesn't offer", _HINT)
        labels = tuple(map(int, wanted.split(",")))
        if not all(label in every for label in labels):
            raise UsageError(f"there are {len(every)} classes", _HINT)
        return cls(changed, labels)

    def images(self, label: int) -> npt.NDArray[Any]:
        """Draw the first samples of a class."""
        indices = label + self.recipe.class_count * np.arange(_COLUMNS, dtype=np.int64)
        return sampler_for(self.recipe).images_at(indices)


def sheet_of(choices: Choices) -> memoryview:
    """Return what the sheet shows, as JSON: a row of pictures for each class, and the TOML."""
    recipe = choices.recipe
    rows = [[reduced(image, _SIDE) for image in choices.images(k)] for k in choices.labels]
    pictures = [[data_uri(tile) for tile in row] for row in tiles(rows, side=_SIDE, coloured=True)]
    return _json(
        rows=[
            {"label": label, "name": recipe.classes[label], "tiles": row}
            for label, row in zip(choices.labels, pictures, strict=True)
        ],
        plane=shown_plane(recipe.shape),
        toml=recipe.to_toml(),
    )


def power_of(choices: Choices) -> memoryview:
    """Return the power spectra of the first classes that are shown, as JSON."""
    charts, axes = [], len(choices.recipe.shape)
    for label in choices.labels[:_MOST_SPECTRA]:
        images = choices.images(label)
        images = images[measurable(images)]
        if len(images) > 1:
            curve = measure(choices.recipe, label, images).power
            charts.append(
                {
                    "name": choices.recipe.classes[label],
                    "svg": power_chart(curve, axes),
                    "expected": curve.theory is not None,
                }
            )
    return _json(charts=charts)


@functools.lru_cache(maxsize=64)
def difficulty_of(recipe: Recipe) -> memoryview:
    """Return how well the ideal observer tells the classes apart, as JSON."""
    found = difficulty(recipe, samples=_SIMULATED)
    if not isinstance(found, Difficulty):
        raise UsageError(
            f"recipe {recipe.name!r} draws its length-scales: there is no class to be told",
            "ask `gpgen difficulty` for the bounds of each",
        )
    return _json(
        whole=found.accuracy,
        error=found.estimate.error,
        chance=1 / recipe.class_count,
        components=[
            {"choices": each.choices, "accuracy": each.estimate and each.estimate.accuracy}
            for each in found.components
        ],
        noise=found.noise,
        converged=found.converged,
    )


def _json(**values: object) -> memoryview:
    return memoryview(json.dumps(values).encode())
