"""The pages on how to do a thing: what they show is run, and the site is built."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_docs import blocks

from gpgen import Recipe

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.name for path in (ROOT / "docs" / "how-to").glob("*.md"))
WITH_PYTHON = [page for page in PAGES if blocks(f"docs/how-to/{page}", "python")]


def test_the_pages_that_show_python_are_these() -> None:
    assert WITH_PYTHON == [
        "masks.md",
        "one-split.md",
        "own-network.md",
        "own-recipe.md",
        "sequences-graphs-losses.md",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_what_a_page_shows_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": page}
    for block in blocks(f"docs/how-to/{page}", "python"):
        exec(compile(block, page, "exec"), names)  # noqa: S102
    for name, said in re.findall(r"^\s*(\w+\.classes)  # (\(.*\))$", "\n".join(
        blocks(f"docs/how-to/{page}", "python")), re.MULTILINE):  # fmt: skip
        assert str(eval(name, names)).replace("'", '"') == said  # noqa: S307


def test_the_recipe_of_the_page_on_recipes_has_the_classes_that_it_says() -> None:
    (text,) = blocks("docs/how-to/own-recipe.md", "toml")
    assert Recipe.from_toml(text).class_count == 4


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_asks_nothing_of_other_hosts(
    tmp_path: Path,
) -> None:
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-c",
        "docs/site",
        "docs",
    ]
    built = subprocess.run(
        [*command, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    loads = r"<(?:script|img|iframe|source)[^>]*\ssrc=\"([^\"]*)\"|<link[^>]*\shref=\"([^\"]*)\""
    for page in pages:
        for address in re.findall(loads, page.read_text(encoding="utf-8")):
            assert not "".join(address).startswith(("http:", "https:", "//")), page
