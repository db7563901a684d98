"""Licences by their SPDX names, and ORCID numbers by their check digit."""

from __future__ import annotations

import difflib
import importlib
import re
from typing import Final

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from gpgen.errors import UsageError

__all__ = ["check_orcid", "licence_name", "licence_title", "licence_url"]

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

_ORCID: Final = re.compile(r"(?:https?://orcid\.org/)?(\d{4})-?(\d{4})-?(\d{4})-?(\d{3}[\dX])")


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
    if " " in name or name.startswith("LicenseRef-"):
        raise UsageError(
            f"license {text!r} is not one licence of SPDX's list",
            "give one name, such as CC-BY-4.0",
        )
    return name


def licence_title(name: str) -> str:
    """Return a licence's full name where we know it, else its SPDX name."""
    return _FOR_DATA.get(name, name)


def licence_url(name: str) -> str:
    """Return the address of a licence's text."""
    return f"https://spdx.org/licenses/{name}.html"


def check_orcid(text: str) -> str:
    """Return an ORCID in its plain form, 0000-0002-1825-0097.

    The last character is the check digit of ISO 7064, MOD 11-2, X standing for 10.

    Raises
    ------
    UsageError
        If it doesn't look like one, or the check digit is wrong.
    """
    match = _ORCID.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"orcid {text!r} is not an ORCID", "write it like 0000-0002-1825-0097")
    digits = "".join(match.groups())
    total = 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2
    expected = "0123456789X"[(12 - total % 11) % 11]
    if digits[-1] != expected:
        raise UsageError(
            f"orcid {text!r} has the check digit {digits[-1]} where {expected} belongs",
            "copy it again from the person's ORCID page",
        )
    return "-".join(match.groups())


def _suggestion(text: str) -> str:
    known = {name.lower(): name for name in _FOR_DATA}
    try:
        # Only for the suggestion, so its absence from another version does no harm.
        spdx = importlib.import_module("packaging.licenses._spdx").LICENSES
        known |= {key: str(entry["id"]) for key, entry in spdx.items() if not entry["deprecated"]}
    except (ImportError, AttributeError, KeyError, TypeError):
        pass
    wanted = re.sub(r"[\s_]+", "-", text.strip().lower())
    for short, spdx_name in (("cc-by", "CC-BY-4.0"), ("cc0", "CC0-1.0"), ("apache", "Apache-2.0")):
        if wanted == short:
            return f"did you mean {spdx_name}?"
    close = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    if close:
        return "the nearest are " + ", ".join(known[key] for key in close)
    return "use an SPDX name, such as CC-BY-4.0, CC0-1.0 or MIT"
