"""Pages about right datasets of all kinds: none crashes, none is told to be wrong.

Twelve of them; --long tries all sixty.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from scipy import stats
from store_tools import only_long

from gpgen import Recipe, make
from gpgen.errors import UsageError
from gpgen.report import write_report
from gpgen.report.measuring import measure
from gpgen.sampling import sampler_for

# Of small n, of one class: what gpgen warns of is meant here.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

SHAPES = [
    (2,), (64,), (1000,), (2, 2), (2, 64), (16, 256), (32, 32), (24, 40), (2, 2, 2), (12, 14, 16)
]  # fmt: skip
ZARR, HDF5, SHARDS = "d.zarr", "d.h5", "d-{shard:05d}.h5"
# Boundary, standardize, dtype, components, a length-scale for each axis, format, n.
VARIANTS = [
    ("open", True, "float32", 1, False, ZARR, 1),
    ("periodic", True, "float32", 2, True, ZARR, 300),
    ("open", False, "float16", 3, False, HDF5, 40),
    ("periodic", False, "float32", 1, True, SHARDS, 200),
    ("open", True, "float16", 2, True, ZARR, 7),
    ("periodic", True, "float16", 3, False, HDF5, 2),
]
KINDS = [(shape, *variant) for shape in SHAPES for variant in VARIANTS]
SOME = KINDS[::5]
REST = only_long((kind,) for kind in KINDS if kind not in SOME)


def recipe_of(shape, boundary, standardize, dtype, components, per_axis):
    """Return a recipe whose length-scales fit on a periodic axis, where that can be."""
    periodic = boundary == "periodic" and min(shape) >= 12
    lengths = [max(0.25, pixels / 18) for pixels in shape]
    if not per_axis:
        lengths = [min(lengths)]

    def scale(factor):
        scaled = [round(factor * length, 3) for length in lengths]
        return scaled if per_axis else scaled[0]

    fields = [([scale(1), scale(1.25)], 0.75), ([scale(1.4)], 1.25), ([scale(1.5)], 0.3)]
    return Recipe.from_dict(
        {
            "name": "kind",
            "shape": shape,
            "boundary": "periodic" if periodic else "open",
            "standardize": standardize,
            "dtype": dtype,
            "components": [
                {"kernel": "rbf", "length_scales": scales, "weight": weight}
                for scales, weight in fields[:components]
            ],
        }
    )


def told(kind):
    shape, boundary, standardize, dtype, components, per_axis, _, n = kind
    options = [boundary, "std" if standardize else "raw", dtype, f"{components}c"]
    return "-".join(["x".join(map(str, shape)), *options, "axes" if per_axis else "iso", f"n{n}"])


@pytest.mark.parametrize("kind", SOME + REST, ids=told)
def test_a_right_dataset_has_a_page_that_calls_nothing_wrong(tmp_path, kind):
    """The audit finds nothing, and what is expected is what is measured on many samples of a class.

    The bound is that of Student's t for one false alarm in a thousand runs of the whole: about
    60 datasets with 100 points each, so 2e-7 for a point.
    """
    shape, *fields, out, n = kind
    recipe = recipe_of(shape, *fields)
    few = math.prod(shape) > 2000  # for the sake of time
    n = min(n, 60) if few else n
    make(recipe, n, tmp_path / out, workers=1).close()
    page = write_report(tmp_path / out, tmp_path / "r.html", samples=400).read_text()
    assert page.count("data:image/png") == min(4 * recipe.class_count, n)
    assert "not finite" not in page
    assert "These samples don't agree" not in page
    assert not re.search("standard error|deviat|wrong|damage|fail", statistics(page))
    if math.prod(shape) == 2 and recipe.standardize:
        return  # a sample is (1, -1) or (-1, 1) and has no scatter
    classes, samples = recipe.class_count, 100 if few else 400
    measured = measure(recipe, 0, sampler_for(recipe).images(0, samples * classes)[::classes])
    bound = stats.t.isf(1e-7, samples - 1)
    for curve in (measured.power, measured.correlation):
        said = np.isfinite(curve.theory)
        assert said.any()
        # Each image's deviation is 1 to 1e-5, pixels are rounded to their type, and both are
        # squared: seen where all samples agree otherwise, as in a correlation of 1.
        exact = (2e-5 + 2 * np.finfo(recipe.dtype).eps) * np.abs(curve.theory)
        off = np.abs(curve.mean - curve.theory)
        assert np.all((off <= bound * curve.error + exact)[said])


def statistics(page):
    return page.partition("<h2>Statistics")[2].partition("<h2>Provenance")[0]


def test_a_page_has_an_expectation_for_each_class_or_says_that_there_is_none(tmp_path):
    recipe = recipe_of((5000,), "open", True, "float32", 2, False)
    make(recipe, 8, tmp_path / "d.zarr", workers=1).close()
    page = statistics(write_report(tmp_path / "d.zarr", tmp_path / "r.html").read_text())
    assert "There is no formula" in page
    assert 'class="theory"' not in page


def test_many_classes_of_which_some_have_no_sample_have_a_page(tmp_path):
    recipe = Recipe.from_dict(
        {
            "name": "many",
            "shape": [16, 16],
            "components": [
                {"kernel": "rbf", "length_scales": [1.0, 1.2, 1.5, 1.8], "weight": 0.75},
                {"kernel": "rbf", "length_scales": [3.0, 4.0, 5.0], "weight": 1.25},
            ],
        }
    )
    make(recipe, 5, tmp_path / "d.zarr", workers=1).close()
    page = write_report(tmp_path / "d.zarr", tmp_path / "r.html").read_text()
    assert page.count("data:image/png") == 5
    assert "too few samples" in page
    make(recipe, 24, tmp_path / "e.zarr", workers=1).close()
    page = write_report(tmp_path / "e.zarr", tmp_path / "e.html").read_text()
    shown = re.findall('<span class="soft">class ([0-9]+)</span>', page)
    assert shown == ["0", "2", "3", "5", "6", "8", "9", "11"]
    assert "The other 4 classes are left out" in page
    names = ["1.8-5", "1.2-3"]
    page = write_report(tmp_path / "e.zarr", tmp_path / "f.html", classes=names).read_text()
    assert re.findall("<strong>([0-9.-]+)</strong> px", page) == names
    with pytest.raises(UsageError, match="has no sample"):
        write_report(tmp_path / "d.zarr", tmp_path / "g.html", classes=names)


def test_volumes_are_said_to_be_slices_and_lines_are_curves(tmp_path):
    for shape, said in (
        ([6, 16, 16], "slice 3 of 6 along its first axis"),
        ([64], "on one scale."),
    ):
        recipe = recipe_of(shape, "open", True, "float32", 1, False)
        make(recipe, 4, tmp_path / f"{len(shape)}.zarr", workers=1).close()
        page = write_report(tmp_path / f"{len(shape)}.zarr", tmp_path / f"{len(shape)}.html")
        assert said in page.read_text()
