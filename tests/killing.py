"""A process that forks children to make a dataset and kill themselves at a given step.

It imports everything once and starts no thread, so that each fork is cheap and safe.
One request a line, as JSON: {"out", "step", "options"}; the answer is one line of JSON:
{"status": exit status (negative: signal), "steps": steps counted}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from pathlib import Path

import distributed
import h5py
import store_tools

from gpgen.store import files

_ = distributed, h5py


def _child(request: dict, counter: Path) -> None:
    steps = 0

    def hook(action: str, path: str) -> None:
        nonlocal steps
        steps += 1
        if steps == request["step"]:
            os.kill(os.getpid(), signal.SIGKILL)

    files.watch(hook)
    store_tools.tiny_make(Path(request["out"]), **request["options"]).close()
    counter.write_text(str(steps))


def main() -> None:
    counter = Path(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        counter.write_text("0")
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _child(request, counter)
                status = 0
            except BaseException:  # noqa: BLE001 - a child must not run on into the loop
                traceback.print_exc()
            os._exit(status)
        _, status = os.waitpid(pid, 0)
        answer = {
            "status": os.waitstatus_to_exitcode(status),
            "steps": int(counter.read_text()),
        }
        print(json.dumps(answer), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
