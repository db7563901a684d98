"""The site: built without a warning, found by the words that people type, readable everywhere."""

from __future__ import annotations

import functools
import http.server
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from browser import CHROMIUM, Browser

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")

QUESTIONS = {
    "my own sizes and scales": "how-to/own-recipe",
    "my own recipe": "how-to/own-recipe",
    "a kernel of my own": "how-to/own-kernel",
    "resume an interrupted run": "how-to/resume",
    "make the dataset larger": "growing",
    "Slurm": "clusters",
    "a cluster": "clusters",
    "S3": "object-stores",
    "nothing stored": "without-storage",
    "open in xarray": "python",
    "only the test split": "how-to/one-split",
    "export to Parquet": "other-formats",
    "how hard is my recipe": "difficulty",
    "my own CNN": "how-to/own-network",
    "train on several GPUs": "training",
    "masks in my ResNet": "how-to/masks",
    "masks in my sequence model": "how-to/sequences-graphs-losses",
    "masks in my loss": "how-to/sequences-graphs-losses",
    "compare with the paper": "how-to/compare-with-the-paper",
    "publish to Zenodo": "publishing",
    "publish to the Hugging Face Hub": "how-to/hugging-face",
    "cite": "how-to/cite",
    "exit status": "reference/errors",
}
"""What people come to do, in their words, and the page that tells it."""

SHOWN = ("index", "tour", "how-to/hugging-face", "reference/commands", "reference/python",
         "reference/recipe", "gallery", "results", "tutorials/backdrop")  # fmt: skip
"""A page of each kind, as readers see it."""


BEYOND = """() => {
    const scrolls = e => ["auto", "scroll"].includes(getComputedStyle(e).overflowX);
    const held = e => e.tagName != "ARTICLE" && (scrolls(e) || held(e.parentElement));
    return [...document.querySelectorAll("article *:not(.headerlink)")]
        .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .filter(e => !held(e)).map(e => e.outerHTML.slice(0, 80))
}"""
"""What of the text lies beyond the screen's right edge, and can't be scrolled to."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    arguments = ["-q", "-W", "--keep-going", "-c", "docs/site", "docs", str(folder)]
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    class Silent(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002

    handler = functools.partial(Silent, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_site_asks_nothing_of_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 25
    loads = r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]*)\"|<link[^>]*\shref=\"([^\"]*)\""
    for page in pages:
        for target in re.findall(loads, page.read_text(encoding="utf-8")):
            assert not "".join(target).startswith(("http:", "https:", "//")), page


def test_a_propertys_docstring_is_shown_whole(site: Path) -> None:
    page = (site / "reference" / "python.html").read_text(encoding="utf-8")
    assert "What it offers: length-scales, counted fastest" in page


def first_results(browser: Browser, address: str, question: str) -> list[str]:
    """Return the pages of the first three results of the site's own search."""
    browser.open(f"{address}/search.html?q={quote(question)}")
    deadline = time.monotonic() + 120
    done = "/finished|did not/.test(document.querySelector('.search-summary')?.innerText ?? '')"
    while not browser.evaluate(done):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = browser.evaluate(
        "[...document.querySelectorAll('ul.search > li > a')].map(a => a.getAttribute('href'))"
    )
    return [link.partition(".html")[0] for link in found[:3]]


@needs_chromium
def test_the_search_finds_the_page_that_answers_a_question(address: str) -> None:
    assert len(QUESTIONS) >= 20
    with Browser() as browser:
        found = {asked: first_results(browser, address, asked) for asked in QUESTIONS}
    assert {asked: found[asked] for asked, page in QUESTIONS.items()
            if page not in found[asked]} == {}  # fmt: skip


@needs_chromium
@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (1400, "dark"), (390, "light")])
def test_pages_fit_the_screen(site: Path, width: int, scheme: str) -> None:
    with Browser() as browser:
        for name in SHOWN:
            browser.open(site / f"{name}.html", width=width, scheme=scheme, phone=width < 500)
            shown = browser.evaluate(
                "({width: document.documentElement.scrollWidth,"
                f" beyond: ({BEYOND})(),"
                " theme: document.documentElement.dataset.theme,"
                " broken: [...document.images].filter(i => !i.naturalWidth).map(i => i.src),"
                " cut: [...document.querySelectorAll('pre')]"
                ".filter(p => p.scrollWidth > p.clientWidth).length})"
            )
            assert (shown["width"] <= width, shown["beyond"]) == (True, []), name
            assert (shown["theme"], shown["broken"]) == (scheme, []), name
            # What commands print, 100 columns, is not cut; on a phone it is scrolled.
            assert width < 500 or name != "reference/commands" or shown["cut"] == 0
        asked = {event["request"]["url"] for event in browser.named("Network.requestWillBeSent")}
        assert {url for url in asked if not url.startswith(("file:", "data:"))} == set()
