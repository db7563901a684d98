"""Images of one class: the one algorithm, whatever the array library.

Each component contributes rows still to be multiplied along the last axis, pixels, or both
(`gpgen.exact.field.Contribution`). The rows of all components, side by side, are multiplied in
one product, a block of the last axis at a time: a block stays in the cache until it is stored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gpgen.exact.arrays import Arrays, LibraryArray, round_samples
from gpgen.exact.axis_product import grid_below, loaded_matrix
from gpgen.exact.field import Contribution, Field
from gpgen.exact.field_kinds import field_of
from gpgen.exact.marginals import MARGINALS
from gpgen.exact.texture import Texture
from gpgen.exact.transformed_field import transformed

__all__ = ["JointBlock", "TextureClass"]


@dataclass(frozen=True)
class JointBlock:
    """Pixels ``start:stop`` of the last axis, from the components' columns, side by side."""

    start: int
    stop: int
    columns: tuple[slice, ...]
    matrix: LibraryArray
    """The library's array, shape (columns of all components, stop - start)."""


@dataclass(frozen=True)
class TextureClass:
    """A class, ready to be drawn; of one with drawn length-scales, the samples that share them.

    Parameters
    ----------
    texture
        What it is a class of.
    fields
        The components' fields.
    blocks
        The last axis.
    arrays
        Where it is drawn.
    """

    texture: Texture
    fields: tuple[Field, ...]
    blocks: tuple[JointBlock, ...]
    arrays: Arrays

    @classmethod
    def of(
        cls, texture: Texture, label: int, arrays: Arrays, drawn: tuple[int, ...] = ()
    ) -> TextureClass:
        """Build what drawing a class needs; factors shared by classes are built once.

        Parameters
        ----------
        texture, label
            The class.
        arrays
            Where it is drawn.
        drawn
            Which of its alternatives each component is (`Texture.drawn`); empty for the first.
        """
        positions = drawn or (0,) * len(texture.components)
        fields = tuple(
            transformed(field_of(texture, component.kernel, *choices[k]), component.transform)
            for component, choices, k in zip(
                texture.components, texture.chosen(label), positions, strict=True
            )
        )
        return cls(texture, fields, _joint_blocks(texture, fields, arrays), arrays)

    def draw(self, seeds: npt.NDArray[np.uint64], images: LibraryArray) -> float:
        """Draw samples.

        Parameters
        ----------
        seeds
            Each sample's seed, shape (samples,).
        images
            Where to write: the library's array, shape (samples, *texture.shape).

        Returns
        -------
        float
            A bound of the pixels' absolute values; infinity or NaN if none is known.
        """
        arrays, count = self.arrays, len(seeds)
        contributions = self.contributions(seeds)
        shift = sum((c.shift for c in contributions), np.zeros(count))
        added = [c for c in contributions if c.pixels is not None]
        parts = self._parts(count)
        lines = math.prod(images[parts[0]].shape[:-1])
        joined = arrays.empty((lines, max(b.matrix.shape[0] for b in self.blocks)))
        values = arrays.empty((lines, max(b.stop - b.start for b in self.blocks)))
        loaded_shift = arrays.load(shift).reshape(count, *(1,) * len(self.texture.shape))
        for where in parts:
            rows = [c.rows[where] for c in contributions if c.rows is not None]
            rows = [r.reshape(-1, r.shape[-1]) for r in rows]
            lines = math.prod(images[where].shape[:-1])
            for block in self.blocks:
                # Not images in lines: that would be a copy if they aren't contiguous.
                part = images[where][..., block.start : block.stop]
                within = (*where, ..., slice(block.start, block.stop))
                if rows:
                    side_by_side = joined[:lines, : block.matrix.shape[0]]
                    columns = [r[:, c] for r, c in zip(rows, block.columns, strict=True)]
                    arrays.concatenate(columns, axis=1, out=side_by_side)
                    pixels = values[:lines, : block.stop - block.start]
                    arrays.matmul(side_by_side, block.matrix, pixels)
                    pixels = pixels.reshape(part.shape)
                    if self.texture.standardize:
                        pixels -= loaded_shift
                    rest = added
                else:  # fields without rows have pixels of all samples, and no shift
                    pixels, rest = added[0].scaled_pixels(arrays, within), added[1:]
                for c in rest:
                    pixels[c.samples] += c.scaled_pixels(arrays, within)
                if self.texture.transform is not None:
                    pixels = self._transformed(pixels, seeds)
                arrays.store(pixels, part, self.texture.dtype)
        if added or self.texture.transform is not None:
            return math.inf
        return float(np.max(np.abs(shift) + sum(c.bound for c in contributions)))

    def _parts(self, count: int) -> list[tuple[slice, ...]]:
        """Divide images along their first axis, so that a block's pixels stay in the cache."""
        most = self.arrays.block_numbers
        if most is None or len(self.texture.shape) == 1:
            return [()]
        _, *further = self.texture.shape[:-1]
        height, width = self.texture.shape[0], max(b.stop - b.start for b in self.blocks)
        step = max(1, most // (count * math.prod(further) * width))
        return [(slice(None), slice(start, start + step)) for start in range(0, height, step)]

    def _transformed(self, pixels: LibraryArray, seeds: npt.NDArray[np.uint64]) -> LibraryArray:
        """Transform the sum, by NumPy: pixels of shape (samples, ...)."""
        assert self.texture.transform is not None  # noqa: S101 - narrows the type
        marginal = MARGINALS[self.texture.transform]
        values = self.arrays.to_numpy(pixels).astype(np.float64, copy=False)
        if not marginal.scales:
            variances = [math.fsum(w * w for w in row) for row in self.texture.weights(seeds)]
            deviations = np.sqrt(np.array(variances))
            values = values / deviations.reshape(-1, *(1,) * (values.ndim - 1))
        return self.arrays.load(marginal.apply(values))

    def contributions(self, seeds: npt.NDArray[np.uint64]) -> list[Contribution]:
        """Draw each component for some samples; rows are rounded to the grid of the sum."""
        texture = self.texture
        contributions = [
            field.draw(self.arrays, seeds, stream, weights, texture.standardize)
            for stream, (field, weights) in enumerate(
                zip(self.fields, texture.weights(seeds).T, strict=True)
            )
        ]
        bits = grid_below(sum((c.bound for c in contributions), np.zeros(len(seeds))))
        for contribution in contributions:
            if contribution.rows is not None:
                round_samples(self.arrays, contribution.rows, bits)
        return contributions


def _joint_blocks(
    texture: Texture, fields: tuple[Field, ...], arrays: Arrays
) -> tuple[JointBlock, ...]:
    factors = [field.last_factor for field in fields]
    matrices = [loaded_matrix(factor, arrays) for factor in factors if factor is not None]
    if not matrices:  # a product of no columns is zero
        width = texture.shape[-1]
        return (JointBlock(0, width, (), arrays.load(np.zeros((0, width)))),)
    return tuple(
        JointBlock(
            bands[0].start,
            bands[0].stop,
            tuple(slice(band.first, band.last) for band in bands),
            arrays.concatenate([band.matrix.T for band in bands], axis=0),
        )
        for bands in zip(*(matrix.bands for matrix in matrices), strict=True)
    )
