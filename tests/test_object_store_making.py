"""Making on an object store: equal bytes, whatever the network and the process go through."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import distributed
import pytest
from object_store_support import N, bucket, local, make_here, one_by_one, store
from store_tools import drawn, hashes, tiny, tiny_make

from gpgen import Recipe
from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError, StorageError, TargetError, UsageError
from gpgen.format import store_for
from gpgen.io import object_requests as requests
from gpgen.making.converting import convert
from gpgen.making.planning import plan_job
from gpgen.making.run import carry_out, plan
from gpgen.verification import verify

pytestmark = pytest.mark.s3

_ = bucket, local, store
HERE = Path(__file__).parent


def test_a_dataset_made_on_s3_is_the_local_one_byte_for_byte(bucket, local) -> None:
    with tiny_make(bucket.address(), N) as dataset:
        assert str(dataset.path) == bucket.address()
    assert bucket.hashes() == local


def test_workers_of_a_cluster_put_the_same_bytes(bucket, local) -> None:
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    )
    with cluster:
        tiny_make(bucket.address(), N, workers=None, scheduler=cluster.scheduler_address).close()
    assert bucket.hashes() == local


def test_converting_copies_to_a_bucket_and_back(bucket, local, tmp_path: Path) -> None:
    tiny_make(tmp_path / "d.h5", N).close()
    convert(tmp_path / "d.h5", bucket.address(), shard_size=4).close()
    assert bucket.hashes() == local
    (tmp_path / "back").mkdir()
    convert(bucket.address(), tmp_path / "back" / "d.zarr", shard_size=4).close()
    assert hashes(tmp_path / "back") == local


def test_one_request_in_twenty_fails_and_the_bytes_are_the_same(bucket, tmp_path: Path) -> None:
    n = 80
    tiny_make(tmp_path / "d.zarr", n, shard_size=2).close()
    bucket.proxy.reset(error=0.05, slow=0.03, cut=0.03, lost=0.03, refused=0.03)
    tiny_make(bucket.address(), n, shard_size=2, workers=4).close()
    report = verify(bucket.address(), regenerate=5)
    seen = dict(bucket.proxy.seen)
    bucket.proxy.reset()
    assert report.ok
    assert bucket.hashes() == hashes(tmp_path)
    # The failures did happen: each kind, and as often as asked for in each hundred requests.
    assert seen["requests"] > 200
    assert seen["error"] >= 5 * (seen["requests"] // 100)
    assert all(seen[kind] >= 3 for kind in ("slow", "cut", "lost", "refused"))


def test_after_sigkill_the_named_command_finishes_to_equal_bytes(bucket, tmp_path: Path) -> None:
    n = 60
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, store_tools\n"
        f"store_tools.tiny_make(sys.argv[1], {n}, shard_size=1, workers=2)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    process = subprocess.Popen([sys.executable, script, bucket.address()], env=environment)
    deadline = time.monotonic() + 300
    while len(bucket.keys("d.zarr.making/journal-")) < 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not bucket.keys("d.zarr/zarr.json")
    with pytest.raises(DatasetError, match=r"\d+ of 60 shards are done; finish it with") as refused:
        open_dataset(bucket.address())
    with pytest.raises(TargetError, match=r"begun before.*continue with resume=True"):
        tiny_make(bucket.address(), n, shard_size=1)
    with pytest.raises(TargetError, match="differs from what is asked for: n 60 -> 61"):
        tiny_make(bucket.address(), n + 1, shard_size=1, resume=True)
    command = shlex.split(refused.value.hint.partition("`")[2].rstrip("`"))
    assert command[0] == "gpgen"
    done = subprocess.run(
        [sys.executable, "-m", "gpgen_cli", *command[1:]],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "were there already" in done.stdout
    tiny_make(tmp_path / "d.zarr", n, shard_size=1).close()
    assert bucket.hashes() == {k: h for k, h in hashes(tmp_path).items() if k != "run.py"}


def test_whatever_write_was_the_last_it_resumes_to_equal_bytes(
    bucket, local, long, monkeypatch
) -> None:
    """The store is gone for the run from one write on: to the bucket that is what a kill is."""
    writes = 0

    def before(method: str, path: str) -> bool:
        nonlocal writes
        writes += method != "GET"
        return writes <= last

    last = 10**6
    bucket.proxy.before = before
    make_here(bucket.address()).close()
    steps = writes
    assert steps > 25
    monkeypatch.setattr(requests, "ATTEMPTS", 1)
    for last in range(steps) if long else [0, 1, 2, 5, 20, steps - 8, steps - 1]:
        bucket.hold({})
        writes = 0
        bucket.proxy.before = before
        with pytest.raises(StorageError):
            make_here(bucket.address())
        bucket.proxy.reset()
        if bucket.keys("d.zarr/zarr.json"):
            with open_dataset(bucket.address()) as dataset:
                assert len(dataset.read(range(N))) == N
        else:
            with pytest.raises(DatasetError):
                open_dataset(bucket.address())
        make_here(bucket.address(), resume=True).close()
        assert bucket.hashes() == local, last


def test_a_lost_answer_to_a_conditional_put_is_not_taken_for_another_run(bucket, local) -> None:
    lost = []

    def before(method: str, path: str) -> bool:
        name = path.partition("?")[0].rsplit("/", 1)[-1]
        bucket.proxy.rate = {}
        conditional = method == "PUT" and path.endswith(("making/job.json", "d.zarr/zarr.json"))
        if conditional and name not in lost:
            lost.append(name)
            bucket.proxy.rate = {"lost": 1.0}
        return True

    bucket.proxy.before = before
    make_here(bucket.address()).close()
    bucket.proxy.reset()
    assert bucket.hashes() == local


def test_of_two_runs_that_begin_at_once_one_is_refused(bucket, local) -> None:
    begun = []

    def before(method: str, path: str) -> bool:
        if method == "PUT" and "making/recipe-" in path and not begun:
            begun.append(path)  # while this run begins, another has
            bucket.write("d.zarr.making/job.json", b'{"run": "another"}')
        return True

    bucket.proxy.before = before
    with pytest.raises(TargetError, match=r"another run has just begun.*continue with resume=True"):
        make_here(bucket.address())
    assert bucket.read("d.zarr.making/job.json") == b'{"run": "another"}'


def test_a_dataset_that_appears_meanwhile_is_not_replaced(bucket) -> None:
    def before(method: str, path: str) -> bool:
        if method == "PUT" and path.endswith("d.zarr/label/zarr.json"):
            bucket.write("d.zarr/zarr.json", b"mine")
        return True

    bucket.proxy.before = before
    with pytest.raises(TargetError, match="has appeared while"):
        make_here(bucket.address())
    assert bucket.read("d.zarr/zarr.json") == b"mine"


def test_a_shard_that_was_removed_meanwhile_is_noticed_and_made_again(bucket, local) -> None:
    def before(method: str, path: str) -> bool:
        if method == "PUT" and path.endswith("image/c.2.0.0"):
            bucket.remove("d.zarr/image/c.0.0.0")
        return True

    bucket.proxy.before = before
    with pytest.raises(TargetError, match=r"image/c\.0\.0\.0 was removed.*resume=True"):
        make_here(bucket.address())
    bucket.proxy.reset()
    make_here(bucket.address(), resume=True).close()
    assert bucket.hashes() == local


def test_what_is_there_is_never_overwritten(bucket, local) -> None:
    make_here(bucket.address()).close()
    with pytest.raises(TargetError, match="exists; choose another out, or remove all objects"):
        make_here(bucket.address(), seed=6)
    with pytest.raises(UsageError, match=r"overwriting .* would remove it before"):
        tiny_make(bucket.address(), N, overwrite=True)
    with pytest.raises(TargetError, match="differs from what is asked for: recipe seed 5 -> 6"):
        make_here(bucket.address(), resume=True, seed=6)
    make_here(bucket.address(), resume=True).close()
    assert bucket.hashes() == local
    bucket.write("other.zarr/notes", b"mine")
    with pytest.raises(TargetError, match="exists"):
        make_here(bucket.address("other.zarr"))
    # A name that only begins alike is another's.
    bucket.write("e.zarr2/notes", b"mine")
    make_here(bucket.address("e.zarr")).close()


@pytest.mark.parametrize("name", ["d.h5", "d-{shard:03d}.h5", "d-{shard:03d}.tar"])
def test_formats_that_are_files_name_zarr(bucket, name) -> None:
    with pytest.raises(UsageError, match="on object stores there is only Zarr"):
        tiny_make(bucket.address(name))
    assert bucket.keys() == []


@pytest.mark.parametrize("address", ["s3://", "s3://bucket", "s3:///d.zarr", "gs://b/d.zarr"])
def test_an_address_that_can_not_be_is_refused(address) -> None:
    with pytest.raises(UsageError):
        tiny_make(address)


def test_a_path_object_of_an_address_is_understood(bucket, local) -> None:
    with tiny_make(Path(bucket.address()), N):
        pass
    assert bucket.hashes() == local


def test_a_plan_says_no_free_bytes_and_touches_nothing(bucket, tmp_path: Path) -> None:
    there = plan(tiny(), N, bucket.address(), shard_size=4)
    assert there.free_bytes is None
    assert there.nbytes == plan(tiny(), N, tmp_path / "d.zarr", shard_size=4).nbytes
    assert bucket.keys() == []


def test_a_shard_is_refused_that_no_store_takes_in_one_put(bucket) -> None:
    with pytest.raises(UsageError, match=r"a shard would have 5\.\d GB.*shard_size"):
        tiny_make(bucket.address(), 4 * 10**6, shard_size=35 * 10**5)
    assert bucket.keys() == []


def puts(bucket) -> list[str]:
    """The keys that are put from now on."""
    keys: list[str] = []

    def before(method: str, path: str) -> bool:
        if method == "PUT":
            keys.append(path.partition("?")[0].removeprefix(f"/{bucket.name}/"))
        return True

    bucket.proxy.before = before
    return keys


def all_at_once(job, left, missing, finished) -> None:
    """Make shards and tell of all of them together."""
    store = store_for(job.target.form, job.target.path)
    finished([store.write_shard(job, shard, lambda: None) for shard in missing])


def test_a_journal_is_one_object_for_shards_that_finish_together(bucket, local) -> None:
    keys = puts(bucket)
    carry_out(plan_job(tiny(), N, bucket.address(), shard_size=4), all_at_once).close()
    assert sum("/journal-" in key for key in keys) == 1
    assert bucket.hashes() == local


def test_a_journal_of_many_objects_is_joined_and_read_in_pages(bucket, monkeypatch) -> None:
    """One object a shard: a million would take hours to read again."""
    monkeypatch.setattr("gpgen.workspace.remote._JOINED", 5)
    monkeypatch.setattr(requests, "_PAGE", 3)
    n = 18

    def stopped(job, left, missing, finished) -> None:
        one_by_one(job, left, itertools.islice(missing, 17), finished)
        raise Stopped

    job = plan_job(tiny(), n, bucket.address(), shard_size=1)
    with pytest.raises(Stopped):
        carry_out(job, stopped)
    journal = bucket.keys("d.zarr.making/journal-")
    assert len(journal) == 3 + 2
    assert len(bucket.keys()) > 3 * requests._PAGE
    with pytest.raises(DatasetError, match="17 of 18 shards are done"):
        open_dataset(bucket.address())
    keys = puts(bucket)
    carry_out(job, one_by_one, resume=True).close()
    assert sum("/image/c." in key for key in keys) == 1
    assert not bucket.keys("d.zarr.making/")
    assert verify(bucket.address(), regenerate=3).ok


class Stopped(Exception):
    """A run was stopped on purpose."""


def test_the_metadata_of_arrays_come_after_all_shards_and_the_root_last(bucket) -> None:
    keys = puts(bucket)
    make_here(bucket.address()).close()
    data = [key for key in keys if key.startswith("d.zarr/")]
    assert data[-1] == "d.zarr/zarr.json"
    shards = [place for place, key in enumerate(data) if "/image/c." in key]
    metadata = [place for place, key in enumerate(data) if key.endswith("zarr.json")]
    assert max(shards) < min(metadata)


def test_another_jobs_run_that_goes_on_does_no_silent_harm(bucket, local) -> None:
    """Its journal once counted as this job's: its pixels were read as this dataset's."""
    other = plan_job(tiny(seed=77), N, bucket.address(), shard_size=4)

    def outlived(job, left, missing, finished) -> None:
        one_by_one(job, left, itertools.islice(missing, 2), finished)
        bucket.hold({})  # the user removes it, and begins another
        with pytest.raises(Stopped):
            carry_out(plan_job(tiny(), N, bucket.address(), shard_size=4), one_shard)
        one_by_one(job, left, missing, finished)

    def one_shard(job, left, missing, finished) -> None:
        one_by_one(job, left, itertools.islice(missing, 1), finished)
        raise Stopped

    with pytest.raises(TargetError, match="was removed or replaced while"):
        carry_out(other, outlived)
    assert not bucket.keys("d.zarr/zarr.json")
    make_here(bucket.address(), resume=True).close()
    # What it has put in the meantime is made again or told, and none of it is read as pixels.
    report = verify(bucket.address())
    with open_dataset(bucket.address()) as dataset:
        for index, image in enumerate(drawn(tiny(), N)):
            try:
                assert dataset.image[index].tobytes() == image.tobytes()
            except DatasetError:
                assert not report.ok


def test_a_run_that_only_resumed_does_not_take_the_other_off_the_record(bucket, local) -> None:
    """Two runs of one job: the second, interrupted, once removed what the first had on record."""

    def interrupted(job, left, missing, finished) -> None:
        raise KeyboardInterrupt

    def first(job, left, missing, finished) -> None:
        with pytest.raises(KeyboardInterrupt):
            carry_out(job, interrupted, resume=True)
        one_by_one(job, left, missing, finished)

    carry_out(plan_job(tiny(), N, bucket.address(), shard_size=4), first).close()
    assert bucket.hashes() == local


def test_a_record_that_was_removed_does_not_hide_why_a_run_failed(bucket) -> None:
    def removed(job, left, missing, finished) -> None:
        bucket.hold({})
        raise Stopped

    with pytest.raises(Stopped):
        carry_out(plan_job(tiny(), N, bucket.address(), shard_size=4), removed)


def test_the_recipe_of_a_run_that_came_second_is_not_taken_for_the_firsts(bucket) -> None:
    with pytest.raises(Stopped):
        carry_out(plan_job(tiny(), N, bucket.address(), shard_size=4), stop_at_once)
    begun = {key: bucket.read(key) for key in bucket.keys("d.zarr.making/")}
    bucket.hold({})

    def before(method: str, path: str) -> bool:
        if method == "PUT" and "making/recipe-" in path:
            for key, data in begun.items():
                bucket.write(key, data)
        return True

    bucket.proxy.before = before
    with pytest.raises(TargetError, match="another run has just begun"):
        make_here(bucket.address(), seed=77)
    bucket.proxy.reset()
    with pytest.raises(DatasetError, match="finish it with") as refused:
        open_dataset(bucket.address())
    words = shlex.split(refused.value.hint.partition("`")[2].rstrip("`"))
    assert Recipe.load(words[words.index("--recipe") + 1]) == tiny()


def stop_at_once(job, left, missing, finished) -> None:
    one_by_one(job, left, itertools.islice(missing, 1), finished)
    raise Stopped


def test_every_put_carries_the_checksum_of_what_it_puts(bucket) -> None:
    """S3 compares it; moto doesn't, so the proxy does."""
    bucket.proxy.checksums = True
    try:
        make_here(bucket.address()).close()
        assert bucket.proxy.seen["checksums"] > 20
    finally:
        bucket.proxy.checksums = False


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "BadDigest"), (400, "IncompleteBody"), (400, "RequestTimeout"),
        (400, "XAmzContentSHA256Mismatch"), (409, "OperationAborted"),
        (409, "ConditionalRequestConflict"), (503, "SlowDown"), (400, "Throttling"),
        (429, "TooManyRequests"), (500, "InternalError"), (502, "BadGateway"),
    ],
)  # fmt: skip
def test_what_passes_is_tried_again(bucket, local, status: int, code: str) -> None:
    bucket.proxy.failures = [(status, code)] * 3
    make_here(bucket.address()).close()
    assert not bucket.proxy.failures
    assert bucket.hashes() == local


def test_a_store_without_conditional_puts_is_used_with_a_look_before(bucket, local) -> None:
    bucket.proxy.unconditional = True
    try:
        make_here(bucket.address()).close()
    finally:
        bucket.proxy.unconditional = False
    assert bucket.hashes() == local
