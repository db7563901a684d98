"""What is wrong with a dataset whose statistics aren't its recipe's, by name."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Texture, length_scale_name
from gpgen.observer.audited import Comparison, Finding
from gpgen.observer.component_spectra import scaled_choice
from gpgen.observer.fitting import ClassFit

__all__ = ["looks_like", "name_comparisons", "name_components", "name_labels"]

Array = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_ERRORS: Final = 4.0
"""Standard errors beyond which a fitted number is another one."""

_FURTHEST_STEP: Final = 0.3
_LEFT_OUT: Final = math.log(0.1)
_MOST_LISTED: Final = 3
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")


def name_labels(texture: Texture, looks: dict[int, int]) -> Iterator[Finding]:
    """Yield classes whose images are those of another one (`looks_like`)."""
    names = texture.classes
    for a, b in sorted(looks.items()):
        if looks.get(b) != a:
            yield Finding("labels", f"class {names[a]}: its images are like those of {names[b]}")
        elif a < b:
            yield Finding("labels", f"classes {names[a]} and {names[b]} are exchanged")


def name_components(texture: Texture, fits: dict[int, ClassFit]) -> Iterator[Finding]:
    """Yield length-scales and variances that aren't the recipe's, and components left out.

    Parameters
    ----------
    texture
        The recipe's components.
    fits
        Of each class in question, how its images differ from those drawn for comparison.
    """
    for label in [label for label, fit in fits.items() if _is_far(texture, fit)]:
        of = f"class {texture.classes[label]}" if texture.class_count > 1 else "all"
        text = f"{of}: images don't have the length-scales that they are said to have"
        yield Finding("length-scale", text)
        fits = {k: fit for k, fit in fits.items() if k != label}
    for number in range(len(texture.components) if fits else 0):
        yield from _of_component(texture, number, fits)


def looks_like(confusion: Counts, drawn: Counts) -> dict[int, int]:
    """Return classes whose images are those of another one, which is among them, too."""
    found = {}
    for label, (seen, expected) in enumerate(zip(confusion, drawn, strict=True)):
        total = int(seen.sum())
        other = int(seen.argmax())
        usual = expected[other] / max(1, expected.sum())
        share = seen[other] / max(1, total)
        # By three standard errors more than is usual, and by half of all.
        if other != label and share > 0.5 and share > usual + 1.5 / math.sqrt(total):
            found[label] = other
    # Where nobody has taken its place, a class isn't exchanged: it has other length-scales.
    while strays := {a for a in found if a not in found.values() or found[a] not in found}:
        found = {a: b for a, b in found.items() if a not in strays}
    return found


def _is_far(texture: Texture, fit: ClassFit) -> bool:
    """Return whether one step of maximum likelihood leads too far to be true (`Scores.fit`)."""
    return any(
        component.drawn_count > 1 and abs(change) > _FURTHEST_STEP
        for component, change in zip(texture.components, fit.scales, strict=True)
    )


def _of_component(texture: Texture, number: int, fits: dict[int, ClassFit]) -> Iterator[Finding]:
    component, ordinal = texture.components[number], _ORDINALS[number]
    gone = [label for label, fit in fits.items() if fit.variances[number] < _LEFT_OUT]
    if gone and len(gone) == len(fits):
        yield Finding("component", f"component {number + 1} is left out")
    else:
        for label in gone:
            name = texture.classes[label]
            yield Finding("component", f"class {name}: its {ordinal} component is left out")
    left = {label: fit for label, fit in fits.items() if label not in gone}
    for choice in range(component.choice_count):
        members = [k for k in left if texture.choices_of(k)[number] == choice]
        scales = {k: (left[k].scales[number], left[k].scale_errors[number]) for k in members}
        is_said = False
        for labels, change, error in _changes(scales):
            of = _where(texture, labels, members, number)
            if texture.components[number].drawn_count > 1:
                text = f"{of} has length-scales about {math.exp(change):.3g} times those that its "
                text += "images are said to have"
            else:
                now, says = _pixels(texture, labels[0], number, change)
                if now == says:
                    continue
                text = f"{of} has {now} px (to {100 * error:.2g} %), not {says}"
            is_said = True
            yield Finding("length-scale", text)
        if is_said:
            continue
        variances = {
            k: (left[k].variances[number], left[k].variance_errors[number]) for k in members
        }
        for labels, change, _ in _changes(variances):
            of = _where(texture, labels, members, number)
            times = f"{math.exp(change):.3g} times the variance that the recipe says"
            yield Finding("component", f"{of} has {times}")


def _changes(found: dict[int, tuple[float, float]]) -> Iterator[tuple[list[int], float, float]]:
    """Yield classes whose number is another: all together if they agree, else one by one.

    With its change and the standard error of that.
    """
    known = {label: each for label, each in found.items() if math.isfinite(each[1]) and each[1] > 0}
    if not known:
        return
    values, errors = np.array(list(known.values())).T
    weights = 1 / errors**2
    mean = float(weights @ values / weights.sum())
    agree = bool((np.abs(values - mean) < _ERRORS * errors).all())
    if agree:
        error = 1 / math.sqrt(weights.sum())
        if abs(mean) > _ERRORS * error:
            yield list(known), mean, error
        return
    for label, (value, error) in known.items():
        if abs(value) > _ERRORS * error:
            yield [label], value, error


def _where(texture: Texture, labels: list[int], members: list[int], number: int) -> str:
    if len(labels) == len(members) and len(labels) > 1:
        choice = texture.choices_of(labels[0])[number]
        component = texture.components[number]
        name = component.name_of(component.choices[choice])
        return f"component {number + 1}, in all classes with {name} px,"
    if texture.class_count == 1:
        return f"component {number + 1}"
    names = " and ".join(texture.classes[label] for label in labels)
    return f"class {names}: its {_ORDINALS[number]} component"


def _pixels(texture: Texture, label: int, number: int, change: float) -> tuple[str, str]:
    (choice,) = texture.chosen(label)[number]
    scaled = scaled_choice(choice, math.exp(change)).length_scale
    rounded = (
        tuple(float(f"{each:.3g}") for each in scaled)
        if isinstance(scaled, tuple)
        else float(f"{scaled:.3g}")
    )
    return length_scale_name(rounded), length_scale_name(choice.length_scale)


def name_comparisons(significant: list[Comparison]) -> Iterator[Finding]:
    """Yield tests that failed where nothing else has a name for it: the clearest three."""
    by_what = itertools.groupby(sorted(significant, key=lambda c: c.what), key=lambda c: c.what)
    clearest = sorted(
        (min(group, key=lambda c: (c.p, c.of != "all classes")) for _, group in by_what),
        key=lambda c: c.p,
    )
    for each in clearest[:_MOST_LISTED]:
        text = f"{each.of}: {each.what} isn't the recipe's (p = {each.p:.2g})"
        yield Finding("statistics", text)
