"""A recipe: everything that determines a dataset, but for its length.

A recipe is read from TOML into frozen structs, checked as a whole, and identified by the
SHA-256 of its canonical form.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.errors import RecipeError
from gpgen.exact.accuracy import Accuracy, accuracy
from gpgen.exact.texture import Component, LengthScale, Texture
from gpgen.io.object_path import ObjectPath
from gpgen.io.recognizing import recognize
from gpgen.io.user_paths import AnyText, given, text_of
from gpgen.recipe_checks import check, check_keys, check_names, nearest
from gpgen.recipe_meaning import check_grid, check_meaning
from gpgen.splits import ComputedSplit, Split, split_codes

__all__ = ["AnyRecipe", "Component", "LengthScale", "Recipe", "builtin_recipes"]

Boundary = Literal["open", "periodic"]

_PERHAPS_RECIPES = ("a recipe", "a TOML file", "a text file")


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to draw: the sizes, the components and the root seed.

    Parameters
    ----------
    name
        The recipe's name.
    shape
        Pixels of each axis; one, two or three axes, the last one contiguous in memory.
    components
        The fields to add up. One choice from each, as a rule of its length-scales, makes a class.
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

    def __post_init__(self) -> None:
        check_names(self.name, self.seed, self.splits)
        check(self.texture)
        check_meaning(self.texture)

    def __hash__(self) -> int:
        return hash(self.sha256)

    # Reading and writing

    @classmethod
    def load(cls, source: AnyRecipe) -> Recipe:
        """Load a built-in recipe by its name, or one from a TOML file or object by its path.

        A recipe is returned as it is, so that whatever takes one takes a name or path too.

        Raises
        ------
        RecipeError
            If there is none, or it can't be read, or asks for what can't be drawn exactly or
            doesn't mean what it says: equal classes, or a weight lost in rounding.
        """
        if isinstance(source, Recipe):
            return source
        if not isinstance(source, str | bytes | os.PathLike | ObjectPath):
            hint = "give a Recipe, a name or a path, or use Recipe.from_dict"
            raise RecipeError(f"{repr(source)[:60]} is no path, and no recipe", hint)
        text = text_of(source)
        if text in builtin_recipes():
            return cls.from_toml((_folder() / f"{text}.toml").read_text(encoding="utf-8"), text)
        path = ObjectPath.parse(text) if text.startswith("s3:") else given(text)
        if path.suffix != ".toml" and not path.exists():
            raise RecipeError(
                f"no built-in recipe is called {text!r}",
                nearest(text, builtin_recipes()) + ", or give the path of a .toml file",
            )
        found = recognize(path) if isinstance(path, Path) else None
        if found is not None and found.what not in _PERHAPS_RECIPES:
            raise RecipeError(
                f"recipe {text!r} can't be read: it is {found.what}",
                "give a built-in name (`gpgen recipes`) or the path of a .toml file",
            )
        try:
            toml = path.read_text(encoding="utf-8")
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
        check_keys(fields, where, cls.__struct_fields__, Component.__struct_fields__)
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
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        plain: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(fields)))
        # Numbers that a component doesn't have: recipes without them keep their hashes.
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

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical form: JSON, sorted keys, no spaces, defaults left out.

        Leaving the defaults out keeps today's hashes when recipes learn a new field. The splits
        are a list, since their order matters.
        """
        # Not msgspec's omit_defaults, which compares by identity: a string that was pickled or
        # put together is not the default's object, and the hash would change on a worker.
        defaults = {field.name: field.default for field in msgspec.structs.fields(self)}
        fields = {name: v for name, v in self.to_dict().items() if v != defaults[name]}
        fields["splits"] = list(self.splits.items())
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

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
        )

    @property
    def is_drawn(self) -> bool:
        """Whether its samples can be drawn; those of imported datasets can't."""
        return True

    @property
    def accuracy(self) -> Accuracy:
        """How exactly it is drawn, by computation."""
        return accuracy(self.texture)

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The pixels' type, little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def image_nbytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape) * self.numpy_dtype.itemsize

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label: the length-scales or other choices, joined by "-"."""
        return self.texture.class_names

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return self.texture.class_count

    def length_scales_of(self, label: int) -> tuple[LengthScale, ...]:
        """Return each component's length-scale in a class, in pixels."""
        return self.texture.length_scales_of(label)

    def label_of(self, index: int) -> int:
        """Return the label of a sample: its index modulo the number of classes."""
        return index % self.class_count

    def labels(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the labels of samples start..stop-1."""
        return np.arange(start, stop, dtype=np.int64) % self.class_count

    def length_scale_array(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Return the length-scales of samples start..stop-1, in pixels.

        Returns
        -------
        ndarray of float64
            Shape (sample, component), or (sample, component, axis) if any component has one
            length-scale an axis.
        """
        return self.length_scale_table[self.labels(start, stop)]

    @property
    def length_scale_table(self) -> npt.NDArray[np.float64]:
        """Each class's length-scales in pixels, shaped like `length_scale_array`, by label."""
        per_axis = any(isinstance(scale, tuple) for scale in self._all_length_scales())
        return np.array(
            [
                [self.per_axis(scale) if per_axis else scale for scale in self.length_scales_of(c)]
                for c in range(self.class_count)
            ],
            dtype=np.float64,
        )

    def per_axis(self, length_scale: LengthScale) -> tuple[float, ...]:
        """Return a length-scale as one number for each axis, in pixels."""
        return self.texture.per_axis(length_scale)

    def _all_length_scales(self) -> Iterator[LengthScale]:
        for component in self.components:
            yield from component.length_scales

    def split_codes(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the position in `splits` of the part that each of samples start..stop-1 is in.

        A group of one sample of each class stays together, and every prefix of the groups is
        divided as `splits` asks, to within a group for each split: the first split takes the
        groups at which its rounded share grows, the next the same of the others.
        """
        return split_codes(self.splits, self.class_count, start, stop)

    def split(self, name: str, n: int) -> Split:
        """Return which of the first n samples are in a split.

        Parameters
        ----------
        name
            A key of `splits`.
        n
            Number of samples.
        """
        return ComputedSplit.of(self.splits, name, self.class_count, n)

    def split_indices(self, name: str, n: int) -> npt.NDArray[np.int64]:
        """Return the indices of a split's samples among the first n, ascending."""
        split = self.split(name, n)
        return split.indices(np.arange(len(split), dtype=np.int64))


AnyRecipe = Recipe | AnyText
"""A recipe, the name of a built-in one, or the path of a TOML file."""


def builtin_recipes() -> tuple[str, ...]:
    """Return the names of the recipes that come with gpgen."""
    return tuple(sorted(path.stem for path in _folder().glob("*.toml")))


def _folder() -> Path:
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
