"""Fixtures of the tests of object stores: a bucket behind a proxy, and what it holds."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from s3_server import BUCKET, Proxy, moto_server
from store_tools import tiny, tiny_make

from gpgen.dataset import Dataset
from gpgen.making import carry_out
from gpgen.objects import requests
from gpgen.planning import plan_job
from gpgen.store import store_for

N = 13
KEYS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@dataclasses.dataclass
class Bucket:
    """A bucket; `client` talks to the store itself, past the proxy."""

    client: Any
    proxy: Proxy
    direct: str

    def address(self, name: str = "d.zarr") -> str:
        return f"s3://{BUCKET}/{name}"

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def read(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return data

    def write(self, key: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=key)

    def empty(self) -> None:
        for key in self.keys():
            self.remove(key)

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


@pytest.fixture(scope="session")
def store() -> Iterator[tuple[str, Proxy]]:
    with moto_server() as direct:
        proxy = Proxy(direct)
        yield direct, proxy
        proxy.close()


@pytest.fixture
def bucket(store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    direct, proxy = store
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": proxy.address}).items():
        monkeypatch.setenv(name, value)
    requests._client.cache_clear()
    proxy.reset()
    client = botocore.session.get_session().create_client("s3", endpoint_url=direct)
    client.create_bucket(Bucket=BUCKET)
    bucket = Bucket(client, proxy, direct)
    yield bucket
    proxy.reset()
    bucket.empty()
    client.delete_bucket(Bucket=BUCKET)
    client.close()
    requests._client.cache_clear()


@pytest.fixture(scope="session")
def content(tmp_path_factory) -> dict[str, bytes]:
    """Every file of the dataset made on a disk, by what its object is called."""
    folder = tmp_path_factory.mktemp("content")
    tiny_make(folder / "d.zarr", N).close()
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def filled(bucket: Bucket, content: dict[str, bytes]) -> Bucket:
    """A bucket that holds the dataset."""
    for key, data in content.items():
        bucket.write(key, data)
    return bucket


@pytest.fixture(scope="session")
def local(content: dict[str, bytes]) -> dict[str, str]:
    """SHA-256 of every file of the dataset made on a disk."""
    return {key: hashlib.sha256(data).hexdigest() for key, data in content.items()}
