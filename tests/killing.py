"""A process that forks children to make or convert a dataset and kill themselves at a given step.

It imports everything once and starts no thread, so that each fork is cheap and safe.
One request a line, as JSON: {"verb", "arguments", "options", "folder", "step", "torn", "audit"}.
A step is asked for by its name, which is the same in every run: what is done, to which file of the
folder, the how manieth time; or by its number, counted from 1. A torn one, if it is a write, puts
half of its bytes there before the end. The answer is one line of JSON:
{"status": exit status (negative: signal), "steps": all that came, each with its name and with the
bytes that it wrote, "unannounced": effects on files that no step preceded, if "audit" was asked
for}.

If the child has worker processes, they read the request from the environment, and kill the child
and themselves.
"""

from __future__ import annotations

import collections
import json
import os
import re
import signal
import sys
import threading
import traceback
from pathlib import Path

import dask
import distributed
import h5py
import store_tools

from gpgen.io import files
from gpgen.making.converting import convert

_ = distributed, h5py

REQUEST = "GPGEN_TESTS_KILLING"
# A run takes less than a second, or a few with worker processes: one that hangs must not hang us.
SECONDS = 120


def file_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


class Steps:
    """Lists the steps of a process, and kills the run at one of them.

    Parameters
    ----------
    request
        What is asked for.
    listing
        The file that gets a line for each step, from all processes.
    driver
        The process to be killed; a worker also kills itself.
    """

    def __init__(self, request: dict, listing: Path, driver: int) -> None:
        self._folder = os.path.realpath(request["folder"])
        self._at, self._torn = request["step"], request["torn"]
        self._driver = driver
        self._listing = os.open(listing, os.O_WRONLY | os.O_APPEND)
        self._count = 0
        self._times: collections.Counter[tuple[str, str]] = collections.Counter()
        self._lock = threading.Lock()
        # Of each thread the step that it has announced and not yet carried out.
        self._announced = threading.local()
        self._tear_any = False
        self._write, self._pwrite, self._writev = os.write, os.pwrite, os.writev
        os.pwrite, os.writev = self._observed_pwrite, self._observed_writev

    def step(self, action: str, path: str) -> None:
        file = self._name(file_of(int(path)) if path.isdecimal() else path)
        with self._lock:
            self._count += 1
            self._times[action, file] += 1
            name = [action, file, self._times[action, file]]
        chosen = self._at in (self._count, name)
        if chosen and not (self._torn and action == "write"):
            self._die()
        # Some writes have nothing to write. By its number one may be asked for: then the next.
        self._tear_any |= chosen and isinstance(self._at, int)
        self._announced.name, self._announced.chosen = name, chosen
        self._note(name, 0)

    def _name(self, path: str) -> str:
        """Leave out of a path what differs from run to run."""
        path = os.path.relpath(path.removesuffix(" (deleted)"), self._folder)
        return re.sub(r"\.[0-9a-f]{12}(?=/|$)", "", path)

    def _note(self, name: list, nbytes: int) -> None:
        self._write(self._listing, json.dumps([*name, nbytes]).encode() + b"\n")

    def _die(self) -> None:
        os.kill(self._driver, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    def _seen(self, nbytes: int) -> bool:
        """Note how much a step writes; return whether it shall be torn."""
        name, self._announced.name = getattr(self._announced, "name", None), None
        if name is None:
            return False
        self._note(name, nbytes)
        return self._announced.chosen or self._tear_any

    def _observed_pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        if self._seen(len(data)):
            self._pwrite(descriptor, data[: len(data) // 2], offset)
            self._die()
        return self._pwrite(descriptor, data, offset)

    def _observed_writev(self, descriptor: int, buffers: list[memoryview]) -> int:
        data = b"".join(buffers)
        if self._seen(len(data)):
            self._write(descriptor, data[: len(data) // 2])
            self._die()
        return self._writev(descriptor, buffers)


def dask_setup(worker: distributed.Worker) -> None:
    """Watch the steps of a worker process, which Dask has preload this module."""
    request, listing, driver = json.loads(os.environ[REQUEST])
    if driver != os.getpid():  # else the worker is a thread of a process that watches already
        files.watch(Steps(request, Path(listing), driver).step)


EVENTS = {
    "os.mkdir": "make folder",
    "os.remove": "remove",
    "os.link": "link",
    "os.rmdir": "remove",
    "os.rename": "rename",
    "os.truncate": "truncate",
    "fcntl.ioctl": "clone",
}
OTHER = ("os.chmod", "os.chown", "os.utime", "os.symlink", "os.setxattr")
CALLS = {
    "write": "write",
    "pwrite": "write",
    "writev": "write",
    "pwritev": "write",
    "sendfile": "write",
    "posix_fallocate": "truncate",
    "fsync": "sync",
    "fdatasync": "sync",
}


class _Audit:
    """Notes every effect on a folder's files that was not announced to the hook just before.

    Python reports opening, renaming, removing and the like to audit hooks, whoever calls;
    writing and syncing it doesn't, so those functions are wrapped.
    """

    def __init__(self, folder: str) -> None:
        self.unannounced: list[str] = []
        self.effects = 0
        self._folder = os.path.realpath(folder)
        self._step = threading.local()
        for name, action in CALLS.items():
            setattr(os, name, self._wrapped(name, getattr(os, name), action))
        sys.addaudithook(self._hear)

    def announce(self, action: str) -> None:
        self._step.action = action.removesuffix(" folder") if "sync" in action else action

    def _note(self, what: str, action: str, file: object) -> None:
        path = file_of(file) if isinstance(file, int) else os.fsdecode(file)
        if path.startswith("/") and not path.startswith(self._folder):
            return
        self.effects += 1
        if getattr(self._step, "action", None) != action:
            self.unannounced.append(f"{what} {path}")
        self._step.action = None

    def _wrapped(self, name, real, action):
        def call(*arguments):
            self._note(name, action, arguments[0])
            return real(*arguments)

        return call

    def _hear(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_CREAT | os.O_TRUNC) and not isinstance(path, int):
                self._note(event, "create", path)
        elif event in ("os.rename", "os.link"):
            self._note(event, EVENTS[event], arguments[1])
        elif event in EVENTS:
            self._note(event, EVENTS[event], arguments[0])
        elif event in OTHER:
            self._note(event, "nothing of the kind", arguments[0])


def _child(request: dict, listing: Path, answer: Path) -> None:
    steps = Steps(request, listing, os.getpid())
    os.environ[REQUEST] = json.dumps([request, str(listing), os.getpid()])
    audit = _Audit(request["audit"]) if request["audit"] else None

    def hook(action: str, path: str) -> None:
        if audit is not None:
            audit.announce(action)
        steps.step(action, path)

    files.watch(hook)
    verb = {"make": store_tools.tiny_make, "convert": convert}[request["verb"]]
    with dask.config.set({"distributed.worker.preload": ["killing"]}):
        verb(*map(Path, request["arguments"]), **request["options"]).close()
    if audit is not None:
        found = {"unannounced": audit.unannounced, "effects": audit.effects}
        answer.write_text(json.dumps(found))


def _steps(listing: Path) -> list[list]:
    """Return the steps of a run, each once, with the bytes that were written after it."""
    found: dict[tuple, int] = {}
    for line in listing.read_text().splitlines():
        *name, nbytes = json.loads(line)
        found[tuple(name)] = found.get(tuple(name), 0) + nbytes
    return [[list(name), nbytes] for name, nbytes in found.items()]


def main() -> None:
    answer = Path(sys.argv[1])
    listing = answer.with_suffix(".steps")
    for line in sys.stdin:
        answer.write_text("{}")
        listing.write_text("")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(SECONDS)
                _child(json.loads(line), listing, answer)
                status = 0
            except BaseException:  # noqa: BLE001 - a child must not run on into the loop
                traceback.print_exc()
            os._exit(status)
        _, status = os.waitpid(pid, 0)
        told = {"status": os.waitstatus_to_exitcode(status), "steps": _steps(listing)}
        print(json.dumps(told | json.loads(answer.read_text())), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
