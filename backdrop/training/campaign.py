"""Many runs: all settings with every seed, one thread each, several at once."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from backdrop.evaluation import LengthScaleScores, Scores
from backdrop.training.examples import Source
from backdrop.training.network import network
from backdrop.training.run import Run, train
from backdrop.training.settings import Settings, Target, settings_from
from backdrop.training.state import Epoch
from gpgen.errors import Argument, TargetError, UsageError
from gpgen.io.output_files import check_outside
from gpgen.io.user_paths import given
from gpgen.progress import Follow, Progress, Tell, following
from gpgen.torch.device import device_of
from gpgen.workers import worker_count

__all__ = ["choose_device", "run_all"]

_RESULT = "result.json"
_PLAN = "plan.json"


def choose_device(name: str) -> str:
    """Return torch's name of a device; ``auto`` is a GPU where there is one.

    Raises
    ------
    UsageError
        If there is no such device.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device_of(name, torch.float32)
    except UsageError as error:
        raise UsageError(error.message, "use auto or cpu") from error
    return name


def run_all(
    source: str,
    settings: Sequence[Settings],
    seeds: Sequence[int],
    out: Path,
    *,
    device: str = "auto",
    workers: int | None = None,
    resume: bool = False,
    progress: Follow = None,
) -> list[Run]:
    """Train with all settings and seeds, and keep a folder for each run.

    Each run has one thread in a process of its own, so on a CPU its numbers
    don't depend on how many there are at once.

    Parameters
    ----------
    source
        As for `Source`.
    settings
        Any number of methods, each with any numbers of training images, each pair once.
    seeds
        The same for all methods: their runs are paired.
    out
        Folder for ``METHOD/seed-K/`` with a checkpoint and the result; ``METHOD/SIZE/seed-K/`` if
        settings have several numbers of training images.
    device
        For torch, or ``auto``.
    workers
        Runs at once; default is the number of cores on a CPU, and 1 elsewhere. Runs that share a
        GPU fill it better than one small network does.
    resume
        Go on in a folder that is there: finished runs are kept, others go on
        from their checkpoint.
    progress
        ``True`` draws a bar; a function is called with a `gpgen.Progress` after every epoch of
        every run, its `note` the run, its loss and its accuracy or relative error.

    Returns
    -------
    list of Run
        All settings with the first seed, then with the second, ...

    Raises
    ------
    TargetError
        If `out` holds runs and `resume` is false.
    UsageError
        If it holds runs with other settings, the settings don't fit the data, or a method has one
        number of training images twice.
    DivergedError
        As `train`; the other runs are stopped.
    """
    methods = [(one.method, one.train_size) for one in settings]
    if not methods or len(set(methods)) < len(methods) or len(set(seeds)) < max(1, len(seeds)):
        raise UsageError(
            f"methods and training images {methods}, seeds {list(seeds)}: one is twice or missing",
            "name each method with each number of training images once, and each seed",
        )
    targets = list(dict.fromkeys(one.target for one in settings))
    if len(targets) > 1:
        raise UsageError(
            f"the methods have different targets: {', '.join(targets)}", "give all the same"
        )
    (target,), device, out = targets, choose_device(device), given(out)
    _check(Source(source, target), settings)
    _claim(out, {"source": source, "settings": [one.to_dict() for one in settings]}, resume)
    several = len({one.train_size for one in settings}) > 1
    tasks = [
        (one, seed, out / one.method / (f"{one.train_size}" if several else "") / f"seed-{seed}")
        for seed in seeds
        for one in settings
    ]
    runs: dict[tuple[Settings, int], Run] = {}
    for one, seed, folder in tasks:
        if (folder / _RESULT).exists():
            runs[one, seed] = _read(folder / _RESULT)
    todo = [task for task in tasks if task[:2] not in runs]
    with following(progress) as tell:
        counter = _Counter(tell, tasks, done=sum(len(run.epochs) for run in runs.values()))
        at_once = 1 if workers is None and device != "cpu" else worker_count(workers)
        if device == "cpu" or at_once > 1:
            finished = _in_processes((source, target, device), todo, at_once, counter)
        else:
            finished = _one_by_one(Source(source, target, device), todo, counter)
        for run in finished:
            runs[run.settings, run.seed] = run
    return [runs[one, seed] for one, seed, _ in tasks]


def _check(source: Source, settings: Sequence[Settings]) -> None:
    """Refuse what no run could do, before anything is written."""
    for one in settings:
        network(source.recipe, one, seed=0)
        source.check("train", one.train_size)
        source.check(one.split, one.test_size)


Task = tuple[Settings, int, Path]
Told = tuple[Settings, int, Epoch]


class _Counter:
    def __init__(self, tell: Tell, tasks: Sequence[Task], done: int) -> None:
        self._tell = tell
        self._done = self._resumed = done
        self._total = sum(settings.passes for settings, _, _ in tasks)
        self._several = len({settings.train_size for settings, _, _ in tasks}) > 1
        self._seen: dict[tuple[Settings, int], int] = {}

    def __call__(self, settings: Settings, seed: int, epoch: Epoch) -> None:
        # A resumed run begins at a later epoch: those before count as done.
        self._done += epoch.epoch - self._seen.get((settings, seed), 0)
        self._seen[settings, seed] = epoch.epoch
        images = f", {settings.train_size} images" if self._several else ""
        note = f"{settings.method}{images}, seed {seed}: loss {epoch.loss:.3f}, "
        if epoch.relative_error is None:
            note += f"accuracy {epoch.accuracy:.2f}"
        else:
            note += f"relative error {epoch.relative_error:.2f}"
        self._tell(Progress(self._done, self._total, "epoch", note, self._resumed))


def _one_by_one(source: Source, tasks: Sequence[Task], counter: _Counter) -> Iterator[Run]:
    for task in tasks:
        yield _work(source, task, partial(counter, task[0], task[1]))


def _in_processes(
    source: tuple[str, Target, str], tasks: Sequence[Task], workers: int, counter: _Counter
) -> Iterator[Run]:
    if not tasks:
        return
    # Forking a process in which torch has threads can hang.
    context = multiprocessing.get_context("spawn")
    told: Any = context.SimpleQueue()
    with ProcessPoolExecutor(
        min(workers, len(tasks)), context, initializer=_prepare, initargs=(told, *source)
    ) as pool:
        waiting: set[Future[Run]] = {pool.submit(_work_in_process, t) for t in tasks}
        try:
            while waiting:
                ready, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                while not told.empty():
                    counter(*told.get())
                for future in ready:
                    yield future.result()
        except BaseException:
            for process in list((pool._processes or {}).values()):
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_told: Any = None
_source: Any = None


def _prepare(told: Any, source: str, target: Target, device: str) -> None:  # noqa: ANN401
    global _told, _source
    _told = told
    # One source for all runs of a process: it keeps the test images that it has drawn.
    _source = Source(source, target, device)
    torch.set_num_threads(1)
    # Drawing images calls BLAS, whose threads would wait for each other across processes.
    threadpool_limits(1, "blas")


def _work_in_process(task: Task) -> Run:
    settings, seed, _ = task
    parent = os.getppid()

    def tell(epoch: Epoch) -> None:
        if os.getppid() != parent:
            # The command was killed: nobody waits for this run, its checkpoint stays.
            os._exit(1)
        _told.put((settings, seed, epoch))

    return _work(_source, task, tell)


def _work(source: Source, task: Task, on_epoch: Callable[[Epoch], None]) -> Run:
    settings, seed, folder = task
    run = train(source, settings, seed, folder=folder, device=str(source.device), on_epoch=on_epoch)
    _write(folder / _RESULT, run.to_dict())
    return run


def _claim(out: Path, plan: dict[str, Any], resume: bool) -> None:
    path = out / _PLAN
    if path.exists():
        if not resume:
            raise TargetError(
                f"{out} holds runs already",
                f"go on with {Argument.RESUME}, or choose another folder",
            )
        if json.loads(path.read_text()) != json.loads(json.dumps(plan)):
            raise UsageError(
                f"the runs in {out} have other settings",
                "repeat the first command, or choose another folder",
            )
        return
    check_outside(out)
    out.mkdir(parents=True, exist_ok=True)
    _write(path, plan)


def _write(path: Path, value: dict[str, Any]) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(temporary, path)  # noqa: PTH105  whole or not at all


def _read(path: Path) -> Run:
    value = json.loads(path.read_text())
    test = {**value["test"], "components": tuple(value["test"]["components"])}
    settings = settings_from(value["settings"])
    scores = (Scores if settings.target == "label" else LengthScaleScores)(**test)
    return Run(
        settings,
        value["seed"],
        tuple(Epoch(**epoch) for epoch in value["epochs"]),
        scores,
        math.nan if value.get("seconds") is None else value["seconds"],
    )
