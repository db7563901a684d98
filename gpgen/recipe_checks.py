"""What a recipe must fulfil before anything is computed from it."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from gpgen.errors import RecipeError
from gpgen.exact.drawn_range import DRAWS, DrawnRange
from gpgen.exact.field_kinds import check_drawable
from gpgen.exact.marginals import MARGINALS
from gpgen.exact.offered_kernels import kernel_names
from gpgen.exact.stationary import STATIONARY
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

_MOST_CHOICES: Final = 2**12
"""Of all components; each is proved."""

_MOST_COMPONENTS: Final = 64

_MOST_STEPS: Final = 256
"""As many factors of a range are kept (`gpgen.exact.axis`)."""

_MOST_LOGNORMAL: Final = 13
"""Of float16 recipes: normal numbers reach 8.5, and 13 exp(8.5) is 63,889, below 65,504."""

_MOST_LOGNORMAL_SUM: Final = {"float32": 10.0, "float16": 1.3}
"""Of a sum made lognormal: exp(8.5 * 10) is 8e36, below 3e38, and exp(8.5 * 1.3) 63,000."""

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
    fields: Mapping[str, Any],
    where: str,
    known: Sequence[str],
    known_of_component: Sequence[str],
    known_of_range: Sequence[str],
) -> None:
    """Refuse plain values under unknown keys, and unknown values of keys that have few."""
    _refuse_unknown(fields, where, known)
    for key, allowed in _CHOICES.items():
        for value in _each(key, fields.get(key, allowed[0])):
            _check_choice(f"{where}: ", key, value, allowed)
    components = fields.get("components")
    if isinstance(components, list | tuple):
        for number, component in enumerate(components, start=1):
            if isinstance(component, Mapping):
                _refuse_unknown(component, f"{where}, component {number}", known_of_component)
                for key in ("length_scales", "weight"):
                    numbers = component.get(key)
                    if isinstance(numbers, Mapping):
                        inside = f"{where}, component {number}, {key}"
                        _refuse_unknown(numbers, inside, known_of_range)


def _each(key: str, value: object) -> Sequence[object]:
    """Return the values to be checked: of the boundary there may be one for each axis."""
    return value if key == "boundary" and isinstance(value, list | tuple) else (value,)


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
        for value in _each(key, chosen[key]):
            _check_choice("", key, value, allowed)
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
    if isinstance(texture.boundary, tuple):
        _check_boundaries(texture.boundary, len(texture.shape))
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
    choices = sum(c.choice_count * c.drawn_count for c in texture.components)
    _require(
        choices <= _MOST_CHOICES,
        f"the components make {choices} choices, each step of a range counted",
        f"use at most {_MOST_CHOICES}: fewer steps, components or numbers",
    )
    total = sum(component.all_weights[-1] for component in texture.components)
    _require(
        texture.dtype == "float32" or total <= 500,
        f"weights that sum to {total:g} overflow float16",
        'use smaller weights or dtype = "float32"',
    )
    skewed = sum(c.all_weights[-1] for c in texture.components if c.transform == "lognormal")
    _require(
        texture.dtype == "float32" or skewed <= _MOST_LOGNORMAL,
        f"lognormal components with weights that sum to {skewed:g} overflow float16",
        f'use weights of at most {_MOST_LOGNORMAL} in sum, or dtype = "float32"',
    )
    if texture.transform is not None:
        _check_transform_of_sum(texture, texture.transform, total)
    check_drawable(texture)


def _check_transform_of_sum(texture: Texture, transform: str, total: float) -> None:
    _check_choice("", "transform", transform, MARGINALS)
    _require(
        texture.algorithm == "exact",
        'algorithm "golkar2018" has no transforms',
        'leave transform out, or use algorithm = "exact"',
    )
    transformed = [c.transform for c in texture.components if c.transform is not None]
    _require(
        not transformed,
        f"the sum is made {transform}, and a component {''.join(transformed[:1])} before",
        "leave one transform out: that of the sum takes normal numbers",
    )
    one = texture.components[0]
    _require(
        MARGINALS[transform].scales or len(texture.components) > 1 or not one.draws_weight,
        f"the weight drawn of the only component means nothing: the sum is made {transform}",
        "give no weight, or transform the component instead of the sum",
    )
    most = _MOST_LOGNORMAL_SUM[texture.dtype]
    _require(
        transform != "lognormal" or total <= most,
        f"the lognormal of a sum with weights of {total:g} together overflows {texture.dtype}",
        f"use weights of at most {most:g} in sum",
    )


def _check_boundaries(boundaries: tuple[str, ...], axes: int) -> None:
    _require(
        len(boundaries) == axes,
        f"{len(boundaries)} boundaries for {axes} axes",
        "give one for all axes, or one for each",
    )
    _require(
        len(set(boundaries)) > 1,
        f"boundary {list(boundaries)} is the same for all axes",
        f'write boundary = "{boundaries[0]}"',
    )


def _kernels(name: str) -> Iterable[str]:
    """Return the kernels' names, looking for other packages' only where one is meant."""
    return STATIONARY if name in STATIONARY else kernel_names()


def _check_component(texture: Texture, component: Component, where: str) -> None:
    _check_choice(f"{where}: ", "kernel", component.kernel, _kernels(component.kernel))
    if component.transform is not None:
        _check_choice(f"{where}: ", "transform", component.transform, MARGINALS)
        _require(
            texture.algorithm == "exact",
            f'{where}: algorithm "golkar2018" has no transforms',
            'leave transform out, or use algorithm = "exact"',
        )
    if isinstance(component.weight, DrawnRange):
        write = "weight = {:g}"
        _check_range(texture, component.weight, where, ("weight", ""), write, _require_weight)
    else:
        _require_weight(component.weight, where)
    if isinstance(component.length_scales, DrawnRange):
        names, write = ("length-scale", " px"), "length_scales = [{:g}]"
        _check_range(texture, component.length_scales, where, names, write, _require_length)
    scales = component.all_length_scales
    _require(len(scales) > 0, f"{where}: no length_scales", "give at least one, in pixels")
    _require(
        component.choice_count > 0,
        f"{where}: an empty list of numbers",
        "give at least one, or leave it out",
    )
    for scale in scales:
        lengths = texture.per_axis(scale)
        _require(
            len(lengths) == len(texture.shape),
            f"{where}: {len(lengths)} length-scales for {len(texture.shape)} axes",
            "give one number, or one for each axis",
        )
        for length in lengths:
            _require_length(length, where)


def _check_range(
    texture: Texture,
    numbers: DrawnRange,
    where: str,
    names: tuple[str, str],
    write: str,
    require: Callable[[float, str], None],
) -> None:
    """Check a range: `names` are the number's and its unit's, `write` says how to give one."""
    low, high, steps = numbers.low, numbers.high, numbers.steps
    name, unit = names
    _require(
        texture.algorithm == "exact",
        f'{where}: algorithm "golkar2018" draws no {name} from a range',
        f'give the {name}, or use algorithm = "exact"',
    )
    _check_choice(f"{where}: ", "draw", numbers.draw, DRAWS)
    for end in (low, high):
        require(end, where)
    _require(
        low <= high,
        f"{where}: the range of {name}s ends at {high:g}{unit}, below its low end of {low:g}{unit}",
        f"exchange them: low = {high:g}, high = {low:g}",
    )
    _require(
        low < high,
        f"{where}: both ends of the range of {name}s are {low:g}{unit}",
        f"write {write.format(low)}, or a higher end",
    )
    _require(
        2 <= steps <= _MOST_STEPS,
        f"{where}: {steps} steps from {low:g} to {high:g}{unit} are out of range",
        f"use 2 to {_MOST_STEPS}",
    )
    values = numbers.values
    _require(
        all(a < b for a, b in itertools.pairwise(values)),
        f"{where}: {steps} steps from {low:g} to {high:g}{unit} are too close for numbers of four "
        "decimals",
        "use fewer steps, or a wider range",
    )


def _require_weight(weight: float, where: str) -> None:
    _require(
        0 < weight <= 1e6,
        f"{where}: weight {weight} is not above 0 and at most 1e6",
        "give a positive number",
    )


def _require_length(length: float, where: str) -> None:
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
