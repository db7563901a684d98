"""HTTP for the API of a repository: one address, one token, repeated requests, plain errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ClassVar, Final

from gpgen._version import __version__
from gpgen.errors import Argument, GpgenError, MissingPackageError
from gpgen.publish.addresses import base_url
from gpgen.publish.rate_limits import full_until, requested_wait
from gpgen.publish.token import Token

try:
    import httpx
except ImportError as error:  # pragma: no cover - the tests have it
    raise MissingPackageError(
        "publishing and fetching need the package httpx, which isn't installed",
        "install it with `pip install 'gpgen[publish]'`",
    ) from error

__all__ = ["Service", "ServiceError", "TransportError"]

TransportError = httpx.TransportError
"""A connection that broke, or was never made."""

_ATTEMPTS: Final = 6
_FIRST_ATTEMPTS: Final = 2
"""At a service that can't be connected to and has never answered: there may be no network."""

_CONNECT_SECONDS: Final = 10.0
_LONGEST_WAIT: Final = 3600.0
"""Seconds; a server that asks for more is an error."""

_CONTINUE: Final = "then run the same command again: what is there is kept"

_BUSY: Final = frozenset({429, 503})
_FAILED: Final = frozenset({500, 502, 504})

Content = bytes | Callable[[], Iterable[bytes]]


class ServiceError(GpgenError, RuntimeError):
    """A repository that refuses, fails or doesn't answer.

    Parameters
    ----------
    message, hint
        As for every error of gpgen.
    status
        The HTTP status, if there was an answer.
    lasting
        Whether the same request would fail again.
    """

    code: ClassVar[str] = "service"

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        status: int | None = None,
        *,
        lasting: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.lasting = lasting


class Service:
    """A repository at one address.

    Requests that fail on the way, and answers that say the server is busy or failed, are
    repeated with growing waits; ``Retry-After`` and ``X-RateLimit-Reset`` are obeyed. The
    token goes to this address and no other: redirects elsewhere are followed without it.

    Parameters
    ----------
    address
        Such as https://zenodo.org.
    token
        Without one only what is public can be read.
    sleep
        How to wait, in seconds.
    notify
        Called with a sentence when it asks a service, and when it waits.
    """

    def __init__(
        self,
        address: str,
        token: Token | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        notify: Callable[[str], None] | None = None,
    ) -> None:
        self.address = base_url(address)
        self._token = token
        self._sleep = sleep
        self._notify = notify or (lambda _: None)
        self._free_at = 0.0
        self._asked = self._answered = False
        self._client = httpx.Client(
            headers={"User-Agent": f"gpgen/{__version__}", "Accept": "application/json"},
            timeout=httpx.Timeout(300.0, connect=_CONNECT_SECONDS),
        )

    def __repr__(self) -> str:
        return f"Service({self.address!r})"

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: Content | None = None,
        nbytes: int | None = None,
        repeatable: bool = True,
        expect: tuple[int, ...] = (),
    ) -> dict[str, Any]:
        """Make a request and return the JSON that answers it.

        Parameters
        ----------
        method, path
            The path begins with a slash.
        json
            What to send as JSON.
        content, nbytes
            What to send as bytes, and how many; a callable is called anew for each attempt.
        repeatable
            Whether the request may be sent again when its answer was lost (it is idempotent).
        expect
            Statuses other than success that are answers too; the result is then empty.

        Raises
        ------
        ServiceError
            If the service refuses, keeps failing, or doesn't answer.
        """
        headers = {}
        if content is not None:
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(nbytes)}
        response = self._answer(method, path, headers, json, content, repeatable=repeatable)
        if response.status_code in expect:
            return {}
        if not response.is_success:
            raise self._refusal(response, method, path)
        if not response.content:
            return {}
        try:
            answer = response.json()
        except ValueError:
            raise ServiceError(
                f"{self.address} answered {method} {path} with something that is not JSON",
                "see whether the address is an InvenioRDM service",
            ) from None
        return answer if isinstance(answer, dict) else {"value": answer}

    def stream(
        self, path: str, start: int, receive: Callable[[Iterable[bytes], bool], None]
    ) -> None:
        """Download a file from byte `start` on, following redirects.

        Parameters
        ----------
        path
            Begins with a slash.
        start
            Bytes that are there already.
        receive
            Called with the pieces, and whether they really begin at `start`; a server may
            send the whole instead.

        Raises
        ------
        ServiceError, TransportError
            If it is refused; if the connection breaks, which the caller may go on from.
        """
        headers = {"Accept": "*/*"} | ({"Range": f"bytes={start}-"} if start else {})
        response = self._answer("GET", path, headers, stream=True)
        try:
            if not response.is_success:
                response.read()
                raise self._refusal(response, "GET", path)
            receive(response.iter_bytes(2**20), response.status_code == 206)
        finally:
            response.close()

    def _answer(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        json: object = None,
        content: Content | None = None,
        *,
        repeatable: bool = True,
        stream: bool = False,
    ) -> httpx.Response:
        """Send a request, again while the server is busy or the connection breaks."""
        if not self._asked:
            self._asked = True
            self._notify(f"asking {self.address}")
        token = self._token.header() if self._token else {}
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            self._wait_for_rate()
            body = content() if callable(content) else content
            request = self._client.build_request(
                method, self.address + path, headers=token | headers, json=json, content=body
            )
            try:
                # httpx leaves the token out when a redirect leads to another address.
                response = self._client.send(
                    request, stream=stream, follow_redirects=method == "GET"
                )
            except TransportError as error:
                unreached = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                hopeless = unreached and not self._answered and attempt == _FIRST_ATTEMPTS - 1
                if last or hopeless or not (repeatable or unreached):
                    raise self._silence(error, method, path) from None
                why = f"{self.address} can't be reached" if unreached else "the connection broke"
                self.pause(2.0**attempt, why)
                continue
            self._answered = True
            self._free_at = full_until(response.headers)
            again = response.status_code in _BUSY or (
                repeatable and response.status_code in _FAILED
            )
            if last or not again:
                return response
            response.close()
            said = f"{self.address} answered {response.status_code}"
            self.pause(requested_wait(response) or 2.0**attempt, said)
        raise AssertionError  # the last attempt returns or raises

    # Waiting

    def pause(self, seconds: float, why: str) -> None:
        """Wait, and say why."""
        if seconds > _LONGEST_WAIT:
            raise ServiceError(
                f"{why} and asks to wait {seconds / 3600:.1f} hours",
                "run the same command again after that: what is there is kept",
            )
        self._notify(f"{why}; waiting {seconds:.0f} s")
        self._sleep(seconds)

    def _wait_for_rate(self) -> None:
        wait = self._free_at - time.time()
        self._free_at = 0.0
        if wait > 0:
            self.pause(wait, f"{self.address} allows no more requests for now")

    # Words

    def _silence(self, error: Exception, method: str, path: str) -> ServiceError:
        reason = self._clean(str(error)) or type(error).__name__
        said = f"did not answer {method} {path}" if self._answered else "can't be reached"
        hint = f"check the address and the network, {_CONTINUE}"
        return ServiceError(f"{self.address} {said}: {reason}", hint)

    def _refusal(self, response: httpx.Response, method: str, path: str) -> ServiceError:
        status = response.status_code
        said = self._clean(_said_in(response)).rstrip(".")
        lasting = status in (401, 403)
        if status in (401, 403) and self._token is None:
            message = (
                f"{self.address} doesn't show {path.removeprefix('/api')} to everybody ({status})"
            )
            hint = "ask its owners, or give the number of a record that is public"
        elif status == 401:
            message = f"{self.address} refuses the token (401)"
            hint = f"make a new one on its page, Applications, and set it; {_CONTINUE}"
        elif status == 403:
            message = f"{self.address} forbids {method} {path} (403): {said}"
            hint = (
                "use a token of the owner's, with the scopes deposit:write and deposit:actions; "
                + _CONTINUE
            )
        elif status in (404, 410):
            message = f"{self.address} has no {path.removeprefix('/api')} ({status})"
            hint = "see whether the number and the service are the right ones"
        elif status in (413, 507) or "quota" in said.lower():
            message = f"{self.address} has no room for it ({status}): {said}"
            hint = f"ask for more quota, or package with {Argument.RECIPE_ONLY}; {_CONTINUE}"
            lasting = True
        elif status in _BUSY | _FAILED:
            message = f"{self.address} keeps failing ({status}): {said}"
            hint = "run the same command again later: what is there is kept"
        else:
            message = f"{self.address} refuses {method} {path} ({status}): {said}"
            hint = f"correct that; {_CONTINUE}"
        return ServiceError(message, hint, status, lasting=lasting)

    def _clean(self, text: str) -> str:
        text = " ".join(text.split())[:500]
        return self._token.removed_from(text) if self._token else text


def _said_in(response: httpx.Response) -> str:
    """Return what a refusal says, in one line."""
    try:
        answer = response.json()
        text = str(answer.get("message") or "")
        for error in answer.get("errors") or []:
            text += f"; {error.get('field', '')}: {' '.join(map(str, error.get('messages', [])))}"
    except (ValueError, AttributeError, TypeError):
        return str(response.reason_phrase)
    return text.strip("; ") or str(response.reason_phrase)
