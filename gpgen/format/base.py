"""What a format must be able to do, and what reading one needs to know."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, Protocol

from numpy.typing import NDArray

from gpgen.errors import DatasetError, printable
from gpgen.format.job import FinishedShards, Job, ShardRecord
from gpgen.format.manifest import Manifest
from gpgen.io.paths import AnyPath, Mark
from gpgen.labelled_images import LabelledImages

__all__ = ["Kind", "Place", "Problem", "Reader", "Region", "Store"]


Kind = Literal["damage", "unclear", "litter", "pixels"]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a shard's images lie: uncompressed, one after the other.

    Parameters
    ----------
    path
        The file.
    offset
        Byte at which the shard's first image begins.
    image_nbytes
        Bytes of an image.
    chunk_size
        Images between two checksums of the file format, or ``None`` if there are none.
    gap
        Bytes of such a checksum.
    """

    path: AnyPath
    offset: int
    image_nbytes: int
    chunk_size: int | None = None
    gap: int = 0

    def of(self, position: int) -> int:
        """Return the byte at which the shard's image number ``position`` begins."""
        gaps = position // self.chunk_size * self.gap if self.chunk_size else 0
        return self.offset + position * self.image_nbytes + gaps


@dataclasses.dataclass(frozen=True)
class Region:
    """What a shard's SHA-256 is taken of: a whole file, or a range of one.

    Parameters
    ----------
    path
        The file.
    offset, nbytes
        The range; ``nbytes`` is ``None`` if only the hash knows how long the file is.
    whole_file
        Whether the file holds nothing else.
    """

    path: AnyPath
    offset: int
    nbytes: int | None
    whole_file: bool


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something wrong with a dataset.

    Parameters
    ----------
    file
        The file, relative to the dataset.
    what
        What is wrong with it.
    kind
        "damage": bytes of the dataset are wrong or missing. "pixels": they are as written, and
        stand for infinity or NaN, or for pixels that the recipe doesn't make. "unclear": a file
        that can't be read or is of a newer version, or one that looks like a part and is none.
        "litter": a file that some system left there, which harms nothing.
    """

    file: str
    what: str
    kind: Kind = "damage"

    def __post_init__(self) -> None:
        # Names and texts of a stranger's, to be shown in a terminal.
        object.__setattr__(self, "file", printable(self.file))
        object.__setattr__(self, "what", printable(self.what))


class Reader(Protocol):
    """A finished dataset, read. Holds no open file, so that it pickles and forks.

    Attributes
    ----------
    manifest
        What the dataset says about itself, checked.
    recipe
        The recipe in the manifest, or what was imported.
    mark
        `AnyPath.mark` of `root` when the manifest was read, by which a dataset that has come in
        this one's place is noticed.
    """

    manifest: Manifest
    recipe: LabelledImages
    mark: Mark | None

    @property
    def root(self) -> AnyPath:
        """The file that holds the manifest."""
        ...

    @property
    def path(self) -> AnyPath:
        """The dataset: a folder, a file, or what the names of objects begin with."""
        ...

    def place(self, shard: int) -> Place:
        """Return where a shard's images lie.

        Parameters
        ----------
        shard
            Its number, from 0 to ``manifest.layout.shards - 1``.

        Raises
        ------
        DatasetError
            If its file is missing, too short or another's, where that is cheap to see.
        StorageError
            If the system can't read it.
        """
        ...

    def region(self, shard: int) -> Region:
        """Return the bytes of which a shard's SHA-256 is taken."""
        ...

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows of a small array as they stand on the disk, unchecked.

        Parameters
        ----------
        name
            "label", "length_scale", "weight", "seed", "split", "crc32c" or "shard_sha256".
        start, stop
            The first row, and the one after the last.

        Returns
        -------
        ndarray, shape (stop - start, ...)
            Of the array's own type; see docs/format.md.

        Raises
        ------
        DatasetError, StorageError
            If they can't be read.
        """
        ...

    def array_file(self, name: str, row: int) -> AnyPath:
        """Return the file to be named when a row of a small array is wrong."""
        ...

    def problems(self) -> Iterator[Problem]:
        """Check every byte outside the images: sizes, hashes, missing and foreign files."""
        ...


class Store(Protocol):
    """A format where it is written: how a job's shards become a dataset, and who reads it.

    The driver calls `begin`, then workers `write_shard`, for several shards at once and in any
    order, then the driver `commit`. A run may be killed between any two effects on the file
    system; what the next one finds, it learns from `has_shard`, `committing` and `committed`.
    Formats inherit what they don't do otherwise.

    Attributes
    ----------
    resumable
        Whether a run that was broken off goes on where it stopped. Otherwise it begins again,
        unless it was broken off within `commit`, which is completed.
    """

    resumable: ClassVar[bool] = True

    def nbytes(self, job: Job) -> int:
        """Return the exact bytes that the finished dataset takes."""
        ...

    def begin(self, job: Job) -> None:
        """Prepare the job's data folder, before any shard; by default nothing.

        Raises
        ------
        UsageError
            If the job can't be stored there.
        """
        return

    def has_shard(self, job: Job, record: ShardRecord) -> bool:
        """Return whether a shard that the journal lists is still there."""
        ...

    def write_shard(self, job: Job, shard: int, check: Callable[[], None]) -> ShardRecord:
        """Make a shard and put it safely on the disk; runs on a worker.

        Parameters
        ----------
        job, shard
            What to make.
        check
            Called now and then; what it raises ends the writing.

        Raises
        ------
        OSError
            If it can't be written; nothing half-written is left under a final name.
        """
        ...

    def copy_shard(
        self, job: Job, shard: int, source: Reader, check: Callable[[], None]
    ) -> ShardRecord | None:
        """Take a shard over from a finished dataset, byte for byte, safely on the disk.

        By default `None`: the format's shards are no files, or name the dataset's other samples.

        Parameters
        ----------
        job, shard
            What to make.
        source
            A dataset of the same format and recipe, whose shard of that number has the same
            samples.
        check
            As for `write_shard`.

        Returns
        -------
        ShardRecord or None
            ``None`` if it can't be taken over as it is.

        Raises
        ------
        DatasetError
            If the source's shard is missing or damaged.
        StorageError
            If the source can't be read.
        OSError
            If it can't be written.
        """
        return None

    def commit(self, job: Job, finished: FinishedShards) -> None:
        """Complete the dataset and give it its final name.

        A commit that was cut off is called again, unless it is `committed`.

        Raises
        ------
        TargetError
            If a shard was removed meanwhile, or the system refuses the name.
        """
        ...

    def committed(self, job: Job) -> bool:
        """Return whether a commit was cut off after the dataset had its final name."""
        ...

    def committing(self, job: Job) -> bool:
        """Return whether a commit was cut off between the old dataset's end and the new one's name.

        Then the job's is the only one that is whole. By default there is no such time.
        """
        return False

    def remove_unlisted(self, job: Job, finished: FinishedShards) -> None:
        """Remove finished shards that are not in the journal, since they are made again.

        By default nothing: they are overwritten.
        """
        return

    def occupied(self, job: Job) -> AnyPath | None:
        """Return what stands where the dataset shall go, if anything does."""
        ...

    def reader(self, path: AnyPath) -> Reader:
        """Open a finished dataset by its manifest's path.

        Raises
        ------
        DatasetError, StorageError
            If there is none, it is damaged, or it can't be read.
        """
        ...

    def check_first(self, path: AnyPath) -> Iterator[Problem]:
        """Check what a library must not be trusted with; by default nothing, as for JSON."""
        return iter(())

    def holds(self, job: Job) -> bool:
        """Return whether the finished dataset at the job's target is the one it makes."""
        try:
            return job.is_described_by(self.reader(job.target.manifest).manifest)
        except DatasetError:
            return False
