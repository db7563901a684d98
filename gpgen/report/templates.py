"""The templates beside the code, which write HTML and SVG and escape what they are given."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

__all__ = ["render"]


def render(template: str, **values: object) -> Markup:
    """Return a template of this folder, filled in; a value that it lacks is an error."""
    return Markup(_environment().get_template(template).render(values))  # noqa: S704 - escaped


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
