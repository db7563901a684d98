"""What an error of the operating system means, and what to do about it: it is never damage.

Only a checksum that disagrees, or a file that is missing, makes a dataset damaged. A disk that
fails, a server that went away, a limit that was reached: the data may be whole behind it.
"""

from __future__ import annotations

import contextlib
import errno
import resource
from collections.abc import Iterator
from typing import Final

from gpgen.errors import Argument, DatasetError, GpgenError, StorageError, TargetError

__all__ = [
    "UNPACK",
    "VERIFY",
    "NoFileError",
    "is_damage",
    "reading",
    "reason",
    "remedy",
    "target_errors",
    "unreadable",
]

UNPACK: Final = "if you packed it yourself, unpack it and use the folder; else get it again"
VERIFY: Final = "run `gpgen verify` on it, and remake it if that names damage"

_SERVER: Final = "look at the file system's server and the network"
_REMEDIES: Final = {
    errno.EIO: "look at the disk and its cables or server",
    errno.ESTALE: "mount the file system again",
    errno.ETIMEDOUT: _SERVER,
    errno.EHOSTDOWN: _SERVER,
    errno.ENOTCONN: "mount the file system again: what served it has ended",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some of your quota",
    errno.EROFS: "make the file system writable",
    errno.ENOMEM: "free some memory",
    errno.ENFILE: "raise the system's limit of open files (sysctl fs.file-max)",
    errno.ENAMETOOLONG: "use a shorter path",
    errno.ELOOP: "remove the symbolic links that lead in a circle",
}

_NO_RENAME: Final = (errno.EXDEV, errno.EBUSY, errno.ENOSYS, errno.ENOTSUP)


class NoFileError(OSError):
    """What stands in a file's place is something else, or holds what no such file does."""


def is_damage(error: OSError) -> bool:
    """Return whether a file is missing or something else, and not just hard to read.

    Errors without a number are those of whoever made sense of the content.
    """
    return isinstance(error, NoFileError) or error.errno in (errno.ENOENT, errno.ENOTDIR, None)


def reason(error: OSError) -> str:
    """Return what the system says, in lower case."""
    return (error.strerror or str(error)).lower()


def remedy(error: OSError) -> str | None:
    """Return what to do about an error of the system; ``None`` if that depends on the file."""
    if error.errno == errno.EMFILE:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return f"raise this process's limit of {limit} open files (ulimit -n {4 * limit})"
    return _REMEDIES.get(error.errno or 0)


@contextlib.contextmanager
def reading(path: object, hint: str = VERIFY) -> Iterator[None]:
    """Turn the system's errors while a file is read into those of `unreadable`."""
    try:
        yield
    except OSError as error:
        if isinstance(error, GpgenError):
            raise
        raise unreadable(path, error, hint) from error


def unreadable(path: object, error: OSError, hint: str = VERIFY) -> DatasetError | StorageError:
    """Return the error that says why a file can't be read; `hint` is for one that isn't there."""
    what = f"{path} can't be read: {reason(error)}"
    if is_damage(error):
        return DatasetError(what, hint)
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageError(what, "give yourself permission to read it, then try again")
    return StorageError(what, f"{remedy(error) or 'look at its disk or server'}, then try again")


@contextlib.contextmanager
def target_errors(what: str, resumes: bool = True) -> Iterator[None]:
    """Turn the operating system's refusals to write into a `TargetError` that says where.

    Parameters
    ----------
    what
        Where, and what can't be done.
    resumes
        Whether what was begun can be resumed.

    Raises
    ------
    TargetError
        For a full disk, an exhausted quota, a read-only, forbidden, broken or vanished place.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, TargetError):
            raise
        hint = _writing_remedy(error, resumes)
        if hint is None:
            raise
        raise TargetError(f"{what}: {reason(error)}", hint) from error


def _writing_remedy(error: OSError, resumes: bool) -> str | None:
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"give yourself permission to write there, or choose another {Argument.OUT}"
    if error.errno == errno.EFBIG:
        return (
            "raise the file-size limit, or write smaller files: for "
            f"{Argument.OUT} give 'data-{{shard:05d}}.h5', then run again"
        )
    if error.errno in _NO_RENAME:
        return f"choose another {Argument.OUT}: what is made there can't be given its name"
    known = remedy(error)
    return known and f"{known}, then run it again" + f" with {Argument.RESUME}" * resumes
