"""Uploading to a strict stand-in service, through every interruption."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import msgspec
import pytest
from invenio_server import OTHER_TOKEN, TOKEN
from invenio_server import Service as StandIn
from publish_help import make_small, publication, refusal

from gpgen import __version__
from gpgen.errors import DatasetError, UsageError
from gpgen.publish.addresses import base_url
from gpgen.publish.client import Service, ServiceError
from gpgen.publish.deposit import Deposit
from gpgen.publish.packaging import package
from gpgen.publish.token import Token, find_token
from gpgen.publish.uploading import Limits, first_difference, publish_draft, state_file, upload


@pytest.fixture(scope="module")
def packaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packaged")
    path = make_small(folder / "data.zarr")
    return package(path, publication(), folder / "deposit").path


@pytest.fixture
def deposit(packaged, tmp_path):
    return shutil.copytree(packaged, tmp_path / "deposit")


@pytest.fixture
def server():
    with StandIn() as running:
        yield running


class Patience:
    """Waiting that takes no time, and is remembered."""

    def __init__(self):
        self.waits = []

    def __call__(self, seconds):
        self.waits.append(seconds)


def client(server, token=TOKEN, **options):
    return Service(server.url, Token(token), **{"sleep": Patience(), **options})


def test_a_deposit_becomes_a_draft_and_then_a_record(server, deposit):
    seen = []
    with client(server) as service:
        draft = upload(deposit, service, progress=seen.append)
        assert not draft.published
        assert draft.doi == f"10.5072/zenodo.{draft.number}"
        assert draft.url == f"{server.url}/uploads/{draft.number}"
        there = server.records[draft.number]
        assert there.metadata["title"] == "Small textures & more"
        assert there.options["default_preview"] == "README.md"
        assert not there.published
        files = {path.name: path.read_bytes() for path in deposit.iterdir()}
        assert {name: file.content for name, file in there.files.items()} == files
        assert seen[-1].done == seen[-1].total == sum(map(len, files.values()))
        record = publish_draft(deposit, service)
    assert record.published
    assert server.records[record.number].published
    assert server.records[record.number].doi == draft.doi
    assert {asked.agent for asked in server.log} == {f"gpgen/{__version__}"}
    assert set(server.sends()) == set(files)
    assert len(server.sends()) == len(files)


def test_the_same_command_again_sends_nothing(server, deposit):
    with client(server) as service:
        first = upload(deposit, service)
        sent = list(server.sends())
        second = upload(deposit, service)
    assert second.number == first.number
    assert second.sent == ()
    assert set(second.skipped) == set(sent)
    assert server.sends() == sent
    assert len(server.records) == 1


@pytest.mark.slow
def test_an_upload_interrupted_at_twenty_random_points_completes(server, deposit):
    total = Deposit.open(deposit).nbytes()
    rng = random.Random(0)
    with client(server) as service:
        for _ in range(20):
            server.drop_after = rng.randrange(total)
            server.faults.clear()
            before = len(server.sends())
            draft = upload(deposit, service)
            assert len(server.sends()) >= before
            # Every file arrived once; those that were cut off did not arrive.
            assert len(set(server.sends())) == len(server.sends())
            check_whole(server, deposit, draft.number)
            # Start anew, for the next cut to fall somewhere else.
            server.records.clear()
            server.log.clear()
            state_file(deposit).unlink()


def check_whole(server, deposit, number):
    there = server.records[number].files
    assert {name: file.content for name, file in there.items()} == {
        path.name: path.read_bytes() for path in deposit.iterdir()
    }
    assert all(file.committed for file in there.values())


@pytest.mark.kill
def test_a_killed_process_goes_on_where_it_was(server, deposit):
    """Killed at several points, by the number of requests the server has seen."""
    rng = random.Random(1)
    kills = sorted(rng.sample(range(3, 45), 6))
    environment = os.environ | {"TEST_TOKEN": TOKEN}
    program = (
        "import sys\n"
        "from gpgen.publish.client import Service\n"
        "from gpgen.publish.token import find_token\n"
        "from gpgen.publish.uploading import upload\n"
        "print('ready', flush=True)\n"
        "sys.stdin.readline()\n"
        "upload(sys.argv[1], Service(sys.argv[2], find_token('TEST_TOKEN')))\n"
    )

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", program, deposit, server.url],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    # The next process imports while this one works.
    running = start()
    for target in kills:
        running.stdout.readline()
        following = start()
        running.stdin.write("\n")
        running.stdin.flush()
        while len(server.log) < target and running.poll() is None:
            time.sleep(0.0005)
        running.send_signal(signal.SIGKILL)
        running.communicate()
        running = following
    running.communicate("\n", timeout=300)
    assert running.returncode == 0
    (number,) = server.records
    check_whole(server, deposit, number)
    committed = [a.path for a in server.log if a.path.endswith("/commit") and a.status == 200]
    assert len(committed) == len(set(committed))


@pytest.mark.parametrize("call", ["PUT .*/README.md/content", "POST .*/README.md/commit"])
def test_an_answer_lost_after_the_last_byte_costs_nothing(server, deposit, call):
    server.drop_answer = call
    with client(server) as service:
        draft = upload(deposit, service)
    check_whole(server, deposit, draft.number)
    assert server.sends("README.md") == 1


@pytest.mark.parametrize(
    "call", ["POST .*/draft/files", "POST .*/pids/doi", "PUT .*/draft", "GET .*/draft/files"]
)
def test_other_lost_answers_are_no_matter(server, deposit, call):
    server.drop_answer = call
    with client(server) as service:
        draft = upload(deposit, service)
    check_whole(server, deposit, draft.number)
    assert draft.doi


def test_a_lost_answer_to_publishing_is_found_out(server, deposit):
    with client(server) as service:
        upload(deposit, service)
        server.drop_answer = "POST .*/actions/publish"
        assert publish_draft(deposit, service).published


def test_a_busy_server_is_given_the_time_it_asks_for(server, deposit):
    reset = str(int(time.time()) + 120)
    server.faults.extend(
        [
            (429, {"Retry-After": "7"}),
            (503, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
            (429, {"X-RateLimit-Reset": reset}),
        ]
    )
    patience, said = Patience(), []
    with client(server, sleep=patience, notify=said.append) as service:
        upload(deposit, service)
    assert patience.waits[0] == 7
    assert 30 < patience.waits[2] <= 120
    assert len(patience.waits) == 3
    assert said.pop(0) == f"asking {server.url}"
    assert all("waiting" in line for line in said)


def test_the_rate_is_kept_before_the_server_must_refuse(server, deposit, monkeypatch):
    """A server that says that nothing is left is left alone until it has said."""
    patience = Patience()
    reset = str(int(time.time()) + 120)
    with client(server, sleep=patience) as service:
        upload(deposit, service)
        assert patience.waits == []
        server.faults.append((404, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}))
        service.call("GET", "/api/records/1", expect=(404,))
        service.call("GET", "/api/records/2", expect=(404,))
    assert 20 < patience.waits[0] <= 120
    assert len(patience.waits) == 1


def test_a_wait_of_hours_is_not_waited(server, deposit):
    server.faults.append((429, {"Retry-After": "90000"}))
    patience = Patience()
    with client(server, sleep=patience) as service:
        assert "25.0 hours" in refusal(ServiceError, upload, deposit, service)
    assert patience.waits == []


def test_a_failing_server_is_tried_again_then_said(server, deposit):
    server.faults.extend([(500, {})] * 3)
    with client(server) as service:
        state_file(deposit).write_text(json.dumps({server.url: "1000"}))
        assert "no longer at" in refusal(UsageError, upload, deposit, service)
        state_file(deposit).unlink()
        upload(deposit, service)
        server.faults.extend([(502, {})] * 50)
        message = refusal(ServiceError, upload, deposit, service)
    assert "keeps failing (502)" in message
    assert "run the same command again" in message
    assert 50 - len(server.faults) == 6
    server.faults.clear()
    assert len(server.records) == 1


def test_a_draft_is_created_once_even_if_the_server_stumbles(server, deposit):
    server.drop_answer = "POST /api/records"
    with client(server) as service:
        refusal(ServiceError, upload, deposit, service)
    assert len(server.records) == 1


@pytest.mark.parametrize(
    ("token", "message"), [("wrong", "refuses the token (401)"), (OTHER_TOKEN, "forbids")]
)
def test_a_token_that_is_refused_is_said_and_the_draft_kept(server, deposit, token, message):
    with client(server) as service:
        number = upload(deposit, service).number
    with client(server, token=token) as service:
        assert message in refusal(ServiceError, upload, deposit, service)
    assert server.records[number].files
    with client(server) as service:
        assert upload(deposit, service).number == number


def test_a_full_quota_is_said_and_the_draft_kept(server, deposit):
    server.quota = 100_000
    with client(server) as service:
        message = refusal(ServiceError, upload, deposit, service)
        assert "quota" in message.lower()
        # Whatever didn't fit was not sent again and again.
        tried = [a.path for a in server.log if a.method == "PUT" and a.path.endswith("/content")]
        assert len(tried) == len(set(tried))
        server.quota = 10**9
        draft = upload(deposit, service)
    check_whole(server, deposit, draft.number)
    assert len(server.records) == 1


def test_what_the_service_would_refuse_later_is_refused_before_the_first_byte(server, deposit):
    with client(server) as service:
        few = Limits(files=5)
        assert "files" in refusal(UsageError, upload, deposit, service, limits=few)
        small = Limits(nbytes=1000)
        assert "GB" in refusal(UsageError, upload, deposit, service, limits=small)
    assert server.log == []


def test_a_field_that_the_service_drops_is_said_and_nothing_is_sent(server, deposit):
    """A 2xx answer may hold errors: then a field of what was sent is not in the draft."""
    server.drops = "related_identifiers"
    with client(server) as service:
        message = refusal(UsageError, upload, deposit, service)
        assert "does not take metadata.related_identifiers: Not a valid value." in message
        assert server.sends() == []
        server.drops = None
        assert upload(deposit, service).number == "1000"


@pytest.mark.parametrize("field", ["rights", "creators", "version", "description"])
def test_what_the_service_loses_without_a_word_is_not_published(server, deposit, field):
    with client(server) as service:
        server.loses = field
        number = upload(deposit, service).number
        assert f"metadata.{field}" in refusal(UsageError, publish_draft, deposit, service)
        assert not server.records[number].published
        server.loses = None
        upload(deposit, service)
        assert publish_draft(deposit, service).published


@pytest.mark.parametrize("licence", ["CC-BY-4.0", "ODbL-1.0", "CC-BY-NC-SA-2.0-FR", "HPND-DEC"])
def test_a_licence_outside_the_services_vocabulary_goes_with_title_and_address(
    server, packaged, tmp_path, licence
):
    said = msgspec.structs.replace(publication(), license=licence)
    made = package(packaged.parent / "data.zarr", said, tmp_path / "deposit", recipe_only=True)
    with client(server) as service:
        number = upload(made.path, service).number
        assert publish_draft(made.path, service).published
    (rights,) = server.records[number].metadata["rights"]
    if licence.lower() in StandIn.LICENCES:
        assert rights == {"id": licence.lower()}
    else:
        assert rights["link"] == f"https://spdx.org/licenses/{licence}.html"


def test_a_published_record_is_submitted_to_its_communities(server, packaged, tmp_path):
    said = msgspec.structs.replace(publication(), communities=("textures", "physics"))
    made = package(packaged.parent / "data.zarr", said, tmp_path / "deposit", recipe_only=True)
    with client(server) as service:
        number = upload(made.path, service).number
        assert server.records[number].communities == []
        publish_draft(made.path, service)
    assert server.records[number].communities == ["uuid-of-textures", "uuid-of-physics"]


def test_markup_that_a_service_cleans_is_no_difference():
    sent = {"description": "<p>a &lt; b</p><p>c</p>", "rights": [{"id": "mit"}]}
    came = {"description": "<p>a < b</p>\n<p>c</p>", "rights": [{"id": "mit", "title": {}}], "x": 1}
    assert first_difference(sent, came, "metadata") is None
    assert first_difference(sent, {**came, "rights": []}, "metadata") == "metadata.rights"


def test_a_deposit_changed_since_it_was_packaged_is_refused(server, deposit):
    with client(server) as service:
        (deposit / "samples.csv").write_text("index\n")
        assert "was changed" in refusal(DatasetError, upload, deposit, service)
    assert server.log == []


def test_a_file_that_changes_while_it_is_sent_never_arrives(server, deposit):
    victim = deposit / "data.zarr.zip"

    def change(progress):
        if progress.note == "CITATION.cff":
            data = bytearray(victim.read_bytes())
            data[-1] ^= 1
            victim.write_bytes(data)

    with client(server) as service:
        assert "while it was being sent" in refusal(
            DatasetError, upload, deposit, service, progress=change
        )
    assert server.sends("data.zarr.zip") == 0


def test_a_published_record_is_not_touched_but_can_get_a_new_version(server, deposit):
    with client(server) as service:
        number = upload(deposit, service).number
        publish_draft(deposit, service)
        message = refusal(UsageError, upload, deposit, service)
        assert f"new_version_of {number}" in message
        newer = upload(deposit, service, new_version_of=number)
        assert newer.number != number
        assert server.records[newer.number].version == 2
        assert server.records[newer.number].parent == number
        again = upload(deposit, service, new_version_of=number)
        assert again.number == newer.number
        assert publish_draft(deposit, service).number == newer.number
    assert server.records[newer.number].metadata["version"] == "1.0.0"


def test_a_draft_of_something_else_does_not_become_a_new_version(server, deposit, tmp_path):
    other = shutil.copytree(deposit, tmp_path / "other")
    with client(server) as service:
        number = upload(other, service).number
        publish_draft(other, service)
        draft = upload(deposit, service).number
        message = refusal(UsageError, upload, deposit, service, new_version_of=number)
        assert f"draft {draft}" in message
        assert f"no version of record {number}" in message


def test_files_that_do_not_belong_are_removed_from_the_draft(server, deposit):
    with client(server) as service:
        number = upload(deposit, service).number
        server.announce(number, ["old.bin"])
        message = refusal(UsageError, publish_draft, deposit, service)
        assert "are not the deposit's" in message
        upload(deposit, service)
        assert "old.bin" not in server.records[number].files


def test_nothing_is_published_that_was_not_uploaded(server, deposit):
    with client(server) as service:
        assert "has no draft" in refusal(UsageError, publish_draft, deposit, service)
        upload(deposit, service, reserve_only=True)
        assert "are not the deposit's" in refusal(UsageError, publish_draft, deposit, service)


def test_a_doi_can_be_reserved_first_and_put_into_the_files(server, deposit, tmp_path):
    with client(server) as service:
        draft = upload(deposit, service, reserve_only=True)
        assert server.sends() == []
        source = make_small(tmp_path / "data.zarr")
        package(source, publication('doi = "10.5072/zenodo.7"\n'), deposit, overwrite=True)
        message = refusal(UsageError, upload, deposit, service)
        assert f'put doi = "{draft.doi}" into publication.toml' in message
        package(source, publication(f'doi = "{draft.doi}"\n'), deposit, overwrite=True)
        again = upload(deposit, service)
    assert again.number == draft.number
    assert server.records[draft.number].doi == draft.doi
    assert draft.doi in (deposit / "CITATION.cff").read_text()


def test_the_token_is_in_no_log_and_no_error(server, deposit, caplog):
    caplog.set_level(logging.DEBUG)
    server.echo_token = True
    with client(server) as service:
        message = refusal(ServiceError, upload, deposit, service)
        assert "***" in message
        server.echo_token = False
        upload(deposit, service)
        everything = message + caplog.text + repr(service) + repr(vars(service)) + str(Token(TOKEN))
    assert TOKEN not in everything
    assert TOKEN not in state_file(deposit).read_text()


def test_the_token_comes_from_the_environment_or_a_private_file(tmp_path, monkeypatch):
    monkeypatch.delenv("MY_TOKEN", raising=False)
    assert "MY_TOKEN" in refusal(UsageError, find_token, "MY_TOKEN")
    monkeypatch.setenv("MY_TOKEN", "from-the-environment\n")
    assert find_token("MY_TOKEN").header() == {"Authorization": "Bearer from-the-environment"}
    file = tmp_path / "token"
    file.write_text("from-a-file\n")
    file.chmod(0o644)
    message = refusal(UsageError, find_token, "MY_TOKEN", file)
    assert f"chmod 600 {file}" in message
    file.chmod(0o600)
    assert find_token("MY_TOKEN", file).header() == {"Authorization": "Bearer from-a-file"}
    monkeypatch.setenv("MY_TOKEN_FILE", str(file))
    assert find_token("MY_TOKEN").header() == {"Authorization": "Bearer from-a-file"}
    file.write_text("two words\nX-Header: 1")
    message = refusal(UsageError, find_token, "MY_TOKEN", file)
    assert "two" not in message
    refusal(UsageError, find_token, "MY_TOKEN", tmp_path / "none")


@pytest.mark.parametrize(
    "address",
    ["http://zenodo.org", "ftp://zenodo.org", "zenodo.org", "https://user:pass@zenodo.org", ""],
)
def test_the_token_is_never_sent_in_the_clear(address):
    refusal(UsageError, base_url, address)


def test_the_token_is_not_taken_along_to_another_address(server, tmp_path):
    with StandIn() as other, client(server) as service:
        server.faults.append((302, {"Location": f"{other.url}/api/records/1/draft"}))
        service.call("GET", "/api/records/1/draft", expect=(401, 404))
        (asked,) = other.log
    assert asked.status == 401


def test_a_server_that_is_not_there_is_said(deposit):
    patience = Patience()
    with Service("http://127.0.0.1:9", Token(TOKEN), sleep=patience) as service:
        message = refusal(ServiceError, upload, deposit, service)
    assert "can't be reached" in message
    assert patience.waits == [1]


def test_a_page_that_is_no_api_is_said(server, deposit):
    with Service(server.url + "/elsewhere", Token(TOKEN), sleep=Patience()) as service:
        assert "404" in refusal(ServiceError, upload, deposit, service)


@pytest.mark.skipif(
    not os.environ.get("ZENODO_SANDBOX_TOKEN"), reason="ZENODO_SANDBOX_TOKEN is not set"
)
def test_the_real_sandbox_takes_a_draft(deposit):
    with Service("https://sandbox.zenodo.org", find_token("ZENODO_SANDBOX_TOKEN")) as service:
        draft = upload(deposit, service)
        assert draft.doi
        assert upload(deposit, service).sent == ()
        service.call("DELETE", f"/api/records/{draft.number}/draft")
