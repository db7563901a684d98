"""Samples without end: never the same one twice, in whatever way they are asked for."""

from __future__ import annotations

import copy
import gc
import itertools
import json
import pickle
from typing import Any

import numpy as np
import pytest

import gpgen
from gpgen import Sampler
from gpgen.errors import UsageError

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402
from torch_support import RECIPE  # noqa: E402

from gpgen.torch import EndlessTextures  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker"),  # on small machines
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata calls it
]
SMALL = RECIPE.replace(shape=[4, 8], standardize=False)
ITERATION = 2**40


def drawn(iteration: int, start: int, stop: int) -> list[bytes]:
    """The images of an iteration's samples, one by one."""
    first = iteration * ITERATION
    return [gpgen.sample(SMALL, first + i).image.tobytes() for i in range(start, stop)]


def some(loader: Any, batches: int) -> list[bytes]:
    taken = itertools.islice(loader, batches)
    return [image.numpy().tobytes() for images, _ in taken for image in images]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_the_same_order_for_any_number_of_workers(workers: int) -> None:
    loader = DataLoader(EndlessTextures(RECIPE, 5), None, num_workers=workers)
    images = torch.cat([images for images, _ in itertools.islice(loader, 7)])
    assert (images[:, 0].numpy() == Sampler(RECIPE).images(0, 35)).all()


@pytest.mark.train
@pytest.mark.parametrize(
    ("workers", "method", "persistent"),
    [
        (0, None, False),
        (2, "fork", False),
        (2, "fork", True),
        (3, "fork", True),
        (1, "forkserver", False),
        (2, "spawn", True),
    ],
)
def test_each_iteration_has_samples_of_its_own(
    workers: int, method: str | None, persistent: bool
) -> None:
    fresh = EndlessTextures(SMALL, 3)
    loader = DataLoader(
        fresh,
        None,
        num_workers=workers,
        multiprocessing_context=method,
        persistent_workers=persistent,
    )
    for iteration in range(3):
        torch.manual_seed(0)  # so that PyTorch's own seeds of the workers come again
        assert some(loader, 5) == drawn(iteration, 0, 15)


@pytest.mark.slow
def test_loaders_of_any_kind_over_one_dataset_share_no_sample() -> None:
    fresh, seen = EndlessTextures(SMALL, 2), []
    seen += some(fresh, 2)
    for workers in (2, 0, 3, 1, 2):
        seen += some(DataLoader(fresh, None, num_workers=workers), 5)
    seen += some(fresh, 2)
    both = [DataLoader(fresh, None, num_workers=workers) for workers in (2, 2, 3)]
    for batches in itertools.islice(zip(*both, strict=False), 4):
        seen += [image.numpy().tobytes() for images, _ in batches for image in images]
    one, two = iter(fresh), iter(fresh)
    seen += some(one, 1) + some(two, 1) + some(one, 1)
    assert len(set(seen)) == len(seen) == 2 * (2 + 25 + 2 + 12 + 3)


def test_over_workers_ranks_and_restarts_no_sample_comes_twice() -> None:
    seen = []
    for rank in range(3):
        for first in (0, 4):  # the second run goes on behind the four batches of the first
            textures = EndlessTextures(RECIPE, 2, first, rank=rank, world_size=3)
            loader = DataLoader(textures, None, num_workers=2)
            for images, labels in itertools.islice(loader, 4):
                assert labels.tolist() == [i % 4 for i in labels]
                seen += [image.numpy().tobytes() for image in images]
    assert len(set(seen)) == len(seen) == 3 * 2 * 4 * 2
    everything = {image.tobytes() for image in Sampler(RECIPE).images(0, len(seen))}
    assert set(seen) == everything


def test_restarts_by_the_number_of_batches_used_repeat_nothing() -> None:
    seen, used = [], 0
    for _run in range(3):
        loader = DataLoader(EndlessTextures(SMALL, 2, used), None, num_workers=1)
        for steps in (3, 1, 2):
            seen += some(loader, steps)
            used += steps
    assert len(set(seen)) == len(seen) == 2 * used


@pytest.mark.parametrize("workers", [0, 2])
def test_a_state_with_the_batches_seen_goes_on_exactly(workers: int) -> None:
    def loader(fresh: EndlessTextures) -> Any:
        return DataLoader(fresh, None, num_workers=workers)

    fresh = EndlessTextures(SMALL, 2)
    some(loader(fresh), 4)
    assert some(loader(fresh), 3) == drawn(1, 0, 6)
    state = json.loads(json.dumps(fresh.state_dict(seen=3)))
    assert (state["iteration"], state["seen"]) == (1, 3)
    later = EndlessTextures(SMALL, 2)
    later.load_state_dict(state)
    assert some(loader(later), 5) == drawn(1, 6, 16)
    assert later.state_dict(seen=8)["seen"] == 8
    assert some(loader(later), 2) == drawn(2, 0, 4)


@pytest.mark.parametrize("persistent", [False, True])
def test_a_state_without_them_goes_on_with_the_next_iteration(persistent: bool) -> None:
    fresh = EndlessTextures(SMALL, 2)
    assert fresh.state_dict()["iteration"] == 0
    loader = DataLoader(fresh, None, num_workers=2, persistent_workers=persistent)
    some(loader, 3)
    state = fresh.state_dict()
    assert (state["iteration"], state["seen"]) == (1, 0)
    fresh.load_state_dict({**state, "iteration": 7})  # by workers that are there already, too
    assert some(loader, 3) == drawn(7, 0, 6)
    assert some(loader, 3) == drawn(8, 0, 6)


def test_a_state_of_other_batches_is_refused() -> None:
    state = EndlessTextures(SMALL, 2).state_dict(seen=3)
    for other, message in (
        (EndlessTextures(SMALL, 4), "batch_size 2, here 4"),
        (EndlessTextures(SMALL, 2, rank=1, world_size=2), "world_size 1, here 2"),
        (EndlessTextures(SMALL.replace(seed=12), 2), "another order: recipe"),
    ):
        with pytest.raises(UsageError, match=message):
            other.load_state_dict(state)
    fresh = EndlessTextures(SMALL, 2)
    with pytest.raises(UsageError, match="the state is not EndlessTextures's; give what"):
        fresh.load_state_dict({"seen": 3})
    for seen in (-1, 2.5, True, None):
        with pytest.raises(UsageError, match=f"seen is {seen}; use 0 or more"):
            fresh.load_state_dict({**state, "seen": seen})
    with pytest.raises(UsageError, match="seen is -1"):
        fresh.state_dict(seen=-1)


stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader


@pytest.mark.parametrize(
    ("steps", "workers"),
    [(1, 0), (4, 0), (7, 0), (4, 2), *(pytest.param(k, 2, marks=pytest.mark.slow) for k in (1, 7))],
)
def test_a_stateful_loader_goes_on_exactly(workers: int, steps: int) -> None:
    def loader() -> Any:
        return stateful(EndlessTextures(SMALL, 2), batch_size=None, num_workers=workers)

    first = loader()
    some(first, 2)
    batches = iter(first)
    assert some(batches, steps) == drawn(1, 0, 2 * steps)
    state = first.state_dict()
    second = loader()
    second.load_state_dict(state)
    assert some(second, 5) == drawn(1, 2 * steps, 2 * steps + 10)
    assert some(second, 3) == drawn(2, 0, 6)


def test_a_stateful_loader_with_other_workers_is_refused(monkeypatch) -> None:
    # So long torchdata waits for each worker that has failed, before it ends it.
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.1)
    first = stateful(EndlessTextures(SMALL, 2), batch_size=None, num_workers=2)
    some(first, 2)
    state = first.state_dict()
    second = stateful(EndlessTextures(SMALL, 2), batch_size=None, num_workers=3)
    second.load_state_dict(state)
    with pytest.raises(UsageError, match="that of 2 workers, here are 3; use num_workers=2"):
        some(second, 2)
    del first, second
    gc.collect()


@pytest.mark.slow
def test_copies_count_for_themselves() -> None:
    fresh = EndlessTextures(SMALL, 2)
    some(fresh, 2)
    for same in (copy.deepcopy(fresh), pickle.loads(pickle.dumps(fresh))):  # noqa: S301 - our own
        assert some(same, 1) == drawn(1, 0, 2)
        assert some(same, 1) == drawn(2, 0, 2)
    assert some(fresh, 1) == drawn(1, 0, 2)


def test_they_go_on_far_beyond_any_dataset() -> None:
    far = 10**11
    images, targets = next(iter(EndlessTextures(RECIPE, 2, far, target="both")))
    assert (images[1, 0].numpy() == gpgen.sample(RECIPE, 2 * far + 1).image).all()
    assert targets[0].tolist() == [2 * far % 4, (2 * far + 1) % 4]


def test_an_iteration_never_runs_into_the_next() -> None:
    last = EndlessTextures(SMALL, 2, ITERATION // 2 - 1)
    batches = iter(last)
    images, _ = next(batches)
    assert np.array_equal(images[1, 0].numpy(), gpgen.sample(SMALL, ITERATION - 1).image)
    with pytest.raises(UsageError, match="samples of iteration 0 are used up; begin another one"):
        next(batches)
    last.load_state_dict({**last.state_dict(), "iteration": 2**22, "seen": 0})
    with pytest.raises(UsageError, match="give the recipe another seed"):
        next(iter(last))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "batch_size is 0; use 1 or more"),
        ((2, -1), "first_batch is -1; use 0 or more"),
        ((2.0,), r"batch_size is 2\.0"),
        ((True,), "batch_size is True"),
    ],
)
def test_bad_arguments(arguments: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        EndlessTextures(RECIPE, *arguments)
