"""Licences by their SPDX names, or with a title and an address of one's own."""

from __future__ import annotations

import difflib
import re
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from gpgen.errors import UsageError

__all__ = ["hub_name", "licence_name", "licence_title", "licence_url"]

_FOR_DATA: Final = {
    "CC-BY-4.0": "Creative Commons Attribution 4.0 International",
    "CC-BY-SA-4.0": "Creative Commons Attribution Share Alike 4.0 International",
    "CC-BY-NC-4.0": "Creative Commons Attribution Non Commercial 4.0 International",
    "CC-BY-NC-SA-4.0": "Creative Commons Attribution Non Commercial Share Alike 4.0 International",
    "CC0-1.0": "Creative Commons Zero v1.0 Universal",
    "ODC-By-1.0": "Open Data Commons Attribution License v1.0",
    "ODbL-1.0": "Open Data Commons Open Database License v1.0",
    "PDDL-1.0": "Open Data Commons Public Domain Dedication & License 1.0",
    "MIT": "MIT License",
    "Apache-2.0": "Apache License 2.0",
    "BSD-3-Clause": 'BSD 3-Clause "New" or "Revised" License',
}
"""Full names of the licences that datasets mostly have."""

_HUB: Final = {
    **dict.fromkeys((
        "apache-2.0", "mit", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0",
        "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
        "cc-by-nd-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0",
        "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "afl-3.0", "artistic-2.0", "bsl-1.0",
        "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "ecl-2.0", "epl-1.0", "epl-2.0",
        "eupl-1.1", "eupl-1.2", "isc", "lppl-1.3c", "ms-pl", "mpl-2.0", "ncsa", "osl-3.0",
        "postgresql", "ofl-1.1", "unlicense", "wtfpl", "zlib",
    )),
    "odc-by-1.0": "odc-by", "odbl-1.0": "odbl", "pddl-1.0": "pddl", "gfdl-1.3-only": "gfdl",
    "gfdl-1.3-or-later": "gfdl",
    **{
        f"{family}-{version}-{kind}": f"{family}-{version}"
        for family, version in (("gpl", "2.0"), ("gpl", "3.0"), ("agpl", "3.0"), ("lgpl", "2.1"),
                                ("lgpl", "3.0"))
        for kind in ("only", "or-later")
    },
}  # fmt: skip
"""The Hugging Face Hub's names by SPDX names in lower case; None where they are the same."""


def licence_name(text: str) -> str:
    """Return the SPDX name of one licence, as SPDX spells it.

    Raises
    ------
    UsageError
        If SPDX has no such licence; the nearest names are in the hint.
    """
    try:
        name = str(canonicalize_license_expression(text))
    except InvalidLicenseExpression:
        raise UsageError(f"license {text!r} is not an SPDX name", _suggestion(text)) from None
    if not re.fullmatch(r"[A-Za-z0-9.-]+", name) or name.startswith("LicenseRef-"):
        raise UsageError(
            f"license {text!r} is not one licence of SPDX's list",
            "give one name, such as CC-BY-4.0, or a table: "
            'license = { title = "...", url = "https://..." }',
        )
    return name


def licence_title(name: str) -> str:
    """Return a licence's full name where we know it, else its SPDX name."""
    return _FOR_DATA.get(name, name)


def licence_url(name: str) -> str:
    """Return the address of a licence's text."""
    return f"https://spdx.org/licenses/{name}.html"


def hub_name(name: str) -> str | None:
    """Return what the Hugging Face Hub calls a licence of SPDX's; None if it knows none such."""
    key = name.lower()
    return (_HUB[key] or key) if key in _HUB else None


def _suggestion(text: str) -> str:
    known = {name.lower(): name for name in _FOR_DATA}
    wanted = re.sub(r"[\s_]+", "-", text.strip().lower())
    for short, spdx_name in (("cc-by", "CC-BY-4.0"), ("cc0", "CC0-1.0"), ("apache", "Apache-2.0")):
        if wanted == short:
            return f"did you mean {spdx_name}?"
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    if close:
        return "the nearest are " + ", ".join(known[key] for key in close)
    return "use a name of https://spdx.org/licenses/, such as CC-BY-4.0, CC0-1.0 or MIT"
