"""What an index means: what it means to NumPy, but that a single boolean is none.

Of an index, the part for the first axis is worked out here, so that only those samples are read;
all else is left to NumPy.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from gpgen.errors import SampleIndexError

__all__ = ["from_zero", "sample_index", "sample_indices", "samples_of_key"]

Numbers = npt.NDArray[np.int64]


def sample_index(index: object, n: int, what: str = "the dataset") -> int:
    """Return the number from 0 to n - 1 that one index stands for."""
    array = _whole_numbers(index)
    if array.ndim:
        raise _refusal(index, "use one whole number")
    return int(_from_start(array, n, what))


def sample_indices(indices: object, n: int, what: str = "the dataset") -> Numbers:
    """Return the numbers from 0 to n - 1 that a sequence of indices, or a mask, stands for."""
    array = _whole_numbers(indices)
    if array.ndim != 1:
        raise _refusal(indices, "use whole numbers in one dimension, or a mask")
    return _from_start(_where(array, (n,))[0] if array.dtype == bool else array, n, what)


def from_zero(indices: object) -> Numbers:
    """Return whole numbers from 0, without an end: what samples of a recipe are counted by."""
    array = _whole_numbers(indices)
    if array.dtype == bool:
        raise _refusal(indices, "use whole numbers from 0")
    outside = array[(array < 0) | (array >= 2**63)]
    if outside.size:
        raise SampleIndexError(f"sample {outside.flat[0]} is out of range", "count from 0")
    return array.astype(np.int64)


def samples_of_key(key: object, shape: tuple[int, ...]) -> tuple[Numbers, tuple[Any, ...]]:
    """Divide what indexes an array whose first axis counts samples.

    Parameters
    ----------
    key
        Anything that indexes a NumPy array.
    shape
        The array's.

    Returns
    -------
    samples
        Which samples to read, one after the other.
    rest
        What indexes the array of those samples to the same result.

    Raises
    ------
    SampleIndexError
        If it indexes no array of that shape.
    """
    parts: list[Any] = [_part(part) for part in (key if isinstance(key, tuple) else (key,))]
    place = _first_axis(parts, len(shape))
    part = parts[place] if place < len(parts) else Ellipsis
    try:
        if part is Ellipsis:
            samples = np.arange(shape[0], dtype=np.int64)
        elif isinstance(part, slice):
            samples = np.arange(*part.indices(shape[0]), dtype=np.int64)
            parts[place] = slice(None)
        else:
            if part.dtype == bool:
                parts[place : place + 1] = _where(part, shape)
            numbers = _from_start(parts[place], shape[0], "the dataset")
            others = parts[:place] + parts[place + 1 :]
            if numbers.ndim == 1 and not any(isinstance(other, np.ndarray) for other in others):
                samples, parts[place] = numbers, slice(None)
            else:
                samples, inverse = np.unique(numbers, return_inverse=True)
                parts[place] = inverse.reshape(numbers.shape)
        # Refused before anything is read.
        _ = np.broadcast_to(np.int8(0), (len(samples), *shape[1:]))[tuple(parts)]
    except SampleIndexError:
        raise
    except (IndexError, TypeError) as error:
        raise SampleIndexError(f"{error}", f"the shape is {shape}") from None
    return samples, tuple(parts)


def _whole_numbers(values: object) -> npt.NDArray[Any]:
    """Return an array of integers or a mask, as NumPy takes it for an index.

    Raises
    ------
    SampleIndexError
        If it is neither, or a single boolean.
    """
    try:
        array = np.asarray(values)
        if array.dtype != bool and not np.issubdtype(array.dtype, np.integer):
            array = _integers(values, array)
    except (TypeError, ValueError):
        raise _refusal(values) from None
    one = array.ndim == 0 and array.dtype == bool
    if one or (array.dtype != bool and _has_boolean(values)):
        raise _refusal(values)
    return array


def _integers(values: object, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return numbers that NumPy doesn't take for integers: none, or too large for one type."""
    if hasattr(values, "dtype") and array.dtype != object:
        raise TypeError
    objects = np.asarray(values, dtype=object)
    numbers = [operator.index(value) for value in objects.flat]
    return np.array(numbers, object if numbers else np.int64).reshape(objects.shape)


def _has_boolean(values: object) -> bool:
    return isinstance(values, list | tuple) and any(isinstance(v, bool | np.bool_) for v in values)


def _part(part: object) -> Any:  # noqa: ANN401
    """Return all but None, Ellipsis and slices as an array."""
    plain = part is None or part is Ellipsis or isinstance(part, slice)
    return part if plain else _whole_numbers(part)


def _first_axis(parts: list[Any], ndim: int) -> int:
    """Return the place of the part that the first axis is chosen by, or the number of parts."""
    taken = 0
    for part in parts:
        if isinstance(part, np.ndarray):
            taken += part.ndim if part.dtype == bool else 1
        else:
            taken += isinstance(part, slice)
    for place, part in enumerate(parts):
        if part is not None and (part is not Ellipsis or taken < ndim):
            return place
    return len(parts)


def _where(mask: npt.NDArray[Any], shape: tuple[int, ...]) -> tuple[npt.NDArray[Any], ...]:
    if mask.shape != shape[: mask.ndim]:
        raise SampleIndexError(
            f"a mask of shape {mask.shape} does not fit the shape {shape}",
            f"use one boolean for each of {shape[0]} samples",
        )
    return mask.nonzero()


def _from_start(array: npt.NDArray[Any], n: int, what: str) -> Numbers:
    """Count negative numbers from the end, and refuse those beyond it."""
    # Compared before it is converted: 2**64 - 1 as int64 is -1, the last sample.
    outside = array[(array < -n) | (array >= n)]
    if outside.size:
        raise SampleIndexError(
            f"sample {outside.flat[0]} is out of range",
            f"use 0 to {n - 1}: {what} has {n} samples" if n else f"{what} has no samples",
        )
    numbers = array.astype(np.int64)
    return np.where(numbers < 0, numbers + n, numbers)


def _refusal(
    key: object, hint: str = "use whole numbers, slices, or masks of booleans"
) -> SampleIndexError:
    return SampleIndexError(f"{repr(key)[:60]} is no index of samples", hint)
