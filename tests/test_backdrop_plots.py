"""The pictures show the gradient that they say."""

from __future__ import annotations

import io
import sys

import pytest
import torch
from torch import nn

from backdrop import Backdrop, plots
from gpgen.errors import MissingPackageError, UsageError
from gpgen.figures import TEXTURE_COLOURS


def seeded(p):
    return Backdrop(p, generator=torch.Generator().manual_seed(0))


def test_the_gradient_at_the_input_is_that_of_the_sum_of_outputs():
    weight = torch.tensor([[[[1.0, -2.0]]], [[[3.0, 0.5]]]])
    model = nn.Conv2d(1, 2, (1, 2), bias=False)
    model.weight.data = weight
    found = plots.gradient_at_input(model, torch.ones(1, 1, 3))
    assert found.tolist() == [[4.0, 2.5, 1.5]]  # |1+3|, |-2+0.5 +1+3|, |-2+0.5|


def test_squares_survive_a_mask_and_small_ones_within_large():
    fine, coarse = {3: seeded(0.5)}, {6: seeded(0.75)}
    both = plots.relative_gradient(plots.averaging_network(6, fine | coarse))
    small = both.reshape(32, 8, 32, 8).transpose(1, 2).flatten(2)
    assert torch.equal(small.amax(2), small.amin(2))  # constant on squares of 8 pixels
    fine[3].generator.manual_seed(0)
    coarse[6].generator.manual_seed(0)
    alone = [plots.relative_gradient(plots.averaging_network(6, masks)) for masks in (fine, coarse)]
    torch.testing.assert_close(both, alone[0] * alone[1])
    large = alone[1].reshape(4, 64, 4, 64).transpose(1, 2).flatten(2)
    assert torch.equal(large.amax(2), large.amin(2))
    for gradient in alone:
        torch.testing.assert_close(gradient.mean(), torch.tensor(1.0))


def test_wide_kernels_let_the_gradient_out_of_the_square():
    keep = torch.zeros(4, 4)
    keep[1, 2] = 1
    reached = []
    for kernel in (2, 3):
        network = plots.averaging_network(6, {6: Backdrop().fix(keep)}, kernel)
        gradient = plots.relative_gradient(network)
        assert bool(gradient[64:128, 128:192].all())
        reached.append(int((gradient > 0).sum()))
    assert reached[0] == 64**2
    assert reached[1] > 3 * reached[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "plot",
    [
        plots.plot_one_mask,
        plots.plot_two_masks,
        plots.plot_fixed_masks,
        plots.plot_wide_kernels,
        plots.plot_sparse_backward,
    ],
)
def test_each_picture_is_drawn_the_same_from_the_same_seed(plot):
    pixels = []
    for seed in (1, 1, 2):
        buffer = io.BytesIO()
        torch.manual_seed(len(pixels))
        plot(seed=seed).savefig(buffer, format="raw", dpi=20)
        pixels.append(buffer.getvalue())
    assert pixels[0] == pixels[1]
    assert pixels[0] != pixels[2]


def test_the_patches_of_the_backward_pass_are_those_that_the_gradient_reaches():
    figure = plots.plot_sparse_backward(torch.rand(256, 256), p=0.9)
    mask, tiling, overlapping = (
        ax.images[0].get_array().filled(float("nan")) for ax in figure.axes[1:]
    )
    kept = torch.from_numpy(mask) == 1
    squares = kept.repeat_interleave(32, 0).repeat_interleave(32, 1)
    assert torch.equal(~torch.from_numpy(tiling).isnan(), squares)
    seen = ~torch.from_numpy(overlapping).isnan()
    assert bool(seen[squares].all())
    assert squares.sum() < seen.sum() <= 4 * squares.sum()


def test_the_input_is_shown_beside():
    figure = plots.plot_one_mask(torch.rand(256, 256))
    assert figure.axes[0].get_title() == "(a) the input"
    assert figure.axes[0].images[0].get_cmap().name == "gray"
    figure = plots.plot_one_mask(torch.randn(256, 256))
    shown = figure.axes[0].images[0]
    low, high = shown.get_clim()
    assert (shown.get_cmap().name, low) == (TEXTURE_COLOURS, -high)


@pytest.mark.parametrize("width", [3.3, 7.0])
@pytest.mark.parametrize(
    "plot", [plots.plot_one_mask, plots.plot_two_masks, plots.plot_sparse_backward]
)
def test_panels_are_lettered_and_their_titles_neither_cut_nor_touching(plot, width):
    figure = plot(torch.randn(256, 256), width=width)
    figure.draw_without_rendering()
    titled = [ax for ax in figure.axes if ax.get_title()]
    assert [ax.get_title()[:4] for ax in titled] == ["(a) ", "(b) ", "(c) ", "(d) "]
    places = [ax.title.get_window_extent() for ax in titled]
    for number, box in enumerate(places):
        assert box.x0 >= 0
        assert box.y1 <= figure.bbox.height
        assert not any(box.overlaps(other) for other in places[:number])
        assert not any(box.overlaps(ax.get_window_extent()) for ax in figure.axes)


def test_what_cannot_be_drawn_is_refused(monkeypatch):
    with pytest.raises(UsageError, match="give \\(channel, y, x\\)"):
        plots.gradient_at_input(nn.Identity(), torch.ones(4, 4))
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match=r"gpgen\[plot\]"):
        plots.plot_one_mask()
