"""``python -m benchmarks.serve``: serving images against drawing them, and many connections.

Rounds are interleaved. Serving shares the cores with its clients, which are a process of their own:
what they and the network take is missing to the drawing. It is compared with drawing in three ways:
by threads of one process, as `gpgen make` draws, with images that are kept, so that each needs
memory of its own, or each drawn over the last; and by processes, each of which draws over its last
image, which is as fast as drawing gets.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import numpy.typing as npt
from rich.console import Console

from benchmarks.machine import describe_machine
from gpgen.exact.blas import one_blas_thread
from gpgen.recipe import Recipe
from gpgen.sampling import sampler_for
from gpgen.virtual_store.opening import keys_of
from gpgen.workers import worker_count

__all__ = ["main"]


class Drawing:
    """Draws on all cores, and takes the time.

    Parameters
    ----------
    recipe
        What is drawn.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._recipe, self._buffers = recipe, threading.local()
        self._pool = ThreadPoolExecutor(worker_count(None))

    def _over(self, k: int) -> None:
        if not hasattr(self._buffers, "image"):
            self._buffers.image = self._new(k)
        sampler_for(self._recipe).images(k, k + 1, out=self._buffers.image)

    def _new(self, k: int) -> npt.NDArray[Any]:
        return sampler_for(self._recipe).images(k, k + 1)

    def seconds(self, start: int, count: int, *, kept: bool) -> tuple[float, float]:
        """Return the seconds of some images by the clock and of CPU time.

        Parameters
        ----------
        start, count
            Which.
        kept
            Whether each has memory of its own, as those that are served; otherwise each is drawn
            over the last, which is faster and leaves nothing.
        """
        draw = self._new if kept else self._over
        with one_blas_thread():
            list(self._pool.map(draw, range(8)))  # factors
            begun, used = time.perf_counter(), time.process_time()
            images = list(self._pool.map(draw, range(start, start + count)))
            seconds = time.perf_counter() - begun, time.process_time() - used
        del images
        return seconds


def _over_in_a_process(name: str, start: int, count: int) -> float:
    """Draw some images, each over the last; return the seconds of CPU time that it took here."""
    sampler = sampler_for(Recipe.load(name))
    with one_blas_thread():
        begun = time.process_time()
        image = sampler.images(start, start + 1)
        for k in range(start + 1, start + count):
            sampler.images(k, k + 1, out=image)
        return time.process_time() - begun


class DrawingProcesses:
    """Draws by processes, one a core.

    Parameters
    ----------
    name
        The recipe.
    """

    def __init__(self, name: str) -> None:
        self._name, self._count = name, worker_count(None)
        self._pool = multiprocessing.get_context("spawn").Pool(self._count)
        self.seconds(0, 8 * self._count)  # factors

    def seconds(self, start: int, count: int) -> tuple[float, float]:
        """Return the seconds of some images by the clock and of CPU time."""
        each = count // self._count
        words = [(self._name, start + k * each, each) for k in range(self._count)]
        begun = time.perf_counter()
        used = self._pool.starmap(_over_in_a_process, words, chunksize=1)
        return (time.perf_counter() - begun) * count / (each * self._count), sum(used)

    def close(self) -> None:
        """End them."""
        self._pool.terminate()


def _fetch(address: str, ranges: list[tuple[str, int, int]]) -> None:
    connection = http.client.HTTPConnection(address)
    room = memoryview(bytearray(2**20))
    for path, first, last in ranges:
        connection.request("GET", path, headers={"Range": f"bytes={first}-{last}"})
        answer, got = connection.getresponse(), 0
        while part := answer.readinto(room):
            got += part
        assert got == last - first + 1
    connection.close()


def _client(address: str, ranges: list[tuple[str, int, int]], connections: int) -> float:
    """Fetch all ranges; return the seconds of CPU time that it took here."""
    begun = time.process_time()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda k: _fetch(address, ranges[k::connections]), range(connections)))
    return time.process_time() - begun


def places(recipe: Recipe, n: int, start: int, count: int) -> list[tuple[str, int, int]]:
    """Return key, first and last byte of each of some samples of 1 image a chunk."""
    layout, size = keys_of(recipe, n).layout, recipe.image_nbytes + 4
    assert layout.chunk_size == 1
    rest = ".0" * len(recipe.shape)
    found = []
    for sample in range(start, start + count):
        shard, position = divmod(sample, layout.shard_size)
        key = f"/data.zarr/image/c.{shard}{rest}"
        found.append((key, position * size, (position + 1) * size - 1))
    return found


async def _many(host: str, port: int, requests: list[bytes], rounds: int) -> int:
    """Send each request over a connection of its own, kept open; return the answers that came."""
    streams = [await asyncio.open_connection(host, port, limit=2**16) for _ in requests]
    answered = 0

    async def one(
        request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> int:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        await reader.readexactly(length)
        return int(head.startswith(b"HTTP/1.1 20"))

    for _ in range(rounds):
        asked = zip(requests, streams, strict=True)
        answered += sum(await asyncio.gather(*(one(request, *each) for request, each in asked)))
    for _, writer in streams:
        writer.close()
    return answered


def _many_in_a_process(arguments: tuple[str, int, list[bytes], int]) -> int:
    return asyncio.run(_many(*arguments))


def _with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}").glob("task/*/children")
    return [pid, *(int(child) for found in children for child in found.read_text().split())]


def _most_memory(pid: int) -> str:
    """Return the most memory that a process and those that it started have had."""
    parts = []
    for one in _with_children(pid):
        status = Path(f"/proc/{one}/status").read_text()
        parts.append(str(int(status.partition("VmHWM:")[2].split()[0]) // 1024))
    return f"server's memory at most {' + '.join(parts)} MB, what they share in each"


def _cpu_seconds(pids: Sequence[int]) -> tuple[float, float]:
    """Return the CPU time that processes have taken, the user's and the system's."""
    ticks = [0, 0]
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks[0] += int(fields[11])
        ticks[1] += int(fields[12])
    user, system = (count / os.sysconf("SC_CLK_TCK") for count in ticks)
    return user, system


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and show what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="two-scale")
    parser.add_argument("--images", type=int, default=100, help="images a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, default=1000)
    options = parser.parse_args(arguments)
    console, recipe, n = Console(), Recipe.load(options.recipe), 10**6
    console.print(describe_machine())
    words = [sys.executable, "-m", "gpgen_cli", "serve", options.recipe, "--n", str(n)]
    words += ["--port", "0", "--json"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    url = json.loads(server.stdout.readline())["url"]
    address = urlsplit(url).netloc
    host, port = address.split(":")
    spawn = multiprocessing.get_context("spawn")
    try:
        names = ("threads, each kept", "threads, each over the last", "processes", "served")
        rates: dict[str, list[float]] = {name: [] for name in names}
        itself = ("of it the server's own process: the user's", "the system's")
        cpu = dict.fromkeys((*names, *itself, "their clients"), 0.0)
        drawing = Drawing(recipe)
        with spawn.Pool(1) as clients, contextlib.closing(DrawingProcesses(options.recipe)) as many:
            clients.apply(_client, (address, places(recipe, n, 0, 8), 4))  # factors
            for k in range(options.rounds):
                start = 1000 * (k + 1)
                for name, kept in zip(names, (True, False), strict=False):
                    seconds, used = drawing.seconds(start, options.images, kept=kept)
                    rates[name].append(options.images / seconds)
                    cpu[name] += used
                seconds, used = many.seconds(start, options.images)
                rates["processes"].append(options.images / seconds)
                cpu["processes"] += used
                pids = _with_children(server.pid)
                before = [_cpu_seconds(pids), _cpu_seconds(pids[:1])]
                begun = time.perf_counter()
                wanted = places(recipe, n, start, options.images)
                cpu["their clients"] += clients.apply(_client, (address, wanted, 4))
                rates["served"].append(options.images / (time.perf_counter() - begun))
                cpu["served"] += sum(_cpu_seconds(pids)) - sum(before[0])
                for kind, now, then in zip(itself, _cpu_seconds(pids[:1]), before[1], strict=True):
                    cpu[kind] += now - then
            megabytes = median(rates["served"]) * recipe.image_nbytes / 1e6
            console.print(f"served: {median(rates['served']):.0f} images/s, {megabytes:.0f} MB/s")
            for name in names[:3]:
                pairs = zip(rates["served"], rates[name], strict=True)
                ratios = sorted(served / drawn for served, drawn in pairs)
                console.print(
                    f"{name}: {median(rates[name]):.0f} images/s; served to this: median "
                    f"{median(ratios):.2f}, {ratios[0]:.2f} to {ratios[-1]:.2f}"
                )
            each = 1e3 / options.rounds / options.images
            console.print(
                "CPU time an image: "
                + ", ".join(f"{name} {each * seconds:.1f} ms" for name, seconds in cpu.items())
            )
            first = f"Host: {host}\r\nConnection: keep-alive\r\n\r\n".encode()
            small = b"GET /data.zarr/image/zarr.json HTTP/1.1\r\n" + first
            count = options.connections
            begun = time.perf_counter()
            answered = clients.apply(_many_in_a_process, ((host, int(port), [small] * count, 5),))
            rate = answered / (time.perf_counter() - begun)
            console.print(
                f"{count} connections kept open: {answered} of {5 * count} requests answered, "
                f"{rate:.0f}/s; {_most_memory(server.pid)}"
            )
            images = [
                f"GET {key} HTTP/1.1\r\nRange: bytes={low}-{high}\r\n".encode() + first
                for key, low, high in places(recipe, n, 500_000, count)
            ]
            answered = clients.apply(_many_in_a_process, ((host, int(port), images, 1),))
            console.print(
                f"another image over each: {answered} of {count} answered; "
                f"{_most_memory(server.pid)}"
            )
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
