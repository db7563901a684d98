"""How far something long is: told to a function, or drawn as a bar.

Whatever takes `progress` takes ``None`` (tell nobody), ``True`` (draw a bar) or a function that is
called with a `Progress`. A bar is drawn on standard error where that is a terminal, and below the
cell in a notebook; elsewhere nothing is drawn, so that no log file fills with bars.
"""

from __future__ import annotations

import dataclasses
import html
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from gpgen.errors import UsageError
from gpgen.formatting import count, duration, nbytes, rate

__all__ = ["Follow", "Progress", "Tell", "following"]

_SECONDS: Final = 0.2
"""Between two pictures of a bar."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far something is.

    Parameters
    ----------
    done, total
        How much is finished, and how much there is; earlier runs' share is in both. `done` grows
        from call to call as long as `unit` stays the same.
    unit
        What is counted, in the singular: "sample", "image", "class", "epoch", or "byte". It
        changes when one function does two things: `gpgen.verify` reads bytes, then draws samples
        again, `gpgen.audit` counts each "drawn image", then images.
    note
        What is in hand, for people: a file's name, a run's last loss. Often empty.
    resumed
        How much of `done` was there when this run began.
    """

    done: int
    total: int
    unit: str
    note: str = ""
    resumed: int = 0


Tell = Callable[[Progress], None]
"""A function that is told how far something is; from one thread at a time, not always the same."""

Follow = Tell | bool | None
"""What `progress` may be: a function, whether to draw a bar, or ``None``."""


@contextmanager
def following(progress: Follow) -> Iterator[Tell]:
    """Yield the function to tell; with ``True`` there is a bar until the block ends.

    Raises
    ------
    UsageError
        If `progress` is none of what it may be.
    """
    if callable(progress):
        yield progress
    elif progress is True and _is_notebook():
        with _notebook_bar() as show:
            yield _Bar(show)
    elif progress is True and sys.stderr.isatty():
        with _terminal_bar() as show:
            yield _Bar(show)
    elif progress is None or isinstance(progress, bool):
        yield _nobody
    else:
        raise UsageError(f"progress is {progress!r}", "give True, or a function of a Progress")


def _nobody(_: Progress) -> None:
    """Nobody is told."""


class _Bar:
    """Words beside a bar: how much of how much, how fast, how long still.

    Parameters
    ----------
    show
        Draws (done, total, text).
    """

    def __init__(self, show: Callable[[int, int, str], None]) -> None:
        self._show = show
        self._began: dict[str, tuple[int, float]] = {}

    def __call__(self, progress: Progress) -> None:
        self._show(progress.done, progress.total, self._text(progress, time.monotonic()))

    def _text(self, progress: Progress, now: float) -> str:
        done, total, unit = progress.done, progress.total, progress.unit
        first, since = self._began.setdefault(unit, (done, now))
        speed = (done - first) / (now - since) if now > since else 0.0
        if unit == "byte":
            text = f"{nbytes(done)} of {nbytes(total)}"
        else:
            text = f"{count(done)} of {count(total, unit)}"
        if speed > 0:
            text += f", {nbytes(speed)}/s" if unit == "byte" else f", {rate(speed)}"
            text += f", {duration((total - done) / speed)} left"
        return f"{text}; {progress.note}" if progress.note else text


@contextmanager
def _terminal_bar() -> Iterator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    with RichProgress(
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.description}", style="progress.data.speed"),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=1 / _SECONDS,
    ) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda done, total, text: bar.update(
            task, completed=done, total=total, description=escape(text)
        )


def _is_notebook() -> bool:
    from rich.console import Console

    return Console().is_jupyter


@contextmanager
def _notebook_bar() -> Iterator[Callable[[int, int, str], None]]:
    """Draw with HTML's own bar: rich's and tqdm's need ipywidgets, which few have."""
    from IPython.display import HTML, display

    handle = display(HTML("starting"), display_id=True)
    last: tuple[int, int, str] | None = None
    shown = 0.0

    def draw(done: int, total: int, text: str) -> None:
        bar = f'<progress value="{done}" max="{max(total, 1)}" style="width: 20em"></progress>'
        handle.update(HTML(f"{bar} {html.escape(text)}"))

    def show(done: int, total: int, text: str) -> None:
        nonlocal last, shown
        last = done, total, text
        if (now := time.monotonic()) - shown >= _SECONDS:
            shown = now
            draw(*last)

    try:
        yield show
    finally:
        if last is not None:
            draw(*last)
