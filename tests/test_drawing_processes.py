"""Processes that draw a server's chunks: the same bytes, whatever becomes of a process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cli_support import command
from serving_support import Serving
from store_tools import ENVIRONMENT, drawn, tiny
from virtual_support import deposit_of

from gpgen.errors import ClusterError, DatasetError
from gpgen.virtual_store import drawing_processes
from gpgen.virtual_store.drawing_processes import drawn_by_processes
from gpgen.virtual_store.keys import VirtualKeys
from gpgen.virtual_store.opening import keys_of

pytestmark = [
    pytest.mark.kill,
    pytest.mark.skipif(
        not hasattr(os, "memfd_create") or len(os.sched_getaffinity(0)) == 1,
        reason="needs memory to share, and two cores",
    ),
]


def children_of(pid):
    """Return the processes that a process has started."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.add(int(folder.name))
    return found


def images_of(chunk, keys):
    return np.frombuffer(chunk, "<f4")[:-1].reshape(-1, *keys.recipe.shape)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("chunk_size", [1, 3])
def test_chunks_are_those_that_threads_draw_and_stay_what_they_are(chunk_size) -> None:
    keys = keys_of(tiny(), 30, chunk_size=chunk_size, shard_size=6)
    expected = drawn(tiny(), 30)
    before = children_of(os.getpid())
    with drawn_by_processes(keys), ThreadPoolExecutor(2) as pool:
        firsts = range(0, 30, chunk_size)
        chunks = list(pool.map(keys.draw_elsewhere, firsts))
        for first, chunk in zip(firsts, chunks, strict=True):
            assert chunk.readonly
            assert chunk == keys._drawn_chunk(first)
            np.testing.assert_array_equal(images_of(chunk, keys), expected[first:][:chunk_size])
        # A part of a chunk keeps its memory; that of others is used again.
        part = chunks[1][10:200]
        del chunks, chunk
        pieces = keys.draw_elsewhere.__self__._chunks
        made = len(pieces._maps)
        for first in [*firsts] * 3:
            keys.draw_elsewhere(first)
        assert len(pieces._maps) == made
        assert part == keys._drawn_chunk(chunk_size)[10:200]
    assert children_of(os.getpid()) == before


def test_a_process_that_is_killed_is_replaced_and_two_are_told_of(monkeypatch) -> None:
    keys = keys_of(tiny(), 30, chunk_size=1, shard_size=6)
    with drawn_by_processes(keys):
        expected = bytes(keys.draw_elsewhere(7))
        for process in keys.draw_elsewhere.__self__._all:
            process._process.send_signal(signal.SIGKILL)
        assert keys.draw_elsewhere(7) == expected
        for process in keys.draw_elsewhere.__self__._all:
            process._process.kill()
        ends = [sys.executable, "-c", "raise SystemExit(3)"]
        monkeypatch.setattr(drawing_processes, "python_calling", lambda *_: ends)
        with pytest.raises(ClusterError, match=r"chunk of sample 8; the last ended with status 3"):
            keys.draw_elsewhere(8)
        monkeypatch.setattr(drawing_processes, "python_calling", lambda *_: ["/no/such/python"])
        with pytest.raises(ClusterError, match="no process can be started to draw: no such file"):
            keys.draw_elsewhere(8)
        monkeypatch.undo()
        assert keys.draw_elsewhere(7) == expected
    with pytest.raises(ClusterError, match="the server has ended"):
        keys.draw_elsewhere(9)


@pytest.mark.parametrize("lacking", ["memfd_create", "executable"])
def test_where_no_process_can_draw_the_threads_do(monkeypatch, lacking) -> None:
    def refuse(name):
        raise PermissionError

    if lacking == "executable":
        monkeypatch.setattr(sys, "executable", "")
    else:
        monkeypatch.setattr(os, "memfd_create", refuse)
    keys = keys_of(tiny(), 30)
    with drawn_by_processes(keys):
        assert keys.draw_elsewhere is None


def test_what_drawing_raises_is_raised_here(tmp_path: Path) -> None:
    keys = keys_of(deposit_of(tmp_path)[1])
    crcs = np.array(keys.checksums.crc32c)
    crcs[5] ^= 1
    sums = dataclasses.replace(keys.checksums, crc32c=crcs)
    wrong = VirtualKeys(keys.recipe, keys.layout, sums)
    with drawn_by_processes(wrong):
        with pytest.raises(DatasetError, match="sample 5 as it is drawn here is not the deposit's"):
            wrong.draw_elsewhere(4)
        assert wrong.draw_elsewhere(8) == keys._drawn_chunk(8)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_end_with_the_server_and_one_that_dies_costs_no_answer(
    tmp_path: Path, number
) -> None:
    recipe = tiny(shape=[256, 256])
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    process = subprocess.Popen(
        command("serve", "r.toml", "--n", "500", "--port", "0", "--json"),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        url = json.loads(process.stdout.readline())["url"]
        served = Serving(None, int(url.split(":")[2].partition("/")[0]))
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda k: served.ask(f"/data.zarr/image/c.{k}.0.0"), range(4)))
        assert {status for status, _, _ in answers} == {200}
        children = children_of(process.pid)
        assert children
        for child in children:
            os.kill(child, signal.SIGKILL)
        assert served.ask("/data.zarr/image/c.5.0.0")[0] == 200
        children = children_of(process.pid)
        assert children
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert err == ""
        wait_until(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    finally:
        process.kill()
        process.communicate()
