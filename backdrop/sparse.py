"""A stem with a mask behind it whose backward pass computes only what the mask lets through."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.fx import Proxy

from backdrop.crops import Indices
from backdrop.functional import draw_kept
from backdrop.image_parts import ImageParts, PartReader
from backdrop.layer import Backdrop, fx_leaf
from backdrop.patches import StemGeometry, stem_geometry
from backdrop.recomputing import InnerMasks, Plan, SparseGradient, as_now
from backdrop.stem_checks import BEHIND, check_patches, check_unchanged, versions
from backdrop.stem_on_parts import Stem
from backdrop.surviving import surviving
from gpgen.errors import UsageError
from gpgen.whole_numbers import whole_number

__all__ = ["SparseBackward", "SparseBackwardWarning"]

_PART = 20
"""Patches that are computed together hold at most this part of the batch's pixels."""

_ON_A_CPU = 2**17
"""Pixels computed together on a CPU: maps that stay in its caches are several times as fast."""

_TILE_ON_A_CPU = 2**18
"""Pixels of the parts in which the forward pass runs over larger images on a CPU."""


class SparseBackwardWarning(UserWarning):
    """The surviving patches cover so much that the plain layer is cheaper."""


class _Keeping(Backdrop):
    """A mask of which exactly `keep` positions survive, if that is given."""

    keep: int | None = None

    def factors(
        self,
        input: Tensor,  # noqa: A002
        valid: Tensor | None = None,
        groups: Tensor | None = None,
    ) -> Tensor | None:
        if self.keep is None or self.mask is not None or not (self.training and input.numel()):
            return super().factors(input, valid, groups)
        return draw_kept(input, self.keep, self.dims, self.per_sample, self.generator)

    def open(self, p: float) -> None:
        self.keep = None
        super().open(p)


class SparseBackward(nn.Module):
    """A stem followed by a `Backdrop`, at the cost of the patches that survive.

    In training mode, ``SparseBackward(stem, p)(images)`` returns what
    ``Backdrop(p)(stem(images))`` does, and its gradients are the same to rounding. The forward
    pass keeps no activations. The backward pass runs the stem once more, forward and backward,
    on the parts of the images that the surviving positions see; a blocked gradient is not
    computed. In eval mode it is the stem.

    Parameters
    ----------
    stem
        Any module from ``(sample, channel, *axes)`` to a map with as many axes: convolutions,
        pooling, activations, normalization over channels, masks. What depends on more than a
        part of the image is refused: batch normalization in training, attention, global pooling.
    p
        Probability that a position is masked, in [0, 1).
    dims
        Dimensions of the output that the mask varies over, as in `Backdrop`: 0 and spatial ones.
        None: all spatial ones.
    per_sample
        A mask for each sample, normalized by itself; otherwise one mask for the batch.
    keep
        Instead of `p`: exactly so many positions survive in each mask, which bounds memory.
    tile
        The forward pass runs on parts of about so many pixels a side, with exact overlaps. Its
        memory is then that of a part and the output, whatever the size of the images.
    check
        Whether the first pass over images of each size compares some patches with the output, and
        every backward pass what it computes again, which finds stems that look further than their
        geometry says, or no longer do what they did.
    generator
        Source of the mask's random numbers; default is torch's global generator.

    Attributes
    ----------
    mask
        The `Backdrop` that draws, and that `Backdrop.fix` acts on.
    last_mask
        Boolean, where the last training step's gradient passed: the mask's own shape.

    Raises
    ------
    UsageError
        For arguments outside their range.

    Notes
    -----
    Layers in the stem run several times a step, their hooks too: on parts of the batch going
    forward (on a CPU, or with `tile`), on groups of patches going backward. Random layers
    (dropout) can't repeat their draws on a part of the image and are refused. As anywhere in
    PyTorch, images and parameters must not change in place before the backward pass. A state dict
    has the stem's names after ``stem.``.
    """

    last_mask: Tensor | None

    def __init__(
        self,
        stem: nn.Module,
        p: float = 0.95,
        dims: Sequence[int] | None = None,
        per_sample: bool = True,
        *,
        keep: int | None = None,
        tile: int | None = None,
        check: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        wanted = "give a whole number of at least 1"
        keep = None if keep is None else whole_number("keep", keep, 1, wanted)
        tile = None if tile is None else whole_number("tile", tile, 1, wanted)
        if any(isinstance(module, SparseBackward) for module in stem.modules()):
            raise UsageError(
                "the stem holds a SparseBackward already", "put a Backdrop into the stem instead"
            )
        self.stem = stem
        self.mask = _Keeping(p, (2,) if dims is None else dims, per_sample, generator=generator)
        self.all_axes = dims is None
        self.mask.keep = keep
        self.tile = tile
        self.check = check
        self.last_mask = None
        self._geometry: dict[tuple[int, ...], StemGeometry] = {}
        self._checked: set[tuple[int, ...]] = set()

    @property
    def p(self) -> float:
        """Probability that a position is masked."""
        return self.mask.p

    @p.setter
    def p(self, p: float) -> None:
        self.mask.p = p

    @property
    def keep(self) -> int | None:
        """How many positions of each mask survive; None: as `p` says."""
        return self.mask.keep

    @keep.setter
    def keep(self, keep: int | None) -> None:
        self.mask.keep = keep

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        given = {"keep": self.keep, "tile": self.tile}
        return ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)

    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def forward(self, images: Tensor | ImageParts) -> Tensor:
        """Return the stem's output, ``(sample, channel, *axes)``.

        Parameters
        ----------
        images
            ``(sample, channel, *axes)``: a tensor, or what is read part by part (`ImageParts`),
            such as a Zarr array; then `tile` must be given.

        Raises
        ------
        UsageError
            For images or a stem whose gradient would not be that of `Backdrop`.
        """
        if isinstance(images, Proxy):
            return fx_leaf(self, images)  # type: ignore[arg-type]
        tensor = images if isinstance(images, Tensor) else None
        self._check_images(images)
        parameters = [p for p in self.stem.parameters() if p.requires_grad]
        leaf = tensor if tensor is not None and tensor.requires_grad else None
        differentiable = torch.is_grad_enabled() and (bool(parameters) or leaf is not None)
        learning = self.training and differentiable
        if tensor is not None and not learning and (differentiable or self.tile is None):
            plain: Tensor = self.stem(images)
            if self.training:
                if plain.requires_grad:
                    raise UsageError(
                        "the stem learns tensors that are none of its parameters",
                        "make them nn.Parameter; instead of DataParallel, whose copies have no "
                        "parameters, use DistributedDataParallel",
                    )
                self._draw(plain)  # as Backdrop does: checkpointing repeats the draws
            return plain
        if differentiable and not learning:
            raise UsageError(
                "images that are read by parts have no gradient in eval mode",
                "evaluate under torch.no_grad()",
            )
        like = next(self.stem.parameters(), torch.empty(0))
        reader = PartReader(images, like)
        device = like.device if tensor is None else tensor.device
        geometry = self._geometry_of(reader.shape, device)
        masks = InnerMasks(self.stem, geometry)
        before = versions(self.stem, images)
        tile = self.tile or self._tile_on_a_cpu(device, geometry)
        boxes = None if tile is None else _boxes(geometry, tile)
        samples = reader.shape[0]
        drawn = masks.drawn(device, samples, None if boxes is None else samples * len(boxes))
        with torch.no_grad(), as_now(device.type)(), drawn:
            if boxes is not None:
                output = self._tiled(reader, geometry, boxes)
            else:
                output = self._whole(tensor, masks)  # type: ignore[arg-type]
        check_unchanged(before, versions(self.stem, images))
        if masks.drew_else:
            raise UsageError("the stem draws random numbers", f"put dropout {BEHIND}")
        factors = self._draw(output) if self.training else torch.ones(())
        key = (int(self.training), *reader.shape[1:])
        if (
            self.check
            and key not in self._checked
            and check_patches(self.stem, reader, output, geometry, masks)
        ):
            self._checked.add(key)
        if not learning:
            return output
        plan = self._plan(reader, geometry, masks, factors)
        result: Tensor = SparseGradient.apply(plan, output, leaf, *parameters)  # type: ignore[no-untyped-call]
        return result

    def _check_images(self, images: Tensor | ImageParts) -> None:
        if not isinstance(images, Tensor) and self.tile is None:
            raise UsageError(
                f"images are {type(images).__name__}, no tensor", "give tile= to read them by parts"
            )
        if not 3 <= len(images.shape) <= 5:
            raise UsageError(
                f"images have shape {tuple(images.shape)}",
                "give (sample, channel, *axes) with one to three axes",
            )

    def _geometry_of(self, shape: Sequence[int], device: torch.device) -> StemGeometry:
        # With the modules, so that another layer in the stem is noticed.
        key = (*shape[1:], *map(id, self.stem.modules()))
        if key not in self._geometry:
            with torch.autocast(device.type, enabled=False):
                self._geometry[key] = stem_geometry(self.stem, shape[1], shape[2:])
        return self._geometry[key]

    def _draw(self, output: Tensor) -> Tensor:
        """Draw the factors of the gradient: zero where it is blocked."""
        mask = self.mask
        if self.all_axes:
            mask.dims = tuple(range(2, output.ndim))
        if any(dim % output.ndim == 1 for dim in mask.dims):
            raise UsageError(
                f"dims {mask.dims} name the channels", "name the samples (0) and spatial axes"
            )
        factors = mask.factors(output)
        if factors is None:
            factors = torch.ones_like(output[:1, :1])
        self.last_mask = factors != 0
        return factors

    def _whole(self, images: Tensor, masks: InnerMasks) -> Tensor:
        """Return the stem's output; on a CPU of some samples after the others."""
        some = max(1, _ON_A_CPU // math.prod(images.shape[2:]))
        if masks or images.device.type != "cpu" or some >= len(images):
            output: Tensor = self.stem(images)
            return output
        return torch.cat([self.stem(part) for part in torch.split(images, some)])

    def _tile_on_a_cpu(self, device: torch.device, geometry: StemGeometry) -> int | None:
        shape = geometry.shapes[0]
        side = round(_TILE_ON_A_CPU ** (1 / len(shape)))
        if device.type != "cpu" or math.prod(shape) < 2 * _TILE_ON_A_CPU:
            return None
        # With wider fields the parts would overlap too much.
        return side if 4 * max(geometry.size((1,) * len(shape))) <= side else None

    def _tiled(self, reader: PartReader, geometry: StemGeometry, boxes: Indices) -> Tensor:
        """Return the stem's output, computed in boxes (box, axis, start and stop)."""
        patches = geometry.patches(boxes[..., 0], boxes[..., 1])
        stem = Stem(self.stem, geometry)
        output: Tensor | None = None
        for sample in range(reader.shape[0]):
            for number, box in enumerate(boxes.tolist()):
                part = reader.read(patches.pixels(np.array([sample]), np.array([number])))
                values = stem(part, patches.steps(number))
                if output is None:
                    output = values.new_empty(
                        (reader.shape[0], values.shape[1], *geometry.shapes[-1])
                    )
                where: Any = (sample, slice(None), *(slice(*ends) for ends in box))
                output[where] = values[0]
        if output is None:
            raise UsageError("the batch is empty", "leave empty batches out of the loop")
        return output

    def _plan(
        self, reader: PartReader, geometry: StemGeometry, masks: InnerMasks, factors: Tensor
    ) -> Plan:
        samples, axes = reader.shape[0], geometry.shapes[-1]
        whole = samples * math.prod(reader.shape[2:])
        together = self.tile ** len(axes) if self.tile else whole // _PART
        if factors.device.type == "cpu":
            together = min(together, _ON_A_CPU)
        of_boxes, start, stop, pixels = surviving(factors, samples, geometry, together)
        if pixels >= whole:
            warnings.warn(
                f"the surviving patches hold {pixels / whole:.1f} times the pixels of the images: "
                "Backdrop behind the stem is cheaper; use a larger p, keep=, or a stem with "
                "kernels that overlap less",
                SparseBackwardWarning,
                stacklevel=2,
            )
        return Plan(
            Stem(self.stem, geometry),
            reader,
            masks,
            factors.expand(samples, 1, *axes),
            of_boxes,
            start,
            stop,
            geometry.patches(start, stop),
            together,
            self.check,
        )


def _boxes(geometry: StemGeometry, tile: int) -> Indices:
    """Divide the output into boxes of about `tile` pixels: (box, axis, start and stop)."""
    grids = []
    for n, stride in zip(geometry.shapes[-1], geometry.stride, strict=True):
        step = max(1, int(tile / stride))
        grids.append([(low, min(low + step, n)) for low in range(0, n, step)])
    return np.array(list(itertools.product(*grids)))
