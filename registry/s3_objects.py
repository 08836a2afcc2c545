"""Objects below a prefix of a bucket: created once, whole or absent, and read as in `registry.s3_reads`. Rules of names and
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
from pathlib import Path
from typing import IO, Any

from registry import s3_reads
from registry.errors import Corrupt, TryAgain
from registry.s3_client import CONFLICT, LATER, TAKEN, Place, code_of, typed_errors, was_retried
from registry.s3_reads import AT_ONCE, Reads
from registry.store_options import StoreOptions

MOST_PARTS = 10_000
CONFLICTS = 6
"""So often a request is repeated that another one was in the way of."""


class Objects(Reads):
    """See the module; threads may share it, and so may forked processes."""

    def __init__(self, place: Place, options: StoreOptions) -> None:
        super().__init__(place, options)
        self._buffers = threading.BoundedSemaphore(AT_ONCE)

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
                size = max(s3_reads.PART, -(-_size(file) // MOST_PARTS))
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

    def remove(self, name: str) -> None:
        """Remove an object, if it is there: what was made to try the store, and the files of versions that were archived."""
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

    def _is(self, name: str, data: bytes) -> bool:
        try:
            return self.get(name) == data
        except FileNotFoundError:
            return False

    def _conflict(self, name: str) -> TryAgain:
        return TryAgain(f"{self.place}: {name}: others write it all the time", hint=LATER)

    def _encryption(self) -> dict[str, str]:
        wanted = {"ServerSideEncryption": self._options.sse, "SSEKMSKeyId": self._options.kms_key}
        return {name: value for name, value in wanted.items() if value}

    def _class(self) -> dict[str, str]:
        return {"StorageClass": self._options.storage_class} if self._options.storage_class else {}


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
