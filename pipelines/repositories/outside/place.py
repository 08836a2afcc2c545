"""Where the bytes of a dataset's files are, and whether we may fetch them from there.

The settings may name any place. The files of a repository are anybody's who may push to it: they can name a folder beside
a repository that is a folder of this machine, and otherwise what `[repositories] trusted` allows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.repositories import addresses
from pipelines.repositories.addresses import Address
from pipelines.text.clean import clean
from registry.dataclass import dataclass
from registry.errors import ConfigError

S3 = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")
OTHERS = {
    "gs": "Google Cloud Storage", "gcs": "Google Cloud Storage", "azure": "Azure", "ssh": "SSH", "http": "HTTP", "https": "HTTP",
    "hdfs": "HDFS", "webhdfs": "WebHDFS", "webdav": "WebDAV", "webdavs": "WebDAV", "gdrive": "Google Drive", "oss": "OSS",
    "remote": "another remote",
}  # fmt: skip
OPTIONS = ("endpoint", "region", "profile")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of this machine, or a bucket with the names that begin with `prefix`; `endpoint`, `region` and `profile`
    (of the user's AWS configuration) are those of boto3, empty for what that finds by itself."""

    folder: str = ""
    bucket: str = ""
    prefix: str = ""
    endpoint: str = ""
    region: str = ""
    profile: str = ""

    def __str__(self) -> str:
        if self.folder:
            return self.folder
        return f"s3://{self.bucket}{'/' if self.prefix else ''}{self.prefix}"


def parse(text: str, options: Mapping[str, str], where: str) -> Place:
    """The place that `text` names: `s3://bucket/prefix`, `file:///folder` or an absolute folder; raises ConfigError, whose
    message begins with `where`."""
    if found := S3.fullmatch(text):
        prefix = (found[2] or "").strip("/")
        if prefix and (not prefix.isprintable() or {"", ".", ".."} & set(prefix.split("/"))):
            raise ConfigError(f"{where}: {clean(text, 200)!r} is not a prefix in a bucket", hint="s3://bucket/prefix")
        return Place(bucket=found[1], prefix=prefix, **{key: options.get(key, "") for key in OPTIONS})
    scheme = text.partition("://")[0].lower() if "://" in text else ""
    if scheme in OTHERS:
        raise ConfigError(
            f"{where}: {clean(text, 200)} is on {OTHERS[scheme]}, from which nothing is fetched",
            hint="a bucket (s3://…) or a folder is; [repositories] data_store names one with the same files in place of it",
        )
    address = addresses.parse(text)
    if address is not None and not address.scheme:
        return Place(folder=address.path)
    if scheme or not text or not text.isprintable() or ":" in text:
        raise ConfigError(
            f"{where}: {clean(text, 200)!r} is not a place that is known",
            hint="s3://bucket/prefix, or an absolute folder",
        )
    raise ConfigError(
        f"{where}: {clean(text, 200)!r} is a relative folder, and each clone of the repository is elsewhere",
        hint="name the folder from the root (/…), or have [repositories] data_store name it",
    )


def refuse_untrusted(place: Place, named_by: Address | None, trusted: Sequence[str], where: str) -> None:
    """Raise ConfigError unless a file of the repository at `named_by` may have us fetch from this place."""
    lacking = []
    if place.folder:
        here = named_by or Address("https", "", 443, "/")
        if not addresses.is_allowed(Address("", "", 0, place.folder), here, trusted):
            lacking = [place.folder]
    else:
        known = [each.rstrip("/") for each in trusted]
        parts = str(place).split("/")
        if not any("/".join(parts[:end]) in known for end in range(3, len(parts) + 1)):
            lacking = [str(place)]
        if place.endpoint:
            address = addresses.parse(place.endpoint)
            if address is None or address.scheme not in {"http", "https"}:
                raise ConfigError(
                    f"{where}: {clean(place.endpoint, 200)!r} is not the address of an S3 server",
                    hint="https://HOST, or https://HOST:PORT",
                )
            if address.place not in trusted:
                lacking.append(address.place)
    if lacking:
        names = ", ".join(f'"{each}"' for each in (*trusted, *lacking))  # the whole line, to be copied
        raise ConfigError(
            f"{where} names {place}{f' at {place.endpoint}' if place.endpoint else ''}, which the settings do not name",
            hint=f"if files may be fetched from there: [repositories] trusted = [{names}]",
        )


def is_there(place: Place) -> bool:
    """Whether a place's folder can be read; True for a bucket, which only shows when it is asked."""
    return not place.folder or os.access(Path(place.folder), os.R_OK | os.X_OK)
