"""A dataset to be made: what, where and how it is cut; the same on the driver and on workers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any, Protocol

from numpy.typing import NDArray

from gpgen._version import __version__
from gpgen.format.layout import Layout, Target
from gpgen.format.manifest import FORMAT_VERSION, Manifest, SmallArray, canonical_json, seal
from gpgen.io.paths import AnyPath
from gpgen.labelled_images import LabelledImages
from gpgen.sampling import SAMPLING_VERSION

__all__ = ["SEAL", "FinishedShards", "ImageSource", "Job", "ShardRecord"]

SEAL = "sha256"
"""The attribute of job.json that holds the hash of the others."""


@dataclasses.dataclass(frozen=True)
class ShardRecord:
    """What the journal remembers of a finished shard.

    Parameters
    ----------
    shard
        Its number.
    sha256
        SHA-256 (32 bytes) of its file, or of its pixels where all shards share one file.
    nbytes
        Bytes that the hash was taken of.
    crc32c
        CRC-32C of each sample's bytes, little-endian uint32.
    """

    shard: int
    sha256: bytes
    nbytes: int
    crc32c: bytes


class ImageSource(Protocol):
    """A source of images: drawn from a recipe, read from a dataset, or imported from files."""

    @property
    def described(self) -> LabelledImages:
        """What they are: shape, classes, labels, splits."""
        ...

    def images(self, start: int, stop: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the images of samples start..stop-1, in `out` if that is how they are made.

        Parameters
        ----------
        start, stop
            The first index, and the one after the last.
        out
            Room for them, shape (stop - start, *shape); a source that has room of its own leaves
            it alone.

        Returns
        -------
        ndarray, shape (stop - start, *shape)
        """
        ...


class FinishedShards(Protocol):
    """What is on record of a job's finished shards."""

    def record(self, shard: int) -> ShardRecord:
        """Return the record of a finished shard."""
        ...

    def lists(self, number: int) -> bool:
        """Return whether a number, which may be out of range, is that of a finished shard."""
        ...

    def arrays(self) -> tuple[SmallArray, SmallArray]:
        """Return the dataset's arrays crc32c and shard_sha256."""
        ...


@dataclasses.dataclass(frozen=True)
class Job:
    """A dataset to be made: the same object on the driver and on every worker.

    Parameters
    ----------
    target, recipe, layout
        Where it goes, what it is, and how it is cut.
    overwrite
        Whether what is there is replaced.
    gpgen_version
        The version that draws, or has drawn, the images.
    images
        The source of the images. The same images make the same job, wherever they come from; None
        for a job as it is on record, until whoever resumes it gives the source.
    roots
        A hash of the kernels' code that draws, or has drawn, the images, if the recipe names
        kernels of other packages (`gpgen.exact.offered_roots`).
    reused
        The dataset, as `open_dataset` takes it, whose samples it begins with, if it was made from
        one. The same job without it has the same bytes.
    """

    target: Target
    recipe: LabelledImages
    layout: Layout
    overwrite: bool = False
    gpgen_version: str = __version__
    images: ImageSource | None = None
    roots: str | None = None
    reused: str | None = None

    @property
    def extends(self) -> bool:
        """Whether the dataset that it begins with is the one whose place it takes."""
        return self.reused is not None and self.reused == str(self.target.manifest)

    @property
    def working(self) -> AnyPath:
        """The folder in which all happens until the end."""
        return self.target.working

    @property
    def temporary(self) -> AnyPath:
        """The folder of files not yet whole."""
        return self.working / "tmp"

    @property
    def data(self) -> AnyPath:
        """The folder of the growing dataset."""
        return self.working / f"data-{self.identity[:16]}"

    @property
    def recipe_file(self) -> AnyPath:
        """Where the recipe stands, for the command that resumes."""
        return self.working / f"recipe-{self.identity[:16]}.toml"

    @property
    def identity(self) -> str:
        """A hash of all that decides the dataset's bytes."""
        return hashlib.sha256(canonical_json(self._content())).hexdigest()

    def _content(self) -> dict[str, Any]:
        return {
            **({} if self.roots is None else {"roots_sha256": self.roots}),
            "format_version": FORMAT_VERSION,
            "sampling_version": SAMPLING_VERSION,
            "gpgen_version": self.gpgen_version,
            "target": self.target.path.name,
            "form": self.target.form,
            "recipe": self.recipe.to_dict(),
            "recipe_sha256": self.recipe.sha256,
            **dataclasses.asdict(self.layout),
        }

    def to_json(self, run: str | None = None) -> bytes:
        """Return the job as it is stored in the working folder, sealed.

        Parameters
        ----------
        run
            A mark by which to tell a run's job from the same job of another run.
        """
        content = {
            **self._content(),
            "overwrite": self.overwrite,
            # Folders are moved: what is replaced is wherever the target is.
            "reused": self.extends or self.reused,
            "run": run,
        }
        return json.dumps(seal(content, SEAL), indent=2).encode() + b"\n"

    def is_described_by(self, manifest: Manifest) -> bool:
        """Return whether a finished dataset is the one that this job makes."""
        theirs = (manifest.recipe_sha256, manifest.layout, manifest.gpgen_version, manifest.roots)
        return theirs == (self.recipe.sha256, self.layout, self.gpgen_version, self.roots)

    def differences(self, other: Job) -> list[str]:
        """Return what ``other`` wants otherwise, each as ``name old -> new``."""
        mine, theirs = self._content(), other._content()
        pairs = [
            (key, mine[key], theirs[key])
            for key in ("target", "n", "form", "shard_size", "chunk_size", "sampling_version")
        ]
        pairs += [
            (f"recipe {key}", mine["recipe"].get(key), theirs["recipe"].get(key))
            for key in sorted({*mine["recipe"], *theirs["recipe"]})
        ]
        pairs.append(("roots of the kernels of other packages", self.roots, other.roots))
        # Dictionaries are compared as text, for the order of splits matters.
        return [f"{key} {old!r} -> {new!r}" for key, old, new in pairs if repr(old) != repr(new)]
