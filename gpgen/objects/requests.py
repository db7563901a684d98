"""Requests to an S3 store: each tried again until it is answered or hopeless.

Credentials, region and endpoint come from where the AWS command line takes them: environment
variables, then its configuration files, then the machine's role.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import io
import os
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from gpgen.errors import MissingPackageError, StorageError
from gpgen.objects.failures import explain, is_missing, is_range_beyond_end, is_transient, status

__all__ = ["ATTEMPTS", "Body", "delete", "get", "listing", "put", "size"]

# With pauses of 0.1 s, doubled each time, hopeless takes about ten seconds.
ATTEMPTS = 8
_PAUSE = 0.1
_CONNECT_SECONDS = 10
_READ_SECONDS = 60
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
        finally:
            body.close()
        return data

    try:
        answer: bytes = _ask(f"s3://{bucket}/{key} can't be read", bucket, key, ask)
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
    what = f"s3://{bucket}/{key} can't be read"
    answer = _ask(what, bucket, key, lambda client: client.head_object(Bucket=bucket, Key=key))
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
        _ask(what, bucket, key, ask)
        return
    try:
        _ask(what, bucket, key, functools.partial(ask, IfNoneMatch="*"))
    except NotImplementedError:  # a store without conditional puts
        if any(found == key for found, _ in listing(bucket, key)):
            raise FileExistsError(f"s3://{bucket}/{key} exists") from None
        _ask(what, bucket, key, ask)


def listing(bucket: str, prefix: str) -> Iterator[tuple[str, int]]:
    """Yield names and bytes of the objects whose names begin with `prefix`, in order."""
    more: dict[str, str] = {}
    while True:
        page = functools.partial(_page, bucket, prefix, dict(more))
        answer = _ask(f"s3://{bucket}/{prefix} can't be listed", bucket, prefix, page)
        for entry in answer.get("Contents", ()):
            yield entry["Key"], int(entry["Size"])
        if not answer.get("IsTruncated"):
            return
        more["ContinuationToken"] = answer["NextContinuationToken"]


def _page(bucket: str, prefix: str, more: dict[str, str], client: Any) -> Any:  # noqa: ANN401
    return client.list_objects_v2(Bucket=bucket, Prefix=prefix, **more)


def delete(bucket: str, key: str) -> None:
    """Remove an object if it is there."""
    what = f"s3://{bucket}/{key} can't be removed"
    _ask(what, bucket, key, lambda client: client.delete_object(Bucket=bucket, Key=key))


class _BeyondEndError(Exception):
    """A range begins where the object has ended."""


def _ask(what: str, bucket: str, key: str, request: Callable[[Any], Any]) -> Any:  # noqa: ANN401
    """Carry out a request, again while the failure may pass; say in one line what did not."""
    client, attempt = _client(os.getpid()), 0
    while True:
        attempt += 1
        try:
            return request(client)
        except _failures() as error:
            if is_missing(error):
                raise FileNotFoundError(2, "no such object", f"s3://{bucket}/{key}") from error
            if is_range_beyond_end(error):
                raise _BeyondEndError from error
            if status(error) == 412:
                raise FileExistsError(f"s3://{bucket}/{key} exists") from error
            if status(error) == 501:
                raise NotImplementedError from error
            if attempt >= ATTEMPTS or not is_transient(error):
                raise explain(error, what, bucket, attempt) from error
        # Workers that failed together shall not come back together.
        time.sleep(_PAUSE * 2 ** (attempt - 1) * (0.5 + secrets.randbelow(1000) / 2000))


def _failures() -> tuple[type[Exception], ...]:
    from botocore import exceptions

    return exceptions.ClientError, exceptions.BotoCoreError


@functools.lru_cache(maxsize=4)
def _client(process: int) -> Any:  # noqa: ANN401, ARG001 - botocore has no types
    """Return this process's client: a forked child must not talk on its parent's connections."""
    try:
        import botocore.config
        import botocore.exceptions
        import botocore.session
    except ImportError as error:
        raise MissingPackageError(
            "datasets on s3:// need the package botocore", "run `pip install 'gpgen[s3]'`"
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
        return session.create_client("s3", region_name=region, config=config)
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise explain(error, "S3 can't be used", "", 1) from error
