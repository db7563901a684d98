"""What the mask does to the gradient, and refuses to do."""

from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backdrop import Backdrop
from backdrop.functional import backdrop
from gpgen.errors import UsageError


def factors(layer, shape, dtype=torch.float64):
    """The factor that each element's gradient is multiplied with."""
    x = torch.ones(shape, dtype=dtype, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x), x, torch.ones_like(x))
    return gradient


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_forward_is_the_identity_on_the_same_memory():
    x = torch.tensor([[[[1.5, -0.0], [torch.inf, torch.nan]]]], requires_grad=True)
    y = Backdrop(0.5)(x)
    assert y.data_ptr() == x.data_ptr()
    assert y.is_leaf is False


def test_eval_and_p_zero_leave_the_gradient_alone():
    assert torch.equal(factors(Backdrop(0.9).eval(), (2, 3, 4, 4)), torch.ones(2, 3, 4, 4))
    assert torch.equal(factors(Backdrop(0.0), (2, 3, 4, 4)), torch.ones(2, 3, 4, 4))


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    data=st.data(),
    p=st.floats(0.01, 0.99),
    per_sample=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_factors_are_a_mask_over_its_own_mean_in_any_shape(shape, data, p, per_sample, seed):
    ndim = len(shape)
    axes = data.draw(st.sets(st.integers(0, ndim - 1), min_size=1).map(sorted))
    signed = data.draw(st.tuples(*[st.sampled_from([a, a - ndim]) for a in axes]))
    layer = Backdrop(p, data.draw(st.permutations(signed)), per_sample, generator=seeded(seed))
    found = factors(layer, shape)
    # Shared over the dimensions that are neither named nor, per sample, the first.
    own = set(axes) | ({0} if per_sample else set())
    one = found[tuple(slice(None) if d in own else slice(0, 1) for d in range(ndim))]
    assert torch.equal(one.expand(shape), found)
    # Every mask keeps k of its n positions, k >= 1, with factor n / k.
    joint = 0 in axes or not per_sample
    rows = one.reshape(1, -1) if joint else one.reshape(shape[0], -1)
    for row in rows:
        kept = int((row != 0).sum())
        assert kept >= 1
        expected = torch.full((kept,), row.numel() / kept, dtype=torch.float64)
        torch.testing.assert_close(row[row != 0], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("p", "dims", "per_sample"),
    [(0.5, (2, 3), True), (0.9, (2, 3), False), (0.75, (0,), True), (0.3, (1,), True)],
)
def test_the_mean_over_ten_thousand_masks_is_the_unmasked_gradient(p, dims, per_sample):
    draws = 10_000
    layer = Backdrop(p, dims, per_sample, generator=seeded())
    incoming = torch.randn(3, 2, 2, 3, dtype=torch.float64, generator=seeded(1))
    masked = torch.func.vmap(
        torch.func.grad(lambda x: (layer(x) * incoming).sum()), randomness="different"
    )(torch.zeros(draws, *incoming.shape, dtype=torch.float64))
    error = masked.std(0) / math.sqrt(draws)
    z = (masked.mean(0) - incoming) / error
    # 36 normal scores: one beyond 4.5 has a probability below 3e-4.
    assert float(z.abs().max()) < 4.5
    # Fine enough to be wrong: the standard error is a few per cent of the gradient at most.
    assert float((error / incoming).abs().max()) < 0.05


def test_masks_are_bernoulli_before_normalization():
    layer = Backdrop(0.7, (0, 1), generator=seeded())
    kept = factors(layer, (1000, 1000)) != 0
    # 1e6 Bernoulli trials: standard error 4.6e-4; neighbours are uncorrelated.
    assert abs(float(kept.double().mean()) - 0.3) < 4 * 4.6e-4
    centred = kept.double() - 0.3
    for shifted in (centred.roll(1, 0), centred.roll(1, 1)):
        assert abs(float((centred * shifted).mean()) / 0.21) < 4e-3


def test_where_nothing_is_kept_one_position_survives_any_with_equal_chance():
    # At p = 0.999 on 6 positions 99.4 % of the masks would be empty.
    found = factors(Backdrop(0.999, (1,), generator=seeded()), (60_000, 6))
    kept = (found != 0).sum(1)
    assert int(kept.min()) == 1
    expected = (
        1
        - 6 * 0.001 * 0.999**5
        + 6 * 0.001 * 0.999**5
        - sum(math.comb(6, k) * 0.001**k * 0.999 ** (6 - k) for k in range(2, 7))
    )
    assert abs(float((kept == 1).double().mean()) - expected) < 4 * math.sqrt(1.5e-5 / 60_000)
    counts = (found[kept == 1] != 0).sum(0).double()
    mean = counts.sum() / 6
    # Chi-square with 5 degrees of freedom: above 26 with probability 1e-4.
    assert float(((counts - mean) ** 2 / mean).sum()) < 26


def test_samples_have_their_own_masks_or_share_one():
    own = factors(Backdrop(0.5, generator=seeded()), (2, 3, 16, 16))
    assert not torch.equal(own[0], own[1])
    shared = factors(Backdrop(0.5, per_sample=False, generator=seeded()), (2, 3, 16, 16))
    assert torch.equal(shared[0], shared[1])


def test_dims_name_the_dimensions_of_the_input_whatever_they_are():
    # The 2018 layer masks dimension 2 when asked for 1 here, and fails on [0] of four.
    rows = factors(Backdrop(0.5, (1,), False, generator=seeded()), (1, 64, 4))
    assert torch.equal(rows[..., :1].expand(1, 64, 4), rows)
    assert len(rows[0, :, 0].unique()) == 2
    samples = factors(Backdrop(0.5, (0,), generator=seeded()), (64, 3, 4, 4))
    assert torch.equal(samples[:, :1, :1, :1].expand(64, 3, 4, 4), samples)
    assert len(samples.unique()) == 2


def test_a_fixed_mask_replaces_the_draw_and_is_normalized_too():
    keep = torch.tensor([[1, 0, 0], [1, 0, 0]])
    layer = Backdrop(0.5).fix(keep)
    assert torch.equal(factors(layer, (2, 1, 2, 3)), (3.0 * keep).expand(2, 1, 2, 3))
    each = torch.stack([keep, torch.ones_like(keep)])
    found = factors(layer.fix(each), (2, 1, 2, 3))
    assert torch.equal(found[:, 0], torch.stack([3.0 * keep, torch.ones(2, 3)]))
    assert "fixed mask" in repr(layer)
    assert layer.state_dict() == {}
    assert len(factors(layer.fix(None), (1, 1, 64, 64)).unique()) == 2


def test_a_fixed_mask_that_keeps_nothing_passes_nothing():
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    backdrop(x, mask=torch.zeros(2, 2)).sum().backward()
    assert torch.equal(x.grad, torch.zeros(1, 1, 2, 2))


def test_a_generator_determines_the_masks_and_leaves_the_global_one_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = factors(Backdrop(0.5, generator=seeded(7)), (2, 1, 8, 8))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(factors(Backdrop(0.5, generator=seeded(7)), (2, 1, 8, 8)), first)


def test_without_a_generator_the_global_seed_determines_the_masks():
    layer = Backdrop(0.5)
    torch.manual_seed(3)
    first = factors(layer, (2, 1, 8, 8))
    assert not torch.equal(factors(layer, (2, 1, 8, 8)), first)
    torch.manual_seed(3)
    assert torch.equal(factors(layer, (2, 1, 8, 8)), first)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.complex64])
def test_a_seed_keeps_the_same_positions_in_every_dtype(dtype):
    layer = Backdrop(0.8, generator=seeded())
    exact = factors(layer, (2, 2, 8, 8))
    layer.generator.manual_seed(0)
    found = factors(layer, (2, 2, 8, 8), dtype)
    assert found.dtype == dtype
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(found.real.double(), exact, rtol=eps, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_one_survivor_of_65536_positions_keeps_its_gradient_and_the_others_zero(dtype):
    # The factor, 65,536, is beyond float16; the incoming gradients include zeros.
    keep = torch.zeros(256, 256)
    keep[3, 5] = 1
    incoming = torch.zeros(1, 1, 256, 256, dtype=dtype)
    incoming[..., :4, :] = 2.0**-10
    x = torch.ones(1, 1, 256, 256, dtype=dtype, requires_grad=True)
    Backdrop().fix(keep)(x).backward(incoming)
    assert torch.equal(x.grad, (64 * keep).to(dtype)[None, None])


def test_a_drawn_mask_of_one_survivor_is_finite_in_float16():
    layer = Backdrop(1 - 1e-7, (0, 2, 3), generator=seeded())
    x = torch.ones(2, 1, 256, 256, dtype=torch.float16, requires_grad=True)
    layer(x).mean().backward()  # 1 / 131,072 each, and 131,072 positions
    assert x.grad.sum() == 1
    assert int((x.grad != 0).sum()) == 1


def test_an_integer_tensor_passes():
    x = torch.arange(4).reshape(1, 1, 2, 2)
    assert Backdrop()(x) is x


def test_it_prints_its_settings_copies_and_pickles():
    layer = Backdrop(0.25, (1, 2), False, generator=seeded(5)).fix(torch.tensor([[1, 0]]))
    assert repr(Backdrop(0.25, (1, 2), False)) == "Backdrop(p=0.25, dims=(1, 2), per_sample=False)"
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):  # noqa: S301
        assert repr(twin) == repr(layer)
        assert torch.equal(
            factors(twin.fix(None), (2, 8, 8)),
            factors(Backdrop(0.25, (1, 2), False, generator=seeded(5)), (2, 8, 8)),
        )


@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, math.nan])
def test_a_probability_outside_zero_to_one_is_refused(p):
    with pytest.raises(UsageError, match=rf"p is {p}.*0 <= p < 1"):
        Backdrop(p)
    with pytest.raises(UsageError, match="0 <= p < 1"):
        backdrop(torch.ones(1, 1, 2, 2), p)


@pytest.mark.parametrize(
    ("dims", "what"),
    [((2, 4), "dimension 4.*has 4 dimensions"), ((-5,), "dimension -5"), ((3, -1), "twice")],
)
@pytest.mark.parametrize("training", [True, False])
def test_dimensions_that_the_input_does_not_have_are_refused(dims, what, training):
    with pytest.raises(UsageError, match=what):
        Backdrop(0.5, dims).train(training)(torch.ones(1, 1, 2, 2))


def test_other_bad_arguments_are_refused_with_what_to_do():
    for dims in ("23", (2.0, 3.0), None):
        with pytest.raises(UsageError, match="dims is"):
            Backdrop(dims=dims)
    for p in ("a", None):
        with pytest.raises(UsageError, match="probability p is"):
            Backdrop(p)
    with pytest.raises(UsageError, match="sequence of dimensions"):
        Backdrop(dims=2)
    with pytest.raises(UsageError, match="sequence of dimensions"):
        Backdrop(dims=())
    with pytest.raises(UsageError, match="name no dimension"):
        backdrop(torch.ones(2), dims=())
    with pytest.raises(UsageError, match=r"empty tensor, shape \(0, 3, 4, 4\)"):
        Backdrop()(torch.ones(0, 3, 4, 4))
    with pytest.raises(UsageError, match="keeps no position"):
        Backdrop().fix(torch.zeros(2, 2))
    with pytest.raises(UsageError, match=r"shape \(2, 2\), the input has \(3, 4\)"):
        Backdrop().fix(torch.ones(2, 2))(torch.ones(2, 1, 3, 4))
    with pytest.raises(UsageError, match="generator is on cpu"):
        Backdrop(generator=seeded())(torch.ones(1, 1, 2, 2, device="meta"))
