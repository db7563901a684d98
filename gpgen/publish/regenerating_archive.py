"""An archive in the form of 2018, made again from its deposit, and every checksum compared."""

from __future__ import annotations

import shutil
from pathlib import Path

from gpgen.errors import DatasetError, UsageError
from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.publish.archive_source import PLAN
from gpgen.publish.deposit import Deposit

__all__ = ["regenerate_archive"]


def regenerate_archive(
    deposit: Deposit, out: Path, *, workers: int | None = None, resume: bool = False
) -> Path:
    """Make an archive again.

    Parameters
    ----------
    deposit
        What was packaged.
    out
        The folder to make.
    workers, resume
        As for `gpgen.golkar2018.archive.make_archive`.

    Raises
    ------
    DatasetError
        If this gpgen makes other bytes.
    UsageError
        If the deposit doesn't say with which seed.
    """
    plan = deposit.read_json(PLAN)
    if "seed" not in plan:
        raise UsageError(
            f"{deposit.path} doesn't say with which seed the archive was made",
            "make another with `gpgen archive`",
        )
    try:
        asked = ArchivePlan.from_dict(plan)
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise DatasetError(
            f"{deposit.path / PLAN} doesn't say how the archive was made", "get the deposit again"
        ) from error
    made = make_archive(asked, out, workers=workers, resume=resume)
    expected = deposit.manifest.get("archive")
    if made.sha256 != expected:
        shutil.rmtree(made.path)
        raise DatasetError(
            f"the archive made from {deposit.path} is not the one that was packaged",
            f"make it with gpgen {deposit.manifest.get('gpgen_version')}",
        )
    return made.path
