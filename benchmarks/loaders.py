"""The contenders of ``benchmarks.load``: each reads the same pixels, as its manual has it."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits
from torch.utils.data import DataLoader, Dataset

import gpgen
from gpgen.sampling import sampler_for
from gpgen.torch import GeneratedTextures, ShardShuffle, TextureDataset

__all__ = ["CONTENDERS", "Contender", "Pixels", "prepare"]


@dataclass(frozen=True)
class Pixels:
    """What is read: a folder with the same textures in every format."""

    folder: Path
    side: int
    n: int
    batch_size: int
    seed: int = 0

    @property
    def recipe(self) -> gpgen.Recipe:
        scales = ([9.5, 10.0], [80.0, 140.0]) if self.side >= 512 else ([2.0, 2.5], [8.0, 12.0])
        components = [
            {"kernel": "rbf", "length_scales": s, "weight": w}
            for s, w in zip(scales, (0.75, 1.25), strict=True)
        ]
        shape = [self.side, self.side]
        return gpgen.Recipe.load("two-scale").replace(shape=shape, components=components)

    def path(self, name: str) -> Path:
        return self.folder / name


class BySample(Dataset[tuple[torch.Tensor, int]]):
    """What one writes first: open lazily, index one sample, let the DataLoader stack them."""

    def __init__(self, pixels: Pixels, opener: Callable[[Pixels], Any]) -> None:
        self.pixels = pixels
        self.opener = opener
        self.array: Any = None

    def __len__(self) -> int:
        return self.pixels.n

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if self.array is None:
            self.array = self.opener(self.pixels)
        return torch.from_numpy(self.array[index])[None], index % 4


def open_memmap(pixels: Pixels) -> Any:
    shape = (pixels.n, pixels.side, pixels.side)
    return np.memmap(pixels.path("raw"), np.float32, "c", shape=shape)


def open_zarr(pixels: Pixels) -> Any:
    import zarr

    return zarr.open_group(pixels.path("data.zarr"), mode="r")["image"]


class Tensorstore:
    def __init__(self, pixels: Pixels) -> None:
        import tensorstore

        store = {"driver": "file", "path": str(pixels.path("data.zarr") / "image")}
        self.array = tensorstore.open({"driver": "zarr3", "kvstore": store}, read=True).result()

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.array[index].read().result()


def open_h5py(pixels: Pixels) -> Any:
    import h5py

    return h5py.File(pixels.path("data.h5"))["image"]


def open_gzip(pixels: Pixels) -> Any:
    import h5py

    return h5py.File(pixels.path("gzip.h5"))["image"]


def _loader(dataset: Dataset[Any], pixels: Pixels, workers: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        pixels.batch_size,
        num_workers=workers,
        drop_last=True,
        persistent_workers=workers > 0,
        **options,
    )


def _shuffled(opener: Callable[[Pixels], Any]) -> Callable[[Pixels, int], DataLoader[Any]]:
    return lambda pixels, workers: _loader(BySample(pixels, opener), pixels, workers, shuffle=True)


def _stored(name: str) -> Callable[[Pixels, int], DataLoader[Any]]:
    def load(pixels: Pixels, workers: int) -> DataLoader[Any]:
        dataset = TextureDataset(pixels.path(name))
        return _loader(dataset, pixels, workers, sampler=ShardShuffle(dataset))

    return load


def _stored_at_random(pixels: Pixels, workers: int) -> DataLoader[Any]:
    return _loader(TextureDataset(pixels.path("data.zarr")), pixels, workers, shuffle=True)


def _generated(pixels: Pixels, workers: int) -> DataLoader[Any]:
    dataset = GeneratedTextures(pixels.recipe, pixels.n)
    return _loader(dataset, pixels, workers, sampler=ShardShuffle(dataset))


def _webdataset(pixels: Pixels, workers: int) -> Any:
    import webdataset as wds

    shards = sorted(map(str, pixels.folder.glob("wds-*.tar")))
    dataset = (
        wds.WebDataset(shards, shardshuffle=len(shards), seed=0)
        .shuffle(4 * pixels.batch_size)
        .decode()
        .to_tuple("npy", "cls")
        .batched(pixels.batch_size, partial=False)
    )
    return DataLoader(dataset, None, num_workers=workers, persistent_workers=workers > 0)


def _streaming(pixels: Pixels, workers: int) -> Any:
    from streaming import StreamingDataset

    dataset = StreamingDataset(
        local=str(pixels.path("mds")), shuffle=True, batch_size=pixels.batch_size
    )
    return _loader(dataset, pixels, workers)


def _litdata(pixels: Pixels, workers: int) -> Any:
    import litdata

    dataset = litdata.StreamingDataset(str(pixels.path("litdata")), shuffle=True, drop_last=True)
    return litdata.StreamingDataLoader(
        dataset,
        batch_size=pixels.batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def _drawing(pixels: Pixels, workers: int) -> Any:  # noqa: ARG001 - always the one core
    """Draw into the same array again and again: what one core can do."""
    images = np.empty((pixels.batch_size, pixels.side, pixels.side), np.float32)
    with threadpool_limits(1, "blas"):
        while True:
            for start in range(0, pixels.n - pixels.batch_size + 1, pixels.batch_size):
                sampler_for(pixels.recipe).images(start, start + pixels.batch_size, images)
                yield images, None


@dataclass(frozen=True)
class Contender:
    """A way to load: its row's name, its loader, the package it needs, whether it is slow."""

    name: str
    load: Callable[[Pixels, int], Any]
    package: str = "torch"


CONTENDERS = {
    "memmap": Contender("numpy.memmap of raw pixels (the bound)", _shuffled(open_memmap)),
    "zarr": Contender("gpgen, Zarr", _stored("data.zarr")),
    "random": Contender("gpgen, Zarr, RandomSampler", _stored_at_random),
    "hdf5": Contender("gpgen, HDF5", _stored("data.h5")),
    "generated": Contender("gpgen, generated", _generated),
    "drawing": Contender("gpgen, drawing alone on one core", _drawing),
    "tensorstore": Contender("tensorstore, by sample", _shuffled(Tensorstore), "tensorstore"),
    "zarr-python": Contender("zarr-python, by sample", _shuffled(open_zarr)),
    "h5py": Contender("h5py, uncompressed", _shuffled(open_h5py)),
    "gzip": Contender("h5py, gzip", _shuffled(open_gzip)),
    "webdataset": Contender("webdataset tars", _webdataset, "webdataset"),
    "streaming": Contender("mosaicml streaming", _streaming, "streaming"),
    "litdata": Contender("litdata", _litdata, "litdata"),
}


def installed(contender: Contender) -> bool:
    try:
        importlib.import_module(contender.package)
    except ImportError:
        return False
    return True


def prepare(pixels: Pixels, names: list[str]) -> None:
    """Write the same textures in every format that is asked for and not there yet."""
    folder = pixels.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("data.zarr", "data.h5"):
        if not pixels.path(name).exists():
            gpgen.make(pixels.recipe, pixels.n, pixels.path(name), resume=True)
    raw = pixels.path("raw")
    if not raw.exists():
        with raw.with_suffix(".part").open("wb") as file:
            for images in _blocks(pixels):
                file.write(images)
        raw.with_suffix(".part").rename(raw)
    writers = {
        "gzip": ("gzip.h5", _write_gzip),
        "webdataset": ("wds-00000.tar", _write_tars),
        "streaming": ("mds", _write_mds),
        "litdata": ("litdata", _write_litdata),
    }
    for name, (file, write) in writers.items():
        if name in names and not pixels.path(file).exists():
            write(pixels)


def _blocks(pixels: Pixels) -> Iterator[NDArray[Any]]:
    dataset = gpgen.open_dataset(pixels.path("data.h5"))
    step = max(1, 2**24 // pixels.recipe.image_nbytes)
    for start in range(0, pixels.n, step):
        yield dataset.image[start : start + step]


def _samples(pixels: Pixels) -> Iterator[tuple[int, NDArray[Any]]]:
    index = 0
    for images in _blocks(pixels):
        for image in images:
            yield index, image
            index += 1


def _write_gzip(pixels: Pixels) -> None:
    import h5py

    side = pixels.side
    with h5py.File(pixels.path("gzip.h5.part"), "w") as file:
        array = file.create_dataset(
            "image", (pixels.n, side, side), "f4", chunks=(1, side, side), compression="gzip"
        )
        for index, image in _samples(pixels):
            array[index] = image
    pixels.path("gzip.h5.part").rename(pixels.path("gzip.h5"))


def _write_tars(pixels: Pixels) -> None:
    import webdataset as wds

    pattern = str(pixels.path("wds-%05d.tar"))
    with wds.ShardWriter(pattern, maxcount=10**9, maxsize=2**25, verbose=0) as sink:
        for index, image in _samples(pixels):
            sink.write({"__key__": f"{index:08d}", "npy": image, "cls": index % 4})


def _write_mds(pixels: Pixels) -> None:
    from streaming import MDSWriter

    columns = {"image": f"ndarray:float32:{pixels.side},{pixels.side}", "label": "int"}
    with MDSWriter(out=str(pixels.path("mds")), columns=columns, size_limit=2**26) as sink:
        for index, image in _samples(pixels):
            sink.write({"image": image, "label": index % 4})


class _LitdataSample:
    def __init__(self, pixels: Pixels) -> None:
        self.dataset = gpgen.open_dataset(pixels.path("data.h5"))

    def __call__(self, index: int) -> dict[str, Any]:
        return {"image": torch.from_numpy(self.dataset.image[index]), "label": index % 4}


def _write_litdata(pixels: Pixels) -> None:
    import litdata

    litdata.optimize(
        fn=_LitdataSample(pixels),
        inputs=list(range(pixels.n)),
        output_dir=str(pixels.path("litdata")),
        chunk_bytes="64MB",
        num_workers=1,
    )
