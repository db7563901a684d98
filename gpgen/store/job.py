"""One dataset being made: what, where, and the folder in which it grows.

Everything is built in ``OUT.making/`` beside the target and gets its final
name by a rename at the end, so that what is unfinished has no name that any
tool would open::

    OUT.making/
      lock                     held by the process that makes it
      job.json                 what is being made; written last when a run begins
      recipe-<identity>.toml   the recipe, for the command that resumes
      journal.jsonl            a line for each finished shard
      tmp/                     files not yet whole
      try.<random>/            folders that are moved for a trial, and gone at once
      data-<identity>/         the growing dataset

The folder ``data-<identity>`` bears a hash of all that decides the bytes. So a
worker that outlived its driver can only ever add what belongs there: to
another job's folder it doesn't know the way.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from gpgen._version import __version__
from gpgen.errors import GpgenError, TargetError, UsageError
from gpgen.recipe import Recipe, builtin_recipes
from gpgen.sampling import SAMPLING_VERSION
from gpgen.store import files
from gpgen.store.failures import is_damage, reason, unreadable
from gpgen.store.layout import Layout, Target, choose_layout
from gpgen.store.manifest import FORMAT_VERSION, Manifest, canonical_json, seal
from gpgen.store.stored_recipe import stored_recipe
from gpgen.store.where import AnyPath, how_to_start_again, local_path, read_whole

__all__ = ["Images", "Job", "ShardRecord", "read_job", "resume_command", "store_job"]

# The attribute of job.json that holds the hash of the others.
_SEAL = "sha256"


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


class Images(Protocol):
    """Images that exist already."""

    def __call__(self, start: int, stop: int) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the samples from ``start`` to ``stop`` in batches, each with its first index."""
        ...


class Records(Protocol):
    """The finished shards' records, by number."""

    def record(self, shard: int) -> ShardRecord:
        """Return the record of a finished shard."""
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
        Where images come from that are not drawn but copied; they are the same, so that it
        makes no other job.
    """

    target: Target
    recipe: Recipe
    layout: Layout
    overwrite: bool = False
    gpgen_version: str = __version__
    images: Images | None = None

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
        content = {**self._content(), "overwrite": self.overwrite, "run": run}
        return json.dumps(seal(content, _SEAL), indent=2).encode() + b"\n"

    def is_described_by(self, manifest: Manifest) -> bool:
        """Return whether a finished dataset is the one that this job makes."""
        return (manifest.recipe_sha256, manifest.layout, manifest.gpgen_version) == (
            self.recipe.sha256,
            self.layout,
            self.gpgen_version,
        )

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
        # Dictionaries are compared as text, for the order of splits matters.
        return [f"{key} {old!r} -> {new!r}" for key, old, new in pairs if repr(old) != repr(new)]


def read_job(working: AnyPath) -> Job | None:
    """Return the job that was begun in a working folder, if one was.

    Raises
    ------
    TargetError
        If the folder holds something that can't be resumed.
    """
    path, again = working / "job.json", how_to_start_again(working)
    try:
        content = json.loads(read_whole(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_damage(error):
            raise TargetError(f"{path} can't be read: {reason(error)}", again) from error
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise TargetError(f"{path} can't be read: {error}", again) from error
    if isinstance(content, dict) and "archive_version" in content:
        raise TargetError(
            f"{working} holds an archive that isn't finished",
            "finish it with `gpgen archive ... --resume`",
        )
    try:
        if seal(content, _SEAL)[_SEAL] != content[_SEAL]:
            raise UsageError("its own hash disagrees")
        if (content["format_version"], content["sampling_version"]) != (
            FORMAT_VERSION,
            SAMPLING_VERSION,
        ):
            raise TargetError(
                f"{working} was begun by gpgen {content['gpgen_version']}, "
                f"which draws or stores otherwise than gpgen {__version__}",
                f"resume with that version, or {again}",
            )
        target = Target.parse(working.with_name(Path(content["target"]).name))
        layout = Layout(content["n"], content["shard_size"], content["chunk_size"])
        recipe = stored_recipe(content["recipe"])
        checked = choose_layout(
            target.form, recipe.image_nbytes, layout.n, layout.chunk_size, layout.shard_size
        )
        if checked != layout or target.working != working:
            raise UsageError("it does not describe what is made here")
        return Job(target, recipe, layout, content["overwrite"] is True, content["gpgen_version"])
    except TargetError:
        raise
    except (GpgenError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise TargetError(f"{path} is damaged: {error}", again) from error


def store_job(job: Job) -> None:
    """Write ``job.json``, which makes the working folder one to be resumed; all else is ready."""
    toml = job.recipe.to_toml().encode()
    working, temporary = local_path(job.working), local_path(job.temporary)
    files.replace_file(local_path(job.recipe_file), toml, temporary)
    files.replace_file(working / "job.json", job.to_json(), temporary)
    files.sync_folder(working)


def resume_command(job: Job) -> str:
    """Return the command line that finishes a job, to be copied as it stands."""
    if not job.recipe.is_drawn:
        return shlex.join(["gpgen", "import", "SOURCE", "--out", str(job.target.path), "--resume"])
    recipe = str(job.recipe_file)
    for name in builtin_recipes():
        if Recipe.load(name).sha256 == job.recipe.sha256:
            recipe = name
    words = ["gpgen", "make", "--recipe", recipe, "--n", str(job.layout.n)]
    words += ["--out", str(job.target.path)]
    usual = choose_layout(job.target.form, job.recipe.image_nbytes, job.layout.n)
    if usual != job.layout:
        if job.layout.chunk_size is not None:
            words += ["--chunk-size", str(job.layout.chunk_size)]
        words += ["--shard-size", str(job.layout.shard_size)]
    return shlex.join([*words, "--resume"])
