"""Pictures show the data: which images, in which order, on one scale."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

import gpgen
from gpgen.errors import TargetError, UsageError
from gpgen.figures import TEXTURE_COLOURS, new_figure, texture_palette
from gpgen.golkar2018.importing import import_dataset
from gpgen.io import files

pytest.importorskip("matplotlib")
from matplotlib import colormaps
from matplotlib.text import Text

from gpgen import plots
from gpgen.plots.files import save


def pictures(figure):
    """Arrays of all images, row by row."""
    return [np.asarray(image.get_array()) for axes in figure.axes for image in axes.get_images()]


def words(figure):
    """Every text that is drawn."""
    found = [text.get_text() for text in figure.texts]
    for axes in figure.axes:
        found += [axes.get_title(), axes.get_ylabel()] + [text.get_text() for text in axes.texts]
    return [text for text in found if text]


def notes(figure):
    """What is written below the images, in one line."""
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


def test_a_sheet_has_one_row_a_class_with_the_classes_first_samples(small):
    figure = plots.recipe_sheet(small, columns=3)
    drawn = pictures(figure)
    indices = [label + 4 * column for label in range(4) for column in range(3)]
    assert len(drawn) == len(indices)
    for picture, index in zip(drawn, indices, strict=True):
        np.testing.assert_array_equal(picture, gpgen.sample(small, index).image)
    assert [word for word in words(figure) if word in small.classes] == list(small.classes)


def test_all_images_share_one_symmetric_colour_scale_and_one_bar(small):
    figure = plots.recipe_sheet(small, columns=2)
    limits = {image.get_clim() for axes in figure.axes for image in axes.get_images()}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high
    values = np.abs(np.concatenate([picture.ravel() for picture in pictures(figure)]))
    assert 0.99 < np.mean(values <= high) <= 1
    assert words(figure).count("pixel value") == 1


def test_a_datasets_sheet_shows_what_is_stored(small, tmp_path):
    # Six samples of four classes: two rows end early.
    with gpgen.make(small, 6, tmp_path / "data.zarr") as dataset:
        figure = plots.contact_sheet(dataset, columns=2)
        stored = dataset.image[:]
    expected = [stored[index] for index in (0, 4, 1, 5, 2, 3)]
    np.testing.assert_array_equal(pictures(figure), expected)


def test_components_add_up_to_the_sample(small):
    figure = plots.components_figure(small, index=6)
    first, second, total = pictures(figure)
    np.testing.assert_array_equal(total, gpgen.sample(small, 6).image)
    # Three values below 8, each rounded to float32 (2**-22 at most), and the two sums' own
    # grids, each no coarser than the covariance error that a recipe may have.
    np.testing.assert_allclose(first + second, total, rtol=0, atol=3 * 2**-22 + 2e-6)
    assert first.std() == pytest.approx(0.75, abs=1e-5)
    assert second.std() == pytest.approx(1.25, abs=1e-5)
    titles = words(figure)
    assert f"(c) class {small.classes[2]}" in titles
    assert [sign for sign in titles if sign in "+="] == ["+", "="]


def test_large_images_are_shown_as_means_of_blocks(small):
    recipe = small.replace(shape=[512, 1024])
    drawn = pictures(plots.recipe_sheet(recipe, columns=1))[0]
    image = gpgen.sample(recipe, 0).image.astype(np.float64)
    blocks = image.reshape(256, 2, 512, 2)
    np.testing.assert_allclose(drawn, blocks.mean(axis=(1, 3)), atol=1e-6)


def test_volumes_are_shown_by_their_middle_slice(small):
    recipe = small.replace(shape=[6, 32, 24])
    figure = plots.recipe_sheet(recipe, columns=1)
    np.testing.assert_array_equal(pictures(figure)[0], gpgen.sample(recipe, 0).image[3])
    assert "24 px" in words(figure)
    assert "volumes: slice 3 of 6 along z" in notes(figure)


def test_one_dimensional_textures_are_lines_on_axes_with_units(small):
    recipe = small.replace(shape=[100])
    figure = plots.recipe_sheet(recipe, columns=2)
    assert not pictures(figure)
    line = figure.axes[1].get_lines()[0]
    np.testing.assert_array_equal(line.get_ydata(), gpgen.sample(recipe, 4).image)
    corner = figure.axes[6]  # below the first column, beside the last
    assert corner.get_xlabel() == "position (px)"
    assert 0 in corner.get_xticks()
    assert corner.get_xlim() == (0, 99)
    low, middle, high = figure.axes[7].get_yticks()
    assert -low == high >= max(np.abs(axes.lines[0].get_ydata()).max() for axes in figure.axes)
    assert (middle, figure.axes[7].get_ylabel()) == (0, "value")


def test_many_classes_are_cut_short_and_counted(small):
    fields = small.to_dict()
    fields["components"][0]["length_scales"] = [2.0 + 0.1 * k for k in range(10)]
    figure = plots.recipe_sheet(small.replace(components=fields["components"]), columns=1)
    drawn = pictures(figure)
    assert len(drawn) == 16
    assert "4 of 20 classes not shown" in notes(figure)
    assert figure.get_figheight() < 10  # a page
    recipe = small.replace(components=fields["components"])
    for picture, label in ((drawn[0], 0), (drawn[-1], 19)):
        np.testing.assert_array_equal(picture, gpgen.sample(recipe, label).image)


def test_classes_are_shown_as_asked_for(small, tmp_path):
    names = [small.classes[2], small.classes[0]]
    with gpgen.make(small, 8, tmp_path / "data.zarr") as dataset:
        figure = plots.contact_sheet(dataset, columns=2, classes=names)
        expected = [dataset.image[index] for index in (2, 6, 0, 4)]
    np.testing.assert_array_equal(pictures(figure), expected)
    assert [word for word in words(figure) if word in small.classes] == names
    assert "2 of 4 classes not shown" in notes(figure)
    with pytest.raises(UsageError, match="there is no class '9-9'"):
        plots.recipe_sheet(small, classes=["9-9"])


def test_imported_images_stand_in_the_rows_of_their_classes(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    images = np.random.default_rng(0).normal(size=(5, 8, 8))
    for number, image in enumerate(images):
        scale = "5" if number < 3 else "9"
        np.save(source / f"final_size-8_corr-{scale}_v{number + 1}.npy", image)
    with import_dataset(source, tmp_path / "d.zarr") as dataset:
        figure = plots.contact_sheet(dataset, columns=3)
        stored, labels = dataset.image[:], dataset.label[:]
    expected = [image for label in (0, 1) for image in stored[labels == label]]
    np.testing.assert_array_equal(pictures(figure), expected)


def component(*length_scales, **fields):
    return {"kernel": "rbf", "weight": 1.0, "length_scales": list(length_scales)} | fields


KINDS = {
    "line": ([200], [component(4.0, 5.0), component(20.0)]),
    "image": ([40, 40], [component(4.0, 5.0), component(20.0)]),
    "flat": ([8, 96], [component(2.0, 3.0, 4.0, 5.0, 6.0)]),
    "tall": ([96, 8], [component(2.0, 3.0), component(4.0)]),
    "volume": ([6, 20, 24], [component([2.0, 3.0, 6.0], [6.0, 3.0, 2.0])]),
    "stripes": ([32, 40], [component([2.0, 6.0], angle=[0.0, 45.0]), component(2.0)]),
    "long": ([32, 32], [component(k + 0.123456789) for k in (2, 5, 8)]),
    "tiny": ([32, 32], [component(3.0, weight=1e-4)]),
    "drawn": (
        [32, 32],
        [component() | {"length_scales": {"low": 3.0, "high": 12.0, "draw": "uniform"}}],
    ),
}


def shown_texts(figure):
    """Every text that is drawn, with its place in pixels."""
    figure.draw_without_rendering()
    hidden = set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            outside = [tick for tick in ticks if not low <= tick.get_loc() <= high]
            hidden.update(label for tick in outside for label in (tick.label1, tick.label2))
            hidden.update(
                [] if axes.axison else [label for tick in ticks for label in tick.get_children()]
            )
    found = [text for text in figure.findobj(match=Text) if text.get_visible()]
    drawn = [text for text in found if text not in hidden and text.get_text().strip()]
    return [(text.get_text(), text.get_window_extent()) for text in drawn]


@pytest.mark.parametrize("draw", [plots.recipe_sheet, plots.components_figure])
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_and_no_texts_touch_in_a_papers_column(small, kind, draw):
    shape, components = KINDS[kind]
    recipe = small.replace(shape=shape, components=components)
    more = {"columns": 2} if draw is plots.recipe_sheet else {}
    figure = draw(recipe, width=3.3, **more)
    assert figure.get_figwidth() <= 3.3 + 1e-9
    texts = shown_texts(figure)
    for number, (text, box) in enumerate(texts):
        assert min(box.x0, box.y0) >= 0, text
        assert box.x1 <= figure.bbox.width, text
        assert box.y1 <= figure.bbox.height, text
        for other, place in texts[:number]:
            assert not box.overlaps(place), (text, other)
    for text, box in texts:
        if text.startswith("("):
            assert not any(
                box.overlaps(axes.get_window_extent()) for axes in figure.axes if axes.axison
            ), text


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("image", "rows: length-scales in px; A-B: one a component"),
        ("stripes", "AxB: y \N{MULTIPLICATION SIGN} x"),
        (
            "volume",
            "y \N{MULTIPLICATION SIGN} x; volumes: slice 3 of 6 along z",
        ),
        ("drawn", "A..B: drawn for each image"),
    ],
)
def test_what_class_names_mean_is_said_below(small, kind, said):
    shape, components = KINDS[kind]
    recipe = small.replace(shape=shape, components=components)
    assert said in notes(plots.recipe_sheet(recipe, columns=1))


def test_too_many_columns_for_the_width_are_refused(small):
    with pytest.raises(UsageError, match="3\\.3 inches have no room for 30 columns"):
        plots.recipe_sheet(small, columns=30, width=3.3)


@pytest.mark.parametrize("width", [0.5, 51, float("nan"), float("inf"), "3.3", None])
def test_a_width_that_is_none_is_refused(small, width):
    for draw in (plots.recipe_sheet, plots.components_figure):
        with pytest.raises(UsageError, match="give inches, a number from 1 to 50"):
            draw(small, width=width)


def test_a_texture_has_the_same_colours_in_every_picture(small):
    figure = plots.recipe_sheet(small, columns=1)
    used = {image.get_cmap().name for axes in figure.axes for image in axes.get_images()}
    assert used == {TEXTURE_COLOURS}
    # The report's, drawn without matplotlib.
    palette = np.frombuffer(texture_palette(), np.uint8).reshape(256, 3).astype(int)
    colours = colormaps[TEXTURE_COLOURS](np.arange(256), bytes=True)[:, :3].astype(int)
    assert np.abs(palette - colours).max() <= 1  # two roundings


def test_the_documentations_pictures_are_small_and_those_of_textures_keep_their_colours():
    pictures = Path(__file__).parents[1] / "docs" / "pictures"
    for path in pictures.glob("*.png"):
        assert path.stat().st_size < 300_000, path.name
    for name in (*gpgen.builtin_recipes(), "classes", "components"):
        # Of fewer colours a colour bar shows bands.
        with PIL.Image.open(pictures / f"{name}.png") as picture:
            assert len(picture.getcolors(2**24)) >= 200, name


@pytest.mark.parametrize(
    ("suffix", "magic"), [(".png", b"\x89PNG"), (".pdf", b"%PDF"), (".svg", b"<?xml")]
)
def test_equal_figures_are_equal_files(small, tmp_path, suffix, magic):
    contents = []
    for name in ("a", "b"):
        path = tmp_path / (name + suffix)
        plots.save(plots.recipe_sheet(small, columns=1), path, dpi=50)
        contents.append(path.read_bytes())
    assert contents[0].startswith(magic)
    assert contents[0] == contents[1]


def test_no_columns_are_refused(small):
    with pytest.raises(UsageError, match="columns is 0"):
        plots.recipe_sheet(small, columns=0)


def test_matplotlib_comes_with_the_first_picture_and_pyplot_never(tmp_path):
    script = (
        "import sys\n"
        "from gpgen import plots, Recipe\n"
        "assert 'matplotlib' not in sys.modules\n"
        "recipe = Recipe.load('two-scale-mini').replace(shape=[64, 64])\n"
        "plots.save(plots.recipe_sheet(recipe, columns=1), 'a.png', dpi=30)\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)


def test_a_full_disk_leaves_the_picture_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    picture = tmp_path / "figure.png"
    picture.write_bytes(b"an earlier one")
    figure = new_figure(1, 1)
    monkeypatch.setattr(files, "write", full)
    with pytest.raises(TargetError, match=r"no space left on device; free some space, or choose"):
        save(figure, picture)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    assert picture.read_bytes() == b"an earlier one"
