from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KEEP = """
import ctypes, sys
import gpgen
try:
    gpgen.open_dataset(sys.argv[1])
except gpgen.errors.DatasetError as error:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(error))  # it outlives the interpreter
    print("refused")
"""


def test_an_error_that_outlives_the_interpreter_does_not_crash_it(made, tmp_path: Path) -> None:
    """At exit HDF5 closes what is open; what refers to a Python file must be closed before."""
    damaged = tmp_path / "d.h5"
    damaged.write_bytes(made["d.h5"].read_bytes()[:900] + bytes(4000))
    done = subprocess.run(
        [sys.executable, "-c", KEEP, damaged], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "refused\n", "")
