"""Connections that can't hold the server up: slow, silent, stuck, or too many."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

__all__ = ["MOST_CONNECTIONS", "Connection"]

MOST_CONNECTIONS: Final = 2000
"""Beyond them requests are answered with 503, and a few hundred more are refused."""

_MARGIN: Final = 200
_REQUEST_SECONDS: Final = 20.0
_STUCK_SECONDS: Final = 60.0


class _Uncopied(h11.Connection):
    """HTTP whose bodies are sent from where they stand."""

    def send(self, event: h11.Event) -> Any:  # noqa: ANN401 - bytes, or what a body stands in
        """Return what is to be sent for an event."""
        parts = self.send_with_data_passthrough(event)
        if parts is not None and len(parts) == 1:
            return parts[0]
        return None if parts is None else b"".join(parts)


class Connection(H11Protocol):
    """A connection whose client has 20 s to send a request, and 60 s to take some of an answer."""

    _late: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - uvicorn's
        super().__init__(*arguments, **named)
        self.conn = _Uncopied(h11.SERVER, self.conn._max_incomplete_event_size)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client some time."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS + _MARGIN:
            transport.abort()
        else:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._stop()
        self._resume()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Go on waiting unless that was the rest of a request."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        else:
            self._wait()

    def pause_writing(self) -> None:
        """Give the client some time to take what was sent."""
        super().pause_writing()
        self._resume()
        self._stuck = self.loop.call_later(_STUCK_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Note that it did."""
        self._resume()
        super().resume_writing()

    def _wait(self) -> None:
        if self._late is None and not self.transport.is_closing():
            self._late = self.loop.call_later(_REQUEST_SECONDS, self.transport.abort)

    def _stop(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _resume(self) -> None:
        if self._stuck is not None:
            self._stuck.cancel()
            self._stuck = None
