"""The outside tools that hold our metadata valid, each of its own community.

`mlcroissant` for croissant.json, `rocrate` for ro-crate-metadata.json, `datacite` for
datacite.json, the schema in `cffconvert` for CITATION.cff and the one in `invenio-rdm-records` for
record.json. Of the last two only the schema files are read (`schema_packages`).
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import yaml
from schema_packages import folder_of

__all__ = ["check"]


def check(documents: dict[str, str]) -> None:
    """Raise an error of the tool's for the first metadata file that it finds invalid."""
    tools = {
        "croissant.json": _croissant,
        "ro-crate-metadata.json": _ro_crate,
        "datacite.json": _datacite,
        "CITATION.cff": _cff,
        "record.json": _record,
    }
    for name, text in documents.items():
        tools[name](text)


def _croissant(text: str) -> None:
    import mlcroissant

    # Its own files may not exist yet: the description alone is checked here.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "croissant.json"
        path.write_text(text, encoding="utf-8")
        issues = mlcroissant.Dataset(jsonld=path).metadata.ctx.issues
        if issues.errors or issues.warnings:
            raise ValueError(issues.report())


def _ro_crate(text: str) -> None:
    from rocrate.rocrate import ROCrate

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "ro-crate-metadata.json").write_text(text, encoding="utf-8")
        for part in json.loads(text)["@graph"]:
            if part["@type"] == "File":  # it tells files by looking for them
                (Path(folder) / part["@id"]).touch()
        crate = ROCrate(folder)
        root = crate.root_dataset
        for key in ("name", "description", "datePublished", "license", "author", "hasPart"):
            found = root[key]
            for each in found if isinstance(found, list) else [found]:
                if not each or (key in ("license", "author", "hasPart") and isinstance(each, str)):
                    raise ValueError(f"{key} refers to {each!r}, which the crate doesn't describe")


def _datacite(text: str) -> None:
    from datacite import schema45

    schema45.validator.validate(json.loads(text))


def _cff(text: str) -> None:
    import jsonschema

    schema = json.loads(_resource("cffconvert", "schemas/1.2.0/schema.json"))
    # The schema has dates as strings; YAML reads them as dates.
    instance = json.loads(json.dumps(yaml.safe_load(text), default=str))
    _raise_first(jsonschema.Draft7Validator(schema), instance)


def _record(text: str) -> None:
    import jsonschema
    import referencing
    from referencing.jsonschema import DRAFT7

    folder = "records/jsonschemas"
    own = "records/definitions-v2.0.0.json"
    shared = "records/definitions-v1.0.0.json"
    registry: referencing.Registry[Any] = referencing.Registry()
    for uri, path in (
        (f"local://{own}", own),
        ("local://definitions-v2.0.0.json", own),
        ("local://definitions-v1.0.0.json", shared),
    ):
        contents = json.loads(_resource("invenio_rdm_records", f"{folder}/{path}"))
        resource = referencing.Resource.from_contents(contents, default_specification=DRAFT7)
        registry = registry.with_resource(uri, resource)
    schema = json.loads(_resource("invenio_rdm_records", f"{folder}/records/record-v6.0.0.json"))
    record = json.loads(text)
    validator = jsonschema.Draft7Validator(schema["properties"]["metadata"], registry=registry)
    _raise_first(validator, record["metadata"])


def _raise_first(validator: Any, instance: object) -> None:
    for error in validator.iter_errors(instance):
        where = "/".join(map(str, error.absolute_path))
        raise ValueError(f"{where or 'the whole'}: {error.message}")


def _resource(package: str, path: str) -> str:
    return (folder_of(package) / path).read_text(encoding="utf-8")
