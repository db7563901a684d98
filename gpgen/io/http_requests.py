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
from urllib.parse import unquote, urlsplit

from gpgen.errors import Argument, MissingPackageError, StorageError, UsageError

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
    sent = _part(headers)
    end = offset + len(data)
    fits = sent is not None and sent[:2] == (offset, end - 1)
    if not fits or len(data) > nbytes or (len(data) < nbytes and sent and sent[2] != str(end)):
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
    status, headers, _ = _ask("HEAD", url, {}, 0, refused=True)
    length = headers.get("Content-Length", "")
    if status == 200 and length.isdecimal():
        return int(length)
    # A server, or an address that is signed for GET, may refuse HEAD: the first byte says it too.
    status, headers, _ = _ask("GET", url, {"Range": "bytes=0-0"}, 1)
    told = re.fullmatch(r"bytes (?:0-0|\*)/(\d+)", headers.get("Content-Range", ""))
    if status not in (206, 416) or told is None:
        raise StorageError(f"the server doesn't say how long {url} is", _RANGES)
    return int(told[1])


def _ask(
    method: str, url: str, headers: Mapping[str, str], most: int, *, refused: bool = False
) -> tuple[int, Mapping[str, str], bytes]:
    """Carry out a request, again while the failure may pass.

    Parameters
    ----------
    refused
        Return an answer that refuses, too.

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
                    cut = answer.status == 206 and _is_cut(answer.headers, len(body), most)
                    if not cut:
                        return answer.status, answer.headers, body
                    what, passing = f"its body ended after {len(body)} bytes", True
                else:
                    what = f"answer {answer.status} {answer.reason or ''}".rstrip()
                    passing = answer.status in _PASSING
                    if refused and not passing:
                        return answer.status, answer.headers, b""
            finally:
                if not answer.closed:  # what is left of the body is not worth reading
                    answer.close()
        except exceptions.HTTPError as error:
            what, passing = _words(error), not _stays_so(error)
        enough = _ATTEMPTS if host in _pool.reached else _FIRST_ATTEMPTS
        if not passing or attempt >= enough:
            times = "" if attempt == 1 else f" ({attempt} times)"
            raise StorageError(f"{url} can't be read: {what}{times}", _LATER)
        # Jitter: workers that failed together must not try again together.
        time.sleep(_PAUSE * 2 ** (attempt - 1) * (0.5 + secrets.randbelow(1000) / 2000))


def _stays_so(error: Exception) -> bool:
    """Return whether a request fails for what the address, or a redirection, says."""
    from urllib3 import exceptions

    # A response is the reason where there were too many redirections, and nowhere else.
    named = (exceptions.LocationValueError, exceptions.ResponseError)
    return isinstance(error, named) or isinstance(getattr(error, "reason", None), named)


def _part(headers: Mapping[str, str]) -> tuple[int, int, str] | None:
    """Return the first and last byte of a partial answer, and the file's size or "*"."""
    told = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", headers.get("Content-Range", ""))
    return None if told is None else (int(told[1]), int(told[2]), told[3])


def _is_cut(headers: Mapping[str, str], nbytes: int, most: int) -> bool:
    """Tell whether a body is shorter than its range: without a length, urllib3 can't see that."""
    part = _part(headers)
    return part is not None and nbytes < min(part[1] + 1 - part[0], most)


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
    # As curl and Python's own client read it: the scheme may be missing, a name and a password not.
    address = proxy if "://" in proxy else f"http://{proxy}"
    try:
        parts = urlsplit(address)
        if parts.username is not None:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            settings["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=login)
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return urllib3.ProxyManager(bare, **settings)
    except (urllib3.exceptions.HTTPError, ValueError):
        shown = re.sub(r"//.*@", "//", address)
        raise UsageError(
            f"the proxy {shown} of the environment can't be used",
            "set http_proxy and https_proxy to an address like http://host:port, or unset them",
        ) from None
