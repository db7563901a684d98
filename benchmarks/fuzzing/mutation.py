"""Strategies that damage what was whole: bytes, texts, and trees of plain values."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

__all__ = ["damaged_bytes", "edited", "hostile_values"]

_NUMBERS = [
    -1, 0, 1, 2, 3, 5, 7, 255, 2**16, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**30,
    -(2**63) - 1, 0.0, -0.0, 0.5, 1e-320, 1e-9, 0.1, 1e9, 1e308, float("inf"), float("nan"),
]  # fmt: skip
_TEXTS = [
    "", " ", ".", "..", "/", "../../outside", "../outside-{shard:05d}.h5", "/tmp/outside.zarr",
    "data-{shard:05d}.h5", "{shard}.h5", "{shard}{shard}.h5", "{shard:0999999999d}.h5", "a/b.h5",
    "data.zarr", "data.h5", "~", "~root/x.h5", "\0", "a\0b", "\x1b[2J", "line\nline", "\u202e",
    "\ud800", "x" * 5000, "[" * 5000, "NaN", "-1", "1e999", "9" * 5000, "rbf", "float64", "gpgen",
    "gpgen-shard", "imported", "golkar2018", "zarr", "hdf5", "hdf5-shards", "webdataset", "archive",
]  # fmt: skip


def hostile_values() -> st.SearchStrategy[Any]:
    """Numbers at every edge, texts that mean something elsewhere, and trees of them."""
    leaves = (
        st.none()
        | st.booleans()
        | st.sampled_from(_NUMBERS)
        | st.integers()
        | st.floats()
        | st.sampled_from(_TEXTS)
        | st.text(max_size=20)
    )
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(_TEXTS) | st.text(max_size=8), inner, max_size=4)
        ),
        max_leaves=8,
    )


def _places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    keys: Sequence[Any] = ()
    if isinstance(tree, dict):
        keys = list(tree)
    elif isinstance(tree, list):
        keys = range(len(tree))
    for key in keys:
        found += _places(tree[key], (*path, key))
    return found


@st.composite
def edited(draw: st.DrawFn, tree: Any, most: int = 3) -> Any:
    """A copy of a tree with one place or a few replaced, removed, repeated or added to."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, most))):
        path = draw(st.sampled_from(_places(tree)))
        what = draw(st.sampled_from(["replace", "replace", "remove", "add", "repeat"]))
        if not path:
            if what == "replace":
                return draw(hostile_values())
            if what == "add" and isinstance(tree, dict):
                tree[draw(st.text(max_size=8))] = draw(hostile_values())
            continue
        parent = tree
        for key in path[:-1]:
            parent = parent[key]
        key = path[-1]
        if what == "remove":
            del parent[key]
        elif what == "repeat" and isinstance(parent, list):
            parent.insert(key, copy.deepcopy(parent[key]))
        elif what == "add" and isinstance(parent[key], dict):
            parent[key][draw(st.text(max_size=8))] = draw(hostile_values())
        else:
            parent[key] = draw(hostile_values())
    return tree


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes, most: int = 4) -> bytes:
    """The bytes with flipped bits, foreign, missing, repeated or zeroed pieces, or an early end."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, most))):
        if not data:
            break
        place = draw(st.integers(0, len(data) - 1))
        what = draw(st.sampled_from(["flip", "flip", "put", "cut", "end", "repeat", "zero"]))
        if what == "flip":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif what == "put":
            piece = draw(
                st.binary(max_size=8)
                | st.sampled_from([b"\xff" * 8, b"[" * 3000, b"9" * 400, b"NaN", b"null", b"\n"])
            )
            keep = draw(st.booleans())
            data[place : place if keep else place + len(piece)] = piece
        elif what == "cut":
            del data[place : place + draw(st.integers(1, 64))]
        elif what == "end":
            del data[place:]
        elif what == "repeat":
            length = draw(st.integers(1, 64))
            data[place:place] = data[place : place + length]
        else:
            data[place : place + draw(st.integers(1, 16))] = b"\0"
    return bytes(data)
