"""datacite.json: the DataCite Metadata Schema 4.5, which belongs to every DOI.

See https://datacite-metadata-schema.readthedocs.io/en/4.5/.
"""

from __future__ import annotations

from typing import Any

from gpgen.publish.licences import licence_title, licence_url
from gpgen.publish.publication import Creator, Funding, Publication, Related
from gpgen.publish.subject import DepositFile, Subject
from gpgen.publish.words import abstract, keywords

__all__ = ["datacite_json"]


def datacite_json(
    publication: Publication, subject: Subject, files: tuple[DepositFile, ...]
) -> dict[str, Any]:
    """Return the record as DataCite's JSON.

    Parameters
    ----------
    publication, subject
        What is described.
    files
        The files of the deposit.
    """
    licence = publication.license
    document: dict[str, Any] = {
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Image dataset"},
        "creators": [_creator(creator) for creator in publication.creators],
        "titles": [{"title": publication.title}],
        "publisher": {"name": publication.publisher},
        "publicationYear": str(publication.date.year),
        "dates": [{"date": publication.date.isoformat(), "dateType": "Issued"}],
        "language": "en",
        "version": publication.version,
        "subjects": [{"subject": word} for word in keywords(publication, subject)],
        "sizes": [f"{sum(file.nbytes for file in files)} bytes", f"{subject.n} samples"],
        "formats": sorted({file.media_type for file in files}),
        "rightsList": [
            {
                "rights": licence_title(licence),
                "rightsUri": licence_url(licence),
                "rightsIdentifier": licence.lower(),
                "rightsIdentifierScheme": "SPDX",
                "schemeUri": "https://spdx.org/licenses/",
            }
        ],
        "descriptions": [
            {"description": abstract(publication, subject), "descriptionType": "Abstract"},
            {"description": subject.methods, "descriptionType": "Methods"},
        ],
        "relatedIdentifiers": [
            _related(related) for related in (*publication.related, *subject.related)
        ],
        "schemaVersion": "http://datacite.org/schema/kernel-4",
    }
    if publication.doi:
        document["doi"] = publication.doi
    if publication.funding:
        document["fundingReferences"] = [_funding(funding) for funding in publication.funding]
    return document


def _creator(creator: Creator) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": creator.name, "nameType": "Organizational"}
    if not creator.organization:
        entry |= {
            "name": f"{creator.family}, {creator.given}",
            "nameType": "Personal",
            "givenName": creator.given,
            "familyName": creator.family,
        }
    if creator.orcid:
        entry["nameIdentifiers"] = [
            {
                "nameIdentifier": f"https://orcid.org/{creator.orcid}",
                "nameIdentifierScheme": "ORCID",
                "schemeUri": "https://orcid.org",
            }
        ]
    if creator.affiliation:
        entry["affiliation"] = [{"name": creator.affiliation}]
    return entry


def _related(related: Related) -> dict[str, str]:
    kinds = {"doi": "DOI", "arxiv": "arXiv", "url": "URL"}
    return {
        "relatedIdentifier": related.value,
        "relatedIdentifierType": kinds[related.scheme],
        "relationType": related.relation,
    }


def _funding(funding: Funding) -> dict[str, str]:
    fields = {
        "funderName": funding.funder,
        "awardNumber": funding.award,
        "awardTitle": funding.title,
        "awardUri": funding.url,
    }
    return {key: value for key, value in fields.items() if value}
