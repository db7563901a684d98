"""What a mask's gradient is worth at equal time and at equal memory, and not at equal steps.

    nice python -m benchmarks.backdrop_by_cost run [--seeds 8]
    python -m benchmarks.backdrop_by_cost run --device cuda --workers 4 [--limit 240]
    python -m benchmarks.backdrop_by_cost ideal [--device cuda]
    python -m benchmarks.backdrop_by_cost show [--device cuda] [--plot docs/pictures/by-cost.png]

One network, and for each contender as many steps as fit into the same time: one thread's of the
CPU, or a GPU's that nobody else uses. Each one's time of a step is measured first, all in turn, so
that a busy machine slows all alike, and what its step allocates at most is counted. Learning rates
are then chosen from two, alike for all, on validation images with a seed of its own; then every
contender is trained with each test seed, by several processes at once if asked, since the numbers
of steps are fixed by then. Each result is written at once, and is not computed again; after
`--limit` seconds nothing new is begun. `ideal` adds the ideal observer, `show` prints the tables,
and puts them `--into` a page where that has marks for them.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backdrop import SparseBackwardWarning
from backdrop.evaluation import Scores, evaluate
from backdrop.training import Examples, Source
from backdrop.training.run import learning_rate
from benchmarks.backdrop_by_cost_regimes import DEFAULT, REGIMES, Regime
from benchmarks.backdrop_by_cost_shown import plot, put, tables
from benchmarks.backdrop_by_cost_training import Trainer, most_allocated, waiting
from benchmarks.machine import describe_machine
from benchmarks.timing import interleaved
from gpgen import GpgenError, difficulty

RESULTS = {
    "cpu": Path("docs/results/by-cost.json"),
    "cuda": Path("docs/results/by-cost-gpu.json"),
}
RATES = (0.003, 0.01)
TUNING_SEEDS = (102,)
ON_THE_WAY_AT = (0.5,)  # of the steps
SLOW = 0.5  # seconds of a step that is repeated less often


def measure_costs(regime: Regime, source: Source) -> dict[str, Any]:
    """Return each contender's time of a step, memory, and steps; or why it can't take one."""
    classes = len(source.recipe.classes)
    if regime.seconds:
        examples = source.training(regime.train_size, TUNING_SEEDS[0])
    else:  # what a step costs doesn't depend on what the images show
        shape = (regime.train_size, 1, *source.recipe.shape)
        labels = torch.arange(regime.train_size, device=source.device) % classes
        examples = Examples(torch.randn(shape, device=source.device), labels)
    costs: dict[str, dict[str, Any]] = {}
    calls: dict[str, Callable[[], object]] = {}
    slow = set()
    for name, contender in regime.contenders.items():
        costs[name] = {"batch": contender.batch}
        trainer = Trainer(contender, examples, classes, 0)
        step = waiting(partial(trainer.step, 1e-3), source.device)
        try:
            learn = partial(trainer.learn, *trainer.batch())
            learn()  # what is loaded or chosen late is no cost of a step
            costs[name]["megabytes"] = round(most_allocated(learn, source.device) / 1e6, 2)
        except (RuntimeError, GpgenError) as error:
            costs[name]["failed"] = f"{type(error).__name__}: {error}".splitlines()[0]
            trainer.optimizer.zero_grad()
            continue
        started = time.perf_counter()
        step()
        calls[name] = step
        if time.perf_counter() - started > SLOW:
            slow.add(name)
    took = interleaved(calls, 7, slow=frozenset(slow), slow_repeats=2)
    clock = "cpu" if source.device.type == "cpu" else "wall"
    for name in calls:
        # Dropout of 32 averages costs nothing: what is the same but for it has the same steps.
        plain = replace(regime.contenders[name], dropout=0)
        alike = [k for k in calls if replace(regime.contenders[k], dropout=0) == plain]
        seconds = min(took[k].seconds(clock) for k in alike)
        costs[name]["seconds"] = round(seconds, 5)
        if regime.seconds:
            costs[name]["steps"] = max(1, round(regime.seconds / seconds))
    return costs


@dataclass(frozen=True)
class Task:
    """One network to train, and where to test it."""

    contender: str
    rate: float
    seed: int
    steps: int
    split: str


def train(regime: Regime, source: Source, task: Task) -> dict[str, Any]:
    examples = source.training(regime.train_size, task.seed)
    contender = regime.contenders[task.contender]
    trainer = Trainer(contender, examples, len(source.recipe.classes), task.seed)
    marks = {round(part * task.steps) for part in ON_THE_WAY_AT} if task.split == "test" else set()
    cpu, way = 0.0, []
    for number in range(task.steps):
        if number in marks:
            way.append(
                round(score(trainer.network, source, task.split, regime.on_the_way).accuracy, 4)
            )
        start = time.process_time()
        trainer.step(learning_rate(task.rate, number, task.steps))
        cpu += time.process_time() - start
    scores = score(trainer.network, source, task.split, regime.held_out)
    return {
        "contender": task.contender,
        "rate": task.rate,
        "seed": task.seed,
        "cpu": round(cpu, 2),
        "accuracy": round(scores.accuracy, 4),
        "components": [round(one, 4) for one in scores.components],
        "on_the_way": way,
    }


def score(network: nn.Module, source: Source, split: str, n: int) -> Scores:
    held = source.held_out(split, n)
    return evaluate(network, held.image, held.label, source.sizes, batch_size=4)


_sources: dict[str, Source] = {}


def source_of(name: str, regime: Regime, device: str) -> Source:
    """Return a regime's source; a process keeps the images of one regime at a time."""
    if name not in _sources:
        _sources.clear()
        _sources[name] = regime.source(device)
    return _sources[name]


def prepare() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", SparseBackwardWarning)


def work(
    name: str, regime: Regime, device: str, deadline: float, task: Task
) -> dict[str, Any] | None:
    """Train unless it is too late."""
    if time.time() > deadline:
        return None
    return train(regime, source_of(name, regime, device), task)


@dataclass
class Runs:
    """What is found, and the file where each result is written at once."""

    out: Path
    device: str
    deadline: float
    pool: ProcessPoolExecutor | None
    found: dict[str, Any]

    def measure(self, name: str, regime: Regime) -> None:
        new = {"seconds": regime.seconds, "train_size": regime.train_size}
        mine = self.found["regimes"].setdefault(name, {**new, "on_the_way_at": ON_THE_WAY_AT})
        if "costs" not in mine and time.time() <= self.deadline:
            self.found |= {"device": self.device, "machine": describe(self.device)}
            mine["costs"] = measure_costs(regime, source_of(name, regime, self.device))
            write(self.found, self.out)

    def train(self, name: str, regime: Regime, seeds: int) -> None:
        """Tune, then train with each seed."""
        mine = self.found["regimes"][name]
        trained = [
            k
            for k, cost in mine.get("costs", {}).items()
            if "steps" in cost and k not in regime.untrained
        ]

        def fill(kind: str, grid: list[tuple[str, float, int]], split: str) -> list[dict[str, Any]]:
            rows: list[dict[str, Any]] = mine.setdefault(kind, [])
            done = {(row["contender"], row["rate"], row["seed"]) for row in rows}
            tasks = [
                Task(*key, mine["costs"][key[0]]["steps"], split) for key in grid if key not in done
            ]
            for row in self._results(name, regime, tasks):
                rows.append(row)
                rows.sort(key=lambda row: row["seed"])
                write(self.found, self.out)
            return rows

        # Seeds outermost: a file that is half full favours nobody.
        grid = [(k, rate, seed) for seed in TUNING_SEEDS for rate in RATES for k in trained]
        tuned = fill("tuning", grid, "validation")
        best = {k: best_rate(tuned, k) for k in trained}
        ready = [
            k
            for k in trained
            if sum(row["contender"] == k for row in tuned) == len(TUNING_SEEDS) * len(RATES)
        ]
        fill("test", [(k, best[k], seed) for seed in range(seeds) for k in ready], "test")

    def _results(self, name: str, regime: Regime, tasks: list[Task]) -> Iterator[dict[str, Any]]:
        do = partial(work, name, regime, self.device, self.deadline)
        if self.pool is None:
            calls: Iterator[Callable[[], Any]] = (partial(do, task) for task in tasks)
        else:
            futures = [self.pool.submit(do, task) for task in tasks]
            calls = (future.result for future in as_completed(futures))
        for call in calls:
            try:
                row = call()
            except (RuntimeError, GpgenError):
                if self.pool is None:
                    raise
                traceback.print_exc()  # the others go on
                continue
            if row is not None:
                yield row


def run(
    out: Path,
    names: list[str],
    seeds: int,
    device: str = "cpu",
    workers: int = 1,
    limit: float = math.inf,
) -> None:
    deadline = time.time() + limit
    found = json.loads(out.read_text()) if out.exists() else {"regimes": {}}
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, spawn, initializer=prepare) if workers > 1 else None
    runs = Runs(out, device, deadline, pool, found)
    for name in names:  # nobody trains meanwhile
        runs.measure(name, REGIMES[name])
    _sources.clear()
    if device == "cuda":
        torch.cuda.empty_cache()
    for name in names:
        runs.train(name, REGIMES[name], seeds)
    if pool is not None:
        pool.shutdown()


def add_ideal(out: Path) -> None:
    """Compute what the ideal observer reaches, where somebody was trained."""
    found = json.loads(out.read_text())
    for name, mine in found["regimes"].items():
        if mine.get("test") and "ideal" not in mine:
            mine["ideal"] = round(difficulty(REGIMES[name].source("cpu").recipe).accuracy, 3)
            write(found, out)


def describe(device: str) -> str:
    what = torch.cuda.get_device_name() if device == "cuda" else "one thread"
    return f"{describe_machine()}, torch {torch.__version__}, {what}"


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
    parser.add_argument("verb", choices=("run", "ideal", "show"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--regime", choices=REGIMES, nargs="+")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--device", choices=RESULTS, default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="runs at once")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds")
    parser.add_argument("--plot", type=Path, help="a picture of the first regime")
    parser.add_argument("--into", type=Path, help="a page that has marks for the tables")
    given = parser.parse_args()
    out = given.out or RESULTS[given.device]
    names = given.regime or DEFAULT[given.device]
    prepare()
    if given.verb == "run":
        run(out, names, given.seeds, given.device, given.workers, given.limit)
    elif given.verb == "ideal":
        add_ideal(out)
    found = json.loads(out.read_text())
    text = tables(found)
    print(found["machine"] + "\n\n" + text)
    if given.into:
        put(text, given.into, f"by cost, {given.device}")
    if given.plot:
        plot(found, names[0], given.plot)


if __name__ == "__main__":
    main()
