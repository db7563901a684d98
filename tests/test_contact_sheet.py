"""What a contact sheet shows, and its grey PNG: the same bytes everywhere."""

from __future__ import annotations

import io
import math
import zlib

import numpy as np
import PIL.Image
import PIL.ImageFont
import pytest
from publish_help import small_recipe

from gpgen import Recipe, builtin_recipes
from gpgen.contact_sheet.content import (
    ContactSheet,
    choose_classes,
    first_of_each,
    reduced,
    shown_plane,
)
from gpgen.contact_sheet.png import sheet_png, tiles
from gpgen.description.dataset_description import describe_drawn
from gpgen.errors import UsageError
from gpgen.publish.tables import samples_table
from gpgen.sampling import sampler_for


def contact_sheet(recipe, columns=4):
    n = columns * recipe.class_count
    images = sampler_for(recipe).images

    def read(indices):
        return [images(index, index + 1)[0] for index in indices]

    sheet = ContactSheet.read(recipe.classes, recipe.labels, n, read, columns=columns)
    return sheet_png(sheet, note=shown_plane(recipe.shape))


def many_classes():
    fields = small_recipe().to_dict()
    scales = [round(2 + 0.25 * k, 2) for k in range(8)]
    fields["components"] = [
        {"kernel": "rbf", "length_scales": scales, "weight": 0.75},
        {"kernel": "rbf", "length_scales": [s + 3.125 for s in scales], "weight": 1.25},
    ]
    return Recipe.from_dict(fields)


SHEETS = [
    pytest.param(name, marks=pytest.mark.slow)
    if name in ("two-scale", "three-scale", "golkar2018")
    else name
    for name in (*builtin_recipes(), "line", "cube", "many")
]


@pytest.mark.parametrize("name", SHEETS)
def test_a_contact_sheet_is_a_png_with_a_row_for_each_class_shown(name):
    shapes = {"line": [512], "cube": [12, 16, 20]}
    if name in builtin_recipes():
        recipe = Recipe.load(name)
    elif name == "many":
        recipe = many_classes()
    else:
        recipe = small_recipe().replace(shape=shapes[name], standardize=False)
    with PIL.Image.open(io.BytesIO(contact_sheet(recipe, columns=2))) as picture:
        assert (picture.format, picture.mode) == ("PNG", "L")
        pixels = np.asarray(picture)
    # White gaps lie above each row, above the note if there is one, and below.
    gaps = np.diff((pixels == 255).all(axis=1).astype(int))
    assert (gaps == -1).sum() == min(recipe.class_count, 8) + (name in ("many", "cube"))
    if name == "line":
        assert set(np.unique(pixels)) == {0, 192, 255}
    else:
        assert len(np.unique(pixels)) > 200


def test_the_bytes_of_a_contact_sheet_depend_on_no_codec_and_no_font_renderer(monkeypatch):
    """Nothing is compressed: what is in the file are the pixels, as they were drawn."""
    expected = contact_sheet(small_recipe())
    monkeypatch.setattr(zlib, "compress", None)
    monkeypatch.setattr(PIL.ImageFont, "truetype", None)
    data = contact_sheet(small_recipe())
    assert data == expected
    with PIL.Image.open(io.BytesIO(data)) as picture:
        pixels = np.asarray(picture)
    assert pixels[40].tobytes() in data


def test_whole_class_names_stand_beside_the_rows():
    def width(name):
        sheet = ContactSheet([name], [[np.arange(64.0 * 64).reshape(64, 64)]], 0)
        with PIL.Image.open(io.BytesIO(sheet_png(sheet))) as picture:
            return picture.width

    long = "4.123456-24.123456-100.123456"
    # As wide as each further character, 12 pixels.
    assert width(long) - width("4") == 12 * (len(long) - 1)


@pytest.mark.slow
def test_the_figures_of_a_large_recipe_only_deposit_stay_small():
    """Everything but the tables and the figure takes kilobytes, so these two decide."""
    recipe = Recipe.load("two-scale")
    subject = describe_drawn(recipe, 10_000, "zarr", layout={"shard_size": 64, "chunk_size": 1})
    files = [f"image/c.{k}.0.0" for k in range(157)]
    table = sum(map(len, samples_table(recipe, 10_000, subject, 64, files)))
    assert table + len(contact_sheet(recipe)) < 1.9e6


def test_classes_are_chosen_evenly_or_by_name():
    names = [str(number) for number in range(64)]
    assert choose_classes(names[:8], range(8)) == list(range(8))
    chosen = choose_classes(names, range(64))
    assert (chosen[0], chosen[-1], len(chosen)) == (0, 63, 8)
    assert set(np.diff(chosen)) == {9}
    assert choose_classes(names, [1, 5], most=2) == [1, 5]
    assert choose_classes(names, range(64), ["40", "3"]) == [40, 3]
    for wanted, said in (
        (["64"], "there is no class"),
        (["9"], "has no sample"),
        ([], "no classes"),
    ):
        with pytest.raises(UsageError, match=said):
            choose_classes(names, range(5), wanted)


def test_a_sheet_without_samples_or_columns_is_refused():
    with pytest.raises(UsageError, match="no samples"):
        ContactSheet.read(["1"], lambda start, stop: np.zeros(0, int), 0, list)
    with pytest.raises(UsageError, match="columns is 0"):
        ContactSheet.read(["1"], lambda start, stop: np.zeros(1, int), 1, list, columns=0)


@pytest.mark.parametrize("n", [0, 3, 10, 300_000])
def test_the_first_samples_of_each_class_are_found_wherever_they_are(n):
    labels = np.random.default_rng(n).integers(0, 4, n)
    labels[labels == 3] = 2
    if n > 200_000:
        labels[200_000] = 3
    expected = [np.flatnonzero(labels == label)[:3].tolist() for label in range(4)]
    assert first_of_each(lambda start, stop: labels[start:stop], n, 4, 3) == expected


def test_no_more_labels_are_looked_at_than_are_needed():
    def labels(start, stop):
        assert stop <= 2**16
        return np.arange(start, stop) % 5

    assert first_of_each(labels, 10**12, 5, 2) == [[k, k + 5] for k in range(5)]


@pytest.mark.parametrize(
    ("shape", "factor"), [((7, 9), (3, 3)), ((2, 9), (2, 3)), ((5, 7, 9), (3, 3))]
)
def test_means_are_of_blocks_summed_exactly(shape, factor):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    plane = image[len(image) // 2] if len(shape) == 3 else image
    small = reduced(image, 3)
    down, across = factor
    assert small.shape == (plane.shape[0] // down, plane.shape[1] // across)
    for y, x in np.ndindex(small.shape):
        block = plane[y * down : (y + 1) * down, x * across : (x + 1) * across].astype(float)
        # Nine numbers of 24 bits: their sum in float64 is off by less than 2**-48 of each.
        expected = math.fsum(block.ravel()) / block.size
        assert abs(small[y, x] - expected) <= 2.0**-47 * np.abs(block).sum()


def test_coloured_tiles_have_the_textures_colours_with_zero_in_their_middle():
    ((tile,),) = tiles([[np.array([[-1.0, 0.0], [0.5, 3.0]])]], coloured=True)
    (low, zero), (_, high) = np.asarray(tile.convert("RGB")).astype(int)
    assert np.ptp(zero) <= 2  # white
    assert min(zero) > 240
    assert low[2] > low[0] + 80  # blue
    assert high[0] > high[2] + 50  # red
    ((grey,),) = tiles([[np.array([[-1.0, 3.0]])]])
    assert grey.mode == "L"


def test_curves_go_from_edge_to_edge_and_from_the_lowest_to_the_highest_value():
    ((curve,),) = tiles([[np.array([0.0, 1.0])]], side=64)
    pixels = np.asarray(curve)
    rows, columns = np.nonzero(pixels == 0)
    assert set(columns) == set(range(64))
    # The lowest is on the left, the highest on the right, two pixels from the frame's edges.
    assert (columns[rows == 2].max(), rows.min()) == (63, 2)
    assert (columns[rows == rows.max()].min(), rows.max()) == (0, pixels.shape[0] - 3)
