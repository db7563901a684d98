"""The address of an object, with what `gpgen.io.paths.AnyPath` asks of one.

There are no folders on an object store: a name with slashes is one name. Nothing can be renamed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import NoReturn

from gpgen.errors import UsageError
from gpgen.io import object_requests as requests
from gpgen.io.remote_path import RemotePath

__all__ = ["ObjectPath"]

# What is left of s3:// when someone made a Path of it has one slash.
_ACCESS_POINT = r"arn:aws[\w-]*:s3[\w-]*:[\w-]*:\d*:accesspoint[:/][^/]+"
_ADDRESS = re.compile(rf"s3:/{{1,2}}({_ACCESS_POINT}|[^/]+)/+(.*)", re.DOTALL)
_FORM = "write it like s3://bucket/data.zarr"


@dataclasses.dataclass(frozen=True)
class ObjectPath(RemotePath):
    """An object, or what the names of several begin with.

    Parameters
    ----------
    bucket
        The bucket, or the ARN of an access point.
    key
        The name in it, without a slash at either end.
    """

    bucket: str
    key: str

    @classmethod
    def parse(cls, address: str) -> ObjectPath:
        """Return the path of an address like ``s3://bucket/data.zarr``.

        Raises
        ------
        UsageError
            If it names no object.
        """
        match = _ADDRESS.fullmatch(address)
        key = match.group(2).rstrip("/") if match else ""
        if match is None or not key:
            raise UsageError(f"{address!r} does not name anything in a bucket", _FORM)
        if not address.isascii() and address != address.encode(errors="replace").decode():
            raise UsageError(f"{address!r} is not UTF-8", "choose another name")
        return cls(match.group(1), key)

    def at(self, key: str) -> ObjectPath:
        """Return the path of another object in the bucket."""
        return ObjectPath(self.bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    def exists(self) -> bool:
        """Return whether there is such an object."""
        try:
            # HEAD, whose answer has no words, would not tell a missing bucket from a missing key.
            requests.get(self.bucket, self.key, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def on_store(self) -> ObjectPath:
        """Return the address itself."""
        return self

    def on_disk(self) -> NoReturn:
        """Refuse what is done only on a disk."""
        raise UsageError(
            f"this needs the dataset on a disk, and {self} is on an object store",
            f"copy it first: gpgen convert {self} data.zarr",
        )

    def names_under(self) -> Iterator[str]:
        """Yield what follows this name and a slash in the names of objects."""
        for member, _ in self.members():
            yield member.relative_to(self)

    def how_to_replace(self) -> str:
        """Return what to do about something that is in the way: nothing is replaced there."""
        target = str(self).removesuffix(".making")
        return f"remove all objects under {target}/ and {target}.making/"

    def how_to_start_again(self) -> str:
        """Return what to do about an unfinished dataset that nobody wants."""
        return f"{self.how_to_replace()} and start again"

    def read_bytes(self) -> bytes:
        """Return the whole object.

        Raises
        ------
        FileNotFoundError
            If there is none.
        StorageError
            If the store doesn't answer or refuses; so do all methods that ask it.
        """
        return requests.get(self.bucket, self.key)

    def read_text(self, encoding: str = "utf-8") -> str:
        """Return the whole object as text."""
        return self.read_bytes().decode(encoding)

    def read_range(self, offset: int, nbytes: int) -> bytes:
        """Return a part of the object; less only where it ends."""
        return requests.get(self.bucket, self.key, offset, nbytes)

    def size(self) -> int:
        """Return the bytes of the object."""
        return requests.size(self.bucket, self.key)

    def write_bytes(self, data: bytes) -> None:
        """Put the object whole, in one step, replacing what is there."""
        requests.put(self.bucket, self.key, _body(data))

    def create(self, data: bytes) -> None:
        """Put the object if there is none.

        Raises
        ------
        FileExistsError
            If there is one with other content.
        """
        try:
            requests.put(self.bucket, self.key, _body(data), only_new=True)
        except FileExistsError:
            # The store may have carried out a request whose answer was lost.
            if self.read_bytes() != data:
                raise

    def upload(self, descriptor: int, sha256: bytes) -> None:
        """Put a file's content as the object, whole, in one step."""
        requests.put(self.bucket, self.key, requests.Body(descriptor, sha256))

    def copy_of(self, other: ObjectPath) -> bytes | None:
        """Have the store put a copy of another object here; return its SHA-256, if it is told."""
        return requests.copy(self.bucket, self.key, (other.bucket, other.key))

    def members(self) -> Iterator[tuple[ObjectPath, int]]:
        """Yield the objects whose names begin with this one and a slash, and their bytes."""
        for key, nbytes in requests.listing(self.bucket, self.key + "/"):
            if nbytes or not key.endswith("/"):  # consoles show folders by empty objects
                yield ObjectPath(self.bucket, key), nbytes

    @staticmethod
    def remove(paths: Iterable[ObjectPath]) -> None:
        """Remove objects of one bucket, if they are there, in any order."""
        left = iter(paths)
        for first in left:
            keys = (path.key for path in itertools.chain([first], left))
            requests.delete(first.bucket, keys)


def _body(data: bytes) -> requests.Body:
    return requests.Body(data, hashlib.sha256(data).digest())
