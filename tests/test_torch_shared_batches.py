"""Batches in shared memory that workers use again: never while anybody still looks at it."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
import psutil  # noqa: E402
from torch.utils.data import DataLoader, default_collate  # noqa: E402
from torch_support import Numbered, numbered, numbers  # noqa: E402

from gpgen.torch.lending import CAN_LEND  # noqa: E402

pytestmark = [
    pytest.mark.skipif(not CAN_LEND, reason="no files without names on this system"),
    pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks"),
]


class Counted(Numbered):
    """The target of every sample is how many blocks its worker has."""

    def _targets_of(self, indices: Any) -> Any:
        blocks = Path("/proc/self/maps").read_text().count("gpgen-batch")
        return torch.full((len(indices),), blocks)


def counted(n: int) -> Counted:
    example = numbered(1)
    return Counted(example.recipe, n)


@pytest.mark.train
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_worker_uses_its_blocks_again(method: str) -> None:
    loader = DataLoader(
        counted(400), 4, num_workers=1, multiprocessing_context=method, prefetch_factor=2
    )
    seen, blocks = [], 0
    for images, count in loader:
        seen += numbers(images)
        blocks = max(blocks, int(count[0]))
    assert seen == list(range(400))
    # Two fetched ahead, one at the loop, one on its way, one being filled.
    assert blocks <= 5


def test_what_is_held_never_changes() -> None:
    held, parts = [], []
    for step, (images, _) in enumerate(DataLoader(counted(400), 4, num_workers=2)):
        if step % 10 == 0:
            held.append((4 * step, images))
        if step % 10 == 5:
            parts.append((4 * step + 2, images[2], images.numpy()[2]))
    assert (len(held), len(parts)) == (10, 10)
    for first, images in held:
        assert numbers(images) == [first, first + 1, first + 2, first + 3]
    for index, row, array in parts:
        assert (row == index).all()
        assert (array == index).all()


def look(pipe: Any, held: list[Any]) -> None:
    pipe.recv()
    pipe.send(numbers(held[0]))


def test_what_a_forked_child_sees_never_changes() -> None:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    batches = iter(DataLoader(numbered(200), 4, num_workers=1))
    images, _ = next(batches)

    child = context.Process(target=look, args=(theirs, [images]))
    child.start()
    try:
        del images
        for _ in range(20):
            next(batches)
        ours.send("look")
        assert ours.poll(30)
        assert ours.recv() == [0, 1, 2, 3]
    finally:
        child.join()


def test_batches_outlive_their_workers() -> None:
    kept = list(DataLoader(numbered(40), 8, num_workers=2))
    assert [i for images, _ in kept for i in numbers(images)] == list(range(40))
    assert all(type(images) is torch.Tensor for images, _ in kept)


def targets_only(batch: Any) -> Any:
    return default_collate(batch)[1]


def test_a_batch_that_is_not_sent_is_free_again() -> None:
    loader = DataLoader(counted(200), 4, num_workers=1, collate_fn=targets_only)
    assert max(int(count[0]) for count in loader) <= 2


def halved(batch: Any) -> Any:
    images, targets = default_collate(batch)
    assert type(images / 2) is torch.Tensor
    return images / 2, targets


def doubled_in_place(batch: Any) -> Any:
    images, targets = default_collate(batch)
    images.mul_(2)
    return images, images, images[1:], targets


def test_what_a_collate_function_makes_of_a_batch_arrives() -> None:
    for step, (images, _) in enumerate(DataLoader(numbered(40), 4, num_workers=1)):
        assert numbers(images)[0] == 4 * step
    assert step == 9
    for step, (images, _) in enumerate(
        DataLoader(numbered(40), 4, num_workers=1, collate_fn=halved)
    ):
        assert numbers(images * 2)[0] == 4 * step
    assert step == 9
    for step, (images, same, rest, _) in enumerate(
        DataLoader(numbered(40), 4, num_workers=1, collate_fn=doubled_in_place)
    ):
        expected = [2 * (4 * step + k) for k in range(4)]
        assert numbers(images) == numbers(same) == expected
        assert numbers(rest) == expected[1:]
    assert step == 9


class Again:
    """Sends its first batch with every later one."""

    def __init__(self) -> None:
        self.first: Any = None

    def __call__(self, batch: Any) -> Any:
        images, _ = default_collate(batch)
        if self.first is None:
            self.first = images
        return self.first, images


def test_a_batch_that_is_sent_again_is_still_itself() -> None:
    loader = DataLoader(numbered(80), 4, num_workers=1, collate_fn=Again())
    for step, (first, images) in enumerate(loader):
        assert numbers(first) == [0, 1, 2, 3]
        assert numbers(images)[0] == 4 * step
    assert step == 19


def test_nothing_stays_open_or_mapped() -> None:
    mapped = Path("/proc/self/maps")
    for images, _ in DataLoader(numbered(80), 4, num_workers=1):
        assert "gpgen-batch" in mapped.read_text()
        del images
    assert "gpgen-batch" not in mapped.read_text()
    files = [str(link.readlink()) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    assert not any("gpgen-batch" in file for file in files)


def test_memory_is_flat_over_ten_epochs() -> None:
    dataset = Numbered(numbered(1).recipe.replace(shape=[256, 256]), 64)
    loader = DataLoader(dataset, 16, num_workers=2, persistent_workers=True)
    used = []
    for _ in range(10):
        for images, _targets in loader:
            assert images.sum() >= 0
        me = psutil.Process()
        processes = [me, *me.children(recursive=True)]
        used.append(sum(process.memory_full_info().pss for process in processes))
    assert max(used[5:]) - max(used[2:5]) < images.nbytes
