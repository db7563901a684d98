"""The server: a socket, an application, and an end at Ctrl-C."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette

from gpgen.errors import Argument, TargetError, UsageError
from gpgen.exact.blas import one_blas_thread
from gpgen.serving.connections import MOST_CONNECTIONS, Connection

__all__ = ["Server", "address", "listening", "serve"]

_MOST_FILES: Final = 4096
_IDLE_SECONDS: Final = 75


class Server(uvicorn.Server):
    """A server that ends in some tenths of a second at Ctrl-C, and says nothing of it."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=_IDLE_SECONDS,
            timeout_graceful_shutdown=0,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """End; whoever serves is not told of the signal again."""
        self.should_exit = self.force_exit = True


def serve(
    app: Starlette, found: socket.socket, *, started: Callable[[], None] = lambda: None
) -> None:
    """Answer requests until Ctrl-C.

    Parameters
    ----------
    app
        Answers them.
    found
        Where they come: what `listening` returned. It is closed at the end.
    started
        Called once.
    """
    _allow_files()
    with found, one_blas_thread():
        started()
        Server(app).run([found])


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections.

    Parameters
    ----------
    host
        A name or an address of this machine; ``127.0.0.1`` is reached from nowhere else.
    port
        A number, or 0 for any that is free.

    Raises
    ------
    TargetError
        If the port is in use or only for the administrator.
    UsageError
        If there is no such address here.
    """
    if not 0 <= port < 2**16:
        raise UsageError(f"port {port} is out of range", f"give {Argument.PORT} from 1 to 65535")
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(place[:2], family=family, backlog=MOST_CONNECTIONS)
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None)
        if number in (errno.EADDRINUSE, errno.EACCES):
            reason = "in use" if number == errno.EADDRINUSE else "not for everybody"
            raise TargetError(
                f"port {port} of {host} is {reason}", f"give another {Argument.PORT}"
            ) from error
        why = os.strerror(number).lower() if number and number > 0 else "no such address"
        raise UsageError(
            f"{host!r} can't be listened on: {why}",
            f"leave {Argument.HOST} out for 127.0.0.1, or give 0.0.0.0 for all of this machine's",
        ) from error


def address(found: socket.socket) -> str:
    """Return the address of a socket as a browser takes it."""
    host, port = found.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared with, not bound to
        host = socket.gethostname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_files() -> None:
    """Have the system allow a descriptor for each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
