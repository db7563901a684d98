"""A deposit: a folder ready to be published, and what its files must hash to."""

from __future__ import annotations

import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from gpgen.errors import DatasetError, UsageError
from gpgen.format.layout import Target
from gpgen.format.manifest import FORMAT_VERSION, newer
from gpgen.io.failures import reading
from gpgen.io.files import read_whole
from gpgen.io.litter import is_litter
from gpgen.io.recognizing import refused
from gpgen.io.user_paths import given

__all__ = [
    "CARD",
    "CRC32C",
    "FIGURE",
    "MANIFEST",
    "MD5SUMS",
    "RECORD_BYTES",
    "RECORD_FILES",
    "SHA256SUMS",
    "Deposit",
    "DepositManifest",
    "hash_file",
    "is_plain_name",
]

SHA256SUMS: Final = "SHA256SUMS"
MD5SUMS: Final = "MD5SUMS"
MANIFEST: Final = "dataset.json"
CARD: Final = "README.md"
CRC32C: Final = "crc32c.npy"
FIGURE: Final = "figure.png"

RECORD_FILES: Final = 100
RECORD_BYTES: Final = 50 * 10**9
"""What Zenodo takes in one record; the bytes of all files together, so of one, too."""

_LINE: Final = re.compile(r"([0-9a-f]{32,64})  (\S.*)")
_BLOCK: Final = 2**22
_VERSION: Final = re.compile(r"[0-9A-Za-z.+!-]{1,60}")
_GIVE: Final = "give the folder that `gpgen package` made"
_AGAIN: Final = "package the dataset again: `gpgen package DATASET --publication FILE --out DIR`"


class Layout(msgspec.Struct, omit_defaults=True):
    """What else `gpgen make` needs to give the same files, in samples."""

    shard_size: int | None = None
    chunk_size: int | None = None


class Attributes(msgspec.Struct):
    """What is read here of the dataset's own manifest."""

    shard_pattern: str | None = None
    manifest_sha256: str | None = None
    files: dict[str, str] = {}
    roots_sha256: str | None = None


class DepositManifest(msgspec.Struct):
    """What dataset.json says, in the right types whoever wrote it."""

    format: Literal["gpgen-deposit"]
    format_version: Literal[1]
    form: Literal["zarr", "hdf5", "hdf5-shards", "webdataset", "archive"]
    n: int
    recipe_only: bool
    recipe_sha256: str
    gpgen_version: str
    layout: Layout = msgspec.field(default_factory=Layout)
    sampling_version: int | None = None
    attributes: Attributes = msgspec.field(default_factory=Attributes)
    archive: dict[str, str] = {}
    publication: dict[str, Any] = {}
    difficulty: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        # A hint puts the version behind `pip install gpgen==`, to be copied.
        if not _VERSION.fullmatch(self.gpgen_version):
            raise ValueError("gpgen_version is no version")
        pattern = self.attributes.shard_pattern
        # It becomes the name of files.
        if pattern is not None and not (is_plain_name(pattern) and _is_target(pattern)):
            raise ValueError("shard_pattern is no pattern of files' names")


def _is_target(pattern: str) -> bool:
    try:
        return Target.parse(pattern).path.name == pattern
    except UsageError:
        return False


def is_plain_name(name: str) -> bool:
    """Return whether a name can be a file's in a folder, and nothing else's."""
    return (
        0 < len(name) <= 255
        and name.isprintable()
        and "/" not in name
        and "\\" not in name
        and not name.startswith((".", "~"))
    )


def hash_file(path: Path) -> tuple[int, str, str]:
    """Return a file's bytes, its SHA-256 and its MD5, both computed at once."""
    sha256, md5, total = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    with reading(path), path.open("rb", buffering=0) as stream, ThreadPoolExecutor(1) as pool:
        # Two buffers: one is being read while the other is hashed.
        buffers = [bytearray(_BLOCK), bytearray(_BLOCK)]
        pending = None
        while True:
            buffer = memoryview(buffers[0])
            buffers.reverse()
            count = stream.readinto(buffer) or 0
            if pending is not None:
                pending.result()
            if not count:
                return total, sha256.hexdigest(), md5.hexdigest()
            pending = pool.submit(md5.update, buffer[:count])
            sha256.update(buffer[:count])
            total += count


@dataclass(frozen=True)
class Deposit:
    """A packaged dataset.

    Parameters
    ----------
    path
        The folder.
    sha256, md5
        Of each file but the two lists, by name.
    manifest
        What dataset.json says.
    """

    path: Path
    sha256: dict[str, str]
    md5: dict[str, str]
    manifest: DepositManifest

    @classmethod
    def open(cls, path: str | Path) -> Deposit:
        """Read a deposit's lists.

        Raises
        ------
        DatasetError
            If the folder is no deposit, or its lists are damaged.
        """
        folder = given(path)
        if not (folder / SHA256SUMS).is_file() or not (folder / MANIFEST).is_file():
            raise refused(folder, "a deposit", _GIVE) or DatasetError(
                f"{path} is not a deposit: it lacks {SHA256SUMS} or {MANIFEST}", _AGAIN
            )
        sha256, md5 = (_read_sums(folder / name) for name in (SHA256SUMS, MD5SUMS))
        with reading(folder / MANIFEST, _AGAIN):
            raw = read_whole(folder / MANIFEST)
        try:
            document = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{folder / MANIFEST} can't be read: {error}", _AGAIN) from error
        _check_versions(folder / MANIFEST, document)
        try:
            manifest = msgspec.convert(document, DepositManifest)
        except (msgspec.ValidationError, RecursionError) as error:
            raise DatasetError(f"{folder / MANIFEST} is damaged: {error}", _AGAIN) from error
        return cls(folder, sha256, md5, manifest)

    @property
    def files(self) -> tuple[str, ...]:
        """The files to publish, in the order of the list."""
        return (*self.sha256, SHA256SUMS, MD5SUMS)

    @property
    def recipe_only(self) -> bool:
        """Whether the pixels are left out."""
        return self.manifest.recipe_only

    @property
    def form(self) -> str:
        """The dataset's format: one of `dataset_description.TARGETS`."""
        return self.manifest.form

    def nbytes(self) -> int:
        """Return the bytes of all files.

        Raises
        ------
        DatasetError
            If one is missing.
        """
        return sum(self._size(name) for name in self.files)

    def check(self) -> dict[str, str]:
        """Check every file, and return the MD5 of each, the lists' own too.

        Raises
        ------
        DatasetError
            If a file was changed, removed or added since the deposit was packaged.
        """
        for entry in sorted(self.path.iterdir()):
            if entry.name not in self.files and not is_litter(entry.name):
                raise DatasetError(
                    f"{entry} does not belong to the deposit", f"remove it, or {_AGAIN}"
                )
        sums = {}
        for name in self.files:
            self._size(name)
            _, sha256, md5 = hash_file(self.path / name)
            if name in self.sha256 and (sha256, md5) != (self.sha256[name], self.md5.get(name)):
                raise DatasetError(f"{self.path / name} was changed since it was packaged", _AGAIN)
            sums[name] = md5
        return sums

    def read_json(self, name: str) -> dict[str, Any]:
        """Return one of the metadata files."""
        with reading(self.path / name, _AGAIN):
            raw = read_whole(self.path / name)
        try:
            document: dict[str, Any] = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{self.path / name} can't be read: {error}", _AGAIN) from error
        if not isinstance(document, dict):
            raise DatasetError(f"{self.path / name} holds no object", _AGAIN)
        return document

    def _size(self, name: str) -> int:
        path = self.path / name
        if not path.is_file() or path.is_symlink():
            raise DatasetError(f"{path} is missing", _AGAIN)
        return path.stat().st_size


def _check_versions(path: Path, manifest: Any) -> None:  # noqa: ANN401 - what JSON gives
    """Refuse what is no deposit, and a deposit or a dataset in it that is newer than this gpgen."""
    if not (isinstance(manifest, dict) and manifest.get("format") == "gpgen-deposit"):
        raise DatasetError(f"{path} is not a deposit's manifest", _AGAIN)
    attributes = manifest.get("attributes")
    inner = attributes.get("format_version") if isinstance(attributes, dict) else None
    for version, known in ((manifest.get("format_version"), 1), (inner, FORMAT_VERSION)):
        if isinstance(version, int) and version > known:
            raise DatasetError(f"{path} {newer(version)}", "install a newer gpgen")
    if manifest.get("format_version") != 1:
        raise DatasetError(f"{path} has no format version", _AGAIN)


def _read_sums(path: Path) -> dict[str, str]:
    with reading(path, _AGAIN):
        raw = read_whole(path)
    try:
        lines = raw.decode().splitlines()
    except UnicodeError as error:
        raise DatasetError(f"{path} can't be read: {error}", _AGAIN) from error
    sums = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or not is_plain_name(match[2]):
            raise DatasetError(f"{path} has a line that is no checksum: {line[:80]!r}", _AGAIN)
        sums[match[2]] = match[1]
    return sums
