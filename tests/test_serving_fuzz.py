"""Hostile requests: nothing is drawn for what isn't there, and nothing hangs or is a traceback.

Some seconds; with --long half an hour.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import time
from urllib.parse import quote, unquote

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_support import drawn_pieces, serving  # noqa: F401 - a fixture
from store_tools import tiny

pytestmark = pytest.mark.fuzz

NUMBERS = st.one_of(
    st.integers(-3, 30).map(str),
    st.sampled_from(["", "00", "01", "+1", "1e1", "0x1", "\u0661", "9" * 25, "9" * 5000, "1_0"]),
)  # fmt: skip
NAMES = st.sampled_from(
    ["image", "label", "seed", "split", "length_scale", "crc32c", "..", ".", "", "IMAGE", "%2e%2e"]
)
ENDS = st.sampled_from(
    ["", ".0", ".0.0", ".0.0.0", "/", "/zarr.json", "\x00", "?a", "#", "%", "\r"]
)
KEYS = st.one_of(
    st.builds("{}/c.{}{}".format, NAMES, NUMBERS, ENDS),
    st.builds("{}{}".format, NAMES, ENDS),
    st.text(max_size=40),
    st.binary(max_size=40).map(lambda data: data.decode("latin-1")),
)
PREFIXES = st.sampled_from(
    ["data.zarr", "data.zarr/", "other.zarr", "", "sheet", "power", "identity"]
)
RANGES = st.one_of(
    st.builds("bytes={}-{}".format, NUMBERS, NUMBERS), st.text(max_size=30), st.just("bytes=-")
)
METHODS = st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT", b"X", b""])


def _path(prefix, key, whether):
    return quote(f"/{prefix}/{key}", safe="/.%?#" if whether else "/").encode()


PATHS = st.builds(_path, PREFIXES, KEYS, st.booleans())
GARBAGE = st.binary(max_size=300)


def _header(text):
    return (
        text.encode("utf-8", "replace").replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
    )


@pytest.fixture
def tracebacks():
    """Collect what the server's and asyncio's loggers are told of exceptions."""
    found = []

    class Collect(logging.Handler):
        def emit(self, record):
            if record.exc_info:
                found.append(self.format(record))

    handler = Collect()
    loggers = [logging.getLogger(name) for name in ("uvicorn.error", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    yield found, loggers
    for logger in loggers:
        logger.removeHandler(handler)


def test_hostile_requests(tracebacks, drawn_pieces, long) -> None:  # noqa: F811
    found, loggers = tracebacks
    end = time.monotonic() + 1800 * long
    sent = 0
    with serving(tiny(), 13, chunk_size=1, shard_size=4, processes=True) as server:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        keys = server.keys
        pages = ("/sheet", "/power", "/difficulty")

        def there(path):
            plain = unquote(path.partition("?")[0])
            known = plain.startswith("/data.zarr/") and keys.nbytes(plain[11:]) is not None
            return known or plain in pages

        @settings(
            max_examples=400, deadline=None,
            suppress_health_check=list(HealthCheck), derandomize=not long, database=None,
        )  # fmt: skip
        @given(METHODS, PATHS, RANGES, st.one_of(st.none(), GARBAGE), st.integers(0, 400))
        def send(method, path, range_, garbage, cut):
            nonlocal sent
            before = len(drawn_pieces)
            line = method + b" " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
            request = line + b"Range: " + _header(range_) + b"\r\n\r\n"
            if garbage is not None and not there(path.decode()):
                request = request[:cut] + garbage
                one = socket.create_connection(("127.0.0.1", server.port), timeout=60)
                with one, contextlib.suppress(ConnectionError):
                    one.sendall(request)
            else:
                answer = server.raw(request)
                assert answer.startswith(b"HTTP/1.1 "), (request, answer)
                status = int(answer[9:12])
                if not there(path.decode()):
                    assert status != 206, request
                    assert len(drawn_pieces) == before, request
            sent += 1

        while sent == 0 or time.monotonic() < end:
            hypothesis.seed(sent)(send)()
        assert server.ask("/data.zarr/zarr.json")[0] == 200
    assert found == []
    assert sent > 100
    print(f"{sent} requests")  # noqa: T201 - seen with -rP


def test_slow_and_silent_clients_are_let_go(monkeypatch) -> None:
    monkeypatch.setattr("gpgen.serving.connections._REQUEST_SECONDS", 0.5)
    with serving(tiny(), 13) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as silent:
            assert silent.recv(1) == b""
        slow = socket.create_connection(("127.0.0.1", server.port), timeout=60)
        with slow, contextlib.suppress(ConnectionError):
            for byte in b"GET /data.zarr/zarr.json HTTP/1.1\r\nX-Slow: " + b"a" * 1000:
                slow.sendall(bytes([byte]))
                time.sleep(0.02)
            raise AssertionError("it was listened to for 20 s")
        assert server.ask("/data.zarr/zarr.json")[0] == 200


def test_a_client_that_takes_nothing_is_let_go(monkeypatch) -> None:
    monkeypatch.setattr("gpgen.serving.connections._STUCK_SECONDS", 0.5)
    with (
        serving(
            tiny(shape=[512, 512]), 400, chunk_size=1, shard_size=400, processes=True
        ) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=60) as stuck,
    ):
        stuck.sendall(b"GET /data.zarr/image/c.0.0.0 HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(3)
        total, size = 0, server.keys.nbytes("image/c.0.0.0")
        with contextlib.suppress(ConnectionError):
            while part := stuck.recv(2**20):
                total += len(part)
        assert 0 < total < size


def test_more_connections_than_are_allowed_are_answered_or_refused(monkeypatch) -> None:
    monkeypatch.setattr("gpgen.serving.server.MOST_CONNECTIONS", 20)
    monkeypatch.setattr("gpgen.serving.connections.MOST_CONNECTIONS", 20)
    monkeypatch.setattr("gpgen.serving.connections._MARGIN", 10)
    with serving(tiny(), 13) as server, contextlib.ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            for _ in range(25)
        ]
        assert server.raw(b"GET /identity HTTP/1.1\r\nHost: a\r\n\r\n").startswith(b"HTTP/1.1 503")
        more = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            for _ in range(10)
        ]
        assert more[-1].recv(1) == b""
        for connection in (*idle, *more):
            connection.close()
        deadline = time.monotonic() + 60
        while server.ask("/identity")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
