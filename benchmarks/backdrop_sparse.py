"""What SparseBackward costs, against a mask behind the stem and against checkpointing.

    python -m benchmarks.backdrop_sparse time [--repeats 15] [--p 0.95 ...] [--side 512 ...]
    python -m benchmarks.backdrop_sparse memory
    python -m benchmarks.backdrop_sparse time --device cuda --p 0.95 --side 512 2048 --repeats 5
    python -m benchmarks.backdrop_sparse memory --device cuda
    python -m benchmarks.backdrop_sparse large [--side 32768]

``time`` prints a training step's time for two stems (kernels that tile; 3 x 3 at stride 2
throughout), one thread, the contenders in turn so that a busy machine slows all alike: medians,
and their ratios to the masked step and to the forward pass alone. ``memory`` prints the bytes
that stay for the backward pass, and the most memory that a step needs, as images grow. ``large``
runs one step on one image that is read part by part from a file and prints the process's largest
resident size; run it by itself. On a GPU, time is until the device is done, and the most memory is
what tensors hold there at most.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from backdrop import Backdrop, SparseBackward, SparseBackwardWarning
from benchmarks.backdrop_by_cost_training import most_allocated, waiting
from benchmarks.machine import describe_machine
from benchmarks.timing import interleaved

WIDTH, BATCH, CLASSES = 16, 8, 4


def tiling() -> nn.Sequential:
    """5 x 5 at stride 2, then 2 x 2 at stride 2: positions 64 px apart that see 67 px."""
    layers: list[nn.Module] = [nn.Conv2d(1, WIDTH, 5, 2, 2), nn.ReLU()]
    for _ in range(5):
        layers += [nn.Conv2d(WIDTH, WIDTH, 2, 2), nn.ReLU()]
    return nn.Sequential(*layers)


def overlapping(count: int = 5) -> nn.Sequential:
    """3 x 3 at stride 2: positions 32 px apart that see 63 px."""
    layers: list[nn.Module] = []
    for number in range(count):
        layers += [nn.Conv2d(WIDTH if number else 1, WIDTH, 3, 2, 1), nn.ReLU()]
    return nn.Sequential(*layers)


STEMS: dict[str, Callable[[], nn.Sequential]] = {"tiling": tiling, "3 x 3": overlapping}


def contenders(stem: nn.Module, images: torch.Tensor, p: float) -> dict[str, Callable[[], object]]:
    head = nn.Linear(WIDTH, CLASSES).to(images.device)
    labels = torch.arange(len(images), device=images.device) % CLASSES
    masked, sparse = nn.Sequential(stem, Backdrop(p)), SparseBackward(stem, p)

    def step(front: Callable[[torch.Tensor], torch.Tensor]) -> None:
        stem.zero_grad(), head.zero_grad()
        features = front(images).mean((2, 3))
        nn.functional.cross_entropy(head(features), labels).backward()

    def forward(by: int) -> None:
        with torch.no_grad():
            for part in images.split(by):
                stem(part)

    calls: dict[str, Callable[[], object]] = {
        "no mask": lambda: step(stem),
        "masked": lambda: step(masked),
        "checkpoint": lambda: step(lambda x: checkpoint(masked, x, use_reentrant=False)),
        "sparse": lambda: step(sparse),
        "forward": lambda: forward(len(images)),
        "forward by image": lambda: forward(1),
    }
    return {name: waiting(call, images.device) for name, call in calls.items()}


def times(repeats: int, ps: list[float], sides: list[int], device: torch.device) -> None:
    print("| stem | side | p | no mask, ms | masked | checkpoint | sparse | forward | by image | "
          "sparse / masked | / forward | / checkpoint |")  # fmt: skip
    print("|" + " --- |" * 12)
    for name, make in STEMS.items():
        for side in sides:
            for p in ps:
                torch.manual_seed(0)
                images = torch.randn(BATCH, 1, side, side, device=device)
                run = contenders(make().to(device), images, p)
                took = {k: 1e3 * t.seconds() for k, t in interleaved(run, repeats).items()}
                shown = " | ".join(f"{t:.3g}" if t < 100 else f"{t:.0f}" for t in took.values())
                ratios = (took["sparse"] / took[k] for k in ("masked", "forward", "checkpoint"))
                print(f"| {name} | {side} | {p:g} | {shown} | "
                      + " | ".join(f"{r:.2f}" for r in ratios) + " |", flush=True)  # fmt: skip


def memory(device: torch.device) -> None:
    most = "most resident" if device.type == "cpu" else "most held by tensors"
    print(f"MB kept after the forward pass for the backward pass; {most} in the step, "
          "beyond the images")  # fmt: skip
    needed = in_a_process if device.type == "cpu" else partial(need, device)
    names = ("masked", "checkpoint", "sparse, p = 0.95", "sparse, tile=512, keep=4")
    print(f"| stem | images | {' | '.join(names)} |")
    print("|" + " --- |" * (2 + len(names)))
    for stem in STEMS:
        for batch, side in ((BATCH, 512), (1, 512), (1, 1024), (1, 2048), (1, 4096), (1, 8192)):
            cells = [
                needed(stem, kind, batch, side)
                if side <= 4096 or kind == names[-1] or device.type != "cpu"
                else ""
                for kind in names
            ]
            print(f"| {stem} | {batch} x {side} x {side} | {' | '.join(cells)} |", flush=True)
    print(f"\n{BATCH} x 512 x 512, sparse")
    for stem in STEMS:
        for p in (0.5, 0.8, 0.95, 0.99):
            print(f"{stem}, p = {p:g}: {needed(stem, f'sparse, p = {p:g}', BATCH, 512)}")


def in_a_process(stem: str, kind: str, batch: int, side: int) -> str:
    """Return what a step of one contender needs, measured in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        return pool.submit(need, torch.device("cpu"), stem, kind, batch, side).result()


def need(device: torch.device, name: str, kind: str, batch: int, side: int) -> str:
    torch.manual_seed(0)
    stem, images = STEMS[name]().to(device), torch.randn(batch, 1, side, side, device=device)
    masked = nn.Sequential(stem, Backdrop(0.95))
    front: Callable[[torch.Tensor], torch.Tensor] = masked
    if kind == "checkpoint":
        front = partial(checkpoint, masked, use_reentrant=False)
    elif kind == "sparse, tile=512, keep=4":
        front = SparseBackward(stem, keep=4, tile=512)
    elif kind != "masked":
        front = SparseBackward(stem, float(kind.removeprefix("sparse, p = ")))
    front(images[:, :, :256, :256]).mean().backward()  # loads what torch loads late
    own = {images.data_ptr()} | {p.data_ptr() for p in stem.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    if isinstance(front, SparseBackward):
        front.check = False  # a few patches, on the first pass only

    def step() -> None:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            output = front(images)
        output.mean().backward()

    if device.type != "cpu":
        most = most_allocated(step, device) / 1e6
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        step()
        most = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return f"{sum(kept.values()) / 1e6:.2f}; {most:.0f}"


def large(side: int, tile: int, keep: int) -> None:
    """Write an image of noise to a file, and learn from it once."""
    at_first = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryFile() as file:
        generator = np.random.default_rng(0)
        for _ in range(side // 256):
            file.write(generator.standard_normal((256, side), dtype=np.float32).tobytes())
        file.flush()
        source = Strips(file, side)
        for name, make in STEMS.items():
            torch.manual_seed(0)
            stem = make()
            layer = SparseBackward(stem, keep=keep, tile=tile)
            start = time.perf_counter(), time.process_time()
            output = layer(source)
            middle = time.perf_counter(), time.process_time()
            output.sin().mean().backward()
            end = time.perf_counter(), time.process_time()
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            norm = math.sqrt(sum(float(p.grad.square().sum()) for p in stem.parameters()))
            took = ", ".join(
                f"{what} {after[0] - before[0]:.1f} s ({after[1] - before[1]:.1f} s of the CPU)"
                for what, before, after in (("forward", start, middle), ("backward", middle, end))
            )
            print(
                f"{name}, {side} x {side}, keep={keep}, tile={tile}: {took}; "
                f"at most {most / 2**20:.2f} GiB resident ({at_first / 2**20:.2f} before); "
                f"gradient {norm:.3g}",
                flush=True,
            )


class Strips:
    """One image in a file, read part by part without mapping it: nothing stays resident."""

    def __init__(self, file: tempfile.SpooledTemporaryFile, side: int) -> None:
        self.file, self.side, self.shape = file, side, (1, 1, side, side)

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        rows, columns = index[2:]
        part = np.empty((1, 1, rows.stop - rows.start, columns.stop - columns.start), np.float32)
        for k, row in enumerate(range(rows.start, rows.stop)):
            self.file.seek(4 * (row * self.side + columns.start))
            part[0, 0, k] = np.frombuffer(self.file.read(4 * part.shape[3]), np.float32)
        return part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("time")
    verb.add_argument("--repeats", type=int, default=15)
    verb.add_argument("--p", type=float, nargs="+", default=[0.5, 0.8, 0.95, 0.99])
    verb.add_argument("--side", type=int, nargs="+", default=[256, 512, 1024])
    verb.add_argument("--device", type=torch.device, default="cpu")
    verb = verbs.add_parser("memory")
    verb.add_argument("--device", type=torch.device, default="cpu")
    verb = verbs.add_parser("large")
    verb.add_argument("--side", type=int, default=32768)
    verb.add_argument("--tile", type=int, default=1024)
    verb.add_argument("--keep", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", SparseBackwardWarning)
    device = getattr(given, "device", torch.device("cpu"))
    where = "one thread" if device.type == "cpu" else torch.cuda.get_device_name(device)
    print(f"{describe_machine()}, torch {torch.__version__}, {where}")
    if given.verb == "time":
        times(given.repeats, given.p, given.side, device)
    elif given.verb == "memory":
        memory(device)
    else:
        large(given.side, given.tile, given.keep)


if __name__ == "__main__":
    main()
