"""What people put around our datasets comes through a DataLoader as they wrote it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpgen.errors import UsageError

torch = pytest.importorskip("torch")
from torch.utils.data import (  # noqa: E402
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    StackDataset,
    Subset,
    default_collate,
    random_split,
)
from torch_support import RECIPE, N, Numbered, numbered, numbers, store_all  # noqa: E402

from gpgen.torch import GeneratedTextures, ShardShuffle, TextureDataset  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")


class Negative(Numbered):
    """As a user would write it: `__getitem__`, and no word of `__getitems__`."""

    def __getitem__(self, position: Any) -> Any:
        image, label = super().__getitem__(position)
        return -image, label


class Negating:
    def __getitem__(self, position: Any) -> Any:
        image, label = super().__getitem__(position)
        return -image, label


class MixedIn(Negating, Numbered):
    pass


class Inherits(Negative):
    pass


class BothWays(Numbered):
    def __getitem__(self, position: Any) -> Any:
        image, label = super().__getitem__(position)
        return -image, label

    def __getitems__(self, positions: Any) -> Any:
        return [(-image, label) for image, label in super().__getitems__(positions)]


class Labelled(Negative):
    """Returns what is no pair at all."""

    def __getitem__(self, position: Any) -> Any:
        image, label = super().__getitem__(position)
        return {"image": image, "label": label, "position": position}


def made(kind: type[Numbered], n: int = 40, **options: Any) -> Any:
    return kind(numbered(1).recipe, n, **options)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("kind", [Negative, MixedIn, Inherits, BothWays])
def test_a_subclass_has_its_own_samples_under_a_loader(kind: type[Numbered], workers: int) -> None:
    dataset = made(kind)
    loader = DataLoader(dataset, 8, sampler=ShardShuffle(dataset), num_workers=workers)
    seen = [i for images, _ in loader for i in numbers(images)]
    assert sorted(seen) == sorted(-i for i in range(40))
    assert dataset[3][0].unique() == -3


def test_a_subclass_of_a_subclass_adds_to_it_once() -> None:
    class Twice(Negative):
        def __getitems__(self, positions: Any) -> Any:
            return [(2 * image, label) for image, label in super().__getitems__(positions)]

    class Doubled(BothWays):
        def __getitem__(self, position: Any) -> Any:
            image, label = super().__getitem__(position)
            return 2 * image, label

    for kind in (Twice, Doubled):
        images, _ = next(iter(DataLoader(made(kind), 4)))
        assert numbers(images) == [0, -2, -4, -6]


def test_samples_of_a_subclass_may_have_any_form() -> None:
    batch = next(iter(DataLoader(made(Labelled), 4, num_workers=1)))
    assert numbers(batch["image"]) == [0, -1, -2, -3]
    assert batch["position"].tolist() == [0, 1, 2, 3]


def test_a_subclass_of_a_stored_dataset(tmp_path: Any) -> None:
    class Mirrored(TextureDataset):
        def __getitem__(self, position: Any) -> Any:
            image, label = super().__getitem__(position)
            return image.flip(-1), label + 10

    path = store_all(tmp_path)["zarr"]
    images, labels = next(iter(DataLoader(Mirrored(path, "train"), 6)))
    plain, plain_labels = next(iter(DataLoader(TextureDataset(path, "train"), 6)))
    assert torch.equal(images, plain.flip(-1))
    assert torch.equal(labels, plain_labels + 10)


def test_transforms_apply_before_a_subclass() -> None:
    dataset = made(Negative, transform=lambda image: image + 100)
    images, _ = next(iter(DataLoader(dataset, 3)))
    assert numbers(images) == [-100, -101, -102]


@pytest.mark.parametrize("workers", [0, 1])
def test_wrappers_hand_on_a_subclasss_samples(workers: int) -> None:
    dataset = made(Negative)

    def seen(data: Any) -> list[int]:
        return [
            i for images, _ in DataLoader(data, 4, num_workers=workers) for i in numbers(images)
        ]

    assert seen(Subset(dataset, [5, 7, 2])) == [-5, -7, -2]
    assert seen(Subset(Subset(dataset, [5, 7, 2]), [2, 0])) == [-2, -5]
    assert seen(ConcatDataset([dataset, numbered(2)])) == [*(-i for i in range(40)), 0, 1]
    parts = random_split(dataset, [30, 10], torch.Generator().manual_seed(0))
    assert sorted(seen(parts[0]) + seen(parts[1])) == sorted(-i for i in range(40))


def test_stacked_datasets() -> None:
    (first, _), (second, _) = next(iter(DataLoader(StackDataset(made(Negative), numbered(40)), 3)))
    assert numbers(first) == [0, -1, -2]
    assert numbers(second) == [0, 1, 2]


def test_a_wrapper_of_ones_own() -> None:
    class Wrapper(Dataset):
        def __init__(self, data: Any) -> None:
            self.data = data

        def __len__(self) -> int:
            return len(self.data)

        def __getitem__(self, position: int) -> Any:
            image, label = self.data[position]
            return image + 1, label

    images, _ = next(iter(DataLoader(Wrapper(numbered(9)), 3)))
    assert numbers(images) == [1, 2, 3]


def test_a_subclass_of_another_length_is_not_shuffled_by_shards() -> None:
    class First(Numbered):
        def __len__(self) -> int:
            return 10

    dataset = made(First)
    message = r"can't shuffle a First of 10 samples whose split has 40; use shuffle=True"
    with pytest.raises(UsageError, match=message):
        ShardShuffle(dataset)
    images = torch.cat([images for images, _ in DataLoader(dataset, 4, shuffle=True)])
    assert sorted(numbers(images)) == list(range(10))


def backwards(batch: Any) -> Any:
    batch.reverse()
    return default_collate(batch)


def without_the_first(batch: Any) -> Any:
    del batch[0]
    return default_collate(batch)


def first_twice(batch: Any) -> Any:
    batch[1] = batch[0]
    return default_collate(batch)


def doubled(batch: Any) -> Any:
    for sample in batch:
        sample.image.mul_(2)
    return default_collate(batch)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("collate", "expected"),
    [
        (backwards, [3, 2, 1, 0]),
        (without_the_first, [1, 2, 3]),
        (first_twice, [0, 0, 2, 3]),
        (doubled, [0, 2, 4, 6]),
    ],
)
def test_a_collate_function_may_change_the_batch(
    collate: Any, expected: list[int], workers: int
) -> None:
    loader = DataLoader(numbered(4), 4, collate_fn=collate, num_workers=workers)
    images, labels = next(iter(loader))
    assert numbers(images) == expected
    if collate is not doubled:
        assert labels.tolist() == [i % 4 for i in expected]


@pytest.mark.parametrize("target", ["length_scales", "both"])
def test_targets_changed_in_place_are_those_of_one_batch(target: str) -> None:
    def scales(target_of_one: Any) -> Any:
        return target_of_one if target == "length_scales" else target_of_one[1]

    def halved(batch: Any) -> Any:
        for sample in batch:
            scales(sample.target).div_(2)
        return default_collate(batch)

    dataset = numbered(8, target=target)
    expected = scales(default_collate([dataset[i] for i in range(4)])[1]).clone()
    for _ in range(2):
        _, targets = next(iter(DataLoader(dataset, 4, collate_fn=halved)))
        assert torch.equal(scales(targets), expected / 2)
    in_place = numbered(8, target=target, target_transform=lambda one: scales(one).log_())
    for _ in range(2):
        assert torch.equal(in_place[3][1], expected[3].log())


@pytest.mark.parametrize("target", ["label", "length_scales", "both"])
@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_sampler_without_a_batch_size(target: str, workers: int) -> None:
    """PyTorch's way to have a dataset make the batches: it is asked for lists of positions."""
    dataset = GeneratedTextures(RECIPE, N, target=target)
    sampler = BatchSampler(ShardShuffle(dataset), 20, drop_last=False)
    lists = DataLoader(dataset, batch_size=None, sampler=sampler, num_workers=workers)
    usual = DataLoader(dataset, batch_size=20, sampler=ShardShuffle(dataset))
    for (images, targets), (same, expected) in zip(lists, usual, strict=True):
        assert torch.equal(images, same)
        if target == "both":
            assert torch.equal(targets[0], expected[0])
            targets, expected = targets[1], expected[1]
        assert torch.equal(targets, expected)


def test_lists_of_positions() -> None:
    dataset = numbered(40)
    for positions in ([3, 1, -1], np.array([3, 1, -1]), torch.tensor([3, 1, -1])):
        images, labels = dataset[positions]
        assert numbers(images) == [3, 1, 39]
        assert labels.tolist() == [3, 1, 3]
    images, labels = dataset[[]]
    assert images.shape == (0, 1, 4, 8)
    assert labels.dtype == torch.int64
    assert numbers(Subset(dataset, [5, 7, 2])[[2, 0]][0]) == [2, 5]
    with pytest.raises(IndexError, match="sample 40 is out of range"):
        dataset[[3, 40]]


def test_lists_of_positions_of_a_subclass_and_with_transforms() -> None:
    images, _ = made(Negative)[[3, 1]]
    assert numbers(images) == [-3, -1]
    images, labels = numbered(9, transform=lambda x: 2 * x, target_transform=str)[[3, 1]]
    assert numbers(images) == [6, 2]
    assert list(labels) == ["3", "1"]
    sampler = BatchSampler(range(8), 3, drop_last=True)
    loader = DataLoader(made(Negative), batch_size=None, sampler=sampler)
    assert [numbers(images) for images, _ in loader] == [[0, -1, -2], [-3, -4, -5]]
