"""What kernels of other packages make of a texture: a hash that changes when their code does."""

from __future__ import annotations

import hashlib
import itertools
from functools import lru_cache

from gpgen.exact.convolved import ConvolvedField
from gpgen.exact.field_kinds import field_of
from gpgen.exact.stationary import STATIONARY
from gpgen.exact.texture import Texture

__all__ = ["offered_names", "roots_sha256"]


def offered_names(texture: Texture) -> tuple[str, ...]:
    """Return the kernels of other packages that a texture has."""
    names = dict.fromkeys(component.kernel for component in texture.components)
    return tuple(name for name in names if name not in STATIONARY)


@lru_cache(maxsize=64)
def roots_sha256(texture: Texture) -> str | None:
    """Return a hash of all that a texture's pixels have from kernels of other packages.

    A recipe says such a kernel's name, but not its code. What pixels are drawn with is its root,
    rounded to integers, which are built when a recipe is loaded and hashed here.

    Returns
    -------
    str or None
        SHA-256, hexadecimal, of the tori's sizes and the roots; None if all kernels are gpgen's.
    """
    names = offered_names(texture)
    if not names:
        return None
    digest = hashlib.sha256()
    for component in texture.components:
        if component.kernel not in names:
            continue
        for choice in itertools.chain(*component.choices):
            field = field_of(texture, component.kernel, *choice)
            assert isinstance(field, ConvolvedField)  # noqa: S101 - narrows the type
            torus = field.convolution.torus
            digest.update(f"{component.kernel} {torus.sizes}\n".encode())
            digest.update(torus.root.astype("<i8").tobytes())
    return digest.hexdigest()
