"""No pixel that isn't finite leaves a sampler, whatever draws it; stored ones are found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cli_support import run
from store_tools import OUTS, tiny, tiny_make

import gpgen
from gpgen import Recipe
from gpgen.errors import DatasetError, RecipeError, UsageError
from gpgen.exact.drawing import TextureClass
from gpgen.exact.finite import all_finite, not_finite, not_finite_bytes
from gpgen.format.base import Problem
from gpgen.golkar2018.importing import import_dataset
from gpgen.golkar2018.texture_sums import Cross
from gpgen.sampling import Sampler, seeds

BAD = [np.inf, -np.inf, np.nan, -np.nan]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_what_is_not_finite_is_found_by_its_bits(dtype: str) -> None:
    info = np.finfo(dtype)
    fine = [0.0, -0.0, info.max, info.min, info.tiny, info.smallest_subnormal, 1.0]
    images = np.resize(np.array(fine, dtype), (9, 3, 5))
    assert all_finite(images)
    assert not_finite(images).tolist() == []
    for k, value in enumerate(BAD):
        images[2 * k, k % 3, 4 - k] = value
        assert not all_finite(images[2 * k])
        assert not all_finite(images[::2, :, ::-1])
        assert not_finite(images).tolist() == list(range(0, 2 * k + 1, 2))
    # NaN of every bit pattern, signalling ones among them.
    bits = np.arange(1, 2**12, dtype=f"u{info.dtype.itemsize}") | np.array(np.inf, dtype).view(
        f"u{info.dtype.itemsize}"
    )
    low = bits[bits & ~np.array(np.inf, dtype).view(bits.dtype) != 0].view(dtype)
    assert not_finite(low).tolist() == list(range(len(low)))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8"])
def test_they_are_found_in_bytes_cut_anywhere(dtype: str) -> None:
    pixels = np.random.default_rng(1).standard_normal(40).astype(dtype)
    pixels[[0, 7, 8, 31, 39]] = [np.nan, np.inf, -np.inf, -np.nan, np.inf]
    whole = memoryview(pixels.tobytes())
    for step in (2, 6, 10, 34, len(whole)):
        found = np.concatenate(
            [
                not_finite_bytes(whole[begin : begin + step], begin, pixels.itemsize)
                for begin in range(0, len(whole), step)
            ]
        )
        assert found.tolist() == [0, 7, 8, 31, 39]


def heavy(recipe: Recipe, weight: float) -> Recipe:
    """A recipe whose weights the checks would refuse."""
    components = tuple(msgspec.structs.replace(c, weight=weight) for c in recipe.components)
    msgspec.structs.force_setattr(recipe, "components", components)
    return recipe


RECIPES = {
    "standardized": tiny(dtype="float16", name="a"),
    "not standardized": tiny(dtype="float16", standardize=False, name="b"),
    "golkar2018": Recipe.load("golkar2018").replace(shape=[128, 128], dtype="float16", name="c"),
}


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_float16_that_overflows_is_refused_with_the_samples_seed(recipe: Recipe) -> None:
    recipe = heavy(recipe, 1e5)
    seed = int(seeds(recipe.seed, 2, 3)[0])
    label = recipe.label_of(2)
    expected = (
        f"recipe '{recipe.name}': the sample of seed {seed} and label {label} has pixels that are "
        'not finite in float16; use smaller weights or dtype = "float32"'
    )
    sampler = Sampler(recipe)
    for draw in (
        lambda: sampler.image(seed, label),
        lambda: sampler.images(2, 3),
        lambda: gpgen.sample(recipe, index=2),
    ):
        with pytest.raises(RecipeError) as caught:
            draw()
        assert str(caught.value) == expected
    torch = pytest.importorskip("torch")
    from gpgen.torch import GeneratedTextures, sample_batch

    with pytest.raises(RecipeError) as caught:
        GeneratedTextures(recipe, 4)[2]
    assert str(caught.value) == expected
    for dtype in (torch.float64, torch.float32):
        with pytest.raises(RecipeError) as caught:
            sample_batch(recipe, [2], dtype=dtype)
        assert str(caught.value) == expected


def test_nothing_is_made_of_a_recipe_whose_samples_are_not_finite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(self: TextureClass, sample_seeds: Any, out: Any) -> float:
        out[...] = np.where(sample_seeds == seeds(5, 9, 10)[0], np.nan, 0.0)[:, None, None]
        return np.inf

    monkeypatch.setattr(TextureClass, "draw", draw)
    what = f"the sample of seed {seeds(5, 9, 10)[0]} and label 1 has pixels that are not finite in"
    with pytest.raises(RecipeError, match=what):
        tiny_make(tmp_path / "d.zarr")
    assert not (tmp_path / "d.zarr").exists()


@pytest.fixture
def careless(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampler as those before: samples 3, 9 and 10 of 13 hold infinity or NaN."""
    ours = Sampler._draw

    def draw(self: Sampler, label: int, sample_seeds: Any, out: Any) -> None:
        ours(self, label, sample_seeds, out)
        for index, value, pixel in ((3, np.inf, -1), (9, np.nan, 0), (10, -np.inf, 100)):
            seed = seeds(self.recipe.seed, index, index + 1)[0]
            for k in np.flatnonzero(sample_seeds == seed):
                out[k].reshape(-1)[pixel] = value

    monkeypatch.setattr(Sampler, "_draw", draw)


@pytest.mark.parametrize("out", [*OUTS, "float16.zarr", "chunks.zarr"])
def test_verify_names_stored_samples_that_are_not_finite_and_calls_nothing_damaged(
    tmp_path: Path, careless: None, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    del careless
    options: dict[str, Any] = {"recipe": tiny(dtype="float16" if "16" in out else "float32")}
    if out == "chunks.zarr":
        options |= {"shard_size": 4, "chunk_size": 2}
    tiny_make(tmp_path / out, **options).close()
    monkeypatch.setattr("gpgen.format.pixels._READ_BYTES", 998)  # parts end within pixels
    report = gpgen.verify(tmp_path / out)
    what = "holds pixels that are not finite: sample"
    assert [(p.what, p.kind) for p in report.problems] == [
        (f"{what} 3", "pixels"),
        (f"{what}s 9, 10", "pixels"),
    ]
    assert not report.ok
    shown = run("verify", out, cwd=tmp_path)
    assert shown.status == 1
    assert "has no damage that could be seen, but 2 problems" in shown.out
    assert f"{what}s 9, 10" in shown.out
    # The pixels that were written are there; those that the recipe makes are others.
    monkeypatch.undo()
    again = gpgen.verify(tmp_path / out, regenerate="all").problems
    other = "not the pixels that the recipe makes: sample"
    assert {(p.what, p.kind) for p in again} == {
        *((p.what, p.kind) for p in report.problems),
        (f"{other} 3", "pixels"),
        (f"{other}s 9, 10", "pixels"),
    }


def source(folder: Path, value: float) -> Path:
    folder.mkdir()
    for version in (1, 2, 3):
        pixels = np.random.default_rng(version).standard_normal((16, 16))
        if version == 2:
            pixels[3, 4] = value
        np.save(folder / f"final_size-16_corr-9.5_v{version}.npy", pixels)
    return folder


@pytest.mark.parametrize(
    ("value", "dtype"), [(np.nan, None), (np.inf, "float32"), (1e39, "float32")]
)
def test_an_image_that_is_not_finite_is_not_imported(tmp_path, value: float, dtype) -> None:
    with pytest.raises(DatasetError) as caught:
        import_dataset(source(tmp_path / "s", value), tmp_path / "d.zarr", dtype=dtype)
    assert str(caught.value) == (
        f"image 1 of s has pixels that are not finite in {dtype or 'float64'}; "
        "import a source without it"
    )
    assert not (tmp_path / "d.zarr").exists()


@pytest.mark.parametrize("out", ["d.zarr", "d.h5"])
def test_verify_names_images_that_were_imported_with_nan(tmp_path, monkeypatch, out: str) -> None:
    monkeypatch.setattr("gpgen.golkar2018.importing.all_finite", lambda image: True)
    import_dataset(source(tmp_path / "s", np.nan), tmp_path / out, chunk_size=None).close()
    (problem,) = gpgen.verify(tmp_path / out).problems
    assert problem == Problem(problem.file, "holds pixels that are not finite: sample 1", "pixels")


@pytest.mark.parametrize("weight", [np.nan, np.inf, 0.0, 1e300])
def test_a_cross_of_2018_with_such_a_weight_is_refused(weight: float) -> None:
    with pytest.raises(UsageError, match=r"has the weight .*; use numbers from above 0 to 1e6"):
        Cross.parse("9.5-10+80-140", (0.75, weight))
