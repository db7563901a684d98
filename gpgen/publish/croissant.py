"""croissant.json: Croissant 1.1, the machine-learning community's description of a dataset.

Croissant can't describe arrays in Zarr or HDF5 so that a loader reads them. So every file is
a FileObject with its checksum, and what can be loaded is the table of the samples. See
https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from gpgen.description.abstract import abstract, keywords
from gpgen.description.citation import bibtex
from gpgen.description.dataset_description import DatasetDescription, DepositFile
from gpgen.description.publication import Creator, Publication

__all__ = ["croissant_json"]

_TABLE: Final = "samples.csv"


def croissant_json(
    publication: Publication, description: DatasetDescription, files: tuple[DepositFile, ...]
) -> dict[str, Any]:
    """Return the description as JSON-LD.

    Parameters
    ----------
    publication, description
        What is described.
    files
        The files of the deposit; samples.csv among them.
    """
    document: dict[str, Any] = {
        # The terms' meanings, as the specification gives them.
        "@context": json.loads(Path(__file__).with_name("croissant_context.json").read_bytes()),
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": publication.title,
        "description": abstract(publication, description),
        "license": publication.license_url,
        "version": publication.version,
        "datePublished": publication.date.isoformat(),
        "creator": [_agent(person) for person in publication.creators],
        "publisher": {"@type": "sc:Organization", "name": publication.publisher},
        "keywords": keywords(publication, description),
        "citeAs": bibtex(publication, description),
        "isLiveDataset": False,
        "distribution": [_file_object(file) for file in files],
        "recordSet": [_samples(description)],
    }
    if publication.contributors:
        document["contributor"] = [_agent(person) for person in publication.contributors]
    if publication.funding:
        document["funder"] = [
            {"@type": "sc:Organization", "name": funding.funder}
            | ({"@id": funding.ror, "url": funding.ror} if funding.ror else {})
            for funding in publication.funding
        ]
    if publication.doi:
        document["url"] = f"https://doi.org/{publication.doi}"
    return document


def _agent(person: Creator) -> dict[str, str]:
    agent = {"@type": "sc:Organization", "name": person.family}
    if not person.organization:
        agent = {"@type": "sc:Person", "name": person.full_name, "familyName": person.family}
        if person.given:
            agent["givenName"] = person.given
    if person.identifier is not None:
        agent["@id"] = agent["url"] = person.identifier[1]
    return agent


def _file_object(file: DepositFile) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "description": file.description,
        "contentUrl": file.name,
        "contentSize": f"{file.nbytes} B",
        "encodingFormat": file.media_type,
        "sha256": file.sha256,
    }


def _samples(description: DatasetDescription) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "A record for each sample; index is its place in the image array.",
        "key": {"@id": "samples/index"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"samples/{column.name}",
                "name": column.name,
                "description": column.description,
                "dataType": list(column.kinds) if len(column.kinds) > 1 else column.kinds[0],
                "source": {"fileObject": {"@id": _TABLE}, "extract": {"column": column.name}},
            }
            for column in description.columns
        ],
    }
