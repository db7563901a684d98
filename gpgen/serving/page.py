"""The page at the served root: what is served, and what it would be otherwise."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from gpgen.contact_sheet.content import choose_classes
from gpgen.description.recipe_in_words import summary_of
from gpgen.errors import GpgenError
from gpgen.formatting import nbytes
from gpgen.report.templates import render
from gpgen.serving.answers import Drawn, refused
from gpgen.serving.exploring import Choices, difficulty_of, power_of, sheet_of, sliders_of
from gpgen.virtual_store.drawing import DRAWING, Piece, drawn
from gpgen.virtual_store.keys import VirtualKeys

__all__ = ["Page"]

_MOST_LISTED: Final = 64
_HERE: Final = Path(__file__).parent

_HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; img-src data:; connect-src 'self'; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class Page:
    """Answers requests of the page and for it.

    Parameters
    ----------
    keys
        Gives the dataset that is served now.
    changing
        Whether that changes, so that the page asks now and then.
    """

    def __init__(self, keys: Callable[[], VirtualKeys], changing: bool) -> None:
        self._keys, self._changing = keys, changing
        self._drawing = asyncio.Semaphore(2 * DRAWING.threads)
        self._estimating = asyncio.Semaphore(1)

    @property
    def routes(self) -> list[Route]:
        """The paths that it answers."""
        return [
            Route("/", self.page),
            Route("/identity", self.identity),
            Route("/sheet", self.sheet),
            Route("/power", self.power),
            Route("/difficulty", self.difficulty),
        ]

    async def page(self, request: Request) -> Response:  # noqa: ARG002
        """Answer with the page itself."""
        try:
            keys, error = self._keys(), ""
        except GpgenError as refusal:
            keys, error = None, str(refusal)
        values: dict[str, object] = {"error": error, "changing": self._changing}
        if keys is not None:
            values |= _described(keys)
        return HTMLResponse(render("served.html.jinja", folder=_HERE, **values), headers=_HEADERS)

    async def identity(self, request: Request) -> Response:  # noqa: ARG002
        """Answer with what changes when the dataset does."""
        try:
            return JSONResponse(self._keys().identity, headers=_HEADERS)
        except GpgenError as error:
            return JSONResponse(str(error), headers=_HEADERS)

    async def sheet(self, request: Request) -> Response:
        """Answer with samples."""
        return self._drawn(request, lambda choices: functools.partial(sheet_of, choices))

    async def power(self, request: Request) -> Response:
        """Answer with spectra."""
        return self._drawn(request, lambda choices: functools.partial(power_of, choices))

    async def difficulty(self, request: Request) -> Response:
        """Answer with the accuracy of the ideal observer, of one recipe at a time."""
        return self._drawn(
            request,
            lambda choices: functools.partial(difficulty_of, choices.recipe),
            self._estimating,
        )

    def _drawn(
        self,
        request: Request,
        piece: Callable[[Choices], Piece],
        limit: asyncio.Semaphore | None = None,
    ) -> Response:
        try:
            choices = Choices.parse(self._keys().recipe, request.query_params)
        except GpgenError as error:
            return refused(error)
        headers = _HEADERS | {"content-type": "application/json"}
        return Drawn(drawn(iter([piece(choices)])), limit or self._drawing, 200, headers)


def _described(keys: VirtualKeys) -> dict[str, object]:
    recipe, n = keys.recipe, keys.layout.n
    every = range(recipe.class_count)
    listed = every if len(every) <= _MOST_LISTED else choose_classes(recipe.classes, every, most=8)
    return {
        "recipe": recipe,
        "identity": keys.identity,
        "sealed": keys.checksums is not None,
        "summary": summary_of(recipe, n),
        "facts": {
            "samples": f"{n:,}",
            "classes": f"{len(every):,}",
            "pixels": " \N{MULTIPLICATION SIGN} ".join(map(str, recipe.shape)),
            "type": recipe.dtype,
            "if it were stored": nbytes(n * recipe.image_nbytes),
        },
        "classes": [(label, recipe.classes[label]) for label in listed],
        "shown": choose_classes(recipe.classes, every, most=4),
        "sliders": sliders_of(recipe),
    }
