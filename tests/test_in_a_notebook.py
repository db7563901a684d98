"""What a notebook's reader sees, in a real kernel."""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

CELLS = """
import gpgen
recipe = {"name": "small", "shape": [64, 64],
          "components": [{"kernel": "rbf", "length_scales": [2.0, 6.0], "weight": 1.0}]}
dataset = gpgen.make(recipe, 300, "d.zarr", shard_size=10, progress=True)
###
gpgen.verify("d.zarr", regenerate=20, progress=True).raise_for_problems()
###
dataset
###
dataset.split("test")
###
gpgen.plots.contact_sheet(dataset)
###
import sys
assert "matplotlib.pyplot" not in sys.modules
try:
    gpgen.make(recipe, 300, "e.zarr", progress=lambda progress: 1 / (2 - progress.done // 100))
except ZeroDivisionError:
    pass
with gpgen.progress.following(True) as tell:
    tell(gpgen.Progress(1, 3, "image", "<b>"))
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> list[Any]:
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS.split("###")]
    )
    kernels = folder / "kernels" / "here"
    kernels.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel = {"display_name": "here", "language": "python", "argv": argv}
    (kernels / "kernel.json").write_text(json.dumps(kernel))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("PYTHONPATH", ":".join(filter(None, sys.path)))
        client = nbclient.NotebookClient(
            notebook,
            timeout=300,
            kernel_name="here",
            resources={"metadata": {"path": str(folder)}},
        )
        client.execute()
    assert (folder / "d.zarr").is_dir()
    return list(notebook.cells)


def _data(cell: Any, kind: str) -> list[str]:
    return [output["data"][kind] for output in cell.outputs if kind in output.get("data", {})]


def test_making_draws_one_bar_that_ends_full(cells) -> None:
    (bar,) = _data(cells[0], "text/html")
    assert '<progress value="300" max="300"' in bar
    assert "300 of 300 samples" in bar
    assert not [o for o in cells[0].outputs if o.output_type in ("stream", "error")]


def test_verifying_draws_one_bar(cells) -> None:
    (bar,) = _data(cells[1], "text/html")
    assert "20 of 20 samples" in bar


@pytest.mark.parametrize("cell", [2, 3], ids=["dataset", "view"])
def test_a_dataset_shows_thumbnails(cells, cell) -> None:
    (shown,) = _data(cells[cell], "text/html")
    assert shown.count("data:image/png;base64,") == 6
    assert "samples 64 x 64" in shown


def test_a_figure_is_shown(cells) -> None:
    (png,) = _data(cells[4], "image/png")
    assert base64.b64decode(png).startswith(b"\x89PNG\r\n\x1a\n")


def test_a_note_is_shown_as_text(cells) -> None:
    (bar,) = _data(cells[5], "text/html")
    assert "1 of 3 images; &lt;b&gt;" in bar
