"""Fuzz one target for a while: ``python -m benchmarks.fuzz --target recipe --minutes 30``.

With the package atheris the search follows the code that an input reaches; without it,
hypothesis draws at random. A child process does the work, so that a hang and a crash of a C
library are found too. Each input that was found is kept in ``FOLDER/TARGET`` and tried again by
itself: what passes then (a "hang" on a machine that was suspended) is told, but not counted. The
exit status is 1 if there is any finding.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_HANG_SECONDS = 120
_MEGABYTES = 6000
_LONGEST = 4096
_FIRST_INPUTS = 16


def _work(target: str, seconds: int, engine: str, seed: int, folder: Path) -> None:
    """Search in this process until time is up or something is found."""
    sys.dont_write_bytecode = True
    tried = os.open(folder / "tried", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["gpgen", "tomllib", "json"]):
            from benchmarks.fuzzing.targets import TARGETS
        options = [
            f"-max_total_time={seconds}", f"-timeout={_HANG_SECONDS}",
            f"-rss_limit_mb={_MEGABYTES}", f"-max_len={_LONGEST}", "-len_control=0",
            f"-artifact_prefix={folder}/found-", "-print_final_stats=1", f"-seed={seed}",
            str(folder / "corpus"),
        ]  # fmt: skip
        try_one = TARGETS[target].hypothesis.fuzz_one_input

        def count_one(data: bytes) -> None:
            # Too short for what the target draws, it is none; the process is ended without notice.
            if try_one(data) is not None:
                os.write(tried, b".")

        for k in range(_FIRST_INPUTS):
            first = random.Random(seed + k).randbytes(_LONGEST)  # noqa: S311
            (folder / "corpus" / f"first-{k}").write_bytes(first)
        atheris.Setup([sys.argv[0], *options], count_one)
        atheris.Fuzz()
        return
    import hypothesis

    from benchmarks.fuzzing.targets import TARGETS

    batch = hypothesis.settings(
        max_examples=200, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    test = batch(TARGETS[target])
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hypothesis.seed(seed)(test)()
        seed += batch.max_examples
        os.write(tried, b"." * batch.max_examples)


def _try_again(target: str, path: Path) -> None:
    """Try one kept input in this process."""
    from benchmarks.fuzzing.targets import TARGETS

    TARGETS[target].hypothesis.fuzz_one_input(path.read_bytes())


@dataclasses.dataclass
class _Search:
    """The children of one run, and what they wrote."""

    target: str
    engine: str
    folder: Path

    def child(self, *arguments: str, seconds: float) -> int:
        """Run a child of this program; return its exit status."""
        command = [sys.executable, "-m", "benchmarks.fuzz", "--target", self.target]
        command += ["--engine", self.engine, "--folder", str(self.folder.parent), *arguments]
        with (self.folder / "log").open("ab") as output, tempfile.TemporaryDirectory() as scratch:
            try:
                return subprocess.run(
                    command, stdout=output, stderr=output, env={**os.environ, "TMPDIR": scratch},
                    check=False, timeout=seconds,
                ).returncode  # fmt: skip
            except subprocess.TimeoutExpired:
                output.write(b"HANG: no answer\n")
                return 1

    def found(self) -> set[Path]:
        """Return the inputs kept by atheris because of what they did."""
        return set(self.folder.glob("found-*"))

    def search(self, seconds: int, seed: int) -> int:
        """Search until time is up or something is found; return how many findings hold."""
        before = self.found()
        limit = seconds + 2 * _HANG_SECONDS
        status = self.child("--work", str(seconds), "--seed", str(seed), seconds=limit)
        if status == 0:
            return 0
        new = self.found() - before
        hold = [path for path in new if self.child("--again", str(path), seconds=_HANG_SECONDS)]
        for path in sorted(new):
            print(f"{path}: {'a finding' if path in hold else 'passes when tried again'}")
        return len(hold) if new else 1  # a death that left no input is in the log alone

    def inputs(self) -> int:
        """Return how many inputs were tried, in all runs with this folder."""
        tried = self.folder / "tried"
        return tried.stat().st_size if tried.exists() else 0


def main() -> int:
    """Run the child again and again until the minutes are over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--engine", choices=("atheris", "hypothesis"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("fuzz"))
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--again", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "hypothesis")
    folder = options.folder.resolve() / options.target
    if options.again is not None:
        _try_again(options.target, options.again)
        return 0
    if options.work is not None:
        _work(options.target, options.work, engine, options.seed, folder)
        return 0
    (folder / "corpus").mkdir(parents=True, exist_ok=True)
    run = _Search(options.target, engine, folder)
    started, found, seed = time.monotonic(), 0, options.seed
    while (left := started + 60 * options.minutes - time.monotonic()) > 1:
        found += run.search(int(left) + 1, seed)
        seed += 10**6
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"{options.target}: {(time.monotonic() - started) / 60:.1f} minutes with {engine}, "
        f"{(used.ru_utime + used.ru_stime) / 60:.1f} of a processor, {run.inputs()} inputs, "
        f"{found} findings"
    )
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
