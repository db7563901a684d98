"""A bar for bytes, on standard error, where somebody sees it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gpgen_cli._output import Output

__all__ = ["bytes_bar"]


@contextmanager
def bytes_bar(output: Output, what: str) -> Iterator[Callable[[int, int, str], None] | None]:
    """Yield what to call with bytes done, bytes in all and the file in hand; or ``None``."""
    if output.quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        refresh_per_second=5,
    ) as bar:
        task = bar.add_task(what, total=None)

        def advance(done: int, total: int, file: str = "") -> None:
            text = f"{what} {file}" if file else what
            bar.update(task, completed=done, total=total, description=text)

        yield advance
