"""A recipe in the sentences that metadata need."""

from __future__ import annotations

from typing import Final

from gpgen.exact.drawn_range import DrawnRange
from gpgen.exact.texture import Component, length_scale_name
from gpgen.recipe import Recipe

__all__ = ["is_of_2018", "methods_of", "summary_of"]

_TRANSFORMED: Final = {
    "lognormal": "lognormal (the exponential of each value)",
    "uniform": "uniform (the normal distribution function of each value)",
    "threshold": "binary (1 where it is above 0, otherwise 0)",
}

_SUM_DEVIATION: Final = "the root of the sum of the squared weights"


def is_of_2018(recipe: Recipe) -> bool:
    """Return whether the 2018 generator draws it."""
    return recipe.algorithm == "golkar2018"


def summary_of(recipe: Recipe, n: int) -> str:
    """Return what a dataset of a recipe is, in two or three sentences."""
    size = " x ".join(map(str, recipe.shape))
    parts = [
        f"{_weight(component)} times a field of length-scale "
        + _scales(component)
        + " pixels"
        + "".join(
            f", {name.replace('_', ' ')} {' or '.join(f'{value:g}' for value in values)}"
            for name, values in component.offers.items()
        )
        + ("" if component.transform is None else f", made {_TRANSFORMED[component.transform]}")
        for component in recipe.components
    ]
    kind = "fields" if is_of_2018(recipe) else "Gaussian-process realizations"
    count = len(recipe.classes)
    classes = "one class" if count == 1 else f"{count} classes"
    made = f"{_choice(recipe)} from each makes a class."
    numbers = ["length-scales"] if recipe.texture.draws_length_scales else []
    numbers += ["weights"] if recipe.texture.draws_weights else []
    if numbers:
        told = f"Tables and arrays give the {' and '.join(numbers)} of each image"
        told += ", in pixels." if numbers == ["length-scales"] else "."
        made = told if count == 1 else f"{made} {told}"
    return (
        f"{n:,} synthetic textures of {size} pixels ({recipe.dtype}) in {classes}. "
        f"Each is a sum of independent {kind}: {'; '.join(parts)}. {_sum_made(recipe)}{made}"
    )


def _sum_made(recipe: Recipe) -> str:
    if recipe.transform is None:
        return ""
    made = _TRANSFORMED[recipe.transform]
    if recipe.transform == "uniform":
        made = made.replace("each value", f"each value over {_SUM_DEVIATION}")
    return f"The sum is made {made}. "


def _weight(component: Component) -> str:
    weight = component.weight
    return _range(weight) if isinstance(weight, DrawnRange) else f"{weight:g}"


def _range(numbers: DrawnRange) -> str:
    return (
        f"{length_scale_name(numbers.low)} to {length_scale_name(numbers.high)} "
        f"({numbers.draw}, drawn for each image from {numbers.steps} values)"
    )


def _scales(component: Component) -> str:
    scales = component.length_scales
    if isinstance(scales, DrawnRange):
        return _range(scales)
    return " or ".join(map(length_scale_name, scales))


def _choice(recipe: Recipe) -> str:
    differ = any(len(v) > 1 for c in recipe.components for v in c.offers.values())
    return "One choice" if differ else "One choice of a length-scale"


def methods_of(recipe: Recipe) -> str:
    """Return how its images are made, and how exactly."""
    if is_of_2018(recipe):
        return (
            "Drawn from the distribution that the program of 2018 defines: a Gaussian process on "
            "a coarse grid and a cubic spline for long length-scales, a sum of many patches at "
            "random places for short ones. Not an exact Gaussian process: the variance of the "
            "short ones fluctuates from place to place. Recipe, root seed and index determine "
            "every pixel bit for bit on any machine."
        )
    kernels = " and ".join(sorted({component.kernel for component in recipe.components}))
    edges = {"periodic": "opposite edges meet", "open": "open boundaries"}.get(
        str(recipe.boundary), f"boundaries {' and '.join(recipe.boundary)}, axis by axis"
    )
    scaled = (
        " Each field is shifted and scaled to mean 0 and standard deviation 1 over its pixels "
        "before it is weighted."
        if recipe.standardize
        else ""
    )
    transformed = (
        f" Then the values of {'the sum' if recipe.transform else 'some fields'} are transformed "
        "one by one, so that these are no longer Gaussian processes."
        if recipe.texture.is_transformed
        else ""
    )
    return (
        f"Stationary Gaussian processes ({kernels} kernel, {edges}), drawn exactly: the covariance "
        f"differs from the kernel's by at most {recipe.accuracy.covariance_error:.1e}, by "
        f"computation.{scaled}{transformed} Recipe, root seed and index determine every pixel bit "
        f"for bit on any machine. {_convention(recipe)}"
    )


def _convention(recipe: Recipe) -> str:
    if all(component.kernel == "rbf" for component in recipe.components):
        return "The length-scale l is that of exp(-r^2 / (2 l^2)), in pixels."
    return "Length-scales are in pixels, as Rasmussen and Williams (2006) define them."
