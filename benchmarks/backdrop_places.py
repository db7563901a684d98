"""Where `backdrop.insert` puts masks in ten architectures, and how much they really block.

    python -m benchmarks.backdrop_places [--draws 20]

For each network of benchmarks.architectures: the layer behind which the mask
went, with its receptive field, and the fraction of the gradient that it blocks,
at that layer's output and at the input, measured in training steps and beside
what p says. At the layer that is p. At the input a pixel is blocked if all
positions that see it are, so with n of them p**n, averaged over the pixels; more
where activations and maximum pooling let only some of the n depend on it. Last,
what is refused or warned of.
"""

from __future__ import annotations

import argparse
import itertools
import math
import statistics
import warnings

import torch
from torch import nn

import backdrop
from backdrop.placing import Place
from benchmarks.architectures import ARCHITECTURES, FPN, ResNet
from gpgen.errors import UsageError


def implied(place: Place, shape: tuple[int, ...]) -> float:
    """Return the mean of p**n over the pixels, n being the number of positions that see one."""
    field = place.receptive_field
    counts = []
    for axis, side in enumerate(shape[1:]):
        seen = [0] * side
        for i in range(field.shape[axis]):
            first, last = field.span(*[i] * len(shape[1:]))[axis]
            for pixel in range(max(first, 0), min(last + 1, side)):
                seen[pixel] += 1
        counts.append(seen)
    numbers = [math.prod(ns) for ns in itertools.product(*counts)]
    return statistics.fmean(place.p**n for n in numbers if n)


def measured(
    model: nn.Module, place: Place, image: torch.Tensor, draws: int
) -> tuple[float, float]:
    """Return the fractions that the mask blocks at its own layer and at the input."""
    maps = []
    layer = model.get_submodule(place.layer)
    handle = layer.register_forward_hook(lambda *call: maps.append(call[2]), prepend=True)
    at_layer = []
    for seed in range(draws):
        torch.manual_seed(seed)
        output = model.train()(image)
        outputs = output.values() if isinstance(output, dict) else output
        loss = sum((t * torch.randn_like(t)).sum() for t in outputs)
        (gradient,) = torch.autograd.grad(loss, maps.pop())
        at_layer.append(float((gradient == 0).all(1).float().mean()))
    handle.remove()
    at_input = [backdrop.blocked_fraction(model, image, seed) for seed in range(draws)]
    return statistics.fmean(at_layer), statistics.fmean(at_input)


def row(name: str, draws: int) -> dict[str, object]:
    """Insert a mask into one architecture and measure it."""
    build, shape, scale, p = ARCHITECTURES[name]
    torch.manual_seed(0)
    model, (place,) = backdrop.insert(build(), {scale: p}, shape)
    at_layer, at_input = measured(model, place, torch.randn(4, *shape), draws)
    return {
        "network": name,
        "place": place,
        "shape": shape,
        "at_layer": at_layer,
        "at_input": at_input,
        "implied": implied(place, shape),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=20)
    arguments = parser.parse_args()
    print(
        "| network | wanted | mask after | field, stride | p | blocked there | at the input | p^n |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name in ARCHITECTURES:
        found = row(name, arguments.draws)
        place = found["place"]
        field = place.receptive_field
        print(
            f"| {name} | {place.length_scale:g} px | `{place.layer}` | "
            f"{field.size[0]}, {field.stride[0]} px | {place.p:g} | {found['at_layer']:.3f} | "
            f"{found['at_input']:.3f} | {found['implied']:.3f} |"
        )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, (place,) = backdrop.insert(ResNet(nn.BatchNorm2d), {27: 0.99}, (1, 128, 128))
    print(
        f"\nResNet with batch normalization: {place.blocked:.3f} at the input\n{caught[0].message}"
    )
    try:
        backdrop.insert(FPN(), {31: 0.99}, (1, 128, 128))
    except UsageError as error:
        print(f"\nFPN at 31 px: {error}")


if __name__ == "__main__":
    main()
