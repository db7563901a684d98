"""Reading from an object store: right pixels or one clear line, never wrong ones."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_support import Caller
from object_store_support import N, bucket, dataset_files, filled, new_client, store
from store_tools import drawn, only_long, tiny, tiny_make
from torch.utils.data import DataLoader

import gpgen
from gpgen.errors import DatasetError, MissingPackageError, StorageError, UsageError
from gpgen.io import object_requests as requests
from gpgen.io.object_path import ObjectPath
from gpgen.publish.dataset_source import DatasetSource
from gpgen.torch import TextureDataset
from gpgen.verification import verify

pytestmark = pytest.mark.s3

_ = bucket, filled, new_client, store


@pytest.fixture
def gpgen_command(capfd, tmp_path, monkeypatch) -> Caller:
    monkeypatch.chdir(tmp_path)
    return Caller(capfd, tmp_path)


def test_images_come_in_the_order_asked_for(filled) -> None:
    with gpgen.open_dataset(filled.address()) as dataset:
        expected = drawn(tiny(), N)
        np.testing.assert_array_equal(dataset.image[:], expected)
        np.testing.assert_array_equal(dataset.read([12, 0, 5, 0]), expected[[12, 0, 5, 0]])
        np.testing.assert_array_equal(dataset.label[:], np.arange(N) % 2)
        copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
        np.testing.assert_array_equal(copy.image[7], expected[7])
        copy.close()


# The other ways of starting workers pickle the dataset, as the test above does.
@pytest.mark.parametrize("start", ["fork", *only_long(["spawn"])])
def test_training_reads_from_a_bucket_in_workers_however_started(filled, start) -> None:
    dataset = pickle.loads(pickle.dumps(TextureDataset(filled.address())))  # noqa: S301
    np.testing.assert_array_equal(dataset[3][0].numpy()[0], drawn(tiny(), N)[3])
    dataset.__getitems__([0, 1])  # the parent has threads and connections before it forks
    loader = DataLoader(dataset, batch_size=4, num_workers=2, multiprocessing_context=start)
    images = np.concatenate([images.numpy()[:, 0] for images, _ in loader])
    np.testing.assert_array_equal(images, drawn(tiny(), N))


def test_reading_goes_on_through_failures(filled) -> None:
    bucket = filled
    bucket.proxy.reset(error=0.06, slow=0.02, cut=0.1, lost=0.05, refused=0.05)
    with gpgen.open_dataset(bucket.address()) as dataset:
        for _ in range(4):
            np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))
    assert bucket.proxy.seen["cut"] > 0
    assert bucket.proxy.seen["error"] > 0


PLAIN = {"Content-Type": "text/plain"}
SMALL = [
    "image/zarr.json", "shard_sha256/c.0.0", "label/c.0", "label/zarr.json", "seed/c.0",
    "length_scale/c.0.0", "split/c.0",
]  # fmt: skip
READ = ["image/c.1.0.0", "crc32c/c.0", "zarr.json"]
HARM = {
    "a flipped bit": lambda data: (
        data[: len(data) // 3] + bytes([data[len(data) // 3] ^ 4]) + data[len(data) // 3 + 1 :]
    ),
    "half of it": lambda data: data[: len(data) // 2],
    "deleted": lambda data: None,
}
CASES = [(name, "a flipped bit") for name in SMALL] + [(n, harm) for n in READ for harm in HARM]


@pytest.mark.parametrize(("name", "harm"), CASES)
def test_a_damaged_object_is_named_and_its_pixels_never_returned(filled, name, harm) -> None:
    data = HARM[harm](filled.read(f"d.zarr/{name}"))
    filled.remove(f"d.zarr/{name}") if data is None else filled.write(f"d.zarr/{name}", data)
    try:
        report = gpgen.verify(filled.address())
    except DatasetError:  # not a dataset any more
        assert name == "zarr.json"
    else:
        assert name in {problem.file for problem in report.problems}
    raised = _refused(filled)
    if name == "image/c.1.0.0":
        assert raised == ({5, 6} & raised if harm == "a flipped bit" else {6, 7} | raised)
        assert raised
        assert raised <= {4, 5, 6, 7}
    elif name == "crc32c/c.0":
        assert raised
    elif name == "zarr.json":
        assert raised == set(range(N))


def _refused(filled) -> set[int]:
    """Return the images that can't be read; each of the others must be what was drawn."""
    try:
        dataset = gpgen.open_dataset(filled.address())
    except DatasetError:
        return set(range(N))
    expected, refused = drawn(tiny(), N), set()
    with dataset:
        for index in range(N):
            try:
                image = dataset.image[index]
            except DatasetError:
                refused.add(index)
            else:
                np.testing.assert_array_equal(image, expected[index])
    return refused


def test_a_foreign_object_is_named(filled) -> None:
    bucket = filled
    bucket.write("d.zarr/image/c.9.0.0", b"?")
    report = gpgen.verify(bucket.address())
    assert [problem.file for problem in report.problems] == ["image/c.9.0.0"]


def _shown(gpgen_command: Caller, *arguments: str) -> str:
    result = gpgen_command(*arguments)
    assert result.status != 0
    assert re.fullmatch(r"error: [^\n]+\n", result.err), result.err
    return result.err


def test_the_verbs_read_a_bucket(bucket, gpgen_command) -> None:
    made = gpgen_command("make", "--recipe", "two-scale-mini", "--size", "32", "--n", "8",
                         "--out", bucket.address())  # fmt: skip
    assert made.status == 0, made.err
    info = gpgen_command("info", bucket.address())
    assert bucket.address() in info.out
    assert "8 samples" in info.out
    checked = gpgen_command("verify", bucket.address(), "--regenerate", "2")
    assert checked.status == 0, checked.err
    assert gpgen_command("show", bucket.address(), "-o", "sheet.png").status == 0
    assert (gpgen_command.folder / "sheet.png").stat().st_size > 1000
    bucket.remove("d.zarr/label/c.0")
    assert "label/c.0" in (damaged := gpgen_command("verify", bucket.address())).out + damaged.err
    assert damaged.status == 1


def test_what_needs_a_disk_says_how_to_get_there(filled) -> None:
    with (
        gpgen.open_dataset(filled.address()) as dataset,
        pytest.raises(UsageError, match=r"copy it first: gpgen convert s3://filled/d\.zarr"),
    ):
        DatasetSource(dataset, recipe_only=False)


def test_wrong_credentials_are_said_so_in_one_line(
    filled, new_client, gpgen_command, monkeypatch
) -> None:
    bucket = filled
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAWRONG")
    _authorize(bucket, True)
    try:
        for verb in (["info"], ["verify"], ["make", "--n", "8", "--out"]):
            line = _shown(gpgen_command, *verb, bucket.address())
            assert "access denied (InvalidAccessKeyId); set AWS_ACCESS_KEY_ID and" in line
    finally:
        _authorize(bucket, False)


def test_a_public_bucket_is_read_without_credentials_and_a_private_one_is_not(
    filled, new_client, gpgen_command, monkeypatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert "access denied (403); set AWS_ACCESS_KEY_ID" in _shown(
        gpgen_command, "info", filled.address()
    )
    filled.publish()
    with gpgen.open_dataset(filled.address()) as dataset:
        np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))
    assert filled.proxy.seen["signed"] == 0
    assert "access denied (403); set AWS_ACCESS_KEY_ID" in _shown(
        gpgen_command, "make", "--n", "8", "--out", filled.address("new.zarr")
    )


def test_an_access_point_is_a_bucket() -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"
    path = ObjectPath.parse(f"s3://{arn}/folder/d.zarr")
    assert (path.bucket, path.key) == (arn, "folder/d.zarr")
    assert str(path / "zarr.json") == f"s3://{arn}/folder/d.zarr/zarr.json"


def _authorize(bucket, on: bool) -> None:
    """Let moto check keys from the next request on, or believe all."""
    count = b"0" if on else b"1000000000"
    url = f"{bucket.direct}/moto-api/reset-auth"
    request = urllib.request.Request(url, data=count, headers=PLAIN, method="POST")  # noqa: S310 - loopback
    urllib.request.urlopen(request).close()  # noqa: S310


def test_a_missing_bucket_is_said_so(bucket, gpgen_command) -> None:
    for verb in (["info"], ["verify"], ["show", "-o", "x.png"], ["make", "--n", "8", "--out"]):
        line = _shown(gpgen_command, *verb, "s3://no-such-bucket/d.zarr")
        assert "s3://no-such-bucket/d.zarr" in line
        assert "there is no such bucket; create the bucket, or correct the address" in line
    assert "there is no dataset at s3://" in _shown(gpgen_command, "info", bucket.address())


def test_a_store_that_does_not_answer_is_said_so(
    bucket, new_client, gpgen_command, monkeypatch
) -> None:
    monkeypatch.setattr(requests, "ATTEMPTS", 2)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    line = _shown(gpgen_command, "info", bucket.address())
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/' in line
    assert ", 2 times; check AWS_ENDPOINT_URL" in line


def test_a_store_that_keeps_silent_is_given_up_after_three_waits(
    bucket, new_client, gpgen_command, monkeypatch
) -> None:
    monkeypatch.setattr(requests, "_READ_SECONDS", 0.2)
    bucket.proxy.silent = True
    line = _shown(gpgen_command, "info", bucket.address())
    assert "Read timeout on endpoint URL" in line
    assert ", 3 times; check AWS_ENDPOINT_URL and the network" in line


@pytest.mark.parametrize(
    ("status", "code", "hint"),
    [
        (400, "ExpiredToken", "get new credentials, then run it again"),
        (403, "RequestTimeTooSkewed", "set this machine's clock"),
        (403, "QuotaExceeded", "free some space or raise the quota"),
        (403, "InvalidObjectState", "restore the object"),
        (403, "AccessDenied", "set AWS_ACCESS_KEY_ID"),
        (400, "InvalidArgument", "correct the address"),
        (501, "NotImplemented", "check AWS_ENDPOINT_URL"),
        (405, "MethodNotAllowed", "correct the address"),
    ],
)
def test_each_refusal_says_what_to_do(bucket, gpgen_command, status, code, hint) -> None:
    for verb in (["info"], ["make", "--recipe", "two-scale-mini", "--n", "8", "--out"]):
        bucket.proxy.failures = [(status, code)] * 50
        line = _shown(gpgen_command, *verb, bucket.address())
        assert hint in line
        assert "bug" not in line
        assert "max retries" not in line


def test_training_goes_on_while_requests_fail(filled) -> None:
    filled.proxy.reset(error=0.1, slow=0.03, cut=0.1, refused=0.1)
    textures = TextureDataset(filled.address())
    for _ in range(4):
        images, _ = textures.batch(np.arange(N))
        assert torch.equal(images[:, 0], torch.from_numpy(drawn(tiny(), N)))
    assert all(filled.proxy.seen[kind] >= 3 for kind in ("error", "cut", "refused"))


def test_threads_that_all_read_first_share_a_client(filled, new_client, monkeypatch) -> None:
    made = []
    new = requests._new_client
    monkeypatch.setattr(requests, "_new_client", lambda: made.append(1) or new())
    with gpgen.open_dataset(filled.address()) as dataset:
        requests._clients.forget()
        made.clear()
        dataset.read(range(N))
    assert len(made) == 1


def test_foreign_objects_with_odd_names_are_named(filled) -> None:
    odd = ["d.zarr/image//c.1.0.0", "d.zarr/./zarr.json", "d.zarr/a b+c%20d\u00e9?#"]
    for key in odd:
        filled.write(key, b"x")
    filled.write("d.zarr/", b"")  # as consoles show folders
    try:
        found = {problem.file for problem in verify(filled.address()).problems}
    finally:
        for key in [*odd, "d.zarr/"]:
            filled.remove(key)
    assert found == {key.removeprefix("d.zarr/") for key in odd}


def test_what_consoles_and_tools_leave_in_a_bucket_harms_nothing(filled) -> None:
    left = ["d.zarr/image/.DS_Store", "d.zarr/image_$folder$", "d.zarr/.zmetadata"]
    markers = ["d.zarr/", "d.zarr/image/", "d.zarr/label/"]
    for key in left:
        filled.write(key, b"x")
    for key in markers:
        filled.write(key, b"")
    try:
        report = verify(filled.address())
    finally:
        for key in [*left, *markers]:
            filled.remove(key)
    assert report.ok
    assert {f"d.zarr/{problem.file}" for problem in report.litter} == set(left)


def test_what_is_no_dataset_in_a_bucket_is_named(filled, gpgen_command) -> None:
    filled.write("x/a.npy", b"\x93NUMPY\x01\x00" + bytes(60))
    filled.write("x/theirs.zarr/zarr.json", b'{"zarr_format": 3, "node_type": "group"}')
    try:
        for name, what in {
            "x/a.npy": "is a NumPy array, not a gpgen dataset",
            "x/theirs.zarr": "is not a gpgen dataset",
            "x/nothing.zarr": "there is no dataset at",
        }.items():
            for verb in ("info", "verify"):
                assert what in _shown(gpgen_command, verb, filled.address(name))
    finally:
        for key in ("x/a.npy", "x/theirs.zarr/zarr.json"):
            filled.remove(key)


def test_a_dataset_that_another_takes_the_place_of_is_not_called_damaged(
    filled, tmp_path: Path
) -> None:
    """An object store has no renames: somebody removes one dataset, and puts another."""
    tiny_make(tmp_path / "d.zarr", recipe=tiny(seed=6)).close()
    dataset = gpgen.open_dataset(filled.address())
    copied = {key: filled.read(key) for key in filled.keys("d.zarr/")}
    try:
        for path in (tmp_path / "d.zarr").rglob("*"):
            if path.is_file():
                filled.write(f"d.zarr/{path.relative_to(tmp_path / 'd.zarr')}", path.read_bytes())
        for array in (dataset.image, dataset.seed):
            with pytest.raises(DatasetError, match="was replaced or removed since it was opened"):
                array[[0, 3]]
    finally:
        for key, data in copied.items():
            filled.write(key, data)
    np.testing.assert_array_equal(dataset.image[:], drawn(tiny(), N))


FEW_DESCRIPTORS = """
import resource, sys
import gpgen
from gpgen.errors import StorageError
from gpgen.io import object_requests as requests
from gpgen.io.object_path import ObjectPath
import gpgen.format.pixels_ahead
requests.ATTEMPTS = 2
dataset = gpgen.open_dataset(sys.argv[1])
requests._clients.forget()
requests._clients.get()
resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
try:
    dataset.image[0]
except StorageError as error:
    print(error)
"""


def test_no_descriptor_for_a_connection_is_no_fault_of_the_store(filled) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FEW_DESCRIPTORS, filled.address()],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "too many open files; raise the limit of open files (ulimit -n)" in done.stdout, done


def test_without_the_extra_it_is_named(bucket, new_client, monkeypatch) -> None:
    for module in [name for name in sys.modules if name.partition(".")[0] == "botocore"]:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackageError, match=r"need the package botocore.*'gpgen\[s3\]'"):
        gpgen.open_dataset(bucket.address())


def test_local_work_does_not_import_what_object_stores_need(tmp_path) -> None:
    code = (
        "import sys, gpgen, gpgen.making.run, gpgen.dataset, gpgen.verification\n"
        "print('botocore' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_hdf5_on_a_bucket_is_refused_by_readers(bucket) -> None:
    with pytest.raises(UsageError, match="only Zarr"):
        gpgen.open_dataset(bucket.address("d.h5"))


def test_a_store_that_refuses_for_good_is_not_asked_again(filled) -> None:
    bucket = filled
    bucket.proxy.reset(error=1.0)
    requests_before = bucket.proxy.seen["requests"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(requests, "ATTEMPTS", 3)
        with pytest.raises(StorageError, match=r"can't be read.*, 3 times; check"):
            gpgen.open_dataset(bucket.address())
    assert bucket.proxy.seen["requests"] - requests_before == 3


def test_the_pages_python_runs(bucket) -> None:
    for key, data in dataset_files().items():
        bucket.write(key.replace("d.zarr/", "data.zarr/", 1), data)
    page = (Path(__file__).parents[1] / "docs" / "object-stores.md").read_text(encoding="utf-8")
    # The second block is of another server: tests/test_http_reading.py.
    block, _ = re.findall(r"^```py\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    for line in block.splitlines():
        assert eval(line, {"gpgen": gpgen}) is not None  # noqa: S307
