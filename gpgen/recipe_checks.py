"""What a recipe must fulfil before anything is computed from it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from gpgen.errors import RecipeError
from gpgen.exact.field_kinds import check_drawable
from gpgen.exact.kernels import KERNELS
from gpgen.exact.texture import Component, Texture

__all__ = ["check", "check_keys", "check_names", "nearest"]

_CHOICES: Final = {
    "boundary": ("open", "periodic"),
    "dtype": ("float32", "float16"),
    "algorithm": ("exact", "golkar2018"),
}
"""The values of each field that has few."""

_LARGEST_IMAGE: Final = 2**28
"""Pixels."""

_LONGEST_AXIS: Final = 2**16
"""Pixels."""

_MOST_CLASSES: Final = 2**12

_MOST_COMPONENTS: Final = 64

_SHORTEST_LENGTH: Final = 0.25
"""Pixels; neighbouring pixels' correlation is 3e-4 there."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a hint that names the known word closest to a misspelt one, or all of them."""
    known = tuple(known)
    close = _closest(word, known)
    return f"did you mean {close!r}?" if close else f"use one of {', '.join(known)}"


def _closest(word: str, known: Iterable[str]) -> str | None:
    names = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), names, n=1)
    return names[close[0]] if close else None


def _require(condition: bool, message: str, hint: str) -> None:
    if not condition:
        raise RecipeError(message, hint)


def _check_choice(where: str, key: str, value: object, allowed: Iterable[str]) -> None:
    """Refuse a value that is none of the few that a key may have, and name those."""
    allowed = tuple(allowed)
    if isinstance(value, str) and value in allowed:
        return
    hint = f"use one of: {', '.join(allowed)}"
    # A float64 is no slip of the pen for a float16.
    numbers = re.findall(r"\d+", str(value))
    close = _closest(str(value), [a for a in allowed if not numbers or numbers[0] in a])
    raise RecipeError(
        f"{where}unknown {key} {repr(value)[:40]}",
        f"did you mean {close!r}? {hint}" if close else hint,
    )


def check_keys(
    fields: Mapping[str, Any], where: str, known: Sequence[str], known_of_component: Sequence[str]
) -> None:
    """Refuse plain values under unknown keys, and unknown values of keys that have few."""
    _refuse_unknown(fields, where, known)
    for key, allowed in _CHOICES.items():
        _check_choice(f"{where}: ", key, fields.get(key, allowed[0]), allowed)
    components = fields.get("components")
    if isinstance(components, list | tuple):
        for number, component in enumerate(components, start=1):
            if isinstance(component, Mapping):
                _refuse_unknown(component, f"{where}, component {number}", known_of_component)


def _refuse_unknown(fields: Mapping[str, Any], where: str, known: Sequence[str]) -> None:
    for key in fields:
        if key not in known:
            raise RecipeError(f"{where}: unknown key {key!r}", nearest(str(key), known))


def check_names(name: str, seed: int, splits: dict[str, float]) -> None:
    """Raise `RecipeError` for a name, root seed or splits that no dataset could have."""
    _require(
        name.isprintable() and 0 < len(name) <= 100,
        f"name {name[:40]!r} is empty, too long or not printable",
        "give a name of 1 to 100 printable characters",
    )
    _require(0 <= seed < 2**63, f"seed {seed} is out of range", "use 0 to 2**63 - 1")
    _check_splits(splits)


def check(texture: Texture) -> None:
    """Raise `RecipeError` for the first field whose value no texture could be drawn from."""
    chosen = {"boundary": texture.boundary, "dtype": texture.dtype, "algorithm": texture.algorithm}
    for key, allowed in _CHOICES.items():
        _check_choice("", key, chosen[key], allowed)
    _require(
        1 <= len(texture.shape) <= 3,
        f"shape {list(texture.shape)[:5]} has {len(texture.shape)} axes",
        "give one, two or three",
    )
    for n in texture.shape:
        _require(
            2 <= n <= _LONGEST_AXIS,
            f"an axis of {n} pixels is out of range",
            f"use 2 to {_LONGEST_AXIS}",
        )
    _require(
        math.prod(texture.shape) <= _LARGEST_IMAGE,
        f"an image of {math.prod(texture.shape)} pixels is too large",
        f"use at most {_LARGEST_IMAGE}",
    )
    _require(len(texture.components) > 0, "there are no components", "add a [[components]] table")
    _require(
        len(texture.components) <= _MOST_COMPONENTS,
        f"{len(texture.components)} components are too many",
        f"use at most {_MOST_COMPONENTS}",
    )
    for number, component in enumerate(texture.components, start=1):
        _check_component(texture, component, f"component {number}")
    _require(
        texture.class_count <= _MOST_CLASSES,
        f"the components make {texture.class_count} classes",
        f"use at most {_MOST_CLASSES}",
    )
    total = sum(component.weight for component in texture.components)
    _require(
        texture.dtype == "float32" or total <= 500,
        f"weights that sum to {total:g} overflow float16",
        'use smaller weights or dtype = "float32"',
    )
    check_drawable(texture)


def _check_component(texture: Texture, component: Component, where: str) -> None:
    _check_choice(f"{where}: ", "kernel", component.kernel, KERNELS)
    _require(
        0 < component.weight <= 1e6,
        f"{where}: weight {component.weight} is not above 0 and at most 1e6",
        "give a positive number",
    )
    scales = component.length_scales
    _require(len(scales) > 0, f"{where}: no length_scales", "give at least one, in pixels")
    for scale in scales:
        lengths = texture.per_axis(scale)
        _require(
            len(lengths) == len(texture.shape),
            f"{where}: {len(lengths)} length-scales for {len(texture.shape)} axes",
            "give one number, or one for each axis",
        )
        for length in lengths:
            _require(
                _SHORTEST_LENGTH <= length <= 1e9,
                f"{where}: length-scale {length} px is not between {_SHORTEST_LENGTH} and 1e9 px",
                "give a positive number of pixels",
            )


def _check_splits(splits: dict[str, float]) -> None:
    _require(0 < len(splits) <= 64, "splits are empty or too many", "give 1 to 64 of them")
    for name, fraction in splits.items():
        _require(
            name.isprintable() and 0 < len(name) <= 100 and not name.isspace() and " " not in name,
            f"split name {name[:40]!r} is empty, too long or has spaces",
            "use letters, digits, - and _",
        )
        _require(
            0 < fraction <= 1,
            f"split {name!r} has the fraction {fraction}",
            "give each split a fraction above 0 and at most 1",
        )
    total = math.fsum(splits.values())
    _require(
        abs(total - 1) < 1e-9, f"splits sum to {total:g}, not 1", "make the fractions sum to 1"
    )
