"""The pages on how to do a thing: what they show is run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gpgen_cli.main import main
from test_docs import ROOT, blocks

from gpgen import Recipe

PAGES = sorted(path.name for path in (ROOT / "docs" / "how-to").glob("*.md"))
RUN = [
    page for page in PAGES if any(blocks(f"docs/how-to/{page}", kind) for kind in ("sh", "python"))
]


def test_the_pages_that_show_what_is_run_are_these() -> None:
    assert RUN == [
        "hugging-face.md",
        "masks.md",
        "one-split.md",
        "own-network.md",
        "own-recipe.md",
        "resume.md",
        "sequences-graphs-losses.md",
    ]


def steps(page: str) -> list[tuple[str, str]]:
    """Return what a page shows, in its order, each with its language."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.slow
# The datasets package leaves files and sockets to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("page", RUN)
def test_what_a_page_shows_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    names: dict[str, Any] = {"__name__": page}
    for language, code in steps(f"docs/how-to/{page}"):
        if language == "python":
            exec(compile(code, page, "exec"), names)  # noqa: S102
        elif language == "toml" and "creators" in code:
            Path("publication.toml").write_text(code)
        for line in code.splitlines() if language == "sh" else ():
            if line.startswith("gpgen "):
                assert main(shlex.split(line)[1:]) == 0, line
            else:
                subprocess.run(["sh", "-c", line], check=True)
    for name, said in re.findall(r"^\s*(\w+\.classes)  # (\(.*\))$", "\n".join(
        blocks(f"docs/how-to/{page}", "python")), re.MULTILINE):  # fmt: skip
        assert str(eval(name, names)).replace("'", '"') == said  # noqa: S307
    if page == "hugging-face.md":
        assert {split: len(part) for split, part in names["data"].items()} == {
            "train": 160, "validation": 20, "test": 20}  # fmt: skip
        assert str(names["data"]["train"].features["image"]) == (
            "Array2D(shape=(64, 64), dtype='float32')"
        )
        assert names["image"].shape == (64, 64)


@pytest.mark.slow
def test_the_lines_for_the_hub_are_taken_up_to_where_they_ask_it(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    (tmp_path / "deposit").mkdir()
    lines = "".join(blocks("docs/how-to/hugging-face.md", "")).splitlines()
    for verb, count in (("upload", 2), ("download", 1)):
        chosen = [line for line in lines if line.startswith(f"hf {verb} ")]
        assert len(chosen) == count
        for line in chosen:
            asked = subprocess.run(
                [Path(sys.executable).parent / "hf", *shlex.split(line)[1:]],
                cwd=tmp_path,
                env={"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "NO_COLOR": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert asked.returncode == 1
            assert "offline" in asked.stderr.lower(), asked.stderr


def test_the_recipe_of_the_page_on_recipes_has_the_classes_that_it_says() -> None:
    (text,) = blocks("docs/how-to/own-recipe.md", "toml")
    assert Recipe.from_toml(text).class_count == 4
