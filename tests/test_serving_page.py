"""The page at the served root, and a recipe under design."""

from __future__ import annotations

import base64
import io
import json
import os
import time

import aiohttp
import numpy as np
import PIL.Image
import pytest
import zarr
from browser import CHROMIUM, Browser
from publish_help import refusal
from serving_support import drawn_pieces, serving  # noqa: F401 - a fixture
from store_tools import tiny

import gpgen
from gpgen.contact_sheet.content import reduced
from gpgen.contact_sheet.png import tiles
from gpgen.errors import RecipeError, UsageError
from gpgen.serving.design import Design
from gpgen.serving.exploring import Choices, power_of, sheet_of, sliders_of
from gpgen.virtual_store.opening import keys_of


def _pixels(uri):
    data = base64.b64decode(uri.partition(",")[2])
    return np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB"))


def test_the_sheet_shows_the_samples_of_the_changed_recipe() -> None:
    choices = Choices.parse(tiny(), {"seed": "9", "classes": "1,0", "scales": "0.1:2.5,1.0:6"})
    recipe = tiny(seed=9, components=[
        {"kernel": "rbf", "length_scales": [1.5, 2.5], "weight": 0.75},
        {"kernel": "rbf", "length_scales": [6.0], "weight": 1.25},
    ])  # fmt: skip
    assert choices.recipe == recipe
    shown = json.loads(bytes(sheet_of(choices)))
    assert [row["name"] for row in shown["rows"]] == ["2.5-6", "1.5-6"]
    assert gpgen.Recipe.from_toml(shown["toml"]) == recipe
    drawn = [[gpgen.sample(recipe, label + 2 * k).image for k in range(3)] for label in (1, 0)]
    expected = tiles([[reduced(image, 160) for image in row] for row in drawn], coloured=True)
    for row, pictures in zip(shown["rows"], expected, strict=True):
        for uri, picture in zip(row["tiles"], pictures, strict=True):
            np.testing.assert_array_equal(_pixels(uri), np.asarray(picture.convert("RGB")))
    charts = json.loads(bytes(power_of(choices)))["charts"]
    assert [chart["name"] for chart in charts] == ["2.5-6", "1.5-6"]
    assert all(chart["svg"].startswith("<svg") for chart in charts)


@pytest.mark.parametrize("name", gpgen.builtin_recipes())
def test_every_built_in_recipe_has_its_sliders(name) -> None:
    recipe = gpgen.Recipe.load(name)
    sliders = sliders_of(recipe)
    changes = ",".join(f"{slider.name}:{slider.value * 1.01:.3f}" for slider in sliders)
    changed = Choices.parse(recipe, {"scales": changes}).recipe
    assert (changed != recipe) == bool(sliders)
    assert changed.class_count == recipe.class_count


@pytest.mark.parametrize(
    "query",
    [
        "seed=-1", "seed=1e3", "seed=" + "9" * 21, "seed=\u0661", "classes=2", "classes=-1",
        "classes=0,1,0,1,0,1,0,1,0", "classes=0;1", "scales=2.0:5", "scales=0.5:5", "scales=0.0:x",
        "scales=0.0:nan", "scales=0.0:-5", "scales=0.0:0", "scales=0.0:99999", "scales=0.0:1.5,",
        "scales=0.0:2,0.1:2", "scales=a.b:1",
    ],
)  # fmt: skip
def test_a_query_that_the_page_would_not_send_is_refused_and_nothing_drawn(
    query, drawn_pieces  # noqa: F811
) -> None:  # fmt: skip
    pairs = dict(part.split("=", 1) for part in query.split("&"))
    refusal((UsageError, RecipeError), Choices.parse, tiny(), pairs)
    with serving(tiny(), 13) as server:
        status, _, body = server.ask("/sheet?" + query.replace("\u0661", "%D9%A1"))
    assert (status, body.count(b"\n"), drawn_pieces) == (400, 1, [])


def test_a_recipe_under_design_is_read_again_when_its_file_changes(tmp_path) -> None:
    path = tmp_path / "r.toml"

    def write(text, when):
        path.write_text(text)
        os.utime(path, (when, when))

    write(tiny().to_toml(), 1e9)
    design = Design(str(path), lambda: keys_of(path, 13))
    first = design()
    assert design() is first
    write(tiny(seed=6).to_toml(), 2e9)
    assert design().recipe == tiny(seed=6)
    write("shape = [", 3e9)
    assert "not valid TOML" in refusal(RecipeError, design)
    path.unlink()
    refusal(RecipeError, design)
    write(tiny().to_toml(), 4e9)
    assert design() == first


def test_who_reads_a_recipe_under_design_never_gets_the_images_of_the_next(tmp_path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(tiny().to_toml())
    design = Design(str(path), lambda: keys_of(path, 13))
    with serving(None, design=design) as server:
        assert server.ask("/data.zarr/zarr.json")[0] == 409
        first = zarr.open_group(f"{server.root}/{server.keys.identity}.zarr", mode="r")
        expected = gpgen.virtual(path, 13).to_zarr()["image"][:2]
        np.testing.assert_array_equal(first["image"][0], expected[0])
        path.write_text(tiny(seed=6).to_toml() + "\n")
        with pytest.raises(aiohttp.ClientResponseError, match="409"):
            first["image"][1]
        status, _, body = server.ask(f"/{server.keys.identity}.zarr/image/c.0.0.0")
        assert status == 409
        there = body.decode().strip().rpartition(" ")[2]
        again = zarr.open_group(server.root + there, mode="r")["image"][1]
        np.testing.assert_array_equal(again, gpgen.sample(tiny(seed=6), 1).image)


def _seen(browser, *names):
    width = "document.getElementById('{}').offsetWidth > 0"
    return [browser.evaluate(width.format(name)) for name in names]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_nothing_is_said_of_what_is_not_computed() -> None:
    with serving(tiny(transform="lognormal"), 13) as server, Browser() as browser:
        browser.call("Page.navigate", url=f"{server.root}/")
        ready = (
            "document.querySelectorAll('#power svg').length === 2 && "
            "/no densities/.test(document.querySelector('#difficulty').textContent)"
        )
        deadline = time.monotonic() + 120
        while not browser.evaluate(ready):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert _seen(browser, "difficulty", "observer", "expected") == [True, False, False]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_a_browser_shows_the_page_and_asks_no_other_host() -> None:
    with serving(tiny(), 1000) as server, Browser() as browser:

        def until(expression):
            deadline = time.monotonic() + 120
            while not browser.evaluate(expression):
                assert time.monotonic() < deadline, expression
                time.sleep(0.02)

        browser.call("Page.navigate", url=f"{server.root}/")
        until("document.querySelectorAll('#sheet img').length === 6")
        until("document.querySelectorAll('#power svg').length === 2")
        until("/of all classes/.test(document.querySelector('#difficulty').textContent)")
        assert server.url in browser.evaluate("document.querySelector('#lines').textContent")
        assert browser.evaluate("document.querySelector('#moved').hidden") is True
        browser.evaluate("window.before = document.querySelector('#sheet img').src")
        browser.evaluate(
            "(() => { const scale = document.querySelector('.scale'); scale.value = 0.5;"
            " scale.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
        until("document.querySelector('#sheet img').src !== window.before")
        toml = browser.evaluate("document.querySelector('#toml').textContent")
        changed = gpgen.Recipe.from_toml(toml)
        assert changed.components[0].length_scales == (3.0, 2.0)
        assert browser.evaluate("document.querySelector('#moved').hidden") is False
        browser.evaluate(
            "(() => { const scale = document.querySelector('.scale'); scale.step = 'any';"
            " scale.value = Math.log(4 / 3) / Math.log(4);"  # 2 px, as the other choice
            " scale.dispatchEvent(new Event('input', { bubbles: true })); })()"
        )
        until("document.querySelector('#told').textContent !== ''")
        told = browser.evaluate("document.querySelector('#told').textContent")
        same = [{"kernel": "rbf", "length_scales": [2.0, 2.0]}]
        assert (
            told.partition(": ")[2]
            == refusal(RecipeError, tiny, components=same).partition(": ")[2]
        )
        browser.evaluate("document.querySelector('[type=reset]').click()")
        until("document.querySelector('#sheet img').src === window.before")
        assert _seen(browser, "observer", "expected") == [True, True]
        asked = [each["request"]["url"] for each in browser.named("Network.requestWillBeSent")]
        assert all(url.startswith((f"{server.root}/", "data:")) for url in asked)
        assert browser.named("Runtime.exceptionThrown") == []
        failures = [entry["entry"]["text"] for entry in browser.named("Log.entryAdded")]
        assert all("400" in text for text in failures), failures
