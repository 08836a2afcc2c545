"""Objects in a bucket. boto3's chain gives the credentials, botocore signs; the bytes go through `object_transfer.py`, which
sees no credentials and moves thousands of small objects in the time that a client takes for hundreds."""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.repositories import addresses, processes, transfers
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.source import Found, Sent, Wanted, changed
from registry import s3_client
from registry.errors import ConfigError, TryAgain
from registry.files import sha256_file
from registry.store_options import Access

EMPTY = hashlib.sha256(b"").hexdigest()
PROCESSES, THREADS = 2, 8
"""Processes that transfer, and requests at once in each."""
SMALLEST_PART = 100  # objects, for which a process is started
LARGE, PART = 16 << 20, 16 << 20
"""Bytes above which a file goes in parts, and of a part."""
PARTS_AT_ONCE = 6
TRIES = 5
OK, NOT_FOUND, TAKEN, CONFLICT = 200, 404, 412, 409
LATER = {408, 409, 429, 500, 502, 503, 504}
REMOVED_AT_ONCE = 1000
SAID = re.compile(r"<(Code|Message|Region)>([^<]*)</")
FIRST_PAUSE = 0.2  # seconds before the first repetition; doubled each time


class S3Objects:
    """A bucket, with the keys that begin with the place's prefix; `what` begins the messages."""

    def __init__(self, place: Place, what: str) -> None:
        self.what = what
        self.place = s3_client.Place(place.bucket, place.prefix, f"{what}: the data store's")
        self.access = Access(place.endpoint, place.region, place.profile)

    @cached_property
    def client(self) -> Any:
        """What boto3 would make, but without a proxy, as `object_transfer.py` uses none."""
        return s3_client.connect(self.place, self.access, PARTS_AT_ONCE, direct=True)

    def fetch(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """See `Objects`."""
        requests = [
            {"key": each.key, "into": str(each.into), "size": each.most, "shorter": not each.exact} for each in wanted
        ]
        folder = os.path.commonpath([each.into.parent for each in wanted]) if wanted else ""
        answers = self._ask("GET", requests, write=folder)
        return [each for each, answer in zip(wanted, answers, strict=True) if answer["status"] == NOT_FOUND]

    def send(self, files: Sequence[Sent]) -> list[Sent]:
        """See `Objects`."""
        small = [each for each in files if each.size <= LARGE]
        requests = [
            {"key": each.key, "from": str(each.path), "size": each.size, "sha256": each.sha256} for each in small
        ]
        folder = os.path.commonpath([each.path.parent for each in small]) if small else ""
        answers = self._ask("PUT", requests, read=folder)
        for each, answer in zip(small, answers, strict=True):
            if answer.get("changed"):
                raise changed(each)
        created = [each for each, answer in zip(small, answers, strict=True) if answer["status"] == OK]
        return created + [each for each in files if each.size > LARGE and self._send_in_parts(each)]

    def present(self, keys: Sequence[str]) -> set[str]:
        """See `Objects`."""
        with ThreadPoolExecutor(PARTS_AT_ONCE) as pool:
            there = list(pool.map(self._exists, keys))
        return {key for key, is_there in zip(keys, there, strict=True) if is_there}

    def listed(self, folder: str) -> Iterator[Found]:
        """See `Objects`."""
        with s3_client.typed_errors(self.place):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.place.bucket, Prefix=self.place.key(f"{folder}/")
            )
            start = len(self.place.key(""))
            for page in pages:
                for each in page.get("Contents", ()):
                    yield Found(each["Key"][start:], each["Size"], each["LastModified"].timestamp())

    def remove(self, keys: Sequence[str]) -> None:
        """See `Objects`."""
        for start in range(0, len(keys), REMOVED_AT_ONCE):
            names = [{"Key": self.place.key(each)} for each in keys[start : start + REMOVED_AT_ONCE]]
            with s3_client.typed_errors(self.place):
                answer = self.client.delete_objects(Bucket=self.place.bucket, Delete={"Objects": names, "Quiet": True})
            for error in answer.get("Errors", ()):
                raise ConfigError(
                    f"{self.what}: {error.get('Key')}: {error.get('Code')}: {error.get('Message')}",
                    hint="this identity needs s3:DeleteObject there",
                )

    def _exists(self, key: str) -> bool:
        try:
            with s3_client.typed_errors(self.place, key):
                self.client.head_object(Bucket=self.place.bucket, Key=self.place.key(key))
        except FileNotFoundError:
            return False
        return True

    def _ask(
        self, method: str, requests: Sequence[Mapping[str, Any]], *, read: str = "", write: str = ""
    ) -> list[dict[str, Any]]:
        """The answers to these requests, by some processes at once; raises PipelineError for what is not an answer."""
        if not requests:
            return []
        size = max(SMALLEST_PART, -(-len(requests) // PROCESSES))
        parts = [requests[start : start + size] for start in range(0, len(requests), size)]
        _ = self.signer  # before there are threads
        answers = transfers.in_processes(lambda part: self._ask_part(method, part, read=read, write=write), parts)
        return [each for part in answers for each in part]

    def _ask_part(
        self, method: str, requests: Sequence[Mapping[str, Any]], *, read: str, write: str
    ) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = [{} for _ in requests]
        todo, pause = list(range(len(requests))), FIRST_PAUSE
        for last in range(1 - TRIES, 1):
            signed = [{**requests[each], **self.signer.sign(method, requests[each])} for each in todo]
            what = f"{self.what}: {self.place.url}: moving its objects"
            given = transfers.ask(
                signed, what, certificates=self.signer.certificates, read=read, write=write, at_once=THREADS
            )
            for number, answer in zip(todo, given, strict=True):
                answers[number] = answer
            todo = [each for each in todo if _may_work_later(answers[each])]
            if not todo or not last:
                break
            processes.raise_if_stopping(pause)
            pause *= 2
        for request, answer in zip(requests, answers, strict=True):
            self._check(answer, str(request["key"]))
        return answers

    def _check(self, answer: dict[str, Any], key: str) -> None:
        """Raise PipelineError unless this is an answer: that it was done, is not there, or was there already."""
        if "status" not in answer:
            answer["status"] = 0
            if answer.get("changed"):
                return
            kind = ConfigError if answer.get("lasting") else TryAgain
            hint = "does the address name an S3 server that this machine reaches, and is its certificate known here?"
            raise kind(f"{self.place}: {answer['error']}", hint=self.place.hint(hint))
        if answer["status"] in {OK, TAKEN} or (
            answer["status"] == NOT_FOUND and _said(answer).get("Code") != "NoSuchBucket"
        ):
            return
        from botocore.exceptions import ClientError

        response = {
            "Error": _said(answer) or {"Code": str(answer["status"])},
            "ResponseMetadata": {"HTTPStatusCode": answer["status"]},
        }
        with s3_client.typed_errors(self.place, key):
            raise ClientError(response, "request")

    @cached_property
    def signer(self) -> Signer:
        """What signs our requests."""
        return Signer(self.client, self.place, self.access, self.what)

    def _send_in_parts(self, sent: Sent) -> bool:
        """Send a large file, and have the object appear only when all of it had the right SHA-256; whether it is new."""
        if self._exists(sent.key):
            return False
        name = {"Bucket": self.place.bucket, "Key": self.place.key(sent.key)}
        with s3_client.typed_errors(self.place, sent.key):
            upload = name | {"UploadId": self.client.create_multipart_upload(**name)["UploadId"]}
            try:
                parts = self._parts(sent, upload)
                self.client.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, IfNoneMatch="*")
            except BaseException as error:
                self.client.abort_multipart_upload(**upload)
                if isinstance(error, Exception) and s3_client.code_of(error) in s3_client.TAKEN:
                    return False
                raise
        return True

    def _parts(self, sent: Sent, upload: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Upload the parts, while all of the file is hashed; raises ConfigError when it is not what was announced."""
        with sent.path.open("rb") as file, ThreadPoolExecutor(PARTS_AT_ONCE + 1) as pool:
            fd = file.fileno()
            digest = pool.submit(sha256_file, sent.path)

            def part(number: int) -> dict[str, Any]:
                processes.raise_if_stopping()
                body = os.pread(fd, PART, (number - 1) * PART)
                answer = self.client.upload_part(**upload, PartNumber=number, Body=body)
                return {"PartNumber": number, "ETag": answer["ETag"]} | {
                    key: value for key, value in answer.items() if key.startswith("Checksum") and key != "ChecksumType"
                }

            parts = list(pool.map(part, range(1, -(-sent.size // PART) + 1)))
            if digest.result() != sent.sha256 or os.fstat(fd).st_size != sent.size:
                raise changed(sent)
        return parts


class Signer:
    """Signs requests for the objects of a place, with Signature Version 4."""

    def __init__(self, client: Any, place: s3_client.Place, access: Access, what: str) -> None:
        from botocore.auth import S3SigV4Auth
        from botocore.session import Session

        class Announced(S3SigV4Auth):  # type: ignore[misc]
            """Signs the SHA-256 that is known already."""

            def payload(self, request: Any) -> str:
                return str(request.context["sha256"])

        with s3_client.typed_errors(place):
            url = str(
                client.generate_presigned_url("get_object", Params={"Bucket": place.bucket, "Key": place.key("k")})
            )
            credentials = Session(profile=access.profile or None).get_credentials()
        self.base = url.partition("?")[0].removesuffix(quote(place.key("k")))
        self.place, self.auth = place, Announced(credentials, "s3", client.meta.region_name or "us-east-1")
        address = addresses.parse(self.base)
        if address is None:
            raise ConfigError(f"{place}: {self.base!r} is not the address of an S3 server", hint="correct its endpoint")
        self.ips = addresses.ips(address, f"{what}: {place.url} is at", public=False)
        bundle = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or ""
        self.certificates = Path(bundle).read_text(encoding="ascii", errors="ignore") if bundle else ""

    def sign(self, method: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """What makes a request of `asked`: URL, addresses, headers."""
        from botocore.awsrequest import AWSRequest

        url = self.base + quote(self.place.key(asked["key"]))
        headers, sha256 = {}, EMPTY
        if method == "PUT":
            sha256 = asked["sha256"]
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
            headers = {"If-None-Match": "*", "x-amz-checksum-sha256": checksum}
        request = AWSRequest(method, url, headers=headers)
        request.context["sha256"] = sha256
        self.auth.add_auth(request)
        return {"url": url, "ips": self.ips, "headers": dict(request.headers)}


def _may_work_later(answer: Mapping[str, Any]) -> bool:
    return answer.get("status") in LATER or ("error" in answer and not answer.get("lasting"))


def _said(answer: Mapping[str, Any]) -> dict[str, str]:
    """Code, message and region of an error, as S3 writes them."""
    return {name: html.unescape(value) for name, value in SAID.findall(str(answer.get("body", "")))}
