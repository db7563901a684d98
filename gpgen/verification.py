"""What is on disk against the manifest, against the recipe, and against drawing it again."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError, GpgenError, StorageError, UsageError
from gpgen.exact.blas import one_blas_thread
from gpgen.format import store_for
from gpgen.format.base import Kind, Place, Problem, Reader
from gpgen.format.layout import Format
from gpgen.format.manifest import NEWER, derived_arrays
from gpgen.format.pixels import file_sha256, images_not_finite, unread
from gpgen.format.replacing import check_unchanged
from gpgen.format.stream import batch_size, crc32c
from gpgen.io.failures import UNPACK, VERIFY
from gpgen.io.paths import AnyPath, Given, local_path, open_file, size_of
from gpgen.recipe import Recipe
from gpgen.sampling import SAMPLING_VERSION, sampler_for
from gpgen.workers import worker_count
from gpgen.workspace.unfinished import hdf5_form, locate

__all__ = ["Problem", "Report", "VerifyProgress", "verify"]

_BLOCK_ROWS = 2**20
_SAMPLES_NAMED = 5


@dataclasses.dataclass(frozen=True)
class VerifyProgress:
    """How far verifying is.

    Parameters
    ----------
    bytes_done, nbytes
        Bytes of shards read, and in all.
    samples_regenerated, samples_to_regenerate
        Samples drawn again, and in all.
    """

    bytes_done: int
    nbytes: int
    samples_regenerated: int
    samples_to_regenerate: int


@dataclasses.dataclass(frozen=True)
class Report:
    """What verifying found.

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


def verify(
    path: Given,
    *,
    regenerate: int | Literal["all"] | None = None,
    progress: Callable[[VerifyProgress], None] | None = None,
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
        Called now and then, from one thread at a time.

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
        imported.
    """
    if regenerate not in (None, "all") and (
        isinstance(regenerate, bool) or not isinstance(regenerate, int) or regenerate < 1
    ):
        raise UsageError(f"regenerate is {regenerate!r}", 'give a number of samples, or "all"')
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
            "leave out --regenerate",
        )
    problems += reader.problems()
    problems += _small_array_problems(reader)
    count = 0 if regenerate is None else reader.manifest.n
    if isinstance(regenerate, int):
        count = min(regenerate, count)
    named = frozenset(problem.file for problem in problems)
    run = _Run(reader, count, progress, named)
    problems += run.problems()
    litter = tuple(problem for problem in problems if problem.kind == "litter")
    found = tuple(dict.fromkeys(problem for problem in problems if problem.kind != "litter"))
    if found:
        check_unchanged(reader)
    return Report(manifest, found, run.shards_done, run.samples_done, litter)


def _find(path: Given) -> tuple[AnyPath, Format]:
    """Find a dataset, however damaged its manifest is."""
    place, form = locate(path)
    if form is not None:
        return place, form
    try:
        return place, hdf5_form(local_path(place))
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
                wrong += (start + found[: _SAMPLES_NAMED + 1]).tolist()
        except (DatasetError, StorageError) as error:
            yield _told(error, _relative(reader, reader.array_file(array.name, start)))
        if wrong:
            file = _relative(reader, reader.array_file(array.name, wrong[0]))
            yield Problem(file, f"{array.name} is not what the recipe says: {_samples(wrong)}")


def _told(error: GpgenError, file: str) -> Problem:
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


def _relative(reader: Reader, path: AnyPath) -> str:
    root: Any = reader.path if reader.path in path.parents else reader.path.parents[0]
    return str(path.relative_to(root))


def _samples(indices: list[int]) -> str:
    named = ", ".join(map(str, indices[:_SAMPLES_NAMED]))
    more = " and more" if len(indices) > _SAMPLES_NAMED else ""
    return f"sample{'s' if len(indices) > 1 else ''} {named}{more}"


class _StoppedError(Exception):
    """A shard's check ended before its time, because the whole run ends."""


class _Run:
    """Reading all shards and drawing samples again, on all cores.

    Parameters
    ----------
    reader
        The dataset.
    regenerate
        How many samples to draw again.
    progress
        Told how far it is.
    named
        Files beside the shards that are known to be damaged.
    """

    def __init__(
        self,
        reader: Reader,
        regenerate: int,
        progress: Callable[[VerifyProgress], None] | None,
        named: frozenset[str],
    ) -> None:
        self.reader = reader
        self._named = named
        self.layout = reader.manifest.layout
        self.regenerate = regenerate
        self.shards_done = 0
        self.samples_done = 0
        self._progress = progress
        self._bytes_done = 0
        self._nbytes = reader.manifest.n * reader.recipe.image_nbytes
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def problems(self) -> list[Problem]:
        """Check all shards, a few at a time."""
        found: list[Problem] = []
        waiting: deque[Future[list[Problem]]] = deque()
        workers = worker_count(None)
        with one_blas_thread(), ThreadPoolExecutor(workers) as pool:
            try:
                for shard in range(self.layout.shards):
                    waiting.append(pool.submit(self._check_shard, shard))
                    if len(waiting) > 2 * workers:
                        found += waiting.popleft().result()
                for future in waiting:
                    found += future.result()
            except BaseException:
                self._stop.set()  # a shard that was begun may take a minute more
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return found

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _StoppedError

    def _report(self, nbytes: int = 0, samples: int = 0) -> None:
        self._check_stop()
        with self._lock:
            self._bytes_done += nbytes
            self.samples_done += samples
            if self._progress is not None:
                self._progress(
                    VerifyProgress(
                        min(self._bytes_done, self._nbytes),
                        self._nbytes,
                        self.samples_done,
                        self.regenerate,
                    )
                )

    def _chosen(self, start: int, stop: int) -> range | list[int]:
        """Return which samples from ``start`` to ``stop`` are to be drawn again.

        The k-th of K over the whole dataset is sample ``(2 k + 1) n // (2 K)``.
        """
        n, total = self.layout.n, self.regenerate
        if total == n:
            return range(start, stop)
        if total == 0:
            return []
        first = max(0, start * total // n - 1)
        last = min(total, stop * total // n + 2)
        samples = [(2 * k + 1) * n // (2 * total) for k in range(first, last)]
        return [sample for sample in samples if start <= sample < stop]

    def _check_shard(self, shard: int) -> list[Problem]:
        try:
            region = self.reader.region(shard)
        except DatasetError as error:  # a zip without it
            return [Problem(self.reader.path.name, error.message)]
        name = _relative(self.reader, region.path)
        problems: list[Problem] = []
        not_finite: list[int] = []
        look = self._looking_for(shard, not_finite)
        try:
            size = size_of(region.path)
            nbytes = size if region.nbytes is None else region.nbytes
            digest, got = file_sha256(region.path, region.offset, nbytes, look)
        except FileNotFoundError:
            return [Problem(name, "missing")]
        except OSError as error:
            return [unread(name, error)]
        with self._lock:
            self.shards_done += 1
        if got < nbytes:
            return [Problem(name, f"ends early: {size} bytes of {region.offset + nbytes}")]
        if region.whole_file and size > nbytes:
            problems.append(Problem(name, f"is too long: {size} bytes instead of {nbytes}"))
        try:
            if digest == self._expected(shard):
                self.reader.place(shard)  # it may say of itself that it is another's
                if not_finite:
                    what = f"holds pixels that are not finite: {_samples(sorted(set(not_finite)))}"
                    problems.append(Problem(name, what, "pixels"))
            else:
                problems += self._damage(shard, name)
            problems += self._regenerate(shard, name)
        except (DatasetError, StorageError) as error:
            problems.append(_told(error, name))
        except OSError as error:
            problems.append(unread(name, error))
        return problems

    def _looking_for(self, shard: int, found: list[int]) -> Callable[[int, memoryview], None]:
        """Return what adds the samples with infinity or NaN to `found`, in a shard's bytes."""
        start, stop = self.layout.bounds(shard)
        itemsize = self.reader.recipe.numpy_dtype.itemsize
        try:
            place = self.reader.place(shard)
        except (DatasetError, StorageError, OSError):
            place = None  # told when the shard was read

        def look(begin: int, data: memoryview) -> None:
            self._report(nbytes=len(data))
            if place is not None:
                images = images_not_finite(place, stop - start, itemsize, begin, data)
                found.extend(start + image for image in images)

        return look

    def _expected(self, shard: int) -> str | None:
        """Return the SHA-256 that a shard should have, if it can be read."""
        try:
            return self.reader.rows("shard_sha256", shard, shard + 1).tobytes().hex()
        except DatasetError:
            return None

    def _damage(self, shard: int, name: str) -> list[Problem]:
        """Say which samples of a damaged shard are wrong."""
        start, stop = self.layout.bounds(shard)
        crcs = self.reader.rows("crc32c", start, stop)
        wrong: list[int] = []
        for first, images in _read(self.reader.place(shard), self.reader, start, stop):
            self._check_stop()
            wrong += [
                first + k
                for k, image in enumerate(images)
                if crc32c(image) != crcs[first + k - start]
            ]
        sums = _relative(self.reader, self.reader.array_file("shard_sha256", shard))
        if not wrong and sums in self._named:
            return []  # the checksum is what is damaged
        if len(wrong) == stop - start and len(wrong) > 1:
            where = f"none of its {len(wrong)} samples is right"
        else:
            where = _samples(wrong) if wrong else "outside the images"
        return [Problem(name, f"damaged: its SHA-256 is not the manifest's ({where})")]

    def _regenerate(self, shard: int, name: str) -> list[Problem]:
        start, stop = self.layout.bounds(shard)
        recipe, chosen = self.reader.recipe, self._chosen(start, stop)
        if not chosen or not isinstance(recipe, Recipe):
            return []
        wrong: list[int] = []
        place = self.reader.place(shard)
        step = batch_size(recipe)
        runs = (
            [(k, min(k + step, stop)) for k in range(start, stop, step)]
            if isinstance(chosen, range)
            else [(k, k + 1) for k in chosen]
        )
        sampler = sampler_for(recipe)
        for low, high in runs:
            drawn = sampler.images(low, high)
            for _, images in _read(place, self.reader, low, high, shard_start=start):
                differs = (drawn.view("u1") != images.view("u1")).reshape(high - low, -1)
                wrong += (low + np.flatnonzero(differs.any(axis=1))).tolist()
            self._report(samples=high - low)
        if wrong:
            what = f"not the pixels that the recipe makes: {_samples(wrong)}"
            return [Problem(name, what, "pixels")]
        return []


def _read(
    place: Place, reader: Reader, start: int, stop: int, shard_start: int | None = None
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Read images as they stand on the disk, checking nothing, a batch at a time."""
    recipe = reader.recipe
    origin = start if shard_start is None else shard_start
    step = batch_size(recipe)
    opened = open_file(place.path)
    try:
        for low in range(start, stop, step):
            high = min(low + step, stop)
            images = np.zeros((high - low, *recipe.shape), recipe.numpy_dtype)
            for k in range(low, high):
                view = memoryview(images[k - low]).cast("B")
                opened.read_at(view, place.of(k - origin))
            yield low, images
    finally:
        opened.close()
