"""Fuzz one target for a while: ``python -m benchmarks.fuzz --target recipe --minutes 30``.

With the package atheris the search follows the code that an input reaches; without it,
hypothesis draws at random. A child process does the work, so that a hang and a crash of a C
library are found too. Each finding is printed; the exit status is 1 if there is any.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_HANG_SECONDS = 120
_MEGABYTES = 6000


def _work(target: str, seconds: int, engine: str, seed: int) -> None:
    """Search in this process until time is up or something is found."""
    sys.dont_write_bytecode = True
    if engine == "atheris":
        import atheris

        with atheris.instrument_imports(include=["gpgen", "tomllib", "json"]):
            from benchmarks.fuzzing.targets import TARGETS
        options = [
            f"-max_total_time={seconds}", f"-timeout={_HANG_SECONDS}",
            f"-rss_limit_mb={_MEGABYTES}", "-max_len=4096", "-len_control=0", f"-seed={seed}",
            "-print_final_stats=1",
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *options], TARGETS[target].hypothesis.fuzz_one_input)
        atheris.Fuzz()
        return
    import hypothesis

    from benchmarks.fuzzing.targets import TARGETS

    test = TARGETS[target]
    end, done = time.monotonic() + seconds, 0
    batch = hypothesis.settings(
        max_examples=200, deadline=None, database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    while time.monotonic() < end:
        hypothesis.seed(seed + done)(batch(test))()
        done += batch.max_examples
        print(f"{done} inputs", flush=True)


def _search(target: str, seconds: int, engine: str, seed: int, log: Path) -> int:
    command = [sys.executable, "-m", "benchmarks.fuzz", "--target", target, "--work", str(seconds)]
    command += ["--engine", engine, "--seed", str(seed)]
    with log.open("ab") as output, tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TMPDIR": folder}
        # libFuzzer leaves what it found in the current folder; the log says it too.
        try:
            done = subprocess.run(
                command, stdout=output, stderr=output, env=environment, check=False,
                timeout=seconds + 2 * _HANG_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            output.write(b"HANG: no answer\n")
            return 1
    return done.returncode


def main() -> int:
    """Run the child again and again until the minutes are over."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--target", required=True)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--engine", choices=("atheris", "hypothesis"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path("fuzz.log"))
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    engine = options.engine or ("atheris" if importlib.util.find_spec("atheris") else "hypothesis")
    if options.work is not None:
        _work(options.target, options.work, engine, options.seed)
        return 0
    end, found, seed = time.monotonic() + 60 * options.minutes, 0, options.seed
    started = time.monotonic()
    while (left := end - time.monotonic()) > 1:
        status = _search(options.target, int(left) + 1, engine, seed, options.log)
        found += status != 0
        seed += 10**6
    minutes = (time.monotonic() - started) / 60
    print(f"{options.target}: {minutes:.1f} minutes with {engine}, {found} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
