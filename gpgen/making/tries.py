"""Which shards that failed are made again, and what is said of those that are not."""

from __future__ import annotations

import errno
from typing import Final

from gpgen.errors import Argument, ClusterError, GpgenError, TargetError
from gpgen.format.job import Job
from gpgen.io.failures import target_errors

__all__ = ["TRIES", "check_worth_trying_again"]

TRIES: Final = 3
_NOT_WORTH_RETRYING: Final = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EFBIG,
)


def check_worth_trying_again(
    job: Job, shard: int, error: Exception, tries: int, where: str | None = None
) -> None:
    """Raise if a shard that failed is not to be made again.

    Parameters
    ----------
    job, shard
        What was made.
    error
        What went wrong.
    tries
        How often it has been tried.
    where
        What is known of the worker of a cluster, to follow "failed 3 times"; ``None`` if it is a
        thread of this process.

    Raises
    ------
    GpgenError
        If `error` is one.
    TargetError
        If the system refuses to write, or a folder is gone.
    ClusterError
        If it has been tried often enough.
    """
    if isinstance(error, GpgenError):
        raise error
    if isinstance(error, OSError) and error.errno in _NOT_WORTH_RETRYING:
        with target_errors(f"shard {shard} of {job.target.path} can't be written"):
            raise error
    if tries < TRIES:
        return
    said = " ".join(f"{type(error).__name__}: {error}".split())
    message = f"shard {shard} failed {TRIES} times{where or ''}: {said}"
    if isinstance(error, FileNotFoundError):
        missing = error.filename or job.working
        if where is None:
            raise TargetError(
                f"{missing} is gone", f"put it back, then use {Argument.RESUME}"
            ) from error
        raise TargetError(
            f"a worker does not find {missing}",
            f"give all workers the target's folder under the same path, then use {Argument.RESUME}",
        ) from error
    if where is None:
        raise ClusterError(
            message, f"see to that, then run again with {Argument.RESUME}"
        ) from error
    if isinstance(error, ImportError):
        raise ClusterError(message, "install the same gpgen on all workers") from error
    raise ClusterError(
        message, f"look at that worker, then run again with {Argument.RESUME}"
    ) from error
