"""The record of an unfinished dataset, ``job.json``: written, read back, and how to go on with it.

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

The folder ``data-<identity>`` bears a hash of all that decides the bytes, so a worker that
outlived its driver can't write into another job's folder.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from gpgen._version import __version__
from gpgen.errors import GpgenError, TargetError, UsageError
from gpgen.format.job import SEAL, Job
from gpgen.format.layout import Layout, Target, choose_layout
from gpgen.format.manifest import FORMAT_VERSION, seal
from gpgen.format.stored_recipe import stored_recipe
from gpgen.io import files
from gpgen.io.failures import is_damage, reason, unreadable
from gpgen.io.paths import AnyPath
from gpgen.recipe import Recipe, builtin_recipes
from gpgen.sampling import SAMPLING_VERSION

__all__ = ["read_job", "resume_command", "store_job"]


def read_job(working: AnyPath) -> Job | None:
    """Return the job that was begun in a working folder, if one was.

    Raises
    ------
    TargetError
        If the folder holds something that can't be resumed.
    """
    path, again = working / "job.json", working.how_to_start_again()
    try:
        content = json.loads(path.read_whole())
    except FileNotFoundError:
        return None
    except OSError as error:
        if is_damage(error):
            raise TargetError(f"{path} can't be read: {reason(error)}", again) from error
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise TargetError(f"{path} can't be read: {error}", again) from error
    try:
        if seal(content, SEAL)[SEAL] != content[SEAL]:
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
        reused = content.get("reused")
        if reused is True:
            reused = target.manifest
        return Job(
            target,
            recipe,
            layout,
            content["overwrite"] is True,
            content["gpgen_version"],
            roots=content.get("roots_sha256"),
            reused=None if reused is None else str(reused),
        )
    except TargetError:
        raise
    except (GpgenError, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise TargetError(f"{path} is damaged: {error}", again) from error


def store_job(job: Job) -> None:
    """Write ``job.json``, which makes the working folder one to be resumed; all else is ready."""
    toml = job.recipe.to_toml().encode()
    working, temporary = job.working.on_disk(), job.temporary.on_disk()
    files.replace_file(job.recipe_file.on_disk(), toml, temporary)
    files.replace_file(working / "job.json", job.to_json(), temporary)
    files.sync_folder(working)


def resume_command(job: Job) -> str:
    """Return the command line that finishes a job, to be copied as it stands."""
    if not isinstance(job.recipe, Recipe):
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
    if job.reused is not None:
        words += ["--extend"] if job.extends else ["--reuse", job.reused]
    return shlex.join([*words, "--resume"])
