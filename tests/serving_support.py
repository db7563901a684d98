"""A server in a thread of this process, so that what it draws can be seen; and raw requests."""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from pathlib import Path

import pytest

from gpgen.serving.app import application
from gpgen.serving.server import Server, listening
from gpgen.virtual_store.drawing import DRAWING
from gpgen.virtual_store.drawing_processes import drawn_by_processes
from gpgen.virtual_store.opening import keys_of


class Serving:
    """What is being served, and what was drawn for it."""

    def __init__(self, keys, port):
        self.keys, self.port = keys, port
        self.root = f"http://127.0.0.1:{port}"
        self.url = f"{self.root}/data.zarr"

    def ask(self, path, method="GET", **headers):
        """Return status, headers with names in lower case, and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return answer.status, found, answer.read()

    def raw(self, data, seconds=60.0):
        """Send bytes, and return what comes until the connection is closed or nothing comes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            with contextlib.suppress(OSError):
                connection.sendall(data)
            parts = []
            with contextlib.suppress(ConnectionError, TimeoutError):
                while part := connection.recv(2**16):
                    parts.append(part)
            return b"".join(parts)


@contextlib.contextmanager
def serving(source, n=None, *, design=None, processes=False, **sizes):
    """Serve a recipe or a deposit, or what a design now is; drawn by threads, or by processes."""
    keys = design() if design else keys_of(source, n, **sizes)
    drawing = drawn_by_processes(keys) if processes else contextlib.nullcontext()
    found = listening("127.0.0.1", 0)
    server = Server(application(design or (lambda: keys), changing=design is not None))
    thread = threading.Thread(target=server.run, args=([found],))
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with drawing:
            yield Serving(keys, found.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(60)
        found.close()
    assert not thread.is_alive()


@pytest.fixture
def drawn_pieces(monkeypatch):
    """Return a list that grows by what is drawn."""
    pieces, submit = [], DRAWING.submit

    def counting(piece):
        pieces.append(piece)
        return submit(piece)

    DRAWING.renew()
    monkeypatch.setattr(DRAWING, "submit", counting)
    return pieces


def zarrita_folder() -> Path | None:
    """Return where `npm install zarrita` was run: the checkout or a folder above it."""
    for folder in Path(__file__).resolve().parents:
        if (folder / "node_modules" / "zarrita").is_dir():
            return folder
    return None
