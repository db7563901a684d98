"""From a dataset and a publication.toml to a deposit: a folder ready to be published."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from gpgen.contact_sheet.content import choose_classes
from gpgen.dataset import open_dataset
from gpgen.description.citation import cff
from gpgen.description.dataset_description import DatasetDescription, DepositFile
from gpgen.description.publication import Publication
from gpgen.errors import Argument, TargetError, UsageError
from gpgen.golkar2018.archive_reading import is_archive
from gpgen.io.beside import put_in_place, working_folder
from gpgen.io.failures import target_errors
from gpgen.io.output_files import check_folder, check_space, free_bytes
from gpgen.io.paths import AnyPath, Given, place_of
from gpgen.io.user_paths import AnyText, target_of
from gpgen.progress import Follow, Progress, Tell, following
from gpgen.publish import ro_crate
from gpgen.publish.archive_source import ArchiveSource
from gpgen.publish.card import card
from gpgen.publish.croissant import croissant_json
from gpgen.publish.datacite_json import datacite_json
from gpgen.publish.dataset_source import DatasetSource
from gpgen.publish.deposit import CARD, FIGURE, MANIFEST, MD5SUMS, RECORD_BYTES, SHA256SUMS, Deposit
from gpgen.publish.invenio_record import invenio_record
from gpgen.publish.part_writer import MOST_PARTS, Part, PartWriter
from gpgen.publish.sources import Source
from gpgen.publish.stated_difficulty import StatedDifficulty

__all__ = ["Packaged", "package"]

_MEDIA: Final = {
    ".zip": "application/zip",
    ".h5": "application/x-hdf5",
    ".tar": "application/x-tar",
    ".csv": "text/csv",
    ".toml": "application/toml",
    ".json": "application/json",
    ".png": "image/png",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".cff": "application/yaml",
    "": "text/plain",
}


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
    parquet: bool = False,
    classes: Sequence[str] | None = None,
    difficulty: AnyText | None = None,
    overwrite: bool = False,
    most_bytes: int = RECORD_BYTES,
    progress: Follow = None,
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
    parquet
        Whether to put the samples there as Parquet, too, which the Hugging Face Hub shows and
        ``datasets`` loads: the card names these files.
    classes
        Names of the classes in the contact sheet; by default all, or eight evenly chosen if there
        are more.
    difficulty
        The file that ``gpgen difficulty DATASET --json`` wrote, for recipes that aren't built in;
        None to state no difficulty of these.
    overwrite
        Whether to replace a deposit that is there.
    most_bytes
        Bytes that the service takes in a file; longer ones are split.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress` of the dataset's bytes.

    Raises
    ------
    DatasetError
        If the dataset fails `gpgen.verify`.
    UsageError
        If the publication isn't valid, there is no class of such a name, or `difficulty` isn't
        this dataset's.
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
    stated = None if difficulty is None else StatedDifficulty.load(difficulty)
    if parquet and recipe_only:
        raise UsageError(
            "recipe_only leaves the pixels out, and parquet would put them there",
            f"leave out {Argument.RECIPE_ONLY} or {Argument.PARQUET}",
        )
    source = _open_source(place_of(dataset), recipe_only, stated, parquet)
    shown = _shown_classes(source.description, classes)
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
        following(progress) as tell,
    ):
        return _fill(folder, target, source, publication, shown, most_bytes, tell)


def _open_source(
    path: AnyPath, recipe_only: bool, difficulty: StatedDifficulty | None, parquet: bool
) -> Source:
    if isinstance(path, Path) and is_archive(path):
        if parquet:
            raise UsageError(
                f"{path} is a folder of `gpgen archive`, of which nothing writes Parquet",
                f"leave out {Argument.PARQUET}, or package a dataset",
            )
        if difficulty is not None:
            raise UsageError(
                f"{path} holds the textures of 2018, whose difficulty nobody knows",
                f"leave out {Argument.DIFFICULTY}",
            )
        return ArchiveSource(path, recipe_only)
    return DatasetSource(open_dataset(path), recipe_only, difficulty, parquet=parquet)


def _shown_classes(description: DatasetDescription, classes: Sequence[str] | None) -> list[str]:
    present = [label for label, count in enumerate(description.counts) if count]
    labels = choose_classes(description.classes, present, classes)
    return [description.classes[label] for label in labels]


def _fill(
    folder: Path,
    target: Path,
    source: Source,
    publication: Publication,
    shown: Sequence[str],
    most_bytes: int,
    tell: Tell,
) -> Packaged:
    done = 0

    def advance(nbytes: int) -> None:
        nonlocal done
        done += nbytes
        tell(Progress(min(done, source.nbytes), source.nbytes, "byte"))

    entries = [_entry(*part) for part in source.write_data(folder, most_bytes, advance)]

    def add(name: str, what: str, pieces: Iterable[bytes]) -> None:
        with PartWriter(folder, name, 0, RECORD_BYTES) as writer:
            for piece in pieces:
                writer.write(piece)
            (part,) = writer.finish()
        entries.append(_entry(part, what))

    name, recipe = source.recipe_file
    add(name, "The recipe, from which gpgen makes the dataset again", [recipe.encode()])
    for name, what, pieces in source.tables():
        add(name, what, pieces)
    manifest = {
        "format": "gpgen-deposit",
        "format_version": 1,
        "form": source.description.form,
        "n": source.description.n,
        "recipe_only": source.description.recipe_only,
        "recipe_sha256": source.description.recipe_sha256,
        "gpgen_version": source.description.gpgen_version,
        "layout": source.description.layout,
        "publication": msgspec.to_builtins(publication),
        **_difficulty(source.description),
        **source.manifest(),
    }
    add(MANIFEST, "What `gpgen fetch` and `gpgen make --from` need to know", [_json(manifest)])
    add(FIGURE, "A contact sheet: a row for each class", [source.figure(shown)])
    text = card(publication, source.description, tuple(entries), figure=FIGURE, shown=shown)
    add(CARD, "The dataset's card", [text.encode()])
    about = (publication, source.description)
    files = tuple(entries)
    for name, what, document in (
        ("croissant.json", "Croissant 1.1 metadata", _json(croissant_json(*about, files))),
        (ro_crate.NAME, "RO-Crate 1.1 metadata", _json(ro_crate.ro_crate_json(*about, files))),
        ("datacite.json", "DataCite 4.5 metadata", _json(datacite_json(*about, files))),
        ("CITATION.cff", "How to cite", cff(*about).encode()),
        (
            "record.json",
            "The record's metadata as InvenioRDM takes them",
            _json(invenio_record(*about)),
        ),
    ):
        add(name, what, [document])
    entries.sort(key=lambda entry: entry.name)
    _write_sums(folder, entries)
    put_in_place(folder, target)
    deposit = Deposit.open(target)
    return Packaged(target, deposit.files, deposit.nbytes())


def _difficulty(description: DatasetDescription) -> dict[str, Any]:
    stated = description.difficulty
    return {} if stated is None else {"difficulty": stated.to_dict()}


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


def _entry(part: Part, what: str) -> DepositFile:
    media = _MEDIA.get(Path(part.name).suffix, "application/octet-stream")
    return DepositFile(part.name, part.nbytes, part.sha256, part.md5, media, what)


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
