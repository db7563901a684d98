"""How Sphinx builds the site: ``nox -s docs``."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "cli")]

from gpgen import __version__  # noqa: E402

project = "gpgen"
author = "The gpgen authors"
copyright = author  # noqa: A001 - Sphinx's name for it
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
exclude_patterns = ["site"]
nitpicky = False

# Markdown. The notebooks are shown as they were saved: the tests run them.
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"
nb_mime_priority_overrides = [("linkcheck", "image/png", 0)]  # a builder that it doesn't know

# The reference: NumPy docstrings.
napoleon_google_docstring = False
napoleon_use_rtype = False
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True

html_theme = "pydata_sphinx_theme"
html_title = "gpgen"
html_static_path = [str(Path(__file__).with_name("static"))]
html_css_files = ["style.css"]
html_show_sourcelink = False
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_theme_options = {
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
html_sidebars = {"index": []}


PAGES = {"index": "README.md", "changelog": "CHANGELOG.md", "contributing": "CONTRIBUTING.md"}
"""Pages of the site that begin with a page of the repository's root."""


def bring_page(app: Sphinx, name: str, source: list[str]) -> None:  # noqa: ARG001
    """Put a page of the root before what the site adds to it."""
    if name in PAGES:
        text = (ROOT / PAGES[name]).read_text(encoding="utf-8")
        source[0] = f"{re.sub(_LINK, _link_in_docs, text)}\n{source[0]}"


_LINK = r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)|\]\(docs/"


def _link_in_docs(match: re.Match[str]) -> str:
    """Return a link of the root's as the site has it: to its own page, or no link."""
    words, target = match.groups()
    if target is None:  # a picture
        return "]("
    if "://" in target or target.startswith("#"):
        return match[0]
    if target.startswith("docs/"):
        return f"[{words}]({target.removeprefix('docs/')})"
    page, _, part = target.partition("#")
    for name, root in PAGES.items():
        if page == root:
            return f"[{words}]({name}.md{'#' + part if part else ''})"
    return words


_COLON = "\x01"


def hide_colons(
    app: Sphinx,  # noqa: ARG001
    what: str,
    name: str,  # noqa: ARG001
    obj: object,  # noqa: ARG001
    options: object,  # noqa: ARG001
    lines: list[str],
) -> None:
    """Hide colons of a property's docstring from napoleon, for which a type would end there."""
    if what == "property":
        lines[:] = [line.replace(":", _COLON) for line in lines]


def plain_text(
    app: Sphinx,  # noqa: ARG001
    what: str,  # noqa: ARG001
    name: str,  # noqa: ARG001
    obj: object,  # noqa: ARG001
    options: object,  # noqa: ARG001
    lines: list[str],
) -> None:
    """Take the star of a shape ``(n, *shape)`` for what it is: docutils would begin emphasis."""
    for i, line in enumerate(lines):
        lines[i] = line.replace(_COLON, ":")
        if "``" not in line:
            lines[i] = re.sub(r"(?<=[ (])\*(?=\w)", r"\\*", lines[i])


def keep_spreads_whole(app: Sphinx, doctree: nodes.document) -> None:  # noqa: ARG001
    """Let no line of a table break within "0.93 ± 0.01"."""
    for table in doctree.findall(nodes.table):
        for text in list(table.findall(nodes.Text)):
            if " ± " in text:
                text.parent.replace(text, nodes.Text(text.replace(" ± ", "\u00a0±\u00a0")))


def bring_notebooks(app: Sphinx, config: Config) -> None:  # noqa: ARG001
    """Copy the notebooks to where Sphinx finds them."""
    folder = ROOT / "docs" / "tutorials"
    for notebook in (ROOT / "examples").glob("*.ipynb"):
        shutil.copyfile(notebook, folder / notebook.name)


def setup(app: Sphinx) -> None:
    """Register what happens while the site is built."""
    app.connect("config-inited", bring_notebooks)
    app.connect("source-read", bring_page)
    app.connect("doctree-read", keep_spreads_whole)
    app.connect("autodoc-process-docstring", hide_colons, priority=400)
    app.connect("autodoc-process-docstring", plain_text, priority=600)
