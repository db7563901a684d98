"""What fraction of the input and of each layer a step's gradient reaches."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import backdrop
from backdrop import Backdrop, coverage
from gpgen.errors import UsageError


def network() -> nn.Sequential:
    """Positions that tile the image: 16 x 16 of 4 x 4, of which a mask fixes a quarter."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 2, 2),
        nn.Softplus(),
        nn.Conv2d(3, 3, 2, 2),
        Backdrop(0.5),
        nn.Conv2d(3, 2, 2, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def test_a_fixed_mask_covers_what_it_keeps_and_all_behind_it() -> None:
    model = network()
    mask = torch.zeros(16, 16)
    mask[:8, :8] = 1
    assert isinstance(model[3], Backdrop)
    model[3].fix(mask)
    found = coverage(model, torch.randn(2, 1, 64, 64))
    assert list(found) == ["input", "0", "1", "2", "3", "4", "5", "6"]
    assert found["input"] == pytest.approx(0.25)
    assert found["0"] == found["1"] == found["2"] == pytest.approx(0.25)
    assert found["3"] == found["4"] == found["6"] == 1.0


def test_it_is_measured_for_the_p_asked_for_and_leaves_the_model_alone() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    batch = torch.randn(8, 1, 64, 64)
    for p in (0.2, 0.9):
        found = [coverage(model, batch, p, seed=seed)["input"] for seed in range(5)]
        # 5 * 8 * 256 positions, each kept with probability 1 - p: four standard errors.
        assert sum(found) / 5 == pytest.approx(1 - p, abs=4 * (p * (1 - p) / 10240) ** 0.5)
    assert isinstance(model[3], Backdrop)
    assert model[3].p == 0.5
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_it_agrees_with_the_fraction_that_is_blocked() -> None:
    model, batch = network(), torch.randn(2, 1, 64, 64)
    blocked = backdrop.blocked_fraction(model, batch, seed=4)
    assert coverage(model, batch, seed=4)["input"] == pytest.approx(1 - blocked)


def test_inserted_masks_are_measured_too() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 2, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    masked, _ = backdrop.insert(plain, {4: 0.75})
    found = coverage(masked, torch.randn(4, 1, 64, 64))
    assert 0.2 < found["input"] < 0.3


def test_without_masks_or_gradient_it_is_refused() -> None:
    with pytest.raises(UsageError, match="no mask"):
        coverage(nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2))
    with pytest.raises(UsageError, match="p is 1"):
        coverage(network(), torch.ones(1, 1, 64, 64), 1)


class OverTime(nn.Module):
    """A model of (sample, step, channel), of which a tenth of the steps gets a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 5)
        self.mask = Backdrop(dims=(1,)).fix(torch.arange(50) < 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        masked: torch.Tensor = self.mask(self.embed(x))
        return masked.mean(1)


def test_channels_may_come_last() -> None:
    batch = torch.randn(4, 50, 3)
    found = coverage(OverTime(), batch)
    assert found["input"] == found["embed"] == pytest.approx(0.1)
    assert backdrop.blocked_fraction(OverTime(), batch) == pytest.approx(0.9)
