"""The description and keywords that several metadata files share."""

from __future__ import annotations

import shlex

from gpgen.description.publication import Publication
from gpgen.description.subject import TARGETS, Subject

__all__ = ["abstract", "keywords", "make_command", "own_paragraphs", "paragraphs"]


def paragraphs(publication: Publication, subject: Subject) -> list[str]:
    """Return the description, a paragraph each."""
    contents = [_contents(subject)] if subject.source is None else []
    return [*own_paragraphs(publication), subject.summary, subject.methods, *contents]


def own_paragraphs(publication: Publication) -> list[str]:
    """Return the paragraphs of publication.toml's own description."""
    return [part.strip() for part in publication.description.split("\n\n") if part.strip()]


def abstract(publication: Publication, subject: Subject) -> str:
    """Return the description as one text."""
    return "\n\n".join(paragraphs(publication, subject))


def keywords(publication: Publication, subject: Subject) -> list[str]:
    """Return the words to find it by, each once."""
    return list(dict.fromkeys([*publication.keywords, *subject.keywords]))


def make_command(subject: Subject) -> str:
    """Return the command that makes the dataset again from the deposit."""
    if subject.form == "archive":
        return "gpgen fetch deposit/ --out archive"
    return f"gpgen make --from deposit/ --out {shlex.quote(TARGETS[subject.form])}"


def _contents(subject: Subject) -> str:
    if subject.recipe_only:
        return (
            "This record holds no pixels: it holds the recipe, from which gpgen "
            f"{subject.gpgen_version} makes the dataset again, and the SHA-256 of every file of it."
        )
    return (
        f"Made with gpgen {subject.gpgen_version}. The recipe in this record makes the same bytes "
        "again."
    )
