"""Whether a stem gives on patches what it gives on whole images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from backdrop.blocking import upstream
from backdrop.image_parts import PartReader
from backdrop.patches import StemGeometry
from backdrop.recomputing import InnerMasks, as_now, largest_error
from backdrop.stem_on_parts import Stem
from gpgen.errors import UsageError

__all__ = ["BEHIND", "check_patches", "check_unchanged", "versions"]

BEHIND: Final = "behind the stem, after the mask"


def check_patches(
    stem: nn.Module,
    reader: PartReader,
    output: Tensor,
    geometry: StemGeometry,
    masks: InnerMasks,
) -> bool:
    """Compare a stem's output at the edges and in the middle with that of patches.

    Returns
    -------
    bool
        Whether that told something: not where the output is the same everywhere.

    Raises
    ------
    UsageError
        If patches don't give what the whole image gives.
    """
    if tuple(output.shape[2:]) != geometry.shapes[-1]:
        raise UsageError(
            f"the stem's output has shape {tuple(output.shape)}, and its layers' strides say "
            f"{geometry.shapes[-1]} positions",
            f"put layers that fit their output to the image {BEHIND}",
        )
    # Two neighbours: if patches must begin at multiples of some number, one doesn't.
    places = [[0, n // 2, min(n // 2 + 1, n - 1), n - 1] for n in output.shape[2:]]
    start = np.array(places).T
    patches = geometry.patches(start, start + 1)
    on_parts = Stem(stem, geometry)
    largest = largest_error(output[0])
    for number, place in enumerate(start.tolist()):
        here = output[(slice(0, 1), slice(None), *(slice(i, i + 1) for i in place))]
        part = reader.read(patches.pixels(np.array([0]), np.array([number])))
        try:
            with (
                masks.ignored(),
                as_now(output.device.type)(),
                torch.enable_grad(),
                on_parts.stand_ins() as learned,
            ):
                there: Tensor = on_parts(part, patches.steps(number))
        except UsageError:
            raise
        except (RuntimeError, ValueError) as error:
            raise UsageError(
                f"the stem fails on the part of the image that output position {place} sees: "
                f"{error}",
                f"put layers that need more than that {BEHIND}",
            ) from error
        if there.shape != here.shape or bool((there - here).abs().amax() > largest):
            raise UsageError(
                f"at output position {place} the stem gives other values for the part of the "
                "image that this position sees",
                f"put dropout, normalization over the image or batch, and circular padding "
                f"{BEHIND} (or freeze batch normalization in eval mode)",
            )
        _check_leaves(there, learned)
    first = output[0].flatten(1)[:, :1].reshape(-1, *[1] * len(places))
    return bool((output[0] != first).any())


def _check_leaves(values: Tensor, learned: Sequence[Tensor]) -> None:
    """Refuse a stem that learns something which is no parameter of it."""
    known = set(map(id, learned))
    for node in upstream([values.grad_fn]):
        leaf = getattr(node, "variable", None)
        if leaf is not None and id(leaf) not in known:
            raise UsageError(
                f"the stem uses a tensor of shape {tuple(leaf.shape)} that requires a gradient and "
                "is no parameter of it",
                "make it an nn.Parameter of a module in the stem",
            )


def versions(stem: nn.Module, images: object) -> list[tuple[str, int]]:
    """Return how often each buffer of a stem, and the images, were changed in place."""
    found = [(f"buffer {name!r}", buffer._version) for name, buffer in stem.named_buffers()]
    return [*found, ("images", images._version)] if isinstance(images, Tensor) else found


def check_unchanged(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    """Refuse a stem whose forward pass changed something: `versions` before it and after."""
    for (name, old), (_, new) in zip(before, after, strict=True):
        if old == new:
            continue
        if name == "images":
            raise UsageError(
                "the stem changes the images in place, and patches are read from them again",
                "let the stem's first layer work out of place (inplace=False)",
            )
        raise UsageError(
            f"a forward pass changes the {name} of the stem, as batch normalization does in "
            "training, so a patch alone would not give the same values",
            "set such layers to eval mode, use a normalization over channels, or put them behind "
            "the mask",
        )
