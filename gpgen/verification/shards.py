"""Reading every byte of a dataset's shards, and drawing samples again."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from gpgen.errors import DatasetError, StorageError
from gpgen.exact.blas import one_blas_thread
from gpgen.format.base import Place, Problem, Reader
from gpgen.format.pixels import file_sha256, images_not_finite, unread
from gpgen.format.stream import batch_size, crc32c
from gpgen.progress import Progress, Tell
from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for
from gpgen.verification.report import name_samples, relative_name, unusable
from gpgen.workers import worker_count

__all__ = ["ShardChecks"]


class _StoppedError(Exception):
    """A shard's check ended before its time, because the whole run ends."""


class ShardChecks:
    """Reading all shards and drawing samples again, on all cores.

    Parameters
    ----------
    reader
        The dataset.
    regenerate
        How many samples to draw again.
    tell
        Told how far it is.
    named
        Files beside the shards that are known to be damaged.
    """

    def __init__(
        self,
        reader: Reader,
        regenerate: int,
        tell: Tell,
        named: frozenset[str],
    ) -> None:
        self.reader = reader
        self._named = named
        self.layout = reader.manifest.layout
        self.regenerate = regenerate
        self.shards_done = 0
        self.samples_done = 0
        self._tell = tell
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
            if self.samples_done:
                what = Progress(self.samples_done, self.regenerate, "sample", "drawing again")
            else:
                what = Progress(min(self._bytes_done, self._nbytes), self._nbytes, "byte")
            self._tell(what)

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
        name = relative_name(self.reader, region.path)
        problems: list[Problem] = []
        not_finite: list[int] = []
        look = self._looking_for(shard, not_finite)
        try:
            size = region.path.size()
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
                    what = (
                        f"holds pixels that are not finite: {name_samples(sorted(set(not_finite)))}"
                    )
                    problems.append(Problem(name, what, "pixels"))
            else:
                problems += self._damage(shard, name)
            problems += self._regenerate(shard, name)
        except (DatasetError, StorageError) as error:
            problems.append(unusable(error, name))
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
        sums = relative_name(self.reader, self.reader.array_file("shard_sha256", shard))
        if not wrong and sums in self._named:
            return []  # the checksum is what is damaged
        if len(wrong) == stop - start and len(wrong) > 1:
            where = f"none of its {len(wrong)} samples is right"
        else:
            where = name_samples(wrong) if wrong else "outside the images"
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
            what = f"not the pixels that the recipe makes: {name_samples(wrong)}"
            return [Problem(name, what, "pixels")]
        return []


def _read(
    place: Place, reader: Reader, start: int, stop: int, shard_start: int | None = None
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Read images as they stand on the disk, checking nothing, a batch at a time."""
    recipe = reader.recipe
    origin = start if shard_start is None else shard_start
    step = batch_size(recipe)
    opened = place.path.opened()
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
