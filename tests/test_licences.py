"""Who may use gpgen may use what it needs: permissive licences, and the exceptions by name."""

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = (
    *("torch", "http", "parquet", "plot", "publish", "download", "s3", "serve", "xarray", "zarr"),
)
PERMISSIVE = {
    "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD", "BSD-2-Clause",
    "BSD-2-Clause-Views", "BSD-3-Clause", "BSL-1.0", "CC0-1.0", "CNRI-Python", "ISC", "MIT",
    "MIT-0", "MIT-CMU", "PSF-2.0", "Zlib",
}  # fmt: skip
# Metadata from before SPDX; "BSD" is what doesn't say which of them.
SPELLINGS = {
    "GNU General Public License (GPL)": "GPL",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Weak copyleft, which asks for changes to these packages' own files only, and what declares none.
NOT_PERMISSIVE = {"certifi", "isbnlib2"}
NOT_PERMISSIVE_IN_TESTS = {
    "docutils", "gstools", "gstools-cython", "hypothesis", "mlcroissant", "pathspec", "tqdm",
}  # fmt: skip
# Their metadata is permissive, and a library in their wheels is not.
BUNDLE = {"pyfftw": "GPL-2.0-or-later"}
# What PyTorch brings on Linux unless it is the build without CUDA: proprietary, as the docs say.
CUDA = ("nvidia-", "cuda-", "triton")


def parts(declared: str) -> set[str]:
    """Return the licences of an expression, each whole."""
    found = re.split(r"\s+(?:AND|OR)\s+", declared.strip())
    return {SPELLINGS.get(part) or part.strip(" ()") for part in found}


def licences_of(name: str) -> set[str]:
    metadata = importlib.metadata.distribution(name).metadata
    named = [text for text in metadata.get_all("Classifier") or [] if text.startswith("License")]
    declared = metadata.get("License-Expression") or " AND ".join(
        text.rpartition(":: ")[2] for text in named
    )
    return parts(declared or metadata.get("License") or "none declared")


def needed(requirements: list[str]) -> set[str]:
    """Return every package that these bring, by its normalized name."""
    waiting = [(Requirement(text), "") for text in requirements]
    seen: set[tuple[str, str]] = set()
    while waiting:
        requirement, extra = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        marker = requirement.marker
        if name.startswith(CUDA) or (marker is not None and not marker.evaluate({"extra": extra})):
            continue
        for wanted in {"", *requirement.extras}:
            if (name, wanted) not in seen:
                seen.add((name, wanted))
                requires = importlib.metadata.distribution(name).requires or []
                waiting += [(Requirement(text), wanted) for text in requires]
    return {name for name, _ in seen}


def brought() -> dict[str, set[str]]:
    """Return each package that gpgen or an extra for its users brings, and by which of them."""
    found = {name: {"gpgen"} for name in needed(PROJECT["dependencies"])}
    for extra in EXTRAS:
        for name in needed(PROJECT["optional-dependencies"][extra]):
            if found.setdefault(name, set()) != {"gpgen"}:
                found[name].add(extra)
    return found


def for_tests_only() -> set[str]:
    extras = PROJECT["optional-dependencies"]
    own = [text for text in extras["test"] + extras["docs"] if "gpgen[" not in text]
    return needed(own) - brought().keys()


def not_permissive(names: set[str]) -> set[str]:
    return {name for name in names if not licences_of(name) <= PERMISSIVE}


def test_every_package_that_is_needed_has_a_permissive_licence() -> None:
    assert not_permissive(needed(PROJECT["dependencies"])) == set()


def test_so_has_every_package_of_the_extras_but_those_named() -> None:
    assert not_permissive(set(brought())) == NOT_PERMISSIVE


def test_so_has_every_package_that_only_tests_need_but_those_named() -> None:
    assert not_permissive(for_tests_only()) == NOT_PERMISSIVE_IN_TESTS


@pytest.mark.parametrize(
    "declared",
    ["BSD-3-Clause, GPL-3.0", "PSF/LGPL", "MIT-Foo-Nonfree", "MIT AND GPL-3.0-only", "GPL-2.0-only",
     "MIT OR (Apache-2.0 AND GPL-3.0-only)", "Apache-2.0 WITH Commons-Clause", "BSD-4-Clause",
     "none declared", "", "MPL-2.0", "MIT License (modified)"],
)  # fmt: skip
def test_a_licence_that_only_begins_like_a_permissive_one_is_none(declared: str) -> None:
    assert not parts(declared) <= PERMISSIVE


def family(licences: set[str]) -> set[str]:
    """Say BSD for all of them: packages begin to declare which without changing it."""
    return {"BSD" if part in ("BSD-2-Clause", "BSD-3-Clause") else part for part in licences}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the table is of Python 3.11")
def test_the_table_in_the_docs_is_what_is_installed() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text().partition("## Known")[0]
    rows = re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+) \| ([a-z0-9, ]+) \|$", text, re.MULTILINE)
    listed = {name: (family(parts(licence)), set(by.split(", "))) for name, licence, by in rows}
    del listed["package"]
    assert listed == {name: (family(licences_of(name)), by) for name, by in brought().items()}


def test_what_bundles_another_licence_is_needed_by_tests_alone() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for name, licence in BUNDLE.items():
        assert name in for_tests_only()
        assert re.search(rf"^{name} declares .* {licence}", text, re.MULTILINE)


def test_the_docs_name_what_is_not_permissive() -> None:
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for name in NOT_PERMISSIVE | NOT_PERMISSIVE_IN_TESTS:
        licence = " AND ".join(sorted(licences_of(name)))
        assert f"{name} ({licence})" in text
