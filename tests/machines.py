"""Other machines' code paths: what OpenBLAS and NumPy take on other processors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__

__all__ = ["MACHINES", "cpu_flags", "environment", "printed_on"]

MACHINES = {
    "nehalem": {"OPENBLAS_CORETYPE": "NEHALEM"},
    "haswell": {"OPENBLAS_CORETYPE": "HASWELL"},
    "skylakex": {"OPENBLAS_CORETYPE": "SKYLAKEX"},
    "no-simd": {"NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__)},  # names vary by version
    "two-blas-threads": {"OPENBLAS_NUM_THREADS": "2"},
}


def environment(machine: str) -> dict[str, str]:
    """Return what a process on that machine is started with; skip what can't run here."""
    if machine == "skylakex" and "avx512f" not in cpu_flags():
        pytest.skip("this processor has no AVX-512")
    return {"PYTHONPATH": ":".join(sys.path), **MACHINES[machine]}


def printed_on(machine: str, *arguments: str) -> str:
    """Return what Python prints on that machine, for a file or ``-c`` and a program."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", *arguments],
        env=environment(machine),
        capture_output=True,
        text=True,
        check=True,
    )
    return run.stdout


def cpu_flags() -> str:
    """Return what Linux says of the processor."""
    information = Path("/proc/cpuinfo")
    return information.read_text() if information.exists() else ""
