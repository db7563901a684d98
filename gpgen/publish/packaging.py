"""From a dataset and a publication.toml to a deposit: a folder ready to be published."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from gpgen.dataset import open_dataset
from gpgen.description.citation import cff
from gpgen.description.publication import Publication
from gpgen.description.subject import DepositFile, Subject
from gpgen.errors import Argument, TargetError, UsageError
from gpgen.io.beside import put_in_place, working_folder
from gpgen.io.failures import target_errors
from gpgen.io.output_files import check_folder, check_space, free_bytes
from gpgen.io.paths import AnyPath, Given, place_of
from gpgen.io.user_paths import AnyText, target_of
from gpgen.publish.archive_source import ArchiveSource, is_archive
from gpgen.publish.card import card
from gpgen.publish.croissant import croissant_json
from gpgen.publish.datacite_json import datacite_json
from gpgen.publish.dataset_source import DatasetSource
from gpgen.publish.deposit import CARD, FIGURE, MANIFEST, MD5SUMS, RECORD_BYTES, SHA256SUMS, Deposit
from gpgen.publish.invenio_record import invenio_record
from gpgen.publish.parts import MOST_PARTS, PartWriter
from gpgen.publish.sources import Source

__all__ = ["PackageProgress", "Packaged", "package"]

"""Bytes that Zenodo takes in a file."""

_MEDIA: Final = {
    ".zip": "application/zip",
    ".h5": "application/x-hdf5",
    ".tar": "application/x-tar",
    ".csv": "text/csv",
    ".toml": "application/toml",
    ".json": "application/json",
    ".png": "image/png",
    ".md": "text/markdown",
    ".cff": "application/yaml",
    "": "text/plain",
}


@dataclass(frozen=True)
class PackageProgress:
    """How far packaging is: bytes of the dataset done, and in all."""

    done: int
    nbytes: int


@dataclass(frozen=True)
class Packaged:
    """A finished deposit.

    Parameters
    ----------
    path
        The folder.
    files
        Its files' names.
    nbytes
        Bytes of all.
    """

    path: Path
    files: tuple[str, ...]
    nbytes: int


def package(
    dataset: Given,
    publication: Publication | AnyText,
    out: AnyText,
    *,
    recipe_only: bool = False,
    overwrite: bool = False,
    most_bytes: int = RECORD_BYTES,
    progress: Callable[[PackageProgress], None] | None = None,
) -> Packaged:
    """Make a deposit.

    The same dataset and publication give the same bytes, on any machine, on any day whose date
    the publication gives.

    Parameters
    ----------
    dataset
        As for `gpgen.open_dataset`, or a folder made by `gpgen archive`.
    publication
        What publication.toml says, or its path.
    out
        The folder to make; it appears once it is whole.
    recipe_only
        Whether to leave the pixels out. `regenerate` makes them again.
    overwrite
        Whether to replace a deposit that is there.
    most_bytes
        Bytes that the service takes in a file; longer ones are split.
    progress
        Called now and then.

    Raises
    ------
    DatasetError
        If the dataset fails `gpgen.verify`.
    UsageError
        If the publication isn't valid.
    TargetError
        If `out` is there and is not to be replaced, or can't be written.
    """
    if not isinstance(publication, Publication):
        publication = Publication.load(publication)
    publication = publication.checked()
    if most_bytes < 1:
        raise UsageError(f"files of {most_bytes} bytes can't be made", "use 1 or more")
    target = target_of(out)
    _check_target(target, overwrite)
    source = _open_source(place_of(dataset), recipe_only)
    if source.nbytes > MOST_PARTS * most_bytes:
        raise UsageError(
            f"files of {most_bytes:,} bytes would be more than {MOST_PARTS} parts",
            f"use {-(-source.nbytes // MOST_PARTS):,} or more",
        )
    check_space(
        target,
        source.nbytes,
        free_bytes(target.parent),
        f"package with {Argument.RECIPE_ONLY}",
    )
    with (
        target_errors(f"{target} can't be written"),
        working_folder(target, "packaging") as folder,
    ):
        return _fill(folder, target, source, publication, most_bytes, progress)


def _open_source(path: AnyPath, recipe_only: bool) -> Source:
    if isinstance(path, Path) and is_archive(path):
        return ArchiveSource(path, recipe_only)
    return DatasetSource(open_dataset(path), recipe_only)


def _fill(
    folder: Path,
    target: Path,
    source: Source,
    publication: Publication,
    most_bytes: int,
    progress: Callable[[PackageProgress], None] | None,
) -> Packaged:
    done = 0

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        if progress:
            progress(PackageProgress(min(done, source.nbytes), source.nbytes))

    entries = [
        DepositFile(part.name, part.nbytes, part.sha256, part.md5, _media(part.name), what)
        for part, what in source.write_data(folder, most_bytes, advance)
    ]

    def add(name: str, what: str, pieces: Iterable[bytes]) -> None:
        with PartWriter(folder, name, 0, RECORD_BYTES) as writer:
            for piece in pieces:
                writer.write(piece)
            (part,) = writer.finish()
        entries.append(
            DepositFile(part.name, part.nbytes, part.sha256, part.md5, _media(name), what)
        )

    name, recipe = source.recipe_file
    add(name, "The recipe, from which gpgen makes the dataset again", [recipe.encode()])
    for name, what, pieces in source.tables():
        add(name, what, pieces)
    manifest = {
        "format": "gpgen-deposit",
        "format_version": 1,
        "form": source.subject.form,
        "n": source.subject.n,
        "recipe_only": source.subject.recipe_only,
        "recipe_sha256": source.subject.recipe_sha256,
        "gpgen_version": source.subject.gpgen_version,
        "layout": source.subject.layout,
        "publication": msgspec.to_builtins(publication),
        **source.manifest(),
    }
    add(MANIFEST, "What `gpgen fetch` and `gpgen make --from` need to know", [_json(manifest)])
    add(FIGURE, "A contact sheet: a row for each class", [source.figure()])
    text = card(publication, source.subject, tuple(entries), figure=FIGURE)
    add(CARD, "The dataset's card", [text.encode()])
    documents = _documents(publication, source.subject, tuple(entries))
    described = {
        "croissant.json": "Croissant 1.1 metadata",
        "datacite.json": "DataCite 4.5 metadata",
        "CITATION.cff": "How to cite",
        "record.json": "The record's metadata as InvenioRDM takes them",
    }
    for name, document in documents.items():
        add(name, described[name], [document.encode()])
    entries.sort(key=lambda entry: entry.name)
    _write_sums(folder, entries)
    put_in_place(folder, target)
    deposit = Deposit.open(target)
    return Packaged(target, deposit.files, deposit.nbytes())


def _documents(
    publication: Publication, subject: Subject, files: tuple[DepositFile, ...]
) -> dict[str, str]:
    return {
        "croissant.json": _json(croissant_json(publication, subject, files)).decode(),
        "datacite.json": _json(datacite_json(publication, subject, files)).decode(),
        "CITATION.cff": cff(publication, subject),
        "record.json": _json(invenio_record(publication, subject)).decode(),
    }


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _write_sums(folder: Path, entries: list[DepositFile]) -> None:
    for name, digests in (
        (SHA256SUMS, {entry.name: entry.sha256 for entry in entries}),
        (MD5SUMS, {entry.name: entry.md5 for entry in entries}),
    ):
        text = "".join(f"{digest}  {file}\n" for file, digest in digests.items())
        with PartWriter(folder, name, 0, RECORD_BYTES) as writer:
            writer.write(text.encode())
            writer.finish()


def _media(name: str) -> str:
    return _MEDIA.get(Path(name).suffix, "application/octet-stream")


# The folder


def _check_target(target: Path, overwrite: bool) -> None:
    check_folder(target.parent)
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise TargetError(
            f"{target} exists",
            f"give another {Argument.OUT}, or {Argument.OVERWRITE} to replace it",
        )
    if not (target / SHA256SUMS).is_file() or not (target / MANIFEST).is_file():
        raise TargetError(
            f"{target} is no deposit, and is not replaced", f"give another {Argument.OUT}"
        )
