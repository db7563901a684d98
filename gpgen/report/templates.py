"""The templates beside the code, which write HTML and SVG and escape what they are given."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import jinja2
from markupsafe import Markup

__all__ = ["render"]


_HERE: Final = Path(__file__).parent


def render(template: str, *, folder: Path = _HERE, **values: object) -> Markup:
    """Return a template, filled in; a value that it lacks is an error.

    Parameters
    ----------
    template
        Its name.
    folder
        Where it is; what it includes may also be in this module's folder.
    values
        What it is filled with.
    """
    return Markup(_environment(folder).get_template(template).render(values))  # noqa: S704 - escaped


@cache
def _environment(folder: Path) -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
