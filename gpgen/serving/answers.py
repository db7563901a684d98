"""The keys of a dataset as answers to requests; what is asked for is drawn while it is sent."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gpgen.errors import GpgenError, UsageError
from gpgen.format.zarr_content import chunk_nbytes
from gpgen.serving.requests import asked_range, is_current
from gpgen.virtual_store.drawing import DRAWING, drawn
from gpgen.virtual_store.keys import VirtualKeys

__all__ = ["Drawn", "KeyAnswers", "refused"]

_SENT_AT_ONCE: Final = 2**21
_HELD_BYTES: Final = 2**27
"""Of chunks that are being sent, about: what more ask for waits."""

_FOREVER: Final = "public, max-age=31536000, immutable"
_ASK_AGAIN: Final = "no-cache"
_NOT_THERE: Final = "there is no such key\n"
_IDENTITY: Final = re.compile("[0-9a-f]{64}")


class KeyAnswers:
    """Answers GET and HEAD of a dataset's keys.

    Parameters
    ----------
    keys
        Gives the dataset: always the same, or that of a recipe under design as it now is.
    changing
        Whether it is under design. Then it is read only under its identity, lest whoever has read
        the metadata of one recipe gets the images of the next.
    """

    def __init__(self, keys: Callable[[], VirtualKeys], changing: bool) -> None:
        self._keys, self._changing = keys, changing
        self._sending: dict[str, asyncio.Semaphore] = {}

    async def __call__(self, request: Request) -> Response:
        """Answer a request for the key in its path.

        The dataset ``data`` is the one that is served now; under its identity it never changes.
        Another's identity is answered with 409: the fill value is what clients read for a 404.
        """
        try:
            keys = self._keys()
        except GpgenError as error:
            return refused(error)
        dataset, key = request.path_params["dataset"], request.path_params["key"]
        other = dataset != keys.identity and _IDENTITY.fullmatch(dataset)
        if other or (dataset == "data" and self._changing):
            what = "the dataset that was here is another now" if other else "this recipe may change"
            line = f"{what}; what is served now can be read at /{keys.identity}.zarr\n"
            return PlainTextResponse(line, 409, {"cache-control": "no-store"})
        nbytes = keys.nbytes(key) if dataset in ("data", keys.identity) else None
        if nbytes is None:
            return PlainTextResponse(_NOT_THERE, 404)
        tag = f'"{hashlib.sha256(f"{keys.identity}/{key}".encode()).hexdigest()[:32]}"'
        headers = {
            "accept-ranges": "bytes",
            "cache-control": _ASK_AGAIN if dataset == "data" else _FOREVER,
            "cross-origin-resource-policy": "cross-origin",
            "etag": tag,
            "x-content-type-options": "nosniff",
        }
        if is_current(request.headers, tag):
            return Response(None, 304, headers)
        headers["content-type"] = (
            "application/json" if key.endswith(".json") else "application/octet-stream"
        )
        part = asked_range(request.headers, nbytes, tag) if request.method == "GET" else None
        start, stop = part or (0, nbytes)
        if part is not None and start >= stop:
            headers["content-range"] = f"bytes */{nbytes}"
            return PlainTextResponse("there are no such bytes\n", 416, headers)
        if part is not None:
            headers["content-range"] = f"bytes {start}-{stop - 1}/{nbytes}"
        headers["content-length"] = str(stop - start)
        if request.method == "HEAD":
            return Response(None, 200, headers)
        body = drawn(keys.pieces(key, start, stop))
        limit = self._limit(keys) if key.startswith("image/c.") else contextlib.nullcontext()
        return Drawn(body, limit, 200 if part is None else 206, headers)

    def _limit(self, keys: VirtualKeys) -> asyncio.Semaphore:
        """Return what limits how many answers with images are under way."""
        if keys.identity not in self._sending:
            count = _HELD_BYTES // chunk_nbytes(keys.recipe, keys.layout)
            self._sending = {keys.identity: asyncio.Semaphore(max(count, 2 * DRAWING.threads))}
        return self._sending[keys.identity]


class Drawn(Response):
    """Bytes that are sent as they are drawn, as long as somebody listens.

    Parameters
    ----------
    body
        Draws them.
    limit
        Held while they are.
    status_code, headers
        As of any response.
    """

    def __init__(
        self,
        body: AsyncIterator[memoryview],
        limit: contextlib.AbstractAsyncContextManager[None],
        status_code: int,
        headers: dict[str, str],
    ) -> None:
        super().__init__(None, status_code, headers)
        if "content-length" not in headers:
            del self.headers["content-length"]  # it is not known, and not 0
        self._pieces, self._limit = body, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them until the client is gone."""
        sending = asyncio.ensure_future(self._send(scope, receive, send))
        listening = asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, listening):
                task.cancel()
            await asyncio.wait({sending, listening})
        if not sending.cancelled():
            sending.result()

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._limit, contextlib.aclosing(self._pieces) as pieces:  # type: ignore[type-var]
            begun = False
            try:
                async for piece in pieces:
                    if not begun:
                        await send(
                            {
                                "type": "http.response.start",
                                "status": self.status_code,
                                "headers": self.raw_headers,
                            }
                        )
                        begun = True
                    for start in range(0, len(piece), _SENT_AT_ONCE):
                        part = piece[start : start + _SENT_AT_ONCE]
                        await send({"type": "http.response.body", "body": part, "more_body": True})
            except GpgenError as error:
                if begun:
                    raise  # the connection is cut, so that nobody takes it for the whole
                await refused(error)(scope, receive, send)
                return
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def refused(error: GpgenError) -> Response:
    """Return an error's line; whose fault it is, the status says."""
    return PlainTextResponse(f"{error}\n", 400 if isinstance(error, UsageError) else 500)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
