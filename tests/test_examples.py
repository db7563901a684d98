"""The examples train, and the code in docs/training.md runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpgen
from gpgen import Recipe

pytest.importorskip("torch")

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")

# Two classes that a glance tells apart: what trains on them in seconds, trains.
EASY = Recipe.from_dict(
    {
        "name": "easy",
        "shape": [48, 48],
        "components": [{"kernel": "rbf", "length_scales": [1.5, 5.0], "weight": 1.0}],
        "splits": {"train": 0.7, "test": 0.3},
    }
)


def accuracy(example: str, *arguments: str) -> float:
    """Run an example and return the share of test samples that it got right in the end."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example), "--workers", "1", *arguments],
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    right, total = re.findall(r"(\d+) of (\d+) right", done.stdout)[-1]
    return int(right) / int(total)


@pytest.mark.train
def test_the_stored_example_trains(tmp_path: Path) -> None:
    gpgen.make(EASY, 300, tmp_path / "easy.zarr", workers=1).close()
    # By chance 0.5 of 90 samples, give or take 0.05.
    assert accuracy("train_stored.py", str(tmp_path / "easy.zarr"), "--epochs", "4") > 0.75


@pytest.mark.train
def test_the_generated_example_trains(tmp_path: Path) -> None:
    recipe = tmp_path / "easy.toml"
    recipe.write_text(EASY.to_toml())
    # By chance 0.5 of 200 samples, give or take 0.04.
    assert accuracy("train_generated.py", "--recipe", str(recipe), "--steps", "30") > 0.75


@pytest.mark.train
def test_the_example_of_a_loss_over_the_batch_compares_a_pair() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "auc.py"), "--seeds", "1", "--steps", "50"],
        env={"PYTHONPATH": ":".join(sys.path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    without, masked, higher = re.findall(
        r"^mean +(\S+) +(\S+) .* in ([01]) of 1$", done.stdout, re.MULTILINE
    )[0]
    assert 0 < float(without) < 1
    assert 0 < float(masked) < 1
    if without != masked:
        assert int(higher) == (float(masked) > float(without))


@pytest.mark.parametrize("example", ["train_stored.py", "train_generated.py"])
def test_an_example_is_under_forty_lines(example: str) -> None:
    assert len((ROOT / "examples" / example).read_text().splitlines()) < 40


# Lightning and torchdata have warnings of their own: of PyTorch's names, loaders, logging.
@pytest.mark.train
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
def test_the_code_in_the_docs_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one process, in order, as one would type it."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    code = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(code) >= 6
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, "docs/training.md", "exec"), names)  # noqa: S102
