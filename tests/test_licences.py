"""What gpgen needs to run may be used by whoever may use gpgen: permissive licences throughout."""

from __future__ import annotations

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# A licence's name in any of the spellings that packages use, and no copyleft one.
PERMISSIVE = re.compile(
    r"(BSD|0BSD|MIT|Apache|PSF|Python Software Foundation|Zlib|CC0|ISC)\b", re.IGNORECASE
)


def licence_of(name: str) -> str:
    metadata = importlib.metadata.distribution(name).metadata
    classifiers = metadata.get_all("Classifier") or []
    named = [text.rpartition(":: ")[2] for text in classifiers if text.startswith("License")]
    declared = metadata.get("License-Expression") or " AND ".join(named)
    return declared or metadata.get("License") or ""


def needed() -> dict[str, str]:
    """Every package that `pip install gpgen` brings, and its licence."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting = [Requirement(text) for text in project["dependencies"]]
    found: dict[str, str] = {}
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        marker = requirement.marker
        if name in found or (marker is not None and not marker.evaluate({"extra": ""})):
            continue
        found[name] = licence_of(name)
        requires = importlib.metadata.distribution(name).requires or []
        waiting += [Requirement(text) for text in requires]
    return found


def test_every_package_that_is_needed_has_a_permissive_licence() -> None:
    for name, licence in needed().items():
        parts = re.split(r"\s+(?:AND|OR)\s+", licence.strip().splitlines()[0] if licence else "")
        assert all(PERMISSIVE.match(part) for part in parts), (name, licence)


def test_the_list_in_the_docs_is_complete() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    listed = set(re.findall(r"^\| ([a-z0-9-]+) \|", text, re.MULTILINE)) - {"package"}
    missing = needed().keys() - listed
    assert not missing
