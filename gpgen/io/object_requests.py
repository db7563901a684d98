"""Requests to an S3 store: each tried again until it is answered or hopeless.

Credentials, region and endpoint come from where the AWS command line takes them: environment
variables, then its configuration files, then the machine's role. Without credentials requests
are not signed, as public buckets take them.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import itertools
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from gpgen.errors import MissingPackageError, StorageError
from gpgen.io.object_failures import (
    broken_off,
    explain,
    is_missing,
    is_range_beyond_end,
    is_silence,
    is_transient,
    is_unreached,
    part_failed,
    status,
)

__all__ = ["ATTEMPTS", "Body", "copy", "delete", "get", "listing", "put", "size"]

# With pauses of 0.1 s, doubled each time, eight tries that fail at once take about ten seconds.
ATTEMPTS = 8
_PAUSE = 0.1
# A request that times out costs a minute: it is tried less often.
_MOST_SILENCES = 3
# Where nothing has ever been connected to there may be no network: six tries take two seconds.
_FIRST_ATTEMPTS = 6
_FIRST_SILENCES = 2
_CONNECT_SECONDS = 5
_READ_SECONDS = 60
# What S3 lists in one answer, and removes in one request.
_PAGE = 1000
_MOST_CONNECTIONS = 64


@dataclasses.dataclass(frozen=True)
class Body:
    """What an object shall hold.

    Parameters
    ----------
    source
        The bytes, or the descriptor of an open file.
    sha256
        Their SHA-256; the store refuses what arrives otherwise.
    """

    source: bytes | int
    sha256: bytes

    def opened(self) -> Any:  # noqa: ANN401 - a stream, which each try reads from its start
        """Return a new stream of the content."""
        if isinstance(self.source, bytes):
            return io.BytesIO(self.source)
        stream = open(self.source, "rb", closefd=False)  # noqa: SIM115 - a descriptor
        stream.seek(0)
        return stream


def get(bucket: str, key: str, offset: int | None = None, nbytes: int = 0) -> bytes:
    """Return an object, or a part of it, which is shorter only where the object ends."""
    wanted = {} if offset is None else {"Range": f"bytes={offset}-{offset + nbytes - 1}"}
    if offset is not None and nbytes == 0:
        return b""

    def ask(client: Any) -> bytes:  # noqa: ANN401
        answer = client.get_object(Bucket=bucket, Key=key, **wanted)
        body = answer["Body"]
        try:
            data: bytes = body.read()
        except _broken_transfers() as error:
            raise broken_off(error) from error
        finally:
            body.close()
        return data

    try:
        answer: bytes = _ask(f"s3://{bucket}/{key} can't be read", ask, missing=(bucket, key))
    except _BeyondEndError:
        return b""
    if offset is not None and len(answer) > nbytes:
        raise StorageError(
            f"the store gave {len(answer)} bytes of s3://{bucket}/{key} when asked for {nbytes}",
            "use a store that answers range requests",
        )
    return answer


def size(bucket: str, key: str) -> int:
    """Return the bytes of an object."""
    answer = _ask(
        f"s3://{bucket}/{key} can't be read",
        lambda client: client.head_object(Bucket=bucket, Key=key),
        missing=(bucket, key),
    )
    return int(answer["ContentLength"])


def put(bucket: str, key: str, body: Body, *, only_new: bool = False) -> None:
    """Put an object; the store takes it whole or not at all.

    Raises
    ------
    FileExistsError
        If there is one and only a new one is wanted.
    """
    checksum = base64.b64encode(body.sha256).decode()

    def ask(client: Any, **condition: str) -> None:  # noqa: ANN401
        with body.opened() as stream:
            client.put_object(
                Bucket=bucket, Key=key, Body=stream, ChecksumSHA256=checksum, **condition
            )

    what = f"s3://{bucket}/{key} can't be written"
    if not only_new:
        _ask(what, ask)
        return
    try:
        _ask(what, functools.partial(ask, IfNoneMatch="*"), conditional=True)
    except NotImplementedError:  # a store without conditional puts
        if any(found == key for found, _ in listing(bucket, key)):
            raise FileExistsError(f"s3://{bucket}/{key} exists") from None
        _ask(what, ask)


def copy(bucket: str, key: str, source: tuple[str, str]) -> bytes | None:
    """Have the store copy an object.

    Parameters
    ----------
    bucket, key
        Where to.
    source
        Bucket and key of what is copied.

    Returns
    -------
    bytes or None
        The copy's SHA-256, if the store tells it.
    """
    names = {"Bucket": source[0], "Key": source[1]}
    answer = _ask(
        f"s3://{bucket}/{key} can't be copied from s3://{source[0]}/{source[1]}",
        lambda client: client.copy_object(
            Bucket=bucket, Key=key, CopySource=names, ChecksumAlgorithm="SHA256"
        ),
        missing=source,
    )
    told = str(answer.get("CopyObjectResult", {}).get("ChecksumSHA256", ""))
    # What was put in parts may have a checksum of their checksums, with "-" and how many.
    return base64.b64decode(told) if told and "-" not in told else None


def listing(bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield names and bytes of the objects whose names begin with `prefix`, in order."""
    more: dict[str, str] = {}
    while True:
        answer = _ask(
            f"s3://{bucket}/{prefix} can't be listed",
            lambda client: client.list_objects_v2(
                Bucket=bucket, Prefix=prefix, MaxKeys=_PAGE, **more
            ),
        )
        for entry in answer.get("Contents", ()):
            yield entry["Key"], int(entry["Size"])
        if not answer.get("IsTruncated"):
            return
        more["ContinuationToken"] = answer["NextContinuationToken"]


def delete(bucket: str, keys: Iterable[str]) -> None:
    """Remove objects if they are there, a thousand a request."""
    left = iter(keys)
    while batch := list(itertools.islice(left, _PAGE)):
        what = f"s3://{bucket}/{batch[0]} can't be removed"
        _ask(what, functools.partial(_delete, bucket, batch))


def _delete(bucket: str, keys: list[str], client: Any) -> None:  # noqa: ANN401
    names = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
    answer = client.delete_objects(Bucket=bucket, Delete=names)
    for failure in answer.get("Errors", ()):
        raise part_failed(failure)


class _BeyondEndError(Exception):
    """A range begins where the object has ended."""


def _ask(
    what: str,
    request: Callable[[Any], Any],
    *,
    missing: tuple[str, str] | None = None,
    conditional: bool = False,
) -> Any:  # noqa: ANN401
    """Carry out a request, again while the failure may pass; say in one line what did not.

    Parameters
    ----------
    what
        What failed, should it fail.
    request
        Called with a client.
    missing
        Bucket and key of what may be missing; then a `FileNotFoundError` says so.
    conditional
        Whether it asks for something on condition, which may be refused, or not be known.
    """
    client, attempt, silences = _clients.get(), 0, 0
    while True:
        attempt += 1
        try:
            answer = request(client)
            _clients.reached = True
            return answer
        except _failures() as error:
            if missing is not None and is_missing(error):
                raise FileNotFoundError(2, "no such object", "s3://" + "/".join(missing)) from error
            if missing is not None and is_range_beyond_end(error):
                raise _BeyondEndError from error
            if conditional and status(error) == 412:
                raise FileExistsError(what) from error
            if conditional and status(error) == 501:
                raise NotImplementedError from error
            silences += is_silence(error)
            _clients.reached |= not is_unreached(error)
            hopeless = attempt >= ATTEMPTS or silences >= _MOST_SILENCES
            if not _clients.reached:
                hopeless |= attempt >= _FIRST_ATTEMPTS or silences >= _FIRST_SILENCES
            if hopeless or not is_transient(error):
                raise explain(error, what, attempt) from error
        # Jitter: workers that failed together must not try again together.
        time.sleep(_PAUSE * 2 ** (attempt - 1) * (0.5 + secrets.randbelow(1000) / 2000))


def _failures() -> tuple[type[Exception], ...]:
    from botocore import exceptions

    return exceptions.ClientError, exceptions.BotoCoreError


def _broken_transfers() -> tuple[type[Exception], ...]:
    """Return what urllib3 raises in mid-answer that botocore lets through."""
    from urllib3 import exceptions

    return (exceptions.HTTPError,)


class _Clients:
    """One client for the process: a forked child must not talk on its parent's connections."""

    def __init__(self) -> None:
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._client: Any = None
        self.reached = False

    def get(self) -> Any:  # noqa: ANN401 - botocore has no types
        # Threads that all read for the first time would make a client each.
        with self._lock:
            if self._client is None:
                self._client = _new_client()
            return self._client


_clients = _Clients()


def _new_client() -> Any:  # noqa: ANN401 - botocore has no types
    try:
        import botocore
        import botocore.config
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise MissingPackageError(
            "datasets on s3:// need the package botocore, which isn't installed",
            "install it with `pip install 'gpgen[s3]'`",
        ) from error
    config = botocore.config.Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        max_pool_connections=_MOST_CONNECTIONS,
        # `_ask` tries again: botocore would not do so where an answer breaks off.
        retries={"mode": "standard", "total_max_attempts": 1},
        # Every put brings its own checksum; stores other than AWS's know no more than they must.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or None
    try:
        session = botocore.session.get_session()
        if session.get_credentials() is None:  # of a public bucket, which asks for none
            config = config.merge(botocore.config.Config(signature_version=botocore.UNSIGNED))
        return session.create_client("s3", region_name=region, config=config)
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise explain(error, "S3 can't be used", 1) from error
