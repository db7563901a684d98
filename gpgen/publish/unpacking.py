"""A deposit's data files, put together and unpacked, with no trust in what they say."""

from __future__ import annotations

import shutil
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import Final

from gpgen.errors import DatasetError
from gpgen.format.layout import SHARDED, Target
from gpgen.publish.deposit import Deposit
from gpgen.publish.part_writer import BLOCK

__all__ = ["check_names", "data_files", "join_parts", "unpack_zarr"]

_ARCHIVE: Final = {"samples.zip", "dataset.zip"}

_DATA: Final = (".zip", ".h5", ".hdf5", ".tar")


def data_files(deposit: Deposit) -> dict[str, list[str]]:
    """Return each data file of a deposit and the parts it lies in, in order."""
    found: dict[str, list[str]] = {}
    for name in sorted(deposit.sha256):
        stem, _, number = name.rpartition(".")
        if len(number) == 3 and number.isdecimal() and stem.endswith(_DATA):
            found.setdefault(stem, []).append(name)
        elif name.endswith(_DATA):
            found[name] = [name]
    return found


def check_names(deposit: Deposit, target: Path) -> None:
    """Refuse a deposit whose data files are others than those of its one dataset.

    They become files beside the target, so that a foreign one would be written there too.

    Raises
    ------
    DatasetError
        If one is missing or foreign.
    """
    names = set(data_files(deposit))
    if deposit.form == "archive":
        good = "samples.zip" in names <= _ARCHIVE
    elif deposit.form in SHARDED:
        shards = Target.parse(target)
        manifest = shards.manifest.name
        good = manifest in names and all(
            shards.shard_number(name) is not None for name in names - {manifest}
        )
    else:
        good = names == {"data.zarr.zip" if deposit.form == "zarr" else "data.h5"}
    if not good:
        raise DatasetError(
            f"the data files of {deposit.path} are not those of one {deposit.form} dataset",
            "don't use this record",
        )


def join_parts(deposit: Deposit, parts: list[str], target: Path) -> None:
    """Copy a file, out of its parts, to where it belongs."""
    with target.open("xb") as stream:
        for part in parts:
            with (deposit.path / part).open("rb") as piece:
                shutil.copyfileobj(piece, stream, BLOCK)


def unpack_zarr(path: Path, target: Path) -> None:
    """Unpack a zip of a Zarr group into a new folder.

    Raises
    ------
    DatasetError
        If it holds anything but stored files with plain relative paths.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            for member in members:
                _refuse_odd(path, member)
            if len({member.filename for member in members}) < len(members):
                raise DatasetError(f"{path} holds a file twice", "don't use this record")
            # Members that share their bytes would grow to any size.
            if sum(member.file_size for member in members) > path.stat().st_size:
                raise DatasetError(f"{path} holds files within files", "don't use this record")
            target.mkdir()
            for member in members:
                place = target.joinpath(*PurePosixPath(member.filename).parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, place.open("xb") as stream:
                    shutil.copyfileobj(source, stream, BLOCK)
    except DatasetError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError, struct.error) as error:
        reason = " ".join(str(error).split())[:100]
        raise DatasetError(f"{path} can't be unpacked: {reason}", "fetch it again") from error


def _refuse_odd(path: Path, member: zipfile.ZipInfo) -> None:
    parts = member.filename.split("/")
    plain = all(part not in ("", ".", "..") and part.isprintable() for part in parts)
    link = member.external_attr >> 16 & 0o170000 not in (0, 0o100000)
    # Stored, so that the bytes written are no more than the bytes fetched.
    stored = member.compress_type == zipfile.ZIP_STORED and member.file_size == member.compress_size
    if not plain or "\\" in member.filename or link or not stored or len(parts) > 3:
        raise DatasetError(
            f"{path} holds {member.filename[:80]!r}, which is no file of a Zarr group as gpgen "
            "packs it",
            "don't use this record",
        )
