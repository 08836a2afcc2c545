"""Objects below a prefix of a bucket: created once, whole or absent, and read with every error typed. Rules of names and
records are not here.

A name is taken by the conditional put `If-None-Match: *`. Large files go up in parts, which only become an object when the
upload is completed, on the same condition.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from registry.errors import Corrupt, TryAgain
from registry.s3_client import CONFLICT, LATER, TAKEN, Place, code_of, connect, server_of, typed_errors, was_retried
from registry.store_options import StoreOptions

PART = 16 << 20
"""Bytes; larger files go up and come down in such parts."""
MOST_PARTS = 10_000
AT_ONCE = 8
"""Requests for the parts of files; each part that goes up is in memory."""
CONNECTIONS = 32
CONFLICTS = 6
"""So often a request is repeated that another one was in the way of."""
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


class Objects:
    """See the module; threads may share it, and so may forked processes."""

    def __init__(self, place: Place, options: StoreOptions) -> None:
        self.place = place
        self._options = options
        self._clients: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._buffers = threading.BoundedSemaphore(AT_ONCE)

    @property
    def client(self) -> Any:
        """The client of this process: after a fork no connection is shared."""
        with self._lock:
            if os.getpid() not in self._clients:
                self._clients[os.getpid()] = connect(self.place, self._options.access, CONNECTIONS)
            return self._clients[os.getpid()]

    def get(self, name: str) -> bytes:
        """The bytes of an object; raises FileNotFoundError, Corrupt when they are too many."""
        for last in (False,) * (READS - 1) + (True,):
            with typed_errors(self.place, name):
                answer = self.client.get_object(**self._at(name))
            with self._may_break_off(last), typed_errors(self.place, name), contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] > LARGEST:
                    raise Corrupt(f"{name}: has more than {LARGEST >> 20} MiB, which no record has")
                return bytes(body.read())
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

    def listing(self, folder: str, *, deep: bool = False, begins: str = "") -> Iterator[tuple[str, Facts | None]]:
        """What lies in `folder` ("" is the top), in no order: names relative to it, without facts for folders, which end
        with "/". `deep`: all objects below. `begins`: only those whose relative name begins so.

        Raises TryAgain when the listing has no end.
        """
        prefix = self.place.key(f"{folder}/" if folder else "")
        wanted = {"Bucket": self.place.bucket, "Prefix": prefix + begins} | ({} if deep else {"Delimiter": "/"})
        tokens: set[str] = set()
        more: dict[str, str] = {}
        while True:
            with typed_errors(self.place):
                answer = self.client.list_objects_v2(**wanted, **more)
            for each in answer.get("CommonPrefixes", ()):
                yield each["Prefix"].removeprefix(prefix), None
            for each in answer.get("Contents", ()):
                yield each["Key"].removeprefix(prefix), Facts(int(each["Size"]), str(each.get("ETag", "")))
            if not answer.get("IsTruncated"):
                return
            token = answer.get("NextContinuationToken", "")
            if not token or token in tokens:
                raise TryAgain(f"{self.place}: the listing of {folder or 'the top'} repeats itself", hint=LATER)
            tokens.add(token)
            more = {"ContinuationToken": token}

    def create(self, name: str, data: bytes) -> None:
        """One request, or more when others are in the way; raises FileExistsError when the name is taken."""
        for wait in _waits():
            if self.create_once(name, data):
                return
            if self.head(name):
                raise FileExistsError(name)
            time.sleep(wait)
        raise self._conflict(name)

    def create_once(self, name: str, data: bytes) -> bool:
        """As `create`; False when a concurrent request was in the way, and it is not known who has won."""
        with typed_errors(self.place, name):
            try:
                self.client.put_object(
                    **self._at(name), **self._encryption(), **_checksum(data), Body=data, IfNoneMatch="*"
                )
            except Exception as error:
                if code_of(error) not in TAKEN | CONFLICT:
                    raise
                # A try whose answer was lost may have made it: then what is there is ours.
                if was_retried(getattr(error, "response", {})) and self._is(name, data):
                    return True
                if code_of(error) in TAKEN:
                    raise
                return False
        return True

    def create_file(self, name: str, data: bytes | Path, sha256: str) -> None:
        """Upload bytes with this SHA-256, in parts when they are many; raises FileExistsError, Corrupt.

        Nothing is there under `name` when they differ from it, also when a file is changed while it is read.
        """
        what = data if isinstance(data, Path) else "the bytes"
        for wait in _waits():
            with data.open("rb", buffering=0) if isinstance(data, Path) else io.BytesIO(data) as file:
                size = max(PART, -(-_size(file) // MOST_PARTS))
                first = _read(file, size)
                if len(first) == size:
                    done = self._put_parts(name, first, file, sha256)
                else:
                    must_be(hashlib.sha256(first).hexdigest(), sha256, what)
                    done = self._put_whole(name, first)
            if done:
                return
            time.sleep(wait)
        raise self._conflict(name)

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

    def remove(self, name: str) -> None:
        """For what was made to try the store; nothing of the registry is ever removed."""
        with typed_errors(self.place, name):
            self.client.delete_object(**self._at(name))

    def _begin_parts(self, name: str) -> str:
        """Begin an upload in parts; gives its id."""
        extra = self._encryption() | self._class()
        with typed_errors(self.place, name):
            answer = self.client.create_multipart_upload(**self._at(name), **extra, ChecksumAlgorithm="SHA256")
        return str(answer["UploadId"])

    def _put_part(self, name: str, upload: str, number: int, data: bytes) -> dict[str, Any]:
        """Send a part; gives how `complete` names it."""
        sha256 = _checksum(data)
        with typed_errors(self.place, name):
            answer = self.client.upload_part(**self._at(name), **sha256, UploadId=upload, PartNumber=number, Body=data)
        return {"PartNumber": number, "ETag": answer["ETag"], **sha256}

    def _complete(self, name: str, upload: str, parts: list[dict[str, Any]]) -> bool:
        """Make an object of its parts; False when a concurrent request was in the way and all has to be sent again.

        Raises FileExistsError when the name is taken.
        """
        with typed_errors(self.place, name):
            try:
                self.client.complete_multipart_upload(
                    **self._at(name), UploadId=upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
                )
                return True
            except Exception as error:
                gone = code_of(error) == "NoSuchUpload" and was_retried(getattr(error, "response", {}))
                if gone and self.head(name):  # completed by a try whose answer was lost
                    return True
                if not gone and code_of(error) not in CONFLICT:
                    raise
        return False

    def _abort(self, name: str, upload: str) -> None:
        """Remove the parts of an upload, if it is there and may be removed."""
        with contextlib.suppress(Exception), typed_errors(self.place, name):  # the store's own rules tidy it up then
            self.client.abort_multipart_upload(**self._at(name), UploadId=upload)

    def _put_whole(self, name: str, data: bytes) -> bool:
        extra = self._encryption() | self._class() | _checksum(data)
        with self._buffers, typed_errors(self.place, name):
            try:
                self.client.put_object(**self._at(name), **extra, Body=data, IfNoneMatch="*")
            except Exception as error:
                if code_of(error) not in CONFLICT:
                    raise
                return False
        return True

    def _put_parts(self, name: str, first: bytes, file: IO[bytes], sha256: str) -> bool:
        """As `_complete`; the whole file is hashed as its parts are read, before it becomes an object."""
        upload, digest = self._begin_parts(name), hashlib.sha256()
        sent: list[Future[dict[str, Any]]] = []
        done = False
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                data = first
                while data and not any(each.done() and each.exception() for each in sent):
                    self._buffers.acquire()
                    sent.append(pool.submit(self._send, name, upload, len(sent) + 1, data))
                    digest.update(data)
                    data = _read(file, len(first))
            parts = [each.result() for each in sent]
            must_be(digest.hexdigest(), sha256, getattr(file, "name", "the bytes"))
            done = self._complete(name, upload, parts)
            return done
        finally:
            if not done:
                self._abort(name, upload)

    def _send(self, name: str, upload: str, number: int, data: bytes) -> dict[str, Any]:
        try:
            return self._put_part(name, upload, number, data)
        finally:
            self._buffers.release()

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

    def _is(self, name: str, data: bytes) -> bool:
        try:
            return self.get(name) == data
        except FileNotFoundError:
            return False

    def _conflict(self, name: str) -> TryAgain:
        return TryAgain(f"{self.place}: {name}: others write it all the time", hint=LATER)

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self.place.bucket, "Key": self.place.key(name)}

    def _encryption(self) -> dict[str, str]:
        wanted = {"ServerSideEncryption": self._options.sse, "SSEKMSKeyId": self._options.kms_key}
        return {name: value for name, value in wanted.items() if value}

    def _class(self) -> dict[str, str]:
        return {"StorageClass": self._options.storage_class} if self._options.storage_class else {}

    @staticmethod
    @contextlib.contextmanager
    def _may_break_off(last: bool) -> Iterator[None]:  # noqa: FBT001
        """A body that broke off is read again, except at the last time; requests are repeated by botocore."""
        try:
            yield
        except TryAgain:
            if last:
                raise


def must_be(found: str, wanted: str, what: object) -> None:
    """Raise Corrupt unless a SHA-256 is the wanted one."""
    if found != wanted:
        raise Corrupt(f"{what}: SHA-256 is {found}, not {wanted}", hint="the file was altered after it was hashed")


def _checksum(data: bytes) -> dict[str, str]:
    """What has the server check the bytes that arrive."""
    return {"ChecksumSHA256": base64.b64encode(hashlib.sha256(data).digest()).decode()}


def _size(file: IO[bytes]) -> int:
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    return size


def _read(file: IO[bytes], size: int) -> bytes:
    """The next `size` bytes, fewer only at the end."""
    found = bytearray()
    while len(found) < size and (more := file.read(size - len(found))):
        found += more
    return bytes(found)


def _waits() -> Iterator[float]:
    """Seconds before each repetition."""
    for number in range(CONFLICTS):
        yield random.uniform(0, 0.1 * 2**number)  # noqa: S311 (no secret)
