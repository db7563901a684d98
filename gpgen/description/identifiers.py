"""Identifiers of works, people and organizations, checked as the repositories check them.

What is one is decided by `idutils`, which InvenioRDM itself uses, within the narrower form that
the Citation File Format and DataCite take.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import idutils

from gpgen.errors import UsageError

__all__ = ["Scheme", "check_doi", "check_orcid", "check_ror", "check_url", "identify"]

Scheme = Literal["doi", "arxiv", "url"]

# The Citation File Format's own pattern; DataCite registers no others today.
_DOI: Final = re.compile(r"10\.\d{4,9}(\.\d+)?/[A-Za-z0-9:/_;\-.()\[\]]+")
_URL: Final = re.compile(r"https?://[^\s<>\"{}|\\^`]+", re.ASCII)


def check_doi(text: str) -> str:
    """Return a DOI in its plain form, 10.5281/zenodo.123.

    Raises
    ------
    UsageError
        If it is none, or has characters that DOIs no longer have.
    """
    if idutils.is_doi(text):
        doi = str(idutils.normalize_doi(text))
        if _DOI.fullmatch(doi):
            return doi
    raise UsageError(f"doi {text!r} is not a DOI", "write it like 10.5281/zenodo.123")


def check_orcid(text: str) -> str:
    """Return an ORCID in its plain form, 0000-0002-1825-0097.

    Raises
    ------
    UsageError
        If it doesn't look like one, or its check digit is wrong.
    """
    text = text.strip()
    if idutils.is_orcid(text):
        return str(idutils.normalize_orcid(text)).upper()
    raise UsageError(
        f"orcid {text!r} is not an ORCID, or its check digit is wrong",
        "copy it from the person's page; it looks like 0000-0002-1825-0097",
    )


def check_ror(text: str) -> str:
    """Return an organization's ROR identifier as an address, https://ror.org/05gq02987.

    Raises
    ------
    UsageError
        If it is none.
    """
    if idutils.is_ror(text):
        return f"https://ror.org/{idutils.normalize_ror(text)}"
    raise UsageError(
        f"ror {text!r} is not a ROR identifier", "write it like https://ror.org/05gq02987"
    )


def check_url(text: str, what: str) -> str:
    """Return an address that begins with http or https.

    Raises
    ------
    UsageError
        If it is none; `what` says which it is.
    """
    if _URL.fullmatch(text) and idutils.is_url(text):
        return text
    raise UsageError(f"{what} {text!r} is not an address", "write it like https://example.org/page")


def identify(text: str) -> tuple[Scheme, str]:
    """Return the scheme of a work's identifier, and its plain form.

    Raises
    ------
    UsageError
        If it is neither a DOI nor an arXiv number nor an address.
    """
    if idutils.is_doi(text):
        return "doi", check_doi(text)
    if idutils.is_arxiv(text):
        return "arxiv", str(idutils.normalize_arxiv(text))
    if _URL.fullmatch(text):
        return "url", check_url(text, "address")
    raise UsageError(
        f"{text!r} is not a DOI, arXiv number or address",
        "write it like 10.5281/zenodo.1, arXiv:1806.01337 or https://...",
    )
