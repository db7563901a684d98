"""A finished Zarr group, read and checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpgen.errors import DatasetError, printable
from gpgen.format.base import Kind, Place, Problem, Region
from gpgen.format.manifest import (
    VERIFY,
    VIRTUAL,
    Manifest,
    checksum_arrays,
    derived_arrays,
    read_manifest,
)
from gpgen.format.pixels import check_file, read_rows
from gpgen.format.zarr_content import (
    CRC_BYTES,
    ROOT,
    shard_name,
    shard_nbytes,
    shard_number,
)
from gpgen.format.zarr_metadata import (
    BLOCK_ROWS,
    block_name,
    block_names,
    image_document,
    root_document,
    rows_a_block,
    small_document,
)
from gpgen.io.failures import unreadable
from gpgen.io.litter import is_litter
from gpgen.io.paths import AnyPath
from gpgen.io.recognizing import no_dataset
from gpgen.labelled_images import LabelledImages

__all__ = ["ZarrReader"]


class ZarrReader:
    """A finished Zarr group."""

    def __init__(self, path: AnyPath) -> None:
        self.path = path
        self.root = self.named(ROOT)
        self.mark = self.root.mark()
        where = str(path / ROOT)
        try:
            self._root: dict[str, Any] = json.loads(self.document(ROOT))
            attributes = self._root.get("attributes", {})
            attributes.get("format")
        except OSError as error:
            raise unreadable(where, error) from error
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
            raise DatasetError(f"{where} can't be read: {error}", VERIFY) from error
        if attributes.get("format") not in ("gpgen", VIRTUAL) and not path.name.endswith(".zip"):
            raise no_dataset(path)
        self.manifest: Manifest
        self.recipe: LabelledImages
        self.manifest, self.recipe = read_manifest(attributes, where)
        if self.manifest.chunk_size is None:
            raise DatasetError(f"{where}: the manifest lacks chunk_size", VERIFY)
        layout = self.manifest.layout
        if -(-layout.n // BLOCK_ROWS) > len(self.manifest.files):
            # Else a forged number would make a list of files that fills the memory.
            raise DatasetError(f"{where}: the manifest does not list all its files", VERIFY)
        arrays = (*derived_arrays(self.recipe, layout.n), *checksum_arrays(layout))
        self._arrays = {array.name: array for array in arrays}

    # What a zip does otherwise

    def document(self, name: str) -> bytes:
        """Return what is in a file of metadata."""
        return (self.path / name).read_whole()

    def span(self, name: str) -> tuple[AnyPath, int]:
        """Return the file in which a file of the dataset lies, and where it begins."""
        return self.path / name, 0

    def named(self, name: str) -> AnyPath:
        """Return the file to be named when a file of the dataset is wrong."""
        return self.path / name

    def names(self) -> Iterator[str]:
        """Return the names of all files that are there."""
        return self.path.names_under()

    def check(self, name: str, sha256: str) -> Iterator[Problem]:
        """Check a file's SHA-256."""
        return check_file(self.path, name, sha256)

    # What both share

    def place(self, shard: int) -> Place:
        """Return where a shard's images lie."""
        path, offset = self.span(shard_name(self.recipe, shard))
        return Place(path, offset, self.recipe.image_nbytes, self.manifest.chunk_size, CRC_BYTES)

    def region(self, shard: int) -> Region:
        """Return the shard's file."""
        path, offset = self.span(shard_name(self.recipe, shard))
        nbytes = shard_nbytes(self.recipe, self.manifest.layout, shard)
        return Region(path, offset, nbytes, whole_file=path != self.path)

    def rows(self, name: str, start: int, stop: int) -> NDArray[Any]:
        """Return rows of a small array as they stand on the disk."""
        array, parts = self._arrays[name], []
        rows = rows_a_block(array)
        for block, file in enumerate(block_names(array)):
            low, high = max(start, block * rows), min(stop, (block + 1) * rows)
            if low < high:
                path, begin = self.span(file)
                offset = begin + (low - block * rows) * array.row_nbytes
                parts.append(read_rows(path, array, offset, high - low))
        return np.concatenate(parts) if parts else np.empty((0, *array.shape[1:]), array.dtype)

    def array_file(self, name: str, row: int) -> AnyPath:
        """Return the file to be named when a row of a small array is wrong."""
        array = self._arrays[name]
        return self.named(block_name(array, row // rows_a_block(array)))

    def problems(self) -> Iterator[Problem]:
        """Check the metadata, the small arrays and the list of files."""
        listed, known, damaged = self.manifest.files, {ROOT}, set()
        for name in ("image", *self._arrays):
            expected = [f"{name}/{ROOT}"]
            if name in self._arrays:
                expected += block_names(self._arrays[name])
            for file in expected:
                if file not in listed:
                    yield self._problem(ROOT, f"does not list {file}")
                else:
                    known.add(file)
                    for problem in self.check(file, listed[file]):
                        damaged.add(file)
                        yield problem
        for file in sorted(listed.keys() - known):
            yield self._problem(ROOT, f"lists {printable(file)[:60]}, which is no part of it")
        yield from self._root_problems(damaged)
        layout = self.manifest.layout
        for file in self.names():
            if file not in known and not self._is_shard(file, layout.shards):
                kind: Kind = "litter" if is_litter(file) else "unclear"
                yield self._problem(file, "does not belong to the dataset", kind)

    def _problem(self, name: str, what: str, kind: Kind = "damage") -> Problem:
        if self.named(name) == self.path:
            return Problem(self.path.name, f"{name} {what}", kind)
        return Problem(name, what, kind)

    def _is_shard(self, file: str, shards: int) -> bool:
        shard = shard_number(self.recipe, file)
        return shard is not None and shard < shards

    def _root_problems(self, damaged: set[str]) -> Iterator[Problem]:
        # What an array's damaged metadata said is what gpgen writes.
        documents = {"image": image_document(self.recipe, self.manifest.layout)}
        documents |= {name: small_document(array) for name, array in self._arrays.items()}
        try:
            for name in documents:
                if f"{name}/{ROOT}" not in damaged:
                    documents[name] = json.loads(self.document(f"{name}/{ROOT}"))
            expected = root_document(self._root["attributes"], documents)
            found = json.loads(self.document(ROOT))
        except (OSError, ValueError, RecursionError):
            return  # named already, as a file that is missing or damaged
        # Its bytes may be others: `zarr.consolidate_metadata` writes the same in its own way, and
        # what it gathers nobody needs.
        if found.get("consolidated_metadata") is None:
            expected.pop("consolidated_metadata")
            found.pop("consolidated_metadata", None)
        if found != expected:
            yield self._problem(ROOT, "damaged: it does not agree with its arrays' metadata")
