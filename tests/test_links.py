"""Links of the Markdown pages and notebooks, without a network.

Sphinx checks those within the site; here is what a forge shows, and what points to other hosts.
Whether those hosts answer is asked by ``nox -s links``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
FOLDERS = (".", ".github", "datasets", "docs", "docs/how-to", "docs/explanation", "docs/reference",
           "docs/tutorials", "examples")  # fmt: skip

HOSTS = {
    "arxiv.org", "distributed.dask.org", "docs.getmoto.org", "docs.mlcommons.org", "doi.org",
    "github.com", "helm.dask.org", "huggingface.co", "jobqueue.dask.org", "ror.org",
    "sandbox.zenodo.org", "spdx.org", "www.researchobject.org", "zenodo.org",
}  # fmt: skip
"""Other hosts that a page may name; a new one is added here, so that a misspelt one is noticed."""

PLACEHOLDERS = {
    "127.0.0.1", "account.blob.core.windows.net", "data.example.org", "example.org", "host",
    "storage.googleapis.com",
}  # fmt: skip
"""Hosts of addresses that readers put their own in the place of."""


def pages() -> dict[Path, str]:
    """Return the text of every page; of a notebook, that of its cells."""
    found: dict[Path, str] = {}
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).glob("*.md")):
            found[path] = path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "examples").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        found[path] = "\n\n".join(
            "".join(cell["source"]) if cell["cell_type"] == "markdown" else "" for cell in cells
        )
    return found


PAGES = pages()


def without_code(text: str) -> str:
    return re.sub(r"^( *)```.*?^\1```$|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)


def targets(path: Path) -> Iterator[str]:
    """Yield what the page's links and pictures point to."""
    yield from re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[path]))


def anchors(path: Path) -> set[str]:
    """Return the names that a forge, and MyST, give to a page's headings."""
    text = re.sub(r"^```.*?^```$", "", PAGES[path], flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def wrong_in(path: Path, target: str) -> str:
    """Return what is wrong with a link to a file or a heading; "" if nothing is."""
    name, _, anchor = unquote(target).partition("#")
    if name.startswith("/"):
        return "a path of one machine"
    page = (path.parent / name).resolve() if name else path
    if not page.exists() or not page.is_relative_to(ROOT):
        return "no such file in the repository"
    if anchor and anchor not in anchors(page):
        return "no such heading"
    return ""


def test_links_to_files_and_headings_lead_there_on_a_forge() -> None:
    assert len(PAGES) > 45
    inner = [(path, target) for path in PAGES for target in targets(path) if "://" not in target]
    assert len(inner) > 100
    wrong = {
        f"{path.relative_to(ROOT)}: {target}": what
        for path, target in inner
        if not target.startswith("mailto:") and (what := wrong_in(path, target))
    }
    assert wrong == {}


def test_a_wrong_link_is_told() -> None:
    page = ROOT / "docs" / "tour.md"
    assert wrong_in(page, "audit.md") == ""
    assert wrong_in(page, "#the-archive-of-2018") == ""
    assert wrong_in(page, "audits.md") == "no such file in the repository"
    assert wrong_in(page, "audit.md#limit") == "no such heading"
    assert wrong_in(page, "/etc/hosts") == "a path of one machine"


def test_other_hosts_are_known_and_asked_over_https() -> None:
    found = 0
    for path, text in PAGES.items():
        for address in re.findall(r"\bhttps?://[^\s<>\"'`)\]},;|]+", text):
            where = f"{path.relative_to(ROOT)}: {address}"
            parts = urlsplit(address.rstrip(".:"))
            assert parts.hostname in HOSTS | PLACEHOLDERS, where
            assert parts.scheme == "https" or parts.hostname in ("127.0.0.1", "host"), where
            found += 1
    assert found > 30


def test_links_to_a_scheme_are_to_the_web() -> None:
    for path in PAGES:
        for target in targets(path):
            scheme, colon, _ = target.partition(":")
            assert not colon or scheme in ("https", "mailto"), f"{path.relative_to(ROOT)}: {target}"
