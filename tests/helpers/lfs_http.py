"""Repositories with Git LFS over HTTP on loopback: objects are served as git-lfs has pushed them to the repository's folder.

What a test wants to go wrong it puts into the server's attributes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

from git_http import GitHandler, GitServer


def pointer(content: bytes) -> bytes:
    """What git keeps of a file that is in Git LFS."""
    oid = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()


def keep(repository: Path, content: bytes) -> None:
    """Put an object where `git lfs push` to that folder puts it."""
    oid = hashlib.sha256(content).hexdigest()
    path = repository / "lfs/objects" / oid[:2] / oid[2:4] / oid
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


class LfsServer(GitServer):
    """As GitServer, with an LFS server per repository, which `asked` lists the requests of."""

    def __init__(self, folder: Path, tls: Path | None = None) -> None:
        super().__init__(folder, LfsHandler, tls)
        self.asked: list[tuple[str, str, str]] = []
        """Method, path and Authorization of each request to the LFS server."""
        self.login = ""
        """`user:password` that both requests want."""
        self.href = "{url}/objects{path}/{oid}"
        """Where the server says that an object is."""
        self.redirect = ""
        self.damage = False
        self.status = 200


class LfsHandler(GitHandler):
    owner: LfsServer

    def _answer(self, body: bytes) -> None:
        owner = self.owner
        if not self.path.startswith("/objects") and not self.path.endswith("/info/lfs/objects/batch"):
            super()._answer(body)
            return
        owner.asked.append((self.command, self.path, self.headers.get("Authorization", "")))
        wanted = f"Basic {base64.b64encode(owner.login.encode()).decode()}"
        if owner.login and self.headers.get("Authorization") != wanted:
            self._send(401, b"{}")
        elif owner.status != 200:
            self._send(owner.status, b'{"message": "as the test wants"}')
        elif self.path.startswith("/objects"):
            self._object()
        else:
            self._batch(json.loads(body))

    def _batch(self, asked: dict) -> None:
        path = self.path.removesuffix("/info/lfs/objects/batch")
        rows = []
        for each in asked["objects"]:
            href = self.owner.href.format(url=self.owner.url, path=path, **each)
            known = self._file(path, each["oid"]).exists()
            action = {"actions": {"download": {"href": href}}}
            rows.append(each | (action if known else {"error": {"code": 404, "message": "Object does not exist"}}))
        self._send(200, json.dumps({"transfer": "basic", "objects": rows}).encode())

    def _object(self) -> None:
        if self.owner.redirect:
            self._send(302, b"", {"Location": self.owner.redirect})
            return
        path, _, oid = self.path.removeprefix("/objects").rpartition("/")
        content = self._file(path, oid).read_bytes()
        self._send(200, content[::-1] if self.owner.damage else content)

    def _file(self, path: str, oid: str) -> Path:
        return self.folder / path.strip("/") / "lfs/objects" / oid[:2] / oid[2:4] / oid

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
