"""From a deposit to a record: a draft, its DOI, its files, and, when asked for, publication.

What has been done is asked of the server, never assumed. So the same command goes on after a
dropped connection, a killed process or a refused token, and what the server has with the right
MD5 is not sent again. The only thing kept here is the draft's number, in a file beside the
deposit.
"""

from __future__ import annotations

import html
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpgen.errors import Argument, DatasetError, UsageError
from gpgen.io import files as disk
from gpgen.io.user_paths import given
from gpgen.progress import Follow, following
from gpgen.publish.client import Service
from gpgen.publish.deposit import CARD, RECORD_BYTES, RECORD_FILES, Deposit
from gpgen.publish.draft_files import DraftFiles, is_there
from gpgen.publish.invenio_record import own_rights
from gpgen.publish.records import Records, doi_of

__all__ = ["Limits", "Record", "publish_draft", "state_file", "upload"]


@dataclass(frozen=True)
class Limits:
    """What a service takes in one record; Zenodo's by default."""

    files: int = RECORD_FILES
    nbytes: int = RECORD_BYTES


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
    folder = Path(os.path.abspath(given(deposit)))  # noqa: PTH100 - resolve() would follow a link
    return folder.with_name(folder.name + ".draft.json")


def upload(
    deposit: str | Path,
    service: Service,
    *,
    new_version_of: str | None = None,
    limits: Limits | None = None,
    reserve_only: bool = False,
    progress: Follow = None,
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
        ``True`` draws a bar; a function is called with a `gpgen.Progress` of the bytes that the
        service has.

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
    sums = {} if reserve_only else folder.check()
    records = Records(service)
    record = _in_its_vocabulary(records, folder)
    draft = _find_or_create(records, folder, record, new_version_of)
    number = str(draft["id"])
    if doi_of(draft) is None:
        draft = records.reserve_doi(number)
    doi = doi_of(draft)
    _check_doi(folder, doi)
    url = f"{service.address}/uploads/{number}"
    if reserve_only:
        return Record(number, doi, url, published=False)
    with following(progress) as tell:
        job = DraftFiles(records, number, folder, sums, tell)
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
        _check_draft(records, number, folder)
        public = records.publish(number)
    doi = doi_of(public)
    url = f"{service.address}/records/{number}"
    communities = folder.manifest.publication.get("communities") or []
    if communities:
        records.submit_to(number, list(map(str, communities)))
    return Record(number, doi, url, published=True)


def _check_draft(records: Records, number: str, folder: Deposit) -> None:
    """Refuse to publish a draft that is not, read back, what the deposit says."""
    again = "send the deposit again as a draft, then publish that"
    sums = folder.check()
    there = records.draft_files(number)
    wrong = [name for name in sums if not is_there(there.get(name), sums[name])]
    if wrong or set(there) - set(sums):
        raise UsageError(f"the files of draft {number} are not the deposit's", again)
    draft = records.draft(number) or {}
    sent = _in_its_vocabulary(records, folder)
    for part in ("metadata", "access"):
        lost = first_difference(sent[part], draft.get(part), part)
        if lost is not None:
            raise UsageError(
                f"draft {number} does not say what the deposit says: {lost} is missing or another",
                f"correct publication.toml and package it again, or {again}",
            )


def _check_limits(folder: Deposit, limits: Limits) -> None:
    if len(folder.files) > limits.files:
        raise UsageError(
            f"the deposit has {len(folder.files)} files, and the service takes {limits.files}",
            "make the dataset with larger shards, as .zarr or as one .h5, or package with "
            f"{Argument.RECIPE_ONLY}",
        )
    nbytes = folder.nbytes()
    if nbytes > limits.nbytes:
        raise UsageError(
            f"the deposit has {nbytes / 1e9:.1f} GB, and the service takes "
            f"{limits.nbytes / 1e9:g} GB",
            f"package it with {Argument.RECIPE_ONLY}, or ask the service for more quota",
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
        state = state_file(folder.path)
        if draft is not None:
            if new_version_of is not None:
                _check_parent(records, draft, new_version_of, state)
            return _update(records, number, bare, draft)
        if records.published(number) is not None and new_version_of is None:
            raise UsageError(
                f"record {number} is already published, and can't be changed",
                f"run again with {Argument.NEW_VERSION} {number}",
            )
        if new_version_of is None:
            raise UsageError(
                f"draft {number} is no longer at {records.service.address}",
                f"remove {state} to begin a new one",
            )
    draft = records.new_version(new_version_of) if new_version_of else records.create(bare)
    # First of all, so that whatever comes next goes on with this draft.
    _remember(folder, records.service, str(draft["id"]))
    return _update(records, str(draft["id"]), bare, draft) if new_version_of else _accepted(draft)


def _check_parent(
    records: Records, draft: dict[str, Any], new_version_of: str, state: Path
) -> None:
    """Refuse to go on with a draft that isn't a new version of that record."""
    public = records.published(new_version_of) or {}
    if public.get("parent", {}).get("id") != draft.get("parent", {}).get("id"):
        raise UsageError(
            f"draft {draft['id']} was begun for this deposit, and is no version of record "
            f"{new_version_of}",
            f"leave out {Argument.NEW_VERSION}, or remove {state} to begin a new draft",
        )


def _update(
    records: Records, number: str, record: dict[str, Any], draft: dict[str, Any]
) -> dict[str, Any]:
    # Without its identifiers a reserved DOI would be given up.
    pids = draft.get("pids") or {}
    return _accepted(records.update(number, {**record, "pids": pids} if pids else record))


def _accepted(draft: dict[str, Any]) -> dict[str, Any]:
    """Return a draft, unless the service says in it that it has dropped a field."""
    for error in draft.get("errors") or ():
        said = " ".join(map(str, error.get("messages") or ()))
        raise UsageError(
            f"the service does not take {error.get('field')}: {said}",
            "correct publication.toml and package it again; the draft is kept",
        )
    return draft


def _in_its_vocabulary(records: Records, folder: Deposit) -> dict[str, Any]:
    """Return record.json, with title and address for a licence that the service doesn't know."""
    record = folder.read_json("record.json")
    try:
        rights = record["metadata"]["rights"][0]
        if "id" in rights and not records.has_licence(rights["id"]):
            licence = folder.read_json("datacite.json")["rightsList"][0]
            record["metadata"]["rights"] = [own_rights(licence["rights"], licence["rightsUri"])]
    except (KeyError, IndexError, TypeError) as error:
        raise DatasetError(
            f"{folder.path / 'record.json'} lacks the licence", "package the dataset again"
        ) from error
    return record


def first_difference(sent: Any, received: Any, where: str) -> str | None:  # noqa: ANN401 - JSON
    """Return the place of the first value that came back missing or changed; more may come back."""
    if isinstance(sent, dict):
        if not isinstance(received, dict):
            return where
        parts = [(sent[key], received.get(key), f"{where}.{key}") for key in sent]
    elif isinstance(sent, list):
        if not isinstance(received, list) or len(received) != len(sent):
            return where
        pairs = zip(sent, received, strict=True)
        parts = [(*pair, f"{where}.{number}") for number, pair in enumerate(pairs)]
    else:
        return None if _plain(sent) == _plain(received) else where
    return next((lost for part in parts if (lost := first_difference(*part)) is not None), None)


def _plain(value: object) -> object:
    # Services clean the markup of descriptions in their own ways.
    if not isinstance(value, str):
        return value
    return " ".join(html.unescape(re.sub(r"</?\w+>", " ", value)).split())


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
    disk.replace_file(path, json.dumps(drafts, indent=2).encode() + b"\n", path.parent)
