"""A connection to a Dask cluster that somebody has started."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from gpgen.errors import Argument, ClusterError, UsageError

__all__ = [
    "Client",
    "Scheduler",
    "Security",
    "connect",
    "dask_distributed",
    "differing_versions",
    "root_cause",
]

# How long a scheduler has to answer.
CONNECT_SECONDS = 10.0

# Dask's annotations come and go between versions: to the type checker it is untyped.
Client = Any
Security = Any
# An address, a scheduler file, or one of Dask's `Client` or `Cluster`.
Scheduler = Any

_CERTIFICATES = f"give {Argument.SECURITY}, the certificates of the cluster"


def dask_distributed() -> Any:  # noqa: ANN401 - see above
    """Import Dask's scheduler only when it is needed: it takes half a second."""
    return importlib.import_module("distributed")


@contextlib.contextmanager
def connect(scheduler: Scheduler, security: Security = None) -> Iterator[Client]:
    """Connect to a scheduler, by a connection of our own.

    In a task of a Dask worker, that worker may do something else meanwhile: what is sent to the
    cluster from here, for example.

    Parameters
    ----------
    scheduler
        The scheduler's address, its file, or a `Client` or `Cluster` that is connected to it.
    security
        The TLS certificates, if not those of the `Client`, the `Cluster` or Dask's configuration:
        a `distributed.Security`, or its arguments.

    Raises
    ------
    UsageError
        If that can't be a scheduler, or this is a coroutine on a worker.
    ClusterError
        If it can't be reached; the cause is named.
    """
    distributed = dask_distributed()
    _check_not_in_a_workers_loop()
    address, own = _locate(scheduler)
    security = _checked(security or own)
    theirs = _probe(address, security)
    # Made in two steps, to have it and to close it if it can't start: left to the collector it
    # would wait for locks that the next one holds.
    client: Client = distributed.Client.__new__(distributed.Client)
    try:
        distributed.Client.__init__(
            client, address, security=security, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except Exception as error:
        _close(client)
        ours = distributed.__version__
        if theirs != ours:
            raise ClusterError(
                f"the scheduler at {address} has distributed {theirs}, this process {ours}",
                "install the same dask and distributed here and there",
            ) from error
        raise ClusterError(
            f"no connection to the scheduler at {address}: {root_cause(error)}",
            f"mend that, then run again with {Argument.RESUME}",
        ) from error
    try:
        with _out_of_the_workers_pool():
            yield client
    finally:
        _close(client)


def _checked(security: Security) -> Security:
    """Return a `Security` whose files can be read; without one, that of Dask's configuration."""
    kind = dask_distributed().Security
    try:
        if security is None or isinstance(security, dict):
            security = kind(**(security or {}))
        if not isinstance(security, kind):
            raise TypeError
        security.get_connection_args("client")
    except TypeError as error:
        raise UsageError(f"security is {security!r}", "give a distributed.Security") from error
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "strerror", None) or error).lower()
        raise UsageError(f"the TLS certificates can't be read: {reason}", _CERTIFICATES) from error
    return security


def _close(client: Client) -> None:
    # A scheduler that is gone can't be told.
    with contextlib.suppress(Exception):
        client.close(timeout=2)


def _locate(scheduler: Scheduler) -> tuple[str, Security]:
    """Return a scheduler's address, and the security that is known with it."""
    if isinstance(scheduler, str) and not scheduler.endswith(".json"):
        return scheduler, None
    if isinstance(scheduler, str | os.PathLike):
        return _read_scheduler_file(Path(scheduler)), None
    kind = type(scheduler).__name__
    if isinstance(scheduler, dask_distributed().Client):
        address = getattr(scheduler.scheduler, "address", None)
    elif hasattr(scheduler, "scheduler_address"):
        address = scheduler.scheduler_address
    else:
        raise UsageError(
            f"scheduler is of type {kind}",
            "give an address, a scheduler file, or a Client or Cluster of Dask",
        )
    # A client's status is a word, a cluster's one of a list.
    if not address or getattr(scheduler.status, "name", scheduler.status) in ("closed", "closing"):
        raise UsageError(f"the {kind} given as scheduler is closed", "give one that is connected")
    return address, scheduler.security


def _read_scheduler_file(path: Path) -> str:
    """Return the address in a file that ``dask scheduler --scheduler-file`` has written."""
    deadline = time.monotonic() + CONNECT_SECONDS
    while True:
        try:
            return str(json.loads(path.read_bytes())["address"])
        except OSError as error:
            problem: Exception = error
            what = f"the scheduler file {path} can't be read: {(error.strerror or '').lower()}"
        except (ValueError, KeyError, TypeError) as error:
            problem = error
            what = f"{path} is not a scheduler file"
        # It may just be about to be written.
        if time.monotonic() > deadline:
            hint = f"start `dask scheduler --scheduler-file {path}`, or give its address"
            raise UsageError(what, hint) from problem
        time.sleep(min(0.1, CONNECT_SECONDS))


def _probe(address: str, security: Security) -> str:
    """Talk to a scheduler once and return its version of distributed.

    If it can't be done this tells why, which a `Client` doesn't.
    """
    answer: Future[tuple[str, str]] = Future()

    def talk() -> None:
        try:
            talking = asyncio.wait_for(_kind_and_version(address, security), 2 * CONNECT_SECONDS)
            answer.set_result(asyncio.run(talking))
        except BaseException as error:  # noqa: BLE001 - it is raised in the other thread
            answer.set_exception(error)

    # There may be an event loop in this thread, such as a notebook's.
    threading.Thread(target=talk, daemon=True).start()
    try:
        kind, version = answer.result()
    except Exception as error:
        raise _explained(address, error) from error
    if kind != "Scheduler":
        raise UsageError(
            f"{address} is the address of a Dask {kind.lower()}", "give its scheduler's"
        )
    return version


async def _kind_and_version(address: str, security: Security) -> tuple[str, str]:
    distributed = dask_distributed()
    arguments = security.get_connection_args("client")
    comm = await distributed.comm.connect(address, timeout=CONNECT_SECONDS, **arguments)
    try:
        answers = []
        for question in ("identity", "versions"):
            await comm.write({"op": question, "reply": True})
            answers.append(await comm.read())
        return str(answers[0]["type"]), str(answers[1]["packages"]["distributed"])
    finally:
        comm.abort()


def _met_by_a_socket(address: str) -> OSError | None:
    """Return why no connection can be made to an address, or None if one can."""
    host, _, port = address.partition("://")[2].rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        return error
    except ValueError:  # no number of a port
        return None
    return None


def _explained(address: str, error: Exception) -> ClusterError | UsageError:
    """Return an error that names the cause of one in connecting."""
    who = f"the scheduler at {address}"
    silent = f"{who} does not answer"
    cause = _first(error)
    if unanswered := isinstance(cause, TimeoutError | asyncio.CancelledError):
        # Dask gives up while a name is still being looked up, and hides what its attempts met.
        cause = _met_by_a_socket(address) or cause
        unanswered = isinstance(cause, TimeoutError | asyncio.CancelledError)
    said = str(cause)
    if isinstance(cause, TypeError) and "ssl_context" in said:
        return UsageError(f"{who} needs TLS certificates", _CERTIFICATES)
    if isinstance(cause, RuntimeError) and "encryption required" in said:
        return UsageError(
            f"{address} is not encrypted, as security demands", "give tls://HOST:PORT"
        )
    if isinstance(cause, ssl.SSLCertVerificationError):
        return ClusterError(
            f"the certificate of {who} is not trusted: {cause.verify_message}",
            "give the certificate of the authority that has signed it",
        )
    if isinstance(cause, ssl.SSLError) or "SSL" in said:
        reason = (getattr(cause, "reason", None) or said).lower().replace("_", " ")
        return ClusterError(
            f"{who} does not speak TLS as we do: {reason}",
            "give tcp:// if it is not encrypted, and the cluster's own certificates if it is",
        )
    if isinstance(cause, socket.gaierror):
        host = address.partition("://")[2].rpartition(":")[0]
        return ClusterError(
            f"{silent}: the name {host} can't be resolved", "correct it, or give an IP address"
        )
    if unanswered or "Timed out" in said:
        return ClusterError(
            f"{silent} within {CONNECT_SECONDS:.0f} seconds",
            "check host and port, the firewall, and that `dask scheduler` runs there",
        )
    # Dask's own error of a connection that is closed has no number.
    closed = isinstance(cause, OSError) and cause.errno is None
    if closed or isinstance(cause, ConnectionResetError | BrokenPipeError | EOFError):
        return ClusterError(
            f"{who} closed the connection",
            "give tls:// and certificates if it is encrypted; if not, look what runs there",
        )
    if isinstance(cause, OSError):
        reason = (cause.strerror or said).lower()
        named = f" ({cause.filename})" if cause.filename else ""
        return ClusterError(
            f"{silent}: {reason}{named}", "check the address and that `dask scheduler` runs there"
        )
    if isinstance(cause, ValueError | TypeError):
        return UsageError(f"{address!r} is no scheduler's address: {said}", "give tcp://HOST:PORT")
    return ClusterError(
        f"what answers at {address} is not a Dask scheduler of this version", "look what runs there"
    )


def _first(error: BaseException) -> BaseException:
    """Return what an exception came from."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def root_cause(error: BaseException) -> str:
    """Return in words what an exception came from."""
    error = _first(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _check_not_in_a_workers_loop() -> None:
    """Refuse to wait where a Dask worker's own messages would wait, too."""
    try:
        loop = asyncio.get_running_loop()
        worker = dask_distributed().get_worker()
    except (RuntimeError, ValueError):  # there is no loop, or no worker
        return
    if loop is worker.loop.asyncio_loop:
        raise UsageError(
            "a coroutine on a Dask worker can't wait for other tasks without stopping that worker",
            "call make in a plain function",
        )


@contextlib.contextmanager
def _out_of_the_workers_pool() -> Iterator[None]:
    """If this is a task of a Dask worker, let the worker run others while it waits."""
    distributed = dask_distributed()
    try:
        distributed.secede()
    except (ValueError, KeyError, AttributeError):  # no task, has seceded, not in the pool
        yield
        return
    try:
        yield
    finally:
        distributed.rejoin()


def differing_versions(client: Client) -> str:
    """Return which packages the driver has otherwise than the cluster, in words; "" if none."""
    try:
        versions = client.get_versions(packages=["gpgen"])
    except Exception:  # noqa: BLE001 - it is asked because something went wrong already
        return ""
    ours = versions["client"]["packages"]
    theirs = {"the scheduler": versions["scheduler"], **versions["workers"]}
    for name in ("python", "gpgen", "dask", "distributed"):
        for where, found in theirs.items():
            there = (found or {}).get("packages", {}).get(name)
            if found and there != ours[name]:
                return f"{where} has {name} {there or 'not installed'}, this process {ours[name]}"
    return ""
