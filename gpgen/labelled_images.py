"""What formats and readers ask of a dataset's description, whatever its images are made from."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import LengthScale
from gpgen.splits import ComputedSplit, Split, split_codes
from gpgen.whole_numbers import whole_number

__all__ = ["LabelledImages", "samples_from"]


class LabelledImages:
    """Images of one shape in classes and splits: the base of `Recipe` and of `Imported`.

    Both are frozen msgspec structs, stored by `to_dict` and identified by `sha256`.

    Attributes
    ----------
    name
        What the images are called.
    shape
        Pixels of each axis.
    dtype
        The pixels' type.
    splits
        Names and fractions of the parts of the dataset. Classes are balanced in each.
    """

    __slots__ = ()
    __struct_fields__: ClassVar[tuple[str, ...]]
    name: str
    shape: tuple[int, ...]
    dtype: str
    splits: dict[str, float]

    # What each kind says itself

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes' names, by label."""
        raise NotImplementedError

    def length_scales_of(self, label: int, seed: int | None = None) -> tuple[LengthScale, ...]:
        """Return each component's length-scale in pixels.

        Parameters
        ----------
        label
            The class.
        seed
            The sample's seed, from which length-scales are drawn if the recipe says so.
        """
        raise NotImplementedError

    def weights_of(self, seed: int) -> tuple[float, ...]:  # noqa: ARG002
        """Return each component's weight in the sample of a seed; empty if it isn't known."""
        return ()

    def to_toml(self) -> str:
        """Return the description as TOML, to be kept beside the dataset."""
        raise NotImplementedError

    # What follows

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values that JSON can hold."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        plain: dict[str, Any] = json.loads(json.dumps(msgspec.to_builtins(fields)))
        return plain

    @property
    def sha256(self) -> str:
        """SHA-256 of the canonical form: JSON, sorted keys, no spaces, defaults left out.

        Leaving the defaults out keeps today's hashes when descriptions learn a new field. The
        splits are a list, since their order matters.
        """
        # Not msgspec's omit_defaults, which compares by identity: a string that was pickled or
        # put together is not the default's object, and the hash would change on a worker.
        struct: Any = self
        defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
        fields = {name: v for name, v in self.to_dict().items() if v != defaults[name]}
        fields["splits"] = list(self.splits.items())
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The pixels' type, little-endian."""
        return np.dtype(self.dtype).newbyteorder("<")

    @property
    def image_nbytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape) * self.numpy_dtype.itemsize

    @property
    def class_count(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    def label_of(self, index: int) -> int:
        """Return the label of a sample: its index modulo the number of classes."""
        return whole_number("index", index) % self.class_count

    def labels(self, start: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the labels of samples start..stop-1."""
        return samples_from(start, stop) % self.class_count

    def length_scale_array(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """Return the length-scales of samples start..stop-1, in pixels.

        Returns
        -------
        ndarray of float64
            Shape (sample, component), or (sample, component, axis) if any component has one
            length-scale an axis.
        """
        scales = self.length_scale_table[self.labels(start, stop)]
        self.fill_drawn(scales, samples_from(start, stop))
        return scales

    @property
    def length_scale_table(self) -> npt.NDArray[np.float64]:
        """Each class's length-scales in pixels, shaped like `length_scale_array`, by label.

        NaN where each sample has its own.
        """
        table = [self.length_scales_of(label) for label in range(self.class_count)]
        if any(isinstance(scale, tuple) for scales in table for scale in scales):
            table = [tuple(self.per_axis(scale) for scale in scales) for scales in table]
        return np.array(table, dtype=np.float64)

    def fill_drawn(
        self, length_scales: npt.NDArray[np.float64], indices: npt.NDArray[np.int64]
    ) -> None:
        """Write those length-scales that samples have of their own; here there are none.

        Parameters
        ----------
        length_scales
            Shaped like `length_scale_array`: of each sample, from the table.
        indices
            The samples.
        """

    def per_axis(self, length_scale: LengthScale) -> tuple[float, ...]:
        """Return a length-scale as one number for each axis, in pixels."""
        if isinstance(length_scale, tuple):
            return length_scale
        return (length_scale,) * len(self.shape)

    def split_codes(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """Return the position in `splits` of the part that each of samples start..stop-1 is in.

        A group of one sample of each class stays together, and every prefix of the groups is
        divided as `splits` asks, to within a group for each split: the first split takes the
        groups at which its rounded share grows, the next the same of the others.
        """
        return split_codes(
            self.splits, self.class_count, whole_number("start", start), whole_number("stop", stop)
        )

    def split(self, name: str, n: int) -> Split:
        """Return which of the first n samples are in a split.

        Parameters
        ----------
        name
            A key of `splits`.
        n
            Number of samples.
        """
        return ComputedSplit.of(self.splits, name, self.class_count, n)

    def split_indices(self, name: str, n: int) -> npt.NDArray[np.int64]:
        """Return the indices of a split's samples among the first n, ascending."""
        split = self.split(name, n)
        return split.indices(np.arange(len(split), dtype=np.int64))


def samples_from(start: int, stop: int) -> npt.NDArray[np.int64]:
    """Return the indices start..stop-1.

    Raises
    ------
    UsageError
        If one is no whole number from 0.
    """
    return np.arange(whole_number("start", start), whole_number("stop", stop), dtype=np.int64)
