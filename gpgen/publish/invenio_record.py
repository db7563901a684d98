"""record.json: what Zenodo and other InvenioRDM repositories ask for.

See https://inveniordm.docs.cern.ch/reference/metadata/.
"""

from __future__ import annotations

import html
from typing import Any

from gpgen.publish.publication import Creator, Funding, Publication, Related
from gpgen.publish.subject import Subject
from gpgen.publish.words import keywords, paragraphs

__all__ = ["invenio_record"]


def invenio_record(publication: Publication, subject: Subject) -> dict[str, Any]:
    """Return the draft of a record, as the records API takes it."""
    metadata: dict[str, Any] = {
        "resource_type": {"id": "dataset"},
        "title": publication.title,
        "publication_date": publication.date.isoformat(),
        "creators": [_creator(creator) for creator in publication.creators],
        "publisher": publication.publisher,
        "version": publication.version,
        "description": "".join(
            f"<p>{html.escape(part, quote=False)}</p>" for part in paragraphs(publication, subject)
        ),
        "rights": [{"id": publication.license.lower()}],
        "subjects": [{"subject": word} for word in keywords(publication, subject)],
        "languages": [{"id": "eng"}],
        "related_identifiers": [
            _related(related) for related in (*publication.related, *subject.related)
        ],
    }
    if publication.funding:
        metadata["funding"] = [_funding(funding) for funding in publication.funding]
    return {
        "access": {"record": "public", "files": "public"},
        "files": {"enabled": True, "default_preview": "README.md"},
        "metadata": metadata,
    }


def _creator(creator: Creator) -> dict[str, Any]:
    if creator.organization:
        who: dict[str, Any] = {"type": "organizational", "name": creator.name}
    else:
        who = {
            "type": "personal",
            "given_name": creator.given,
            "family_name": creator.family,
        }
    if creator.orcid:
        who["identifiers"] = [{"scheme": "orcid", "identifier": creator.orcid}]
    entry: dict[str, Any] = {"person_or_org": who}
    if creator.affiliation:
        entry["affiliations"] = [{"name": creator.affiliation}]
    return entry


def _related(related: Related) -> dict[str, Any]:
    return {
        "identifier": related.value,
        "scheme": related.scheme,
        "relation_type": {"id": related.relation.lower()},
    }


def _funding(funding: Funding) -> dict[str, Any]:
    entry: dict[str, Any] = {"funder": {"name": funding.funder}}
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
