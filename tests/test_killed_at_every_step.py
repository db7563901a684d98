"""SIGKILL after every effect on the file system, for `make` and `convert`, in every format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from store_tools import ENVIRONMENT, OUTS, hashes, tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError

HERE = Path(__file__).parent
# CI kills at some steps of each case; GPGEN_EVERY_STEP=1 kills at every one.
EVERY = bool(os.environ.get("GPGEN_EVERY_STEP"))
POINTS = {"make": 3, "convert": 4}
CASES = [("make", out) for out in OUTS] + [("convert", out) for out in (*OUTS, "d-{shard:03d}.tar")]
N, SHARD = 13, 4


class Killer:
    """The process that forks the runs."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, HERE / "killing.py", folder / "answer"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        self.source = folder / "source.zarr"
        tiny_make(self.source, N).close()

    def run(self, verb: str, out: Path, step: int = 0, *, torn=False, audit="", **options) -> dict:
        arguments = [str(out)] if verb == "make" else [str(self.source), str(out)]
        request = {"verb": verb, "arguments": arguments, "step": step, "torn": torn}
        request |= {"audit": audit, "options": {"shard_size": SHARD, **options}}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    killer = Killer(tmp_path_factory.mktemp("killer"))
    yield killer
    killer.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, dict[str, str]]:
    """The bytes of uninterrupted runs."""
    found = {}
    for out in {out for _, out in CASES}:
        folder = tmp_path_factory.mktemp("whole")
        tiny_make(folder / out, N).close()
        found[out] = hashes(folder)
    return found


def begin(folder: Path, out: str, overwrite: bool) -> dict[str, str]:
    """Prepare a folder, with another dataset at the target if that is to be replaced."""
    folder.mkdir()
    if overwrite:
        tiny_make(folder / out, recipe=tiny(seed=9), n=17).close()
    return hashes(folder)


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
@pytest.mark.parametrize(("verb", "out"), CASES)
def test_no_effect_on_files_comes_without_its_step(
    tmp_path: Path, killer: Killer, expected, verb, out, overwrite
) -> None:
    """So that the list of steps at which the next test kills is complete."""
    begin(tmp_path / "d", out, overwrite)
    answer = killer.run(verb, tmp_path / "d" / out, audit=str(tmp_path), overwrite=overwrite)
    assert answer["status"] == 0
    assert answer["unannounced"] == []
    assert answer["effects"] > 40
    assert hashes(tmp_path / "d") == expected[out]


@pytest.mark.parametrize("overwrite", [False, True], ids=["new", "overwriting"])
@pytest.mark.parametrize(("verb", "out"), CASES)
def test_killed_at_any_step_it_resumes_to_equal_bytes(
    tmp_path: Path, killer: Killer, expected, verb, out, overwrite
) -> None:
    begin(tmp_path / "counted", out, overwrite)
    steps = killer.run(verb, tmp_path / "counted" / out, overwrite=overwrite)["steps"]
    count = steps if EVERY else POINTS[verb]
    points = sorted({1 + k * (steps - 1) // (count - 1) for k in range(count)})
    killed = 0
    for step in points:
        for torn in (False, True):
            folder = tmp_path / f"killed-{step}-{torn}"
            old = begin(folder, out, overwrite)
            # Shards that finish together share a step, so the last steps may not come.
            answer = killer.run(verb, folder / out, step, torn=torn, overwrite=overwrite)
            if answer["status"] == 0:
                continue
            killed += 1
            _check_reader(folder / out, expected[out], old)
            if overwrite and _now(folder) == old and not list(folder.glob("*.making/job.json")):
                # Killed before the new run was on record: the old dataset stands, untouched.
                assert killer.run(verb, folder / out, overwrite=True)["status"] == 0
            else:
                assert killer.run(verb, folder / out, resume=True)["status"] == 0
            assert hashes(folder) == expected[out], (step, torn)
    print(f"{verb} {out}: {killed} kills, {steps} steps")  # noqa: T201 - seen with -s
    assert killed >= 2 * len(points) - 6


@pytest.mark.parametrize(("verb", "out"), CASES)
def test_killed_again_and_again_it_still_gets_there(
    tmp_path: Path, killer: Killer, expected, verb, out
) -> None:
    """Each run gets a little further than the one before; the resumed ones are killed too."""
    begin(tmp_path / "d", out, overwrite=False)
    step, kills = 20, 0
    while killer.run(verb, tmp_path / "d" / out, step, torn=kills % 2 == 1, resume=True)["status"]:
        _check_reader(tmp_path / "d" / out, expected[out], None)
        kills += 1
        step += 3 if EVERY else 12
    assert kills >= 3
    assert hashes(tmp_path / "d") == expected[out]


def _now(folder: Path) -> dict[str, str]:
    return {name: h for name, h in hashes(folder).items() if ".making" not in name}


def _check_reader(out: Path, expected: dict, old: dict | None) -> None:
    """Whatever the instant: no dataset, the old one whole, or the new one whole."""
    try:
        dataset = open_dataset(out)
    except DatasetError:
        return
    now = _now(out.parent)
    assert now in (expected, old)
    dataset.close()
