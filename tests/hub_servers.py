"""Stand-ins for the HTTP interfaces of the Hugging Face hub and of ModelScope, on loopback.

Each has the routes that the hub's own client library asks for, and serves one folder as one repository.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = [
    "COMMIT",
    "GATED",
    "KNOWN",
    "TOKEN",
    "HuggingFaceServer",
    "ModelScopeServer",
    "Repository",
    "clean_environment",
    "serve",
]

KNOWN, GATED = "owner/tiny-m3e", "owner/gated"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "right"
"""The one token that both servers take; another one is refused."""


@dataclass
class Repository:
    """A folder, and what was asked for it. ``broken`` answers everything with an error of the server."""

    folder: Path
    branch: str
    asked: list[str] = field(default_factory=list)
    broken: bool = False

    @property
    def names(self) -> list[str]:
        """All files, as paths from the folder."""
        found = (file for file in sorted(self.folder.rglob("*")) if file.is_file())
        return [file.relative_to(self.folder).as_posix() for file in found]

    def digest(self, name: str) -> str:
        return hashlib.sha256((self.folder / name).read_bytes()).hexdigest()

    def size(self, name: str) -> int:
        return (self.folder / name).stat().st_size

    def downloaded(self) -> set[str]:
        """Files whose bytes were sent."""
        return {line.removeprefix("GET file ") for line in self.asked if line.startswith("GET file ")}


class _Server(http.server.BaseHTTPRequestHandler):
    repository: ClassVar[Repository]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._route()

    def do_HEAD(self) -> None:
        self._route()

    def _route(self) -> None:
        address = urlsplit(self.path)
        if self.repository.broken:
            self.answer(503, {"error": "out of order"})
            return
        self.route(unquote(address.path), {key: value[0] for key, value in parse_qs(address.query).items()})

    def route(self, path: str, query: dict[str, str]) -> None:
        raise NotImplementedError

    def answer(self, status: int, content: object, **headers: str) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def send_file(self, name: str, **headers: str) -> None:
        if name not in self.repository.names:
            self.answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
            return
        self.repository.asked.append(f"{self.command} file {name}")
        self.answer(200, (self.repository.folder / name).read_bytes(), **headers)

    def log_message(self, *said: object) -> None:
        self.repository.asked.append(str(said[0]) % said[1:])


class HuggingFaceServer(_Server):
    """``/api/models/OWNER/NAME/revision/…``, ``…/tree/…``, and ``/OWNER/NAME/resolve/…``."""

    _API = re.compile(r"/api/models/(?P<id>[\w.-]+/[\w.-]+)/(?P<what>revision|tree)/(?P<revision>[\w.-]+)")
    _FILE = re.compile(r"/(?P<id>[\w.-]+/[\w.-]+)/resolve/(?P<revision>[\w.-]+)/(?P<name>.+)")
    _BARE = re.compile(r"/api/models/(?P<id>[\w.-]+/[\w.-]+)")

    def route(self, path: str, query: dict[str, str]) -> None:
        found = self._API.fullmatch(path) or self._FILE.fullmatch(path) or self._BARE.fullmatch(path)
        if found is None:
            self.answer(404, {"error": "no such route"})
            return
        part = found.groupdict()
        token = self.headers.get("Authorization")
        if token not in (None, f"Bearer {TOKEN}"):
            self._refuse(401, X_Error_Message="Invalid credentials in Authorization header")
        elif part["id"] == GATED:
            self._refuse(401 if token is None else 403, X_Error_Code="GatedRepo")
        elif part["id"] != KNOWN:
            self._refuse(401 if token is None else 404, X_Error_Code="RepoNotFound")
        elif part.get("revision", COMMIT) not in (self.repository.branch, COMMIT):
            self._refuse(404, X_Error_Code="RevisionNotFound")
        elif "name" in part:
            self.send_file(
                part["name"], ETag=f'"{self.repository.digest(part["name"])}"', X_Repo_Commit=COMMIT
            )
        else:
            self.answer(200, self._tree() if part.get("what") == "tree" else self._model())

    def _refuse(self, status: int, **headers: str) -> None:
        self.answer(status, {"error": "refused"}, **headers)

    def _model(self) -> dict[str, object]:
        files = [{"rfilename": name} for name in self.repository.names]
        return {"id": KNOWN, "modelId": KNOWN, "sha": COMMIT, "siblings": files, "tags": [], "downloads": 0}

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": self.repository.size(name), "oid": COMMIT}
            for name in self.repository.names
        ]


class ModelScopeServer(_Server):
    """``/api/v1/models/OWNER/NAME/repo/files`` and ``…/repo?FilePath=…``."""

    _PATH = re.compile(r"/api/v1/models/(?P<id>[\w.-]+/[\w.-]+)/repo(?P<list>/files)?")

    def route(self, path: str, query: dict[str, str]) -> None:
        found = self._PATH.fullmatch(path)
        if found is None:
            self._refuse(404, "no such route")
        elif self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            self._refuse(401, "the token is wrong")
        elif found["id"] == GATED:
            self._refuse(403, "access denied")
        elif found["id"] != KNOWN:
            self._refuse(404, "no such model")
        elif query.get("Revision") not in (self.repository.branch, COMMIT):
            self._refuse(404, "no such revision")
        elif found["list"]:
            self.answer(200, {"Code": 200, "Success": True, "Data": {"Files": self.files()}})
        else:
            self.send_file(query["FilePath"])

    def _refuse(self, status: int, message: str) -> None:
        self.answer(status, {"Code": status, "Success": False, "Message": message})

    def files(self) -> list[dict[str, object]]:
        folders = {Path(name).parent.as_posix() for name in self.repository.names} - {"."}
        return [
            *({"Path": name, "Name": Path(name).name, "Type": "tree", "Size": 0} for name in sorted(folders)),
            *(
                {
                    "Path": name,
                    "Name": Path(name).name,
                    "Type": "blob",
                    "Size": self.repository.size(name),
                    "Sha256": self.repository.digest(name),
                }
                for name in self.repository.names
            ),
        ]


@contextmanager
def serve(handler: type[_Server], repository: Repository) -> Iterator[str]:
    """Serve ``repository`` on a free port of loopback; gives the address."""
    bound = type(handler.__name__, (handler,), {"repository": repository})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), bound) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def clean_environment() -> dict[str, str]:
    """The environment without what would turn a client to another hub, token or proxy."""
    ours = re.compile(r"(HF_|HUGGING|TRANSFORMERS_|MODELSCOPE_).*|.*_PROXY", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if not ours.fullmatch(name)}
