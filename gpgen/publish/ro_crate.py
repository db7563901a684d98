"""ro-crate-metadata.json: RO-Crate 1.1, a folder of research data described by schema.org's terms.

https://www.researchobject.org/ro-crate/specification/1.1/
"""

from __future__ import annotations

from typing import Any

from gpgen.description.abstract import abstract, keywords
from gpgen.description.dataset_description import DatasetDescription, DepositFile
from gpgen.description.publication import Creator, Publication

__all__ = ["NAME", "ro_crate_json"]

NAME = "ro-crate-metadata.json"
"""The name that the specification asks for."""

_VERSION = "https://w3id.org/ro/crate/1.1"

Entity = dict[str, Any]


def ro_crate_json(
    publication: Publication, description: DatasetDescription, files: tuple[DepositFile, ...]
) -> Entity:
    """Return the description as JSON-LD.

    Parameters
    ----------
    publication, description
        What is described.
    files
        The files of the deposit.
    """
    creators = [_agent(person, n) for n, person in enumerate(publication.creators, start=1)]
    publisher = {"@id": "#publisher", "@type": "Organization", "name": publication.publisher}
    licence = {
        "@id": publication.license_url,
        "@type": "CreativeWork",
        "name": publication.license_title,
    }
    root: Entity = {
        "@id": "./",
        "@type": "Dataset",
        "name": publication.title,
        "description": abstract(publication, description),
        "datePublished": publication.date.isoformat(),
        "version": publication.version,
        "keywords": keywords(publication, description),
        "license": _reference(licence),
        "author": [_reference(creator) for creator in creators],
        "publisher": _reference(publisher),
        "hasPart": [{"@id": file.name} for file in files],
    }
    if publication.doi:
        root["identifier"] = f"https://doi.org/{publication.doi}"
    about: Entity = {
        "@id": NAME,
        "@type": "CreativeWork",
        "conformsTo": {"@id": _VERSION},
        "about": {"@id": "./"},
    }
    parts = [
        {
            "@id": file.name,
            "@type": "File",
            "name": file.name,
            "description": file.description,
            "contentSize": str(file.nbytes),
            "encodingFormat": file.media_type,
            "sha256": file.sha256,
        }
        for file in files
    ]
    entities = {entity["@id"]: entity for entity in (*creators, publisher, licence)}
    return {"@context": f"{_VERSION}/context", "@graph": [about, root, *parts, *entities.values()]}


def _reference(entity: Entity) -> Entity:
    return {"@id": entity["@id"]}


def _agent(person: Creator, number: int) -> Entity:
    """Return a creator; those without an identifier are told apart by their place."""
    name = f"#creator-{number}" if person.identifier is None else person.identifier[1]
    if person.organization:
        return {"@id": name, "@type": "Organization", "name": person.family}
    agent = {"@id": name, "@type": "Person", "name": person.full_name, "familyName": person.family}
    return agent | ({"givenName": person.given} if person.given else {})
