"""SIGKILL before and in every effect on the file system, for `make` and `convert`, in every format.

`make` is also killed while it extends a dataset, which at no instant may be lost.

With --long -rP it shows how many kills there were of each case, and in all.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from store_tools import ENVIRONMENT, OUTS, hashes, only_long, tiny, tiny_make

from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError

pytestmark = pytest.mark.kill

HERE = Path(__file__).parent
# At so many steps of each case it is killed, and so many writes are torn; --long takes all.
PLAIN, TORN = 4, 2
ALL = (*OUTS, "d-{shard:03d}.tar")
CASES = [(verb, out) for verb in ("make", "convert") for out in ALL]
# What a target holds before: nothing, another dataset to be replaced, a smaller one to be extended,
# or nothing while a smaller one lies elsewhere and is reused.
RUNS = [
    *[(verb, out, before) for verb, out in CASES for before in ("nothing", "other")],
    ("make", ALL[0], "smaller"),
    *only_long(("make", out, "smaller") for out in ALL[1:]),
    *only_long([("make", ALL[0], "elsewhere")]),
]
N, SHARD, SMALLER = 13, 4, 6
SHARDS = -(-N // SHARD)
# Shards that finish while the journal is written share its next write and sync. So the last of
# those don't come in every run, which then ends well and is tried again. All else comes at once.
TRIES = 30


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
        self.kills = 0
        tiny_make(self.source, N).close()
        tiny_make(folder / "smaller.zarr", SMALLER).close()
        self.modes = {
            "nothing": {},
            "other": {"overwrite": True},
            "smaller": {"extend": True},
            "elsewhere": {"reuse": str(folder / "smaller.zarr")},
        }

    def run(
        self,
        verb: str,
        out: Path,
        step: int | list | None = None,
        *,
        torn: bool = False,
        audit: str = "",
        **options,
    ) -> dict:
        """Make or convert; what doesn't end well was killed at the step asked for."""
        arguments = [str(out)] if verb == "make" else [str(self.source), str(out)]
        request = {"verb": verb, "arguments": arguments, "folder": str(out.parent), "step": step}
        request |= {"torn": torn, "audit": audit, "options": {"shard_size": SHARD, **options}}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["status"] in ((0,) if step is None else (0, -signal.SIGKILL)), request
        return answer

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def killer(tmp_path_factory):
    killer = Killer(tmp_path_factory.mktemp("killer"))
    yield killer
    killer.close()
    print(f"{killer.kills} kills in all")  # noqa: T201 - seen with -rP


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, dict[str, str]]:
    """The bytes of uninterrupted runs."""
    found = {}
    for out in {out for _, out in CASES}:
        folder = tmp_path_factory.mktemp("whole")
        tiny_make(folder / out, N).close()
        found[out] = hashes(folder)
    return found


def begin(folder: Path, out: str, before: str) -> dict[str, str]:
    """Prepare a folder, with a dataset at the target if one is to be replaced or extended."""
    folder.mkdir()
    if before == "other":
        tiny_make(folder / out, recipe=tiny(seed=9), n=17).close()
    elif before == "smaller":
        tiny_make(folder / out, SMALLER).close()
    return hashes(folder)


@pytest.mark.parametrize(("verb", "out", "before"), RUNS)
def test_no_effect_on_files_comes_without_its_step(
    tmp_path: Path, killer: Killer, expected, verb, out, before
) -> None:
    """So that the list of steps at which the next test kills is complete."""
    begin(tmp_path / "d", out, before)
    answer = killer.run(verb, tmp_path / "d" / out, audit=str(tmp_path), **killer.modes[before])
    assert answer["status"] == 0
    assert answer["unannounced"] == []
    assert answer["effects"] > 40
    assert hashes(tmp_path / "d") == expected[out]


def _points(
    killer: Killer, verb: str, folder: Path, out: str, before: str, long: bool, **options
) -> list[tuple]:
    """List the kills of a case that differ: before every step, and in the midst of every write.

    They are those of a run in which each shard had a write of the journal to itself.
    """
    for attempt in range(TRIES):
        place = folder / f"counted-{attempt}"
        begin(place, out, before)
        steps = killer.run(verb, place / out, **killer.modes[before], **options)["steps"]
        journal = [name for name, nbytes in steps if _is_journal(name) and nbytes]
        if len(journal) == SHARDS:
            break
    else:
        raise AssertionError(f"in {TRIES} runs shards always shared a write of the journal")
    plain = [(name, False) for name, _ in steps]
    # Half of a byte is none: that is as killed before it.
    torn = [(name, True) for name, nbytes in steps if nbytes > 1]
    return plain + torn if long else _some(plain, PLAIN) + _some(torn, TORN)


def _some(points: list, count: int) -> list:
    """Take so many, the first, the last, and equally far apart."""
    return [points[k * (len(points) - 1) // (count - 1)] for k in range(count)]


def _is_journal(name: list) -> bool:
    return name[1].endswith("journal.jsonl")


@pytest.mark.parametrize(("verb", "out", "before"), RUNS)
def test_killed_at_any_step_it_resumes_to_equal_bytes(
    tmp_path: Path, killer: Killer, expected, long, verb, out, before
) -> None:
    points = _points(killer, verb, tmp_path, out, before, long)
    _kill_at(points, tmp_path, killer, expected[out], verb, out, before)


@pytest.mark.parametrize("out", [OUTS[0], *only_long(OUTS[1:])])
def test_killed_with_its_worker_process_it_resumes_to_equal_bytes(
    tmp_path: Path, killer: Killer, expected, long, out
) -> None:
    """Steps of driver and worker alike; one worker, so that a step's name is that of one process.

    By default just one kill of each kind, for each run starts a process and its Dask.
    """
    points = _points(killer, "make", tmp_path, out, "nothing", long, processes=True)
    if not long:
        points = [points[PLAIN // 2], points[-1]]
    _kill_at(points, tmp_path, killer, expected[out], "make", out, "nothing", processes=True)


def _kill_at(points, tmp_path, killer, expected, verb, out, before, **options) -> None:
    """Kill a run at each of the points, and resume it."""
    mode = killer.modes[before]
    for number, (step, torn) in enumerate(points):
        for attempt in range(TRIES if _is_journal(step) else 1):
            folder = tmp_path / f"killed-{number}-{attempt}"
            old = begin(folder, out, before)
            run = killer.run(verb, folder / out, step, torn=torn, **mode, **options)
            if run["status"] != 0:
                break
        assert run["status"] == -signal.SIGKILL, f"{step} did not come"
        killer.kills += 1
        is_there = _check_reader(folder / out, expected, old)
        begun = list(folder.glob("*.making/job.json"))
        if before in ("smaller", "elsewhere"):
            assert is_there or begun or before == "elsewhere", "the old dataset is lost"
            killer.run(verb, folder / out, resume=True, **mode, **options)
        elif mode and _now(folder) == old and not begun:
            # Killed before the new run was on record: the old dataset stands, untouched.
            killer.run(verb, folder / out, **mode, **options)
        else:
            killer.run(verb, folder / out, resume=True, **options)
        assert hashes(folder) == expected, (step, torn)
    print(f"{verb} {out}: {len(points)} kills")  # noqa: T201 - seen with -rP


@pytest.mark.parametrize(("verb", "out"), CASES)
def test_killed_again_and_again_it_still_gets_there(
    tmp_path: Path, killer: Killer, expected, long, verb, out
) -> None:
    """Each run gets a little further than the one before; the resumed ones are killed too."""
    begin(tmp_path / "d", out, "nothing")
    step, kills = 20, 0
    while killer.run(verb, tmp_path / "d" / out, step, torn=kills % 2 == 1, resume=True)["status"]:
        _check_reader(tmp_path / "d" / out, expected[out], None)
        kills += 1
        step += 3 if long else 12
        assert step < 400, "no run has so many steps: this one begins again and again"
    assert kills >= 3
    assert hashes(tmp_path / "d") == expected[out]


@pytest.mark.parametrize("verb", ["make", "convert"])
def test_a_killed_export_to_tar_leaves_no_target_and_is_begun_again(
    tmp_path: Path, killer: Killer, expected, verb
) -> None:
    """Even when all shards are whole, and with no word of resuming."""
    folder, out = tmp_path / "d", CASES[-1][1]
    whole = killer.run(verb, _new(tmp_path / "whole") / out)["steps"]
    record = next(n for n, _ in whole if n[0] == "rename" and n[1].endswith("/job.json"))
    killed = killer.run(verb, _new(folder) / out, record)
    assert killed["status"] == -signal.SIGKILL
    assert [path.name for path in folder.iterdir()] == ["d-manifest.tar.h5.making"]
    with pytest.raises(DatasetError, match="no dataset"):
        open_dataset(folder / out)
    again = killer.run(verb, folder / out)["steps"]
    written = [name for name, _ in again if name[0] == "rename" and name[1].endswith(".tar")]
    assert len(written) == 2 * SHARDS  # when it is whole, and when all are
    assert hashes(folder) == expected[out]


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _now(folder: Path) -> dict[str, str]:
    return {name: h for name, h in hashes(folder).items() if ".making" not in name}


def _check_reader(out: Path, expected: dict, old: dict | None) -> bool:
    """Whatever the instant: no dataset, the old one whole, or the new one whole."""
    try:
        dataset = open_dataset(out)
    except DatasetError:
        return False
    now = _now(out.parent)
    assert now in (expected, old)
    dataset.close()
    return True
