"""``gpgen make`` and ``convert`` in a process of their own, to be disturbed while they run."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

from cli_support import Result, command
from dask_cluster import shards_done, wait_until
from store_tools import ENVIRONMENT, hashes, tiny, tiny_make

N = 100


class Making:
    """A run of tiny samples in shards of one.

    Parameters
    ----------
    out
        The target.
    options
        Further words of the command line.
    source
        A dataset to convert, instead of making one.
    n
        Number of samples, if they are made.
    recipe
        Where the recipe's file shall be; above the target's folder if ``None``.
    before
        Words before the command's, such as another command that starts it.
    """

    def __init__(
        self,
        out: Path,
        *options: str | Path,
        source: Path | None = None,
        n: int = N,
        recipe: Path | None = None,
        before: Sequence[str] = (),
        **process,
    ) -> None:
        self.out = out
        if source is None:
            recipe = recipe or out.parent.parent / "tiny.toml"
            recipe.write_text(tiny().to_toml())
            words = ("make", "--recipe", recipe, "--n", str(n), "--out", out)
        else:
            words = ("convert", source, out)
        environment = ENVIRONMENT | process.pop("env", {})
        self.process = subprocess.Popen(
            [*before, *command(*words, "--shard-size", "1", *options)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **process,
        )

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, shards: int) -> None:
        """Wait until so many shards are done; the run must not end before."""
        wait_until(
            lambda: shards_done(self.out) >= shards or not self.is_running, f"{shards} shards"
        )
        assert self.is_running, f"it ended before {shards} shards were seen: {self.end()}"

    @contextlib.contextmanager
    def paused(self, shards: int) -> Iterator[None]:
        """Wait until so many shards are done, then hold the process still."""
        self.wait_for(shards)
        os.killpg(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self.process.pid, signal.SIGCONT)

    def end(self) -> Result:
        out, err = self.process.communicate(timeout=300)
        return Result(self.process.returncode, out, err)

    def succeed(self) -> str:
        """Wait for the end, which must be a success without a word on standard error."""
        ended = self.end()
        assert ended.err == "", ended.err
        assert ended.status == 0
        return ended.out

    def fail(self) -> str:
        """Wait for the end, which must be a failure told in one line; return that."""
        ended = self.end()
        assert ended.status == 1, ended
        assert ended.err.count("\n") == 1, ended.err
        assert ended.err.startswith("error: ")
        return ended.err


def uninterrupted(folder: Callable[[str], Path], n: int = N) -> Callable[[str], dict[str, str]]:
    """Return a function that makes the same in peace once and returns all files' hashes."""

    @cache
    def made(out: str) -> dict[str, str]:
        place = folder("whole")
        tiny_make(place / out, n, shard_size=1).close()
        return hashes(place)

    return made
