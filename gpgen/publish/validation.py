"""Metadata, checked before they are written: by us always, by others' tools where installed.

The others are `mlcroissant` for croissant.json, `datacite` for datacite.json, the schema in
`cffconvert` for CITATION.cff and the one in `invenio-rdm-records` for record.json. Of the last
two only the schema files are read, so neither they nor what they depend on need be importable.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from gpgen.errors import UsageError

__all__ = ["REQUIRED_BY_SERVICE", "check_record", "outside_tools", "validate"]

REQUIRED_BY_SERVICE: Final = ("resource_type", "title", "creators", "publication_date")
"""Metadata without which InvenioRDM publishes nothing."""

_OWN: Final[dict[str, tuple[str, ...]]] = {
    "croissant.json": ("@context", "@type", "conformsTo", "name", "description", "license",
                       "creator", "datePublished", "distribution", "recordSet"),
    "datacite.json": ("types", "creators", "titles", "publisher", "publicationYear",
                      "schemaVersion"),
    "CITATION.cff": ("cff-version", "message", "title", "authors"),
    "record.json": ("metadata", "files", "access"),
}  # fmt: skip
"""What each must hold by its specification."""

_TOOLS: Final = {
    "croissant.json": "mlcroissant",
    "datacite.json": "datacite",
    "CITATION.cff": "cffconvert",
    "record.json": "invenio-rdm-records",
}


def outside_tools() -> dict[str, str]:
    """Return the outside tool at hand for each metadata file, with its version."""
    tools = {}
    for name, package in _TOOLS.items():
        try:
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
        needed = ["jsonschema"] if package in ("cffconvert", "invenio-rdm-records") else []
        if all(importlib.util.find_spec(module) for module in needed):
            tools[name] = f"{package} {version}"
    return tools


def validate(documents: dict[str, str]) -> dict[str, str]:
    """Check metadata files, and return which tool found each valid.

    Parameters
    ----------
    documents
        The text of each, by its file's name.

    Raises
    ------
    UsageError
        If one isn't valid: what is wrong, and by which tool.
    """
    checks: dict[str, Callable[[str], None]] = {
        "croissant.json": _croissant,
        "datacite.json": _datacite,
        "CITATION.cff": _cff,
        "record.json": _record,
    }
    tools = outside_tools()
    verdicts = {}
    for name, check in checks.items():
        if name not in documents:
            continue
        text = documents[name]
        fields = yaml.safe_load(text) if name.endswith(".cff") else json.loads(text)
        missing = [key for key in _OWN[name] if not fields.get(key)]
        if missing:
            raise UsageError(f"{name} lacks {', '.join(missing)}", "complete publication.toml")
        if name == "record.json":
            check_record(fields)
        verdicts[name] = tools.get(name, "gpgen's own checks")
        if name in tools:
            try:
                check(text)
            except Exception as error:  # every tool has its own
                first = str(error).strip().splitlines()
                raise UsageError(
                    f"{name} is refused by {tools[name]}: {' '.join(first[:3])[:300]}",
                    "correct publication.toml, or report it as a bug if nothing is wrong there",
                ) from error
    return verdicts


def check_record(record: dict[str, Any]) -> None:
    """Raise `UsageError` if a record lacks what the service needs to publish it."""
    metadata = record.get("metadata") or {}
    missing = [key for key in REQUIRED_BY_SERVICE if not metadata.get(key)]
    if missing:
        raise UsageError(
            f"record.json lacks {', '.join(missing)}, without which nothing can be published",
            "package the dataset again with a complete publication.toml",
        )


def _croissant(text: str) -> None:
    import mlcroissant

    # Its own files may not exist yet: the description alone is checked here.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "croissant.json"
        path.write_text(text, encoding="utf-8")
        issues = mlcroissant.Dataset(jsonld=path).metadata.ctx.issues
        if issues.errors or issues.warnings:
            raise ValueError(issues.report())


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


def _raise_first(validator: Any, instance: object) -> None:  # noqa: ANN401 - jsonschema's
    for error in validator.iter_errors(instance):
        where = "/".join(map(str, error.absolute_path))
        raise ValueError(f"{where or 'the whole'}: {error.message}")


def _resource(package: str, path: str) -> str:
    """Read a file of a package without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(package)
    return (Path(spec.submodule_search_locations[0]) / path).read_text(encoding="utf-8")
