"""A process that forks children to make or convert a dataset and kill themselves at a given step.

It imports everything once and starts no thread, so that each fork is cheap and safe.
One request a line, as JSON: {"verb", "arguments", "options", "step", "torn"}; the answer is
one line of JSON: {"status": exit status (negative: signal), "steps": steps counted,
"unannounced": effects on files that no step preceded, if "audit" was asked for}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path

import distributed
import h5py
import store_tools

from gpgen.converting import convert
from gpgen.store import files

_ = distributed, h5py


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_in_the_midst() -> None:
    """Let the next write put half of its bytes there before the end."""

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        real(descriptor, data[: len(data) // 2], offset)
        _die()

    def writev(descriptor: int, buffers: list[memoryview]) -> int:
        os.write(descriptor, buffers[0][: len(buffers[0]) // 2])
        _die()

    real, os.pwrite, os.writev = os.pwrite, pwrite, writev


EVENTS = {
    "os.mkdir": "make folder",
    "os.remove": "remove",
    "os.rmdir": "remove",
    "os.rename": "rename",
    "os.truncate": "truncate",
}
OTHER = ("os.chmod", "os.chown", "os.utime", "os.link", "os.symlink", "os.setxattr")
CALLS = {
    "write": "write",
    "pwrite": "write",
    "writev": "write",
    "pwritev": "write",
    "sendfile": "write",
    "copy_file_range": "write",
    "posix_fallocate": "truncate",
    "fsync": "sync",
    "fdatasync": "sync",
}


def file_of(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


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
        def call(descriptor, *arguments):
            self._note(name, action, descriptor)
            return real(descriptor, *arguments)

        return call

    def _hear(self, event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_CREAT | os.O_TRUNC) and not isinstance(path, int):
                self._note(event, "create", path)
        elif event == "os.rename":
            self._note(event, "rename", arguments[1])
        elif event in EVENTS:
            self._note(event, EVENTS[event], arguments[0])
        elif event in OTHER:
            self._note(event, "nothing of the kind", arguments[0])


def _child(request: dict, answer: Path) -> None:
    steps = 0
    audit = _Audit(request["audit"]) if request.get("audit") else None

    def hook(action: str, path: str) -> None:
        nonlocal steps
        steps += 1
        if audit is not None:
            audit.announce(action)
        if steps == request["step"]:
            if request["torn"] and action == "write":
                _die_in_the_midst()
            else:
                _die()

    files.watch(hook)
    verb = {"make": store_tools.tiny_make, "convert": convert}[request["verb"]]
    verb(*map(Path, request["arguments"]), **request["options"]).close()
    found = {"unannounced": audit.unannounced, "effects": audit.effects} if audit else {}
    answer.write_text(json.dumps({"steps": steps, **found}))


def main() -> None:
    path = Path(sys.argv[1])
    for line in sys.stdin:
        path.write_text("{}")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _child(json.loads(line), path)
                status = 0
            except BaseException:  # noqa: BLE001 - a child must not run on into the loop
                traceback.print_exc()
            os._exit(status)
        _, status = os.waitpid(pid, 0)
        answer = {"status": os.waitstatus_to_exitcode(status), **json.loads(path.read_text())}
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
