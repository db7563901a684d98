"""The ideal observer against closed forms, dense matrices and images drawn pixel by pixel."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from observer_support import recipe, seen_of_drawn
from scipy.stats import chi2, multivariate_normal

from gpgen import Recipe
from gpgen.exact.field_kinds import scaled_kernel
from gpgen.exact.texture import Choice
from gpgen.observer.axis_modes import mode_matrix, mode_powers, modes_of_axis, spectrum_of_modes
from gpgen.observer.bounds import coefficients, least_accuracy
from gpgen.observer.class_modes import ComponentModes, classes_in_modes
from gpgen.observer.field_modes import box_of
from gpgen.observer.judging import IdealObserver, converged_observer, noise_variance, together
from gpgen.observer.likelihood import log_likelihood
from gpgen.observer.mode_set import ModeSet
from gpgen.observer.simulation import draw, joined
from gpgen.observer.stationary_modes import field_modes


@pytest.mark.parametrize("pixels", [2, 7, 8, 31, 64])
@pytest.mark.parametrize("length", [0.7, 2.0, 20.0])
def test_modes_of_an_open_axis_are_those_of_its_dense_covariance(pixels, length) -> None:
    place = np.arange(pixels)
    covariance = np.exp(-0.5 * (place / length) ** 2)
    dense = covariance[np.abs(place[:, None] - place)]
    modes = modes_of_axis(pixels, pixels, periodic=False)
    assert modes @ modes.T == pytest.approx(np.eye(pixels), abs=1e-12)
    expected = modes @ dense @ modes.T
    assert mode_matrix(covariance, pixels) == pytest.approx(expected, abs=1e-11)
    assert mode_powers(covariance, periodic=False) == pytest.approx(expected.diagonal(), abs=1e-11)


@pytest.mark.parametrize("pixels", [2, 7, 8, 31])
def test_modes_of_a_periodic_axis_are_independent(pixels) -> None:
    place = np.arange(pixels)
    covariance = np.exp(-0.5 * (np.minimum(place, pixels - place) / (pixels / 12)) ** 2)
    dense = covariance[(place[:, None] - place) % pixels]
    modes = modes_of_axis(pixels, pixels, periodic=True)
    assert modes @ modes.T == pytest.approx(np.eye(pixels), abs=1e-12)
    expected = np.diag(mode_powers(covariance, periodic=True))
    assert modes @ dense @ modes.T == pytest.approx(expected, abs=1e-6)


def test_a_long_axis_leaks_little() -> None:
    covariance = np.exp(-0.5 * (np.arange(4096) / 10.0) ** 2)
    powers = mode_powers(covariance, periodic=False)[:400]
    assert powers == pytest.approx(spectrum_of_modes(covariance, periodic=False)[:400], rel=0.01)


def _component(kernel: str, scale, **fields) -> dict:
    return {"kernel": kernel, "length_scales": [scale], **fields}


@pytest.mark.parametrize(
    ("shape", "boundary", "component"),
    [
        ((9, 12), "open", _component("matern", 2.0, smoothness=1.5)),
        ((9, 12), "open", _component("rbf", [1.5, 3.0], angle=30.0)),
        ((9, 12), "open", _component("white", 1.0)),
        ((6, 5, 7), "open", _component("exponential", [1.0, 2.0, 1.5])),
        ((40,), "open", _component("rational-quadratic", 3.0, alpha=1.0)),
        ((9, 33), ["open", "periodic"], _component("matern", 1.0, smoothness=2.5)),
    ],
)
def test_modes_of_any_kernel_are_those_of_its_dense_covariance(shape, boundary, component) -> None:
    fields = {"name": "k", "shape": list(shape), "boundary": boundary, "components": [component]}
    images = Recipe.from_dict(fields)
    ((choice,),) = images.components[0].choices
    field = field_modes(images.texture, component["kernel"], choice)
    scaled = scaled_kernel(images.texture, component["kernel"], *choice)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(
        -1, len(shape)
    )
    apart = (places[:, None] - places).astype(float)
    for axis, end in enumerate(images.texture.boundaries):
        if end == "periodic":
            apart[..., axis] -= shape[axis] * np.rint(apart[..., axis] / shape[axis])
    dense = scaled.family.covariance(scaled.norm(tuple(np.moveaxis(apart, -1, 0))))
    modes = np.ones((1, 1))
    for pixels, end in zip(shape, images.texture.boundaries, strict=True):
        modes = np.kron(modes, modes_of_axis(pixels, pixels, end == "periodic"))
    expected = modes @ dense @ modes.T
    assert field.powers(places) == pytest.approx(expected.diagonal(), abs=1e-6)
    box = box_of(shape, field.periodic)
    inside = (places < box).all(axis=1)
    assert field.matrix(places[inside]) == pytest.approx(expected[np.ix_(inside, inside)], abs=1e-5)
    assert field.mean_covariance == pytest.approx(dense.mean(), abs=1e-9)


def test_a_rotated_periodic_fields_modes_have_the_eigenvalues_of_its_covariance() -> None:
    component = {"kernel": "rbf", "length_scales": [[1.0, 1.5]], "angle": 30.0}
    fields = {"name": "k", "shape": [20, 19], "boundary": "periodic", "components": [component]}
    images = Recipe.from_dict(fields)
    ((choice,),) = images.components[0].choices
    field = field_modes(images.texture, "rbf", choice)
    places = np.stack(np.meshgrid(*map(np.arange, (20, 19)), indexing="ij"), -1).reshape(-1, 2)
    apart = (places[:, None] - places).astype(float)
    apart -= np.array([20, 19]) * np.rint(apart / [20, 19])
    dense = scaled_kernel(images.texture, "rbf", *choice)
    covariance = dense.family.covariance(dense.norm(tuple(np.moveaxis(apart, -1, 0))))
    expected = np.linalg.eigvalsh((covariance + covariance.T) / 2)
    assert np.sort(field.powers(places)) == pytest.approx(expected, abs=1e-5)


def test_the_likelihood_is_the_dense_normal_density() -> None:
    texture = recipe((6, 5), ((1.5, 2), 1), ((3,), 0.5), standardize=False).texture
    noise = 0.01
    modes, classes = classes_in_modes(texture, 0, noise)
    images = draw(classes[0], modes, noise, 20, (3, 0))
    axes = [modes_of_axis(n, n, periodic=False) for n in texture.shape]
    amplitudes = np.zeros((20, 6, 5))
    for block, seen in zip(modes.blocks, images.blocks, strict=True):
        amplitudes[(slice(None), *block.T)] = seen
    pixels = np.einsum("iab,ax,by->ixy", amplitudes, *axes).reshape(20, -1)
    for label, components in enumerate(classes):
        covariance = noise * np.eye(30)
        chosen = [choice.length_scale for (choice,) in texture.chosen(label)]
        for weight, scale in zip((1, 0.5), chosen, strict=True):
            one = [np.exp(-0.5 * ((np.arange(n)[:, None] - np.arange(n)) / scale) ** 2)
                   for n in texture.shape]  # fmt: skip
            covariance += weight**2 * np.kron(*one)
        expected = multivariate_normal(cov=covariance).logpdf(pixels) + 15 * math.log(2 * math.pi)
        assert log_likelihood(components, noise, images, [0.0, 0.0]) == pytest.approx(
            expected, abs=1e-6
        )


def test_one_component_of_unknown_amplitude_has_the_angular_central_gaussian_density() -> None:
    rng = np.random.default_rng(0)
    modes, noise = 40, 1e-7  # hardly any
    powers = [np.geomspace(1, end, modes) for end in (0.3, 0.15)]
    powers = [each * modes / each.sum() for each in powers]
    sides = [_only_single(p, modes) for p in powers]
    x = rng.standard_normal((50, modes)) * np.sqrt(powers[0])
    x *= math.sqrt(modes) / np.linalg.norm(x, axis=1)[:, None]
    images = joined([draw(sides[0], _alone(modes), noise, 50, (0, 0))])._replace(
        squares=np.square(x, dtype=np.float32)
    )
    spread = max(side[0].spread for side in sides)
    first, second = (log_likelihood(side, noise, images, [spread]) for side in sides)
    exact = [-0.5 * np.log(p).sum() - modes / 2 * np.log((x * x / p).sum(axis=1)) for p in powers]
    # The range of amplitudes is finite.
    assert second - first == pytest.approx(exact[1] - exact[0], abs=0.02)


def _alone(modes: int) -> ModeSet:
    single = np.stack([np.arange(1, modes + 1), np.zeros(modes, dtype=np.int64)], axis=1)
    return ModeSet((), (single,))


def _only_single(powers: np.ndarray, pixels: int | None = None) -> tuple[ComponentModes]:
    """A class of independent modes; of standardized images if it is said of how much power."""
    return (ComponentModes((), powers, None if pixels is None else float(powers.sum())),)


def _observer(*powers: np.ndarray) -> IdealObserver:
    """An observer of two classes of independent modes, without any noise to speak of."""
    texture = recipe((8, 8), ((1, 2), 1)).texture
    classes = tuple(_only_single(p) for p in powers)
    return IdealObserver(texture, 0, 1e-12, _alone(len(powers[0])), classes)


@pytest.mark.parametrize(("modes", "ratio"), [(1, 4.0), (1, 1.5), (30, 1.2), (400, 1.05)])
def test_two_variances_of_white_noise_have_the_accuracy_of_a_chi_square(modes, ratio) -> None:
    # The larger variance is named when the sum of squares is above the crossing of the densities.
    crossing = modes * math.log(ratio) / (1 - 1 / ratio)
    expected = (chi2.cdf(crossing, modes) + chi2.sf(crossing / ratio, modes)) / 2
    observer = _observer(np.ones(modes), np.full(modes, ratio))
    found = observer.accuracies(*observer.simulate(40_000, seed=1)).whole
    assert found.error == pytest.approx(math.sqrt(expected * (1 - expected) / 40_000), rel=0.05)
    assert abs(found.accuracy - expected) < 3 * found.error


def test_the_bound_is_the_closed_form_and_below_the_accuracy() -> None:
    observer = _observer(np.ones(30), np.full(30, 1.8))
    overlap = coefficients(observer.classes, observer.noise)
    expected = (4 * 1.8 / (1 + 1.8) ** 2) ** (30 / 4)
    assert overlap[0, 1] == pytest.approx(expected, rel=1e-6)
    bound = least_accuracy(overlap, [0, 1])
    assert bound == pytest.approx(1 - expected / 2, rel=1e-6)
    found = observer.accuracies(*observer.simulate(40_000, seed=1)).whole
    assert found.accuracy > bound - 3 * found.error


def test_images_that_share_a_class_are_images_of_more_modes() -> None:
    one, four = (_observer(np.ones(n), np.full(n, 1.3)) for n in (20, 80))
    grouped = one.accuracies(*together(*one.simulate(80_000, seed=1), 4)).whole
    single = four.accuracies(*four.simulate(20_000, seed=2)).whole
    error = math.hypot(grouped.error, single.error)
    assert abs(grouped.accuracy - single.accuracy) < 3 * error


@pytest.mark.slow
def test_more_modes_leave_the_modes_before_as_they_were() -> None:
    texture = recipe((100, 90), ((1.5, 2), 1), ((12,), 2)).texture
    noise = noise_variance(texture, 0.01)
    few, many = (IdealObserver.of(texture, level, noise) for level in (0, 1))
    assert len(many.modes.single) > len(few.modes.single)
    seen = [draw(o.classes[0], o.modes, noise, 5, (0, 0)).blocks[1] for o in (few, many)]
    # All but the deviation, which comes to be known better.
    ratio = seen[1] / seen[0]
    assert np.median(ratio) == pytest.approx(1, abs=0.05)
    assert np.ptp(ratio, axis=1).max() < 0.2


def test_the_modes_hold_a_fields_variance() -> None:
    texture = recipe((64, 64), ((2,), 1), standardize=False).texture
    field = field_modes(texture, "rbf", Choice(2.0))
    every = np.stack(np.meshgrid(*[np.arange(64)] * 2, indexing="ij"), -1).reshape(-1, 2)
    assert field.powers(every).sum() == pytest.approx(64 * 64, rel=1e-9)
    assert field.mean_covariance == pytest.approx(field.powers(every[:1])[0] / 64**2)


RECIPES = {
    "open, two scales": (recipe((64, 64), ((3, 3.2), 0.75), ((12, 16), 1.25)), 0.01),
    "periodic": (
        recipe((64, 64), ((2, 2.1), 0.75), ((4.5, 5.5), 1.25), boundary="periodic"),
        0.01,
    ),
    "not standardized": (
        recipe((64, 64), ((3, 3.2), 0.75), ((12, 16), 1.25), standardize=False),
        0.01,
    ),
    "one component": (recipe((64, 64), ((12, 12.5), 1)), 0.01),
    "longer than half the image": (recipe((64, 64), ((40, 44), 1)), 0.1),
    "one axis, three length-scales": (recipe((512,), ((3, 3.2), 0.75), ((20, 30, 45), 1.25)), 0.01),
    "one axis, periodic": (
        recipe((512,), ((3, 3.2), 0.75), ((20, 30), 1.25), boundary="periodic"),
        0.01,
    ),
    "one short axis": (recipe((100,), ((9, 9.5), 1)), 0.1),
    "three axes": (recipe((16, 16, 16), ((1.5, 1.6), 0.75), ((4, 6), 1.25)), 0.01),
    "three axes, periodic": (
        recipe((16, 16, 16), ((0.8, 0.82), 0.75), ((1.2, 1.3), 1.25), boundary="periodic"),
        0.01,
    ),
    "three components": (recipe((64, 64), ((2, 2.1), 0.5), ((6, 7), 1), ((16, 24), 2)), 0.01),
    "by axis, much noise": (
        recipe((48, 80), ([(3, 6), (6, 3), (4.5, 4.5)], 1), ((14, 20), 1)),
        0.5,
    ),
    "another kernel": (
        Recipe.from_dict(
            {
                "name": "matern",
                "shape": [48, 48],
                "components": [
                    {"kernel": "matern", "smoothness": [1.5, 1.7], "length_scales": [4, 4.4]},
                ],
            }
        ),
        0.1,
    ),
    "rotated": (
        Recipe.from_dict(
            {
                "name": "rotated",
                "shape": [48, 48],
                "components": [
                    {"kernel": "rbf", "length_scales": [[6, 9]], "angle": [20, 40]},
                    {"kernel": "white", "length_scales": [1]},
                ],
            }
        ),
        0.1,
    ),
    "two-scale-mini": (Recipe.load("two-scale-mini"), 0.01),
}


# The others take half a minute to some minutes each.
IN_CI = {"longer than half the image", "one axis, periodic", "one short axis"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [name if name in IN_CI else pytest.param(name, marks=pytest.mark.long) for name in RECIPES],
)
def test_the_accuracy_is_that_on_drawn_images(name) -> None:
    images, noise = RECIPES[name]
    n = 6000 if name == "another kernel" else 2000
    observer, _ = converged_observer(images.texture, noise_variance(images.texture, noise), seed=0)
    predicted = observer.accuracies(*observer.simulate(2 * n, seed=0))
    seen, labels = seen_of_drawn(observer, images, n)
    measured = observer.accuracies(observer.judge(seen), labels)
    pairs = zip(
        (predicted.whole, *predicted.components),
        (measured.whole, *measured.components),
        strict=True,
    )
    for ours, theirs in pairs:
        if ours is not None and theirs is not None:
            error = math.hypot(ours.error, theirs.error)
            # For the table in docs/difficulty.md: pytest -s.
            sys.stdout.write(f"{name}: {ours.accuracy:.4f}, {theirs.accuracy:.4f} ± {error:.4f}\n")
            allowed = max(0.01, 3 * error)
            assert abs(ours.accuracy - theirs.accuracy) < allowed
