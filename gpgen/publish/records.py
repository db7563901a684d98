"""The calls of the InvenioRDM records API that publishing and fetching need.

See https://inveniordm.docs.cern.ch/reference/rest_api_drafts_records/. The legacy deposit API
is left alone: it gives a dataset without a licence in its own vocabulary the licence CC0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote

from gpgen.publish.client import Service, ServiceError

__all__ = ["Records", "doi_of"]

Entry = dict[str, Any]


def doi_of(record: dict[str, Any]) -> str | None:
    """Return the DOI of a record or draft."""
    doi = ((record.get("pids") or {}).get("doi") or {}).get("identifier")
    return str(doi) if doi else None


class Records:
    """The records and drafts of a service.

    Parameters
    ----------
    service
        Where they are.
    """

    def __init__(self, service: Service) -> None:
        self.service = service

    def create(self, record: dict[str, Any]) -> dict[str, Any]:
        """Create a draft."""
        return self.service.call("POST", "/api/records", json=record, repeatable=False)

    def new_version(self, number: str) -> dict[str, Any]:
        """Create the draft of a new version of a published record, or return the one begun."""
        return self.service.call("POST", f"{_record(number)}/versions")

    def draft(self, number: str) -> dict[str, Any] | None:
        """Return a draft, if there is one."""
        return self.service.call("GET", f"{_record(number)}/draft", expect=(404, 410)) or None

    def published(self, number: str) -> dict[str, Any] | None:
        """Return a published record, if there is one."""
        return self.service.call("GET", _record(number), expect=(404, 410)) or None

    def update(self, number: str, record: dict[str, Any]) -> dict[str, Any]:
        """Replace a draft's metadata."""
        return self.service.call("PUT", f"{_record(number)}/draft", json=record)

    def reserve_doi(self, number: str) -> dict[str, Any]:
        """Reserve a DOI for a draft."""
        try:
            return self.service.call("POST", f"{_record(number)}/draft/pids/doi")
        except ServiceError as error:
            # If the answer to a first attempt was lost, the second is told that there is one.
            draft = self.draft(number) if error.status == 400 else None
            if draft is None or doi_of(draft) is None:
                raise
            return draft

    def publish(self, number: str) -> dict[str, Any]:
        """Publish a draft. There is no way back."""
        try:
            return self.service.call("POST", f"{_record(number)}/draft/actions/publish")
        except ServiceError as error:
            record = self.published(number) if error.status in (404, 410) else None
            if record is None:
                raise
            return record

    def has_licence(self, name: str) -> bool:
        """Return whether the service's vocabulary of licences has one of that name."""
        path = f"/api/vocabularies/licenses/{quote(name, safe='')}"
        return bool(self.service.call("GET", path, expect=(404,)))

    def submit_to(self, number: str, communities: list[str]) -> None:
        """Ask communities to include a published record; again does no harm."""
        ids = [
            self.service.call("GET", f"/api/communities/{quote(slug, safe='')}")["id"]
            for slug in communities
        ]
        entries = {"communities": [{"id": identifier} for identifier in ids]}
        # 400: it is included, or asked for, already.
        path = f"{_record(number)}/communities"
        self.service.call("POST", path, json=entries, expect=(400,))

    # Files

    def draft_files(self, number: str) -> dict[str, Entry]:
        """Return the files of a draft, by name."""
        return _entries(self.service.call("GET", f"{_record(number)}/draft/files"))

    def files(self, number: str) -> dict[str, Entry]:
        """Return the files of a published record, by name."""
        return _entries(self.service.call("GET", f"{_record(number)}/files"))

    def register(self, number: str, names: list[str]) -> None:
        """Register the names of files to be uploaded."""
        entries = [{"key": name} for name in names]
        self.service.call("POST", f"{_record(number)}/draft/files", json=entries, repeatable=False)

    def send(
        self, number: str, name: str, content: Callable[[], Iterable[bytes]], nbytes: int
    ) -> None:
        """Upload a file's content, without repeating: the caller asks first what has arrived."""
        self.service.call(
            "PUT", f"{_file(number, name)}/content", content=content, nbytes=nbytes,
            repeatable=False,
        )  # fmt: skip

    def commit(self, number: str, name: str) -> Entry:
        """Complete a file's upload; the answer has its checksum."""
        return self.service.call("POST", f"{_file(number, name)}/commit", repeatable=False)

    def remove(self, number: str, name: str) -> None:
        """Remove a file from a draft."""
        self.service.call("DELETE", _file(number, name), expect=(404,))


def _record(number: str) -> str:
    return f"/api/records/{quote(number, safe='')}"


def _file(number: str, name: str) -> str:
    return f"{_record(number)}/draft/files/{quote(name, safe='')}"


def _entries(answer: dict[str, Any]) -> dict[str, Entry]:
    return {str(entry["key"]): entry for entry in answer.get("entries") or []}
