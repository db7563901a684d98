"""An S3 store on loopback (moto's), and a proxy before it that fails as networks and stores do."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "bucket"
_PASSED_ON = ("Transfer-Encoding", "Connection", "Content-Length")


@contextlib.contextmanager
def moto_server() -> Iterator[str]:
    """Run moto's S3 server; yield its address."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Proxy:
    """Passes requests on, or fails them.

    Parameters
    ----------
    upstream
        Address of the store.

    Attributes
    ----------
    rate
        Share of each kind of failure: "error" (500 or 503 without asking the store),
        "slow", "cut" (the answer breaks off half-way), "lost" (the store has done what was
        asked, and no answer comes), "refused" (the connection ends within the request).
    before
        Called with the method and the path before a request is passed on; what it returns
        as false is dropped.
    unconditional
        Whether conditional puts are answered as by a store that doesn't know them.
    checksums
        Whether a put must carry the SHA-256 of what it puts, as S3 would see to.
    failures
        Status and code of the answers to the next requests, which don't reach the store.
    silent
        Whether requests are taken and never answered.
    """

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream.removeprefix("http://")
        self._rate: dict[str, float] = {}
        self._deck: list[str] = []
        self.before: Callable[[str, str], bool] = lambda method, path: True
        self.unconditional = False
        self.checksums = False
        self.failures: list[tuple[int, str]] = []
        self.silent = False
        self.random = random.Random(20261124)
        self.seen: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def rate(self) -> dict[str, float]:
        return self._rate

    @rate.setter
    def rate(self, rate: dict[str, float]) -> None:
        with self.lock:
            self._rate, self._deck = rate, []

    def reset(self, **rate: float) -> None:
        self.rate = rate
        self.before = lambda method, path: True
        self.failures, self.silent = [], False
        self.seen.clear()

    def draw(self) -> str:
        """Return what happens to the next request."""
        with self.lock:
            self.seen["requests"] += 1
            if not self._deck:
                # Of each hundred requests exactly as many fail as were asked for, in any order.
                failing = [
                    kind for kind, rate in self._rate.items() for _ in range(round(rate * 100))
                ]
                self._deck = failing + ["pass"] * (100 - len(failing))
                self.random.shuffle(self._deck)
            kind = self._deck.pop()
            self.seen[kind] += 1
            return kind

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and content in one packet

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def handle_expect_100(self) -> bool:
            going_on = super().handle_expect_100()
            self.wfile.flush()  # a client waits a second for it
            return going_on

        def answer(self) -> None:
            nbytes = int(self.headers.get("Content-Length") or 0)
            kind = proxy.draw()
            proxy.seen["signed"] += "Authorization" in self.headers
            if not proxy.before(self.command, self.path):
                kind = "refused"
            if kind == "refused":
                self.rfile.read(nbytes // 2)
                self.hang_up()
                return
            body = self.rfile.read(nbytes)
            if kind == "error":
                self.fail(*proxy.random.choice([(500, "InternalError"), (503, "SlowDown")]))
                return
            if proxy.failures:
                self.fail(*proxy.failures.pop())
                return
            if proxy.silent:
                time.sleep(1)
                self.hang_up()
                return
            if proxy.checksums and self.command == "PUT":
                digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
                if self.headers.get("x-amz-checksum-sha256") != digest:
                    self.fail(400, "InvalidRequest")
                    return
                proxy.seen["checksums"] += 1
            if proxy.unconditional and "If-None-Match" in self.headers:
                self.fail(501, "NotImplemented")
                return
            if kind == "slow":
                time.sleep(0.3)
            status, headers, content = self.ask(body)
            if kind == "lost":
                self.hang_up()
                return
            self.send_response_only(status)
            for name, value in headers:
                if name not in _PASSED_ON:
                    self.send_header(name, value)
            length = dict(headers).get("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            if kind == "cut" and len(content) > 1:
                self.wfile.write(content[: len(content) // 2])
                self.hang_up()
                return
            self.wfile.write(content)

        def ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
            connection = http.client.HTTPConnection(proxy.upstream)
            try:
                connection.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    if name != "Expect":
                        connection.putheader(name, value)
                connection.endheaders(body)
                answer = connection.getresponse()
                return answer.status, answer.getheaders(), answer.read()
            finally:
                connection.close()

        def fail(self, status: int, code: str) -> None:
            content = f"<Error><Code>{code}</Code><Message>not now</Message></Error>".encode()
            self.send_response_only(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def hang_up(self) -> None:
            self.close_connection = True
            self.wfile.flush()
            # Closing would tell the client nothing while a forked child has the socket too.
            self.connection.shutdown(socket.SHUT_RDWR)

        def log_message(self, *arguments: object) -> None:
            pass

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = answer

    return Handler
