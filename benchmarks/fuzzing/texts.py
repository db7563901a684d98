"""Texts that people write or a crash leaves: recipes, publications, journals and jobs."""

from __future__ import annotations

import datetime
import json
import math
import re
import tomllib
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.fuzzing.material import (
    PUBLICATION,
    RESUMABLE,
    N,
    images_of,
    make_here,
    pixels,
    recipe,
    scratch,
    unfinished,
)
from benchmarks.fuzzing.mutation import damaged_bytes, edited
from benchmarks.fuzzing.outcome import REFUSED, Violation, answer, writes_only_under
from gpgen.description.citation import cff
from gpgen.description.dataset_description import describe_drawn
from gpgen.description.publication import Publication
from gpgen.publish.croissant import croissant_json
from gpgen.publish.datacite_json import datacite_json
from gpgen.publish.invenio_record import invenio_record
from gpgen.recipe import Recipe
from gpgen.sampling import Sampler
from gpgen.verification import verify

__all__ = ["journal", "publication", "recipes"]

_RECIPES = (recipe(), recipe(shape=[9, 8, 7]), recipe(boundary="periodic", shape=[64, 64]),
            recipe(splits={"a": 0.25, "b": 0.75}, dtype="float16"))  # fmt: skip
_SMALL = 10**5
"""Pixels of an image that is drawn in passing."""


def _toml(value: Any) -> str:
    """Write any tree as inline TOML, so far as there is a spelling."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return {math.inf: "inf", -math.inf: "-inf"}.get(
            value, "nan" if value != value else repr(value)
        )
    return value.isoformat() if isinstance(value, datetime.date) else json.dumps(value)


def _as_toml(tree: Any) -> str:
    if not isinstance(tree, dict):
        return _toml(tree)
    return "\n".join(f"{json.dumps(key)} = {_toml(value)}" for key, value in tree.items())


def _texts(trees: list[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    whole = st.sampled_from(trees)
    edits = whole.flatmap(edited).map(_as_toml)
    damaged = whole.map(_as_toml).map(str.encode).flatmap(damaged_bytes)
    return edits.map(lambda text: text.encode(errors="surrogatepass")) | damaged


@given(text=_texts([r.to_dict() for r in _RECIPES]))
def recipes(text: bytes) -> None:
    """A recipe is refused, or can be written, read again and drawn."""
    path = scratch() / "recipe.toml"
    path.write_bytes(text)
    found = answer(lambda: Recipe.load(path))
    if found is REFUSED:
        return
    again = Recipe.from_toml(found.to_toml())
    if again.sha256 != found.sha256 or again != found:
        raise Violation("written and read again, it is another recipe")
    if math.prod(found.shape) > _SMALL:
        return
    image = Sampler(found).images(0, 1)[0]
    if image.shape != found.shape or not np.isfinite(image).all():
        raise Violation("its image is not finite")


@given(text=_texts([tomllib.loads(PUBLICATION)]) | st.just(PUBLICATION.encode()))
def publication(text: bytes) -> None:
    """A publication is refused, or all metadata follow from it."""
    path = scratch() / "publication.toml"
    path.write_bytes(text)
    found = answer(lambda: Publication.load(path))
    if found is REFUSED:
        return
    about = describe_drawn(recipe(), N, "zarr", layout={"shard_size": 2}, recipe_only=False)
    for document in (croissant_json, datacite_json):
        json.dumps(document(found, about, ()), allow_nan=False)
    json.dumps(invenio_record(found, about), allow_nan=False)
    if not re.match("cff-version", cff(found, about)):
        raise Violation("CITATION.cff doesn't begin as one")


@st.composite
def _left_behind(draw: st.DrawFn) -> tuple[str, str, bytes]:
    """Which file of which unfinished dataset reads how."""
    out = draw(st.sampled_from(RESUMABLE))
    name = draw(st.sampled_from(["journal.jsonl", "journal.jsonl", "job.json"]))
    (working,) = unfinished(out, scratch()).parent.glob("*.making")
    whole = (working / name).read_bytes()
    if draw(st.booleans()):
        return out, name, draw(damaged_bytes(whole))
    lines = whole.splitlines() if name == "journal.jsonl" else [whole]
    trees = draw(edited([json.loads(line) for line in lines]))
    if not isinstance(trees, list):
        trees = [trees]
    return out, name, b"".join(json.dumps(tree).encode() + b"\n" for tree in trees)


@given(left=_left_behind())
def journal(left: tuple[str, str, bytes]) -> None:
    """Resuming is refused, or ends in the whole dataset; or verify says what is wrong with it."""
    out, name, data = left
    folder = scratch()
    path = unfinished(out, folder)
    (working,) = folder.glob("*.making")
    (working / name).write_bytes(data)
    with writes_only_under(folder):
        dataset = answer(lambda: make_here(path, N, resume=True))
        if dataset is REFUSED:
            return
        with dataset:
            images = answer(lambda: images_of(dataset))
        report = verify(path)
    if not report.ok:
        raise Violation(f"a damaged {name} made a damaged dataset: {report.problems[0]}")
    if images is REFUSED or images.tobytes() != pixels().tobytes():
        raise Violation("verified, and yet not the right pixels")
