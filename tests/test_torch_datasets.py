from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import gpgen
from gpgen.errors import DatasetError, UsageError

torch = pytest.importorskip("torch")
from torch.utils.data import (  # noqa: E402
    ConcatDataset,
    DataLoader,
    DistributedSampler,
    Subset,
    default_collate,
)
from torch_support import FORMATS, IMAGES, RECIPE, SHARD, N, store_all  # noqa: E402

from gpgen.torch import GeneratedTextures, TextureDataset  # noqa: E402

# Processes that start anew import PyTorch, which takes seconds: not every format with each.
STARTED = [
    *(("fork", name) for name in (*FORMATS, "generated")),
    ("spawn", "shards"),
    ("spawn", "generated"),
    ("forkserver", "zarr"),
]
# Python 3.12 and later warn of any fork while there are threads; that none of ours matter to
# the child is what the test shows.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return store_all(tmp_path_factory.mktemp("data"))


@pytest.fixture
def fresh(paths: dict[str, Path], tmp_path: Path) -> Path:
    """A Zarr dataset to be damaged."""
    from gpgen.making.converting import convert

    convert(paths["hdf5"], tmp_path / "fresh.zarr", chunk_size=4, shard_size=SHARD).close()
    return tmp_path / "fresh.zarr"


def kept(name: str, paths: dict[str, Path], **options) -> TextureDataset | GeneratedTextures:
    if name == "generated":
        return GeneratedTextures(RECIPE, N, **options)
    return TextureDataset(paths[name], **options)


EVERYWHERE = pytest.mark.parametrize("name", [*FORMATS, "generated"])


@EVERYWHERE
def test_samples_are_the_recipes(name: str, paths: dict[str, Path]) -> None:
    dataset = kept(name, paths)
    assert len(dataset) == N
    for i in (0, 1, SHARD - 1, SHARD, N - 1, -1):
        image, label = dataset[i]
        assert image.dtype == torch.float32
        assert image.shape == (1, *RECIPE.shape)
        assert (image[0].numpy() == IMAGES[i]).all()
        assert label == i % N % 4
        assert type(label) is int


@EVERYWHERE
def test_torchvisions_conventions(name: str, paths: dict[str, Path]) -> None:
    dataset = kept(name, paths)
    assert dataset.classes == ["2-8", "2.5-8", "2-12", "2.5-12"]
    assert dataset.class_to_idx["2-12"] == 2
    assert dataset.targets.tolist() == [i % 4 for i in range(N)]
    doubled = kept(name, paths, transform=lambda x: 2 * x, target_transform=lambda y: -y)
    image, label = doubled[5]
    assert (image[0].numpy() == 2 * IMAGES[5]).all()
    assert label == -1
    images, labels = default_collate(doubled.__getitems__([5, 2]))
    assert (images[:, 0].numpy() == 2 * IMAGES[[5, 2]]).all()
    assert labels.tolist() == [-1, -2]


@EVERYWHERE
def test_splits_are_disjoint_and_cover(name: str, paths: dict[str, Path]) -> None:
    parts = [kept(name, paths, split=split) for split in RECIPE.splits]
    indices = np.concatenate([part.indices for part in parts])
    assert sorted(indices) == list(range(N))
    test = parts[-1]
    assert (test[1][0][0].numpy() == IMAGES[test.indices[1]]).all()
    assert test.targets.tolist() == [i % 4 for i in test.indices]
    assert "test" in repr(test)


@EVERYWHERE
@pytest.mark.parametrize("target", ["label", "length_scales", "both"])
def test_a_batch_is_what_stacking_its_samples_gives(
    name: str, target: str, paths: dict[str, Path]
) -> None:
    dataset = kept(name, paths, target=target)
    chosen = [3, 90, 3, 41, 0]
    batch = default_collate(dataset.__getitems__(chosen))
    stacked = default_collate([dataset[i] for i in chosen])
    assert torch.equal(batch[0], stacked[0])
    if target == "both":
        assert torch.equal(batch[1][0], stacked[1][0])
        batch[1], stacked[1] = batch[1][1], stacked[1][1]
    assert torch.equal(batch[1], stacked[1])
    if target != "label":
        assert batch[1].tolist() == [list(RECIPE.length_scales_of(i % 4)) for i in chosen]


def test_a_batch_is_not_copied() -> None:
    batch = GeneratedTextures(RECIPE, N).__getitems__([4, 2])
    images, _ = default_collate(batch)
    assert images.data_ptr() == batch[0][0].data_ptr()
    again = default_collate([*batch])
    assert again[0].data_ptr() != images.data_ptr()
    assert torch.equal(again[0], images)


@pytest.mark.train
@pytest.mark.parametrize(("method", "name"), STARTED)
def test_workers_of_every_start_method(method: str, name: str, paths: dict[str, Path]) -> None:
    dataset = kept(name, paths)
    dataset[0]  # files are open and threads have run in the parent, which a fork must survive
    loader = DataLoader(dataset, 20, num_workers=2, multiprocessing_context=method)
    batches = list(loader)
    assert (torch.cat([images for images, _ in batches])[:, 0].numpy() == IMAGES).all()
    assert torch.cat([labels for _, labels in batches]).tolist() == [i % 4 for i in range(N)]


def test_workers_persist_and_read_again(paths: dict[str, Path]) -> None:
    dataset = TextureDataset(paths["shards"], "train", target="both")
    loader = DataLoader(dataset, 7, num_workers=2, persistent_workers=True)
    for _ in range(2):
        images = torch.cat([images for images, _ in loader])
        assert (images[:, 0].numpy() == IMAGES[dataset.indices]).all()


def test_the_usual_wrappers_work(paths: dict[str, Path]) -> None:
    dataset = TextureDataset(paths["zarr"])
    both = ConcatDataset([Subset(dataset, [5, 6]), GeneratedTextures(RECIPE, N)])
    images, _ = next(iter(DataLoader(both, 4)))
    assert (images[:, 0].numpy() == IMAGES[[5, 6, 0, 1]]).all()
    ranks = [DistributedSampler(dataset, 2, rank, seed=3) for rank in (0, 1)]
    seen = [i for rank in ranks for i in rank]
    assert sorted(seen) == list(range(N))
    images, _ = next(iter(DataLoader(Subset(dataset, [9, 8]), 2, num_workers=1)))
    assert (images[:, 0].numpy() == IMAGES[[9, 8]]).all()


def open_files(path: Path) -> int:
    found = (link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum(str(target).startswith(str(path)) for target in found)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc to look at open files")
def test_files_open_when_read_and_close_with_the_dataset(paths: dict[str, Path]) -> None:
    dataset = TextureDataset(paths["zarr"])
    assert open_files(paths["zarr"]) == 0
    dataset[0]
    assert open_files(paths["zarr"]) > 0
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301 - our own
    assert (copy[7][0] == dataset[7][0]).all()
    del dataset, copy
    assert open_files(paths["zarr"]) == 0


def test_float16_comes_as_float32(tmp_path: Path) -> None:
    recipe = RECIPE.replace(dtype="float16")
    expected = gpgen.Sampler(recipe).images(0, 8).astype(np.float32)
    gpgen.make(recipe, 8, tmp_path / "half.zarr", workers=1).close()
    for dataset in (TextureDataset(tmp_path / "half.zarr"), GeneratedTextures(recipe, 8)):
        images, _ = default_collate(dataset.__getitems__(range(8)))
        assert images.dtype == torch.float32
        assert (images[:, 0].numpy() == expected).all()


@EVERYWHERE
def test_samples_are_on_the_cpu_whatever_the_default_device(
    name: str, paths: dict[str, Path]
) -> None:
    with torch.device("meta"):  # a device that computes nothing stands for a GPU
        dataset = kept(name, paths, target="both")
        (image, (label, scales)), again = dataset[3], dataset.__getitems__([3, 4])[0]
    np.testing.assert_array_equal(image[0].numpy(), IMAGES[3])
    np.testing.assert_array_equal(again[0][0].numpy(), IMAGES[3])
    assert (label, scales.device.type) == (RECIPE.label_of(3), "cpu")


@pytest.mark.parametrize("shape", [[40], [6, 8, 10]])
def test_lines_and_volumes(shape: list[int]) -> None:
    recipe = RECIPE.replace(shape=shape, standardize=False)
    image, _ = GeneratedTextures(recipe, 4)[3]
    assert image.shape == (1, *shape)
    assert (image[0].numpy() == gpgen.Sampler(recipe).images(3, 4)[0]).all()


@pytest.mark.parametrize("i", [N, -N - 1])
@EVERYWHERE
def test_an_index_out_of_range(name: str, i: int, paths: dict[str, Path]) -> None:
    dataset = kept(name, paths)
    with pytest.raises(IndexError, match=f"sample {i} is out of range; use 0 to {N - 1}"):
        dataset[i]
    with pytest.raises(UsageError, match="out of range"):
        dataset.__getitems__([0, i])
    assert len(list(dataset)) == N  # the old protocol of sequences ends with an IndexError


@EVERYWHERE
def test_bad_arguments(name: str, paths: dict[str, Path]) -> None:
    with pytest.raises(UsageError, match="no split 'val'; use one of train, validation, test"):
        kept(name, paths, split="val")
    with pytest.raises(UsageError, match="target is 'scale'; use one of label, length_scale"):
        kept(name, paths, target="scale")


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_a_bad_number_of_samples(n) -> None:
    with pytest.raises(UsageError, match="ask for 1 sample or more"):
        GeneratedTextures("two-scale-mini", n)


def shard_file(path: Path) -> Path:
    return path / "image" / "c.1.0.0"


def test_a_damaged_image_is_never_handed_out(fresh: Path) -> None:
    file = shard_file(fresh)
    raw = bytearray(file.read_bytes())
    raw[1000] ^= 1
    file.write_bytes(raw)
    dataset = TextureDataset(fresh)
    dataset[0]
    message = rf"{file}: sample {SHARD} is damaged; run `gpgen verify`"
    with pytest.raises(DatasetError, match=message):
        dataset[SHARD]
    with pytest.raises(DatasetError, match=f"^{message}"):
        list(DataLoader(dataset, 16, num_workers=1))


def test_damage_done_after_reading_is_noticed(fresh: Path) -> None:
    dataset = TextureDataset(fresh)
    dataset[SHARD]
    with shard_file(fresh).open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    with pytest.raises(DatasetError, match="is damaged"):
        dataset[SHARD]


def test_a_missing_or_short_shard_is_no_fill_value(fresh: Path) -> None:
    file = shard_file(fresh)
    raw = file.read_bytes()
    file.unlink()
    with pytest.raises(DatasetError, match=rf"{file} can't be read.*`gpgen verify`"):
        TextureDataset(fresh)[SHARD]
    file.write_bytes(raw[:2000])
    with pytest.raises(DatasetError, match=rf"{file} ends before sample.*`gpgen verify`"):
        TextureDataset(fresh)[SHARD]


def test_a_shard_of_another_recipe_is_refused(paths: dict[str, Path], tmp_path: Path) -> None:
    from gpgen.making.converting import convert

    convert(paths["zarr"], tmp_path / "d-{shard:02d}.h5", shard_size=SHARD).close()
    other = RECIPE.replace(seed=12)
    (tmp_path / "other").mkdir()
    pattern = tmp_path / "other" / "d-{shard:02d}.h5"
    gpgen.make(other, N, pattern, shard_size=SHARD, workers=1).close()
    (tmp_path / "other" / "d-02.h5").replace(tmp_path / "d-02.h5")
    dataset = TextureDataset(tmp_path)
    dataset[0]
    with pytest.raises(DatasetError, match=r"d-02\.h5 does not belong to the dataset"):
        dataset[2 * SHARD]


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.zarr", tmp_path / "none-{shard:05d}.h5", tmp_path):
        with pytest.raises(DatasetError, match="`gpgen make`"):
            TextureDataset(path)


def test_half_a_dataset_is_refused_with_the_command_that_finishes_it(tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stop(progress) -> None:
        if progress.done:
            raise Stop

    path = tmp_path / "half.zarr"
    with pytest.raises(Stop):
        gpgen.make(RECIPE, N, path, shard_size=SHARD, workers=1, progress=stop)
    with pytest.raises(DatasetError, match=r"unfinished.*gpgen make .*--resume"):
        TextureDataset(path)


def test_without_torch_it_says_what_to_install() -> None:
    script = (
        "import sys; sys.modules['torch'] = None; import gpgen.errors, gpgen\n"
        "try: import gpgen.torch\n"
        "except gpgen.errors.MissingPackageError as error: print(error)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "pip install 'gpgen[torch]'" in run.stdout


def test_gpgen_alone_never_imports_torch() -> None:
    names = "gpgen.Recipe, gpgen.make, gpgen.open_dataset"
    script = f"import gpgen, sys; {names}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"
