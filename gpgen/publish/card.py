"""README.md: the dataset's card, with the YAML head that the Hugging Face Hub reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml

from gpgen.contact_sheet.content import shown_plane
from gpgen.description.abstract import difficulty_paragraph, keywords, make_command, own_paragraphs
from gpgen.description.citation import apa, bibtex
from gpgen.description.dataset_description import TARGETS, DatasetDescription, DepositFile
from gpgen.description.licences import hub_name
from gpgen.description.publication import Publication
from gpgen.publish.hub_files import viewer_configs

__all__ = ["card", "yaml_head"]

_MOST_ROWS: Final = 64
"""Of a table in the card."""

_SIZES: Final = (
    (10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"), (10**8, "10M<n<100M"), (10**9, "100M<n<1B"),
)  # fmt: skip


def yaml_head(
    publication: Publication,
    description: DatasetDescription,
    files: tuple[DepositFile, ...] = (),
) -> str:
    """Return the metadata of a Hugging Face dataset card, as YAML."""
    own = publication.license
    licence = hub_name(own) if isinstance(own, str) else None
    head: dict[str, Any] = {"pretty_name": publication.title, "license": licence or "other"}
    if licence is None:
        head["license_name"] = own.lower() if isinstance(own, str) else own.title
        head["license_link"] = publication.license_url
    head |= {
        "task_categories": ["image-classification"],
        "size_categories": [
            next((name for limit, name in _SIZES if description.n < limit), "n>1T")
        ],
        "tags": keywords(publication, description),
        # What the Hub's viewer can show.
        "configs": viewer_configs([file.name for file in files]),
    }
    text: str = yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=100)
    return text


def card(
    publication: Publication,
    description: DatasetDescription,
    files: tuple[DepositFile, ...],
    *,
    figure: str,
    shown: Sequence[str],
) -> str:
    """Return the whole card.

    Parameters
    ----------
    publication, description
        What is described.
    files
        The other files of the deposit.
    figure
        The contact sheet's file name.
    shown
        Names of the classes in the contact sheet.
    """
    target = TARGETS[description.form]
    return _template().render(
        publication=publication,
        description=description,
        files=files,
        figure=figure,
        head=yaml_head(publication, description, files),
        paragraphs=[*own_paragraphs(publication), description.summary],
        shown=shown,
        left_out=len(description.classes) - len(shown),
        plane=shown_plane(description.shape),
        classes=list(zip(description.classes, description.counts, strict=True))[:_MOST_ROWS],
        most_rows=_MOST_ROWS,
        difficulty=difficulty_paragraph(description),
        place="." if "{" in target else target,
        make_command=make_command(description),
        apa=apa(publication, description),
        bibtex=bibtex(publication, description),
    )


@cache
def _template() -> jinja2.Template:
    # Not HTML: nothing is escaped. What is missing is an error.
    environment = jinja2.Environment(  # noqa: S701
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(
        Path(__file__).with_name("card.md.jinja").read_text(encoding="utf-8")
    )
