"""One line that says on what a table was measured."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

__all__ = ["describe_machine"]


def describe_machine() -> str:
    """CPU, cores, Python and the versions that matter."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                cpu = line.split(":", 1)[1].strip()
                break
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy"))
    return f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, {packages}"
