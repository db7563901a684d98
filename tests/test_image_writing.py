from __future__ import annotations

import errno
from pathlib import Path

import pytest
from store_tools import OUTS, tiny_make

from gpgen.errors import TargetError
from gpgen.io import files


@pytest.mark.parametrize("out", OUTS)
def test_a_full_disk_is_told_not_what_it_leaves_behind(tmp_path: Path, monkeypatch, out) -> None:
    """The failed write's buffer could not be given back, and that error hid the true one."""
    real = files.write_at

    def write_at(descriptor, buffer, offset):
        if len(buffer) > 2000:
            view = memoryview(buffer)  # as the true one does
            assert view is not None
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor, buffer, offset)

    monkeypatch.setattr(files, "write_at", write_at)
    with pytest.raises(TargetError, match="no space left on device; free some space"):
        tiny_make(tmp_path / out)
