"""What the layer costs, and how its masks compare with those of the 2018 code.

    python -m benchmarks.backdrop_layer cost
    python -m benchmarks.backdrop_layer masks --reference path/to/backdrop.py

``cost`` times forward and backward against nn.Dropout2d and nn.Dropout on the
same tensors, one thread, the three in turn so that a busy machine slows all of
them alike, and prints medians. ``masks`` prints how many positions each of
100,000 masks keeps, for this layer and for the authors' file of 2018
(repository golkar/backdrop, commit 5e42191), which it loads from where you put
it; tests/test_backdrop_masks_of_2018.py pins what it printed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch

from backdrop import Backdrop

SHAPES = [
    (8, 64, 128, 128),
    (8, 32, 128, 128),
    (8, 16, 128, 128),
    (8, 8, 128, 128),
    (32, 64, 32, 32),
    (32, 64, 16, 16),
    (16, 32, 8, 8),
]


def cost(repeats: int, device: str, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    layers = {
        "backdrop": Backdrop(0.5),
        "dropout2d": torch.nn.Dropout2d(0.5),
        "dropout": torch.nn.Dropout(0.5),
    }
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    if device == "cuda":
        print(f"torch {torch.__version__}, {torch.cuda.get_device_name()}")
    print(f"{'forward and backward, ms':24}" + "".join(f"{n:>12}" for n in layers) + "  memory")
    for shape in SHAPES:
        x = torch.randn(shape, device=device, requires_grad=True)
        gradient = torch.randn(shape, device=device)
        times: dict[str, list[float]] = {name: [] for name in layers}
        for repeat in range(repeats + 3):
            for name, layer in layers.items():
                x.grad = None
                wait()
                start = time.perf_counter()
                layer(x).backward(gradient)
                wait()
                if repeat >= 3:
                    times[name].append(1e3 * (time.perf_counter() - start))
        medians = "".join(f"{statistics.median(t):12.3f}" for t in times.values())
        kept = {name: saved_bytes(layer, x) for name, layer in layers.items()}
        print(f"{shape!s:24}{medians}  " + ", ".join(f"{n} {b}" for n, b in kept.items()))


def saved_bytes(layer: torch.nn.Module, x: torch.Tensor) -> int:
    """Return the bytes of new memory that the layer holds from forward to backward."""
    storages = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        y = layer(x)
    storages[y.untyped_storage().data_ptr()] = y.untyped_storage().nbytes()
    storages.pop(x.untyped_storage().data_ptr(), None)
    return sum(storages.values())


def masks(reference: Path, draws: int) -> None:
    spec = importlib.util.spec_from_file_location("reference", reference)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = {}
    for p in (0.5, 0.9):
        old = module.mask_mod(mask_prob=p, mask_dims=[2, 3])
        new = Backdrop(p, per_sample=False)
        for name, layer in (("2018", old), ("here", new)):
            torch.manual_seed(0)
            np.random.seed(0)  # noqa: NPY002  the 2018 code draws from it
            kept: Counter[int] = Counter()
            alone = torch.zeros(4, 4)
            mismatch = 0.0
            for _ in range(draws):
                x = torch.ones(1, 1, 4, 4, requires_grad=True)
                (gradient,) = torch.autograd.grad(layer(x).sum(), x)
                count = int((gradient != 0).sum())
                kept[count] += 1
                mismatch = max(mismatch, float(abs(gradient.max() - 16 / count)))
                if count == 1:
                    alone += gradient[0, 0] != 0
            result[f"{name}, p = {p}"] = {
                "kept": dict(sorted(kept.items())),
                "single survivors": alone.int().flatten().tolist(),
                "largest |factor - 16 / kept|": mismatch,
            }
    print(json.dumps(result, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("cost")
    verb.add_argument("--repeats", type=int, default=100)
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--threads", type=int, default=1)
    verb = verbs.add_parser("masks")
    verb.add_argument("--reference", type=Path, required=True)
    verb.add_argument("--draws", type=int, default=100_000)
    arguments = parser.parse_args()
    if arguments.verb == "cost":
        cost(arguments.repeats, arguments.device, arguments.threads)
    else:
        masks(arguments.reference, arguments.draws)


if __name__ == "__main__":
    main()
