"""A deposit's dataset or archive made again, and every checksum compared."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from gpgen.dataset import Dataset
from gpgen.description.dataset_description import TARGETS
from gpgen.errors import Argument, DatasetError, UsageError
from gpgen.format import store_for
from gpgen.format.base import Reader
from gpgen.format.layout import Target
from gpgen.golkar2018.archive import make_archive, read_plan
from gpgen.making.cluster import Scheduler, Security
from gpgen.making.run import make
from gpgen.progress import Follow
from gpgen.publish.deposit import Deposit
from gpgen.publish.deposited import deposited_recipe, shard_hashes

__all__ = ["regenerate", "regenerate_archive", "regenerated_target"]

_NAMED: Final = 5


def regenerated_target(deposit: Deposit) -> str:
    """Return the name that the dataset of a deposit has by default."""
    return deposit.manifest.attributes.shard_pattern or TARGETS[deposit.form]


def regenerate(
    deposit: str | Path,
    out: str | Path,
    *,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    security: Security | None = None,
    processes: bool | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Follow = None,
) -> Dataset:
    """Make the dataset of a deposit again.

    Parameters
    ----------
    deposit
        The folder that `package` made, or that was downloaded; the pixels may be left out.
    out
        The target, in the format of the original.
    workers, scheduler, security, processes, resume, overwrite, progress
        As for `gpgen.make`.

    Returns
    -------
    Dataset
        It, every shard's SHA-256 the one that the deposit says.

    Raises
    ------
    DatasetError
        If the deposit is damaged, or this gpgen makes other bytes of its recipe.
    UsageError
        If `out` names another format.
    """
    folder = Deposit.open(deposit)
    if folder.form == "archive":
        raise UsageError(
            f"{deposit} holds an archive in the form of 2018, not a recipe",
            f"use `gpgen fetch {deposit}`",
        )
    recipe, expected = deposited_recipe(folder), shard_hashes(folder)
    form = Target.parse(out).form
    if form != folder.form:
        raise UsageError(
            f"{str(out)!r} is not in the deposit's format, so no checksum could agree",
            f"use {Argument.OUT} {regenerated_target(folder)}",
        )
    dataset = make(
        recipe,
        folder.manifest.n,
        out,
        workers=workers,
        scheduler=scheduler,
        security=security,
        processes=processes,
        resume=resume,
        overwrite=overwrite,
        chunk_size=folder.manifest.layout.chunk_size,
        shard_size=folder.manifest.layout.shard_size,
        progress=progress,
    )
    wrong = _differing(expected, store_for(dataset.format).reader(dataset.path))
    if wrong:
        named = ", ".join(map(str, wrong[:_NAMED])) + (" and more" if wrong[_NAMED:] else "")
        raise DatasetError(
            f"{dataset.path} was made, but shard {named} of it is not the deposit's",
            f"make it with gpgen {folder.manifest.gpgen_version}, and report this as a bug",
        )
    return dataset


def regenerate_archive(
    deposit: Deposit, out: Path, *, workers: int | None = None, progress: Follow = None
) -> Path:
    """Make an archive again.

    Parameters
    ----------
    deposit
        What was packaged.
    out
        The folder to make.
    workers, progress
        As for `gpgen.golkar2018.archive.make_archive`.

    Raises
    ------
    DatasetError
        If this gpgen makes other bytes.
    """
    made = make_archive(read_plan(deposit.path), out, workers=workers, progress=progress)
    expected = deposit.manifest.archive
    if made.sha256 != expected:
        shutil.rmtree(made.path)
        raise DatasetError(
            f"the archive made from {deposit.path} is not the one that was packaged",
            f"make it with gpgen {deposit.manifest.gpgen_version}",
        )
    return made.path


def _differing(expected: dict[int, str], reader: Reader) -> list[int]:
    """Return the shards whose SHA-256 isn't the deposit's."""
    hashes = reader.rows("shard_sha256", 0, reader.manifest.layout.shards)
    made = {shard: digest.tobytes().hex() for shard, digest in enumerate(hashes)}
    return sorted(
        shard for shard in expected.keys() | made.keys() if expected.get(shard) != made.get(shard)
    )
