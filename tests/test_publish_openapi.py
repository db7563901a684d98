"""The stand-in service against InvenioRDM's published OpenAPI description."""

from __future__ import annotations

import re

import pytest
from invenio_server import OTHER_TOKEN, TOKEN
from invenio_server import Service as StandIn
from publish_help import make_small, publication

from gpgen.publish.client import Service, ServiceError
from gpgen.publish.fetching import fetch
from gpgen.publish.packaging import package
from gpgen.publish.token import Token
from gpgen.publish.uploading import publish_draft, upload

# What the description (https://inveniosoftware.github.io/invenio-openapi/, of 2025-06-23) says of
# the requests that publishing may send: the status of a success.
DESCRIBED = {
    ("POST", "/api/records"): 201,
    ("GET", "/api/records"): 200,
    ("GET", "/api/records/{}"): 200,
    ("GET", "/api/records/{}/draft"): 200,
    ("PUT", "/api/records/{}/draft"): 200,
    ("POST", "/api/records/{}/draft"): 201,
    ("POST", "/api/records/{}/draft/actions/publish"): 201,
    ("POST", "/api/records/{}/draft/pids/doi"): 201,
    ("GET", "/api/records/{}/draft/files"): 200,
    ("POST", "/api/records/{}/draft/files"): 201,
    ("GET", "/api/records/{}/draft/files/{}"): 200,
    ("DELETE", "/api/records/{}/draft/files/{}"): 200,
    ("GET", "/api/records/{}/draft/files/{}/content"): 200,
    ("PUT", "/api/records/{}/draft/files/{}/content"): 200,
    ("POST", "/api/records/{}/draft/files/{}/commit"): 201,
    ("GET", "/api/records/{}/files"): 200,
    ("GET", "/api/records/{}/files/{}"): 200,
    ("GET", "/api/records/{}/files/{}/content"): 200,
    ("GET", "/api/records/{}/versions"): 200,
    ("POST", "/api/records/{}/versions"): 201,
    ("GET", "/api/records/{}/versions/latest"): 200,
    ("GET", "/api/vocabularies/{}/{}"): 200,
}
# It gives the same failures for each of them.
FAILURES = {400, 401, 403, 404, 500}
# Where the description and the reference (https://inveniordm.docs.cern.ch/reference/) differ,
# the stand-in answers as the reference says, and as the service's own code does.
REFERENCE = {
    ("POST", "/api/records/{}/draft/files/{}/commit"): 200,
    ("POST", "/api/records/{}/draft/actions/publish"): 202,
    ("DELETE", "/api/records/{}/draft/files/{}"): 204,
}
PARAMETERS = {
    r"^/api/records/[^/]+": "/api/records/{}",
    r"/files/[^/]+": "/files/{}",
    r"^/api/vocabularies/[^/]+/[^/]+$": "/api/vocabularies/{}/{}",
}


def test_every_answer_of_the_stand_in_is_one_that_is_described(tmp_path):
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
    seen = set()
    for asked in server.log:
        path = asked.path.partition("?")[0]
        for pattern, described in PARAMETERS.items():
            path = re.sub(pattern, described, path)
        seen.add((asked.method, path, asked.status))
    assert len({(method, path) for method, path, _ in seen}) >= 13
    for method, path, status in seen:
        success = REFERENCE.get((method, path), DESCRIBED[method, path])
        assert status in FAILURES | {success}, (method, path, status)
