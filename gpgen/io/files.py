"""Every effect on the file system, in one place.

Nothing else that makes a dataset creates, writes, syncs, renames or removes.
So the order of effects, on which the promise to survive a kill at any instant
rests, can be watched: a hook set with :func:`watch` is called before each of
them, and the tests kill the process at every one in turn, having checked that
no effect comes without its call of the hook.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import secrets
import stat
import sys
from collections.abc import Callable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import cast

from gpgen.errors import TargetError
from gpgen.io.descriptors import opened
from gpgen.io.failures import NoFileError, reason

__all__ = [
    "MOST_METADATA",
    "clone",
    "create",
    "link",
    "lock",
    "make_folder",
    "open_direct",
    "open_existing",
    "open_or_create",
    "open_stream",
    "read_at",
    "read_whole",
    "remove",
    "remove_empty",
    "remove_tree",
    "rename",
    "replace_file",
    "start_writeback",
    "sync",
    "sync_folder",
    "temporary_name",
    "truncate",
    "watch",
    "write",
    "write_at",
    "write_direct",
]

Buffer = bytes | bytearray | memoryview

MOST_METADATA = 2**27
_FICLONE = 0x40049409  # ioctl_ficlone(2)


def _find_sync_file_range() -> Callable[[int, int, int, int], int] | None:
    """Return Linux's sync_file_range, which Python's os module lacks."""
    try:
        function = ctypes.CDLL(None).sync_file_range
    except (AttributeError, OSError):
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
    return cast("Callable[[int, int, int, int], int]", function)


_sync_file_range = _find_sync_file_range()
_hook: Callable[[str, str], None] | None = None


def watch(hook: Callable[[str, str], None] | None) -> None:
    """Call ``hook(action, path)`` before every effect; ``None`` stops that."""
    global _hook
    _hook = hook


def _step(action: str, path: object) -> None:
    if _hook is not None:
        _hook(action, str(path))


def create(path: Path) -> int:
    """Create or empty the file at ``path``; return a descriptor for reading and writing."""
    _step("create", path)
    flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    return opened(lambda: os.open(path, flags, 0o666))


def open_existing(path: Path, *, write: bool = False) -> int:
    """Open the file at ``path`` without creating it; return a descriptor.

    A dataset came from somewhere, and what is called like one of its files need not be one:
    a pipe would be waited for, a device read, for ever.

    Raises
    ------
    OSError
        If there is no regular file.
    """
    flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK
    return _regular(opened(lambda: os.open(path, flags)), path)


def open_stream(path: Path) -> BufferedReader:
    """Open the regular file at ``path`` for reading from front to back."""
    return open(open_existing(path), "rb")


def read_whole(path: Path) -> bytes:
    """Return what is in a file of metadata.

    Raises
    ------
    OSError
        If there is no regular file, or one longer than any metadata.
    """
    with open_stream(path) as stream:
        nbytes = os.fstat(stream.fileno()).st_size
        if nbytes > MOST_METADATA:
            raise NoFileError(errno.EFBIG, "it is too long to be metadata", str(path))
        return stream.read(nbytes)


def open_or_create(path: Path) -> int:
    """Open the file at ``path``, created if need be; return a descriptor for both ways.

    Raises
    ------
    OSError
        If it is there and no regular file.
    """
    _step("create", path)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    return _regular(opened(lambda: os.open(path, flags, 0o666)), path)


def _regular(descriptor: int, path: Path) -> int:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NoFileError(errno.EINVAL, "it is no regular file", str(path))
    return descriptor


def write(descriptor: int, buffers: Sequence[Buffer]) -> None:
    """Write ``buffers`` one after the other at the descriptor's position, however long."""
    _step("write", descriptor)
    # IOV_MAX is 1024 on Linux, and one call moves at most 2 GiB.
    for first in range(0, len(buffers), 512):
        pending = [memoryview(b).cast("B") for b in buffers[first : first + 512]]
        while pending:
            done = os.writev(descriptor, pending)
            while pending and done >= len(pending[0]):
                done -= len(pending.pop(0))
            if pending:
                pending[0] = pending[0][done:]


def write_at(descriptor: int, buffer: Buffer, offset: int) -> None:
    """Write the whole of ``buffer`` at ``offset`` bytes, leaving the position alone."""
    _step("write", descriptor)
    left = memoryview(buffer).cast("B")
    while left:
        done = os.pwrite(descriptor, left, offset)
        left, offset = left[done:], offset + done


def clone(source: int, descriptor: int) -> bool:
    """Let an empty file share another's blocks, if the file system can; return whether it does."""
    if sys.platform != "linux":
        return False
    _step("clone", descriptor)
    try:
        fcntl.ioctl(descriptor, _FICLONE, source)
    except OSError:  # what else may be wrong, reading and writing will tell
        return False
    return True


def open_direct(path: Path) -> int | None:
    """Open a file for writing past the page cache; ``None`` where that can't be done."""
    flag = getattr(os, "O_DIRECT", 0)
    if not flag:
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | flag)
    except OSError:
        return None


def write_direct(descriptor: int, buffer: memoryview, offset: int) -> bool:
    """Write whole pages from page-aligned memory past the cache; ``False`` if refused."""
    try:
        write_at(descriptor, buffer, offset)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP):
            return False
        raise
    return True


def read_at(descriptor: int, buffer: memoryview, offset: int) -> int:
    """Fill ``buffer`` from ``offset``; return the bytes read, fewer only at the file's end."""
    left, total = buffer.cast("B"), 0
    while left:
        done = os.preadv(descriptor, [left], offset + total)
        if done == 0:
            break
        left, total = left[done:], total + done
    return total


def truncate(descriptor: int, nbytes: int) -> None:
    """Make the file ``nbytes`` long; what is added reads as zeros and takes no space yet."""
    _step("truncate", descriptor)
    os.ftruncate(descriptor, nbytes)


def start_writeback(descriptor: int, offset: int, nbytes: int) -> None:
    """Ask the kernel to begin writing a range to the disk, without waiting for it.

    Only a matter of speed: where the system lacks the call, nothing happens.
    """
    if _sync_file_range is not None:
        _sync_file_range(descriptor, offset, nbytes, 2)  # SYNC_FILE_RANGE_WRITE


def sync(descriptor: int) -> None:
    """Wait until the file's bytes are on the disk."""
    _step("sync", descriptor)
    getattr(os, "fdatasync", os.fsync)(descriptor)  # not waiting for times and counts of links


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    _step("sync folder", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder, and need not.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def rename(source: Path, destination: Path) -> None:
    """Give a file or folder its new name in one step, replacing a file that has it."""
    _step("rename", destination)
    source.replace(destination)


def link(source: Path, destination: Path) -> None:
    """Give a file a second name."""
    _step("link", destination)
    destination.hardlink_to(source)


def make_folder(path: Path) -> None:
    """Make a folder unless it is there; its parent must exist."""
    _step("make folder", path)
    path.mkdir(exist_ok=True)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    _step("remove", path)
    path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a folder and all in it, if it is there; a link only itself.

    A worker that outlived its driver may still add a file meanwhile: what
    can't be removed is left, and the next run removes it.
    """
    with contextlib.suppress(OSError):
        is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
        if is_folder:
            for entry in list(path.iterdir()):
                remove_tree(entry)
        _step("remove", path)
        (os.rmdir if is_folder else os.unlink)(path)


def remove_empty(path: Path) -> None:
    """Remove a folder if there is nothing in it."""
    _step("remove", path)
    with contextlib.suppress(OSError):
        path.rmdir()


def temporary_name(folder: Path, name: str) -> Path:
    """Return a path in ``folder`` that no other writer uses, on this host or another."""
    return folder / f"{name}.{secrets.token_hex(6)}"


def replace_file(path: Path, data: bytes, temporary: Path) -> None:
    """Put ``data`` at ``path`` whole or not at all, by way of the folder ``temporary``."""
    name = temporary_name(temporary, path.name)
    descriptor = create(name)
    try:
        write(descriptor, [data])
        sync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            name.unlink()
        raise
    finally:
        os.close(descriptor)
    rename(name, path)


def lock(path: Path) -> int | None:
    """Take an exclusive lock on the file at ``path``, created if need be.

    The lock is the kernel's, so it goes when its owner dies, however it dies. Returns the
    descriptor that holds it until closed, or ``None`` if another process holds it.
    """
    while True:
        descriptor = open_or_create(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            empty = os.fstat(descriptor).st_size == 0
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return None
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
                raise
            if empty:  # nobody can hold it
                remove(path)
            raise TargetError(
                f"{path} can't be locked: {reason(error)}",
                "choose a place on a file system with locks (flock), or mount this one with them: "
                "NFS with its lock service, Lustre with -o flock",
            ) from error
        # The owner before us may have removed the file between our open and
        # our lock: then we hold a lock on a name that is gone.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)
