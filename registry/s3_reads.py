"""Reads what lies below a prefix of a bucket, with every error typed. A body that breaks off is read again."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from registry.dataclass import dataclass
from registry.errors import Corrupt, TryAgain
from registry.s3_client import LATER, UNCHANGED, Place, code_of, connect, server_of, typed_errors
from registry.store_options import StoreOptions

PART = 16 << 20
"""Bytes; larger files go up and come down in such parts."""
AT_ONCE = 8
"""Requests for the parts of files; each part that goes up is in memory."""
CONNECTIONS = 32
READS = 3
"""So often a body is read that breaks off."""
LARGEST = 1 << 26  # bytes of what is read into memory, as in a folder


@dataclass(frozen=True, slots=True)
class Facts:
    """What a listing, or HEAD, says of an object."""

    size: int
    etag: str
    sha256: str = ""
    """As the server has computed it; empty when it has not, or only for parts."""


class Reads:
    """See the module; threads may share it, and so may forked processes."""

    def __init__(self, place: Place, options: StoreOptions) -> None:
        self.place = place
        self._options = options
        self._clients: dict[int, Any] = {}
        self._lock = threading.Lock()

    @property
    def client(self) -> Any:
        """The client of this process: after a fork no connection is shared."""
        with self._lock:
            if os.getpid() not in self._clients:
                self._clients[os.getpid()] = connect(self.place, self._options.access, CONNECTIONS)
            return self._clients[os.getpid()]

    def get(self, name: str) -> bytes:
        """The bytes of an object; raises FileNotFoundError, Corrupt when they are too many."""
        found = self.get_unless(name, "")
        assert found is not None  # without a condition
        return found[0]

    def get_unless(self, name: str, etag: str) -> tuple[bytes, str] | None:
        """As `get`, with the object's ETag; None when it still has this one, and then no bytes travel."""
        condition = {"IfNoneMatch": etag} if etag else {}
        for last in (False,) * (READS - 1) + (True,):
            with typed_errors(self.place, name):
                try:
                    answer = self.client.get_object(**self._at(name), **condition)
                except Exception as error:
                    if etag and code_of(error) in UNCHANGED:
                        return None
                    raise
            with self._may_break_off(last), typed_errors(self.place, name), contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] > LARGEST:
                    raise Corrupt(f"{name}: has more than {LARGEST >> 20} MiB, which no record has")
                return bytes(body.read()), str(answer.get("ETag", ""))
        raise AssertionError("unreachable")

    def head(self, name: str) -> Facts | None:
        """What is known of an object; None when there is none."""
        try:
            with typed_errors(self.place, name):
                answer = self.client.head_object(**self._at(name), ChecksumMode="ENABLED")
        except FileNotFoundError:
            return None
        sha256 = answer.get("ChecksumSHA256", "")
        whole = "" if "-" in sha256 else sha256  # of parts: not the file's
        return Facts(int(answer["ContentLength"]), str(answer.get("ETag", "")), base64.b64decode(whole).hex())

    def listing(
        self, folder: str, *, deep: bool = False, begins: str = "", after: str = "", most: int = 0
    ) -> Iterator[tuple[str, Facts | None]]:
        """What lies in `folder` ("" is the top), in no order: names relative to it, without facts for folders, which end
        with "/". `deep`: all objects below. `begins`: only those whose relative name begins so. `after`: only those that
        come after this one. `most`: a single page, of so many.

        Raises TryAgain when the listing has no end.
        """
        prefix = self.place.key(f"{folder}/" if folder else "")
        wanted: dict[str, Any] = {"Bucket": self.place.bucket, "Prefix": prefix + begins}
        wanted |= {} if deep else {"Delimiter": "/"}
        wanted |= {"StartAfter": prefix + after} if after else {}
        wanted |= {"MaxKeys": most} if most else {}
        tokens: set[str] = set()
        more: dict[str, str] = {}
        while True:
            with typed_errors(self.place):
                answer = self.client.list_objects_v2(**wanted, **more)
            for each in answer.get("CommonPrefixes", ()):
                yield each["Prefix"].removeprefix(prefix), None
            for each in answer.get("Contents", ()):
                yield each["Key"].removeprefix(prefix), Facts(int(each["Size"]), str(each.get("ETag", "")))
            if most or not answer.get("IsTruncated"):
                return
            token = answer.get("NextContinuationToken", "")
            if not token or token in tokens:
                raise TryAgain(f"{self.place}: the listing of {folder or 'the top'} repeats itself", hint=LATER)
            tokens.add(token)
            more = {"ContinuationToken": token}

    def fetch(self, name: str, size: int, path: Path) -> None:
        """Write an object of `size` bytes into the file at `path`, in parts at once; raises FileNotFoundError, Corrupt."""
        if (facts := self.head(name)) is None:
            raise FileNotFoundError(name)
        if facts.size != size:
            raise Corrupt(f"{name}: has {facts.size} bytes, not {size}")
        starts = range(0, size, PART)
        with path.open("r+b", buffering=0) as file:
            if len(starts) == 1:
                self._fetch_part(name, file.fileno(), 0, size)
            else:
                with ThreadPoolExecutor(min(AT_ONCE, len(starts) or 1)) as pool:
                    list(pool.map(lambda at: self._fetch_part(name, file.fileno(), at, min(PART, size - at)), starts))

    def digest(self, name: str) -> str:
        """The SHA-256 of an object's bytes, which are read; raises FileNotFoundError."""
        for last in (False,) * (READS - 1) + (True,):
            found, size = hashlib.sha256(), 0
            with typed_errors(self.place, name):
                answer = self.client.get_object(**self._at(name))
            with self._may_break_off(last), typed_errors(self.place, name):
                with contextlib.closing(answer["Body"]) as body:
                    for chunk in body.iter_chunks(1 << 20):
                        found.update(chunk)
                        size += len(chunk)
                if size == answer["ContentLength"]:
                    return found.hexdigest()
                raise TryAgain(f"{self.place}: {name}: its bytes break off", hint=LATER)
        raise AssertionError("unreachable")

    def unfinished(self) -> Iterator[tuple[str, datetime]]:
        """Uploads in parts that were begun and not completed: name, and when."""
        with typed_errors(self.place):
            pages = self.client.get_paginator("list_multipart_uploads")
            for page in pages.paginate(Bucket=self.place.bucket, Prefix=self.place.key("")):
                for each in page.get("Uploads", ()):
                    yield each["Key"].removeprefix(self.place.key("")), each["Initiated"]

    def server(self) -> str:
        """What the store calls itself."""
        with typed_errors(self.place):
            answer = self.client.list_objects_v2(Bucket=self.place.bucket, Prefix=self.place.key(""), MaxKeys=1)
        return server_of(answer)

    def _fetch_part(self, name: str, fd: int, start: int, size: int) -> None:
        if not size:
            return
        for last in (False,) * (READS - 1) + (True,):
            with typed_errors(self.place, name):
                answer = self.client.get_object(**self._at(name), Range=f"bytes={start}-{start + size - 1}")
            at = start
            with self._may_break_off(last), typed_errors(self.place, name):
                with contextlib.closing(answer["Body"]) as body:
                    for chunk in body.iter_chunks(1 << 20):
                        if at + len(chunk) > start + size:
                            raise Corrupt(f"{name}: the store sends more than the bytes that it was asked for")
                        at += os.pwrite(fd, chunk, at)
                if at == start + size:
                    return
                raise TryAgain(f"{self.place}: {name}: its bytes break off", hint=LATER)

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.place.bucket, "Key": self.place.key(name)}

    @staticmethod
    @contextlib.contextmanager
    def _may_break_off(last: bool) -> Iterator[None]:  # noqa: FBT001
        """A body that broke off is read again, except at the last time; requests are repeated by botocore."""
        try:
            yield
        except TryAgain:
            if last:
                raise
