"""The settings of what is stored: where it lies, and how much of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pipelines.config.bounds import ONE_OR_MORE, Between
from registry.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Registry:
    """Where versions and releases are kept: `file://` and a folder, relative to the file, or `s3://bucket/prefix`."""

    url: str = "file://.trainyard/registry"
    require_signatures: bool = True
    """Refuse a registry whose records are not signed."""
    trusted_keys: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Ids of keys that it may have begun with, for a machine that does not know it yet."""
    endpoint: str = ""
    """`s3://`: the URL of the store; empty: AWS, or as ~/.aws says."""
    region: str = ""
    profile: str = ""
    """`s3://`: the profile of ~/.aws with the credentials, which are never in the settings."""
    sse: Literal["", "AES256", "aws:kms", "aws:kms:dsse"] = ""
    """`s3://`: encryption by the server; empty: as the bucket says."""
    kms_key: str = ""
    storage_class: Literal["", "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"] = ""
    """`s3://`: of the files; records are small, and always STANDARD."""
    cache_mb: Annotated[int, Between(0, 10**8)] = 20_480
    """`s3://`: local copies that nobody uses at the moment."""
    archive: str = ""
    """Where `trainyard registry archive` moves the bytes of a version: a folder, `file://…` or `s3://bucket/prefix`."""
    archive_days: Annotated[float, Between(0, 36_500)] = 30.0
    """A version that was registered, or live, since then is not archived."""


@dataclass(frozen=True, slots=True)
class Cache:
    """Where machines share what they have prepared of a dataset."""

    url: str = ""
    """`file://` and a folder that all of them see, relative to the file, or `s3://bucket/prefix`; empty: nothing is shared."""
    max_mb: Annotated[int, Between(1, 10**8)] = 20_480
    """All entries of a folder; those used longest ago are deleted. A bucket needs a lifecycle rule of its own."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a version says about the data that it was made of."""

    row_keys: Annotated[int, Between(0, 100_000_000)] = 1_000_000
    """Up to how many samples a version lists their keys, as 8 bytes of a digest each; 0: none."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays on the disk of what earlier runs have left; `trainyard clean` and the end of each run remove the rest."""

    runs: Annotated[int, Between(0, 1_000_000)] = 200
    """Runs with their records, logs and reports; 0: all."""
    full_runs: Annotated[int, Between(0, 1_000_000)] = 5
    """The newest of them also keep their checkouts, data and weights."""
    mail_days: Annotated[int, Between(1, 36_500)] = 90
    """Mails that were sent, in `<home>/outbox/sent`."""
