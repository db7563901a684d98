"""Training that goes on where it was left: what comes, how much of it, and what comes next."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gpgen.errors import UsageError

torch = pytest.importorskip("torch")
from torch.utils.data import BatchSampler, DataLoader  # noqa: E402
from torch_support import numbered, numbers  # noqa: E402

from gpgen.torch import ShardShuffle  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
    pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker"),  # on small machines
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),  # torchdata calls it
]
N = 80


def shuffle(n: int = N, **options: Any) -> ShardShuffle:
    dataset = numbered(n)
    dataset.shard_size = 16
    return ShardShuffle(dataset, window=24, seed=5, **options)


def whole(epoch: int, **options: Any) -> list[int]:
    sampler = shuffle(**options)
    sampler.set_epoch(epoch)
    return list(sampler)


def taken(loader: Any) -> list[int]:
    return [i for images, _ in loader for i in numbers(images)]


@pytest.mark.parametrize(("workers", "persistent"), [(0, False), (2, False), (2, True)])
@pytest.mark.parametrize("calls_set_epoch", [False, True])
def test_epochs_behind_a_continued_one_are_whole(
    workers: int, persistent: bool, calls_set_epoch: bool
) -> None:
    order = shuffle()
    loader = DataLoader(
        order.dataset, 8, sampler=order, num_workers=workers, persistent_workers=persistent
    )
    order.load_state_dict({**order.state_dict(), "epoch": 2, "seen": 48})
    epochs, promised = [], []
    for epoch in (2, 3, 4):
        if calls_set_epoch:
            order.set_epoch(epoch)
        promised.append(len(loader))
        epochs.append(taken(loader))
    assert promised == [4, 10, 10]
    later = (3, 4) if calls_set_epoch else (2, 2)
    assert epochs == [whole(2)[48:], *map(whole, later)]
    assert len(loader) == 10


@pytest.mark.parametrize("batch_size", [7, 16])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("seen", [0, 1, 14, 25, 26])
def test_the_loaders_length_is_what_comes(
    batch_size: int, drop_last: bool, world_size: int, seen: int
) -> None:
    for rank in range(world_size):
        order = shuffle(rank=rank, world_size=world_size, drop_last=drop_last)
        loader = DataLoader(order.dataset, batch_size, sampler=order, drop_last=drop_last)
        order.load_state_dict(order.state_dict(seen=seen))
        for _ in range(3):
            expected, came = len(loader), 0
            for came, _batch in enumerate(loader, start=1):  # noqa: B007
                # The rule of gradient accumulation: the last batch knows that it is the last.
                assert len(loader) == expected
            assert came == expected


def test_an_epoch_that_is_left_early_is_followed_by_a_whole_one() -> None:
    order = shuffle()
    loader = DataLoader(order.dataset, 8, sampler=order)
    order.load_state_dict(order.state_dict(seen=40))
    for _ in loader:
        assert len(loader) == 5
        break
    assert len(loader) == 10
    assert taken(loader) == whole(0)


def test_a_state_of_an_epochs_end() -> None:
    order = shuffle()
    order.set_epoch(3)
    assert len(list(order)) == N
    state = order.state_dict()
    assert (state["epoch"], state["seen"]) == (3, N)

    order = shuffle()  # a loop that counts the epochs itself, from the one it was in
    order.load_state_dict(state)
    order.set_epoch(3)
    assert len(order) == 0
    assert list(order) == []
    order.set_epoch(4)
    assert list(order) == whole(4)

    for epoch in (None, 4):  # one that doesn't, and one that begins with the next
        order = shuffle()
        order.load_state_dict(state)
        if epoch is not None:
            order.set_epoch(epoch)
        assert len(order) == N
        assert list(order) == whole(4)


def test_an_epoch_before_the_one_that_was_loaded_is_refused() -> None:
    order = shuffle()
    order.load_state_dict({**order.state_dict(), "epoch": 3, "seen": 16})
    message = "epoch is 0, but the state that was loaded is of epoch 3; count on from 3"
    with pytest.raises(UsageError, match=message):
        order.set_epoch(0)
    order.set_epoch(4)  # whoever leaves the rest out says so
    assert list(order) == whole(4)
    order.set_epoch(0)
    assert list(order) == whole(0)


def test_states_at_every_step_of_a_run_continue_it() -> None:
    expected = [i for epoch in range(3) for i in whole(epoch)]
    for stop in (0, 5, 79, 80, 81, 160, 200):
        order, seen = shuffle(), []
        for epoch in range(3):
            order.set_epoch(epoch)
            for position in order:
                if len(seen) == stop:
                    break
                seen.append(position)
            if len(seen) == stop:
                break
        state = json.loads(json.dumps(order.state_dict(seen=stop - order.epoch * N)))
        again = shuffle()
        again.load_state_dict(state)
        for later in range(state["epoch"], 3):
            again.set_epoch(later)
            seen += again
        assert seen == expected


def test_a_state_loaded_twice_or_before_use_stays_itself() -> None:
    order = shuffle()
    state = {**order.state_dict(), "epoch": 1, "seen": 30}
    order.load_state_dict(state)
    assert order.state_dict() == state
    order.load_state_dict(order.state_dict())
    copied = pickle.loads(pickle.dumps(order))  # noqa: S301 - our own
    assert list(copied) == list(copy.deepcopy(order)) == list(order) == whole(1)[30:]
    assert list(order) == whole(1)


def test_a_batch_sampler_is_continued_too() -> None:
    order = shuffle()
    batches = BatchSampler(order, 8, drop_last=False)
    order.load_state_dict(order.state_dict(seen=72))
    assert len(batches) == 1
    assert list(batches) == [whole(0)[72:]]
    assert [i for batch in batches for i in batch] == whole(0)


TRAINING = """
import json, os, signal, sys
from pathlib import Path
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader
from test_torch_resuming import N, shuffle, whole
from torch_support import Numbered, numbers

class Deadly(Numbered):
    def _images(self, indices, out):
        if self.is_deadly and whole(1)[40] in indices:
            os.kill(os.getpid(), signal.SIGKILL)  # as the system does when memory runs out
        super()._images(indices, out)

kind, folder = sys.argv[1], Path(sys.argv[2])
order = shuffle()
order.dataset.__class__ = Deadly
made = {"plain": DataLoader, "stateful": StatefulDataLoader}[kind]
loader = made(order.dataset, 8, sampler=order, num_workers=2)
stands_in = order if kind == "plain" else loader
checkpoint = folder / "checkpoint.json"
epochs, state = [[]], None
if checkpoint.exists():
    epochs, state = json.loads(checkpoint.read_text())
    stands_in.load_state_dict(state)
for epoch in range(len(epochs) - 1, 3):
    order.set_epoch(epoch)
    order.dataset.is_deadly = epoch == 1 and "kill" in sys.argv
    for images, _ in loader:
        epochs[-1] += numbers(images)
        seen = {"seen": len(epochs[-1])} if kind == "plain" else {}
        (folder / "new.json").write_text(json.dumps([epochs, stands_in.state_dict(**seen)]))
        (folder / "new.json").rename(checkpoint)
    epochs.append([])
print(json.dumps(epochs[:3]))
"""


@pytest.mark.train
@pytest.mark.parametrize("kind", ["plain", "stateful"])
def test_training_goes_on_behind_a_workers_death(kind: str, tmp_path: Path) -> None:
    def train(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-W", "ignore", "-c", TRAINING, kind, str(tmp_path), *arguments]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        return subprocess.run(command, capture_output=True, text=True, env=environment)

    killed = train("kill")
    # With PyTorch's own error, or what it leaves of the code that it interrupts.
    assert killed.returncode != 0
    assert killed.stdout == ""
    epochs, _ = json.loads((tmp_path / "checkpoint.json").read_text())
    assert epochs[0] == whole(0)
    assert len(epochs[1]) <= 40
    resumed = train()
    assert resumed.returncode == 0, resumed.stderr
    assert json.loads(resumed.stdout) == [whole(0), whole(1), whole(2)]


stateful = pytest.importorskip("torchdata.stateful_dataloader")


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seen", [0, 1, 6, 9, 10])
@pytest.mark.parametrize("calls_set_epoch", [False, True])
def test_a_stateful_loader_saves_and_continues_the_order(
    workers: int, seen: int, calls_set_epoch: bool
) -> None:
    def loader() -> tuple[Any, ShardShuffle]:
        order = shuffle()
        made = stateful.StatefulDataLoader(order.dataset, 8, sampler=order, num_workers=workers)
        return made, order

    first, order = loader()
    order.set_epoch(1)
    batches = iter(first)
    used = [i for _ in range(seen) for i in numbers(next(batches)[0])]
    if seen == 10:
        assert next(batches, None) is None
    state = first.state_dict()
    del batches, first

    second, order = loader()
    second.load_state_dict(state)
    if calls_set_epoch:
        order.set_epoch(1 if seen < 10 else 2)
    epochs = []
    if seen < 10:
        epochs.append(used + taken(second))
        if calls_set_epoch:
            order.set_epoch(2)
    else:
        epochs.append(used)
    assert len(second) == 10  # as that loader has it, of a whole epoch
    epochs.append(taken(second))
    following = 2 if calls_set_epoch or seen == 10 else 1
    assert epochs == [whole(1), whole(following)]


def test_a_stateful_loader_without_batches_of_its_own() -> None:
    def loader() -> Any:
        order = shuffle()
        return stateful.StatefulDataLoader(order.dataset, None, sampler=order)

    first = loader()
    batches = iter(first)
    used = [int(next(batches)[0][0, 0, 0]) for _ in range(33)]
    second = loader()
    second.load_state_dict(first.state_dict())
    assert used + [int(image[0, 0, 0]) for image, _ in second] == whole(0)
    assert [int(image[0, 0, 0]) for image, _ in second] == whole(0)
