"""record.json: what Zenodo and other InvenioRDM repositories ask for.

See https://inveniordm.docs.cern.ch/reference/metadata/.
"""

from __future__ import annotations

import html
from typing import Any

from gpgen.description.abstract import keywords, paragraphs
from gpgen.description.dataset_description import DatasetDescription
from gpgen.description.publication import Creator, Funding, Publication, Related

__all__ = ["invenio_record", "own_rights"]


def invenio_record(publication: Publication, description: DatasetDescription) -> dict[str, Any]:
    """Return the draft of a record, as the records API takes it."""
    metadata: dict[str, Any] = {
        "resource_type": {"id": "dataset"},
        "title": publication.title,
        "publication_date": publication.date.isoformat(),
        "creators": [_person(creator) for creator in publication.creators],
        "publisher": publication.publisher,
        "version": publication.version,
        "description": "".join(
            f"<p>{html.escape(part, quote=False)}</p>"
            for part in paragraphs(publication, description)
        ),
        "rights": [_rights(publication)],
        "subjects": [{"subject": word} for word in keywords(publication, description)],
        "languages": [{"id": "eng"}],
        "related_identifiers": [
            _related(related) for related in (*publication.related, *description.related)
        ],
    }
    if publication.contributors:
        metadata["contributors"] = [
            {**_person(person), "role": {"id": person.role.lower()}}
            for person in publication.contributors
        ]
    if publication.funding:
        metadata["funding"] = [_funding(funding) for funding in publication.funding]
    access: dict[str, Any] = {"record": "public", "files": "public"}
    if publication.embargo is not None:
        access["files"] = "restricted"
        access["embargo"] = {
            "active": True,
            "until": publication.embargo.until.isoformat(),
            "reason": publication.embargo.reason,
        }
    return {
        "access": access,
        "files": {"enabled": True, "default_preview": "README.md"},
        "metadata": metadata,
    }


def own_rights(title: str, url: str) -> dict[str, Any]:
    """Return the rights of a licence that the service's vocabulary doesn't have."""
    return {"title": {"en": title}, "link": url}


def _rights(publication: Publication) -> dict[str, Any]:
    if isinstance(publication.license, str):
        return {"id": publication.license.lower()}
    return own_rights(publication.license.title, publication.license.url)


def _person(person: Creator) -> dict[str, Any]:
    if person.organization:
        who: dict[str, Any] = {"type": "organizational", "name": person.family}
    else:
        given = ", ".join(part for part in (person.given, person.suffix) if part)
        who = {"type": "personal", "family_name": person.family}
        if given:
            who["given_name"] = given
    if person.identifier is not None:
        scheme, address = person.identifier
        identifier = address.rpartition("/")[2]
        who["identifiers"] = [{"scheme": scheme.lower(), "identifier": identifier}]
    entry: dict[str, Any] = {"person_or_org": who}
    if person.affiliation:
        affiliation = {"name": person.affiliation}
        entry["affiliations"] = [affiliation]
    return entry


def _related(related: Related) -> dict[str, Any]:
    return {
        "identifier": related.value,
        "scheme": related.scheme,
        "relation_type": {"id": related.relation.lower()},
    }


def _funding(funding: Funding) -> dict[str, Any]:
    funder = {"name": funding.funder}
    if funding.ror:
        funder["id"] = funding.ror.rpartition("/")[2]
    entry: dict[str, Any] = {"funder": funder}
    award: dict[str, Any] = {}
    if funding.award:
        award["number"] = funding.award
    if funding.title:
        award["title"] = {"en": funding.title}
    if funding.url:
        award["identifiers"] = [{"scheme": "url", "identifier": funding.url}]
    if award:
        entry["award"] = award
    return entry
