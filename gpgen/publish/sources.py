"""What is packaged: something that describes itself and writes its files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from gpgen.description.dataset_description import DatasetDescription
from gpgen.errors import DatasetError
from gpgen.io.failures import reading
from gpgen.publish.part_writer import Part, PartWriter

__all__ = ["VERIFY", "Source", "copy_file", "copy_whole"]

VERIFY: Final = "run `gpgen verify` on it, and remake it if that names damage"


_STEP: Final = 2**26
"""Bytes between two reports of progress."""


class Source(Protocol):
    """A dataset to be packaged: what it says, and how to write its files."""

    description: DatasetDescription
    nbytes: int

    @property
    def recipe_file(self) -> tuple[str, str]:
        """The name and the text of the file from which it can be made again."""
        ...

    def tables(self) -> Iterator[tuple[str, str, Iterable[bytes]]]:
        """Yield each file that is not the data: its name, what it is, and its pieces."""
        ...

    def manifest(self) -> dict[str, Any]:
        """Return what dataset.json says of it."""
        ...

    def figure(self, classes: Sequence[str]) -> bytes:
        """Return a contact sheet of the classes of these names, as a PNG."""
        ...

    def write_data(
        self, folder: Path, most_bytes: int, progress: Callable[[int], None]
    ) -> list[tuple[Part, str]]:
        """Write the data, checked; return each part and what it is."""
        ...


def copy_file(
    path: Path, folder: Path, name: str, most_bytes: int, progress: Callable[[int], None]
) -> list[Part]:
    """Copy a file as it is, in parts if need be."""
    with reading(path):
        nbytes = path.stat().st_size
    with PartWriter(folder, name, nbytes, most_bytes) as writer:
        copy_whole(path, nbytes, writer, progress)
        return writer.finish()


def copy_whole(
    path: Path, nbytes: int, writer: PartWriter, progress: Callable[[int], None]
) -> None:
    """Copy a file of known length into a writer.

    Raises
    ------
    DatasetError
        If it is shorter.
    """
    left = nbytes
    with reading(path):
        stream = path.open("rb", buffering=0)
    with stream:
        while left:
            count = writer.copy(stream, min(left, _STEP))
            if not count:
                raise DatasetError(f"{path} changed while it was read", VERIFY)
            left -= count
            progress(count)
