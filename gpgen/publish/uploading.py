"""From a deposit to a record: a draft, its DOI, its files, and, when asked for, publication.

What has been done is asked of the server, never assumed. So the same command goes on after a
dropped connection, a killed process or a refused token, and what the server has with the right
MD5 is not sent again. The only thing kept here is the draft's number, in a file beside the
deposit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from gpgen.errors import DatasetError, UsageError
from gpgen.publish.deposit import CARD, Deposit
from gpgen.publish.failures import ServiceError
from gpgen.publish.records import Records, doi_of
from gpgen.publish.service import Service
from gpgen.publish.validation import check_record

__all__ = ["Limits", "Record", "UploadProgress", "publish_draft", "state_file", "upload"]

_BLOCK: Final = 2**20
_ATTEMPTS: Final = 5


@dataclass(frozen=True)
class Limits:
    """What a service takes in one record; Zenodo's by default."""

    files: int = 100
    nbytes: int = 50 * 10**9


@dataclass(frozen=True)
class UploadProgress:
    """How far an upload is.

    Parameters
    ----------
    file
        The file in hand.
    file_done, file_nbytes
        Bytes of it sent, and its length.
    done, nbytes
        Bytes of all files on the server or sent, and of all.
    skipped
        Whether the server had the file already.
    """

    file: str
    file_done: int
    file_nbytes: int
    done: int
    nbytes: int
    skipped: bool = False


@dataclass(frozen=True)
class Record:
    """A draft, or a published record.

    Parameters
    ----------
    number
        Its number at the service.
    doi
        Its DOI, reserved or registered.
    url
        The page to look at.
    published
        Whether it is public.
    sent, skipped
        Files that were uploaded now, and those that the server had.
    """

    number: str
    doi: str | None
    url: str
    published: bool
    sent: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def state_file(deposit: str | Path) -> Path:
    """Return the file beside a deposit that remembers its draft."""
    folder = Path(os.path.abspath(deposit))  # noqa: PTH100 - resolve() would follow a link
    return folder.with_name(folder.name + ".draft.json")


def upload(
    deposit: str | Path,
    service: Service,
    *,
    new_version_of: str | None = None,
    limits: Limits | None = None,
    reserve_only: bool = False,
    progress: Callable[[UploadProgress], None] | None = None,
) -> Record:
    """Bring a deposit into a draft, or go on with it. Nothing is published.

    Parameters
    ----------
    deposit
        The folder that `package` made.
    service
        Where to, with a token.
    new_version_of
        The number of a published record of which this shall be a new version.
    limits
        What the service takes; checked before the first byte is sent.
    reserve_only
        Whether to stop when the draft has its DOI, so that it can be put into
        publication.toml.
    progress
        Called as files are sent.

    Returns
    -------
    Record
        The draft.

    Raises
    ------
    DatasetError
        If the deposit was changed since it was packaged.
    UsageError
        If the service would refuse it later: too many files or bytes, missing metadata; or if
        the draft has been published.
    ServiceError
        If the service refuses or doesn't answer. The draft is kept.
    """
    folder = Deposit.open(deposit)
    _check_limits(folder, limits or Limits())
    record = folder.read_json("record.json")
    check_record(record)
    sums = {} if reserve_only else folder.check()
    records = Records(service)
    draft = _find_or_create(records, folder, record, new_version_of)
    number = str(draft["id"])
    if doi_of(draft) is None:
        draft = records.reserve_doi(number)
    doi = doi_of(draft)
    _check_doi(folder, doi)
    url = f"{service.address}/uploads/{number}"
    if reserve_only:
        return Record(number, doi, url, published=False)
    job = _Files(records, number, folder, sums, progress)
    job.run()
    _update(records, number, record | {"files": {"enabled": True, "default_preview": CARD}}, draft)
    return Record(number, doi, url, False, tuple(job.sent), tuple(job.skipped))


def publish_draft(deposit: str | Path, service: Service) -> Record:
    """Publish the draft of a deposit that `upload` has completed. There is no way back.

    Raises
    ------
    UsageError
        If there is no draft, or its files are not the deposit's.
    ServiceError
        If the service refuses. The draft is kept.
    """
    folder = Deposit.open(deposit)
    records = Records(service)
    number = _remembered(folder, service)
    if number is None:
        raise UsageError(f"{deposit} has no draft at {service.address}", "upload it first")
    public = records.published(number)
    if public is None:
        sums = folder.check()
        there = records.draft_files(number)
        wrong = [name for name in sums if not _is_there(there.get(name), sums[name])]
        if wrong or set(there) - set(sums):
            raise UsageError(
                f"the files of draft {number} are not the deposit's",
                "run `gpgen publish` again without --publish, then with it",
            )
        public = records.publish(number)
    doi = doi_of(public)
    url = f"{service.address}/records/{number}"
    return Record(number, doi, url, published=True)


def _check_limits(folder: Deposit, limits: Limits) -> None:
    if len(folder.files) > limits.files:
        raise UsageError(
            f"the deposit has {len(folder.files)} files, and the service takes {limits.files}",
            "make the dataset with larger shards, as .zarr or as one .h5, or package --recipe-only",
        )
    nbytes = folder.nbytes()
    if nbytes > limits.nbytes:
        raise UsageError(
            f"the deposit has {nbytes / 1e9:.1f} GB, and the service takes "
            f"{limits.nbytes / 1e9:g} GB",
            "package it with --recipe-only, or ask the service for more quota",
        )


def _check_doi(folder: Deposit, doi: str | None) -> None:
    named = folder.read_json("datacite.json").get("doi")
    if named is not None and doi is not None and named.lower() != doi.lower():
        raise UsageError(
            f"the deposit says that its DOI is {named}, and the draft's is {doi}",
            f'put doi = "{doi}" into publication.toml and package it again',
        )


def _find_or_create(
    records: Records, folder: Deposit, record: dict[str, Any], new_version_of: str | None
) -> dict[str, Any]:
    number = _remembered(folder, records.service)
    # A file can't be shown first before it is there.
    bare = record | {"files": {"enabled": True}}
    if number is not None:
        draft = records.draft(number)
        if draft is not None:
            return _update(records, number, bare, draft)
        state = state_file(folder.path)
        if records.published(number) is not None and new_version_of is None:
            raise UsageError(
                f"record {number} is already published, and can't be changed",
                f"run again with --new-version {number}",
            )
        if new_version_of is None:
            raise UsageError(
                f"draft {number} is no longer at {records.service.address}",
                f"remove {state} to begin a new one",
            )
    if new_version_of is None:
        draft = records.create(bare)
    else:
        draft = records.new_version(new_version_of)
        draft = _update(records, str(draft["id"]), bare, draft)
    _remember(folder, records.service, str(draft["id"]))
    return draft


def _update(
    records: Records, number: str, record: dict[str, Any], draft: dict[str, Any]
) -> dict[str, Any]:
    # Without its identifiers a reserved DOI would be given up.
    pids = draft.get("pids") or {}
    return records.update(number, {**record, "pids": pids} if pids else record)


def _remembered(folder: Deposit, service: Service) -> str | None:
    path = state_file(folder.path)
    try:
        drafts = json.loads(path.read_bytes())
        number = drafts.get(service.address)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise DatasetError(f"{path} can't be read: {error}", "remove it") from error
    return None if number is None else str(number)


def _remember(folder: Deposit, service: Service, number: str) -> None:
    path = state_file(folder.path)
    drafts = json.loads(path.read_bytes()) if path.exists() else {}
    drafts[service.address] = number
    temporary = path.with_name(path.name + ".new")
    temporary.write_text(json.dumps(drafts, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _is_there(entry: dict[str, Any] | None, md5: str) -> bool:
    """Return whether the server has a file whole and right."""
    return (
        entry is not None
        and entry.get("status") == "completed"
        and entry.get("checksum") == f"md5:{md5}"
    )


@dataclass
class _Files:
    """The files of one draft being brought to where they should be."""

    records: Records
    number: str
    folder: Deposit
    sums: dict[str, str]
    progress: Callable[[UploadProgress], None] | None
    sent: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    done: int = 0

    def run(self) -> None:
        sizes = {name: (self.folder.path / name).stat().st_size for name in self.sums}
        self.nbytes = sum(sizes.values())
        there = self.records.draft_files(self.number)
        for name in set(there) - set(self.sums):
            self.records.remove(self.number, name)
        for name, nbytes in sizes.items():
            if _is_there(there.get(name), self.sums[name]):
                self.skipped.append(name)
                self._tell(name, nbytes, nbytes, skipped=True)
            else:
                self._bring(name, nbytes, there.get(name))
                self.sent.append(name)
            self.done += nbytes

    def _bring(self, name: str, nbytes: int, entry: dict[str, Any] | None) -> None:
        failure: ServiceError | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                self.records.service.pause(2.0**attempt, f"{name} did not arrive whole")
                entry = self.records.draft_files(self.number).get(name)
            try:
                if self._attempt(name, nbytes, entry):
                    return
            except ServiceError as error:
                lasting = error.status is not None and error.status not in (400, 404, 429)
                if lasting and error.status is not None and error.status < 500:
                    raise
                failure = error
        raise ServiceError(
            f"{name} did not arrive whole in {_ATTEMPTS} attempts"
            + (f": {failure.message}" if failure else ": the server's MD5 is another"),
            "run the same command again; the draft and what is committed are kept",
            failure.status if failure else None,
        )

    def _attempt(self, name: str, nbytes: int, entry: dict[str, Any] | None) -> bool:
        md5 = self.sums[name]
        if _is_there(entry, md5):
            return True  # only the answer was lost
        if entry is not None:
            if entry.get("status") == "pending" and self._commit(name, expected=md5):
                return True  # all had arrived but the answer
            self.records.remove(self.number, name)
        self.records.register(self.number, [name])
        self.records.send(self.number, name, lambda: self._pieces(name, nbytes), nbytes)
        return self._commit(name, expected=md5, must=True)

    def _commit(self, name: str, *, expected: str, must: bool = False) -> bool:
        try:
            entry = self.records.commit(self.number, name)
        except ServiceError as error:
            if must or error.status in (401, 403):
                raise
            return False
        return entry.get("checksum") == f"md5:{expected}"

    def _pieces(self, name: str, nbytes: int) -> Iterator[bytes]:
        digest, sent = hashlib.md5(usedforsecurity=False), 0
        with (self.folder.path / name).open("rb", buffering=0) as stream:
            while piece := stream.read(_BLOCK):
                digest.update(piece)
                sent += len(piece)
                if sent == nbytes and digest.hexdigest() != self.sums[name]:
                    # Before the last piece, so that the server gets no whole file of it.
                    break
                yield piece
                self._tell(name, sent, nbytes)
        if digest.hexdigest() != self.sums[name]:
            raise DatasetError(
                f"{self.folder.path / name} was changed while it was being sent",
                "package the dataset again",
            )

    def _tell(self, name: str, sent: int, nbytes: int, *, skipped: bool = False) -> None:
        if self.progress:
            self.progress(
                UploadProgress(name, sent, nbytes, self.done + sent, self.nbytes, skipped)
            )
