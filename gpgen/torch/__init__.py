"""Training on textures with PyTorch: from shards on disk, or from a recipe and no disk at all."""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401 - told now, in our words, rather than later in Python's
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    from gpgen.errors import MissingPackageError

    raise MissingPackageError(
        "gpgen.torch needs PyTorch, which is not installed",
        "install it with `pip install 'gpgen[torch]'`",
    ) from error

from gpgen.torch.datasets import TextureDataset
from gpgen.torch.device import sample_batch
from gpgen.torch.endless import EndlessTextures
from gpgen.torch.generated import GeneratedTextures
from gpgen.torch.shuffle import ShardShuffle

__all__ = [
    "EndlessTextures",
    "GeneratedTextures",
    "ShardShuffle",
    "TextureDataset",
    "sample_batch",
]
