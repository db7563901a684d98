"""Ranks, and the trainers that people use, each with two real processes over gloo."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import gpgen

torch = pytest.importorskip("torch")
from torch_ranks import BATCH, WORLD_SIZE, N, run_ranks, textures  # noqa: E402

from gpgen.torch import EndlessTextures, ShardShuffle  # noqa: E402

pytestmark = pytest.mark.train


def expected(epoch: int, rank: int, seed: int = 0) -> list[int]:
    order = ShardShuffle(textures(), seed=seed, rank=rank, world_size=WORLD_SIZE)
    order.set_epoch(epoch)
    return list(order)


def test_ranks_that_meet_after_everything_is_made(tmp_path: Path) -> None:
    ranks = run_ranks("distributed", tmp_path)
    for rank, left in enumerate(ranks):
        assert left["alone"] == N
        assert left["epochs"] == [expected(epoch, rank) for epoch in range(2)]
    # Three iterations, each of three batches of two on each rank, and the ranks' in turn.
    images = [value for left in ranks for value in left["images"]]
    assert len(images) == 2 * 3 * 3 * 2
    recipe = textures().recipe
    indices = [(i << 40) + k for i in range(3) for k in range(12)]
    drawn = [float(gpgen.sample(recipe, index).image[0, 0]) for index in indices]
    assert sorted(images) == sorted(drawn)
    # The states are those of any rank.
    assert ranks[0]["state"] == ranks[1]["state"]
    order, fresh = ranks[0]["state"]
    ShardShuffle(textures(), rank=1, world_size=2).load_state_dict(order)
    EndlessTextures(recipe, 2, rank=1, world_size=2).load_state_dict(fresh)
    assert (fresh["iteration"], fresh["seen"]) == (2, 3)


def test_accelerate_shares_out_the_batches_of_an_order_that_knows_no_ranks(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    ranks = run_ranks("accelerated", tmp_path)
    for left in ranks:
        assert len(left["refused"]) == 3
        for line in left["refused"]:
            assert "accelerate shares out batches" in line
            assert "give the sampler rank=0 and world_size=1" in line
        assert left["lengths"] == [5, 5]
        assert left["rest"] == left["epochs"][1][2 * BATCH :]
    for epoch in range(2):
        order = ShardShuffle(textures())
        order.set_epoch(epoch)
        batches = [list(order)[k : k + BATCH] for k in range(0, N, BATCH)]
        for rank, left in enumerate(ranks):
            assert left["epochs"][epoch] == [i for batch in batches[rank::2] for i in batch]


def test_lightning_leaves_the_order_alone_and_continues_it(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    ranks = run_ranks("lightning", tmp_path)
    for rank, left in enumerate(ranks):
        assert left["plain"] == {str(e): expected(e, rank, seed=3) for e in range(2)}
        # Saved after seven steps, in the middle of the second epoch, and continued there.
        stopped, resumed = left["stopped"], left["resumed"]
        assert stopped["0"] == expected(0, rank, seed=3)
        assert stopped["1"] == expected(1, rank, seed=3)[: 4 * BATCH]
        assert resumed["1"] == expected(1, rank, seed=3)[2 * BATCH :]
        assert resumed["2"] == expected(2, rank, seed=3)
        assert resumed.keys() == {"1", "2"}


def test_the_pages_code_runs_from_top_to_bottom(tmp_path: Path) -> None:
    for name in ("lightning", "accelerate", "torchdata"):
        pytest.importorskip(name)
    page = (Path(__file__).parents[1] / "docs/training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment["ACCELERATE_USE_CPU"] = "true"
    command = [sys.executable, "-W", "ignore", "-c", "\n".join(blocks)]
    subprocess.run(command, check=True, cwd=tmp_path, env=environment, timeout=300)
