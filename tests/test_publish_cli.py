"""The verbs of publishing, from the first to the last, in front of the stand-in service."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pty
import shlex
import subprocess
import sys

import pytest
from cli_support import SMALL, Caller, command
from gpgen_cli.main import VERBS
from invenio_server import TOKEN
from invenio_server import Service as StandIn
from publish_help import PUBLICATION, contents

from gpgen.publish import addresses


@pytest.fixture
def gpgen(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # A report tells the difficulty: of these images that takes a second, of 32 x 32 pixels ten.
    (tmp_path / "small.toml").write_text(SMALL.replace("[32, 32]", "[16, 16]"))
    (tmp_path / "publication.toml").write_text(PUBLICATION)
    return Caller(capfd, tmp_path)


@pytest.fixture
def server(monkeypatch):
    """A stand-in service in the place of Zenodo and its sandbox."""
    with StandIn() as running:
        for name in ("ZENODO", "SANDBOX"):
            monkeypatch.setattr(addresses, name, running.url)
        monkeypatch.setattr("gpgen.publish.addresses.ZENODO", running.url)
        monkeypatch.setenv("ZENODO_TOKEN", TOKEN)
        monkeypatch.setenv("ZENODO_SANDBOX_TOKEN", TOKEN)
        yield running


def succeed(result):
    assert result.status == 0, result.err
    return result.out


@pytest.mark.slow
def test_from_a_dataset_to_a_record_and_back(gpgen, server):
    succeed(gpgen.make("--shard-size", "4"))
    succeed(gpgen("report", "data.zarr", "-o", "report.html"))
    succeed(gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit"))
    told = succeed(gpgen("publish", "deposit"))
    assert f"{server.url}/uploads/1000" in told
    assert "--publish" in told
    assert not server.records["1000"].published
    answer = json.loads(succeed(gpgen("publish", "deposit", "--publish", "--yes", "--json")))
    assert answer["published"]
    assert server.records["1000"].published
    newer = gpgen("publish", "deposit", "--new-version", answer["doi"], "--json")
    assert json.loads(succeed(newer))["number"] == "1001"
    fetched = json.loads(
        succeed(gpgen("fetch", answer["doi"], "--from", server.url, "--out", "back.zarr", "--json"))
    )
    assert not fetched["regenerated"]
    assert contents(gpgen.folder / "back.zarr") == contents(gpgen.folder / "data.zarr")
    succeed(gpgen("verify", "back.zarr", "--regenerate", "all"))


def test_without_pixels_the_record_is_made_again(gpgen, server):
    succeed(gpgen.make("--shard-size", "4"))
    succeed(
        gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit", "--recipe-only")
    )
    succeed(gpgen("publish", "deposit", "--publish", "--yes"))
    assert "every checksum equal" in succeed(gpgen("fetch", "1000", "--out", "back.zarr"))
    succeed(gpgen("make", "--from", "deposit", "--out", "again.zarr"))
    for name in ("back.zarr", "again.zarr"):
        assert contents(gpgen.folder / name) == contents(gpgen.folder / "data.zarr")


@pytest.mark.parametrize("recipe_only", [False, True])
def test_an_archive_goes_the_same_way(gpgen, server, recipe_only):
    samples = [f"--samples={scale}=4" for scale in ("9.5", "10", "80", "140")]
    succeed(gpgen("archive", *samples, "--size", "64", "--seed", "7", "--out", "archive"))
    succeed(gpgen("report", "archive", "-o", "report.html"))
    only = ["--recipe-only"] if recipe_only else []
    succeed(gpgen("package", "archive", "-p", "publication.toml", "--out", "deposit", *only))
    succeed(gpgen("publish", "deposit", "--publish", "--yes"))
    fetched = json.loads(succeed(gpgen("fetch", "1000", "--out", "back", "--json")))
    assert fetched["regenerated"] is recipe_only
    assert contents(gpgen.folder / "back") == contents(gpgen.folder / "archive")
    assert "zenodo.1252464" in succeed(gpgen("cite", "deposit"))


@pytest.mark.parametrize("verb", ["publish", "fetch"])
def test_ctrl_c_says_how_to_go_on(gpgen, server, monkeypatch, verb):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    succeed(gpgen.make())
    succeed(
        gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit", "--recipe-only")
    )
    monkeypatch.setattr("gpgen.publish.draft_files.DraftFiles.run", interrupted)
    monkeypatch.setattr("gpgen.publish.fetching.regenerate", interrupted)
    arguments = [verb, "deposit", *(["--out", "back.zarr"] if verb == "fetch" else [])]
    result = gpgen(*arguments)
    assert result.status == 130
    assert f"go on with: gpgen {' '.join(arguments)}" in result.err
    monkeypatch.undo()


def test_without_the_http_client_the_way_to_get_it_is_said(gpgen):
    succeed(gpgen.make())
    succeed(
        gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit", "--recipe-only")
    )
    program = (
        "import sys; sys.modules['httpx'] = None\n"
        "from gpgen_cli.main import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    for arguments in (["fetch", "10.5281/zenodo.1"], ["publish", "deposit"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "pip install 'gpgen[publish]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_publishing_is_confirmed_or_not_done(gpgen, server, monkeypatch):
    succeed(gpgen.make())
    succeed(
        gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit", "--recipe-only")
    )
    refused = gpgen("publish", "deposit", "--publish")
    assert (refused.status, "--yes" in refused.err) == (2, True)
    assert server.records == {}
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for typed, published in (("yes", False), ("1000", True)):
        monkeypatch.setattr("click.prompt", lambda *_, typed=typed, **__: typed)
        assert (gpgen("publish", "deposit", "--publish").status == 0) is published
        assert server.records["1000"].published is published


def test_the_token_is_asked_for_where_it_is_looked_for(gpgen, server, monkeypatch):
    succeed(gpgen.make())
    succeed(
        gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit", "--recipe-only")
    )
    monkeypatch.delenv("ZENODO_SANDBOX_TOKEN")
    result = gpgen("publish", "deposit", "--sandbox")
    assert (result.status, "ZENODO_SANDBOX_TOKEN" in result.err) == (2, True)
    secret = gpgen.folder / "token"
    secret.write_text(TOKEN)
    secret.chmod(0o600)
    succeed(gpgen("publish", "deposit", "--sandbox", "--token-file", "token"))
    assert all(
        TOKEN not in option.opts
        for option in importlib.import_module(VERBS["publish"]).command.params
    )


def test_a_deposit_says_how_to_cite_it(gpgen):
    succeed(gpgen.make())
    succeed(
        gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit", "--recipe-only")
    )
    own = succeed(gpgen("cite", "deposit", "--format", "apa"))
    assert own.startswith("Carberry, J. (2026). Small textures & more")
    named = succeed(gpgen("cite", "data.zarr", "-p", "publication.toml", "--format", "apa"))
    assert named == own
    assert (
        succeed(gpgen("cite", "deposit", "--format", "cff"))
        == (gpgen.folder / "deposit" / "CITATION.cff").read_text()
    )


def test_what_a_deposit_fixes_is_not_taken_beside_it(gpgen):
    succeed(gpgen.make())
    succeed(
        gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit", "--recipe-only")
    )
    for option in (("--n", "4"), ("--seed", "1"), ("--shard-size", "4"), ("--dry-run",)):
        result = gpgen("make", "--from", "deposit", "--out", "again.zarr", *option)
        assert (result.status, option[0] in result.err) == (2, True)
    assert gpgen("make", "--out", "again.zarr").status == 2


@pytest.mark.slow
def test_on_a_terminal_every_verb_shows_a_bar(gpgen, server):
    succeed(gpgen.make("--shard-size", "2"))
    deposit = ["package", "data.zarr", "-p", "publication.toml", "--out"]
    for arguments in (
        ["report", "data.zarr", "-o", "report.html"],
        [*deposit, "deposit"],
        [*deposit, "small", "--recipe-only"],
        ["make", "--from", "small", "--out", "again.zarr"],
        ["fetch", "small", "--out", "back.zarr"],
        ["publish", "small", "--to", server.url],
    ):
        ours, theirs = pty.openpty()
        done = subprocess.Popen(
            command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            env=os.environ | {"INVENIO_TOKEN": TOKEN, "TERM": "xterm", "COLUMNS": "100"},
        )
        os.close(theirs)
        shown = b""
        # Linux says EIO when the other side has closed.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 4096):
                shown += piece
        os.close(ours)
        assert done.wait() == 0, shown.decode()
        assert b"Traceback" not in shown
        assert "\N{BOX DRAWINGS HEAVY HORIZONTAL}".encode() in shown


@pytest.mark.parametrize("verb", ["report", "package", "publish", "fetch", "cite"])
def test_examples_in_the_help_work(gpgen, server, verb):
    succeed(gpgen.make("--shard-size", "4"))
    succeed(gpgen("package", "data.zarr", "-p", "publication.toml", "--out", "deposit"))
    succeed(gpgen("publish", "deposit", "--publish", "--yes"))
    server.records["1234567"] = server.records["1234"] = server.records["1000"]
    (gpgen.folder / "deposit.draft.json").unlink()
    epilog = importlib.import_module(VERBS[verb]).command.epilog
    examples = [line.strip() for line in epilog.splitlines() if line.startswith("  gpgen ")]
    assert len(examples) >= 2
    for example in examples:
        line = example.replace("https://data.example.org", server.url)
        line = line.replace("https://zenodo.org", server.url).replace(
            "zenodo.1234567", "zenodo.1000"
        )
        arguments = shlex.split(line.partition(" > ")[0])[1:]
        if arguments[0] == "package":
            arguments.append("--overwrite")
        if "--out" in arguments and verb == "fetch":
            # Every example into a folder of its own.
            place = arguments.index("--out") + 1
            folder = gpgen.folder / str(len(list(gpgen.folder.iterdir())))
            folder.mkdir()
            arguments[place] = str(folder / "data.zarr")
        elif verb == "fetch":
            arguments += ["--out", "somewhere.zarr"]
        arguments += ["--yes"] if "--publish" in arguments else []
        result = gpgen(*arguments)
        assert result.status == 0, (example, result.err)
        if "--publish" in arguments:
            (gpgen.folder / "deposit.draft.json").unlink()
