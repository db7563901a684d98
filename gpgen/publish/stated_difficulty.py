"""A difficulty that was computed before, and is given when a dataset is packaged."""

from __future__ import annotations

import json
from dataclasses import dataclass

from gpgen.errors import Argument, UsageError
from gpgen.io.failures import reading
from gpgen.io.files import read_whole
from gpgen.io.paths import AnyPath
from gpgen.io.user_paths import AnyText, given
from gpgen.observer import DifficultySummary
from gpgen.recipe import Recipe

__all__ = ["StatedDifficulty"]


@dataclass(frozen=True)
class StatedDifficulty:
    """What ``gpgen difficulty --json`` wrote.

    Parameters
    ----------
    where
        The file.
    recipe_sha256
        Whose difficulty it is.
    summary
        Its figures.
    """

    where: str
    recipe_sha256: str
    summary: DifficultySummary

    @classmethod
    def load(cls, path: AnyText) -> StatedDifficulty:
        """Read a file.

        Raises
        ------
        UsageError
            If it isn't what ``gpgen difficulty --json`` writes.
        """
        file = given(path)
        with reading(file, "give what `gpgen difficulty DATASET --json` wrote"):
            raw = read_whole(file)
        try:
            fields = json.loads(raw)
            return cls(str(file), fields["sha256"], DifficultySummary.from_dict(fields))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise UsageError(
                f"{file} is not what `gpgen difficulty --json` writes",
                f"write it with `gpgen difficulty DATASET --json`, or leave out "
                f"{Argument.DIFFICULTY}",
            ) from error

    def of_recipe(self, recipe: Recipe, dataset: AnyPath) -> DifficultySummary:
        """Return the figures, if they are of this recipe.

        Raises
        ------
        UsageError
            If they are of another one.
        """
        if self.recipe_sha256 == recipe.sha256:
            return self.summary
        raise UsageError(
            f"{self.where} is of another recipe than {dataset}'s",
            f"write it with `gpgen difficulty {dataset} --json`",
        )
