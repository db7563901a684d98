"""A stand-in for an InvenioRDM service: stateful, strict, and faulty when told to be.

It speaks the records API on a real local socket and insists on the protocol's order: a file is
announced, sent, committed; a second content for a file is refused and loses the file, as the
real service does; what is published doesn't change. It keeps a log of what was asked.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

from schema_packages import folder_of

TOKEN = "s3cret-of-the-owner"  # noqa: S105
OTHER_TOKEN = "without-scopes"  # noqa: S105
REQUIRED = ("resource_type", "title", "creators", "publication_date")


class Refused(Exception):
    def __init__(self, status, message, errors=(), headers=None):
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors
        self.headers = headers or {}


@dataclass
class File:
    content: bytes | None = None
    committed: bool = False


@dataclass
class Draft:
    number: str
    metadata: dict
    options: dict
    parent: str
    version: int = 1
    files: dict[str, File] = field(default_factory=dict)
    doi: str | None = None
    published: bool = False
    access: dict = field(default_factory=dict)
    communities: list[str] = field(default_factory=list)
    errors: list = field(default_factory=list)


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    status: int
    received: int
    agent: str


def vocabulary_of_licences() -> frozenset[str]:
    """Read the names of licences in InvenioRDM's own file, without importing InvenioRDM."""
    vocabularies = folder_of("invenio_rdm_records") / "fixtures" / "data" / "vocabularies"
    path = vocabularies / "licenses.csv"
    with path.open(encoding="utf-8", newline="") as table:
        return frozenset(row["id"] for row in csv.DictReader(table))


class Service:
    """The state, and one method for each call."""

    LICENCES = vocabulary_of_licences()

    def __init__(self, quota=10**9, most_files=100):
        self.quota, self.most_files = quota, most_files
        self.records: dict[str, Draft] = {}
        self.log: list[Asked] = []
        self.lock = threading.RLock()
        self.faults: deque = deque()
        self.drop_after: int | None = None
        self.drop_answer: str | None = None
        self.rate: tuple[int, float] | None = None
        self.echo_token = False
        self.drops: str | None = None
        """A field of the metadata that is dropped, with a word about it in a 2xx answer."""
        self.loses: str | None = None
        """A field of the metadata that is dropped without a word."""

    # Drafts

    def create(self, body):
        return 201, self._draft(self._add(body, parent=None))

    def _add(self, body, parent, version=1):
        number = str(1000 + len(self.records))
        draft = Draft(number, {}, {}, parent or number, version)
        self.records[number] = draft
        self._fill(draft, body)
        return draft

    def _fill(self, draft, body):
        options = body.get("files") or {}
        if "enabled" not in options:
            raise Refused(400, "A validation error occurred.", [("files.enabled", "Missing data")])
        preview = options.get("default_preview")
        if preview and preview not in draft.files:
            raise Refused(
                400, "A validation error occurred.", [("files.default_preview", "No such file")]
            )
        draft.metadata, draft.options = dict(body.get("metadata") or {}), options
        draft.access = body.get("access") or {}
        draft.errors = []
        for rights in draft.metadata.get("rights") or []:
            if "id" in rights and rights["id"] not in self.LICENCES:
                del draft.metadata["rights"]
                draft.errors = [("metadata.rights.0", f"Invalid value {rights['id']}.")]
                break
        for name in (self.drops, self.loses):
            if draft.metadata.pop(name, None) is not None and name == self.drops:
                draft.errors.append((f"metadata.{name}", "Not a valid value."))
        named = ((body.get("pids") or {}).get("doi") or {}).get("identifier")
        if draft.doi and named != draft.doi:
            draft.doi = None  # as the real service: what isn't sent along is given up

    def find(self, number, *, draft):
        record = self.records.get(number)
        if record is None or (draft and record.published):
            raise Refused(404, "The persistent identifier does not exist.")
        if not draft and not record.published:
            raise Refused(404, "The persistent identifier is not registered.")
        return record

    def reserve(self, number):
        draft = self.find(number, draft=True)
        if draft.doi:
            raise Refused(
                400,
                "A validation error occurred.",
                [("pids.doi", "A PID already exists for type doi")],
            )
        draft.doi = f"10.5072/zenodo.{number}"
        return 201, self._draft(draft)

    def publish(self, number):
        draft = self.find(number, draft=True)
        errors = [
            (f"metadata.{key}", "Missing data for required field.")
            for key in REQUIRED
            if not draft.metadata.get(key)
        ]
        if not draft.files or not all(file.committed for file in draft.files.values()):
            errors.append(("files.enabled", "Missing uploaded files."))
        if errors:
            raise Refused(400, "A validation error occurred.", errors)
        draft.doi = draft.doi or f"10.5072/zenodo.{number}"
        draft.published = True
        return 202, self._draft(draft)

    def new_version(self, number):
        record = self.find(number, draft=False)
        begun = [r for r in self.records.values() if r.parent == record.parent and not r.published]
        if begun:
            return 201, self._draft(begun[0])
        body = {"files": {"enabled": True}, "metadata": dict(record.metadata)}
        body["metadata"].pop("publication_date", None)
        body["metadata"].pop("version", None)
        return 201, self._draft(self._add(body, record.parent, record.version + 1))

    def _draft(self, draft):
        kind = "" if draft.published else "/draft"
        page = "records" if draft.published else "uploads"
        pids = {"doi": {"identifier": draft.doi, "provider": "datacite"}} if draft.doi else {}
        answer = {
            "id": draft.number,
            "is_published": draft.published,
            "metadata": draft.metadata,
            "access": draft.access,
            "files": draft.options,
            "pids": pids,
            "parent": {"id": draft.parent},
            "versions": {"index": draft.version},
            "links": {
                "self": f"{self.url}/api/records/{draft.number}{kind}",
                "self_html": f"{self.url}/{page}/{draft.number}",
            },
        }
        if draft.errors:
            answer["errors"] = [{"field": f, "messages": [m]} for f, m in draft.errors]
        return answer

    # Files

    def list(self, record):
        entries = [self._entry(record, key) for key in record.files]
        return 200, {"enabled": True, "entries": entries, "order": [], "links": {}}

    def announce(self, number, keys):
        draft = self.find(number, draft=True)
        for key in keys:
            if key in draft.files:
                raise Refused(400, f"File with key {key} already exists.")
        if len(draft.files) + len(keys) > self.most_files:
            raise Refused(400, "Uploading selected files will result in too many files.")
        draft.files.update({key: File() for key in keys})
        return 201, self.list(draft)[1]

    def receive(self, number, key, content):
        draft = self.find(number, draft=True)
        file = draft.files.get(key)
        if file is None:
            raise Refused(404, f'Record "{number}" has no file "{key}".')
        if file.content is not None:
            del draft.files[key]
            raise Refused(400, f"The file upload transfer failed, please try again. {key}")
        used = sum(len(f.content or b"") for f in draft.files.values())
        if used + len(content) > self.quota:
            raise Refused(400, "Bucket quota exceeded.")
        file.content = content
        return 200, self._entry(draft, key)

    def commit(self, number, key):
        draft = self.find(number, draft=True)
        file = draft.files.get(key)
        if file is None:
            raise Refused(404, f'Record "{number}" has no file "{key}".')
        if file.content is None or file.committed:
            raise Refused(400, "The file can't be committed.")
        file.committed = True
        return 200, self._entry(draft, key)

    def remove(self, number, key):
        draft = self.find(number, draft=True)
        if draft.files.pop(key, None) is None:
            raise Refused(404, f'Record "{number}" has no file "{key}".')
        return 204, None

    def _entry(self, record, key):
        file = record.files[key]
        entry = {"key": key, "status": "completed" if file.committed else "pending", "links": {}}
        if file.committed:
            digest = hashlib.md5(file.content, usedforsecurity=False).hexdigest()
            entry |= {"checksum": f"md5:{digest}", "size": float(len(file.content))}
        return entry

    # Running

    def sends(self, key=None):
        """Return the contents that arrived whole."""
        pattern = re.compile(r".*/files/([^/]+)/content")
        keys = [
            unquote(pattern.fullmatch(a.path)[1])
            for a in self.log
            if a.method == "PUT" and a.status == 200 and pattern.fullmatch(a.path)
        ]
        return keys if key is None else keys.count(key)

    def __enter__(self):
        service = self

        class Handler(_Handler):
            pass

        Handler.service = service
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Dropped(Exception):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    service: Service
    timeout = 20

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._serve()

    do_POST = do_PUT = do_DELETE = do_GET

    def _serve(self):
        self.received = 0
        path = urlsplit(self.path).path
        headers = {}
        try:
            status, answer = self._route(path)
        except Refused as refused:
            status, headers = refused.status, refused.headers
            answer = {"status": status, "message": refused.message}
            if refused.errors:
                answer["errors"] = [{"field": f, "messages": [m]} for f, m in refused.errors]
        except (Dropped, ConnectionError):
            self._log(path, 0)
            self._cut()
            return
        self._log(path, status)
        drop = self.service.drop_answer
        if drop is not None and re.fullmatch(drop, f"{self.command} {path}"):
            self.service.drop_answer = None
            self._cut()
            return
        self._answer(status, answer, headers)

    def _log(self, path, status):
        agent = self.headers.get("User-Agent", "")
        with self.service.lock:
            self.service.log.append(Asked(self.command, path, status, self.received, agent))

    def _cut(self):
        self.close_connection = True
        # Unread bytes make the kernel send a reset, as a broken network would.
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status, answer, headers):
        body = b"" if answer is None else answer
        if not isinstance(body, bytes):
            body = json.dumps(answer).encode()
            headers = {"Content-Type": "application/json", **headers}
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            self.close_connection = True

    def _authorize(self):
        header = self.headers.get("Authorization", "")
        if self.service.echo_token:
            self._read_all()
            raise Refused(400, f"I don't like {header}")
        if header == f"Bearer {OTHER_TOKEN}":
            self._read_all()
            raise Refused(403, "Permission denied.")
        if header != f"Bearer {TOKEN}":
            self._read_all()
            raise Refused(401, "The server could not verify that you are authorized.")

    def _route(self, path):
        service = self.service
        if service.faults:
            status, headers = service.faults.popleft()
            self._read_all()
            raise Refused(status, "Try again.", headers=headers)
        if service.rate is not None:
            left, until = service.rate
            if left <= 0 and time.time() < until:
                self._read_all()
                raise Refused(429, "Too many requests.", headers={"Retry-After": "1"})
            service.rate = (left - 1, until)
        if licence := re.fullmatch(r"/api/vocabularies/licenses/([^/]+)", path):
            if licence[1] not in service.LICENCES:
                raise Refused(404, "The persistent identifier does not exist.")
            return 200, {"id": licence[1]}
        if community := re.fullmatch(r"/api/communities/([^/]+)", path):
            return 200, {"id": f"uuid-of-{community[1]}", "slug": community[1]}
        match = re.fullmatch(r"/api/records(?:/([^/]+)(/.*)?)?", path)
        if match is None:
            raise Refused(404, "Not found.")
        number, rest = match[1], match[2] or ""
        if self.command == "GET" and not rest.startswith("/draft"):
            return self._public(number, rest)
        self._authorize()
        return self._private(number, rest)

    def _public(self, number, rest):
        service = self.service
        with service.lock:
            record = service.find(number, draft=False)
            if rest == "":
                return 200, service._draft(record)
            if rest == "/files":
                return service.list(record)
        match = re.fullmatch(r"/files/([^/]+)/content", rest)
        file = match and record.files.get(unquote(match[1]))
        if not file:
            raise Refused(404, "Not found.")
        return self._content(file.content)

    def _content(self, content):
        start, status = 0, 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            start, status = int(asked[1]), 206
        body = content[start:]
        limit = self.service.drop_after
        if limit is not None and len(body) > limit:
            self.service.drop_after = None
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:limit])
            self.wfile.flush()
            raise Dropped
        return status, body

    def _private(self, number, rest):
        service, command = self.service, self.command
        if (command, number) == ("POST", None):
            return self._locked(service.create, self._json())
        if (command, rest) == ("POST", "/versions"):
            return self._locked(service.new_version, number)
        if (command, rest) == ("POST", "/communities"):
            record = service.find(number, draft=False)
            record.communities += [entry["id"] for entry in self._json()["communities"]]
            return 200, {"processed": []}
        if rest == "/draft" and command in ("GET", "PUT"):
            body = self._json() if command == "PUT" else None
            with service.lock:
                draft = service.find(number, draft=True)
                if body is not None:
                    service._fill(draft, body)
                return 200, service._draft(draft)
        if (command, rest) == ("POST", "/draft/pids/doi"):
            return self._locked(service.reserve, number)
        if (command, rest) == ("POST", "/draft/actions/publish"):
            return self._locked(service.publish, number)
        if rest == "/draft/files":
            if command == "GET":
                return service.list(service.find(number, draft=True))
            return self._locked(service.announce, number, [f["key"] for f in self._json()])
        match = re.fullmatch(r"/draft/files/([^/]+)(/content|/commit)?", rest)
        if match:
            key, what = unquote(match[1]), match[2]
            if (command, what) == ("PUT", "/content"):
                return self._locked(service.receive, number, key, self._read_all())
            if (command, what) == ("POST", "/commit"):
                return self._locked(service.commit, number, key)
            if (command, what) == ("DELETE", None):
                return self._locked(service.remove, number, key)
        raise Refused(405, "The method is not allowed.")

    def _locked(self, call, *arguments):
        with self.service.lock:
            return call(*arguments)

    def _json(self):
        return json.loads(self._read_all() or b"{}")

    def _read_all(self):
        """Read the body, or cut the line in its middle."""
        left = int(self.headers.get("Content-Length") or 0)
        pieces = []
        while left:
            limit = self.service.drop_after
            want = left
            if limit is not None and self.path.endswith("/content"):
                if limit == 0:
                    self.service.drop_after = None
                    raise Dropped
                want = min(left, limit)
            piece = self.rfile.read(min(want, 2**16))
            if not piece:
                raise Dropped
            if limit is not None and self.path.endswith("/content"):
                self.service.drop_after = limit - len(piece)
            pieces.append(piece)
            left -= len(piece)
            self.received += len(piece)
        return b"".join(pieces)
