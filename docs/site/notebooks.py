"""Run the notebooks of ``examples`` anew and save them with small pictures.

``python docs/site/notebooks.py [NAME ...]``; by default all of them. Pictures are kept with at most
128 colours and 720 pixels across, so that a change of a notebook stays small in the history, and
paths without the folder that it ran in.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

__all__ = ["EXAMPLES", "run"]

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(path: Path) -> nbformat.NotebookNode:
    """Return a notebook with its outputs, run in an empty folder."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}
        )
        client.execute()
    text = nbformat.writes(notebook).replace(f"{folder}/", "")
    return nbformat.reads(text, as_version=4)


def _small(png: str) -> str:
    """Return a PNG, in base64, with fewer pixels and colours."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    picture.thumbnail((720, 720))
    file = io.BytesIO()
    picture.quantize(128).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def main(names: list[str]) -> None:
    """Run and save the notebooks of these names."""
    paths = [EXAMPLES / f"{name}.ipynb" for name in names] or sorted(EXAMPLES.glob("*.ipynb"))
    for path in paths:
        notebook = run(path)
        for cell in notebook.cells:
            cell.metadata = {}
            for output in cell.get("outputs", ()):
                if "image/png" in output.get("data", {}):
                    output.data = {"image/png": _small(output.data["image/png"])}
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1:])
