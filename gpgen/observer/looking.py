"""What an audit sees of a batch of images: all of them in passing, some of them closely."""

from __future__ import annotations

import hashlib
import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gpgen.exact.texture import Texture
from gpgen.observer.inverting import Inverse
from gpgen.observer.measures import Kinds, Measured, Measures, kinds_of
from gpgen.observer.pixel_measures import CHEAP_NAMES, cheap_measures, spread_pixels

__all__ = ["Looking", "Seen"]

Array = npt.NDArray[np.float64]
Images = npt.NDArray[Any]
Numbers = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]


class Seen(NamedTuple):
    """What was seen of some images.

    Parameters
    ----------
    hashes
        64 bits of a hash of up to some thousand of the pixels, shape (images,).
    largest, smallest
        The extreme pixels, shape (images,).
    values
        Cheap measures, shape (images, measures).
    kinds
        By label and what each component has drawn, the places among those measured closely.
    measured
        Those that were measured closely; None if none were.
    """

    hashes: Hashes
    largest: Images
    smallest: Images
    values: Array
    kinds: Kinds
    measured: Measured | None


class Looking:
    """Looks at images of a texture; may be used by several threads.

    Parameters
    ----------
    texture
        What they should be.
    """

    def __init__(self, texture: Texture) -> None:
        self._inverse = Inverse.of(texture)
        self.measures = Measures(self._inverse.texture)
        self._scale = math.sqrt(sum(c.moments[1] for c in texture.components))

    @property
    def texture(self) -> Texture:
        """What images are once invertible transforms are inverted."""
        return self._inverse.texture

    @property
    def cheap_names(self) -> tuple[str, ...]:
        """What each cheap measure is of."""
        return CHEAP_NAMES

    def look(self, images: Images, closely: Numbers, labels: Numbers, drawn: Numbers) -> Seen:
        """Look at images.

        Parameters
        ----------
        images
            Shape (images, *shape).
        closely
            The places of those to measure.
        labels
            Their labels.
        drawn
            Which of its alternatives each of their components is, shape (closely, components).
        """
        some = spread_pixels(images)
        digests = [hashlib.blake2b(each.tobytes(), digest_size=8).digest() for each in some]
        flat = images.reshape(len(images), -1)
        kinds = kinds_of(labels, drawn)
        measured = None
        if len(closely):
            every = len(closely) == len(images)
            field = self._inverse.field(images if every else images[closely])
            measured = self.measures.measure(field, kinds)
        return Seen(
            np.frombuffer(b"".join(digests), dtype=np.uint64),
            flat.max(axis=1),
            flat.min(axis=1),
            cheap_measures(images, some, self._scale),
            kinds,
            measured,
        )
