"""Paths that can't be: one line that says so, everywhere a path enters."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cli_support import Caller
from publish_help import publication
from store_tools import ENVIRONMENT, drawn, tiny, tiny_make

import gpgen
from backdrop.training import Settings, evaluate_checkpoint, run_all
from gpgen import Recipe, open_dataset, verify
from gpgen.description.publication import Publication
from gpgen.errors import UsageError
from gpgen.golkar2018 import import_dataset
from gpgen.golkar2018.archive import make_archive
from gpgen.golkar2018.archive_plan import ArchivePlan
from gpgen.io.local_path import LocalPath
from gpgen.io.object_path import ObjectPath
from gpgen.io.paths import AnyPath, place_of
from gpgen.io.recognizing import recognize
from gpgen.making.converting import convert
from gpgen.publish.describing import describe
from gpgen.publish.fetching import fetch
from gpgen.publish.packaging import package
from gpgen.publish.regenerating import regenerate
from gpgen.report.page import write_report
from gpgen.torch import TextureDataset

WRONG = {
    "": "the path is empty",
    "~nosuchuser/x.zarr": "home of nosuchuser, which this machine doesn't know",
    "a\0b.zarr": "holds a zero byte",
    "\ud800.zarr": "holds half a character",
    "x" * 300 + ".zarr": "is a name of 305 bytes, and 255 are the most",
    "folder/" * 1000 + "x.zarr": "is a path of 7006 bytes, and 4095 are the most",
    b"~nosuchuser/x.zarr": "home of nosuchuser",
    5: "5 is no path",
    None: "None is no path",
}


def entries(dataset: Path) -> dict:
    """Every function of the library to which a user gives a path."""
    plan = ArchivePlan(((2.0, 2),), (), size=64)
    return {
        "open": open_dataset,
        "verify": verify,
        "train": TextureDataset,
        "make": lambda path: tiny_make(path),
        "plan": lambda path: gpgen.plan(tiny(), 4, path),
        "recipe": Recipe.load,
        "convert from": lambda path: convert(path, "out.h5"),
        "convert to": lambda path: convert(dataset, path),
        "package": lambda path: package(path, publication(), "out"),
        "package to": lambda path: package(dataset, publication(), path),
        "publication": Publication.load,
        "report": lambda path: write_report(path, "out.html"),
        "report to": lambda path: write_report(dataset, path),
        "cite": describe,
        "import": lambda path: import_dataset(path, "out.zarr"),
        "archive": lambda path: make_archive(plan, path),
        "make from": lambda path: regenerate(path, "out.zarr"),
        "fetch": fetch,
        "evaluate": lambda path: evaluate_checkpoint(path, str(dataset)),
        "train to": lambda path: run_all(str(dataset), [Settings.tuned("none")], [0], path),
    }


@pytest.mark.parametrize("wrong", WRONG, ids=[repr(key)[:12] for key in WRONG])
def test_a_path_that_can_not_be_is_refused_wherever_it_is_given(
    made, tmp_path: Path, monkeypatch, wrong
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, act in entries(made["d.zarr"]).items():
        with pytest.raises(UsageError) as caught:
            act(wrong)
        assert WRONG[wrong] in caught.value.message, name
        assert caught.value.hint
        assert len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())


VERBS = [
    "info PATH", "verify PATH", "show PATH -o x.png", "convert PATH x.h5", "convert DATA PATH",
    "train PATH --out x", "evaluate PATH DATA", "import PATH --out x.zarr", "report PATH -o x.html",
    "report DATA -o PATH", "package PATH -p x.toml --out x", "package DATA -p PATH --out x",
    "fetch PATH", "cite PATH", "make --n 4 --out PATH", "make --n 4 --out x.zarr --recipe PATH",
    "make --from PATH --out x.zarr", "archive --out PATH", "publish PATH --sandbox",
    "show DATA -o PATH.png",
]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_at_the_prompt_it_is_no_bug_of_gpgens(
    made, tmp_path: Path, capfd, monkeypatch, verb
) -> None:
    monkeypatch.chdir(tmp_path)
    for wrong in ("", "~nosuchuser/x.zarr", "x" * 300):
        words = [
            w.replace("DATA", str(made["d.zarr"])).replace("PATH", wrong) for w in verb.split()
        ]
        result = Caller(capfd, tmp_path)(*words)
        assert result.status in (1, 2), (words, result)
        assert "bug" not in result.err
        assert len(result.err.splitlines()) == 1, result.err


def test_bytes_and_the_home_folder_are_paths(made, tmp_path: Path, monkeypatch, capfd) -> None:
    expected = drawn(tiny(), 13)
    path = os.fsencode(made["d.zarr"])
    with open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.image[3], expected[3])
    assert verify(path).ok
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    convert(path, b"~/copy.h5").close()
    package("~/copy.h5", publication(), "~/deposit")
    write_report("~/copy.h5", "~/page.html")
    fetch("~/deposit", "~/back.h5")
    call = Caller(capfd, tmp_path)
    assert call("show", "~/back.h5", "-o", "~/sheet.png").status == 0
    names = {"copy.h5", "deposit", "page.html", "back.h5", "sheet.png"}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_name_that_is_no_utf_8_is_read_and_shown(made, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")
    Path(path).symlink_to(made["d.zarr"])
    with open_dataset(path) as dataset:
        np.testing.assert_array_equal(dataset.image[3], drawn(tiny(), 13)[3])
    for words in (["info", path], ["verify", path], ["info", path + "x"]):
        done = subprocess.run(
            [sys.executable, "-m", "gpgen_cli", *words],
            env=ENVIRONMENT, capture_output=True, check=False,
        )  # fmt: skip
        assert b"bug" not in done.stderr + done.stdout
        assert done.returncode == (1 if words[1].endswith("x") else 0), done.stderr


def test_a_target_whose_working_folder_would_have_too_long_a_name_is_refused(tmp_path) -> None:
    name = "x" * 245 + ".zarr"
    with pytest.raises(gpgen.errors.TargetError, match="257 bytes, and 255 are the most there"):
        tiny_make(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_removed_under_ones_feet_is_named(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])\n"
    script += "from gpgen_cli.main import main; sys.exit(main(['info', 'd.zarr']))"
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "gone"],
        env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "'d.zarr' is relative to a folder that was removed" in done.stderr


def test_a_local_path_is_a_path_and_stays_one(tmp_path: Path) -> None:
    path = place_of(tmp_path / "a" / "b.zarr")
    assert path == tmp_path / "a" / "b.zarr"
    assert hash(path) == hash(tmp_path / "a" / "b.zarr")
    made = (
        path,
        path.with_name("c"),
        path / "c",
        path.parents[0],
        pickle.loads(pickle.dumps(path)),  # noqa: S301
    )
    assert {type(each) for each in made} == {LocalPath}


@pytest.mark.parametrize("kind", [LocalPath, ObjectPath])
def test_both_kinds_of_path_do_all_that_the_protocol_asks(kind: type) -> None:
    asked = {name for name in vars(AnyPath) if not name.startswith("_")}
    assert asked > {"opened", "size", "on_disk"}
    assert [name for name in asked if not hasattr(kind, name)] == []


def test_what_is_no_file_is_named_without_opening_it(tmp_path: Path) -> None:
    """To open a pipe would wait for a writer, and a socket can't be opened."""
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening, contextlib.chdir(tmp_path):
        listening.bind("socket")
        for name in ("pipe", "socket"):
            found = recognize(place_of(name))
            assert found is not None
            assert found.what == "a pipe, socket or device"
    assert recognize(place_of(tmp_path / "missing")) is None
