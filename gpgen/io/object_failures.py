"""What a store's refusals mean: pass, or one line that says what to do."""

from __future__ import annotations

import errno
from typing import Any

from gpgen.errors import Argument, StorageError

__all__ = [
    "broken_off",
    "explain",
    "is_missing",
    "is_range_beyond_end",
    "is_silence",
    "is_transient",
    "is_unreached",
    "part_failed",
    "status",
]

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
_RESUME = f"then run it again; a run that made data: with {Argument.RESUME}"
_LATER = f"check AWS_ENDPOINT_URL and the network, {_RESUME}"
_ADDRESS = "correct the address, AWS_ENDPOINT_URL or AWS_REGION"
_DESCRIPTORS = f"raise the limit of open files (ulimit -n) or use fewer threads, {_RESUME}"
_NEW_TOKEN = f"get new credentials, {_RESUME}"
# What to do about a refusal, by the code that S3 gives it.
_HINTS = {
    "NoSuchBucket": "create the bucket, or correct the address or AWS_ENDPOINT_URL",
    "ExpiredToken": _NEW_TOKEN,
    "InvalidToken": _NEW_TOKEN,
    "TokenRefreshRequired": _NEW_TOKEN,
    "RequestExpired": _NEW_TOKEN,
    "RequestTimeTooSkewed": f"set this machine's clock, {_RESUME}",
    "QuotaExceeded": f"free some space or raise the quota, {_RESUME}",
    "InvalidObjectState": "restore the object from its archive first",
    "EntityTooLarge": f"give a smaller {Argument.SHARD_SIZE}",
}


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


def is_silence(error: Exception) -> bool:
    """Return whether an answer was waited for in vain."""
    from botocore import exceptions

    return isinstance(error, exceptions.ConnectTimeoutError | exceptions.ReadTimeoutError)


def is_unreached(error: Exception) -> bool:
    """Return whether there was not even a connection."""
    from botocore import exceptions

    return isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError)


def broken_off(error: Exception) -> Exception:
    """Return what botocore would raise for an answer that broke off in its midst."""
    from botocore import exceptions

    broken: Exception = exceptions.ResponseStreamingError(error=error)
    return broken


def part_failed(failure: dict[str, Any]) -> Exception:
    """Return what botocore would raise, had the part that failed been a request of its own."""
    from botocore import exceptions

    code = str(failure.get("Code", ""))
    http = {"AccessDenied": 403, "InternalError": 500, "SlowDown": 503}.get(code, 400)
    told = {"Code": code, "Message": str(failure.get("Message", ""))}
    answer = {"Error": told, "ResponseMetadata": {"HTTPStatusCode": http}}
    error: Exception = exceptions.ClientError(answer, "DeleteObjects")
    return error


def _no_answer(error: Exception) -> bool:
    from botocore import exceptions

    broken = (
        exceptions.ConnectionError,
        exceptions.HTTPClientError,
        exceptions.IncompleteReadError,
        # A role's keys are asked for over the network, too.
        exceptions.CredentialRetrievalError,
        exceptions.MetadataRetrievalError,
    )
    return isinstance(error, broken)


def _needs_descriptors(error: BaseException | None) -> bool:
    """Return whether there was no descriptor for a connection, which is no fault of the store's."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False


def explain(error: Exception, what: str, attempts: int) -> StorageError:
    """Return a failure in one line.

    Parameters
    ----------
    error
        What botocore raised.
    what
        What could not be done, to which object.
    attempts
        How often it was tried.
    """
    name, code, answer = type(error).__name__, _code(error), status(error)
    response: dict[str, Any] = getattr(error, "response", None) or {}
    reason = str(error)
    if answer:
        # botocore's own words also speak of its retries, of which it makes none.
        message = str(response.get("Error", {}).get("Message", ""))
        reason = f"{message or 'refused'} ({code or answer})"
    if _needs_descriptors(error):
        return StorageError(f"{what}: too many open files", _DESCRIPTORS)
    if _no_answer(error) or answer >= 500 or code in _TRANSIENT_CODES:
        times = f", {attempts} times" if attempts > 1 else ""
        return StorageError(f"{what}: {reason}{times}", _LATER)
    if code == "NoSuchBucket":
        return StorageError(f"{what}: there is no such bucket", _HINTS[code])
    if code in _HINTS:
        return StorageError(f"{what}: {reason}", _HINTS[code])
    if answer in (401, 403):
        return StorageError(f"{what}: access denied ({code or answer})", _CREDENTIALS)
    if "Credential" in name or "Token" in name or "Profile" in name:
        return StorageError(f"{what}: {reason}", _CREDENTIALS)
    return StorageError(f"{what}: {reason}", _ADDRESS)
