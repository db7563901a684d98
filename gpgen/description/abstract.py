"""The description and keywords that several metadata files share."""

from __future__ import annotations

import shlex

from gpgen.description.dataset_description import TARGETS, DatasetDescription
from gpgen.description.publication import Publication

__all__ = ["abstract", "keywords", "make_command", "own_paragraphs", "paragraphs"]


def paragraphs(publication: Publication, description: DatasetDescription) -> list[str]:
    """Return the description, a paragraph each."""
    contents = [_contents(description)] if description.source is None else []
    return [*own_paragraphs(publication), description.summary, description.methods, *contents]


def own_paragraphs(publication: Publication) -> list[str]:
    """Return the paragraphs of publication.toml's own description."""
    return [part.strip() for part in publication.description.split("\n\n") if part.strip()]


def abstract(publication: Publication, description: DatasetDescription) -> str:
    """Return the description as one text."""
    return "\n\n".join(paragraphs(publication, description))


def keywords(publication: Publication, description: DatasetDescription) -> list[str]:
    """Return the words to find it by, each once."""
    return list(dict.fromkeys([*publication.keywords, *description.keywords]))


def make_command(description: DatasetDescription) -> str:
    """Return the command that makes the dataset again from the deposit."""
    if description.form == "archive":
        return "gpgen fetch deposit/ --out archive"
    return f"gpgen make --from deposit/ --out {shlex.quote(TARGETS[description.form])}"


def _contents(description: DatasetDescription) -> str:
    if description.recipe_only:
        return (
            "This record holds no pixels: it holds the recipe, from which gpgen "
            f"{description.gpgen_version} makes the dataset again, and the SHA-256 of every file "
            "of it."
        )
    return (
        f"Made with gpgen {description.gpgen_version}. The recipe in this record makes the same "
        "bytes again."
    )
