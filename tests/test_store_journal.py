from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_tools import tiny

from gpgen.format.job import Job, ShardRecord
from gpgen.making.planning import plan_job
from gpgen.workspace.journal import Journal, count_finished

N, SIZE = 10, 4


@pytest.fixture
def job(tmp_path: Path) -> Job:
    job = plan_job(tiny(), N, tmp_path / "d.zarr", shard_size=SIZE)
    job.working.mkdir()
    return job


def record(shard: int) -> ShardRecord:
    samples = min(SIZE, N - shard * SIZE)
    crcs = np.arange(shard * SIZE, shard * SIZE + samples, dtype="<u4")
    return ShardRecord(shard, bytes([shard]) * 32, 100 + shard, crcs.tobytes())


def test_what_was_added_is_there_when_opened_again(job: Job) -> None:
    journal = Journal(job)
    journal.add([record(2), record(0)])
    journal.close()
    journal = Journal(job)
    assert journal.finished == 2
    assert [journal.is_finished(k) for k in range(3)] == [True, False, True]
    assert journal.record(0) == record(0)
    journal.add([record(1)])
    assert journal.crc32c(3, 9).tolist() == [3, 4, 5, 6, 7, 8]
    assert journal.crc32c(0, N).tolist() == list(range(N))
    assert journal.sha256(1, 3).tolist() == [[1] * 32, [2] * 32]
    journal.close()


def test_a_journal_torn_at_any_byte_keeps_the_whole_lines_before(job: Job) -> None:
    journal = Journal(job)
    ends = []
    path = job.working / "journal.jsonl"
    for shard in range(3):
        journal.add([record(shard)])
        ends.append(path.stat().st_size)
    journal.close()
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        for tail in (b"", b"\0" * 7):
            path.write_bytes(whole[:cut] + tail)
            complete = sum(end <= cut for end in ends)
            assert count_finished(path.read_bytes().splitlines(True), job.layout) == complete
            journal = Journal(job)
            assert journal.finished == complete
            journal.add([record(0), record(2)])
            journal.close()
            journal = Journal(job)
            assert journal.is_finished(0)
            assert journal.record(2) == record(2)
            journal.close()


@given(
    line=st.binary(max_size=80)
    | st.text(max_size=80).map(str.encode)
    | st.sampled_from(
        [
            b'{"shard": 3, "sha256": "' + b"00" * 32 + b'", "nbytes": 1, "crc32c": ""}',
            b'{"shard": true, "sha256": "' + b"00" * 32 + b'", "nbytes": 1, "crc32c": "AAAA"}',
            b'{"shard": -1, "sha256": "", "nbytes": 1, "crc32c": ""}',
            b"[" * 5000,
            b"null",
        ]
    )
)
def test_a_line_that_is_not_of_this_dataset_is_not_believed(tmp_path_factory, line) -> None:
    folder = tmp_path_factory.mktemp("j")
    job = plan_job(tiny(), N, folder / "d.zarr", shard_size=SIZE)
    job.working.mkdir()
    (job.working / "journal.jsonl").write_bytes(line + b"\n")
    journal = Journal(job)
    assert journal.finished == 0
    journal.close()


def test_a_million_shards_cost_nine_bytes_each(tmp_path: Path) -> None:
    job = plan_job(tiny(), 10**6, tmp_path / "d.zarr", shard_size=1)
    job.working.mkdir()
    journal = Journal(job)
    assert len(journal._done) + journal._positions.itemsize * len(journal._positions) == 9 * 10**6
    journal.close()
    assert [path.name for path in job.working.iterdir()] == ["journal.jsonl"]


def test_a_flipped_bit_anywhere_in_a_line_is_noticed(job: Job) -> None:
    """A wrong checksum, once believed, became part of the finished dataset."""
    journal = Journal(job)
    journal.add([record(0)])
    journal.close()
    path = job.working / "journal.jsonl"
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert count_finished(path.read_bytes().splitlines(True), job.layout) == 0, bit
