"""A dataset that is drawn when it is read, over HTTP: clients of every kind read what is stored."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import xarray
import zarr
from cli_support import command, run
from gpgen_cli.main import main
from publish_help import contents
from serving_support import Serving, drawn_pieces, serving, zarrita_folder  # noqa: F401 - a fixture
from store_tools import ENVIRONMENT, tiny
from virtual_support import deposit_of

import gpgen
from gpgen.serving.requests import asked_range, is_current


@pytest.fixture(scope="module")
def deposited(tmp_path_factory):
    stored, deposit = deposit_of(tmp_path_factory.mktemp("deposited"))
    with serving(deposit, processes=True) as server:
        yield stored, server


@pytest.fixture(scope="module")
def unsealed():
    with serving(tiny(), 13, chunk_size=1, shard_size=4) as server:
        yield server


# Clients


def test_zarr_python_and_xarray_read_it_over_http(deposited) -> None:
    stored, server = deposited
    expected = zarr.open_group(stored, mode="r")
    group = zarr.open_group(server.url, mode="r")
    opened = xarray.open_zarr(server.url, chunks=None)
    for name in ("image", "label", "length_scale", "seed", "split", "crc32c"):
        np.testing.assert_array_equal(group[name][:], expected[name][:])
        np.testing.assert_array_equal(opened[name].values, expected[name][:])
    assert dict(group.attrs) == dict(expected.attrs)
    chunked = xarray.open_zarr(server.url)
    assert chunked.image.chunks[0] == (4,) * 10
    np.testing.assert_array_equal(chunked.image[17:20, 5].values, expected["image"][17:20, 5])


def test_tensorstore_reads_it_over_http(deposited) -> None:
    stored, server = deposited
    # It must not be used in a process that will fork.
    program = (
        "import sys, hashlib, tensorstore as ts\n"
        "for name in ('image', 'label', 'seed'):\n"
        "    store = {'driver': 'http', 'base_url': f'{sys.argv[1]}/{name}/'}\n"
        "    found = ts.open({'driver': 'zarr3', 'kvstore': store}, read=True).result()\n"
        "    print(hashlib.sha256(found.read().result().tobytes()).hexdigest())\n"
    )
    words = [sys.executable, "-c", program, server.url]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    group = zarr.open_group(stored, mode="r")
    arrays = (group[name][:] for name in ("image", "label", "seed"))
    assert done.stdout.split() == [hashlib.sha256(a.tobytes()).hexdigest() for a in arrays]


def test_zarrita_reads_it_over_http(deposited) -> None:
    folder = zarrita_folder()
    if shutil.which("node") is None or folder is None:
        pytest.skip("needs node, and `npm install zarrita` in this folder or one above")
    stored, server = deposited
    program = (
        "import * as zarr from 'zarrita'; import {createHash} from 'node:crypto';\n"
        "const root = await zarr.open(new zarr.FetchStore(process.argv[1]), {kind: 'group'});\n"
        "for (const name of ['image', 'label', 'seed']) {\n"
        "  const array = await zarr.open(root.resolve(name), {kind: 'array'});\n"
        "  const {data} = await zarr.get(array);\n"
        "  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);\n"
        "  console.log(createHash('sha256').update(bytes).digest('hex'));\n"
        "}\n"
    )
    words = ["node", "--input-type=module", "-e", program, server.url]
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=120, check=False, cwd=folder
    )
    assert done.returncode == 0, done.stderr
    group = zarr.open_group(stored, mode="r")
    arrays = (group[name][:] for name in ("image", "label", "seed"))
    assert done.stdout.split() == [hashlib.sha256(a.tobytes()).hexdigest() for a in arrays]


def test_gpgen_reads_it_over_http_as_whole(deposited) -> None:
    stored, server = deposited
    with gpgen.open_dataset(server.url) as dataset, gpgen.open_dataset(stored) as expected:
        np.testing.assert_array_equal(dataset.image[:], expected.image[:])
    assert gpgen.verify(server.url, regenerate=2).ok


def test_every_key_of_a_deposit_has_the_stored_files_sha256(tmp_path: Path, deposited) -> None:
    stored, server = deposited
    copy = tmp_path / "copy.zarr"
    for name, data in contents(stored).items():
        status, headers, body = server.ask(f"/data.zarr/{name}")
        assert (status, int(headers["content-length"])) == (200, len(data))
        assert hashlib.sha256(body).digest() == hashlib.sha256(data).digest()
        status, alone, _ = server.ask(f"/data.zarr/{name}", "HEAD")
        assert (status, alone | {"date": ""}) == (200, headers | {"date": ""})
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes(body)
    assert gpgen.verify(copy, regenerate=2).ok


# The protocol


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        ("bytes=3-9", (3, 10)), ("bytes=95-", (95, 100)), ("bytes=-7", (93, 100)),
        ("bytes=0-999999", (0, 100)), ("bytes=-9999", (0, 100)), ("bytes=0-0", (0, 1)),
        ("Bytes= 3 - 9", (3, 10)), ("bytes=100-", (100, 100)), ("bytes=-0", (100, 100)),
        ("bytes=9-3", None), ("bytes=-", None), ("bytes=1-2,5-6", None), ("items=1-2", None),
        ("bytes=\u0661-2", None), ("bytes=+1-2", None), ("bytes=" + "9" * 99 + "-", None),
        ("", None),
    ],
)  # fmt: skip
def test_a_range_is_understood_or_ignored(range_, expected) -> None:
    assert asked_range({"range": range_}, 100, '"a"') == expected
    assert asked_range({"range": range_, "if-range": '"b"'}, 100, '"a"') is None


def test_a_tag_is_recognized_in_any_list() -> None:
    assert is_current({"if-none-match": 'W/"x", "a"'}, '"a"')
    assert is_current({"if-none-match": "*"}, '"a"')
    assert not is_current({"if-none-match": '"ab", W/"'}, '"a"')
    assert not is_current({}, '"a"')


def test_ranges_tags_and_caches_are_answered(unsealed) -> None:
    path = "/data.zarr/image/c.1.0.0"
    status, headers, whole = unsealed.ask(path)
    assert (status, headers["accept-ranges"], len(whole)) == (200, "bytes", 4 * 1540 + 68)
    status, found, body = unsealed.ask(path, Range="bytes=-68")
    assert (status, body) == (206, whole[-68:])
    assert found["content-range"] == f"bytes {len(whole) - 68}-{len(whole) - 1}/{len(whole)}"
    assert unsealed.ask(path, Range="bytes=1500-1600")[::2] == (206, whole[1500:1601])
    status, found, _ = unsealed.ask(path, Range=f"bytes={len(whole)}-")
    assert (status, found["content-range"]) == (416, f"bytes */{len(whole)}")
    assert unsealed.ask(path, If_None_Match=headers["etag"])[::2] == (304, b"")
    assert unsealed.ask("/data.zarr/image/c.0.0.0")[1]["etag"] != headers["etag"]
    assert headers["cache-control"] == "no-cache"
    status, found, body = unsealed.ask(f"/{unsealed.keys.identity}.zarr/image/c.1.0.0")
    assert (status, body, found["etag"]) == (200, whole, headers["etag"])
    assert found["cache-control"] == "public, max-age=31536000, immutable"
    found = unsealed.ask(path, Origin="http://example.org", Range="bytes=0-3")[1]
    assert found["access-control-allow-origin"] == "*"
    assert "content-range" in found["access-control-expose-headers"]
    asked = {"Access_Control_Request_Method": "GET", "Access_Control_Request_Headers": "range"}
    status, found, _ = unsealed.ask(path, "OPTIONS", Origin="http://example.org", **asked)
    assert (status, found["access-control-allow-headers"]) == (200, "range")
    assert unsealed.ask(path, "POST")[0] == unsealed.ask(path, "DELETE")[0] == 405


@pytest.mark.parametrize(
    "path",
    [
        "/data.zarr", "/data.zarr/", "/data.zarr/image", "/data.zarr/image/", "/data.zarr/.zattrs",
        "/data.zarr//zarr.json", "/data.zarr/image/c.4.0.0", "/data.zarr/image/c.-1.0.0",
        "/data.zarr/image/c.+1.0.0", "/data.zarr/image/c.%2B1.0.0", "/data.zarr/image/c.01.0.0",
        "/data.zarr/image/c.%D9%A1.0.0", "/data.zarr/image/c.1.0", "/data.zarr/image/c.%00.0.0",
        "/data.zarr/image/c." + "9" * 4000 + ".0.0", "/data.zarr/../../etc/passwd",
        "/data.zarr/%2e%2e/%2e%2e/etc/passwd", "/data.zarr/image/../zarr.json",
        "/%FF.zarr/zarr.json",
        "/other.zarr/zarr.json", "/" + "0" * 63 + ".zarr/zarr.json", "/data.zarr/label/c.1", "//",
        "/data.zarr/zarr.json%00", "/data.zarr/image%2Fc.9.0.0",
    ],
)  # fmt: skip
def test_nothing_is_drawn_and_nothing_listed_for_any_other_path(
    unsealed, drawn_pieces, path  # noqa: F811
) -> None:  # fmt: skip
    status, _, body = unsealed.ask(path)
    assert (status, drawn_pieces) == (404, [])
    assert len(body) < 40


def test_the_identity_of_another_dataset_is_no_missing_chunk(unsealed) -> None:
    url = f"{unsealed.root}/{'0' * 64}.zarr"
    status, headers, body = unsealed.ask(f"/{'0' * 64}.zarr/image/c.0.0.0")
    assert (status, headers["cache-control"], body.count(b"\n")) == (409, "no-store", 1)
    assert unsealed.keys.identity.encode() in body
    with pytest.raises(aiohttp.ClientResponseError, match="409"):
        zarr.open_group(url, mode="r")


def test_a_client_that_goes_away_in_mid_answer_harms_nobody(drawn_pieces) -> None:  # noqa: F811
    recipe = tiny(shape=[512, 512])
    with serving(recipe, 400, chunk_size=1, shard_size=400) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.sendall(b"GET /data.zarr/image/c.0.0.0 HTTP/1.1\r\nHost: a\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
        begun = time.monotonic()
        while server.ask("/data.zarr/zarr.json")[0] == 200 and time.monotonic() - begun < 1:
            time.sleep(0.05)
        drawn = len(drawn_pieces)
        time.sleep(0.2)
        assert len(drawn_pieces) == drawn < 300


def test_what_can_not_be_drawn_is_an_error_and_not_a_short_answer(monkeypatch) -> None:
    with serving(tiny(), 13, chunk_size=1, shard_size=4) as server:
        drawn = server.keys._drawn_chunk

        def failing(first):
            if first == 2:
                raise gpgen.DatasetError("sample 2 is not finite", "choose another seed")
            return drawn(first)

        monkeypatch.setattr(server.keys, "_drawn_chunk", failing)
        status, _, body = server.ask("/data.zarr/image/c.0.0.0", Range="bytes=3100-3200")
        assert (status, body) == (500, b"sample 2 is not finite; choose another seed\n")
        cut = server.raw(b"GET /data.zarr/image/c.0.0.0 HTTP/1.0\r\n\r\n")
        assert 0 < len(cut.partition(b"\r\n\r\n")[2]) < server.keys.nbytes("image/c.0.0.0")


# The command


def _started(*words, cwd):
    process = subprocess.Popen(
        command("serve", *words, "--port", "0"), cwd=cwd, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    lines = [process.stdout.readline() for _ in range(3)]
    assert "xarray.open_zarr" in lines[2]
    return process, re.search(r"http://127\.0\.0\.1:\d+/data\.zarr", lines[1])[0]


@pytest.mark.slow
def test_a_deposit_is_explored_as_it_is_served(deposited) -> None:
    stored, served = deposited
    process = subprocess.Popen(
        command("explore", "deposit", "--no-browser", "--json", "--port", "0"),
        cwd=stored.parent, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip
    try:
        url = json.loads(process.stdout.readline())["url"]
        explored = Serving(served.keys, int(url.rpartition(":")[2]))
        assert explored.ask("/data.zarr/zarr.json")[2] == (stored / "zarr.json").read_bytes()
        assert b"<html" in explored.ask("/")[2]
    finally:
        process.kill()
        process.communicate()


@pytest.mark.kill
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_ctrl_c_and_ends_at_once(tmp_path: Path, number) -> None:
    (tmp_path / "r.toml").write_text(tiny(shape=[512, 512]).to_toml())
    process, url = _started("r.toml", "--n", "5000", cwd=tmp_path)
    port = int(url.split(":")[2].partition("/")[0])
    with socket.create_connection(("127.0.0.1", port)) as busy:
        busy.sendall(b"GET /data.zarr/image/c.0.0.0 HTTP/1.1\r\nHost: a\r\n\r\n")
        busy.recv(1)
        used = run("serve", "r.toml", "--port", str(port), cwd=tmp_path)
        expected = f"error: port {port} of 127.0.0.1 is in use; give another --port\n"
        assert (used.status, used.err) == (1, expected)
        begun = time.monotonic()
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - begun < 30
    assert (process.returncode, err) == (0, "")


@pytest.mark.parametrize(
    ("words", "status", "what"),
    [
        (["two-scal"], 2, "did you mean 'two-scale'"),
        (["two-scale", "--n", "0"], 2, "n is 0"),
        (["two-scale", "--port", "65536"], 2, "--port"),
        (["two-scale", "--host", "no.such.host.invalid"], 2, "--host"),
        (["two-scale", "--host", "192.0.2.1"], 2, "--host"),
        (["."], 2, "recipe '.'"),
    ],
)
def test_what_can_not_be_served_is_told_in_a_line(capfd, words, status, what) -> None:
    assert main(["serve", *words]) == status
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert what in told
