"""What docs/backdrop.md shows runs, prints what it says, and its pictures are today's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "backdrop.md").read_text(encoding="utf-8")


@pytest.mark.train
def test_the_code_on_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, names)  # noqa: S102
    (shown,) = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)
    assert capsys.readouterr().out.endswith(shown)
    assert len(list(tmp_path.glob("*.png"))) == 4


def test_its_pictures_are_there_and_small():
    pictures = re.findall(r"\]\((pictures/[\w-]+\.png)\)", PAGE)
    assert len(pictures) == 4
    for picture in pictures:
        assert 10_000 < (DOCS / picture).stat().st_size < 150_000


@pytest.mark.parametrize("word", ["/work", "/tmp"])
def test_it_names_no_machine_s_paths(word):
    assert word not in PAGE
