"""Deposits as a stranger might publish them."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
import os
import shutil
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzing.material import OUTS, deposit, in_one_thread, scratch
from benchmarks.fuzzing.mutation import damaged_bytes, edited, hostile_values
from benchmarks.fuzzing.outcome import REFUSED, Violation, answer, writes_only_under
from benchmarks.fuzzing.reading import reading_is_right
from benchmarks.fuzzing.stores import forge_zip
from gpgen.publish.fetching import fetch

__all__ = ["deposits", "hash_again"]

_Usage = namedtuple("_Usage", "total used free")


def hash_again(folder: Path) -> None:
    """Write a deposit's lists again, as a forger would."""
    for name, kind in (("SHA256SUMS", "sha256"), ("MD5SUMS", "md5")):
        paths = [p for p in sorted(folder.iterdir()) if p.name not in ("SHA256SUMS", "MD5SUMS")]
        lines = [f"{hashlib.new(kind, p.read_bytes()).hexdigest()}  {p.name}\n" for p in paths]
        (folder / name).write_text("".join(lines))


def _forge_manifest(draw, document) -> None:  # noqa: ANN001
    """Change what decides where and what `fetch` writes."""
    document["form"] = draw(st.sampled_from(["zarr", "hdf5", "hdf5-shards", "archive", "x"]))
    document["recipe_only"] = draw(st.booleans())
    document["attributes"]["shard_pattern"] = draw(
        st.sampled_from(
            ["../x-{shard:05d}.h5", "/tmp/x-{shard}.h5", "x-{shard}.h5", "a/../../x-{shard}.h5"]
        )
        | hostile_values()
    )


def _forge(data: st.DataObject, folder: Path) -> None:
    draw = data.draw
    names = sorted(p.name for p in folder.iterdir())
    usual = [n for n in ("dataset.json", "recipe.toml", "shards.csv", "SHA256SUMS") if n in names]
    path = folder / draw(st.sampled_from(usual * 4 + names))
    raw = path.read_bytes()
    if path.suffix == ".json" and draw(st.integers(0, 3)):
        document = json.loads(raw)
        if path.name == "dataset.json" and draw(st.booleans()):
            _forge_manifest(draw, document)
        else:
            document = draw(edited(document))
        path.write_text(json.dumps(document))
    elif path.suffix == ".zip":
        forge_zip(data, path)
    elif path.suffix == ".csv" and draw(st.booleans()):
        rows = draw(edited(list(csv.reader(io.StringIO(raw.decode())))))
        text = io.StringIO()
        with contextlib.suppress(TypeError, csv.Error):
            csv.writer(text).writerows(rows)
        path.write_bytes(text.getvalue().encode(errors="surrogatepass"))
    else:
        path.write_bytes(draw(damaged_bytes(raw)))
    if draw(st.integers(0, 4)):
        hash_again(folder)
    if not draw(st.integers(0, 9)):
        raw = (folder / "SHA256SUMS").read_bytes()
        (folder / "SHA256SUMS").write_bytes(draw(damaged_bytes(raw)))


@contextlib.contextmanager
def _in_a_small_world(folder: Path) -> Iterator[None]:
    """Work in a folder, on a disk with room for 20 MB: what asks for more is refused."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch.object(shutil, "disk_usage", return_value=_Usage(10**9, 10**9, 2 * 10**7)),
            in_one_thread(),
        ):
            yield
    finally:
        os.chdir(before)


@given(data=st.data())
def deposits(data: st.DataObject) -> None:
    """A forged deposit is refused, or gives a dataset at the target and changes nothing else."""
    folder = scratch()
    out = data.draw(st.sampled_from(OUTS[:3]))
    source = deposit(out, data.draw(st.booleans()), folder / "deposit")
    _forge(data, source)
    hashes = {p.name: p.read_bytes() for p in source.iterdir()}
    place = folder / "place"
    place.mkdir()
    name = data.draw(st.sampled_from([None, None, out, "data.zarr", "data.h5"]))
    with _in_a_small_world(place), writes_only_under(place):
        fetched = answer(lambda: fetch(source, name, workers=1))
    if hashes != {p.name: p.read_bytes() for p in source.iterdir()}:
        raise Violation("the deposit was changed")
    left = [p.name for p in place.iterdir() if p.name.startswith(".gpgen")]
    if left:
        raise Violation(f"left behind: {left}")
    if fetched is not REFUSED and not fetched.regenerated and fetched.form != "archive":
        reading_is_right(fetched.path)
