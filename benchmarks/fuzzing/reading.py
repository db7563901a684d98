"""Reading what may be damaged in every way there is: right values, or one line."""

from __future__ import annotations

import contextlib
import functools
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gpgen_cli.main import main
from hypothesis import strategies as st

from benchmarks.fuzzing.material import N, pixels, recipe
from benchmarks.fuzzing.outcome import REFUSED, Violation, answer, writes_only_under
from gpgen.dataset import Dataset, open_dataset
from gpgen.format.manifest import derived_arrays
from gpgen.making.converting import convert
from gpgen.torch import TextureDataset
from gpgen.verification import verify

__all__ = ["look", "reading_is_right"]

_MOST = 64
"""Samples that are read in passing of a dataset that says it has many."""

Way = Callable[[Path, Path, bool], bool]


@functools.cache
def _true_arrays() -> dict[str, Any]:
    """The labels, length-scales, seeds and splits of the recipe's samples."""
    return {array.name: array.rows(0, N) for array in derived_arrays(recipe(), N)}


_ATTRIBUTES = {"length_scale": "length_scales", "split": "split_code"}
"""What Python calls a stored array of another name."""


def _compare(what: str, found: Any, true: Any) -> None:
    if not np.array_equal(found, true):
        raise Violation(f"{what} came, and is wrong: {found!r}")


def _arrays_are_right(dataset: Dataset) -> bool:
    whole = True
    for stored, true in _true_arrays().items():
        name = _ATTRIBUTES.get(stored, stored)
        values = answer(lambda name=name: getattr(dataset, name)[:_MOST])
        whole = values is not REFUSED and whole
        if values is not REFUSED:
            _compare(name, values[:N], true[: len(values)])
    return whole


def reading_is_right(path: Path, *, forged: bool = False) -> bool:
    """Read all one by one; return whether all came. Nothing that comes may be wrong.

    A forger who sealed the manifest anew may have other labels, but no other pixels.
    """
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
        if not forged:
            whole = _arrays_are_right(dataset) and whole
        else:
            answer(lambda: dataset.label[:_MOST])
    return whole


def _by_torch(path: Path, _: Path, forged: bool) -> bool:
    """As training reads it."""
    textures = answer(lambda: TextureDataset(path))
    if textures is REFUSED:
        return False
    true, whole = pixels(), True
    for index in range(min(len(textures), _MOST)):
        item = answer(lambda k=index: textures[k])
        if item is REFUSED:
            whole = False
            continue
        image, label = item
        if index >= len(true) or image.numpy().tobytes() != true[index].tobytes():
            raise Violation(f"image {index} came through torch, and is wrong")
        if not forged:
            _compare("a label", label, _true_arrays()["label"][index])
    return whole


def _by_converting(path: Path, folder: Path, forged: bool) -> bool:
    """As `gpgen convert` reads it."""
    out = folder / "converted" / "e.zarr"
    out.parent.mkdir()
    dataset = answer(lambda: convert(path, out, shard_size=2))
    if dataset is REFUSED:
        return False
    dataset.close()
    return reading_is_right(out, forged=forged)


def _by_command(*words: str) -> Way:
    """As the command line reads it."""

    def way(path: Path, _: Path, __: bool) -> bool:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main([*words, str(path)])
        told = err.getvalue()
        if status not in (0, 1, 2) or "bug in gpgen" in told:
            raise Violation(f"gpgen {' '.join(words)}: status {status}, {told!r}")
        shown = out.getvalue() + told
        if not all(line.isprintable() for line in shown.replace("\t", " ").split("\n")):
            raise Violation(f"gpgen {' '.join(words)} shows what isn't printable: {shown!r}")
        return status == 0

    return way


_WAYS: dict[str, Way] = {
    "torch": _by_torch,
    "convert": _by_converting,
    "info": _by_command("info"),
    "info as JSON": _by_command("info", "--json"),
    "verify as JSON": _by_command("verify", "--json"),
}


def look(
    data: st.DataObject,
    path: Path,
    folder: Path,
    *,
    changed: set[str] | None = None,
    forged: bool = False,
) -> None:
    """Open, read and verify; verify must name a file of `changed`."""
    with writes_only_under(folder):
        reading_is_right(path, forged=forged)
        way = data.draw(st.sampled_from(["", "", "", *_WAYS]), "read also by")
        if way:
            _WAYS[way](path, folder, forged)
        report = answer(lambda: verify(path))
        if report is REFUSED:
            return
        named = {problem.file for problem in report.problems}
        if changed is not None and not changed & named:
            raise Violation(f"{sorted(changed)} changed, and verify names {sorted(named)}")
        for problem in report.problems:
            if not f"{problem.file}{problem.what}".isprintable():
                raise Violation(f"not one printable line: {problem!r}")
