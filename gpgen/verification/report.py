"""What verifying found, and how it names files and samples."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from gpgen.errors import DatasetError, GpgenError
from gpgen.format.base import Problem, Reader
from gpgen.io.paths import AnyPath

__all__ = ["Report", "name_samples", "relative_name", "unusable"]

SAMPLES_NAMED: Final = 5
_PROBLEMS_NAMED: Final = 3


@dataclasses.dataclass(frozen=True)
class Report:
    """What verifying found; true where nothing is wrong, so that ``if gpgen.verify(path):`` works.

    Parameters
    ----------
    path
        The dataset.
    problems
        What is wrong, file by file; not all of it is damage.
    shards
        Shards whose every byte was read.
    samples_regenerated
        Samples drawn again and compared, pixel by pixel.
    litter
        Files that some system or tool left there, which harm nothing.
    """

    path: AnyPath
    problems: tuple[Problem, ...]
    shards: int
    samples_regenerated: int
    litter: tuple[Problem, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def is_damaged(self) -> bool:
        """Whether bytes are wrong or missing; else they may all be right where something is."""
        return any(problem.kind == "damage" for problem in self.problems)

    def __bool__(self) -> bool:
        return self.ok

    def raise_for_problems(self) -> None:
        """Do nothing where nothing is wrong.

        Raises
        ------
        DatasetError
            Naming the problems, or the first of many.
        """
        if self.ok:
            return
        named = [f"{problem.file}: {problem.what}" for problem in self.problems[:_PROBLEMS_NAMED]]
        more = len(self.problems) - len(named)
        if more:
            named.append(f"and {more} more in the report's `problems`")
        if self.is_damaged:
            hint = "make the dataset again, or copy or download it again"
        else:
            hint = "no byte is known to be damaged; see what each problem says"
        raise DatasetError(f"{self.path} fails verification: {'; '.join(named)}", hint)


def unusable(error: GpgenError, file: str) -> Problem:
    """Return what is wrong with a file that couldn't be used.

    Raises
    ------
    GpgenError
        If it is a whole store that doesn't answer.
    """
    if isinstance(error, DatasetError):
        return Problem(file, error.message)
    if not isinstance(error.__cause__, OSError):
        raise error
    return Problem(file, error.message, "unclear")


def relative_name(reader: Reader, path: AnyPath) -> str:
    """Return a file's name as verifying gives it: relative to the dataset."""
    root: Any = reader.path if reader.path in path.parents else reader.path.parents[0]
    return str(path.relative_to(root))


def name_samples(indices: list[int]) -> str:
    """Return ``samples 3, 5 and more``."""
    named = ", ".join(map(str, indices[:SAMPLES_NAMED]))
    more = " and more" if len(indices) > SAMPLES_NAMED else ""
    return f"sample{'s' if len(indices) > 1 else ''} {named}{more}"
