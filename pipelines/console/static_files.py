"""The stylesheet, the script and the icon: read once, and kept by browsers until they change."""

from __future__ import annotations

import gzip
import hashlib
from importlib.resources import files

from flask import Response, abort, request

from pipelines.report.style import CSS

KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
NAMES = ("console.css", "console.js", "icon.svg")
FOREVER = "public, max-age=31536000, immutable"


class StaticFiles:
    """The addresses hold a hash of the content: another version of Trainyard has other addresses."""

    def __init__(self) -> None:
        folder = files("pipelines.console") / "static"
        self._content = {name: (folder / name).read_bytes() for name in NAMES}
        self._content["console.css"] = CSS.encode() + self._content["console.css"]
        self._packed = {name: gzip.compress(data, mtime=0) for name, data in self._content.items()}
        self._tags = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in self._content.items()}

    def address(self, name: str) -> str:
        """For a template; raises KeyError for a file that is not there."""
        return f"/static/{self._tags[name]}/{name}"

    def answer(self, tag: str, name: str) -> Response:
        """The view."""
        if self._tags.get(name) != tag:
            abort(404)
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        response = Response(self._packed[name] if packed else self._content[name])
        response.content_type = KINDS[name.rpartition(".")[2]]
        response.headers["Cache-Control"] = FOREVER
        response.headers["Vary"] = "Accept-Encoding"
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        return response
