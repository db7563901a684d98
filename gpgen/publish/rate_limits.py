"""How long a service asks its clients to wait, in the headers of its answers."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from typing import Protocol

__all__ = ["full_until", "requested_wait"]


class Response(Protocol):
    """An answer of HTTP, as httpx has it."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...


def full_until(headers: Mapping[str, str]) -> float:
    """Return until when no request is allowed, in seconds since 1970; 0 if one is allowed now."""
    remaining = headers.get("X-RateLimit-Remaining", "").strip()
    reset = headers.get("X-RateLimit-Reset", "").strip()
    return float(reset) if remaining == "0" and reset.isdigit() else 0.0


def requested_wait(response: Response) -> float | None:
    """Return the seconds to wait before the same request is made again, if the answer says it."""
    after = response.headers.get("Retry-After", "").strip()
    if after.isdigit():
        return float(after)
    when = email.utils.parsedate_tz(after) if after else None
    if when is not None:
        return max(0.0, email.utils.mktime_tz(when) - time.time())
    reset = response.headers.get("X-RateLimit-Reset", "").strip()
    if response.status_code == 429 and reset.isdigit():
        return max(1.0, float(reset) - time.time())
    return None
