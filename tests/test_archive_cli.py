"""``gpgen archive``, ``gpgen import`` and ``gpgen download``."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import importlib
import json
import os
import pty
import shlex
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_support import Caller, Result
from gpgen_cli.main import VERBS

import gpgen as library
from gpgen.errors import DatasetError, TargetError, UsageError
from gpgen.golkar2018.downloading import download, read_record
from gpgen.progress import Progress

SMALL = [f"--samples={v}=4" for v in ("9.5", "10", "80", "140")] + ["--size", "128"]


@pytest.fixture
def gpgen(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Caller:
    monkeypatch.chdir(tmp_path)
    return Caller(capfd, tmp_path)


def test_archive_then_import_gives_a_dataset_that_can_be_trained_from(gpgen: Caller) -> None:
    made = gpgen("archive", *SMALL, "--out", "archive")
    assert (made.status, made.err) == (0, "")
    assert "GP_9.5-10+80-140 (4 classes), 8 images" in made.out
    for name in ("samples.zip", "dataset.zip"):
        sha256 = hashlib.sha256(Path("archive", name).read_bytes()).hexdigest()
        assert f"{sha256}  {name}" in made.out
    imported = gpgen("import", "archive/dataset.zip", "--out", "data.zarr")
    assert (imported.status, imported.err) == (0, "")
    assert "8 images" in imported.out
    assert "no seeds" in imported.out
    assert gpgen("verify", "data.zarr").status == 0
    told = gpgen("info", "data.zarr").out
    assert "dataset.zip/gp-crosses/GP_9.5-10+80-140.gp" in told
    assert "seed 0" not in told
    with library.open_dataset("data.zarr") as dataset:
        assert dataset.read([0]).shape == (1, 128, 128)


def test_a_dry_run_tells_sizes_and_writes_nothing(gpgen: Caller, tmp_path: Path) -> None:
    told = gpgen("archive", "--out", "archive", "--dry-run")
    assert told.status == 0
    assert "50 of 9.5 px" in told.out
    assert "2.2 GB" in told.out
    answer = json.loads(gpgen("archive", "--out", "archive", "--dry-run", "--json").out)
    assert answer["images"] == 100
    assert list(tmp_path.iterdir()) == []


def test_json_is_one_object(gpgen: Caller) -> None:
    made = json.loads(gpgen("archive", *SMALL, "--out", "archive", "--json").out)
    assert set(made["sha256"]) == {"samples.zip", "dataset.zip"}
    imported = json.loads(gpgen("import", "archive/samples.zip", "-o", "a.h5", "--json").out)
    assert imported["n"] == 16
    assert imported["source"]["algorithm"] == "imported"


def test_the_examples_in_the_help_work_at_a_smaller_size(gpgen: Caller) -> None:
    for example in examples("archive"):
        arguments = shlex.split(example)[1:]
        if "--samples" not in arguments:
            arguments += SMALL
        if "--size" not in arguments:
            arguments += ["--size", "128"]
        result = gpgen(*arguments)
        assert (result.status, result.err) == (0, ""), example
    for name in ("dataset.zip", "samples.zip"):
        with zipfile.ZipFile(Path("archive", name)) as archive:
            archive.extractall()
    Path("GP_9.5-10+80-140.gp").symlink_to("gp-crosses/GP_9.5-10+80-140.gp")
    Path("dataset.zip").symlink_to("archive/dataset.zip")
    for number, example in enumerate(examples("import")):
        result = gpgen(*shlex.split(example.replace("--out ", f"--out {number}"))[1:])
        assert (result.status, result.err) == (0, ""), example


def examples(verb: str) -> list[str]:
    command = importlib.import_module(VERBS[verb]).command
    found = [line.strip() for line in command.epilog.splitlines() if line.startswith("  gpgen ")]
    assert found
    return found


def test_a_terminal_shows_how_far_it_is(tmp_path: Path, serve: Serve) -> None:
    pytest.importorskip("httpx")
    address = serve(described())
    script = (
        "import sys; from gpgen.golkar2018 import downloading\n"
        f"downloading.RECORD = {address + '/record'!r}\n"
        "from gpgen_cli.main import main\n"
        f"assert main(['archive', *{SMALL!r}, '--out', 'archive']) == 0\n"
        "assert main(['import', 'archive/dataset.zip', '--out', 'a.zarr']) == 0\n"
        "assert main(['download', 'golkar2018', '--file', 'dataset.zip']) == 0\n"
    )
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # what a terminal gives when the other end is closed
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0, shown.decode()
    assert b"of 24 images" in shown
    assert b"256 kB of 256 kB" in shown


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["archive", "--out", "a", "--samples", "9.5"], 2, "9.5=50"),
        (["archive", "--out", "a", "--samples", "x=5"], 2, "isn't a number"),
        (["archive", "--out", "a", "--samples", "9.5=2", "--cross", "9.5+10"], 2, "samples"),
        (["archive", "--out", "a", "--cross", "9.5-10+80-140", "--weights", "1"], 2, "weight"),
        (["archive", "--out", "a", "--weights", "a,b"], 2, "isn't a number"),
        (["archive", "--out", "a", "--workers", "0", *SMALL], 2, "workers"),
        (["archive", "--out", "nowhere/a", *SMALL], 1, "nowhere"),
        (["import", "nothing.zip", "--out", "a.zarr"], 1, "doesn't exist"),
        (["import", "hostile.gp", "--out", "a.zarr"], 1, "nothing in it was run"),
        (["import", "nothing.zip", "--out", "a.zarr", "--split", "train"], 2, "train=0.8"),
        (["download", "golkar2019"], 2, "golkar2018"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    gpgen: Caller, tmp_path: Path, arguments: list[str], status: int, says: str
) -> None:
    Path("hostile.gp").write_bytes(b"\x80\x03cos\nsystem\nX\x09\0\0\0touch ran\x85R.")
    result = gpgen(*arguments)
    assert result.status == status
    assert says in result.err
    assert result.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["hostile.gp"]


# Downloading, from a server of our own that answers as Zenodo does.


@pytest.fixture
def serve() -> Iterator[Callable[[dict[str, bytes]], str]]:
    servers = []

    def start(answers: dict[str, bytes]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = answers.get(self.path)
                start = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
                if answer and start:
                    answer = answer[int(start) :]
                self.send_response(404 if answer is None else 206 if start else 200)
                self.send_header("Content-Length", str(len(answer or b"")))
                self.end_headers()
                self.wfile.write(answer or b"")

            def log_message(self, *arguments: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


DATA = bytes(range(256)) * 1000


def described(checksum: str | None = None, link: str = "/files/dataset.zip") -> dict[str, bytes]:
    digest = checksum or "md5:" + hashlib.md5(DATA).hexdigest()  # noqa: S324 - Zenodo's choice
    file = {
        "key": "dataset.zip",
        "size": len(DATA),
        "checksum": digest,
        "links": {"self": link},
    }
    return {"/record": json.dumps({"files": [file]}).encode(), "/files/dataset.zip": DATA}


Serve = Callable[[dict[str, bytes]], str]


def fetch(address: str, out: Path, **options: object) -> tuple[Path, ...]:
    return download(out, ["dataset.zip"], record=f"{address}/record", **options)


def test_a_file_is_fetched_and_its_checksum_right(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    seen: list[Progress] = []
    (path,) = fetch(serve(described()), tmp_path / "new" / "folder", progress=seen.append)
    assert path.read_bytes() == DATA
    assert (seen[-1].done, seen[-1].total) == (len(DATA), len(DATA))


def test_a_broken_download_goes_on_where_it_stopped(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    answers = described()
    address = serve(answers | {"/files/dataset.zip": bytes(1000) + DATA[1000:]})
    (tmp_path / ".dataset.zip.part").write_bytes(DATA[:1000])
    (path,) = fetch(address, tmp_path)
    assert path.read_bytes() == DATA
    assert list(tmp_path.iterdir()) == [path]


def test_what_an_earlier_download_left_is_checked_too(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    address = serve(described())
    (tmp_path / ".dataset.zip.part").write_bytes(b"something else")
    with pytest.raises(DatasetError, match="checksum"):
        fetch(address, tmp_path)
    (path,) = fetch(address, tmp_path)
    assert path.read_bytes() == DATA


def test_a_file_that_is_right_is_not_fetched_again(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    address = serve(described())
    (path,) = fetch(address, tmp_path)
    before = path.stat()
    fetch(address, tmp_path)
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def test_another_file_of_that_name_is_replaced_when_asked_only(
    serve: Serve, tmp_path: Path
) -> None:
    pytest.importorskip("httpx")
    address = serve(described())
    (tmp_path / "dataset.zip").write_text("mine")
    with pytest.raises(TargetError, match="isn't the record's"):
        fetch(address, tmp_path)
    assert (tmp_path / "dataset.zip").read_text() == "mine"
    fetch(address, tmp_path, overwrite=True)
    assert (tmp_path / "dataset.zip").read_bytes() == DATA


def test_a_wrong_checksum_leaves_no_file(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    with pytest.raises(DatasetError, match="checksum"):
        fetch(serve(described("md5:" + "0" * 32)), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_gone_is_said_to_be(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    answers = described()
    del answers["/files/dataset.zip"]
    with pytest.raises(DatasetError, match=r"dataset\.zip didn't come"):
        fetch(serve(answers), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "answers",
    [
        {},
        {"/record": b"<html>"},
        {"/record": b"{}"},
        {"/record": b'{"files": [{}]}'},
        described(link="http://198.51.100.1/dataset.zip"),
        described(link="file:///etc/passwd"),
    ],
    ids=["nothing", "a page", "no files", "an empty file", "another host", "a local file"],
)
def test_an_answer_that_is_no_record_is_refused(serve: Serve, answers: dict[str, bytes]) -> None:
    with pytest.raises(DatasetError, match="gpgen import"):
        read_record(serve(answers) + "/record")


def test_without_a_network_it_says_what_to_do(serve: Serve) -> None:
    # A port at which nothing answers any more.
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    server.server_close()
    with pytest.raises(DatasetError, match=r"can't be reached.*gpgen import"):
        read_record(f"http://127.0.0.1:{server.server_port}/record")


def test_a_file_that_the_record_lacks_is_refused(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    with pytest.raises(UsageError, match=r"dataset\.zip"):
        download(tmp_path, ["other.zip"], record=serve(described()) + "/record")


def test_the_verb_names_the_file_and_what_to_do_with_it(
    gpgen: Caller, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx")
    from gpgen.golkar2018 import downloading

    address = serve(described())
    monkeypatch.setattr(downloading, "RECORD", f"{address}/record")
    result: Result = gpgen("download", "golkar2018", "--file", "dataset.zip", "--out", "original")
    assert (result.status, result.err) == (0, f"asking {address.removeprefix('http://')}\n")
    assert "original/dataset.zip: 256 kB, its checksum is right" in result.out
    assert "gpgen import original/dataset.zip --out golkar2018.zarr" in result.out
