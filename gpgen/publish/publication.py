"""What only a person can say about a dataset: publication.toml."""

from __future__ import annotations

import datetime
import os
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final, Literal, cast

import msgspec

from gpgen.errors import UsageError
from gpgen.paths import AnyText, given, text_of
from gpgen.publish.licences import check_orcid, licence_name
from gpgen.recipe_checks import nearest

__all__ = ["DOI", "RELATIONS", "Creator", "Funding", "Publication", "Related", "Scheme"]

Scheme = Literal["doi", "arxiv", "url"]

RELATIONS: Final = (
    "Cites", "IsCitedBy", "IsSupplementTo", "IsSupplementedBy", "IsNewVersionOf",
    "IsPreviousVersionOf", "IsPartOf", "HasPart", "References", "IsReferencedBy",
    "IsDocumentedBy", "Documents", "IsDescribedBy", "Describes", "IsVariantFormOf",
    "IsOriginalFormOf", "IsIdenticalTo", "IsDerivedFrom", "IsSourceOf",
)  # fmt: skip
"""How a dataset may be related to another work, in DataCite's words."""

DOI: Final = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?(10\.\d{4,9}/\S+)", re.IGNORECASE)
_ARXIV: Final = re.compile(r"(?:https?://arxiv\.org/abs/|arxiv:)(\S+)", re.IGNORECASE)
_SAMPLE: Final = "see docs/publishing.md for a whole publication.toml"


class Creator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A person, as "Family, Given", or an organization.

    Parameters
    ----------
    name
        "Family, Given" for a person.
    orcid
        Their ORCID.
    affiliation
        The name of where they work.
    organization
        Whether it isn't a person.
    """

    name: str
    orcid: str | None = None
    affiliation: str | None = None
    organization: bool = False

    @property
    def family(self) -> str:
        """The family name of a person, the name of an organization."""
        return self.name if self.organization else self.name.partition(",")[0].strip()

    @property
    def given(self) -> str:
        """The given names of a person."""
        return "" if self.organization else self.name.partition(",")[2].strip()


class Funding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who paid: the funder's name, and the award's number, title and address."""

    funder: str
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
        if DOI.fullmatch(self.identifier):
            return "doi"
        return "arxiv" if _ARXIV.fullmatch(self.identifier) else "url"

    @property
    def value(self) -> str:
        """The identifier in its plain form."""
        match = (DOI if self.scheme == "doi" else _ARXIV).fullmatch(self.identifier)
        if match is None:
            return self.identifier
        return match[1] if self.scheme == "doi" else f"arXiv:{match[1]}"

    @property
    def url(self) -> str:
        """Its address."""
        bases = {"doi": "https://doi.org/", "arxiv": "https://arxiv.org/abs/", "url": ""}
        return bases[self.scheme] + self.value.removeprefix("arXiv:")


class Publication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What publication.toml says.

    Parameters
    ----------
    title
        The dataset's title.
    license
        Its SPDX name, such as CC-BY-4.0.
    creators
        At least one.
    description
        What to say before what the dataset says about itself.
    version
        The version of the dataset.
    date
        Publication date; by default the day on which it is packaged.
    doi
        Its DOI, where one has been reserved.
    publisher
        Who makes it public.
    keywords, funding, related
        More to find it by.

    Raises
    ------
    UsageError
        If a field would be refused where the dataset is to be published.
    """

    title: str
    license: str
    creators: tuple[Creator, ...]
    description: str = ""
    version: str = "1.0.0"
    date: datetime.date = msgspec.field(default_factory=lambda: _today())
    doi: str | None = None
    publisher: str = "Zenodo"
    keywords: tuple[str, ...] = ()
    funding: tuple[Funding, ...] = ()
    related: tuple[Related, ...] = ()

    @classmethod
    def load(cls, path: AnyText) -> Publication:
        """Read a publication.toml.

        Raises
        ------
        UsageError
            If it can't be read, or a field is missing, unknown or wrong.
        """
        try:
            text = given(path).read_text(encoding="utf-8")
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
            publication = msgspec.convert(fields, cls)
        except msgspec.ValidationError as error:
            message = f"{str(error)[0].lower()}{str(error)[1:]}"
            raise UsageError(f"{where}: {message}", _SAMPLE) from None
        try:
            return _checked(publication)
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", error.hint) from None


def _checked(publication: Publication) -> Publication:
    """Return the publication in plain forms, or raise `UsageError` for its first fault."""
    if not publication.title.strip():
        raise UsageError("the title is empty", "add a title")
    if not publication.creators:
        raise UsageError("no creators", "add a [[creators]] table with a name")
    doi = publication.doi
    if doi is not None:
        match = DOI.fullmatch(doi)
        if match is None:
            raise UsageError(f"doi {doi!r} is not a DOI", "write it like 10.5281/zenodo.123")
        doi = match[1]
    for related in publication.related:
        if related.relation not in RELATIONS:
            raise UsageError(
                f"unknown relation {related.relation!r}", nearest(related.relation, RELATIONS)
            )
        if related.scheme == "url" and not re.match(r"https?://\S+$", related.identifier):
            raise UsageError(
                f"related identifier {related.identifier!r} is not a DOI, arXiv number or address",
                "write it like 10.5281/zenodo.1, arXiv:1806.01337 or https://...",
            )
    return msgspec.structs.replace(
        publication,
        license=licence_name(publication.license),
        doi=doi,
        creators=tuple(map(_checked_creator, publication.creators)),
    )


def _checked_creator(creator: Creator) -> Creator:
    if not creator.name.strip():
        raise UsageError("a creator has no name", 'write name = "Family, Given"')
    if not creator.organization and not (creator.family and creator.given):
        words = creator.name.replace(",", " ").split()
        example = f"{words[-1]}, {' '.join(words[:-1])}" if len(words) > 1 else "Family, Given"
        raise UsageError(
            f"creator {creator.name!r} is not written as family name, comma, given names",
            f'write name = "{example}", or add organization = true',
        )
    if creator.orcid is None:
        return creator
    return msgspec.structs.replace(creator, orcid=check_orcid(creator.orcid))


def _today() -> datetime.date:
    # Whoever wants the same bytes another day says the day, in the file or in this variable,
    # which reproducible builds agree on.
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch and epoch.isdigit():
        return datetime.datetime.fromtimestamp(int(epoch), datetime.UTC).date()
    return datetime.datetime.now(datetime.UTC).date()


def _refuse_unknown(fields: Mapping[str, Any], where: str) -> None:
    tables: dict[str, type[msgspec.Struct]] = {
        "creators": Creator,
        "funding": Funding,
        "related": Related,
    }
    parts: list[tuple[str, Mapping[str, Any], type[msgspec.Struct]]] = [
        (where, fields, Publication)
    ]
    for key, struct in tables.items():
        entries = fields.get(key)
        if isinstance(entries, list):
            parts += [
                (f"{where}, {key} {number}", cast("Mapping[str, Any]", entry), struct)
                for number, entry in enumerate(entries, start=1)
                if isinstance(entry, Mapping)
            ]
    for place, mapping, struct in parts:
        for key in mapping:
            if key not in struct.__struct_fields__:
                raise UsageError(
                    f"{place}: unknown key {key!r}", nearest(str(key), struct.__struct_fields__)
                )
