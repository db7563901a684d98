"""The description and keywords that several metadata files share."""

from __future__ import annotations

import shlex

from gpgen.description.dataset_description import TARGETS, DatasetDescription
from gpgen.description.difficulty_in_words import difficulty_in_words
from gpgen.description.publication import Publication

__all__ = [
    "abstract",
    "difficulty_paragraph",
    "keywords",
    "make_command",
    "own_paragraphs",
    "paragraphs",
]


def paragraphs(publication: Publication, description: DatasetDescription) -> list[str]:
    """Return the description, a paragraph each."""
    told = [*own_paragraphs(publication), description.summary, description.methods]
    if description.difficulty is not None:
        told.append(difficulty_in_words(description.difficulty))
    if description.source is None:
        told.append(_contents(description))
    return told


def own_paragraphs(publication: Publication) -> list[str]:
    """Return the paragraphs of publication.toml's own description."""
    return [part.strip() for part in publication.description.split("\n\n") if part.strip()]


def difficulty_paragraph(description: DatasetDescription) -> str:
    """Return how hard the dataset is, or why that isn't known."""
    if description.difficulty is not None:
        return difficulty_in_words(description.difficulty)
    if reason := description.difficulty_unknown:
        return f"How well the classes can be told apart isn't known: {reason}."
    return (
        "How well the classes can be told apart isn't stated here; "
        "`gpgen difficulty recipe.toml` computes it."
    )


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
