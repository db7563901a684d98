from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time

import pytest

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402
from torch_support import Numbered, numbered, numbers  # noqa: E402

from gpgen.torch import ShardShuffle, resilient_batches  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")


def kill_one(rng: random.Random) -> bool:
    # Not `active_children`, which would take the dead ones' status away from PyTorch.
    children = list(multiprocessing.process._children)
    if not children:
        return False
    try:
        os.kill(rng.choice(children).pid, signal.SIGKILL)
    except ProcessLookupError:  # ended in the meantime, as at the end of every epoch
        return False
    return True


# PyTorch raises in the middle of receiving a tensor, whose socket is left to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_epochs_survive_workers_killed_at_random() -> None:
    """Killed while the caller has a batch, and by a thread at any instant while it waits."""
    rng, n = random.Random(3), 120
    dataset = numbered(n)
    sampler = ShardShuffle(dataset, window=50)
    stop, killed = threading.Event(), [0]

    def killer() -> None:
        while not stop.wait(rng.uniform(0.02, 0.3)):
            killed[0] += kill_one(rng)

    thread = threading.Thread(target=killer)
    thread.start()
    try:
        for epoch in range(100 if os.environ.get("GPGEN_LONG") else 12):
            sampler.set_epoch(epoch)
            seen = []
            for images, _ in resilient_batches(dataset, sampler, 7, num_workers=2):
                seen += numbers(images)
                if rng.random() < 0.05:
                    killed[0] += kill_one(rng)
                    time.sleep(0.01)
            sampler.load_state_dict(sampler.state_dict(seen=0))
            assert seen == list(sampler)
    finally:
        stop.set()
        thread.join()
    assert killed[0] > 5


def test_the_death_of_a_worker_waits_for_the_next_batch(caplog: pytest.LogCaptureFixture) -> None:
    dataset = numbered(60)
    sampler = ShardShuffle(dataset)
    handler = signal.getsignal(signal.SIGCHLD)
    others, seen = set(multiprocessing.active_children()), []
    for images, _ in resilient_batches(dataset, sampler, 8, num_workers=1):
        if not seen:
            (worker,) = set(multiprocessing.active_children()) - others
            worker.kill()
            worker.join()
            for _ in range(1000):  # PyTorch would raise here, in the middle of a step
                time.sleep(0)
        seen += numbers(images)
    assert sorted(seen) == list(range(60))
    assert "worker was killed after" not in caplog.text
    assert "loading goes on after 8 samples" in caplog.text
    # PyTorch's own handler is back in its place.
    assert signal.getsignal(signal.SIGCHLD) in (handler, torch_handler())


def torch_handler() -> object:
    next(iter(DataLoader(numbered(8), 2, num_workers=1)))
    return signal.getsignal(signal.SIGCHLD)


class Deadly(Numbered):
    def _images(self, indices, out) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_workers_that_always_die_are_given_up() -> None:
    dataset = Deadly(numbered(20).recipe, 20)
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        list(resilient_batches(dataset, ShardShuffle(dataset), 4, num_workers=1))


class Broken(Numbered):
    def _images(self, indices, out) -> None:
        raise FileNotFoundError("no such thing")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_in_workers_are_errors(workers: int) -> None:
    dataset = Broken(numbered(20).recipe, 20)
    with pytest.raises(FileNotFoundError, match="no such thing"):
        list(resilient_batches(dataset, ShardShuffle(dataset), 4, num_workers=workers))
