"""A dataset is data: nothing that reads one can run what it says.

Every name in the packages is traced to what it was imported as, and each use of one that can run
code, load code by name, start a program or unpack files must be in the list below with its reason.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("gpgen", "backdrop", "cli", "benchmarks", "examples")

MODULES = {
    # pickles, and what loads them
    "pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "copyreg",
    "numcodecs", "distributed", "pandas", "multiprocessing", "torch.multiprocessing",
    # running code
    "runpy", "code", "codeop", "imp", "zipimport", "pkgutil", "builtins", "timeit", "pdb",
    "doctest", "logging.config", "jinja2", "sympy", "numexpr", "ctypes", "cffi",
    # other programs
    "subprocess", "pty", "webbrowser", "_posixsubprocess",
}  # fmt: skip
NAMES = (
    "os.system", "os.popen", "os.exec*", "os.spawn*", "os.posix_spawn*", "os.startfile",
    "asyncio.create_subprocess_*", "importlib.*", "sys.modules", "sys.meta_path", "sys.path_hooks",
    "types.FunctionType", "types.LambdaType", "types.CodeType", "yaml.*", "torch.load",
    "torch.serialization.*", "torch.jit.*", "torch.hub.*", "torch.package.*", "torch.classes.*",
    "torch.ops.*", "torch.utils.cpp_extension.*", "torch.utils.model_zoo.*", "numpy.ctypeslib.*",
    "numpy.f2py.*", "shutil.unpack_archive", "operator.attrgetter", "operator.methodcaller",
)  # fmt: skip
HARMLESS = {"yaml.safe_load", "yaml.safe_dump", "importlib.metadata", "importlib.metadata.version",
            "importlib.metadata.PackageNotFoundError", "importlib.util"}  # fmt: skip
BUILTINS = {"eval", "exec", "compile", "__import__", "__builtins__", "__loader__", "globals",
            "locals", "vars", "breakpoint"}  # fmt: skip
# Of whatever object: it can't be known what it is.
ATTRIBUTES = {"extract", "extractall", "unpack_archive", "subprocess_exec", "subprocess_shell",
              "load_extension", "enable_load_extension", "load_library", "exec_module",
              "load_module", "read_pickle", "to_pickle", "__subclasses__", "__globals__",
              "__builtins__", "__code__", "__loader__"}  # fmt: skip
LOADERS = {"numpy.load": 2, "numpy.lib.format.read_array": 1, "numpy.lib.npyio.NpzFile": 1}
"""What unpickles when asked to, and how many arguments come before the one that asks."""

_LOADING = "importlib.import_module"

_TABLE = "a module of gpgen's own, by a table that stands in the file"
_KEPT = "keeps there what was loaded by that table"
_OWN = "for names that stand in the file"
_KERNELS = "loads a kernel of a package that is installed here; data can only name it"
_PROCESSES = "passes one's own objects between one's own processes"
_STARTS = "starts a program that the file names, without a shell"
_LOOKS = "whether a package is installed, by a name that stands in the file"
# They run the authors' programs of 2018, one of which unpickles an archive that gpgen just made.
_AUTHORS = "runs the authors' code of 2018 on data that gpgen has just made"
ALLOWED = {
    ("backdrop/training/campaign.py", "imports multiprocessing"): _PROCESSES,
    ("backdrop/training/settings.py", "getattr(self, name)"): _OWN,
    ("backdrop/training/state.py", "imports pickle"): "names the error of torch's safe loading",
    ("backdrop/windows.py", "getattr(functional, f'adaptive_max_pool{ndim}d')"): _OWN,
    ("benchmarks/backdrop_layer.py", ".exec_module"): _AUTHORS,
    ("benchmarks/backdrop_layer.py", "importlib.util.module_from_spec"): _AUTHORS,
    ("benchmarks/backdrop_layer.py", "importlib.util.spec_from_file_location"): _AUTHORS,
    ("benchmarks/backdrop_by_cost.py", "imports multiprocessing"): _PROCESSES,
    ("benchmarks/backdrop_sparse.py", "imports multiprocessing"): _PROCESSES,
    ("benchmarks/codecs.py", "imports numcodecs"): "measures Blosc",
    ("benchmarks/peers.py", "getattr(numpy_fft, name)"): _OWN,
    ("benchmarks/peers.py", "getattr(scipy_fft, name)"): _OWN,
    ("benchmarks/peers.py", "imports subprocess"): _STARTS,
    ("benchmarks/codecs.py", "imports numcodecs.blosc"): "measures Blosc",
    ("benchmarks/fuzz.py", "importlib.util.find_spec"): _LOOKS,
    ("benchmarks/fuzz.py", "imports subprocess"): _STARTS,
    ("benchmarks/fuzzing/reading.py", "getattr(dataset, name)"): _OWN,
    ("benchmarks/golkar2018_authors.py", ".extractall"): _AUTHORS,
    ("benchmarks/golkar2018_authors.py", "imports pickle"): _AUTHORS,
    ("benchmarks/golkar2018_authors.py", "vars"): "gives NumPy back the name that they used",
    ("benchmarks/load.py", "imports subprocess"): _STARTS,
    ("benchmarks/loaders.py", "loads contender.package"): "of a list that stands in the file",
    ("benchmarks/make.py", "imports subprocess"): _STARTS,
    ("benchmarks/packages.py", "importlib.util.find_spec"): _LOOKS,
    ("benchmarks/scaling.py", "imports subprocess"): _STARTS,
    ("benchmarks/serve.py", "imports multiprocessing"): _PROCESSES,
    ("benchmarks/serve.py", "imports subprocess"): _STARTS,
    ("benchmarks/soak.py", "imports subprocess"): _STARTS,
    ("benchmarks/soak.py", "vars"): "of the parsed command line",
    ("cli/gpgen_cli/_errors.py", "getattr(sys, name)"): _OWN,
    ("cli/gpgen_cli/explore.py", "imports webbrowser"): "opens the page that it serves itself",
    ("backdrop/name_clash.py", "sys.modules"): "looks at its own package's docstring",
    ("cli/gpgen_cli/_errors.py", "sys.modules"): "looks for gpgen.errors",
    ("cli/gpgen_cli/main.py", "loads module"): _TABLE,
    ("gpgen/__init__.py", "getattr(importlib.import_module(f'gpgen.{_HOME[name]}'), name)"): _TABLE,
    ("gpgen/__init__.py", "globals"): _KEPT,
    ("gpgen/__init__.py", "loads f'gpgen.{_HOME[name]}'"): _TABLE,
    ("gpgen/exact/field_types.py", "getattr(struct, name)"): _OWN,
    ("gpgen/exact/offered_kernels.py", "importlib.metadata.EntryPoint"): _KERNELS,
    ("gpgen/exact/offered_kernels.py", "importlib.metadata.entry_points"): _KERNELS,
    ("gpgen/exact/texture.py", "getattr(self, name)"): _OWN,
    ("gpgen/making/cluster.py", "imports distributed"): "tasks and results of one's own cluster",
    ("gpgen/making/worker_processes.py", "imports distributed"): _PROCESSES,
    ("gpgen/making/worker_processes.py", "imports multiprocessing"): _PROCESSES,
    ("gpgen/making/worker_processes.py", "imports subprocess"): "runs this Python itself",
    ("gpgen/description/publication.py", "getattr(self, name)"): _OWN,
    ("gpgen/dataset/arrays.py", "getattr(ufunc, method)"): "NumPy calls it, with a name of its own",
    ("gpgen/golkar2018/__init__.py", "getattr(importlib.import_module(_HOME[name]), name)"): _TABLE,
    ("gpgen/golkar2018/__init__.py", "globals"): _KEPT,
    ("gpgen/golkar2018/__init__.py", "loads _HOME[name]"): _TABLE,
    ("gpgen/golkar2018/gp_unpickler.py", "imports pickle"): "takes away what could run data",
    ("gpgen/publish/__init__.py", "getattr(importlib.import_module(_HOME[name]), name)"): _TABLE,
    ("gpgen/publish/__init__.py", "globals"): _KEPT,
    ("gpgen/publish/__init__.py", "loads _HOME[name]"): _TABLE,
    ("gpgen/labelled_images.py", "getattr(self, name)"): "for its own fields",
    ("gpgen/report/templates.py", "imports jinja2"): "fills in templates that lie beside the file",
    ("gpgen/publish/card.py", "imports jinja2"): "fills in a template that lies beside the file",
    ("gpgen/io/files.py", "imports ctypes"): "calls libc's sync_file_range",
    ("gpgen/virtual_store/drawing_processes.py", "imports multiprocessing.connection"): _PROCESSES,
    ("gpgen/virtual_store/drawing_processes.py", "imports subprocess"): "runs this Python itself",
    ("gpgen/torch/datasets.py", "vars"): "looks whether a subclass has a method of its own",
    ("gpgen/torch/iterations.py", "imports multiprocessing.context"): _PROCESSES,
    ("gpgen/torch/iterations.py", "imports multiprocessing.reduction"): _PROCESSES,
    ("gpgen/torch/shared_memory.py", "imports multiprocessing.reduction"): _PROCESSES,
    ("gpgen/torch/shared_memory.py", "imports torch.multiprocessing.reductions"): _PROCESSES,
    ("gpgen/observer/limits.py", "getattr(what, field.name)"): "fields of a struct of ours",
    ("gpgen/torch/ranks.py", "sys.modules"): "asks accelerate, if somebody else imported it",
}  # fmt: skip


def complaints(source: str) -> Iterator[str]:
    """Say what a module uses that could run what it reads."""
    tree = ast.parse(source)
    names = imported(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    safe = {id(call.func) for call in calls if is_safe(call, names)}
    for call in calls:
        yield from call_complaints(call, names)
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                for alias in node.names:
                    yield from module_complaints(alias.name)
            case ast.ImportFrom(module=str(module), level=0):
                yield from module_complaints(module)
                for alias in node.names:
                    yield from name_complaints(f"{module}.{alias.name}")
            case ast.Name(id=name, ctx=ast.Load()) if id(node) not in safe:
                if name in BUILTINS:
                    yield name
            case ast.Attribute(attr=attribute) if id(node) not in safe:
                if attribute in ATTRIBUTES:
                    yield f".{attribute}"
                yield from name_complaints(dotted(node, names))


def imported(tree: ast.Module) -> dict[str, str]:
    """Return what each name stands for that was imported, or assigned from what was."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.partition(".")[0]
                names[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    before = -1
    while before < len(names):
        before = len(names)
        for node in ast.walk(tree):
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=value) if name not in names:
                    if whole := dotted(value, names):
                        names[name] = whole
    return names


def dotted(node: ast.expr, names: dict[str, str]) -> str:
    """Return the full name of what begins with something imported, else nothing."""
    match node:
        case ast.Name(id=name):
            return names.get(name, "")
        case ast.Attribute(value=value, attr=attribute):
            pass
        case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=attribute), *_]):
            pass
        case _:
            return ""
    whole = dotted(value, names)
    return f"{whole}.{attribute}" if whole else ""


def is_safe(call: ast.Call, names: dict[str, str]) -> bool:
    """Return whether a call asks for weights only, or is looked at by its argument instead."""
    match dotted(call.func, names), call:
        case "torch.load", ast.Call(keywords=keywords):
            return any(k.arg == "weights_only" and is_just(k.value, True) for k in keywords)
        case "importlib.import_module", _:
            return True
    return False


def is_just(node: ast.expr, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def module_complaints(module: str) -> Iterator[str]:
    parts = module.split(".")
    if any(".".join(parts[:k]) in MODULES for k in range(1, len(parts) + 1)):
        yield f"imports {module}"


def name_complaints(name: str) -> Iterator[str]:
    if name in MODULES:
        yield f"imports {name}"
    elif name.endswith(".*"):
        yield f"imports all of {name.removesuffix('.*')}"
    elif name not in HARMLESS and any(fnmatch.fnmatchcase(name, pattern) for pattern in NAMES):
        yield name


def call_complaints(call: ast.Call, names: dict[str, str]) -> Iterator[str]:
    name = dotted(call.func, names)
    given = {argument.arg: argument.value for argument in call.keywords}
    match call:
        case ast.Call(func=ast.Name(id="getattr"), args=[_, ast.Constant(value=attribute), *_]):
            yield from name_complaints(dotted(call, names))
            if attribute in ATTRIBUTES:
                yield f".{attribute}"
        case ast.Call(func=ast.Name(id="getattr")):
            yield ast.unparse(call)
        case ast.Call(args=[ast.Constant(value=str(module)), *_]) if name == _LOADING:
            yield from module_complaints(module)
        case ast.Call(args=[module, *_]) if name == _LOADING:
            yield f"loads {ast.unparse(module)}"
    for option in ("allow_pickle", "shell"):
        if option in given and not is_just(given[option], False):
            yield f"{name} with {option}"
    if name in LOADERS and (len(call.args) > LOADERS[name] or None in given):
        yield f"{name} with what can't be seen here"


def test_nothing_that_could_run_data_is_used_but_what_is_listed_with_its_reason() -> None:
    found = {
        (str(path.relative_to(ROOT)), what)
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        for what in complaints(path.read_text(encoding="utf-8"))
    }
    assert found == ALLOWED.keys()


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "eval(text)",
        "f = eval; f(text)",
        "exec(text)",
        "__import__(name)",
        "__builtins__['eval'](text)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "import numpy as np; np.load(path, None, True)",
        "import numpy as np; np.load(path, **options)",
        "from numpy import load as read; read(path, None, True)",
        "import torch; torch.load(path)",
        "import torch; torch.load(path, weights_only=False)",
        "from torch import load; load(path)",
        "import torch as t; read = t.load; read(path)",
        "from torch import hub; hub.load(name, model)",
        "import yaml; yaml.load(text, Loader=yaml.Loader)",
        "from yaml import load; load(text)",
        "from os import *",
        "import numcodecs; numcodecs.Pickle()",
        "from numcodecs.pickles import Pickle",
        "archive.extractall(folder)",
        "getattr(archive, 'extractall')(folder)",
        "import shutil; shutil.unpack_archive(path)",
        "import subprocess; subprocess.run(text, shell=True)",
        "from subprocess import run",
        "run(text, shell=flag)",
        "import os; os.system(text)",
        "import os as o; o.popen(text)",
        "from os import execvp; execvp(name, arguments)",
        "import os; f = os.posix_spawn",
        "import os; getattr(os, 'system')(text)",
        "import os; getattr(os, name)(text)",
        "def f():\n    from os import system as g\n    g(text)",
        "import importlib; importlib.import_module(name)",
        "from importlib import import_module as f; f(name)",
        "import importlib; importlib.import_module('pickle')",
        "import importlib; f = importlib.import_module",
        "import sys; sys.modules[name].f(text)",
        "import types; types.FunctionType(code, {})",
        "().__class__.__base__.__subclasses__()",
    ],
)
def test_the_search_finds_what_it_is_for(source: str) -> None:
    assert list(complaints(source))


@pytest.mark.parametrize(
    "source",
    [
        "import pickletools",
        "import re; re.compile(text)",
        "import numpy as np; np.load(path)",
        "import numpy as np; np.load(path, allow_pickle=False)",
        "import yaml; yaml.safe_load(text)",
        "from yaml import safe_load; safe_load(text)",
        "import torch; torch.load(path, weights_only=True)",
        "import importlib; importlib.import_module('gpgen.dataset')",
        "model.eval()",
        "getattr(error, 'reason', None)",
        "import os; os.fsync(descriptor)",
    ],
)
def test_the_search_leaves_alone_what_is_safe(source: str) -> None:
    assert list(complaints(source)) == []
