"""What only a person can say about a dataset: publication.toml."""

from __future__ import annotations

import datetime
import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from gpgen.description.identifiers import (
    Scheme,
    check_doi,
    check_ror,
    check_url,
    identify,
)
from gpgen.description.licences import licence_name, licence_title, licence_url
from gpgen.description.people import (
    Contributor,
    Creator,
    checked_people,
    refuse_repeated,
)
from gpgen.errors import UsageError
from gpgen.io.user_paths import AnyText, given, text_of
from gpgen.recipe_checks import nearest

__all__ = [
    "RELATIONS", "Contributor", "Creator", "Embargo", "Funding", "License", "Publication",
    "Related",
]  # fmt: skip

RELATIONS: Final = (
    "Cites", "IsCitedBy", "IsCollectedBy", "Collects", "IsSupplementTo", "IsSupplementedBy",
    "IsContinuedBy", "Continues", "IsDescribedBy", "Describes", "HasMetadata", "IsMetadataFor",
    "HasVersion", "IsVersionOf", "IsNewVersionOf", "IsPreviousVersionOf", "IsPartOf", "HasPart",
    "IsPublishedIn", "IsReferencedBy", "References", "IsDocumentedBy", "Documents",
    "IsCompiledBy", "Compiles", "IsVariantFormOf", "IsOriginalFormOf", "IsIdenticalTo",
    "IsReviewedBy", "Reviews", "IsDerivedFrom", "IsSourceOf", "IsRequiredBy", "Requires",
    "IsObsoletedBy", "Obsoletes",
)  # fmt: skip
"""How a dataset may be related to another work: relationType of DataCite 4.5."""

_VERSION: Final = re.compile(r"\d+\.\d+\.\d+", re.ASCII)
_SLUG: Final = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,98}[a-z0-9])?", re.ASCII)
_SHORTEST_TITLE: Final = 3
"""Characters; InvenioRDM refuses fewer."""

_SAMPLE: Final = "see docs/publishing.md for a whole publication.toml"


class License(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A licence that SPDX doesn't list."""

    title: str
    url: str


class Funding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The funder's name and ROR, and the award's number, title and address."""

    funder: str
    ror: str | None = None
    award: str | None = None
    title: str | None = None
    url: str | None = None


class Related(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another work: a DOI, arXiv:number or address, and how it is related."""

    identifier: str
    relation: str = "References"

    @property
    def scheme(self) -> Scheme:
        """Which kind of identifier it is."""
        return identify(self.identifier)[0]

    @property
    def value(self) -> str:
        """The identifier in its plain form."""
        return identify(self.identifier)[1]

    @property
    def url(self) -> str:
        """Its address."""
        bases = {"doi": "https://doi.org/", "arxiv": "https://arxiv.org/abs/", "url": ""}
        return bases[self.scheme] + self.value.removeprefix("arXiv:")


class Embargo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Until when the files are not public, and why."""

    until: datetime.date
    reason: str = ""


class Publication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What publication.toml says.

    Parameters
    ----------
    title
        The dataset's title.
    license
        Its SPDX name, such as CC-BY-4.0, or title and address of another.
    creators
        At least one.
    description
        What to say before what the dataset says about itself.
    version
        The version of the dataset, as MAJOR.MINOR.PATCH.
    date
        Publication date; by default the day on which it is packaged.
    doi
        Its DOI, where one has been reserved.
    publisher
        Who makes it public.
    keywords, contributors, funding, related
        More to find it by.
    embargo
        Until when the files are kept back.
    communities
        The service's communities that it is submitted to once it is published.

    Raises
    ------
    UsageError
        If a field would be refused where the dataset is to be published.
    """

    title: str
    license: str | License
    creators: tuple[Creator, ...]
    description: str = ""
    version: str = "1.0.0"
    date: datetime.date = msgspec.field(default_factory=lambda: _today())
    doi: str | None = None
    publisher: str = "Zenodo"
    keywords: tuple[str, ...] = ()
    contributors: tuple[Contributor, ...] = ()
    funding: tuple[Funding, ...] = ()
    related: tuple[Related, ...] = ()
    embargo: Embargo | None = None
    communities: tuple[str, ...] = ()

    @property
    def license_title(self) -> str:
        """The licence's full name."""
        named = self.license
        return named.title if isinstance(named, License) else licence_title(named)

    @property
    def license_url(self) -> str:
        """The address of the licence's text."""
        return self.license.url if isinstance(self.license, License) else licence_url(self.license)

    @classmethod
    def load(cls, path: AnyText) -> Publication:
        """Read a publication.toml.

        Raises
        ------
        UsageError
            If it can't be read, or a field is missing, unknown or wrong.
        """
        try:
            text = given(path).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it isn't UTF-8 text"
            raise UsageError(f"{text_of(path)} can't be read: {reason}", _SAMPLE) from error
        return cls.from_toml(text, text_of(path))

    @classmethod
    def from_toml(cls, text: str, where: str = "publication") -> Publication:
        """Read it from TOML; `where` names the source in errors."""
        try:
            fields = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"{where}: not valid TOML: {error}", "correct the file") from error
        _refuse_unknown(fields, where)
        for key, table in (("title", ""), ("license", ""), ("creators", "[[creators]]")):
            if not fields.get(key):
                raise UsageError(f"{where}: no {key}", f"add {table or f'{key} = ...'}; {_SAMPLE}")
        try:
            return msgspec.convert(fields, cls).checked()
        except msgspec.ValidationError as error:
            message = f"{str(error)[0].lower()}{str(error)[1:]}"
            raise UsageError(f"{where}: {message}", _SAMPLE) from None
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", error.hint) from None

    def checked(self) -> Publication:
        """Return the publication in plain forms, or raise `UsageError` for its first fault."""
        for name in ("title", "publisher"):
            _check_text(name, getattr(self, name))
        if len(self.title.strip()) < _SHORTEST_TITLE:
            raise UsageError(
                f"title {self.title!r} is too short",
                f"repositories take {_SHORTEST_TITLE} characters or more",
            )
        if not _VERSION.fullmatch(self.version):
            raise UsageError(
                f"version {self.version!r} is not MAJOR.MINOR.PATCH", 'write it like "1.0.0"'
            )
        refuse_repeated("keyword", self.keywords)
        for keyword in self.keywords:
            _check_text("keyword", keyword)
        for slug in self.communities:
            if not _SLUG.fullmatch(slug):
                raise UsageError(
                    f"community {slug!r} is not the name in a community's address",
                    "write what stands behind /communities/ there",
                )
        return msgspec.structs.replace(
            self,
            title=self.title.strip(),
            license=self._checked_license(),
            doi=None if self.doi is None else check_doi(self.doi),
            creators=checked_people("creator", self.creators),
            contributors=checked_people("contributor", self.contributors),
            funding=tuple(map(_checked_funding, self.funding)),
            related=tuple(map(_checked_related, self.related)),
            embargo=self._checked_embargo(),
        )

    def _checked_license(self) -> str | License:
        if isinstance(self.license, str):
            return licence_name(self.license)
        _check_text("the license's title", self.license.title)
        check_url(self.license.url, "the license's url")
        return self.license

    def _checked_embargo(self) -> Embargo | None:
        if self.embargo is not None and self.embargo.until <= self.date:
            raise UsageError(
                f"the embargo ends on {self.embargo.until}, not after the date, {self.date}",
                "give a later day, or leave the embargo out",
            )
        return self.embargo


def _checked_funding(funding: Funding) -> Funding:
    _check_text("funder", funding.funder)
    if funding.title is not None and funding.award is None:
        raise UsageError(
            f"award {funding.title!r} of {funding.funder} has no number", "add award = ..."
        )
    if funding.url is not None:
        check_url(funding.url, "the award's url")
    return msgspec.structs.replace(
        funding, ror=None if funding.ror is None else check_ror(funding.ror)
    )


def _checked_related(related: Related) -> Related:
    if related.relation not in RELATIONS:
        raise UsageError(
            f"unknown relation {related.relation!r}", nearest(related.relation, RELATIONS)
        )
    identify(related.identifier)
    return related


def _check_text(what: str, text: str) -> None:
    if not text.strip() or not text.isprintable():
        raise UsageError(f"{what} {text!r} is empty or not one printable line", "correct it")


def _today() -> datetime.date:
    # Whoever wants the same bytes another day says the day, in the file or in this variable,
    # which reproducible builds agree on.
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch and epoch.isdigit():
        return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).date()
    return datetime.datetime.now(datetime.UTC).date()


_TABLES: Final[dict[str, type[msgspec.Struct]]] = {
    "creators": Creator,
    "contributors": Contributor,
    "funding": Funding,
    "related": Related,
}


def _refuse_unknown(fields: Mapping[str, Any], where: str) -> None:
    parts: list[tuple[str, object, type[msgspec.Struct]]] = [(where, fields, Publication)]
    for key, struct in _TABLES.items():
        entries = fields.get(key)
        if isinstance(entries, list):
            parts += [
                (f"{where}, {key} {number}", entry, struct)
                for number, entry in enumerate(entries, start=1)
            ]
    for place, mapping, struct in parts:
        for key in mapping if isinstance(mapping, Mapping) else ():
            if key not in struct.__struct_fields__:
                raise UsageError(
                    f"{place}: unknown key {key!r}", nearest(str(key), struct.__struct_fields__)
                )
