"""The other package called backdrop, beside ours or over it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def imported(folder: Path, statement: str) -> subprocess.CompletedProcess[str]:
    """Run a statement where what was installed into `folder` comes first."""
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); {statement}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder into which gpgen's backdrop was installed, and the other's metadata."""
    shutil.copytree(ROOT / "backdrop", tmp_path / "backdrop")
    metadata = tmp_path / "backdrop-0.0.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: backdrop\nVersion: 0.0.3\n")
    return tmp_path


@pytest.mark.slow
def test_both_installed_is_a_warning(installed: Path) -> None:
    result = imported(installed, "import backdrop; print(backdrop.Backdrop(0.5))")
    assert result.returncode == 0
    assert "Backdrop(p=0.5" in result.stdout
    assert "the package backdrop 0.0.3, a configuration system, is installed, too" in result.stderr


@pytest.mark.slow
def test_ours_overwritten_is_an_error_that_says_how_to_mend_it(installed: Path) -> None:
    (installed / "backdrop" / "__init__.py").write_text("class Backdrop(dict): pass\n")
    result = imported(installed, "import backdrop.training")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "backdrop 0.0.3, a configuration system, has replaced gpgen's" in last
    assert "pip uninstall backdrop" in last
