"""Making, stopping, resuming, damaging, converting and deleting in any order.

What must hold, whatever came before: a dataset that opens is whole, or `verify` names what is
damaged; no wrong pixel is read; whatever was begun can be finished, to the same bytes as if
nothing had happened; and a refusal changes nothing. --long tries 400 orders instead of 12.
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import tempfile
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from store_tools import hashes

from benchmarks.fuzzing.material import OUTS, N, Stopped, make_here, pixels
from benchmarks.fuzzing.stores import files_of
from gpgen.dataset import open_dataset
from gpgen.errors import DatasetError, GpgenError, TargetError
from gpgen.format.layout import Target
from gpgen.io import files
from gpgen.making.converting import convert
from gpgen.verification import verify

pytestmark = pytest.mark.fuzz

MEMORY = Path("/dev/shm")
OUT = st.sampled_from(OUTS)
STOP = st.none() | st.integers(1, 60)


@contextlib.contextmanager
def stopping_at(step: int | None):
    """Raise `Stopped` before one of the effects on the disk, as Ctrl-C or an error would."""
    seen = 0

    def hook(action: str, path: str) -> None:
        nonlocal seen
        seen += 1
        if seen == step:
            raise Stopped

    files.watch(hook)
    try:
        yield
    finally:
        files.watch(None)


@functools.cache
def reference(out: str) -> dict[str, str]:
    """The hashes of a dataset that was made without interruption."""
    with tempfile.TemporaryDirectory() as folder:
        make_here(Path(folder) / out).close()
        return hashes(Path(folder))


class Datasets(RuleBasedStateMachine):
    """One folder a target, so that what is in it is the target's alone."""

    def __init__(self) -> None:
        super().__init__()
        place = MEMORY if MEMORY.is_dir() else None
        self.root = Path(tempfile.mkdtemp(prefix="gpgen-states-", dir=place))
        self.damaged: dict[str, str] = {}
        for k in range(len(OUTS)):
            (self.root / str(k)).mkdir()

    def teardown(self) -> None:
        shutil.rmtree(self.root)

    def folder(self, out: str) -> Path:
        return self.root / str(OUTS.index(out))

    def path(self, out: str) -> Path:
        return self.folder(out) / out

    def is_there(self, out: str) -> bool:
        manifest = Target.parse(self.path(out)).manifest
        return (manifest / "zarr.json").exists() if out == "d.zarr" else manifest.exists()

    def is_begun(self, out: str) -> bool:
        return any(self.folder(out).glob("*.making/job.json"))

    def is_whole(self, out: str) -> bool:
        found = {n: h for n, h in hashes(self.folder(out)).items() if ".making/" not in n}
        return found == reference(out)

    @rule(out=OUT, stop=STOP, resume=st.booleans(), overwrite=st.booleans())
    def make(self, out: str, stop: int | None, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            return
        there, begun, before = self.is_there(out), self.is_begun(out), hashes(self.folder(out))
        try:
            with stopping_at(stop):
                make_here(self.path(out), resume=resume, overwrite=overwrite).close()
        except Stopped:
            pass
        except TargetError:
            # Refused: for what is there, or is there beside what was begun, or is damaged beyond
            # being taken for a dataset. Nothing was touched.
            assert there or begun
            assert not (begun and resume and not there)
            assert hashes(self.folder(out)) == before
            return
        # Stopped before it came to replace anything, the old dataset is as damaged as it was.
        if not self.is_there(out) or self.is_whole(out):
            self.damaged.pop(out, None)
        if stop is None and out not in self.damaged:
            assert self.is_whole(out)
            assert not self.is_begun(out)

    @rule(source=OUT, out=OUT, stop=STOP, resume=st.booleans())
    def convert(self, source: str, out: str, stop: int | None, resume: bool) -> None:
        if source == out:
            return
        there, begun, before = self.is_there(out), self.is_begun(out), hashes(self.folder(out))
        sizes = {"shard_size": 2}
        try:
            with stopping_at(stop):
                convert(self.path(source), self.path(out), resume=resume, **sizes).close()
        except Stopped:
            return
        except TargetError:
            assert there or begun
            assert hashes(self.folder(out)) == before
        except DatasetError:
            assert source in self.damaged or not self.is_there(source)
        else:
            assert out in self.damaged or self.is_whole(out)

    @rule(out=OUT, where=st.integers(0, 10**9), file=st.integers(0, 99))
    def damage(self, out: str, where: int, file: int) -> None:
        if not self.is_there(out) or out in self.damaged or self.is_begun(out):
            return
        known = files_of(self.path(out))
        name = sorted(known)[file % len(known)]
        raw = bytearray(known[name].read_bytes())
        raw[where % len(raw)] ^= 1 << where % 8
        known[name].write_bytes(raw)
        self.damaged[out] = name

    @rule(out=OUT, where=st.integers(0, 10**9))
    def damage_the_journal(self, out: str, where: int) -> None:
        for path in self.folder(out).glob("*.making/journal.jsonl"):
            raw = bytearray(path.read_bytes())
            if raw and not self.is_there(out):
                raw[where % len(raw)] ^= 1 << where % 8
                path.write_bytes(raw)

    @rule(out=OUT)
    def delete(self, out: str) -> None:
        shutil.rmtree(self.folder(out))
        self.folder(out).mkdir()
        self.damaged.pop(out, None)

    @precondition(lambda self: any(map(self.is_begun, OUTS)))
    @rule()
    def finish_what_was_begun(self) -> None:
        for out in OUTS:
            if self.is_begun(out) and out not in self.damaged:
                make_here(self.path(out), resume=True).close()
                assert self.is_whole(out)

    @invariant()
    def what_can_be_opened_is_right(self) -> None:
        for out in OUTS:
            if not self.is_there(out):
                try:
                    open_dataset(self.path(out)).close()
                except GpgenError:
                    continue
                raise AssertionError("opened, and not there")
            report = verify(self.path(out))
            assert report.ok == (out not in self.damaged)
            if out in self.damaged:
                assert self.damaged[out] in {problem.file for problem in report.problems}
            try:
                with open_dataset(self.path(out)) as dataset:
                    for index in range(N):
                        with contextlib.suppress(DatasetError):
                            assert dataset.image[index].tobytes() == pixels()[index].tobytes()
            except DatasetError:
                assert out in self.damaged


SETTINGS = hypothesis.settings(
    max_examples=12, stateful_step_count=15, deadline=None, derandomize=True, database=None,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip


class TestAnyOrder(Datasets.TestCase):
    settings = SETTINGS


@pytest.mark.long
class TestManyOrders(Datasets.TestCase):
    settings = hypothesis.settings(
        SETTINGS, max_examples=400, stateful_step_count=25, derandomize=False
    )
