"""Parquet files beside a deposit's dataset, which the Hugging Face Hub's viewer shows."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from gpgen.errors import Argument, UsageError
from gpgen.making.converting import convert
from gpgen.progress import Progress
from gpgen.publish.deposit import hash_file
from gpgen.publish.part_writer import Part

__all__ = ["check_split_names", "viewer_configs", "write_parquet"]

PARQUET: Final = ".parquet"

_NAME: Final = re.compile(r"(.+)-\d{5,}\.parquet")
_SPLIT: Final = re.compile(r"(?!all$)\w+(\.\w+)*")


def check_split_names(names: Sequence[str]) -> None:
    """Refuse names of splits that the Hub doesn't take.

    Raises
    ------
    UsageError
        If there are any.
    """
    for name in names:
        if not _SPLIT.fullmatch(name):
            raise UsageError(
                f"the Hub takes no split called {name!r}",
                f"leave out {Argument.PARQUET}, or make the dataset with splits whose names have "
                "letters, digits, _ and dots, and none that is called all",
            )


def write_parquet(
    dataset: Path, splits: Sequence[str], folder: Path, written: Callable[[int], None]
) -> list[tuple[Part, str]]:
    """Write a dataset's samples; return each file and what it is.

    Parameters
    ----------
    dataset
        It.
    splits
        Its splits' names.
    folder
        Where the files go.
    written
        Is called with how many samples more are written.
    """
    done = 0

    def told(progress: Progress) -> None:
        nonlocal done
        written(progress.done - done)
        done = progress.done

    convert(dataset, folder / f"{{split}}-{{shard:05d}}{PARQUET}", progress=told)
    found = []
    for name in splits:
        paths = sorted(folder.glob(f"{name}-*{PARQUET}"))
        what = f"Samples of the split {name}, as Parquet"
        found += [(Part(path.name, *hash_file(path)), what) for path in paths]
    return found


def viewer_configs(names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the ``configs`` of a card's head: the tables that the Hub shows.

    Parameters
    ----------
    names
        The deposit's files. Parquet files stand in place of the table: `datasets` reads all that a
        card names in one format.
    """
    splits = dict.fromkeys(match[1] for name in names if (match := _NAME.fullmatch(name)))
    if not splits:
        return [{"config_name": "samples", "data_files": "samples.csv"}]
    files = [{"split": name, "path": f"{name}-*{PARQUET}"} for name in splits]
    return [{"config_name": "default", "data_files": files}]
