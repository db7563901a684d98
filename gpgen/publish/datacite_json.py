"""datacite.json: the DataCite Metadata Schema 4.5, which belongs to every DOI.

See https://datacite-metadata-schema.readthedocs.io/en/4.5/.
"""

from __future__ import annotations

from typing import Any

from gpgen.description.abstract import abstract, keywords
from gpgen.description.dataset_description import DatasetDescription, DepositFile
from gpgen.description.publication import Contributor, Creator, Funding, Publication, Related

__all__ = ["datacite_json"]


def datacite_json(
    publication: Publication, description: DatasetDescription, files: tuple[DepositFile, ...]
) -> dict[str, Any]:
    """Return the record as DataCite's JSON.

    Parameters
    ----------
    publication, description
        What is described.
    files
        The files of the deposit.
    """
    document: dict[str, Any] = {
        "types": {"resourceTypeGeneral": "Dataset", "resourceType": "Image dataset"},
        "creators": [_person(creator) for creator in publication.creators],
        "titles": [{"title": publication.title}],
        "publisher": {"name": publication.publisher},
        "publicationYear": str(publication.date.year),
        "dates": _dates(publication),
        "language": "en",
        "version": publication.version,
        "subjects": [{"subject": word} for word in keywords(publication, description)],
        "sizes": [f"{sum(file.nbytes for file in files)} bytes", f"{description.n} samples"],
        "formats": sorted({file.media_type for file in files}),
        "rightsList": [_rights(publication)],
        "descriptions": [
            {"description": abstract(publication, description), "descriptionType": "Abstract"},
            {"description": description.methods, "descriptionType": "Methods"},
        ],
        "relatedIdentifiers": [
            _related(related) for related in (*publication.related, *description.related)
        ],
        "schemaVersion": "http://datacite.org/schema/kernel-4",
    }
    if publication.doi:
        document["doi"] = publication.doi
    if publication.contributors:
        document["contributors"] = [_contributor(person) for person in publication.contributors]
    if publication.funding:
        document["fundingReferences"] = [_funding(funding) for funding in publication.funding]
    return document


def _rights(publication: Publication) -> dict[str, str]:
    rights = {"rights": publication.license_title, "rightsUri": publication.license_url}
    if isinstance(publication.license, str):
        rights |= {
            "rightsIdentifier": publication.license.lower(),
            "rightsIdentifierScheme": "SPDX",
            "schemeUri": "https://spdx.org/licenses/",
        }
    return rights


def _dates(publication: Publication) -> list[dict[str, str]]:
    dates = [{"date": publication.date.isoformat(), "dateType": "Issued"}]
    if publication.embargo is not None:
        until = publication.embargo.until.isoformat()
        dates.append({"date": until, "dateType": "Available"})
    return dates


_SCHEMES = {"ORCID": "https://orcid.org", "ROR": "https://ror.org"}


def _person(person: Creator) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": person.family, "nameType": "Organizational"}
    if not person.organization:
        parts = (person.family, person.given, person.suffix)
        entry = {
            "name": ", ".join(part for part in parts if part),
            "nameType": "Personal",
            "familyName": person.family,
        }
        if person.given:
            entry["givenName"] = person.given
    if person.identifier is not None:
        scheme, address = person.identifier
        entry["nameIdentifiers"] = [
            {
                "nameIdentifier": address,
                "nameIdentifierScheme": scheme,
                "schemeUri": _SCHEMES[scheme],
            }
        ]
    if person.affiliation:
        affiliation = {"name": person.affiliation}
        if person.affiliation_ror:
            affiliation |= {
                "affiliationIdentifier": person.affiliation_ror,
                "affiliationIdentifierScheme": "ROR",
                "schemeUri": "https://ror.org",
            }
        entry["affiliation"] = [affiliation]
    return entry


def _contributor(contributor: Contributor) -> dict[str, Any]:
    return _person(contributor) | {"contributorType": contributor.role}


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
        "funderIdentifier": funding.ror,
        "funderIdentifierType": "ROR" if funding.ror else None,
    }
    return {key: value for key, value in fields.items() if value}
