"""Packages of which the tests read schema files alone: fetched without what they depend on.

Installed as requirements, `invenio-rdm-records` would bring a database and two hundred packages,
and `cffconvert` an old jsonschema.
"""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["folder_of"]

VERSIONS = {
    "cffconvert": "cffconvert==2.0.0",
    "invenio_rdm_records": "invenio-rdm-records==36.0.0",
}
_KEPT = Path(__file__).parents[1] / ".pytest_cache" / "schemas"


def folder_of(package: str) -> Path:
    """Return a package's folder, installed beside the tests' cache if nothing else has it."""
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    requirement = VERSIONS[package]
    kept = _KEPT / requirement
    if not kept.exists():
        _KEPT.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(dir=_KEPT))
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", new]
        try:
            subprocess.run([*pip, requirement], check=True)
            with contextlib.suppress(OSError):  # another test process was first
                new.rename(kept)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return kept / package
