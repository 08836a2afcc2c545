"""A registry in a bucket, written in memory and brought into SeaweedFS all at once.

The registry's own code writes it, so it is what a bucket holds after thousands of runs. What takes an hour is only the way there:
75,000 conditional puts through botocore, one after the other. The objects are sent to the server's filer instead, which is where its S3 side
keeps them: they have the same keys, bytes and ETags.
"""

from __future__ import annotations

import hashlib
import http.client
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

from registry.files import sha256_bytes
from registry.s3 import S3Store
from registry.s3_client import Place
from registry.s3_objects import Objects
from registry.s3_packs import Packs
from registry.s3_reads import Facts

AT_ONCE = 4


class Kept:
    """As `registry.s3_objects.Objects`, in memory, for one writer."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.place = Place("", "", "")
        self._inside: dict[str, set[str]] = {}
        """Folder → the names in it; of folders with "/" at the end."""

    def get(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        try:
            return self.objects[name]
        except KeyError:
            raise FileNotFoundError(name) from None

    def head(self, name: str) -> Facts | None:
        """None when there is none."""
        data = self.objects.get(name)
        return None if data is None else Facts(len(data), f'"{hashlib.md5(data).hexdigest()}"')

    def create(self, name: str, data: bytes) -> None:
        """Raises FileExistsError."""
        if name in self.objects:
            raise FileExistsError(name)
        self.objects[name] = data
        while "/" in name:
            above, _, last = name.removesuffix("/").rpartition("/")
            inside = self._inside.setdefault(above, set())
            inside.add(last + "/" * name.endswith("/"))
            name = f"{above}/" if above else ""

    def create_file(self, name: str, data: bytes | Path, sha256: str) -> None:
        """Raises FileExistsError."""
        found = data if isinstance(data, bytes) else data.read_bytes()
        assert sha256_bytes(found) == sha256
        self.create(name, found)

    def listing(self, folder: str, *, after: str = "") -> Iterator[tuple[str, Facts | None]]:
        """What lies in a folder, in order."""
        for name in sorted(each for each in self._inside.get(folder, ()) if each > after):
            yield name, None if name.endswith("/") else self.head(f"{folder}/{name}")


class MemoryBucket(S3Store):
    """As a bucket, to be sent to one."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.kept = Kept()
        self._objects = cast("Objects", self.kept)
        self._packs = Packs(self._objects)
        self._probed.remember("memory")

    def probe(self) -> None:
        """Nobody else writes here."""

    def _must_be_probed(self) -> None:
        """Nobody else writes here."""


def send(kept: Kept, server: Any, prefix: str) -> None:
    """Have all objects in the bucket of a `tests/helpers/s3_server.py`, below a prefix."""
    names = sorted(kept.objects)

    def put(part: list[str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.filer_port)
        for name in part:
            connection.request("PUT", f"/buckets/{server.bucket}/{prefix}/{name}", body=kept.objects[name])
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.CREATED:
                raise RuntimeError(f"{name}: the filer answered {answer.status}")
        connection.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, [names[at::AT_ONCE] for at in range(AT_ONCE)]))
