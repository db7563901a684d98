"""An archive in the form of 2018, made again from its deposit, and every checksum compared."""

from __future__ import annotations

import shutil
from pathlib import Path

from gpgen.errors import DatasetError
from gpgen.golkar2018.archive import make_archive, read_plan
from gpgen.progress import Follow
from gpgen.publish.deposit import Deposit

__all__ = ["regenerate_archive"]


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
    expected = deposit.manifest.get("archive")
    if made.sha256 != expected:
        shutil.rmtree(made.path)
        raise DatasetError(
            f"the archive made from {deposit.path} is not the one that was packaged",
            f"make it with gpgen {deposit.manifest.get('gpgen_version')}",
        )
    return made.path
