"""The access token: from the environment or a file that only its owner can read.

It is never taken from the command line, where every user of the machine can see it, and
`Token` shows itself as stars wherever it is printed.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from gpgen.errors import UsageError
from gpgen.io.user_paths import given

__all__ = ["Token", "find_token"]


class Token:
    """A secret that doesn't print."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def __repr__(self) -> str:
        return "Token(***)"

    def header(self) -> dict[str, str]:
        """Return the header that carries it."""
        return {"Authorization": f"Bearer {self._secret}"}

    def removed_from(self, text: str) -> str:
        """Return a text without it, should a server have sent it back."""
        return text.replace(self._secret, "***")


def find_token(variable: str, file: str | Path | None = None) -> Token:
    """Return the token from a file or an environment variable.

    Parameters
    ----------
    variable
        The environment variable's name.
    file
        The file; by default the one that the variable ``<variable>_FILE`` names.

    Raises
    ------
    UsageError
        If there is none, or the file can be read by others.
    """
    file = file or os.environ.get(f"{variable}_FILE")
    if file:
        return _from_file(given(file))
    secret = os.environ.get(variable, "").strip()
    if not secret:
        raise UsageError(
            f"no access token: neither {variable} nor a token file is set",
            "make one on the service's page (Applications, personal access tokens; scopes "
            f"deposit:write and deposit:actions) and set {variable}, or give a file with it",
        )
    return _token(secret, f"the token in {variable}")


def _from_file(path: Path) -> Token:
    try:
        # Asked of the open file, so that none can be put in its place in between.
        with path.open(encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            if not stat.S_ISREG(mode) or mode & 0o077:
                raise UsageError(
                    f"token file {path} can be read by others", f"run `chmod 600 {path}`"
                )
            secret = stream.read(4096).strip()
    except (OSError, UnicodeError) as error:
        if isinstance(error, UsageError):
            raise
        reason = getattr(error, "strerror", None) or "it isn't UTF-8 text"
        raise UsageError(
            f"token file {path} can't be read: {reason}", "give the path of a file with the token"
        ) from None
    return _token(secret, f"the token in {path}")


def _token(secret: str, where: str) -> Token:
    # A line break would end the header that carries it.
    if not secret or not secret.isascii() or not secret.isprintable() or " " in secret:
        raise UsageError(f"{where} is not one word of printable characters", "copy it again")
    return Token(secret)
