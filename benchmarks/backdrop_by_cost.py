"""What a mask's gradient is worth at equal time and at equal memory, and not at equal steps.

    nice python -m benchmarks.backdrop_by_cost run [--seeds 8]
    python -m benchmarks.backdrop_by_cost show [--plot docs/pictures/by-cost.png]

One network, one thread, and for each contender as many steps as fit into the same CPU time: each
one's time of a step is measured first, all in turn, so that a busy machine slows all alike, and
what its step allocates at most is counted. Learning rates are then chosen from two, alike for
all, on validation images with a seed of its own; then every contender is trained with each
test seed. Each result is written at once, and is not computed again. `show` prints the tables.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint

from backdrop import SparseBackward, SparseBackwardWarning
from backdrop.evaluation import Scores, evaluate
from backdrop.training import Examples, Source
from backdrop.training.run import cropped, learning_rate
from benchmarks.backdrop_by_cost_shown import plot, print_tables
from benchmarks.machine import describe_machine
from benchmarks.timing import interleaved
from gpgen import difficulty

OUT = Path("docs/results/by-cost.json")
RATES = (0.003, 0.01)
TUNING_SEEDS = (102,)
HELD_OUT, ON_THE_WAY = 120, 40  # images that the last network is tested on; networks before it
ON_THE_WAY_AT = (0.5,)  # of the steps
LAYERS = ((5, 8), (3, 16), (3, 32), (3, 32), (3, 32))  # kernel, channels; all at stride 2


@dataclass(frozen=True)
class Regime:
    """Images to learn from, and the CPU seconds that there are for it."""

    recipe: str
    train_size: int
    seconds: float


REGIMES = {
    "two-scale-512": Regime(str(Path(__file__).with_name("two-scale-512.toml")), 24, 5.0),
}


@dataclass(frozen=True)
class Contender:
    """A way to train the network: how its stem runs, and on how many images at once."""

    batch: int
    p: float = 0.0
    keep: int | None = None
    dropout: float = 0.0
    crop: float = 1.0
    checkpoint: bool = False


CONTENDERS = {
    "no mask": Contender(12),
    "small batches": Contender(4),
    "checkpoint": Contender(12, checkpoint=True),
    "dropout": Contender(4, dropout=0.6),
    "crops": Contender(12, crop=0.5),
    "sparse, p = 0.95": Contender(12, p=0.95),
    "sparse, keep = 3": Contender(12, keep=3),
    "sparse, keep = 3, small batches": Contender(4, keep=3),
}


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
            self.stem = SparseBackward(self.stem, contender.p, keep=contender.keep)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

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
    """A network, and what trains it for a step on the next images."""

    def __init__(self, contender: Contender, examples: Examples, classes: int, seed: int) -> None:
        torch.manual_seed(seed)  # the same first weights for all; then masks and dropout
        self.contender, self.examples = contender, examples
        self.network = Network(contender, classes)
        self.optimizer = torch.optim.Adam(self.network.parameters())
        self.order = torch.Generator().manual_seed(seed)  # the images' own
        self.left = torch.empty(0, dtype=torch.int64)

    def batch(self) -> tuple[Tensor, Tensor]:
        size = self.contender.batch
        if len(self.left) < size:
            self.left = torch.randperm(len(self.examples.label), generator=self.order)
        chosen, self.left = self.left[:size], self.left[size:]
        images = self.examples.image[chosen]
        if self.contender.crop < 1:
            images = cropped(images, self.contender.crop, torch.default_generator)
        return images, self.examples.label[chosen]

    def learn(self, images: Tensor, labels: Tensor) -> None:
        self.optimizer.zero_grad()
        nn.functional.cross_entropy(self.network(images), labels).backward()
        self.optimizer.step()

    def step(self, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.learn(*self.batch())


def measure_costs(regime: Regime, source: Source) -> dict[str, Any]:
    examples = source.training(regime.train_size, TUNING_SEEDS[0])
    classes = len(source.recipe.classes)
    trainers = {k: Trainer(c, examples, classes, 0) for k, c in CONTENDERS.items()}
    calls: dict[str, Callable[[], object]] = {
        name: partial(one.step, 1e-3) for name, one in trainers.items()
    }
    took = interleaved(calls, 7)
    costs = {}
    for name, contender in CONTENDERS.items():
        # Dropout of 32 averages costs nothing: what is the same but for it has the same steps.
        plain = replace(contender, dropout=0)
        alike = [k for k, c in CONTENDERS.items() if replace(c, dropout=0) == plain]
        seconds = min(took[k].seconds("cpu") for k in alike)
        learn = partial(trainers[name].learn, *trainers[name].batch())
        costs[name] = {
            "batch": contender.batch,
            "seconds": round(seconds, 5),
            "megabytes": round(most_allocated(learn) / 1e6, 2),
            "steps": max(1, round(regime.seconds / seconds)),
        }
    return costs


def most_allocated(call: Callable[[], object]) -> int:
    """Return the most bytes that tensors hold during a call, beyond what they held before it."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


def train(
    regime: Regime, source: Source, name: str, rate: float, seed: int, steps: int, split: str
) -> dict[str, Any]:
    examples = source.training(regime.train_size, seed)
    trainer = Trainer(CONTENDERS[name], examples, len(source.recipe.classes), seed)
    marks = {round(part * steps) for part in ON_THE_WAY_AT} if split == "test" else set()
    cpu, way = 0.0, []
    for number in range(steps):
        if number in marks:
            way.append(round(score(trainer.network, source, split, ON_THE_WAY).accuracy, 4))
        start = time.process_time()
        trainer.step(learning_rate(rate, number, steps))
        cpu += time.process_time() - start
    scores = score(trainer.network, source, split, HELD_OUT)
    return {
        "contender": name,
        "rate": rate,
        "seed": seed,
        "cpu": round(cpu, 2),
        "accuracy": round(scores.accuracy, 4),
        "components": [round(one, 4) for one in scores.components],
        "on_the_way": way,
    }


def score(network: nn.Module, source: Source, split: str, n: int) -> Scores:
    held = source.held_out(split, n)
    return evaluate(network, held.image, held.label, source.sizes, batch_size=4)


def run(out: Path, name: str, seeds: int) -> None:
    regime = REGIMES[name]
    source = Source(regime.recipe)
    found = json.loads(out.read_text()) if out.exists() else {"regimes": {}}
    mine = found["regimes"].setdefault(
        name, {"seconds": regime.seconds, "train_size": regime.train_size}
    )
    if "costs" not in mine:
        found["machine"] = f"{describe_machine()}, torch {torch.__version__}, one thread"
        mine["costs"] = measure_costs(regime, source)
        write(found, out)

    def fill(kind: str, tasks: list[tuple[str, float, int]], split: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = mine.setdefault(kind, [])
        done = {(row["contender"], row["rate"], row["seed"]) for row in rows}
        for task in tasks:
            if task not in done:
                steps = mine["costs"][task[0]]["steps"]
                rows.append(train(regime, source, *task, steps, split))
                write(found, out)
        return rows

    # Seeds outermost: a file that is half full favours nobody.
    grid = [(c, rate, seed) for seed in TUNING_SEEDS for rate in RATES for c in CONTENDERS]
    tuned = fill("tuning", grid, "validation")
    best = {c: best_rate(tuned, c) for c in CONTENDERS}
    fill("test", [(c, best[c], seed) for seed in range(seeds) for c in CONTENDERS], "test")
    if "ideal" not in mine:
        mine |= {
            "ideal": round(difficulty(source.recipe).accuracy, 3),
            "on_the_way_at": ON_THE_WAY_AT,
        }
        write(found, out)


def best_rate(tuned: list[dict[str, Any]], contender: str) -> float:
    """Return the rate with the best mean accuracy on validation images."""
    totals = {
        rate: math.fsum(
            row["accuracy"] for row in tuned if (row["contender"], row["rate"]) == (contender, rate)
        )
        for rate in RATES
    }
    return max(totals, key=totals.__getitem__)


def write(found: dict[str, Any], out: Path) -> None:
    """Write a run a line."""
    text = json.dumps(found)
    for start in ('{"contender": ', '"tuning": ', '"test": ', '"costs": ', '"machine": '):
        text = text.replace(start, "\n" + start)
    temporary = out.with_suffix(".new")
    temporary.write_text(text + "\n")
    os.replace(temporary, out)  # noqa: PTH105


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("run", "show"))
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--regime", choices=REGIMES, nargs="+", default=list(REGIMES))
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", SparseBackwardWarning)
    if given.verb == "run":
        for name in given.regime:
            run(given.out, name, given.seeds)
    found = json.loads(given.out.read_text())
    print_tables(found)
    if given.plot:
        plot(found, given.regime[0], given.plot)


if __name__ == "__main__":
    main()
