"""What an archive in the form of Zenodo record 1252464 holds, and where in its zips."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from gpgen.errors import Argument, UsageError
from gpgen.exact.mosaic import texture
from gpgen.exact.texture import length_scale_name
from gpgen.golkar2018.gp_writing import write_gp
from gpgen.golkar2018.npy_header import HEADER_BYTES
from gpgen.golkar2018.texture_sums import Cross
from gpgen.io.zip_writing import ZipLayout

__all__ = ["AUTHORS_CROSS", "AUTHORS_SAMPLES", "ArchivePlan", "parse_plan", "sample_name"]

AUTHORS_SAMPLES: Final = ((9.5, 50), (10.0, 50), (60.0, 4), (80.0, 50), (140.0, 50), (200.0, 4))
"""Length-scales in pixels, and how many samples of each the record of 2018 has."""

AUTHORS_CROSS: Final = Cross(((9.5, 10.0), (80.0, 140.0)), (0.75, 1.25))
"""The dataset of the paper."""

MOST_SAMPLES: Final = 1024
"""Of one length-scale: the 2018 program looks for no more."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ArchivePlan:
    """An archive: its samples, its crosses and its seed. Nothing is written here.

    Parameters
    ----------
    samples
        Pairs of a length-scale in pixels and the number of its samples.
    crosses
        The datasets made from the samples.
    size
        Pixels along each side of an image.
    seed
        The root seed; a sample depends on it, its length-scale, its number and the size alone.

    Raises
    ------
    UsageError
        If a length-scale can't be drawn in this size, or a cross has no samples.
    """

    samples: tuple[tuple[float, int], ...] = AUTHORS_SAMPLES
    crosses: tuple[Cross, ...] = (AUTHORS_CROSS,)
    size: int = 1024
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.samples or len(dict(self.samples)) < len(self.samples):
            raise UsageError(
                "an archive needs samples, and each length-scale once",
                f"use {Argument.SAMPLES}, such as 50 of 9.5 px",
            )
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed} is out of range", "use 0 to 2**64 - 1")
        for length_scale, count in self.samples:
            if not 1 <= count <= MOST_SAMPLES:
                raise UsageError(
                    f"{count} samples of {length_scale} px can't be kept",
                    f"use 1 to {MOST_SAMPLES}",
                )
            if not length_scale < 1e6 or length_scale != round(length_scale, 9):
                raise UsageError(f"length-scale {length_scale} can't be part of a file's name")
            texture(length_scale, self.size)
        for cross in self.crosses:
            if not cross.images_per_class(dict(self.samples)):
                base = len(cross.length_scales[0])
                fewest = base ** (len(cross.length_scales) - 1)
                raise UsageError(
                    f"{cross.name} needs at least {fewest} samples of each of its length-scales",
                    f"raise {Argument.SAMPLES} or leave out the cross",
                )
        if len({cross.name for cross in self.crosses}) < len(self.crosses):
            raise UsageError("a cross is asked for twice", "give each once")

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> ArchivePlan:
        """Read what `to_dict` wrote."""
        crosses = tuple(
            Cross(tuple(map(tuple, c["length_scales"])), tuple(c["weights"]))
            for c in fields["crosses"]
        )
        samples = tuple((float(v), int(n)) for v, n in fields["samples"])
        return cls(samples, crosses, operator.index(fields["size"]), operator.index(fields["seed"]))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain values that JSON can hold."""
        return asdict(self)

    @cached_property
    def members(self) -> tuple[tuple[float, int], ...]:
        """The samples in the order of ``samples.zip``: length-scale and number from 0."""
        return tuple((v, number) for v, count in self.samples for number in range(count))

    @cached_property
    def samples_zip(self) -> ZipLayout:
        """The places of the samples."""
        nbytes = HEADER_BYTES + 8 * self.size * self.size
        return ZipLayout([(sample_name(self.size, v, n), nbytes) for v, n in self.members])

    @cached_property
    def dataset_zip(self) -> ZipLayout:
        """The places of the crosses."""
        return ZipLayout([(f"gp-crosses/{c.name}.gp", self._gp_size(c)) for c in self.crosses])

    @property
    def nbytes(self) -> int:
        """Bytes of the zips."""
        return self.samples_zip.size + (self.dataset_zip.size if self.crosses else 0)

    @property
    def images(self) -> int:
        """How many images the crosses have together."""
        counts = dict(self.samples)
        return sum(c.class_count * c.images_per_class(counts) for c in self.crosses)

    def sample(self, length_scale: float, number: int) -> Array:
        """Draw one sample: float64 of shape (size, size), mean 0, standard deviation 1."""
        (bits,) = np.array([length_scale]).view(np.uint64).tolist()
        sequence = np.random.SeedSequence(self.seed, spawn_key=(bits, number))
        seed = int(sequence.generate_state(1, np.uint64)[0])
        return texture(length_scale, self.size).standardized(seed)

    def _gp_size(self, cross: Cross) -> int:
        """Return the length of a ``.gp`` file, by writing one of zeros to nowhere."""
        per_class = cross.images_per_class(dict(self.samples))
        blank = np.zeros((self.size, self.size), dtype=np.float32)
        count = per_class * cross.class_count
        pairs = ((blank, number % cross.class_count) for number in range(count))
        nowhere = _Counter()
        write_gp(nowhere, pairs, count, dict(enumerate(cross.classes)))
        return nowhere.nbytes


def parse_plan(
    samples: Sequence[str],
    crosses: Sequence[str],
    weights: str,
    *,
    size: int = 1024,
    seed: int = 0,
) -> ArchivePlan:
    """Read a plan from texts.

    Parameters
    ----------
    samples
        Length-scales and counts like ``9.5=50``; none for the record's own.
    crosses
        Lists like ``9.5-10+80-140``; none for the paper's, if there are samples of all four.
    weights
        A number for each list of a cross, like ``0.75,1.25``.
    size, seed
        As for `ArchivePlan`.

    Raises
    ------
    UsageError
        For anything else.
    """
    wanted = tuple(map(_parse_samples, samples)) or AUTHORS_SAMPLES
    numbers = tuple(_parse_number(part, "weight") for part in weights.split(","))
    parsed = tuple(Cross.parse(text, numbers) for text in crosses)
    if not crosses and AUTHORS_CROSS.images_per_class(dict(wanted)):
        parsed = (Cross(AUTHORS_CROSS.length_scales, numbers),)
    return ArchivePlan(wanted, parsed, size, seed)


def _parse_samples(text: str) -> tuple[float, int]:
    scale, _, count = text.partition("=")
    if not count.isdecimal():
        raise UsageError(f"samples are given as {text!r}", "write them like 9.5=50")
    return _parse_number(scale, "length-scale"), int(count)


def _parse_number(text: str, what: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UsageError(f"{what} {text!r} isn't a number", "write it like 9.5") from None


def sample_name(size: int, length_scale: float, number: int) -> str:
    """Return a sample's path in ``samples.zip``; the authors count versions from 1."""
    version = number + 1
    return f"gp-samples/final_size-{size}_corr-{length_scale_name(length_scale)}_v{version}.npy"


class _Counter:
    """A stream that only counts."""

    def __init__(self) -> None:
        self.nbytes = 0

    def write(self, data: bytes | memoryview, /) -> int:
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        self.nbytes += size
        return size
