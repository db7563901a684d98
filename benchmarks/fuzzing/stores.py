"""Finished datasets, damaged or forged: manifests, Zarr folders, HDF5 files, shards."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzing.material import OUTS, copy_of, pixels, scratch
from benchmarks.fuzzing.mutation import damaged_bytes, edited, hostile_values
from benchmarks.fuzzing.outcome import REFUSED, Violation, answer, writes_only_under
from gpgen.dataset import open_dataset
from gpgen.store import hdf5_file
from gpgen.store.manifest import canonical_json
from gpgen.verification import verify

__all__ = ["files_of", "hdf5", "manifest", "reading_is_right", "zarr"]

_MOST = 64
"""Samples that are read in passing of a dataset that says it has many."""


def files_of(path: Path) -> dict[str, Path]:
    """Return every file of a dataset by the name that verify gives it."""
    if path.suffix == ".zarr":
        return {str(p.relative_to(path)): p for p in sorted(path.rglob("*")) if p.is_file()}
    return {p.name: p for p in sorted(path.parent.iterdir()) if p.is_file()}


def reading_is_right(path: Path) -> bool:
    """Read all images one by one; return whether all came. None may be wrong."""
    dataset = answer(lambda: open_dataset(path))
    if dataset is REFUSED:
        return False
    true = [image.tobytes() for image in pixels()]
    whole = dataset.n == len(true)
    with dataset:
        for index in range(min(dataset.n, _MOST)):
            image = answer(lambda k=index: dataset.read([k])[0])
            if image is REFUSED:
                whole = False
            elif index >= len(true) or image.tobytes() != true[index]:
                raise Violation(f"image {index} came, and is wrong")
            whole = answer(lambda k=index: dataset.label[k]) is not REFUSED and whole
    return whole


def _look(path: Path, folder: Path, *, changed: set[str] | None = None) -> None:
    """Open, read and verify; verify must name a file of `changed`."""
    with writes_only_under(folder):
        reading_is_right(path)
        report = answer(lambda: verify(path))
        if report is not REFUSED and changed is not None:
            named = {problem.file for problem in report.problems}
            if not changed & named:
                raise Violation(f"{sorted(changed)} changed, and verify names {sorted(named)}")
        if report is not REFUSED:
            for problem in report.problems:
                if not f"{problem.file}{problem.what}".isprintable():
                    raise Violation(f"not one printable line: {problem!r}")


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
    """Forged manifests, their own hash and that of the recipe in order."""
    folder = scratch()
    path = copy_of("d.zarr", folder)
    root = path / "zarr.json"
    document = json.loads(root.read_bytes())
    if data.draw(st.booleans(), "the attributes alone"):
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
    _look(path, folder)


def _consistent(fields: dict[str, Any]) -> dict[str, Any]:
    """What else a forged recipe makes the manifest say."""
    from gpgen.store.stored_recipe import stored_recipe

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
        st.sampled_from(["damage", "damage", "damage", "remove", "folder", "pipe", "link", "swap"])
    )
    changed: set[str] | None = {name}
    if what == "damage":
        file.write_bytes(data.draw(damaged_bytes(whole)))
        changed = {name} if file.read_bytes() != whole else None
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
    _look(path, folder, changed=changed)
    if changed is None and not reading_is_right(path):
        raise Violation("it is whole and can't be read")
    shutil.rmtree(folder)


def _with_new_block(path: Path) -> None:
    """Write the first block again, as a forger would who changed what is outside the images."""
    block = path.read_bytes()[: hdf5_file.USER_BLOCK]
    match = re.match(rb"gpgen \d+ n=(\d+) image=(\d+)\+(\d+) ", block)
    if match is None:
        return
    n, offset, length = (int(match.group(k)) for k in (1, 2, 3))
    with path.open("r+b") as file:
        hdf5_file.write_user_block(file.fileno(), path, n, (offset, length))


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
    if data.draw(st.booleans(), "a new first block"):
        _with_new_block(file)
    _look(path, folder)


def _seal_hdf5(file: h5py.File) -> None:
    file.flush()
    read = answer(lambda: hdf5_file.read_hdf5(Path(file.filename)))
    attributes = {} if read is REFUSED else read[0]
    if "manifest_sha256" in attributes:
        file.attrs["manifest_sha256"] = _sealed(attributes)["manifest_sha256"]
