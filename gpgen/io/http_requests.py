"""Requests to an HTTP server, for reading alone: each tried again until it is answered or hopeless.

A part of a file is asked for by a range. A server that ignores ranges is refused at once: it
would send a whole shard for each image.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from gpgen.errors import Argument, MissingPackageError, StorageError

__all__ = ["get", "size"]

_ATTEMPTS: Final = 8
"""With pauses of 0.1 s, doubled each time, eight tries that fail at once take about ten seconds."""

_FIRST_ATTEMPTS: Final = 4
"""Where nothing has ever been answered there may be no such server."""

_PAUSE: Final = 0.1
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 60
_MOST_CONNECTIONS: Final = 64
_MOST_REDIRECTS: Final = 5
_MISSING: Final = (404, 410)
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)
_LATER: Final = (
    "check the address and the network, then run it again; "
    f"a run that makes data: with {Argument.RESUME}"
)
_RANGES: Final = "use a server that answers range requests, or download the dataset first"


def get(url: str, offset: int, nbytes: int) -> bytes:
    """Return a part of a file, which is shorter only where the file ends.

    Raises
    ------
    FileNotFoundError
        If there is none.
    StorageError
        If the server doesn't answer, refuses, or ignores the range.
    """
    if nbytes == 0:
        return b""
    wanted = f"bytes={offset}-{offset + nbytes - 1}"
    status, headers, data = _ask("GET", url, {"Range": wanted}, nbytes)
    if status == 416:  # it begins where the file has ended
        return b""
    if status != 206:
        raise StorageError(
            f"{url} can't be read in parts: asked for {nbytes} bytes, the server sends the whole",
            _RANGES,
        )
    told = headers.get("Content-Range", "")
    sent = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", told)
    end = offset + len(data)
    fits = sent is not None and int(sent[1]) == offset and int(sent[2]) + 1 == end
    if not fits or len(data) > nbytes or (len(data) < nbytes and sent and sent[3] != str(end)):
        raise StorageError(
            f"the server gave {len(data)} bytes of {url} ({told or 'without a range'}) when asked "
            f"for {nbytes} from {offset}",
            _RANGES,
        )
    return data


def size(url: str) -> int:
    """Return the bytes of a file.

    Raises
    ------
    FileNotFoundError, StorageError
        As `get`.
    """
    status, headers, _ = _ask("HEAD", url, {}, 0)
    length = headers.get("Content-Length", "")
    if status != 200 or not length.isdecimal():
        raise StorageError(f"the server doesn't say how long {url} is", _RANGES)
    return int(length)


def _ask(
    method: str, url: str, headers: Mapping[str, str], most: int
) -> tuple[int, Mapping[str, str], bytes]:
    """Carry out a request, again while the failure may pass.

    Returns
    -------
    tuple
        Status and headers; and of a partial answer the bytes, whole, or one more than `most`.
    """
    manager, host = _pool.get(url), urlsplit(url).netloc
    from urllib3 import exceptions

    attempt = 0
    while True:
        attempt += 1
        try:
            answer = _pool.request(manager, method, url, headers)
            try:
                _pool.reached.add(host)
                if answer.status in _MISSING:
                    raise FileNotFoundError(2, "no such file", url)
                if answer.status < 400 or answer.status == 416:
                    body = answer.read(most + 1) if answer.status == 206 else b""
                    return answer.status, answer.headers, body
                what = f"answer {answer.status} {answer.reason or ''}".rstrip()
                passing = answer.status in _PASSING
            finally:
                if not answer.closed:  # what is left of the body is not worth reading
                    answer.close()
        except exceptions.HTTPError as error:
            what, passing = _words(error), not isinstance(error, exceptions.LocationValueError)
        enough = _ATTEMPTS if host in _pool.reached else _FIRST_ATTEMPTS
        if not passing or attempt >= enough:
            times = "" if attempt == 1 else f" ({attempt} times)"
            raise StorageError(f"{url} can't be read: {what}{times}", _LATER)
        # Jitter: workers that failed together must not try again together.
        time.sleep(_PAUSE * 2 ** (attempt - 1) * (0.5 + secrets.randbelow(1000) / 2000))


def _words(error: Exception) -> str:
    """Return what failed, in the words of the innermost cause."""
    cause: Any = error
    while isinstance(getattr(cause, "reason", None), BaseException):
        cause = cause.reason
    if len(cause.args) == 2 and isinstance(cause.args[1], BaseException):
        cause = cause.args[1]
    # urllib3 puts its own objects first: "HTTPConnection(host=..., port=...): Connection refused".
    return re.sub(r"^.*(?:Connection|Pool)\w*(?:\(.*?\)| object at \w+>):\s*", "", str(cause))


class _Pool:
    """Connections of this process: a forked child must not talk on its parent's."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._managers: dict[str | None, Any] = {}
        self.reached: set[str] = set()

    def get(self, url: str) -> Any:  # noqa: ANN401
        """Return what sends requests to a server, through the environment's proxy if it has one."""
        parts = urlsplit(url)
        proxy = urllib.request.getproxies().get(parts.scheme)
        if proxy is not None and urllib.request.proxy_bypass(parts.hostname or ""):
            proxy = None
        with self._lock:
            if proxy not in self._managers:
                self._managers[proxy] = _new_manager(proxy)
            return self._managers[proxy]

    @staticmethod
    def request(manager: Any, method: str, url: str, headers: Mapping[str, str]) -> Any:  # noqa: ANN401
        """Send a request once, following redirections; the body is left to be read."""
        import urllib3

        return manager.request(
            method,
            url,
            # A compressed answer would have other bytes, and ranges of those.
            headers={"Accept-Encoding": "identity", "User-Agent": "gpgen", **headers},
            retries=urllib3.Retry(
                _MOST_REDIRECTS, connect=0, read=0, status=0, other=0, redirect=_MOST_REDIRECTS
            ),
            preload_content=False,
        )


_pool = _Pool()


def _new_manager(proxy: str | None) -> Any:  # noqa: ANN401
    try:
        import urllib3
    except ImportError as error:
        raise MissingPackageError(
            "datasets on http:// need the package urllib3, which isn't installed",
            "install it with `pip install 'gpgen[http]'`",
        ) from error
    settings: dict[str, Any] = {
        "timeout": urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        "maxsize": _MOST_CONNECTIONS,
    }
    if proxy is None:
        return urllib3.PoolManager(**settings)
    return urllib3.ProxyManager(proxy, **settings)
