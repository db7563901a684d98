"""A stem with a mask behind it whose backward pass computes only what the mask lets through."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from backdrop.blocking import masks_of
from backdrop.functional import check_probability, draw_mask, draw_uniform, masked_identity
from backdrop.layer import Backdrop
from backdrop.patches import Box, Patch, StemGeometry, stem_geometry
from gpgen.errors import UsageError

__all__ = ["ImageSource", "SparseBackward", "SparseBackwardWarning"]


class SparseBackwardWarning(UserWarning):
    """The surviving patches cover so much that the plain layer is cheaper."""


class ImageSource(Protocol):
    """A batch of images that is read part by part, as a Zarr array is: (sample, channel, *axes)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples, channels, and pixels of each axis."""
        ...

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401
        """Return a part as an array or tensor, for an index of slices."""
        ...


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
        pooling, activations, normalization over channels. What depends on more than a part of
        the image is refused: batch normalization in training, attention, global pooling.
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
        Whether the first training step compares patches with the whole output, which finds
        stems that look further than their geometry says.
    generator
        Source of the mask's random numbers; default is torch's global generator.

    Raises
    ------
    UsageError
        For arguments outside their range.

    Notes
    -----
    Modules in the stem run once more for each group of patches, their forward hooks too. Random
    layers (dropout) can't repeat their draws on a part of the image and are refused. After an
    in-place change of the images no gradient can be computed, as everywhere in PyTorch.
    """

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
        check_probability(p)
        for name, value in (("keep", keep), ("tile", tile)):
            if value is not None and (isinstance(value, bool) or value < 1):
                raise UsageError(f"{name} is {value!r}", "give a whole number of at least 1")
        if dims is not None and (isinstance(dims, int) or len(dims) == 0):
            raise UsageError(f"dims is {dims!r}", "give a sequence of dimensions, like (2, 3)")
        self.stem = stem
        self.p = p
        self.dims = None if dims is None else tuple(dims)
        self.per_sample = per_sample
        self.keep = keep
        self.tile = tile
        self.check = check
        self.generator = generator
        self.last_mask: Tensor | None = None
        """Boolean, where the last training step's gradient passed: the mask's own shape."""
        self._geometry: dict[tuple[int, ...], StemGeometry] = {}

    def extra_repr(self) -> str:
        """Return the settings for `repr`."""
        chosen = f"p={self.p}" if self.keep is None else f"keep={self.keep}"
        return f"{chosen}, dims={self.dims}, per_sample={self.per_sample}, tile={self.tile}"

    def forward(self, images: Tensor | ImageSource) -> Tensor:
        """Return the stem's output, ``(sample, channel, *axes)``.

        Parameters
        ----------
        images
            ``(sample, channel, *axes)``: a tensor, or what is read part by part (`ImageSource`),
            such as a Zarr array; then `tile` must be given.
        """
        if not isinstance(images, Tensor) and self.tile is None:
            raise UsageError(
                f"images are {type(images).__name__}, no tensor", "give tile= to read them by parts"
            )
        if not 3 <= len(images.shape) <= 5:
            raise UsageError(
                f"images have shape {tuple(images.shape)}",
                "give (sample, channel, *axes) with one to three axes",
            )
        learning = self.training and torch.is_grad_enabled()
        if self.tile is None and not learning:
            plain: Tensor = self.stem(images)
            return plain
        geometry = self._geometry_of(images.shape)
        reader = _Reader(images, self.stem)
        before = _versions(self.stem, images)
        random_state = torch.get_rng_state()
        masks = _InnerMasks(self.stem, geometry)
        with torch.no_grad(), masks.drawn(self.tile is not None):
            output = self.stem(images) if self.tile is None else self._tiled(reader, geometry)
        if not learning:
            return output
        drew = not torch.equal(random_state, torch.get_rng_state())
        _check_unchanged(before, _versions(self.stem, images))
        if output.numel() == 0:
            raise UsageError(
                f"the stem's output is empty, shape {tuple(output.shape)}",
                "leave empty batches out of the training loop",
            )
        if self.check:
            with masks.ignored():
                self._check_patches(reader, output, geometry, drew)
            self.check = False
        scale = self._draw(output)
        self.last_mask = scale != 0
        plan = _Plan(self.stem, geometry, reader, masks, scale, tuple(output.shape))
        plan.warn_if_dense()
        parameters = [p for p in self.stem.parameters() if p.requires_grad]
        leaf = images if isinstance(images, Tensor) and images.requires_grad else None
        result: Tensor = _SparseGradient.apply(plan, output, leaf, *parameters)  # type: ignore[no-untyped-call]
        return result

    def _geometry_of(self, shape: Sequence[int]) -> StemGeometry:
        key = tuple(shape[1:])
        if key not in self._geometry:
            self._geometry[key] = stem_geometry(self.stem, key[0], key[1:])
        return self._geometry[key]

    def _draw(self, output: Tensor) -> Tensor:
        """Draw the factors of the gradient: zero where it is blocked."""
        dims = range(2, output.ndim) if self.dims is None else self.dims
        axes = tuple(sorted(dim % output.ndim for dim in dims if -output.ndim <= dim < output.ndim))
        if len(set(axes)) != len(dims) or 1 in axes:
            raise UsageError(
                f"dims {tuple(dims)} name the channels, a dimension that the output does not "
                "have, or one twice",
                "name the samples (0) and spatial axes",
            )
        if self.keep is None:
            return draw_mask(output, self.p, axes, self.per_sample, self.generator)
        lead = output.shape[0] if self.per_sample and axes[0] != 0 else 1
        sizes = [output.shape[axis] for axis in axes]
        count = math.prod(sizes)
        if self.keep > count:
            raise UsageError(
                f"keep is {self.keep}, a mask has {count} positions", f"keep at most {count}"
            )
        uniform = draw_uniform((lead, count), output.device, self.generator)
        chosen = uniform.topk(self.keep, dim=1).indices
        like = torch.promote_types(output.dtype, torch.float32)
        scale = torch.zeros(lead, count, device=output.device, dtype=like)
        scale.scatter_(1, chosen, count / self.keep)
        shape = [n if axis in axes else 1 for axis, n in enumerate(output.shape)]
        if axes[0] != 0:
            shape[0] = lead
        return scale.reshape(shape)

    def _tiled(self, reader: _Reader, geometry: StemGeometry) -> Tensor:
        """Return the stem's output, computed in parts."""
        assert self.tile is not None  # noqa: S101 - narrows the type
        tile = self.tile
        sizes = _output_sizes(self.stem, reader, geometry)
        steps = [max(1, int(tile / stride)) for stride in geometry.field.stride]
        grid = [
            [slice(low, min(low + step, n)) for low in range(0, n, step)]
            for n, step in zip(sizes, steps, strict=True)
        ]
        output: Tensor | None = None
        for sample in range(reader.shape[0]):
            for box in itertools.product(*grid):
                patch = geometry.patch(box, reader.shape[2:])
                values = self.stem(reader.read(sample, patch.pixels))[_over(patch.local)]
                if output is None:
                    output = values.new_empty((reader.shape[0], values.shape[1], *sizes))
                output[sample : sample + 1][_over(box)] = values
        assert output is not None  # noqa: S101 - narrows the type
        return output

    def _check_patches(
        self, reader: _Reader, output: Tensor, geometry: StemGeometry, drew: bool
    ) -> None:
        """Compare the output at edges and in the middle with that of patches."""
        places = [[slice(i, i + 1) for i in sorted({0, n // 2, n - 1})] for n in output.shape[2:]]
        tolerance = {torch.float64: 1e-9, torch.float32: 1e-4}.get(output.dtype, 3e-2)
        for box in itertools.product(*places):
            here = output[:1][_over(box)]
            patch = geometry.patch(box, reader.shape[2:])
            try:
                with torch.no_grad():
                    there: Tensor = self.stem(reader.read(0, patch.pixels))[_over(patch.local)]
            except (RuntimeError, ValueError) as error:
                raise UsageError(
                    f"the stem fails on the part of the image that output position "
                    f"{[s.start for s in box]} sees: {error}",
                    "put layers that need more than that behind the stem, after the mask",
                ) from error
            largest = output[0].abs().amax().clamp(min=torch.finfo(output.dtype).tiny)
            if there.shape != here.shape or bool((there - here).abs().amax() > tolerance * largest):
                raise UsageError(
                    f"at output position {[s.start for s in box]} the stem gives other values for "
                    "the part of the image that this position sees"
                    + (": it draws random numbers" if drew else ""),
                    "put dropout, normalization over the image or batch, and circular padding "
                    "behind the stem, after the mask (freeze batch normalization in eval mode)",
                )


class _Reader:
    """Reads parts of a batch of images to the stem's device and dtype."""

    def __init__(self, images: Tensor | ImageSource, stem: nn.Module) -> None:
        self.images = images
        self.shape = tuple(images.shape)
        self._like = next(iter(stem.parameters()), torch.empty(0))

    def read(self, sample: int, pixels: Box) -> Tensor:
        """Return a part of one sample with its channels: (1, channel, *axes)."""
        part = self.images[(slice(sample, sample + 1), slice(None), *pixels)]
        if isinstance(self.images, Tensor):
            return part.detach().clone()  # a stem may begin in place
        return torch.as_tensor(part).to(self._like)


def _over(box: Box) -> tuple[slice, ...]:
    """Return an index of these positions in every sample and channel."""
    return (slice(None), slice(None), *box)


def _output_sizes(stem: nn.Module, reader: _Reader, geometry: StemGeometry) -> tuple[int, ...]:
    """Return the output's positions along each axis, from strips that are as long as the image."""
    sizes = []
    narrow = [
        min(n, -(-(2 * size + align) // align) * align)
        for n, size, align in zip(
            reader.shape[2:], geometry.field.size, geometry.align, strict=True
        )
    ]
    for axis, n in enumerate(reader.shape[2:]):
        # The number of positions is that of a shorter image, and one more for each stride.
        align, stride = geometry.align[axis], geometry.field.stride[axis]
        spare = max(0, n - narrow[axis]) // align
        strip = [slice(0, w) for w in narrow]
        strip[axis] = slice(0, n - spare * align)
        sizes.append(
            stem(reader.read(0, tuple(strip))).shape[2 + axis] + int(spare * align / stride)
        )
    return tuple(sizes)


def _versions(stem: nn.Module, images: object) -> list[tuple[str, int]]:
    """Return how often each buffer of a stem, and the images, were changed in place."""
    found = [(f"buffer {name!r}", buffer._version) for name, buffer in stem.named_buffers()]
    return [*found, ("images", images._version)] if isinstance(images, Tensor) else found


def _check_unchanged(before: list[tuple[str, int]], after: list[tuple[str, int]]) -> None:
    for (name, old), (_, new) in zip(before, after, strict=True):
        if old == new:
            continue
        if name == "images":
            raise UsageError(
                "the stem changes the images in place, and patches are read from them again",
                "let the stem's first layer work out of place (inplace=False)",
            )
        raise UsageError(
            f"a forward pass in training changes the {name} of the stem, as batch normalization "
            "does, so a patch alone would not give the same values",
            "set such layers to eval mode, use a normalization over channels, or put them behind "
            "the mask",
        )


@dataclass(frozen=True)
class _Entry:
    """One surviving entry of the mask: a sample, its positions, and the factor's index."""

    sample: int
    box: Box
    patch: Patch


class _InnerMasks:
    """The masks inside a stem: drawn for whole images, then cut out for patches."""

    def __init__(self, stem: nn.Module, geometry: StemGeometry) -> None:
        self._masks = {
            name: mask for name, mask in masks_of(stem).items() if mask.training and mask.p
        }
        self._geometry = geometry
        self._factors: dict[str, Tensor | None] = {}

    @contextmanager
    def drawn(self, by_parts: bool) -> Iterator[None]:
        """Draw each mask while the stem runs on whole images."""
        if by_parts and self._masks:
            raise UsageError(
                f"the stem has a mask inside, {next(iter(self._masks))!r}, and runs by parts",
                "leave tile= out, or put one mask behind the stem",
            )

        def draw(name: str, mask: Backdrop, values: Tensor) -> Tensor:
            self._factors[name] = mask.factors(values)
            return values

        with self._replaced(draw):
            yield

    @contextmanager
    def ignored(self) -> Iterator[None]:
        """Let the masks pass everything."""
        with self._replaced(lambda name, mask, values: values):  # noqa: ARG005
            yield

    @contextmanager
    def of(self, group: Sequence[_Entry]) -> Iterator[None]:
        """Mask a group of patches as they were masked in the images."""

        def cut(name: str, mask: Backdrop, values: Tensor) -> Tensor:  # noqa: ARG001
            whole = self._factors[name]
            if whole is None:
                return values
            parts = []
            for entry in group:
                where = [slice(entry.sample, entry.sample + 1), slice(None)]
                strides = self._geometry.inner[name]
                for pixels, stride, n in zip(
                    entry.patch.pixels, strides, values.shape[2:], strict=True
                ):
                    start = int(pixels.start / Fraction(stride))
                    where.append(slice(start, start + n))
                # A dimension that the mask doesn't vary over has one entry, for all.
                sizes = whole.shape
                where = [w if n > 1 else slice(0, 1) for w, n in zip(where, sizes, strict=True)]
                parts.append(whole[tuple(where)])
            return masked_identity(values, torch.cat(parts))

        with self._replaced(cut):
            yield

    @contextmanager
    def _replaced(self, stand_in: Callable[[str, Backdrop, Tensor], Tensor]) -> Iterator[None]:
        with ExitStack() as stack:
            for name, mask in self._masks.items():
                stack.enter_context(mask.replaced(partial(stand_in, name, mask)))
            yield


class _Plan:
    """What a backward pass must compute."""

    def __init__(
        self,
        stem: nn.Module,
        geometry: StemGeometry,
        reader: _Reader,
        masks: _InnerMasks,
        scale: Tensor,
        output_shape: tuple[int, ...],
    ) -> None:
        self.stem, self.geometry, self.reader, self.masks = stem, geometry, reader, masks
        self.scale = scale
        self.output_shape = output_shape
        self.autocast = _autocast_as_now(scale.device.type)

    def entries(self) -> Iterator[_Entry]:
        """Yield what survives, sample by sample."""
        samples, _, *axes = self.scale.shape
        for sample, _, *place in torch.nonzero(self.scale).tolist():
            box = tuple(
                slice(i, i + 1) if size > 1 or n == 1 else slice(0, n)
                for i, size, n in zip(place, axes, self.output_shape[2:], strict=True)
            )
            patch = self.geometry.patch(box, self.reader.shape[2:])
            for one in range(self.output_shape[0]) if samples == 1 else (sample,):
                yield _Entry(one, box, patch)

    def groups(self) -> Iterator[list[_Entry]]:
        """Yield entries whose patches have one size, few enough to fit a part of the memory."""
        alike: dict[tuple[tuple[int, ...], ...], list[_Entry]] = defaultdict(list)
        for entry in self.entries():
            pixels = tuple(p.stop - p.start for p in entry.patch.pixels)
            local = tuple(edge for p in entry.patch.local for edge in (p.start, p.stop))
            alike[pixels, local].append(entry)
        whole = self.output_shape[0] * math.prod(self.reader.shape[2:])
        for (pixels, _), entries in alike.items():
            together = max(1, whole // _PARTS // math.prod(pixels))
            for low in range(0, len(entries), together):
                yield entries[low : low + together]

    def warn_if_dense(self) -> None:
        """Warn once where patches hold more pixels than the images."""
        pixels = sum(
            math.prod(p.stop - p.start for p in entry.patch.pixels) for entry in self.entries()
        )
        whole = self.output_shape[0] * math.prod(self.reader.shape[2:])
        if pixels >= whole:
            warnings.warn(
                f"the surviving patches hold {pixels / whole:.1f} times the pixels of the images: "
                "Backdrop behind the stem is cheaper; use a larger p, keep=, or a stem with "
                "kernels that overlap less",
                SparseBackwardWarning,
                stacklevel=4,
            )


_PARTS = 20
"""The pixels of patches that are computed together are at most this part of the batch's."""


class _SparseGradient(torch.autograd.Function):
    """Hands on an output; its backward pass runs the stem on the patches that survive."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        plan: _Plan,
        output: Tensor,
        images: Tensor | None,
        *parameters: Tensor,
    ) -> Tensor:
        ctx.plan = plan
        ctx.parameters = parameters
        ctx.has_images = images is not None
        if isinstance(plan.reader.images, Tensor):
            ctx.save_for_backward(plan.reader.images)
        return output.detach()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        plan: _Plan = ctx.plan
        ctx.saved_tensors  # noqa: B018 - raises if the images were changed since
        totals: list[Tensor | None] = [None] * len(ctx.parameters)
        image_gradient = None
        if ctx.has_images:
            image_gradient = torch.zeros_like(ctx.saved_tensors[0])
        factors = plan.scale.expand(plan.output_shape[0], 1, *plan.output_shape[2:])
        for group in plan.groups():
            parts = [plan.reader.read(e.sample, e.patch.pixels) for e in group]
            places = [(slice(e.sample, e.sample + 1), slice(None), *e.box) for e in group]
            upstream = torch.cat(
                [(grad_output[w] * factors[w]).to(grad_output.dtype) for w in places]
            )
            patches = torch.cat(parts).requires_grad_(ctx.has_images)
            with torch.enable_grad(), plan.autocast, plan.masks.of(group):
                # Not the leaf itself, which a stem may not change in place.
                start = patches.view_as(patches) if ctx.has_images else patches
                values = plan.stem(start)[_over(group[0].patch.local)]
            wanted = [*ctx.parameters, patches] if ctx.has_images else list(ctx.parameters)
            found = list(torch.autograd.grad(values, wanted, upstream, allow_unused=True))
            if image_gradient is not None:
                of_patches = found.pop()
                if of_patches is not None:
                    for e, gradient in zip(group, of_patches, strict=True):
                        one = image_gradient[e.sample : e.sample + 1]
                        one[_over(e.patch.pixels)] += gradient
            for k, gradient in enumerate(found):
                if gradient is not None:
                    totals[k] = gradient if totals[k] is None else totals[k].add_(gradient)  # type: ignore[union-attr]
        return (None, None, image_gradient, *totals)


def _autocast_as_now(device: str) -> AbstractContextManager[Any]:
    """Return a context with the precision that is set now."""
    if not torch.is_autocast_enabled(device):
        return nullcontext()
    return torch.autocast(device, dtype=torch.get_autocast_dtype(device))
