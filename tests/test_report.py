"""The page about a dataset: its numbers by other means, and how a browser takes it."""

from __future__ import annotations

import re
from unittest import mock

import h5py
import numpy as np
import pytest
from browser import CHROMIUM, Browser
from publish_help import make_small, publication, refusal, small_recipe

from gpgen import make, open_dataset
from gpgen.contact_sheet.content import ContactSheet, reduced
from gpgen.contact_sheet.png import sheet_png
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.golkar2018.importing import import_dataset
from gpgen.imported import Imported
from gpgen.plots import contact_sheet
from gpgen.report import write_report
from gpgen.report.measuring import measure
from gpgen.report.page import write_report as same_function

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


def test_shrinking_takes_means_of_blocks():
    image = np.arange(800 * 900, dtype=np.float32).reshape(800, 900)
    small = reduced(image, 384)
    assert small.shape == (266, 300)
    assert small[0, 0] == image[:3, :3].mean()
    assert reduced(np.zeros((4, 5, 6)), 384).shape == (5, 6)
    assert reduced(np.zeros(1000), 384).shape == (1000,)
    assert reduced(np.ones((2, 2000)), 384).shape == (1, 333)
    odd = reduced(np.array([[np.inf, -np.inf, np.nan, 1e200, 1.0]], dtype=np.float64), 384)
    assert odd.tolist() == [[0, 0, 0, 0, 1]]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write_report(
        make_small(folder / "data.zarr"), folder / "report.html", publication=publication()
    )


def test_the_page_holds_everything_and_points_nowhere(page):
    text = page.read_text()
    assert write_report is same_function
    assert page.stat().st_size < 5e6
    recipe = small_recipe()
    assert "Small textures &amp; more" in text
    assert recipe.sha256 in text
    assert all(f">{name}</strong> px" in text for name in recipe.classes)
    assert text.count("data:image/png;base64") == 16
    assert "golkar2018backdrop" in text
    loads = re.findall(r"""(?:src|href)="([^"]*)"|url\(([^)]*)\)""", text)
    assert all("".join(address).startswith("data:") for address in loads)


def test_the_same_dataset_gives_the_same_page(page, tmp_path):
    again = write_report(
        page.parent / "data.zarr", tmp_path / "again.html", publication=publication()
    )
    assert again.read_bytes() == page.read_bytes()


def section(text, name):
    return text.partition(f"<h2>{name}</h2>")[2].partition("<h2>")[0]


def test_the_page_says_what_the_audit_found_and_how_hard_it_is(page, tmp_path):
    """In the second dataset one sample is put in another one's place, checksum and all."""
    text = page.read_text()
    found = section(text, "Audit")
    assert "These samples agree with the recipe" in found
    assert "Audited were 40 of 40 samples, at most 16 of each class shown" in found
    assert "40 of the samples were drawn again" in found
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td></tr>", section(text, "Difficulty"))
    assert [row[0].partition(" (")[0] for row in rows] == [
        "component 1: 2 or 2.5 px", "component 2: 8 or 12 px", "all classes"
    ]  # fmt: skip
    assert all(0.25 < float(accuracy.split()[0]) <= 1 for _, accuracy in rows)
    make_small(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5", "r+") as file:
        file["image"][5] = file["image"][4]
        file["crc32c"][5] = file["crc32c"][4]
    wrong = section(write_report(tmp_path / "d.h5", tmp_path / "r.html").read_text(), "Audit")
    assert "These samples don't agree with the recipe" in wrong
    assert "<li>samples 4 and 5 are equal</li>" in wrong


@pytest.mark.parametrize("form", ["data.h5", "data-{shard:05d}.h5", "data-{shard:05d}.tar"])
def test_every_format_has_the_same_pictures_and_curves(page, tmp_path, form):
    path = make_small(tmp_path / form)
    text = write_report(path, tmp_path / "r.html", publication=publication()).read_text()
    start, stop = "<h2>Samples", "<h2>Provenance"
    ours, theirs = (t[t.index(start) : t.index(stop)] for t in (text, page.read_text()))
    assert ours == theirs


@pytest.mark.slow
def test_odd_datasets_have_a_page_too(tmp_path):
    for number, changes in enumerate(
        [
            {"shape": [64]},
            {"shape": [12, 14, 16]},
            {"standardize": False, "dtype": "float16"},
        ]
    ):
        changes = {"standardize": False, **changes}
        out = tmp_path / f"{number}.zarr"
        make(small_recipe().replace(**changes), 9, out, workers=1).close()
        text = write_report(out, tmp_path / f"{number}.html").read_text()
        assert text.count("data:image/png") == 9
    make(small_recipe(), 1, tmp_path / "one.zarr", workers=1).close()
    assert (
        "too few samples" in write_report(tmp_path / "one.zarr", tmp_path / "one.html").read_text()
    )


def test_an_archive_and_what_is_imported_from_it_have_a_page_too(tmp_path):
    """Without a formula: the variance of an imported image is only what is measured."""
    plan = ArchivePlan(((9.5, 4), (10.0, 5), (80.0, 4), (140.0, 4)), size=64)
    archive = make_archive(plan, tmp_path / "archive", workers=1)
    text = write_report(archive.path, tmp_path / "archive.html").read_text()
    assert text.count("data:image/png") == 16
    assert "<td>1</td><td>10</td><td>5</td>" in text
    assert all(digest in text for digest in archive.sha256.values())
    import_dataset(archive.path / "dataset.zip", tmp_path / "imported.zarr").close()
    imported = write_report(tmp_path / "imported.zarr", tmp_path / "imported.html").read_text()
    assert imported.count("data:image/png") == 8
    for page in (text, imported):
        assert "There is no formula" in page
        assert "The samples weren't audited" in section(page, "Audit")
        assert "isn't known" in section(page, "Difficulty")
        assert "10.5281/zenodo.1252464" in page
        assert 'class="theory"' not in page


def test_without_a_recipe_the_images_own_deviation_is_the_unit():
    images = np.random.default_rng(0).normal(0, 3, (8, 32, 32))
    recipe = Imported(name="x", shape=(32, 32), class_names=("2", "8"), source_sha256="0" * 64)
    measured = measure(recipe, 0, images)
    # White noise: 8 * 1024 values of variance 1 average to 1 within 5 * sqrt(2 / 8192).
    assert measured.correlation.mean[0] == pytest.approx(1, abs=0.08)
    assert np.sum(measured.values.mean) * np.diff(measured.values.x)[0] == pytest.approx(1, 0.01)


def report_of_imported(tmp_path, images):
    """Import images of one class and return the page about them.

    Images that are not finite are no longer imported; an earlier gpgen has, so it is let here.
    """
    source = tmp_path / "source"
    source.mkdir()
    for number, image in enumerate(images, start=1):
        np.save(source / f"final_size-{len(image)}_corr-5_v{number}.npy", image)
    with mock.patch("gpgen.golkar2018.importing.all_finite", return_value=True):
        import_dataset(source, tmp_path / "d.zarr").close()
    return write_report(tmp_path / "d.zarr", tmp_path / "r.html").read_text()


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e300])
def test_images_that_are_not_finite_are_counted_and_left_out(tmp_path, bad):
    images = np.random.default_rng(0).normal(3, 2, (5, 32, 32))
    images[1, 0] = bad
    images[3, 31, 31] = bad
    text = report_of_imported(tmp_path, images)
    assert "<strong>2 images hold values that are not finite</strong>, of 5 that were read" in text
    assert "(3 samples)" in text
    assert text.count("data:image/png") == 4
    with open_dataset(tmp_path / "d.zarr") as dataset:
        assert contact_sheet(dataset).axes
        sheet = ContactSheet.read(["5"], dataset.recipe.labels, len(dataset), dataset.read)
        assert sheet_png(sheet).startswith(b"\x89PNG")
    assert not re.search(r"\b(nan|inf)\b", text.partition("</h1>")[2].partition("<h2>Prov")[0])


def test_images_that_are_all_not_finite_have_a_page_too(tmp_path):
    text = report_of_imported(tmp_path, np.full((2, 8, 8), np.nan))
    assert "2 images hold values that are not finite" in text
    assert "too few samples" in text


@pytest.mark.parametrize("value", [0.0, 1.0, -7.3, 1e-300, 1e90])
def test_constant_images_have_a_page_too(tmp_path, value):
    text = report_of_imported(tmp_path, np.full((3, 16, 16), value))
    assert "not finite" not in text
    assert "Correlation by distance" in text
    assert "power spectrum" not in text.partition("<h2>Statistics")[2]


def test_markup_in_names_is_shown_not_obeyed(tmp_path):
    name = "<script>alert(1)</script>"
    make(small_recipe().replace(name=name), 8, tmp_path / "d.zarr", workers=1).close()
    text = write_report(tmp_path / "d.zarr", tmp_path / "r.html").read_text()
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_bad_input_is_said(page, tmp_path):
    data = page.parent / "data.zarr"
    refusal(TargetError, write_report, data, page)
    refusal(TargetError, write_report, data, tmp_path / "none" / "r.html")
    refusal(UsageError, write_report, data, tmp_path / "r.html", samples=1)
    refusal(DatasetError, write_report, tmp_path / "none.zarr", tmp_path / "r.html")
    write_report(data, page, overwrite=True, publication=publication())


@needs_chromium
def test_a_browser_finds_nothing_wrong(page, tmp_path):
    with Browser() as browser:
        for width, scheme, phone in ((1280, "light", False), (1280, "dark", False),
                                     (390, "light", True)):  # fmt: skip
            browser.open(page, width=width, scheme=scheme, phone=phone)
            assert browser.evaluate("document.documentElement.scrollWidth") <= width
            assert browser.evaluate(
                "[...document.images].filter(i => i.closest('.tile'))"
                ".every(i => i.complete && i.naturalWidth > 0)"
            )
            ink, paper = browser.evaluate(
                "[getComputedStyle(document.body).color,"
                " getComputedStyle(document.body).backgroundColor]"
            )
            assert contrast(ink, paper) > 7
            assert (luminance(paper) < 0.5) == (scheme == "dark")
            size = browser.evaluate(
                "Math.min(...[...document.querySelectorAll('svg text')].filter(t => t.textContent)"
                ".map(t => t.getBoundingClientRect().height))"
            )
            assert size > 8  # pixels, of the smallest exponent
        browser.evaluate("document.querySelectorAll('.tile')[5].click()")
        assert browser.evaluate("document.querySelector('dialog').open")
        assert browser.evaluate("document.querySelector('dialog p').textContent") == (
            "Sample 5, class 1 (2.5-8 px)"
        )
        browser.evaluate("document.querySelector('dialog').click()")
        assert not browser.evaluate("document.querySelector('dialog').open")
        browser.pdf(tmp_path / "page.pdf")
        assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")
        asked = {event["request"]["url"] for event in browser.named("Network.requestWillBeSent")}
        assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
        assert browser.named("Log.entryAdded") == []
        assert browser.named("Runtime.consoleAPICalled") == []
        assert browser.named("Runtime.exceptionThrown") == []


def luminance(colour):
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
