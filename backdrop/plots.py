"""Pictures of the gradient that arrives at the input, through masks and without.

Each figure shows a network that only averages, so that what is seen is the
masks' doing: its gradient without masks is flat, and every picture is drawn in
units of it. Nothing here touches matplotlib's global state; save what is
returned with ``figure.savefig(path)``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from backdrop.layer import Backdrop
from backdrop.patches import stem_geometry
from gpgen.errors import UsageError
from gpgen.figures import TEXTURE_COLOURS, check_width, lettered, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "averaging_network",
    "gradient_at_input",
    "plot_fixed_masks",
    "plot_gradients",
    "plot_one_mask",
    "plot_sparse_backward",
    "plot_two_masks",
    "plot_wide_kernels",
    "relative_gradient",
]

_SIDE = 256  # pixels of a demonstration image
_WIDTH = 7.0  # inches: the text width of a paper
_PANEL = 1.2  # inches, at least, before panels go into one more row
_LETTERS = 8  # points
_BLOCKED = "0.88"  # grey
_FINE, _COARSE = 3, 6  # stages that the masks follow: squares of 8 and 64 pixels


def gradient_at_input(model: nn.Module, image: Tensor) -> Tensor:
    """Return the size of the gradient of the sum of all outputs at each input pixel.

    Parameters
    ----------
    model
        In training mode, or its masks are off.
    image
        One image, shape ``(channel, y, x)``.

    Returns
    -------
    Tensor
        Shape ``(y, x)``: absolute gradient, summed over channels.
    """
    if image.ndim != 3:
        raise UsageError(f"the image has shape {tuple(image.shape)}", "give (channel, y, x)")
    batch = image.detach()[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(batch).sum(), batch)
    return gradient[0].abs().sum(0)


def averaging_network(
    stages: int, masks: Mapping[int, Backdrop] | None = None, kernel_size: int = 2
) -> nn.Sequential:
    """Return `stages` average poolings by two, with ``masks[i]`` after stage i (from 1).

    With `kernel_size` 2 the windows tile the image; with 3 or more they overlap.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for stage in range(1, stages + 1):
        layers[f"average{stage}"] = nn.AvgPool2d(kernel_size, 2, (kernel_size - 1) // 2)
        if masks and stage in masks:
            layers[f"mask{stage}"] = masks[stage]
    return nn.Sequential(layers)


def plot_gradients(
    panels: Sequence[tuple[str, Tensor]], image: Tensor | None = None, *, width: float = _WIDTH
) -> Figure:
    """Draw gradients, shape ``(y, x)``, side by side on one color scale, each with its title.

    Pixels that no gradient reaches are light grey.

    Parameters
    ----------
    panels
        ``(title, gradient)``; gradients in units of the unmasked one.
    image
        The input, shape ``(y, x)``, to be shown first: a texture in the colours of textures,
        what has no negative values in grey.
    width
        Of the figure in inches; panels narrower than 1.2 go into one more row.
    """
    titles = [title for title, _ in panels]
    if image is not None:
        titles.insert(0, "the input")
    figure, axes = _panels(titles, width, bar=True)
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    if image is not None:
        axes[0].imshow(image.numpy(), interpolation="nearest", **_look(image))
    colors = colormaps["plasma_r"].with_extremes(under=_BLOCKED)
    top = max(float(gradient.max()) for _, gradient in panels)
    scale = Normalize(vmin=1e-6, vmax=top)
    for ax, (_, gradient) in zip(axes[-len(panels) :], panels, strict=True):
        drawn = ax.imshow(gradient.numpy(), cmap=colors, norm=scale, interpolation="nearest")
    bar = figure.colorbar(drawn, ax=axes, shrink=0.85, extend="min", aspect=25)
    bar.set_label("gradient / unmasked gradient\n(grey: blocked)", fontsize=_LETTERS)
    bar.ax.tick_params(labelsize=_LETTERS - 1)
    return figure


def _panels(titles: Sequence[str], width: float, *, bar: bool) -> tuple[Figure, list[Axes]]:
    """Return a figure of square panels, lettered, with room for a colour bar."""
    from gpgen.plots.lettering import broken  # which brings much that the layer doesn't need

    check_width(width)
    free = width - (0.9 if bar else 0.1)
    columns = max(1, min(len(titles), int(free / _PANEL)))
    rows = -(-len(titles) // columns)
    side = free / columns
    words = []
    for number, title in enumerate(titles):
        # A name stays with its value.
        lines = lettered(title, number).replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}")
        words.append("\n".join(broken(line, side - 0.05, _LETTERS) for line in lines.split("\n")))
    head = 0.14 * (1 + max(title.count("\n") for title in words)) + 0.22
    figure = new_figure(width, rows * (side + head) + 0.05, dpi=120)
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure.set_layout_engine(ConstrainedLayoutEngine(h_pad=0.04, w_pad=0.03))
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in axes[len(titles) :]:
        ax.remove()
    for ax, title in zip(axes, words, strict=False):
        ax.set(xticks=[], yticks=[])
        ax.set_title(title, fontsize=_LETTERS)
    return figure, axes[: len(titles)]


def _look(image: Tensor) -> dict[str, Any]:
    """Return how an image is drawn: signed as a texture, about 0, otherwise grey."""
    low, high = float(image.min()), float(image.max())
    if low >= 0:
        return {"cmap": "gray", "vmin": low, "vmax": high}
    limit = max(-low, high)
    return {"cmap": TEXTURE_COLOURS, "vmin": -limit, "vmax": limit}


def plot_one_mask(
    image: Tensor | None = None, *, p: float = 0.75, seed: int = 0, width: float = _WIDTH
) -> Figure:
    """Draw the gradient at the input without a mask and in two steps with a coarse one."""
    network = averaging_network(_COARSE, {_COARSE: _seeded(p, seed)})
    drawn = [("no mask", relative_gradient(averaging_network(_COARSE)))]
    drawn += [(f"step {step}, p = {p:g}", relative_gradient(network)) for step in (1, 2)]
    panels = [
        (f"{title}\nmean {float(g.mean()):.2f}, max {float(g.max()):.3g}", g) for title, g in drawn
    ]
    return plot_gradients(panels, image, width=width)


def plot_two_masks(
    image: Tensor | None = None,
    *,
    p: tuple[float, float] = (0.5, 0.75),
    seed: int = 0,
    width: float = _WIDTH,
) -> Figure:
    """Draw the gradient through a fine mask, a coarse one and both; `p` is (fine, coarse)."""

    def gradient(*stages: int) -> Tensor:
        # Each panel seeds its masks anew, so that the last shows those of the first two.
        chances = {_FINE: p[0], _COARSE: p[1]}
        masks = {stage: _seeded(chances[stage], seed + stage) for stage in stages}
        return relative_gradient(averaging_network(_COARSE, masks))

    panels = [
        (f"fine mask, p = {p[0]:g}", gradient(_FINE)),
        (f"coarse mask, p = {p[1]:g}", gradient(_COARSE)),
        ("both", gradient(_FINE, _COARSE)),
    ]
    return plot_gradients(panels, image, width=width)


def plot_fixed_masks(
    image: Tensor | None = None, *, p: float = 0.5, seed: int = 0, width: float = _WIDTH
) -> Figure:
    """Draw the gradient with the coarse mask fixed to one square, without and with a fine one."""
    coarse = {_COARSE: _one_square()}
    both = averaging_network(_COARSE, coarse | {_FINE: _seeded(p, seed)})
    panels = [("coarse mask fixed", relative_gradient(averaging_network(_COARSE, coarse)))]
    panels += [(f"and a fine mask, step {step}", relative_gradient(both)) for step in (1, 2)]
    return plot_gradients(panels, image, width=width)


def plot_wide_kernels(
    *,
    kernel_size: int = 3,
    p: tuple[float, float] = (0.5, 0.85),
    seed: int = 0,
    width: float = _WIDTH,
) -> Figure:
    """Draw how kernels wider than their stride wash the masks out, and what a larger p mends.

    The coarse mask is fixed to one square. `p` holds two probabilities for the fine one.
    """
    panels = []
    for kernel, chance in ((2, p[0]), (kernel_size, p[0]), (kernel_size, p[1])):
        masks = {_FINE: _seeded(chance, seed), _COARSE: _one_square()}
        gradient = relative_gradient(averaging_network(_COARSE, masks, kernel))
        panels.append((f"kernel {kernel}, stride 2\nfine mask p = {chance:g}", gradient))
    return plot_gradients(panels, width=width)


def plot_sparse_backward(
    image: Tensor | None = None, *, p: float = 0.93, seed: int = 0, width: float = _WIDTH
) -> Figure:
    """Draw what `SparseBackward` computes: all going forward, going backward the patches only.

    The patches are those of one mask, with kernels that tile and with kernels of 3 pixels.

    Parameters
    ----------
    image
        The input, shape ``(y, x)``; noise if none is given.
    p
        Masking probability of the map's 8 x 8 positions.
    seed
        Of the mask.
    width
        Of the figure in inches.
    """
    seeded = torch.Generator().manual_seed(seed)
    if image is None:
        image = torch.rand(_SIDE, _SIDE, generator=seeded)
    stage = _COARSE - 1
    mask = _seeded(p, seed).factors(torch.empty(1, 1, _SIDE >> stage, _SIDE >> stage))
    assert mask is not None  # noqa: S101 - narrows the type
    start = torch.nonzero(mask[0, 0]).numpy()
    panels = [
        ("forward: all of the image,\nnothing kept", image),
        (f"the mask, p = {p:g}", torch.where(mask[0, 0] > 0, 1.0, torch.nan)),
    ]
    for kernel, words in ((2, "tile"), (3, "overlap")):
        stem = nn.Sequential(*(nn.Conv2d(1, 1, kernel, 2, (kernel - 1) // 2) for _ in range(stage)))
        patches = stem_geometry(stem, 1, image.shape).patches(start, start + 1)
        seen = torch.full_like(image, torch.nan)[None, None]
        for number in range(len(patches)):
            (crop,) = patches.pixels(np.array([0]), np.array([number]))
            seen[crop] = image[None, None][crop]
        panels.append((f"backward: these patches\n(kernels that {words})", seen[0, 0]))
    figure, axes = _panels([title for title, _ in panels], width, bar=False)
    mask_look: dict[str, Any] = {"cmap": "binary", "vmin": 0, "vmax": 1}
    for number, (ax, (_, shown)) in enumerate(zip(axes, panels, strict=True)):
        drawn = ax.imshow(
            shown.numpy(), interpolation="nearest", **(mask_look if number == 1 else _look(image))
        )
        drawn.set_cmap(drawn.get_cmap().with_extremes(bad=_BLOCKED))
    return figure


def relative_gradient(network: nn.Module, side: int = _SIDE) -> Tensor:
    """Return each pixel's gradient in units of what it is there without masks, shape (y, x)."""
    image = torch.zeros(1, side, side)
    masked = gradient_at_input(network.train(), image)
    flat = gradient_at_input(network.eval(), image)
    network.train()
    return masked / flat


def _seeded(p: float, seed: int) -> Backdrop:
    return Backdrop(p, generator=torch.Generator().manual_seed(seed))


def _one_square() -> Backdrop:
    side = _SIDE >> _COARSE
    keep = torch.zeros(side, side)
    keep[1, 2] = 1
    return Backdrop().fix(keep)
