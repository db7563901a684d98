"""Structs that are built in Python hold what their annotations say."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
from msgspec.structs import fields, force_setattr

from gpgen.errors import RecipeError

__all__ = ["convert_fields"]


def convert_fields(struct: msgspec.Struct) -> None:
    """Give each field the type of its annotation: a list becomes a tuple, 3 a float.

    msgspec does that to what it reads, and takes whatever a call passes. To be called in
    ``__post_init__``.

    Raises
    ------
    RecipeError
        If a field can't have the type.
    """
    for name, kind in _kinds(type(struct)):
        try:
            value = msgspec.convert(getattr(struct, name), kind)
        except msgspec.ValidationError as error:
            if isinstance(error.__cause__, RecipeError):
                raise error.__cause__ from None
            what, _, place = str(error).partition(" - at `$")
            raise RecipeError(
                f"{name}{place.rstrip('`')}: {what[0].lower()}{what[1:]}",
                "compare it with a built-in recipe: `gpgen recipes show two-scale`",
            ) from None
        force_setattr(struct, name, value)


@cache
def _kinds(struct: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.type) for field in fields(struct))
