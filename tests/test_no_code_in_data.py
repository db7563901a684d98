"""A dataset is data: nothing that reads one can run what it says."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gpgen", "backdrop", "cli", "benchmarks", "examples")
FORBIDDEN_MODULES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve",
                     "joblib", "runpy", "code", "imp"}  # fmt: skip
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}
UNSAFE_YAML = {"load", "load_all", "unsafe_load", "full_load", "unsafe_load_all", "full_load_all"}
EXTRACTING = {"extract", "extractall", "unpack_archive"}

# It runs the authors' program of 2018, which unpickles, on an archive that gpgen has just made.
_AUTHORS = "benchmarks/golkar2018_authors.py"
ALLOWED = {
    (_AUTHORS, "imports pickle"),
    (_AUTHORS, "calls samples.extractall: members are read as streams"),
    (_AUTHORS, "calls dataset.extractall: members are read as streams"),
}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "?")
    return ".".join(reversed(parts))


def keyword(call: ast.Call, name: str) -> object:
    for argument in call.keywords:
        if argument.arg == name:
            return argument.value.value if isinstance(argument.value, ast.Constant) else "?"
    return None


def complaints(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.partition(".")[0] in FORBIDDEN_MODULES:
                yield f"imports {name}"
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        last = name.rpartition(".")[2]
        if name in FORBIDDEN_CALLS or name.startswith("builtins."):
            yield f"calls {name}"
        if name.startswith("yaml.") and last in UNSAFE_YAML:
            yield f"calls {name}"
        if last in EXTRACTING:
            yield f"calls {name}: members are read as streams"
        if keyword(node, "allow_pickle") not in (None, False):
            yield f"calls {name} with allow_pickle"
        if keyword(node, "shell") not in (None, False):
            yield f"calls {name} with a shell"
        if name in ("torch.load", "load_torch") and keyword(node, "weights_only") is not True:
            yield f"calls {name} without weights_only=True"


def test_nothing_that_could_run_data_is_used() -> None:
    found = {
        (str(path.relative_to(ROOT)), what)
        for path in sources()
        for what in complaints(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "eval(text)",
        "exec(text)",
        "__import__(name)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "yaml.load(text, Loader=yaml.Loader)",
        "archive.extractall(folder)",
        "subprocess.run(text, shell=True)",
    ],
)
def test_the_search_finds_what_it_is_for(line: str) -> None:
    assert list(complaints(line))


@pytest.mark.parametrize(
    "line",
    ["import pickletools", "re.compile(text)", "np.load(path)", "yaml.safe_load(text)",
     "torch.load(path, weights_only=True)"],
)  # fmt: skip
def test_the_search_leaves_alone_what_is_safe(line: str) -> None:
    assert list(complaints(line)) == []
