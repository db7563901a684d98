"""One algorithm draws every kind of field, with every array library."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from gpgen import Recipe
from gpgen.exact import drawing, field_kinds
from gpgen.exact.arrays import NUMPY, Arrays
from gpgen.exact.axis import axis_factor
from gpgen.exact.drawing import TextureClass
from gpgen.exact.field import Contribution, Field
from gpgen.exact.kernels import RBF
from gpgen.exact.mosaic import texture

SEEDS = np.array([3, 2**64 - 1, 17], dtype=np.uint64)


@dataclass(frozen=True)
class Ramp:
    """A kind of field that has pixels alone: the seed's last digit times a ramp."""

    shape: tuple[int, ...]
    factors: tuple[()] = ()
    last_factor: None = None

    def draw(self, arrays, seeds, stream, weights, standardize) -> Contribution:
        ramp = np.arange(np.prod(self.shape), dtype=float).reshape(self.shape)
        pixels = np.stack([w * ramp for w in weights * (seeds % 10)])
        none = np.zeros(len(seeds))
        return Contribution(None, none, none, pixels=arrays.load(pixels))


def libraries() -> list:
    torch = pytest.importorskip("torch")
    from gpgen.torch.arrays import TorchArrays

    return [NUMPY, TorchArrays(torch.device("cpu"), torch.float64)]


def texture_of(shape, scales: tuple[float, ...]):
    components = [{"kernel": "rbf", "length_scales": [scale]} for scale in scales]
    fields = {"name": "t", "shape": shape, "components": components}
    return Recipe.from_dict(fields).texture


@pytest.mark.parametrize("shape", [(150,), (20, 130), (6, 7, 70)])
def test_a_field_of_pixels_is_added_to_those_that_separate(shape, monkeypatch) -> None:
    """What a kernel that doesn't separate plugs in; 70 to 150 pixels are several blocks."""
    both, one = texture_of(shape, (2.0, 5.0)), texture_of(shape, (2.0,))
    chosen = field_kinds.field_of

    def field_of(texture, kernel, scale, *more) -> Field:
        return Ramp(shape) if scale == 5.0 else chosen(texture, kernel, scale, *more)

    monkeypatch.setattr(drawing, "field_of", field_of)
    for arrays in libraries():
        images = drawn(both, arrays)
        ramps = Ramp(shape).draw(NUMPY, SEEDS, 1, np.ones(len(SEEDS)), True).pixels
        # A sum in float64, rounded to float32, twice where the first part is rounded before.
        np.testing.assert_allclose(images, drawn(one, arrays) + ramps, rtol=2.0**-22, atol=1e-6)
    assert len({drawn(both, arrays).tobytes() for arrays in libraries()}) == 1


def drawn(texture, arrays: Arrays) -> np.ndarray:
    images = arrays.empty_images((len(SEEDS), *texture.shape), texture.dtype)
    TextureClass.of(texture, 0, arrays).draw(SEEDS, images)
    return arrays.to_numpy(images)


def test_textures_of_2018_are_drawn_by_their_own_kind() -> None:
    recipe = Recipe.load("golkar2018")
    recipe = recipe.replace(
        shape=[64, 64],
        components=[
            {"kernel": "rbf", "length_scales": [2.0], "weight": 0.75},
            {"kernel": "rbf", "length_scales": [50.0], "weight": 1.25},
        ],
    )
    for arrays in libraries():
        images = drawn(recipe.texture, arrays)
        for seed, image in zip(SEEDS.tolist(), images, strict=True):
            small, large = (texture(x, 64).standardized(seed, k) for k, x in enumerate((2.0, 50.0)))
            assert (image == (0.75 * small + 1.25 * large).astype(np.float32)).all()


def test_blocks_of_a_banded_matrix_are_the_dense_matrix() -> None:
    matrix = axis_factor(RBF(3.0), 200, "open").matrix
    dense = matrix.in_one_block()
    assert len(matrix.bands) == 4
    assert len(dense.bands) == 1
    x = np.random.default_rng(0).integers(-9, 9, (2, matrix.shape[1], 3)).astype(float)
    assert (matrix.apply(x) == dense.apply(x)).all()
    assert (dense.bands[0].matrix == matrix.apply(np.eye(matrix.shape[1])[None])[0]).all()
