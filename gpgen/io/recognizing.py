"""What lies at a path, told by its first bytes or a folder's names: for refusing it in good words.

The one place that knows what people give by mistake: other tools' files, and gpgen's own where
another verb takes them. It reads little, runs nothing and follows nothing.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from gpgen.errors import Argument, DatasetError
from gpgen.io.failures import NoFileError
from gpgen.io.local_path import LocalPath
from gpgen.io.paths import AnyPath

__all__ = ["DATASET", "NO_DATASET", "SAVED_BY_TORCH", "Found", "no_dataset", "recognize", "refused"]

DATASET: Final = "a gpgen dataset"
SAVED_BY_TORCH: Final = "a file saved by torch"
NO_DATASET: Final = "give a dataset, or make one with `gpgen make`"

_HEAD: Final = 2**16
_MOST_JSON: Final = 2**27
_MOST_NAMES: Final = 10_000

_OWN: Final = (".h5", ".hdf5", ".tar", ".zip", ".pt")
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_SHARD: Final = b"gpgen-shard"
# What begins so.
_MAGIC: Final = {
    "a NumPy array": (b"\x93NUMPY",),
    "a picture": (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*"),
    "a PDF file": (b"%PDF",),
    "a Parquet file": (b"PAR1",),
    "an Arrow file": (b"ARROW1",),
    "a MATLAB file": (b"MATLAB ",),
    "a NetCDF file": (b"CDF\x01", b"CDF\x02", b"CDF\x05"),
    "a FITS file": (b"SIMPLE  =",),
    "an SQLite database": (b"SQLite format 3\0",),
    "a compressed file": (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"(\xb5/\xfd", b"7z\xbc\xaf", b"Rar!"),
}
_OF_2018: Final = re.compile(r"(gp-(samples|crosses)/)?[^/]*(_corr-[\d.]+_v\d+\.npy|\.gp)")
_TAR_SAMPLE: Final = re.compile(r"\d{8,}\.(npy|cls|json)")
_SAVED_BY_TORCH: Final = re.compile(r"[^/]+/(data\.pkl|\.format_version|\.storage_alignment)")


@dataclass(frozen=True)
class Found:
    """What lies somewhere.

    Parameters
    ----------
    what
        With its article, such as "a NumPy array".
    use
        What can be done with it, in the imperative; ``None`` if gpgen does nothing with it.
    """

    what: str
    use: str | None = None


def refused(path: AnyPath, wanted: str, hint: str) -> DatasetError | None:
    """Return the error that says what lies at a path instead of what was wanted.

    Parameters
    ----------
    path
        What was given.
    wanted
        What should be there, such as "a gpgen dataset".
    hint
        What to give instead.

    Returns
    -------
    DatasetError or None
        ``None`` if nothing known lies there.
    """
    found = recognize(path)
    if found is None or found.what == wanted:
        return None
    if found.use is not None:
        hint = found.use if wanted == DATASET else f"{hint}, or {found.use}"
    return DatasetError(f"{path} is {found.what}, not {wanted}", hint)


def no_dataset(path: AnyPath) -> DatasetError:
    """Return the error that says what lies where a dataset should be."""
    error = refused(path, DATASET, NO_DATASET)
    return error or DatasetError(f"{path} is not {DATASET}", NO_DATASET)


def recognize(path: AnyPath) -> Found | None:
    """Return what lies at a path; ``None`` if that can't be told, or nothing does.

    Raises
    ------
    StorageError
        If an object store doesn't answer.
    """
    try:
        if path.is_dir():
            return _folder(path.on_disk())
        return _content(path.head(_HEAD), path)
    except NoFileError:
        return Found("a pipe, socket or device")
    except OSError:
        return None


def _content(head: bytes, path: AnyPath) -> Found | None:
    if not head:
        # Or a file of gpgen's that a broken disk has emptied.
        return None if path.suffix in _OWN else Found("an empty file")
    for look in (_hdf5, _zip, _tar, _torch_or_pickle):
        found = look(head, path)
        if found is not None:
            return found
    for what, magic in _MAGIC.items():
        if head.startswith(magic):
            return _import(what, path) if _OF_2018.fullmatch(path.name) else Found(what)
    return _text(head, path)


def _import(what: str, path: AnyPath) -> Found:
    return Found(
        f"{what} in the form of 2018", f"import it: {_run('import', path)} --out data.zarr"
    )


def _run(verb: str, path: AnyPath) -> str:
    return shlex.join(["gpgen", *verb.split(), str(path)])


# Files


def _hdf5(head: bytes, path: AnyPath) -> Found | None:
    if head.startswith(b"gpgen "):  # a user block, or what is left of one
        return Found(DATASET, _see(path))
    if not any(head.startswith(_HDF5, place) for place in (0, 512, 1024, 2048, 4096)):
        return None
    if _SHARD in head:
        manifest = _manifest_beside(path)
        return Found(
            "one shard of a dataset",
            f"open its manifest: {_run('info', manifest)}" if manifest else _SHARD_HINT,
        )
    if b"gpgen" in head or b"crc32c" in head:
        return Found(DATASET, _see(path))
    return Found("an HDF5 file that gpgen didn't make")


_SHARD_HINT: Final = "open the manifest, their folder or their pattern"


def _see(path: AnyPath) -> str:
    return f"see it with {_run('info', path)}"


def _manifest_beside(path: AnyPath) -> LocalPath | None:
    """Return the one manifest in a shard's folder whose name begins like the shard's."""
    if path.is_remote:
        return None
    path = path.on_disk()
    begin = re.split(r"\d+(?!.*\d)", path.stem)[0]
    suffix = path.suffix + (".h5" if path.suffix == ".tar" else "")
    found = [p for p in path.parent.glob("*manifest*") if p.name == f"{begin}manifest{suffix}"]
    return found[0] if len(found) == 1 else None


def _zip(head: bytes, path: AnyPath) -> Found | None:
    if not head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    length = int.from_bytes(head[26:28], "little")
    first = head[30 : 30 + length].decode(errors="replace")
    if first == "zarr.json" and b'"gpgen"' in head:
        return Found("a gpgen dataset in a zip", f"name it like data.zarr.zip, then {_see(path)}")
    if _OF_2018.fullmatch(first):
        return _import("a zip of samples", path)
    if _SAVED_BY_TORCH.fullmatch(first):
        return Found(SAVED_BY_TORCH)
    if first.endswith(".npy"):
        return Found("a zip of NumPy arrays (.npz)")
    return Found("a zip file", "unpack it first")


def _tar(head: bytes, path: AnyPath) -> Found | None:
    if not head.startswith(b"ustar", 257):
        return None
    if _TAR_SAMPLE.fullmatch(head[:100].rstrip(b"\0").decode(errors="replace")):
        manifest = _manifest_beside(path)
        return Found(
            "one tar file of a dataset for webdataset",
            f"open its manifest: {_run('info', manifest)}" if manifest else None,
        )
    return Found("a tar file", "unpack it first")


def _torch_or_pickle(head: bytes, path: AnyPath) -> Found | None:
    if head.startswith(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P"):
        return Found(SAVED_BY_TORCH)
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5" and len(head) > 1:
        return _import("a file of images", path) if path.suffix == ".gp" else Found("a pickle")
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 2**30:
        return Found("a safetensors file")
    return None


def _text(head: bytes, path: AnyPath) -> Found | None:
    """Recognize what is text; the first bytes may end within a character."""
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD else "ignore")
    except UnicodeError:
        return None
    if not all(c.isprintable() or c in "\n\r\t\f" for c in text[:2000]):
        return None
    start = text.lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return Found("an HTML page, such as `gpgen report` writes", "open it in a browser")
    if path.name in ("zarr.json", ".zgroup", ".zarray", ".zattrs"):
        return Found(
            "one file of a Zarr group", f"give its folder: {_run('info', path.parents[0])}"
        )
    if path.suffix == ".toml":
        return _toml(text, path)
    if start.startswith(("{", "[")):
        return Found("a JSON file")
    return Found("a text file")


def _toml(text: str, path: AnyPath) -> Found:
    if "components" in text and "length_scales" in text:
        return Found(
            "a recipe", f"make its dataset: {_run('make --recipe', path)} --n 400 --out data.zarr"
        )
    if "creators" in text:
        return Found(
            "a publication.toml",
            f"give it beside a dataset: {_run('package data.zarr --out deposit -p', path)}",
        )
    return Found("a TOML file")


# Folders


def _folder(path: LocalPath) -> Found | None:
    with os.scandir(path) as entries:
        names = {entry.name for entry, _ in zip(entries, range(_MOST_NAMES), strict=False)}
    for look in (_zarr, _own_folder, _files_of_2018, _folder_of_datasets):
        found = look(path, names)
        if found is not None:
            return found
    shown = {name for name in names if not name.startswith(".")}
    return Found("a folder of other things" if shown else "an empty folder")


def _zarr(path: LocalPath, names: set[str]) -> Found | None:
    if "zarr.json" in names:
        root = _json(path / "zarr.json")
        if _says_gpgen(root):
            return Found(DATASET, _see(path))
        kind = root.get("node_type")
        if kind == "array" and _says_gpgen(_json(path.parent / "zarr.json")):
            return Found("one array of a dataset", f"give the whole: {_run('info', path.parent)}")
        if "zarr_format" not in root and "attributes" not in root:
            return None  # damaged, and nothing says whose it was
        return Found(f"a Zarr {kind if kind == 'array' else 'group'} that gpgen didn't make")
    if names & {".zgroup", ".zarray", ".zmetadata"}:
        return Found("a Zarr group that gpgen didn't make, of version 2")
    return None


def _says_gpgen(root: dict[str, Any]) -> bool:
    attributes = root.get("attributes")
    return isinstance(attributes, dict) and attributes.get("format") == "gpgen"


def _json(path: LocalPath) -> dict[str, Any]:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_JSON:
            return {}
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _own_folder(path: LocalPath, names: set[str]) -> Found | None:
    if {"SHA256SUMS", "dataset.json"} <= names:
        out = {"hdf5": "data.h5", "archive": "archive"}
        out |= {"hdf5-shards": "'data-{shard:05d}.h5'", "webdataset": "'data-{shard:05d}.tar'"}
        name = out.get(str(_json(path / "dataset.json").get("form")), "data.zarr")
        return Found("a deposit", f"get its dataset: {_run('fetch', path)} --out {name}")
    if "archive.json" in names and names & {"samples.zip", "dataset.zip"}:
        last = "dataset.zip" if "dataset.zip" in names else "samples.zip"
        return _import("an archive", path / last)
    if path.suffix == ".making" or {"job.json", "lock"} <= names:
        return Found(
            "the folder in which a dataset or archive was being made",
            f"make it again with {Argument.RESUME}",
        )
    if path.suffix == ".fetching":
        return Found("the folder of a download that was broken off", "run that `gpgen fetch` again")
    if "plan.json" in names and any(path.glob("*/seed-*")):
        return Found("the folder of a training", "give `gpgen evaluate` a checkpoint.pt of it")
    if {"image", "label", "shard_sha256"} <= names:
        return Found("a dataset without its zarr.json", "get that file again")
    return None


def _files_of_2018(path: LocalPath, names: set[str]) -> Found | None:
    inner = {"gp-samples", "gp-crosses"} & names
    if inner or any(_OF_2018.fullmatch(name) for name in names):
        return _import("a folder of files", path)
    return None


def _folder_of_datasets(path: LocalPath, names: set[str]) -> Found | None:
    ends: tuple[tuple[str, Callable[[LocalPath], bool]], ...] = (
        (".zarr", lambda p: (p / "zarr.json").exists()),
        (".zarr.zip", LocalPath.is_file),
        (".h5", lambda p: (recognize(p) or Found("")).what == DATASET),
    )
    shown = (name for name in sorted(names) if not name.startswith("."))
    found = [n for n in shown for end, test in ends if n.endswith(end) and test(path / n)]
    if not found:
        return None
    more = " and others" if len(found) > 3 else ""
    return Found(
        f"a folder that holds {', '.join(found[:3])}{more}", f"give one: {_see(path / found[0])}"
    )
