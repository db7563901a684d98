"""Fixtures of the tests of object stores: a bucket behind a proxy, and what it holds."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from s3_server import BUCKET, Proxy, moto_server
from store_tools import tiny, tiny_make

from gpgen.dataset import Dataset
from gpgen.format import store_for
from gpgen.io import object_requests as requests
from gpgen.making.planning import plan_job
from gpgen.making.run import carry_out

N = 13
FILLED = "filled"
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@dataclasses.dataclass(frozen=True)
class Store:
    """moto's server, and a proxy before it; `client` talks to the server itself."""

    direct: str
    proxy: Proxy
    client: Any


@functools.cache
def started() -> Store:
    """Start the server, once for all tests."""
    stack = contextlib.ExitStack()
    atexit.register(stack.close)
    direct = stack.enter_context(moto_server())
    proxy = stack.enter_context(contextlib.closing(Proxy(direct)))
    client = botocore.session.get_session().create_client("s3", endpoint_url=direct)
    client.create_bucket(Bucket=FILLED)
    client.create_bucket(Bucket=BUCKET)
    return Store(direct, proxy, stack.enter_context(contextlib.closing(client)))


class Bucket:
    """A bucket, looked at and changed past the proxy that gpgen goes through."""

    def __init__(self, store: Store, name: str) -> None:
        self.name, self.proxy, self.direct = name, store.proxy, store.direct
        self._client = store.client

    def address(self, name: str = "d.zarr") -> str:
        return f"s3://{self.name}/{name}"

    def _entries(self, prefix: str) -> Iterator[dict[str, Any]]:
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        for page in pages:
            yield from page.get("Contents", ())

    def keys(self, prefix: str = "") -> list[str]:
        return [entry["Key"] for entry in self._entries(prefix)]

    def read(self, key: str) -> bytes:
        data: bytes = self._client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def write(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self.name, Key=key, Body=data)

    def publish(self) -> None:
        """Let everybody read every object, without credentials."""
        for key in self.keys():
            self._client.put_object_acl(Bucket=self.name, Key=key, ACL="public-read")

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self.name, Key=key)

    def hold(self, content: dict[str, bytes]) -> None:
        """Let the bucket hold this and nothing else."""
        there = {entry["Key"]: entry["ETag"].strip('"') for entry in self._entries("")}
        for key in there.keys() - content.keys():
            self.remove(key)
        for key, data in content.items():
            if there.get(key) != hashlib.md5(data, usedforsecurity=False).hexdigest():
                self.write(key, data)

    def hashes(self) -> dict[str, str]:
        """SHA-256 of every object, by name."""
        return {key: hashlib.sha256(self.read(key)).hexdigest() for key in self.keys()}


def one_by_one(job, left, missing: Iterator[int], finished: Callable) -> None:
    """Make shards in this thread, without Dask's second of starting up."""
    store = store_for(job.target.form, job.target.path)
    for shard in missing:
        finished([store.write_shard(job, shard, lambda: None)])


def make_here(out: str | Path, n: int = N, resume: bool = False, **changes) -> Dataset:
    job = plan_job(tiny(**changes), n, out, shard_size=4)
    return carry_out(job, one_by_one, resume=resume)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    store = started()
    monkeypatch.setenv("AWS_ENDPOINT_URL", store.proxy.address)
    store.proxy.reset()
    yield store
    store.proxy.reset()


@pytest.fixture
def bucket(store: Store) -> Iterator[Bucket]:
    """An empty bucket."""
    bucket = Bucket(store, BUCKET)
    yield bucket
    store.proxy.reset()
    bucket.hold({})


@functools.cache
def dataset_files() -> dict[str, bytes]:
    """Every file of the dataset made on a disk, by what its object is called."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tiny_make(folder / "d.zarr", N).close()
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def filled(store: Store) -> Bucket:
    """A bucket that holds the dataset."""
    bucket = Bucket(store, FILLED)
    bucket.hold(dataset_files())
    return bucket


@pytest.fixture
def new_client() -> Iterator[None]:
    """Let this process forget the client that it has for the usual keys and endpoint."""
    requests._clients.forget()
    yield
    requests._clients.forget()


@pytest.fixture(scope="session")
def local() -> dict[str, str]:
    """SHA-256 of every file of the dataset made on a disk."""
    return {key: hashlib.sha256(data).hexdigest() for key, data in dataset_files().items()}
