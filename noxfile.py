"""What developers do: ``pip install nox``, then ``nox -l`` lists it and ``nox -s test`` does it."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "test"]
nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session) -> None:
    """Install what CI installs."""
    session.install("-e", ".[test]", "-c", "tests/constraints.txt")


@nox.session
def test(session: nox.Session) -> None:
    """What one runs after each change; arguments go to pytest: ``nox -s test -- -k axis``."""
    install(session)
    session.run("pytest", *session.posargs)


@nox.session
def marked(session: nox.Session) -> None:
    """The tests that `test` leaves out: kills, clusters, hostile input, training."""
    install(session)
    session.run("pytest", "-m", "kill or cluster or fuzz or s3 or train or slow", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Layers, style and types."""
    install(session)
    session.run(".ci/lint", external=True)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the sdist twice and compare their bytes."""
    session.install("build")
    session.run(".ci/reproducible", "python", external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into build/site; every warning is an error."""
    install(session)
    session.run("sphinx-build", "-W", "--keep-going", "-c", "docs/site", "docs", "build/site")


@nox.session
def links(session: nox.Session) -> None:
    """Ask every host that the site links to; needs a network, so CI doesn't run it."""
    install(session)
    session.run("sphinx-build", "-b", "linkcheck", "-c", "docs/site", "docs", "build/links")


@nox.session
def notebooks(session: nox.Session) -> None:
    """Run the notebooks anew and keep their outputs."""
    install(session)
    session.run("python", "docs/site/notebooks.py", *session.posargs)
