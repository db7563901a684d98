"""Reading over plain HTTP: right pixels or one clear line, from servers that fail, and lie."""

from __future__ import annotations

import base64
import contextlib
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from cli_support import Caller
from object_store_support import FILLED, Bucket, N, bucket, filled, store
from store_tools import drawn, only_long, tiny
from torch.utils.data import DataLoader

import gpgen
from gpgen.errors import DatasetError, StorageError, UsageError
from gpgen.io import http_requests as requests
from gpgen.io.http_path import HttpPath
from gpgen.io.paths import place_of
from gpgen.torch import TextureDataset

pytestmark = pytest.mark.s3

_ = bucket, filled, store


@pytest.fixture
def address(filled: Bucket) -> str:
    """The dataset's address on a store that gives it out to everybody, behind the proxy."""
    filled.publish()
    return f"{filled.proxy.address}/{FILLED}/d.zarr"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed requests are repeated without the pauses."""
    monkeypatch.setattr(requests, "_PAUSE", 0.001)


def test_a_dataset_is_read_and_verified(address: str) -> None:
    with gpgen.open_dataset(address) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))
        np.testing.assert_array_equal(dataset.label[:], np.arange(N) % 2)
        copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
        np.testing.assert_array_equal(copy.image[7], drawn(tiny(), N)[7])
    report = gpgen.verify(address, regenerate=3)
    assert report
    assert report.samples_regenerated == 3


@pytest.mark.parametrize("start", ["fork", *only_long(["spawn", "forkserver"])])
def test_every_image_is_right_through_failures_in_workers_too(
    address: str, filled: Bucket, quick: None, start: str
) -> None:
    filled.proxy.rate = {"error": 0.05, "cut": 0.2}
    dataset = TextureDataset(address)
    dataset.__getitems__([0, 1])  # the parent has connections before it forks
    for _ in range(5):
        loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=start)
        images = np.concatenate([images.numpy()[:, 0] for images, _ in loader])
        np.testing.assert_array_equal(images, drawn(tiny(), N))
    assert filled.proxy.seen["cut"] > 5
    assert filled.proxy.seen["error"] > 1


def test_damage_names_the_file(address: str, filled: Bucket) -> None:
    key = next(iter(key for key in filled.keys("d.zarr/image/c")))
    damaged = bytearray(filled.read(key))
    damaged[100] ^= 1
    filled.write(key, bytes(damaged))
    filled.publish()
    assert not gpgen.verify(address)
    with gpgen.open_dataset(address) as dataset, pytest.raises(DatasetError, match=key):
        dataset.image[:]


def test_what_is_missing_is_said(address: str, filled: Bucket) -> None:
    with pytest.raises(DatasetError, match=r"no dataset at http://.*; check the address"):
        gpgen.open_dataset(address + "x")
    key = filled.keys("d.zarr/label/c")[0]
    filled.remove(key)
    problems = gpgen.verify(address).problems
    assert {problem.file for problem in problems} == {key.removeprefix("d.zarr/")}


@contextlib.contextmanager
def server(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """Serve by a function; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            answer(self)

        do_HEAD = do_GET

        def log_message(self, *arguments: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{running.server_address[1]}/d.zarr"
    finally:
        running.shutdown()
        running.server_close()


def sends(handler: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str | int) -> None:
    handler.send_response_only(status)
    for name, value in {"Content_Length": len(body), **headers}.items():
        handler.send_header(name.replace("_", "-"), str(value))
    handler.end_headers()
    with contextlib.suppress(OSError):
        handler.wfile.write(body)


LIES = {
    "ignores ranges": (
        lambda h: sends(h, 200, b"x" * 10_000_000),
        "the server sends the whole",
    ),
    "another part": (
        lambda h: sends(h, 206, b"abcd", Content_Range="bytes 8-11/100"),
        r"gave 4 bytes of .* \(bytes 8-11/100\) when asked for 16 from 0",
    ),
    "no range": (lambda h: sends(h, 206, b"abcd"), "without a range"),
    "fewer bytes than there are": (
        lambda h: sends(h, 206, b"abcd", Content_Range="bytes 0-3/100"),
        "gave 4 bytes",
    ),
    "more than asked for": (
        lambda h: sends(h, 206, b"x" * 64, Content_Range="bytes 0-63/100"),
        "gave 17 bytes",
    ),
    "a length that doesn't come": (
        lambda h: sends(h, 206, b"abcd", Content_Length=16, Content_Range="bytes 0-15/16"),
        r"can't be read: .*\(8 times\)",
    ),
    "always busy": (lambda h: sends(h, 503, b""), r"answer 503 Service Unavailable \(8 times\)"),
    "forbidden": (lambda h: sends(h, 403, b""), "answer 403 Forbidden;"),
    "round and round": (lambda h: sends(h, 302, b"", Location=h.path), "too many redirects;"),
    "to another kind of address": (
        lambda h: sends(h, 302, b"", Location="ftp://127.0.0.1/d.zarr"),
        "ftp.*;",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_or_refuses_is_named_in_one_line(lie: str, quick: None) -> None:
    answer, message = LIES[lie]

    def closing(handler: BaseHTTPRequestHandler) -> None:
        answer(handler)
        handler.close_connection = lie != "round and round"

    with server(closing) as address, pytest.raises(StorageError, match=message) as caught:
        requests.get(address, 0, 16)
    assert "\n" not in str(caught.value)


def test_a_circle_of_redirections_is_followed_once() -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        sends(handler, 302, b"", Location=handler.path)

    with server(answer) as address, pytest.raises(StorageError):
        requests.get(address, 0, 16)
    assert len(asked) == 1 + requests._MOST_REDIRECTS


def test_a_token_is_repeated_in_each_request_and_shown_in_no_message() -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.path)
        sends(handler, 404, b"")

    with server(answer) as address, pytest.raises(DatasetError) as caught:
        gpgen.open_dataset(f"{address}?token=secret")
    assert asked[0] == "/d.zarr/zarr.json?token=secret"
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("http://", "does not name a file"),
        ("https://host", "does not name a file"),
        ("https://me:secret@host/d.zarr", "the address of host holds a name or a password"),
        ("https://host/d.zarr#part", "percent-encode it"),
        ("https://host/a b.zarr", "percent-encode it"),
        ("https://host:port/d.zarr", "has no port"),
        ("https://host/d.h5", "there is only Zarr"),
        ("az://container/d.zarr", "blob.core.windows.net"),
        ("ftp://host/d.zarr", "on no store that gpgen knows"),
    ],
)
def test_addresses_that_name_nothing_are_refused(address: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        place_of(address)
    assert "secret" not in str(caught.value)


def test_nothing_is_written_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    call = Caller(capfd, tmp_path)
    address = "http://127.0.0.1:9/d.zarr"
    result = call("make", "--recipe", "two-scale-mini", "--n", "2", "-o", address)
    assert result.status == 2
    assert f"error: {address} can only be read; make it in a folder or a bucket" in result.err


def test_a_public_bucket_of_googles_is_read_by_its_address(
    address: str, filled: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(place_of("gs://b/d.zarr")) == "https://storage.googleapis.com/b/d.zarr"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", filled.proxy.address)
    place = place_of(f"gs://{FILLED}/d.zarr")
    assert isinstance(place, HttpPath)
    assert str(place) == address
    with gpgen.open_dataset(f"gs://{FILLED}/d.zarr") as dataset:
        np.testing.assert_array_equal(dataset.image[3], drawn(tiny(), N)[3])


def test_a_path_made_of_an_address_is_understood() -> None:
    assert str(place_of(Path("https://host/d.zarr"))) == "https://host/d.zarr"


DATA = bytes(range(256)) * 4


def gives(handler: BaseHTTPRequestHandler, cut: int = 0, *, length: bool = True) -> None:
    """Answer a range of `DATA`, without its length until the connection ends, and cut."""
    first, last = (int(end) for end in handler.headers["Range"].removeprefix("bytes=").split("-"))
    body = DATA[first : last + 1]
    handler.send_response_only(206)
    handler.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(DATA)}")
    handler.send_header(*("Content-Length", str(len(body))) if length else ("Connection", "close"))
    handler.end_headers()
    handler.wfile.write(body[: len(body) - cut])
    handler.close_connection = not length


def test_a_body_cut_off_whose_length_was_not_told_is_asked_for_again(quick: None) -> None:
    cuts = iter([50, 299, 0])
    with server(lambda handler: gives(handler, next(cuts), length=False)) as url:
        assert HttpPath.parse(url).read_range(10, 300) == DATA[10:310]
    assert next(cuts, None) is None


@pytest.mark.parametrize("status", [200, 400, 403, 405, 501])
def test_where_head_is_refused_or_tells_no_length_the_first_byte_tells_the_size(
    status: int,
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if handler.command == "GET":
            gives(handler)
        else:
            handler.send_response_only(status)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()

    with server(answer) as url:
        assert HttpPath.parse(url).size() == len(DATA)


def test_a_proxy_may_want_a_password_and_have_no_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        asked.append((handler.path, handler.headers.get("Proxy-Authorization")))
        gives(handler)

    monkeypatch.setenv("no_proxy", "")
    path = HttpPath.parse("http://data.example/d.zarr")
    with server(answer) as url:
        host = url.removeprefix("http://").partition("/")[0]
        for proxy in (host, f"http://us%20er:p%40ss@{host}"):
            monkeypatch.setenv("http_proxy", proxy)
            assert path.read_range(10, 300) == DATA[10:310]
    login = base64.b64encode(b"us er:p@ss").decode()
    assert asked == [(str(path), None), (str(path), f"Basic {login}")]


@pytest.mark.parametrize("proxy", ["socks5://u:secret@h:9", "http://[h", "http://u:secret@h:99999"])
def test_a_proxy_that_cannot_be_is_named_in_one_line(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("http_proxy", proxy)
    with pytest.raises(UsageError, match=r"the proxy .* of the environment") as raised:
        HttpPath.parse("http://data.example/d.zarr").size()
    assert "secret" not in str(raised.value)
