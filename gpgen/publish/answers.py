"""What a service's answer says: how long to wait, and why it refuses."""

from __future__ import annotations

import email.utils
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx

__all__ = ["asked_wait", "said_in"]


def asked_wait(response: httpx.Response) -> float | None:
    """Return how many seconds the server asks us to wait."""
    after = response.headers.get("Retry-After", "").strip()
    if after.isdigit():
        return float(after)
    if after:
        when = email.utils.parsedate_tz(after)
        if when is not None:
            return max(0.0, email.utils.mktime_tz(when) - time.time())
    reset = response.headers.get("X-RateLimit-Reset", "").strip()
    if response.status_code == 429 and reset.isdigit():
        return max(1.0, float(reset) - time.time())
    return None


def said_in(response: httpx.Response) -> str:
    """Return what a refusal says, in one line."""
    try:
        answer = response.json()
        text = str(answer.get("message") or "")
        for error in answer.get("errors") or []:
            text += f"; {error.get('field', '')}: {' '.join(map(str, error.get('messages', [])))}"
    except (ValueError, AttributeError, TypeError):
        return str(response.reason_phrase)
    return text.strip("; ") or str(response.reason_phrase)
