"""The errors gpgen raises, arranged by what the caller would do about them.

Every error is one line: what was wrong and where, then what to do next. What it
quotes may come from a stranger, so that is seen to here: control characters are
written as escapes, and a message is cut where it becomes unreadable. It carries
a stable ``code`` for programs, and is still the built-in exception that a caller
who has never heard of gpgen would catch.
"""

from __future__ import annotations

import enum
import sys
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Final

__all__ = [
    "Argument",
    "ClusterError",
    "DatasetError",
    "DatasetWarning",
    "GpgenError",
    "MissingPackageError",
    "RecipeError",
    "RecipeWarning",
    "SampleIndexError",
    "StorageError",
    "TargetError",
    "UsageError",
    "printable",
    "warn_caller",
    "worded",
]


_LONGEST: Final = 1000
"""Characters of a message."""


def printable(text: str) -> str:
    """Return a text with its control characters written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


class Argument(enum.Enum):
    """An argument of the call that failed, as a hint names it.

    In an f-string it stands as ``{resume=True}``: so the hint remains data, and whoever shows it
    words its arguments (`worded`). The value is Python's wording, up to an equals sign the
    parameter's name.
    """

    CHUNK_SIZE = "chunk_size"
    DIFFICULTY = "difficulty"
    EXTEND = "extend=True"
    HOST = "host"
    N = "n"
    NEW_VERSION = "new_version_of"
    OUT = "out"
    OVERWRITE = "overwrite=True"
    PARQUET = "parquet=True"
    PICTURES = "pictures"
    PORT = "port"
    PROCESSES = "processes"
    RECIPE_ONLY = "recipe_only=True"
    REGENERATE = "regenerate"
    RESUME = "resume=True"
    REUSE = "reuse"
    SAMPLES = "samples"
    SANDBOX = "sandbox"
    SECURITY = "security"
    SERVICE = "service"
    SHARD_SIZE = "shard_size"
    TARGET = "target"
    WORKERS = "workers"

    def __str__(self) -> str:
        return f"{{{self.value}}}"

    @property
    def parameter(self) -> str:
        """The name of the parameter."""
        return self.value.partition("=")[0]


def worded(hint: str, word: Callable[[Argument], str]) -> str:
    """Return a hint with each argument that it names as `word` words it."""
    for argument in Argument:
        hint = hint.replace(str(argument), word(argument))
    return hint


def warn_caller(text: str, category: type[Warning]) -> None:
    """Warn whoever called gpgen, or backdrop, at the line of theirs that did."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)


def _is_ours(module: dict[str, Any]) -> bool:
    return str(module.get("__name__")).partition(".")[0] in ("gpgen", "backdrop")


class GpgenError(Exception):
    """Anything that gpgen refuses or fails to do.

    Parameters
    ----------
    message
        What was wrong, and where.
    hint
        What to do next, as an imperative sentence without a full stop. It names arguments by
        `Argument`; as text the error words them for Python (``resume=True``).
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, hint: str | None = None) -> None:
        if message.startswith("Caught ") and "\n" in message:
            # A DataLoader's account of an error in a worker ends with that error's own line.
            message = message.rstrip().rpartition("\n")[2].partition(": ")[2]
        message = printable(message)
        if len(message) > _LONGEST:
            message = f"{message[: _LONGEST - 100]} ... {message[-90:]}"
        hint = None if hint is None else printable(hint)
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        return f"{self.message}; {worded(self.hint, lambda argument: argument.value)}"


class UsageError(GpgenError, ValueError):
    """An argument that can't be fulfilled: correct it and call again."""

    code = "usage"


class RecipeError(UsageError):
    """A recipe that can't be read, or asks for what can't be drawn: mend the recipe."""

    code = "recipe"


class RecipeWarning(UserWarning):
    """A recipe that is made as it says, and yet seldom meant so."""


class DatasetWarning(UserWarning):
    """Damage of a dataset that another was made from all the same."""


class SampleIndexError(UsageError, IndexError):
    """An index that names no sample; an IndexError too, as sequences raise it."""


class TargetError(GpgenError, OSError):
    """A place that can't be written to (it exists, is in use, is full): choose or free it."""

    code = "target"


class DatasetError(GpgenError, ValueError):
    """A dataset that is unfinished, damaged or not gpgen's: finish, verify or remake it."""

    code = "dataset"


class ClusterError(GpgenError, RuntimeError):
    """Workers or a scheduler that don't answer or keep failing: look at the cluster."""

    code = "cluster"


class StorageError(GpgenError, RuntimeError):
    """A disk or object store that fails, doesn't answer or lets nobody in: mend that, try again."""

    code = "storage"


class MissingPackageError(GpgenError, ImportError):
    """An optional package that the request needs: install it."""

    code = "missing-package"
