"""Uploading files into a draft: each is registered, sent, committed and compared by MD5."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from gpgen.errors import DatasetError
from gpgen.progress import Progress, Tell
from gpgen.publish.client import ServiceError
from gpgen.publish.deposit import Deposit
from gpgen.publish.records import Records

__all__ = ["DraftFiles", "is_there"]

_BLOCK: Final = 2**20
_ATTEMPTS: Final = 5


def is_there(entry: dict[str, Any] | None, md5: str) -> bool:
    """Return whether the server has a file complete and with the right MD5."""
    return (
        entry is not None
        and entry.get("status") == "completed"
        and entry.get("checksum") == f"md5:{md5}"
    )


@dataclass
class DraftFiles:
    """Makes the files of a draft those of a deposit.

    Parameters
    ----------
    records, number
        The draft.
    folder, sums
        The deposit, and the MD5 of each of its files.
    tell
        Told as bytes are sent.
    sent, skipped
        The files that were sent, and those that the service had.
    done
        Bytes of both.
    """

    records: Records
    number: str
    folder: Deposit
    sums: dict[str, str]
    tell: Tell
    sent: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    done: int = 0

    def run(self) -> None:
        """Send what the service lacks, and remove what doesn't belong."""
        sizes = {name: (self.folder.path / name).stat().st_size for name in self.sums}
        self.nbytes = sum(sizes.values())
        there = self.records.draft_files(self.number)
        for name in set(there) - set(self.sums):
            self.records.remove(self.number, name)
        for name, nbytes in sizes.items():
            if is_there(there.get(name), self.sums[name]):
                self.skipped.append(name)
                self._tell(name, nbytes)
            else:
                self._upload(name, nbytes, there.get(name))
                self.sent.append(name)
            self.done += nbytes

    def _upload(self, name: str, nbytes: int, entry: dict[str, Any] | None) -> None:
        failure: ServiceError | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                self.records.service.pause(2.0**attempt, f"{name} did not arrive whole")
                entry = self.records.draft_files(self.number).get(name)
            try:
                if self._attempt(name, nbytes, entry):
                    return
            except ServiceError as error:
                # 400 and 404 are also how a service says that a transfer broke off.
                refused = error.status is not None and 400 <= error.status < 500
                if error.lasting or (refused and error.status not in (400, 404, 429)):
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
        if is_there(entry, md5):
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
            if must or error.lasting:
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
                self._tell(name, sent)
        if digest.hexdigest() != self.sums[name]:
            raise DatasetError(
                f"{self.folder.path / name} was changed while it was being sent",
                "package the dataset again",
            )

    def _tell(self, name: str, sent: int) -> None:
        self.tell(Progress(self.done + sent, self.nbytes, "byte", name))
