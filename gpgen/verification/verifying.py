"""What is on disk against the manifest, against the recipe, and against drawing it again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np

from gpgen.errors import Argument, DatasetError, StorageError, UsageError
from gpgen.exact.offered_roots import offered_names, roots_sha256
from gpgen.format import store_for
from gpgen.format.base import Kind, Problem, Reader
from gpgen.format.layout import Format
from gpgen.format.manifest import NEWER, derived_arrays
from gpgen.format.replacing import check_unchanged
from gpgen.io.failures import UNPACK, VERIFY
from gpgen.io.paths import AnyPath, Given
from gpgen.progress import Follow, following
from gpgen.recipe import Recipe
from gpgen.sampling import SAMPLING_VERSION
from gpgen.verification.report import SAMPLES_NAMED, Report, name_samples, relative_name, unusable
from gpgen.verification.shards import ShardChecks
from gpgen.whole_numbers import whole_number
from gpgen.workspace.unfinished import hdf5_form, locate

__all__ = ["verify"]

_BLOCK_ROWS = 2**20
_REGENERATE = 'give a number of samples, or "all"'


def verify(
    path: Given,
    *,
    regenerate: int | Literal["all"] | None = None,
    progress: Follow = None,
) -> Report:
    """Check every byte of a dataset.

    Parameters
    ----------
    path
        As for `gpgen.open_dataset`.
    regenerate
        Draw this many samples again, spread evenly over the dataset, or ``"all"``, and
        compare them pixel by pixel.
    progress
        ``True`` draws a bar; a function is called now and then with a `gpgen.Progress`, from one
        thread at a time: of bytes read, and of samples once the first is drawn again.

    Returns
    -------
    Report
        Names each file that is damaged, missing or foreign, and the samples where known; and
        samples that hold infinity or NaN.

    Raises
    ------
    DatasetError
        If there is no finished dataset at all, or another comes in its place meanwhile.
    StorageError
        If an object store doesn't answer, or the manifest can't be read.
    UsageError
        If `regenerate` is neither a number of samples nor ``"all"``, or the dataset was
        imported, or drawn with another version of a kernel of another package.
    """
    if regenerate is not None and not isinstance(regenerate, str):
        regenerate = whole_number("regenerate", regenerate, 1, _REGENERATE)
    elif regenerate not in (None, "all"):
        raise UsageError(f"regenerate is {regenerate!r}", _REGENERATE)
    manifest, form = _find(path)
    store = store_for(form)
    problems = list(store.check_first(manifest))
    try:
        reader = store.reader(manifest)
    except DatasetError as error:
        if error.hint not in (VERIFY, UNPACK, NEWER):  # it is something else
            raise
        zipped = manifest.suffix == ".zip"
        name = "zarr.json" if form == "zarr" and not zipped else manifest.name
        kind: Kind = "unclear" if error.hint == NEWER else "damage"
        problems = problems or [Problem(name, error.message, kind)]
        return Report(manifest, tuple(problems), 0, 0)
    if regenerate is not None and not isinstance(reader.recipe, Recipe):
        raise UsageError(
            f"{manifest} was imported, so nothing can draw its samples again",
            f"leave out {Argument.REGENERATE}",
        )
    if regenerate is not None and isinstance(reader.recipe, Recipe):
        _check_kernels(reader, reader.recipe)
    problems += reader.problems()
    problems += _small_array_problems(reader)
    count = 0 if regenerate is None else reader.manifest.n
    if isinstance(regenerate, int):
        count = min(regenerate, count)
    named = frozenset(problem.file for problem in problems)
    with following(progress) as tell:
        run = ShardChecks(reader, count, tell, named)
        problems += run.problems()
    litter = tuple(problem for problem in problems if problem.kind == "litter")
    found = tuple(dict.fromkeys(problem for problem in problems if problem.kind != "litter"))
    if found:
        check_unchanged(reader)
    return Report(manifest, found, run.shards_done, run.samples_done, litter)


def _check_kernels(reader: Reader, recipe: Recipe) -> None:
    """Refuse to compare with what another version of another package's kernel draws."""
    roots = reader.manifest.roots
    if roots is not None and roots != roots_sha256(recipe.texture):
        raise UsageError(
            f"{reader.path} was drawn with another version of the kernel "
            f"{' or '.join(offered_names(recipe.texture))} than is installed here",
            f"install the version that drew it, or leave out {Argument.REGENERATE}",
        )


def _find(path: Given) -> tuple[AnyPath, Format]:
    """Find a dataset, however damaged its manifest is."""
    place, form = locate(path)
    if form is not None:
        return place, form
    try:
        return place, hdf5_form(place.on_disk())
    except DatasetError as error:
        if error.__cause__ is None:  # HDF5 can read it, and it is something else
            raise
        return place, "hdf5"


def _small_array_problems(reader: Reader) -> Iterator[Problem]:
    """Compare labels, length-scales, seeds and splits with what the recipe says."""
    n = reader.manifest.n
    if reader.manifest.sampling_version != SAMPLING_VERSION:
        return
    for array in derived_arrays(reader.recipe, n):
        wrong: list[int] = []
        start = 0
        try:
            for start in range(0, n, _BLOCK_ROWS):
                stop = min(start + _BLOCK_ROWS, n)
                differs = reader.rows(array.name, start, stop) != array.rows(start, stop)
                found = np.flatnonzero(differs.reshape(stop - start, -1).any(axis=1))
                wrong += (start + found[: SAMPLES_NAMED + 1]).tolist()
        except (DatasetError, StorageError) as error:
            yield unusable(error, relative_name(reader, reader.array_file(array.name, start)))
        if wrong:
            file = relative_name(reader, reader.array_file(array.name, wrong[0]))
            yield Problem(file, f"{array.name} is not what the recipe says: {name_samples(wrong)}")
