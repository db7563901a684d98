from __future__ import annotations

import numpy as np
import pytest

import gpgen
from gpgen import Recipe
from gpgen.errors import UsageError
from gpgen.sampling import Sampler

torch = pytest.importorskip("torch")
from torch.utils.data import DataLoader  # noqa: E402
from torch_support import RECIPE  # noqa: E402

from gpgen.torch import GeneratedTextures, sample_batch  # noqa: E402
from gpgen.torch.arrays import TorchArrays  # noqa: E402


def recipe_of(shape: list[int], scales: list, **fields) -> Recipe:
    components = [
        {"kernel": "rbf", "length_scales": s, "weight": w}
        for s, w in zip(scales, (0.75, 1.25), strict=False)
    ]
    return Recipe.from_dict({"name": "t", "shape": shape, "components": components, **fields})


def kernels(shape: list[int], *components: dict, **fields) -> Recipe:
    return Recipe.from_dict({"name": "t", "shape": shape, "components": components, **fields})


RECIPES = {
    "1-D": recipe_of([40], [[2.0, 3.0], [9.0]]),
    "2-D": recipe_of([30, 41], [[2.0], [7.0, 9.5]]),
    "an axis each": recipe_of([130, 70], [[[3.0, 5.0]], [20.0]]),
    "3-D": recipe_of([12, 20, 17], [[2.0], [4.0, [3.0, 4.0, 5.0]]]),
    "periodic": recipe_of([64, 96], [[2.0], [5.0]], boundary="periodic"),
    "not standardized": recipe_of([33, 20], [[2.0], [7.0]], standardize=False),
    "float16": recipe_of([40, 40], [[3.0], [9.0]], dtype="float16"),
    "nearly constant": recipe_of([16, 12], [[2.0], [300.0, 150.0]]),
    "golkar2018": recipe_of([64, 64], [[2.0], [50.0, 70.0]], algorithm="golkar2018"),
    "drawn by FFT": kernels(
        [48, 30],
        {"kernel": "matern", "smoothness": 1.5, "length_scales": [2.0, 5.0]},
        {"kernel": "rbf", "length_scales": [6.0], "weight": {"low": 0.5, "high": 2.0}},
    ),
    "drawn by FFT, 3-D, not standardized": kernels(
        [9, 20, 10],
        {"kernel": "matern", "smoothness": 0.5, "length_scales": [1.5]},
        standardize=False,
        boundary=["open", "periodic", "open"],
    ),
    "drawn by FFT, 1-D, lognormal": kernels(
        [300],
        {"kernel": "power-law", "exponent": 2.0, "length_scales": [20.0]},
        transform="lognormal",
    ),
    "rotated": kernels(
        [40, 40], {"kernel": "rbf", "length_scales": [[2.0, 7.0]], "angle": [30.0, 60.0]}
    ),
    "drawn length-scales": kernels(
        [40, 40],
        {
            "kernel": "matern",
            "smoothness": 0.5,
            "length_scales": {"low": 2.0, "high": 8.0, "draw": "log-uniform", "steps": 3},
        },
    ),
    "nearly constant, 1-D": recipe_of([2], [[1.0], [30.0]], dtype="float16"),
}
CHOSEN = [7, 0, 3000, 5, 4, 7]


def expected(recipe: Recipe) -> np.ndarray:
    """The images of CHOSEN, one at a time."""
    return np.stack([gpgen.sample(recipe, i).image for i in CHOSEN]).astype(np.float32)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_torch_draws_the_samplers_bits(recipe: Recipe) -> None:
    """What a GPU does, on the CPU."""
    sampler = Sampler(recipe, TorchArrays(torch.device("cpu"), torch.float64))
    images = sampler.images_at(np.array(CHOSEN))
    assert images.dtype == torch.float32
    assert images.numpy().tobytes() == expected(recipe).tobytes()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_batch_has_the_samplers_bits(recipe: Recipe) -> None:
    images = sample_batch(recipe, CHOSEN, "cpu")
    assert images.dtype == torch.float32
    assert images.shape == (len(CHOSEN), 1, *recipe.shape)
    assert images[:, 0].numpy().tobytes() == expected(recipe).tobytes()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_generated_textures_have_the_samplers_bits(recipe: Recipe) -> None:
    dataset = GeneratedTextures(recipe, 3001)
    images, _ = dataset.batch(np.array(CHOSEN))
    assert images[:, 0].numpy().tobytes() == expected(recipe).tobytes()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_float32_on_the_device_differs_by_rounding(recipe: Recipe) -> None:
    # A product sums N terms whose absolute values add up to at most a factor's row sum times
    # 8.5: in practice the error is that of a random walk, a few roundings of the largest term.
    images = sample_batch(recipe, CHOSEN, dtype=torch.float32)
    tolerance = 2e-3 if recipe.dtype == "float16" else 1e-5
    assert np.abs(images[:, 0].numpy() - expected(recipe)).max() < tolerance


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@needs_cuda
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_batch_on_cuda_has_the_samplers_bits(recipe: Recipe) -> None:
    images = sample_batch(recipe, CHOSEN, "cuda")
    assert images.device.type == "cuda"
    assert images[:, 0].cpu().numpy().tobytes() == expected(recipe).tobytes()
    rounded = sample_batch(recipe, CHOSEN, "cuda", dtype=torch.float32)
    tolerance = 2e-3 if recipe.dtype == "float16" else 1e-5
    assert (rounded - images).abs().max() < tolerance


@needs_cuda
def test_textures_drawn_on_cuda_stay_there() -> None:
    dataset = GeneratedTextures(RECIPE, 3001, device="cuda")
    images, labels = next(iter(DataLoader(dataset, batch_size=3)))
    assert images.device.type == "cuda"
    assert labels.device.type == "cpu"
    assert images.cpu().equal(GeneratedTextures(RECIPE, 3001).batch(np.arange(3))[0])
    assert dataset[5][0].device.type == "cuda"
    with pytest.raises(UsageError, match="use num_workers=0"):
        next(iter(DataLoader(dataset, batch_size=3, num_workers=1)))


@pytest.mark.parametrize("device", ["gpu", "meta", "cuda:99", "vulkan"])
def test_a_device_that_is_not_there_is_refused(device: str) -> None:
    refused = pytest.raises(UsageError, match=f"no device '{device}' that torch can use here")
    with refused:
        GeneratedTextures(RECIPE, 8, device=device)
    with refused:
        sample_batch(RECIPE, [1], device=device)


def test_roundingto_float16_is_numpys() -> None:
    from gpgen.torch.arrays import to_float16

    rng = np.random.default_rng(0)
    half = rng.integers(0, 0x7BFF, 4000, dtype=np.uint16).view(np.float16).astype(float)
    next_up = np.nextafter(half.astype(np.float16), np.float16(np.inf)).astype(float)
    ties = (half + next_up) / 2
    # Just off a tie, by less than float32 can tell: there two roundings go wrong.
    x = np.concatenate([half, ties, ties * (1 + 1e-12), ties * (1 - 1e-12), [0.0, 1e-9]])
    x = np.concatenate([x, [65519.9, 65520.0, 70_000.0]])  # the last two overflow
    x = np.concatenate([x, -x])
    with np.errstate(over="ignore"):
        assert (to_float16(torch.from_numpy(x)).numpy() == x.astype(np.float16)).all()


def test_a_batch_of_none_and_bad_batches() -> None:
    assert sample_batch(RECIPE, []).shape == (0, 1, *RECIPE.shape)
    assert torch.equal(sample_batch(RECIPE, torch.tensor([3])), sample_batch(RECIPE, [3]))
    with pytest.raises(UsageError, match="sample -2 is out of range"):
        sample_batch(RECIPE, [1, -2])
    with pytest.raises(UsageError, match=r"use torch\.float64 or torch\.float32"):
        sample_batch(RECIPE, [1], dtype=torch.float16)


def test_a_recipe_may_be_given_by_name() -> None:
    assert GeneratedTextures("two-scale-mini", 8).recipe == Recipe.load("two-scale-mini")
