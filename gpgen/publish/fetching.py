"""Fetching: a record, or the folder of a deposit, becomes a local dataset, and is verified."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gpgen.errors import Argument, DatasetError, TargetError, UsageError
from gpgen.format.layout import SHARDED, Target
from gpgen.golkar2018.archive import PLAN
from gpgen.io import files as disk
from gpgen.io.beside import working_folder
from gpgen.io.failures import target_errors
from gpgen.io.output_files import check_folder, check_space, free_bytes
from gpgen.io.recognizing import refused
from gpgen.io.user_paths import AnyText, given, target_of, text_of
from gpgen.progress import Follow, Tell, following
from gpgen.publish.addresses import RecordAddress, parse_source
from gpgen.publish.client import Service, ServiceError
from gpgen.publish.deposit import MANIFEST, MD5SUMS, SHA256SUMS, Deposit
from gpgen.publish.downloading import download_record
from gpgen.publish.records import Records
from gpgen.publish.regenerating import regenerate, regenerate_archive, regenerated_target
from gpgen.publish.unpacking import check_names, data_files, join_parts, unpack_zarr
from gpgen.verification import verify

__all__ = ["Fetched", "fetch"]

_GIVE = "give a DOI, a record's number or page, or the folder of a deposit"


@dataclass(frozen=True)
class Fetched:
    """A dataset that was fetched.

    Parameters
    ----------
    path
        It.
    form
        "zarr", "hdf5", "hdf5-shards", "webdataset" or "archive".
    regenerated
        Whether its pixels were drawn here.
    """

    path: Path
    form: str
    regenerated: bool


def fetch(
    source: AnyText,
    out: AnyText | None = None,
    *,
    service: Service | str | None = None,
    workers: int | None = None,
    progress: Follow = None,
    notify: Callable[[str], None] | None = None,
) -> Fetched:
    """Bring a published dataset here, verified.

    Parameters
    ----------
    source
        A DOI, a record's number or page, or the folder of a deposit.
    out
        The dataset to make; by default ``data.zarr`` and the like, by the record's format.
    service
        Where a bare number is meant, or the service to use; by default Zenodo.
    workers
        Workers that draw the pixels, where the record has none.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress`: of bytes as they arrive,
        and of samples as they are drawn, where the record has no pixels.
    notify
        Told in a sentence which service is asked, and why it is waited for.

    Raises
    ------
    DatasetError
        If the record is no deposit of gpgen's, or fails its checksums.
    ServiceError
        If it isn't there or doesn't arrive. What has arrived is kept.
    TargetError
        If `out` exists.
    """
    folder = _folder(source)
    if folder is not None:
        deposit = Deposit.open(folder)
        deposit.check()
        with following(progress) as tell:
            return _place(deposit, _target(deposit, out), workers, tell)
    if isinstance(service, Service):
        address = parse_source(text_of(source), service.address)
        with following(progress) as tell:
            return _fetch_record(service, address, out, workers, tell)
    address = parse_source(text_of(source), service)
    with Service(address.service, notify=notify) as own, following(progress) as tell:
        return _fetch_record(own, address, out, workers, tell)


def _folder(source: AnyText) -> Path | None:
    """Return the folder that a source names; ``None`` if it names nothing on this disk."""
    if "://" in text_of(source):
        return None
    path = given(source)
    if path.exists() and not path.is_dir():
        raise refused(path, "a deposit", _GIVE) or DatasetError(f"{path} is not a deposit", _GIVE)
    return path if path.is_dir() else None


def _fetch_record(
    service: Service,
    address: RecordAddress,
    out: AnyText | None,
    workers: int | None,
    tell: Tell,
) -> Fetched:
    if service.address != address.service:
        raise UsageError(
            f"record {address.number} is at {address.service}, not at {service.address}",
            f"leave out {Argument.SERVICE}",
        )
    if out is not None:
        _refuse_existing(target_of(out))
    place = target_of(out or ".")
    keep = place.parent if out is not None else place
    folder = keep / f"record-{address.number}.fetching"
    with target_errors(f"{folder} can't be written"):
        disk.make_folder(folder)
        records = Records(service)
        # First the few kilobytes that say whether the rest is worth fetching.
        small = {SHA256SUMS, MD5SUMS, MANIFEST}
        try:
            download_record(records, address.number, folder, wanted=lambda name: name in small)
        except ServiceError:
            with suppress(OSError):  # what has arrived is kept, nothing is not
                folder.rmdir()
            raise
        try:
            deposit = Deposit.open(folder)
        except DatasetError:
            disk.remove_tree(folder)
            raise DatasetError(
                f"record {address.number} at {service.address} was not packaged by gpgen",
                "download its files from its page",
            ) from None
        target = _target(deposit, out)
        download_record(records, address.number, folder, tell=tell)
        Deposit.open(folder).check()
        fetched = _place(deposit, target, workers, tell, move=True)
        disk.remove_tree(folder)
    return fetched


def _target(deposit: Deposit, out: AnyText | None) -> Path:
    target = target_of(out or regenerated_target(deposit))
    if deposit.form != "archive":
        form = Target.parse(target).form
        if form != deposit.form:
            raise UsageError(
                f"the dataset is in the format {deposit.form}, and {target.name} is {form}",
                f"use {Argument.OUT} {regenerated_target(deposit)}",
            )
        names = {target.name, regenerated_target(deposit)}
        if form in SHARDED and not deposit.recipe_only and len(names) > 1:
            raise UsageError(
                f"the files are called {regenerated_target(deposit)}, and say so within",
                f"give {Argument.OUT} that name in another folder",
            )
    _refuse_existing(target)
    return target


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise TargetError(f"{target} exists", f"give another {Argument.OUT}, or remove it")
    check_folder(target.parent)


def _place(
    deposit: Deposit,
    target: Path,
    workers: int | None,
    tell: Tell,
    *,
    move: bool = False,
) -> Fetched:
    """Make the dataset of a deposit that has been checked."""
    if deposit.recipe_only and deposit.form == "archive":
        path = regenerate_archive(deposit, target, workers=workers, progress=tell)
        return Fetched(path, deposit.form, regenerated=True)
    if deposit.recipe_only:
        dataset = regenerate(deposit.path, target, workers=workers, resume=True, progress=tell)
        dataset.close()
        return Fetched(dataset.path.on_disk(), deposit.form, regenerated=True)
    check_names(deposit, target)
    nbytes = sum(
        (deposit.path / name).stat().st_size
        for parts in data_files(deposit).values()
        for name in parts
    )
    check_space(target, nbytes, free_bytes(target.parent))
    with working_folder(target, "unpacking") as folder:
        _assemble(deposit, folder, target, move=move)
        if deposit.form != "archive":
            _verify(folder / target.name)
        _name(deposit, folder, target)
        disk.sync_folder(target.parent)
    return Fetched(target, deposit.form, regenerated=False)


def _assemble(deposit: Deposit, folder: Path, target: Path, *, move: bool) -> None:
    """Join and unpack the data files in a working folder beside the target."""
    for name, parts in data_files(deposit).items():
        final = target.name if deposit.form == "hdf5" else name
        if move and len(parts) == 1:
            disk.rename(deposit.path / name, folder / final)
        else:
            join_parts(deposit, parts, folder / final)
    if deposit.form == "zarr":
        unpack_zarr(folder / "data.zarr.zip", folder / target.name)
    if deposit.form == "archive":
        shutil.copyfile(deposit.path / PLAN, folder / PLAN)
        # Its own list of checksums, as `gpgen archive` writes it.
        sums = {**deposit.manifest.archive, PLAN: deposit.sha256[PLAN]}
        lines = "".join(f"{digest}  {name}\n" for name, digest in sums.items())
        (folder / SHA256SUMS).write_text(lines, encoding="utf-8")


def _verify(path: Path) -> None:
    report = verify(path)
    for problem in report.problems:
        raise DatasetError(f"{problem.file} {problem.what}", "don't use this record")


def _name(deposit: Deposit, folder: Path, target: Path) -> None:
    """Rename the verified dataset to its place."""
    if deposit.form == "archive":
        disk.rename(folder, target)
    elif deposit.form in ("zarr", "hdf5"):
        disk.rename(folder / target.name, target)
    else:
        manifest = Target.parse(target).manifest.name
        # The manifest makes it a dataset, so its name comes last.
        for path in sorted(folder.iterdir(), key=lambda path: path.name == manifest):
            if os.path.lexists(target.parent / path.name):
                raise TargetError(f"{target.parent / path.name} exists", "choose another folder")
            disk.rename(path, target.parent / path.name)
