"""What a store's refusals mean: pass, or one line that says what to do."""

from __future__ import annotations

from typing import Any

from gpgen.errors import StorageError

__all__ = ["explain", "is_missing", "is_range_beyond_end", "is_transient", "status"]

_TRANSIENT_CODES = {
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    "OperationAborted",
    "ConditionalRequestConflict",
    "RequestTimeout",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "XAmzContentSHA256Mismatch",
}
_CREDENTIALS = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to a key that may use "
    "the bucket"
)
_LATER = (
    "check AWS_ENDPOINT_URL and the network, then run it again; a run that made data: with --resume"
)


def _code(error: Exception) -> str:
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))


def status(error: Exception) -> int:
    """Return the HTTP status of an answer; 0 if none came."""
    response: dict[str, Any] = getattr(error, "response", None) or {}
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_missing(error: Exception) -> bool:
    """Return whether there is no such object, though there is a bucket, as far as is known."""
    return status(error) == 404 and _code(error) != "NoSuchBucket"


def is_range_beyond_end(error: Exception) -> bool:
    """Return whether a range was asked for that begins after the object's end."""
    return status(error) == 416


def is_transient(error: Exception) -> bool:
    """Return whether the same request may succeed later."""
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        code = status(error)
        return (code >= 500 and code != 501) or code == 429 or _code(error) in _TRANSIENT_CODES
    # No answer, or half of one. Credentials and names that can't be don't get better.
    return _no_answer(error)


def _no_answer(error: Exception) -> bool:
    from botocore import exceptions

    broken = (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
    )
    return isinstance(error, broken)


def explain(error: Exception, what: str, bucket: str, attempts: int) -> StorageError:
    """Return a failure in one line.

    Parameters
    ----------
    error
        What botocore raised.
    what
        What could not be done, to which object.
    bucket
        The bucket.
    attempts
        How often it was tried.
    """
    name, code = type(error).__name__, status(error)
    if _code(error) == "NoSuchBucket":
        return StorageError(
            f"there is no bucket {bucket!r}",
            "create it, or correct the address or AWS_ENDPOINT_URL",
        )
    if code in (401, 403):
        return StorageError(f"{what}: access denied ({_code(error)})", _CREDENTIALS)
    if "Credential" in name or "Token" in name or "Profile" in name:
        return StorageError(f"{what}: {error}", _CREDENTIALS)
    if _no_answer(error) or code >= 500:
        times = f", {attempts} times" if attempts > 1 else ""
        return StorageError(f"{what}: {error}{times}", _LATER)
    return StorageError(f"{what}: {error}", "correct the address, AWS_ENDPOINT_URL or AWS_REGION")
