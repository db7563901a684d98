"""Which answers are given at which path."""

from __future__ import annotations

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gpgen.serving.answers import KeyAnswers
from gpgen.serving.page import Page
from gpgen.virtual_store.keys import VirtualKeys

__all__ = ["application"]

_EXPOSED = ("accept-ranges", "content-length", "content-range", "etag")


def application(keys: Callable[[], VirtualKeys], *, changing: bool = False) -> Starlette:
    """Return what answers requests.

    Parameters
    ----------
    keys
        Gives the dataset that is served now.
    changing
        Whether that changes, so that it is read only under its identity.
    """
    answers = KeyAnswers(keys, changing)

    async def answer(request: Request) -> Response:
        return await answers(request)

    app = Starlette(
        routes=[
            Route("/{dataset}.zarr/{key:path}", answer, methods=["GET", "HEAD"]),
            *Page(keys, changing).routes,
        ],
        middleware=[
            Middleware(
                CORSMiddleware,
                allow_origins=["*"],
                allow_methods=["GET", "HEAD"],
                allow_headers=["*"],
                expose_headers=_EXPOSED,
                max_age=86400,
            )
        ],
        exception_handlers={404: _not_there},
    )
    app.router.redirect_slashes = False
    return app


async def _not_there(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return PlainTextResponse("there is nothing here\n", 404)
