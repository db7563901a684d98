"""A recipe: everything that determines a dataset, but for its length.

A recipe is read from TOML into frozen structs, checked as a whole, and identified by the
SHA-256 of its canonical form.
"""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.exact.accuracy import Accuracy, accuracy
from gpgen.exact.drawn_range import DrawnRange
from gpgen.exact.field_types import convert_fields
from gpgen.exact.texture import Component, LengthScale, Texture
from gpgen.io.object_path import ObjectPath
from gpgen.io.recognizing import recognize
from gpgen.io.user_paths import AnyText, given, text_of
from gpgen.labelled_images import LabelledImages, samples_from
from gpgen.recipe_checks import check, check_keys, check_names, nearest
from gpgen.recipe_meaning import check_grid, check_meaning
from gpgen.sample_seeds import seeds_at
from gpgen.whole_numbers import number_below

__all__ = ["AnyRecipe", "Component", "LengthScale", "Recipe", "builtin_folder", "builtin_recipes"]

Boundary = Literal["open", "periodic"]

_PERHAPS_RECIPES = ("a recipe", "a TOML file", "a text file")


class Recipe(
    msgspec.Struct, LabelledImages, frozen=True, forbid_unknown_fields=True, omit_defaults=True
):
    """What to draw: the sizes, the components and the root seed.

    Parameters
    ----------
    name
        The recipe's name.
    shape
        Pixels of each axis; one, two or three axes, the last one contiguous in memory.
    components
        The fields to add up. One choice from each, as a rule of its length-scales, makes a class.
        A range of length-scales makes none: each sample draws its own.
    boundary
        "open", or "periodic" for textures whose opposite edges meet; one of them for each axis
        if they differ.
    standardize
        Whether each field is shifted and scaled to mean 0 and standard deviation 1 over its
        pixels before it is weighted.
    dtype
        The pixels' type.
    seed
        The root seed, from which each sample's own seed is derived.
    algorithm
        "exact", or "golkar2018" for the distribution of the 2018 archive (`gpgen.golkar2018`).
    splits
        Names and fractions of the parts of the dataset. Classes are balanced in each.
    transform
        What each value of the sum becomes, as `Component.transform`; the components then have none.

    Raises
    ------
    RecipeError
        If no dataset could be made from it.
    """

    name: str
    shape: tuple[int, ...]
    components: tuple[Component, ...]
    boundary: Boundary | tuple[Boundary, ...] = "open"
    standardize: bool = True
    dtype: Literal["float32", "float16"] = "float32"
    seed: int = 0
    algorithm: Literal["exact", "golkar2018"] = "exact"
    splits: dict[str, float] = msgspec.field(
        default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1}
    )
    transform: str | None = None

    def __post_init__(self) -> None:
        convert_fields(self)
        check_names(self.name, self.seed, self.splits)
        check(self.texture)
        check_meaning(self.texture)

    def __hash__(self) -> int:
        return hash(self.sha256)

    # Reading and writing

    @classmethod
    def load(cls, source: AnyRecipe) -> Recipe:
        """Load a built-in recipe by its name, or one from a TOML file or object by its path.

        A dict is read by `from_dict`, and a recipe is returned as it is, so that whatever takes a
        recipe takes any of these.

        Raises
        ------
        RecipeError
            If there is none, or it can't be read, or asks for what can't be drawn exactly or
            doesn't mean what it says: equal classes, or a weight lost in rounding.
        """
        if isinstance(source, Recipe):
            return source
        if isinstance(source, Mapping):
            return cls.from_dict(source)
        if not isinstance(source, str | bytes | os.PathLike | ObjectPath):
            hint = "give a Recipe, a name, a path or a dict of its fields"
            raise RecipeError(f"{repr(source)[:60]} is no path, and no recipe", hint)
        text = text_of(source)
        if text in builtin_recipes():
            return cls.from_toml(
                (builtin_folder() / f"{text}.toml").read_text(encoding="utf-8"), text
            )
        path = ObjectPath.parse(text) if text.startswith("s3:") else given(text)
        if path.suffix != ".toml" and not path.exists():
            raise RecipeError(
                f"no built-in recipe is called {text!r}",
                nearest(text, builtin_recipes()) + ", or give the path of a .toml file",
            )
        found = None if path.is_remote else recognize(path)
        if found is not None and found.what not in _PERHAPS_RECIPES:
            raise RecipeError(
                f"recipe {text!r} can't be read: it is {found.what}",
                "give a built-in name (`gpgen recipes`) or the path of a .toml file",
            )
        try:
            toml = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it isn't UTF-8 text"
            raise RecipeError(
                f"recipe {text!r} can't be read: {reason}",
                "give a built-in name (`gpgen recipes`) or the path of a .toml file",
            ) from error
        return cls.from_toml(toml, text)

    @classmethod
    def from_toml(cls, text: str, where: str = "recipe") -> Recipe:
        """Read a recipe from TOML; `where` names the source in errors."""
        try:
            fields = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise RecipeError(f"{where}: not valid TOML: {error}", "correct the file") from error
        return cls.from_dict(fields, where)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Read a recipe from plain values, as `to_dict` gives them."""
        check_keys(
            fields,
            where,
            cls.__struct_fields__,
            Component.__struct_fields__,
            DrawnRange.__struct_fields__,
        )
        try:
            recipe = msgspec.convert(dict(fields), cls)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, RecipeError):
                cause = error.__cause__
                raise type(cause)(f"{where}: {cause.message}", cause.hint) from None
            raise RecipeError(
                f"{where}: {str(error)[0].lower()}{str(error)[1:]}",
                "compare it with a built-in recipe: `gpgen recipes show two-scale`",
            ) from None
        try:
            check_grid(recipe.texture, recipe.accuracy.grid)
        except RecipeError as error:
            raise type(error)(f"{where}: {error.message}", error.hint) from None
        return recipe

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values that JSON can hold."""
        plain = LabelledImages.to_dict(self)
        # What a recipe or a component doesn't have: recipes without it keep their hashes.
        if self.transform is None:
            del plain["transform"]
        plain["components"] = [
            {name: value for name, value in component.items() if value is not None}
            for component in plain["components"]
        ]
        return plain

    def to_toml(self) -> str:
        """Return the recipe as TOML, every field written out."""
        fields = self.to_dict()
        components = fields.pop("components")
        lines = [f"{key} = {_toml(value)}" for key, value in fields.items()]
        for component in components:
            lines += ["", "[[components]]"]
            lines += [f"{key} = {_toml(value)}" for key, value in component.items()]
        return "\n".join(lines) + "\n"

    def replace(self, **changes: Any) -> Recipe:  # noqa: ANN401
        """Return a recipe with some fields changed, checked like any other."""
        return self.from_dict({**self.to_dict(), **changes}, self.name)

    # What it describes

    @property
    def texture(self) -> Texture:
        """What determines the distribution of each class: all but names, seed and splits."""
        return Texture(
            self.shape,
            self.components,
            self.boundary,
            self.standardize,
            self.dtype,
            self.algorithm,
            self.transform,
        )

    @property
    def accuracy(self) -> Accuracy:
        """How exactly it is drawn, by computation."""
        return accuracy(self.texture)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label: the length-scales or other choices, joined by "-"."""
        return self.texture.classes

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return self.texture.class_count

    def length_scales_of(self, label: int, seed: int | None = None) -> tuple[LengthScale, ...]:
        """Return each component's length-scale in pixels.

        Parameters
        ----------
        label
            The class.
        seed
            The sample's seed, from which length-scales are drawn. Without it they are NaN.

        Raises
        ------
        UsageError
            If there is no such class, or no such seed.
        """
        label = number_below("label", label, self.class_count)
        positions: list[int] | None = None
        if seed is not None:
            seed = number_below("seed", seed, 2**64)
            positions = self.texture.drawn(np.array([seed], dtype=np.uint64))[0].tolist()
        scales: list[LengthScale] = []
        for number, alternatives in enumerate(self.texture.chosen(label)):
            if len(alternatives) > 1 and positions is None:
                scales.append(math.nan)
            else:
                k = positions[number] if positions is not None else 0
                scales.append(alternatives[k].length_scale)
        return tuple(scales)

    def fill_drawn(
        self, length_scales: npt.NDArray[np.float64], indices: npt.NDArray[np.int64]
    ) -> None:
        """Write those length-scales that samples have of their own (`LabelledImages`)."""
        if not self.texture.draws_length_scales:
            return
        positions = self.texture.drawn(seeds_at(self.seed, indices))
        for number, component in enumerate(self.components):
            if component.drawn_count > 1:
                values = np.array(component.all_length_scales)[positions[:, number]]
                length_scales[:, number] = values.reshape(-1, *(1,) * (length_scales.ndim - 2))

    def weights_of(self, seed: int) -> tuple[float, ...]:
        """Return each component's weight in the sample of a seed, 0 to 2**64 - 1."""
        seed = number_below("seed", seed, 2**64)
        return tuple(self.texture.weights(np.array([seed], dtype=np.uint64))[0].tolist())

    def weights_at(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Return each component's weight in some samples: float64, shape (sample, component)."""
        return self.texture.weights(seeds_at(self.seed, indices))

    def weight_array(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Return the weights of samples start..stop-1: float64, shape (sample, component)."""
        return self.weights_at(samples_from(start, stop))


AnyRecipe = Recipe | AnyText | Mapping[str, Any]
"""A recipe, the name of a built-in one, the path of a TOML file, or a dict of the fields."""


def builtin_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with gpgen."""
    return tuple(sorted(path.stem for path in builtin_folder().glob("*.toml")))


def builtin_folder() -> Path:
    """Return the recipes' folder: inside an installed package, beside one in a checkout."""
    package = Path(__file__).parent
    installed = package / "datasets"
    return installed if installed.is_dir() else package.parent / "datasets"


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml_key(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)  # strings, numbers and booleans are written alike in both


def _toml_key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "_").isidentifier()
    return key if bare else json.dumps(key)
