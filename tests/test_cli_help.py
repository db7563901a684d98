"""Help, start-up, completion: what the command line says of itself."""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys

import click
import pytest
from cli_support import SMALL, Caller, run
from gpgen_cli.main import VERBS

from gpgen import Recipe, __version__


@pytest.fixture
def gpgen(capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.toml").write_text(SMALL)
    return Caller(capfd, tmp_path)


# Their examples make 2 GB or need a network: test_archive_cli.py tries them at a smaller size.
# Theirs need an archive, a deposit, a service or minutes; they are tested with what they are of.
ELSEWHERE = {
    *("completion", "archive", "import", "download", "train", "evaluate"),
    *("report", "package", "publish", "fetch", "cite", "serve", "explore"),
}


def examples(verb):
    command = importlib.import_module(VERBS[verb]).command
    lines = (command.epilog or "").splitlines()
    found = [line.strip() for line in lines if line.startswith("  gpgen ")]
    assert found
    return found


def test_help_names_every_verb_in_a_process_of_its_own(tmp_path):
    result = run("--help", cwd=tmp_path)
    assert result.status == 0
    assert result.err == ""
    for verb in VERBS:
        assert re.search(rf"^  {verb} +[A-Z]", result.out, re.MULTILINE)


def test_help_takes_less_than_three_tenths_of_a_second_of_cpu_and_imports_only_click(tmp_path):
    # Modules and time as the process itself sees them when help has been printed.
    script = (
        "import sys, time, json\n"
        "from gpgen_cli.main import main\n"
        "status = main(['--help'])\n"
        "print(json.dumps([status, time.process_time(), sorted(sys.modules)]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    status, seconds, modules = json.loads(done.stderr)
    assert status == 0
    assert seconds < 0.3
    heavy = {"numpy", "scipy", "rich", "zarr", "h5py", "dask", "distributed", "msgspec", "torch"}
    assert not heavy & set(modules)
    # Packages of ours, but for the version and how numbers are written, come with the verb.
    light = {"gpgen._version", "gpgen.formatting"}
    assert not {name for name in modules if name.startswith("gpgen.")} - light


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_ends_with_examples(gpgen, verb):
    result = gpgen(verb, "--help")
    assert result.status == 0
    tail = result.out.rstrip().splitlines()[-len(examples(verb)) - 1 :]
    assert tail[0].strip() == "Examples:"
    assert [line.strip() for line in tail[1:]] == examples(verb)
    assert len(examples(verb)) >= 2


# What `difficulty --target` looks for takes minutes.
SLOW = {
    "difficulty": (pytest.mark.slow, pytest.mark.long),
    "make": pytest.mark.slow,
    "show": pytest.mark.slow,
}


@pytest.mark.parametrize(
    "verb",
    [pytest.param(verb, marks=SLOW.get(verb, ())) for verb in VERBS if verb not in ELSEWHERE],
)
def test_examples_in_the_help_work(gpgen, verb):
    if verb != "make":
        assert gpgen.make("--shard-size", "4", out="data.zarr").status == 0
        assert gpgen.make("--shard-size", "4", out="data-{shard:05d}.h5").status == 0
    for example in examples(verb):
        # A shell would take what follows `>`. No cluster answers here.
        arguments = shlex.split(example.partition(" > ")[0])[1:]
        if "--from" in arguments:
            continue
        if verb == "convert" and "--n" in arguments:
            arguments[arguments.index("--n") + 1] = "5"
        if verb == "make":
            n = {"--extend": "12", "--reuse": "16"}.get(arguments[5] if arguments[5:] else "", "8")
            arguments[arguments.index("--n") + 1] = n
            arguments += ["--size", "64"] if "--size" not in arguments else []
            arguments += ["--dry-run"] if "--scheduler" in arguments else []
        result = gpgen(*arguments)
        assert (result.status, result.err) == (0, ""), example
        if " > my.toml" in example:
            assert Recipe.from_toml(result.out) == Recipe.load("two-scale-mini")


@pytest.mark.parametrize(
    ("shell", "definition"),
    [("bash", "_gpgen_completion"), ("zsh", "#compdef gpgen"), ("fish", "complete --no-files")],
)
def test_completion_prints_a_script_for_the_shell(gpgen, shell, definition):
    result = gpgen("completion", shell)
    assert result.status == 0
    assert definition in result.out


def test_a_shell_completes_verbs_options_and_recipes(tmp_path):
    def complete(*words):
        environment = {
            "_GPGEN_COMPLETE": "bash_complete",
            "COMP_WORDS": shlex.join(["gpgen", *words]),
            "COMP_CWORD": str(len(words)),
        }
        done = subprocess.run(
            [sys.executable, "-m", "gpgen_cli"],
            cwd=tmp_path,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        return [line.partition(",")[2] for line in done.stdout.splitlines()]

    assert complete("ver") == ["verify"]
    assert "--shard-size" in complete("make", "--sh")
    assert "two-scale-mini" in complete("recipes", "show", "two-scale-")


def test_version_is_the_packages(gpgen):
    assert gpgen("--version").out == f"gpgen {__version__}\n"


def test_every_verb_has_json_quiet_and_debug():
    for verb in set(VERBS) - {"completion"}:
        command = importlib.import_module(VERBS[verb]).command
        commands = [command]
        if isinstance(command, click.Group):
            commands += command.commands.values()
        for each in commands:
            options = {option for parameter in each.params for option in parameter.opts}
            assert {"--json", "--quiet", "--debug"} <= options, each.name
