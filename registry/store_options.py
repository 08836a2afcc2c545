"""What a backend may need to know beside its URL. Nothing in it is secret."""

from __future__ import annotations

from dataclasses import field

from registry.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Access:
    """Where an object store answers, and which profile of `~/.aws` to use; what is empty is found as boto3 finds it."""

    endpoint: str = ""
    """A URL, for stores other than AWS."""
    region: str = ""
    profile: str = ""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """For a store of objects; a folder needs none of them."""

    access: Access = field(default_factory=Access)
    sse: str = ""
    """Server-side encryption: "AES256", "aws:kms", "aws:kms:dsse"; empty: as the bucket says."""
    kms_key: str = ""
    storage_class: str = ""
    """Of the files; records are small and always read at once."""
    cache: str = ""
    """A folder for local copies; empty: a temporary one, for as long as the store is open."""
    cache_mb: int = 20_000
    """How much may stay there that nobody uses."""
