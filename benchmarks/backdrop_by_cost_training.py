"""What `benchmarks.backdrop_by_cost` trains: one network, ways to train it, costs of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from backdrop import SparseBackward
from backdrop.training import Examples
from backdrop.training.run import cropped

__all__ = ["Contender", "Network", "Trainer", "most_allocated", "waiting"]

LAYERS = ((5, 8), (3, 16), (3, 32), (3, 32), (3, 32))  # kernel, channels; all at stride 2


@dataclass(frozen=True)
class Contender:
    """A way to train the network: how its stem runs, and on how many images at once."""

    batch: int
    p: float = 0.0
    keep: int | None = None
    tile: int | None = None
    dropout: float = 0.0
    crop: float = 1.0
    checkpoint: bool = False


class Network(nn.Module):
    """A stem that sees 65 px at positions 32 px apart, averages, a linear layer."""

    def __init__(self, contender: Contender, classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 1
        for kernel, wider in LAYERS:
            layers += [nn.Conv2d(channels, wider, kernel, 2, kernel // 2), nn.ReLU()]
            channels = wider
        self.stem: nn.Module = nn.Sequential(*layers)
        self.norm = nn.BatchNorm1d(channels)
        self.dropout = nn.Dropout(contender.dropout)
        self.classify = nn.Linear(channels, classes)
        self.checkpoint = contender.checkpoint
        if contender.p or contender.keep:
            self.stem = SparseBackward(
                self.stem, contender.p, keep=contender.keep, tile=contender.tile
            )

    def forward(self, images: Tensor) -> Tensor:
        maps = images.contiguous(memory_format=torch.channels_last)
        if self.checkpoint and self.training:
            # Layer by layer nothing is saved: the first layer's maps are the largest by far.
            parts = [checkpoint(self.stem, one, use_reentrant=False) for one in maps.split(1)]
            maps = torch.cat(parts)
        else:
            maps = self.stem(maps)
        logits: Tensor = self.classify(self.dropout(self.norm(maps.mean((2, 3)))))
        return logits


class Trainer:
    """A network, and what trains it for a step on the next images, where these are."""

    def __init__(self, contender: Contender, examples: Examples, classes: int, seed: int) -> None:
        torch.manual_seed(seed)  # the same first weights for all; then masks and dropout
        self.contender, self.examples = contender, examples
        self.device = examples.image.device
        self.network = Network(contender, classes).to(self.device)
        if self.device.type == "cpu":
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.order = torch.Generator().manual_seed(seed)  # the images' own
        self.left = torch.empty(0, dtype=torch.int64)

    def batch(self) -> tuple[Tensor, Tensor]:
        size = self.contender.batch
        if len(self.left) < size:
            self.left = torch.randperm(len(self.examples.label), generator=self.order)
        chosen, self.left = self.left[:size].to(self.device), self.left[size:]
        images = self.examples.image[chosen]
        if self.contender.crop < 1:
            images = cropped(images, self.contender.crop, _generator(self.device))
        return images, self.examples.label[chosen]

    def learn(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.network(images), labels).backward()
        self.optimizer.step()

    def step(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.learn(*self.batch())


def _generator(device: torch.device) -> torch.Generator:
    """Return torch's global source of random numbers for a device."""
    if device.type == "cuda":
        return torch.cuda.default_generators[torch.cuda.current_device()]
    return torch.default_generator


def waiting(call: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """Return what calls, and on a GPU returns when all that was launched has been done."""

    def wait() -> None:
        call()
        torch.cuda.synchronize(device)

    return wait if device.type == "cuda" else call


def most_allocated(call: Callable[[], object], device: torch.device) -> int:
    """Return the most bytes that tensors hold during a call, beyond what they held before it."""
    if device.type == "cuda":
        waiting(lambda: None, device)()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        waiting(call, device)()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most
