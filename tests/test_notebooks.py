"""The notebooks of `examples`: they run, and what they keep is small and of no machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from notebooks import EXAMPLES, run

NAMES = ["backdrop", "generate", "train"]


def test_these_notebooks_exist() -> None:
    assert sorted(path.stem for path in EXAMPLES.glob("*.ipynb")) == NAMES


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_in_a_new_kernel(name: str) -> None:
    notebook = run(EXAMPLES / f"{name}.ipynb")
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    warned = [output for output in outputs if output.get("name") == "stderr"]
    assert not warned, warned


@pytest.mark.parametrize("name", NAMES)
def test_what_a_notebook_keeps_is_small_and_of_no_machine(name: str) -> None:
    path = EXAMPLES / f"{name}.ipynb"
    text = path.read_text(encoding="utf-8")
    assert len(text) < 1_500_000
    assert "/tmp" not in text
    assert str(Path.home()) not in text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
