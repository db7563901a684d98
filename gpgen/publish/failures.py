"""The error of a service that refuses, fails or doesn't answer."""

from __future__ import annotations

from typing import ClassVar

from gpgen.errors import GpgenError

__all__ = ["ServiceError"]


class ServiceError(GpgenError, RuntimeError):
    """A repository that refuses, fails or doesn't answer: what it said, and what continues.

    Parameters
    ----------
    message, hint
        As for every error of gpgen.
    status
        The HTTP status, if there was an answer.
    lasting
        Whether the same request would fail again.
    """

    code: ClassVar[str] = "service"

    def __init__(
        self,
        message: str,
        hint: str | None = None,
        status: int | None = None,
        *,
        lasting: bool = False,
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.lasting = lasting
