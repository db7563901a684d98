"""Finished datasets, damaged or forged: manifests, Zarr folders, HDF5 files, shards."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzing.material import OUTS, copy_of, deposit, scratch
from benchmarks.fuzzing.mutation import damaged_bytes, edited, hostile_values
from benchmarks.fuzzing.outcome import REFUSED, Violation, answer
from benchmarks.fuzzing.reading import look, reading_is_right
from gpgen.format import hdf5_file
from gpgen.format.manifest import canonical_json
from gpgen.io.local_path import LocalPath

__all__ = ["files_of", "forge_zip", "hdf5", "manifest", "zarr", "zipped"]

_NAMES = (
    "../outside.txt", "/tmp/outside.txt", "a/../../outside.txt", "image/c.0.0.0", "image/../x",
    "a\\..\\b", "", ".", "image/", "zarr.json", "C:\\x", "\0", "x" * 300, "image/c.9.0.0",
    "label/c.0/x", ".hidden",
)  # fmt: skip


def files_of(path: Path) -> dict[str, Path]:
    """Return every file of a dataset by the name that verify gives it."""
    if path.suffix == ".zarr":
        return {str(p.relative_to(path)): p for p in sorted(path.rglob("*")) if p.is_file()}
    return {p.name: p for p in sorted(path.parent.iterdir()) if p.is_file()}


def _sealed(attributes: dict[str, Any]) -> dict[str, Any]:
    """Seal hostile attributes as a forger would."""
    others = {key: value for key, value in attributes.items() if key != "manifest_sha256"}
    try:
        digest = hashlib.sha256(canonical_json(others)).hexdigest()
    except (ValueError, TypeError):
        digest = "0" * 64
    return {**others, "manifest_sha256": digest}


@given(data=st.data())
def manifest(data: st.DataObject) -> None:
    """Forged manifests, their own hash and those of the recipe and of small arrays in order."""
    folder = scratch()
    path = copy_of("d.zarr", folder)
    root = path / "zarr.json"
    document = json.loads(root.read_bytes())
    what = data.draw(st.sampled_from(["attributes", "attributes", "document", "array"]))
    if what == "array":
        name = data.draw(st.sampled_from(sorted(document["attributes"]["files"])))
        raw = data.draw(damaged_bytes((path / name).read_bytes()))
        (path / name).write_bytes(raw)
        document["attributes"]["files"][name] = hashlib.sha256(raw).hexdigest()
        document["attributes"] = _sealed(document["attributes"])
    elif what == "attributes":
        attributes = data.draw(edited(document["attributes"]))
        if isinstance(attributes, dict):
            recipe = attributes.get("recipe")
            if data.draw(st.booleans()) and isinstance(recipe, dict):
                attributes |= _consistent(recipe)
            attributes = _sealed(attributes)
        document["attributes"] = attributes
    else:
        document = data.draw(edited(document))
    text = json.dumps(document, indent=2, ensure_ascii=False)
    root.write_bytes(text.encode(errors="surrogatepass") + b"\n")
    look(data, path, folder, forged=what != "array")


def _consistent(fields: dict[str, Any]) -> dict[str, Any]:
    """What else a forged recipe makes the manifest say."""
    from gpgen.format.stored_recipe import stored_recipe

    recipe = answer(lambda: stored_recipe(fields))
    if recipe is REFUSED:
        return {}
    return {
        "recipe_sha256": recipe.sha256,
        "class_names": list(recipe.classes),
        "split_names": list(recipe.splits),
    }


@given(data=st.data())
def zarr(data: st.DataObject) -> None:
    """A Zarr folder or a set of shards with damaged, missing, foreign and strange files."""
    folder = scratch()
    path = copy_of(data.draw(st.sampled_from(OUTS)), folder)
    files = files_of(path)
    name = data.draw(st.sampled_from(sorted(files)))
    file = files[name]
    whole = file.read_bytes()
    what = data.draw(
        st.sampled_from(
            ["damage", "damage", "damage", "remove", "folder", "pipe", "link", "swap", "add"]
        )
    )
    changed: set[str] | None = {name}
    if what == "damage":
        file.write_bytes(data.draw(damaged_bytes(whole)))
        changed = {name} if file.read_bytes() != whole else None
    elif what == "add":
        changed = {_foreign(data, path)}
    elif what == "swap":
        second = data.draw(st.sampled_from(sorted(files)))
        other = files[second]
        theirs = other.read_bytes()
        other.write_bytes(whole)
        file.write_bytes(theirs)
        # Of a manifest and another file, the manifest alone can be named.
        changed = {name, second} if whole != theirs else None
    else:
        file.unlink()
        if what == "folder":
            file.mkdir()
        elif what == "pipe":
            os.mkfifo(file)
        elif what == "link":
            file.symlink_to(data.draw(st.sampled_from(["/dev/zero", "/dev/null", "nowhere", "."])))
    look(data, path, folder, changed=changed)
    if changed is None and not reading_is_right(path):
        raise Violation("it is whole and can't be read")
    shutil.rmtree(folder)


def _foreign(data: st.DataObject, path: Path) -> str:
    """Put a file where the dataset has none; return the name that verify gives it."""
    if path.suffix == ".zarr":
        name = data.draw(st.sampled_from(["image/c.9.0.0", "label/c.7", "x", "image/x", "y/z"]))
        file = path / name
    else:
        name = path.name.replace("{shard:03d}", "017")
        file = path.with_name(name)
        if "{" not in path.name:
            return _damaged_end(path)  # beside one file there may be anything
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data.draw(st.binary(max_size=8)))
    return name


def _damaged_end(path: Path) -> str:
    with path.open("ab") as file:
        file.write(b"x")
    return path.name


def forge_zip(data: st.DataObject, path: Path) -> None:
    """Rewrite a zip with members that want to go elsewhere, or are there twice, or are odd."""
    raw = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(data.draw(damaged_bytes(raw)))
        return
    with zipfile.ZipFile(io.BytesIO(raw)) as whole:
        members = [(info.filename, whole.read(info)) for info in whole.infolist()]
    name = data.draw(st.sampled_from(_NAMES) | st.text(max_size=12))
    place = data.draw(st.integers(0, len(members)))
    info = zipfile.ZipInfo("x")
    info.filename = name
    info.external_attr = data.draw(st.sampled_from([0o100644, 0o120777, 0o010644, 0o040755])) << 16
    info.compress_type = data.draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    content = data.draw(st.sampled_from([b"", b"../../outside", bytes(5000)]))
    with zipfile.ZipFile(path, "w") as forged:
        for k, (member, inside) in enumerate([*members[:place], (None, b""), *members[place:]]):
            with contextlib.suppress(ValueError, UnicodeError):
                if member is None:
                    forged.writestr(info, content)
                elif k != data.draw(st.integers(-9, 60)):
                    forged.writestr(zipfile.ZipInfo(member), inside)


@given(data=st.data())
def zipped(data: st.DataObject) -> None:
    """The ``data.zarr.zip`` of a deposit, damaged or forged, opened as it is."""
    folder = scratch()
    source = deposit("d.zarr", False, folder / "deposit")
    path = folder / "data.zarr.zip"
    shutil.copy(source / "data.zarr.zip", path)
    whole = path.read_bytes()
    forge_zip(data, path)
    look(data, path, folder)
    if path.read_bytes() == whole and not reading_is_right(path):
        raise Violation("it is whole and can't be read")


def _with_new_block(path: Path) -> None:
    """Write the first block again, as a forger would who changed what is outside the images."""
    block = path.read_bytes()[: hdf5_file.USER_BLOCK]
    match = re.match(rb"gpgen \d+ n=(\d+) image=(\d+)\+(\d+) ", block)
    if match is None:
        return
    n, offset, length = (int(match.group(k)) for k in (1, 2, 3))
    with path.open("r+b") as file:
        hdf5_file.write_user_block(file.fileno(), LocalPath(path), n, (offset, length))


def _set_attribute(file: h5py.File, key: str, value: Any) -> None:
    try:
        if isinstance(value, dict):
            value = json.dumps(value)
        file.attrs[key] = value
    except (TypeError, ValueError, OverflowError, OSError, RuntimeError, UnicodeError):
        file.attrs[key] = h5py.Empty("f8")


def _replace_array(draw: Any, file: h5py.File, name: str) -> None:
    """Put something else where an array was."""
    shape, dtype = file[name].shape, file[name].dtype
    del file[name]
    what = draw(st.sampled_from(
        ["nothing", "soft", "itself", "external", "virtual", "outside", "chunks", "type", "group",
         "datatype", "reference", "strings"]
    ))  # fmt: skip
    if what == "soft":
        file[name] = h5py.SoftLink(draw(st.sampled_from(["/", "/label", "/nowhere"])))
    elif what == "itself":
        file[name] = h5py.SoftLink(f"/{name}")
    elif what == "external":
        file[name] = h5py.ExternalLink(
            draw(st.sampled_from([file.filename, "nowhere.h5", "/dev/zero", "pipe"])), "/label"
        )
    elif what == "virtual":
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("nowhere.h5", "x", shape)
        file.create_virtual_dataset(name, layout)
    elif what == "outside":
        file.create_dataset(name, shape, dtype, external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)])
    elif what == "chunks":
        file.create_dataset(name, data=np.zeros(shape, dtype), chunks=True, compression="gzip")
    elif what == "type":
        other = draw(st.sampled_from([">i8", "<i4", "<f8", "S5", "<c16", "V16", "?"]))
        file.create_dataset(name, shape, other)
    elif what == "group":
        file.create_group(name)
    elif what == "datatype":
        file[name] = np.dtype("<i8")
    elif what == "reference":
        file.create_dataset(name, shape, h5py.ref_dtype)
    elif what == "strings":
        file.create_dataset(name, shape, h5py.string_dtype())


@given(data=st.data())
def hdf5(data: st.DataObject) -> None:
    """HDF5 files whose attributes, links and metadata were forged or damaged."""
    folder = scratch()
    os.mkfifo(folder / "pipe")
    out = data.draw(st.sampled_from(OUTS[1:]))
    path = copy_of(out, folder)
    files = [p for p in files_of(path).values() if p.suffix == ".h5"]
    file = data.draw(st.sampled_from(files))
    before = file.read_bytes()
    what = data.draw(st.sampled_from(["attributes", "array", "bytes"]))
    if what == "bytes":
        whole = file.read_bytes()
        front = data.draw(st.sampled_from([len(whole), 16384, 6000]))
        file.write_bytes(data.draw(damaged_bytes(whole[:front])) + whole[front:])
    else:
        with h5py.File(file, "r+") as opened:
            if what == "array":
                _replace_array(data.draw, opened, data.draw(st.sampled_from(sorted(opened))))
            else:
                for _ in range(data.draw(st.integers(1, 3))):
                    key = data.draw(st.sampled_from(sorted(opened.attrs)))
                    _set_attribute(opened, key, data.draw(hostile_values()))
                _seal_hdf5(opened)
    changed: set[str] | None = {file.name} if file.read_bytes() != before else None
    if data.draw(st.booleans(), "a new first block"):
        _with_new_block(file)
        changed = None
    look(data, path, folder, changed=changed, forged=True)


def _seal_hdf5(file: h5py.File) -> None:
    file.flush()
    read = answer(lambda: hdf5_file.read_hdf5(LocalPath(file.filename)))
    attributes = {} if read is REFUSED else read[0]
    if "manifest_sha256" in attributes:
        file.attrs["manifest_sha256"] = _sealed(attributes)["manifest_sha256"]
