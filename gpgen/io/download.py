"""A file that is being downloaded: kept beside its place and checked before it gets its name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

__all__ = ["Download"]


class Download:
    """One file. It knows no network: what comes from there is handed to `receive`.

    Parameters
    ----------
    path
        Where it goes. Until it is whole and right its bytes are in ``.NAME.part`` beside.
    nbytes
        Its length.
    md5
        Its MD5 in hexadecimal digits; ``None`` if only the length is to be checked.
    progress
        Called with the bytes that have come, as they come.
    """

    def __init__(
        self,
        path: Path,
        nbytes: int,
        md5: str | None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.path = path
        self.nbytes = nbytes
        self._md5 = md5
        self._progress = progress
        self._part = path.with_name(f".{path.name}.part")

    def is_finished(self) -> bool:
        """Return whether the file has its name and is the right one."""
        return self._is_right(self.path)

    @property
    def received(self) -> int:
        """Bytes that an earlier try has left, from which a request can go on."""
        there = self._part.stat().st_size if self._part.exists() else 0
        return there if there <= self.nbytes else 0

    def receive(self, pieces: Iterable[bytes], resumed: bool) -> None:
        """Write what comes; no more than was announced.

        Parameters
        ----------
        pieces
            The bytes.
        resumed
            Whether they begin after those `received`; a server may send the whole instead.
        """
        with self._part.open("ab" if resumed else "wb") as stream:
            there = stream.tell()
            for piece in pieces:
                there += len(piece)
                if there > self.nbytes:
                    break
                stream.write(piece)
                self._progress(there)

    def finish(self) -> bool:
        """Give the file its name if it is right, else remove it; return whether it was."""
        right = self._is_right(self._part)
        if right:
            self._part.replace(self.path)
        else:
            self._part.unlink(missing_ok=True)
        return right

    def _is_right(self, path: Path) -> bool:
        if not path.is_file() or path.stat().st_size != self.nbytes:
            return False
        if self._md5 is None:
            return True
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
        return digest.hexdigest() == self._md5
