"""The stand-in service against InvenioRDM's published OpenAPI description.

The description (https://inveniosoftware.github.io/invenio-openapi/) is not ours to keep here:
give its path in GPGEN_INVENIO_OPENAPI. It names paths, methods and statuses, and of the bodies
only that they are JSON objects.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml
from invenio_server import OTHER_TOKEN, TOKEN
from invenio_server import Service as StandIn
from publish_help import make_small, publication

from gpgen.publish.client import Service, ServiceError
from gpgen.publish.fetching import fetch
from gpgen.publish.packaging import package
from gpgen.publish.token import Token
from gpgen.publish.uploading import publish_draft, upload

DESCRIPTION = os.environ.get("GPGEN_INVENIO_OPENAPI")

# Where the description and the reference (https://inveniordm.docs.cern.ch/reference/) differ,
# the stand-in answers as the reference says, and as the service's own code does.
REFERENCE = {
    ("POST", "/api/records/{}/draft/files/{}/commit"): 200,
    ("POST", "/api/records/{}/draft/actions/publish"): 202,
    ("DELETE", "/api/records/{}/draft/files/{}"): 204,
}


@pytest.mark.skipif(DESCRIPTION is None, reason="GPGEN_INVENIO_OPENAPI is not set")
def test_every_answer_of_the_stand_in_is_one_that_is_described(tmp_path):
    paths = yaml.safe_load(Path(DESCRIPTION).read_text(encoding="utf-8"))["paths"]
    described = {
        (method.upper(), re.sub(r"\{[^}]*\}", "{}", path)): operation
        for path, operations in paths.items()
        for method, operation in operations.items()
    }
    deposit = package(
        make_small(tmp_path / "data.zarr"), publication(), tmp_path / "deposit", recipe_only=True
    ).path
    with StandIn() as server:
        for token in ("wrong", OTHER_TOKEN):
            with Service(server.url, Token(token)) as service, pytest.raises(ServiceError):
                upload(deposit, service)
        with Service(server.url, Token(TOKEN), sleep=lambda _: None) as service:
            server.drop_answer = "PUT .*/README.md/content"
            number = upload(deposit, service).number
            server.announce(number, ["old.bin"])
            upload(deposit, service)
            publish_draft(deposit, service)
            fetch(number, tmp_path / "back.zarr", service=service, workers=1)
            upload(deposit, service, new_version_of=number)
    shape = re.compile(r"^/api/records(?:/([^/]+))?(.*?)$")
    seen = set()
    for asked in server.log:
        number, rest = shape.match(asked.path).groups()
        rest = re.sub(r"/files/[^/]+", "/files/{}", rest)
        path = "/api/records" + ("/{}" if number else "") + rest
        seen.add((asked.method, path, asked.status))
    assert len({(method, path) for method, path, _ in seen}) >= 13
    for method, path, status in seen:
        operation = described[method, path]
        statuses = {int(code) for code in operation["responses"]}
        assert status in statuses or REFERENCE.get((method, path)) == status, (method, path, status)
        if method in ("POST", "PUT") and path.endswith(("/records", "/draft", "/draft/files")):
            assert "application/json" in operation.get("requestBody", {}).get(
                "content", {"application/json": None}
            )
