"""How far every chain of a registry goes, and which manifests it has: what a key record or a head vouches for."""

from __future__ import annotations

from registry import attestations, candidates
from registry.candidates import version_folder
from registry.chain import Chain
from registry.files import sha256_bytes
from registry.records import Head, Mark
from registry.stores import Store


def mark_of(store: Store, folder: str) -> Mark:
    """How far a chain goes: its last record."""
    count = Chain(store, Head, folder).last()  # for numbers only, whatever the records are
    return Mark(count, sha256_bytes(store.get(f"{folder}/{count:06d}.json")) if count else "")


def mark_after(store: Store, folder: str, known: Mark) -> Mark:
    """How far a chain goes that went as far as `known`: the records after it are read one by one, without a listing."""
    while known.count:
        number = known.count + 1
        try:
            known = Mark(number, sha256_bytes(store.get(f"{folder}/{number:06d}.json")))
        except FileNotFoundError:
            return known
    return mark_of(store, folder)


def everything(store: Store) -> dict[str, Mark]:
    """Chain or manifest → what is there now."""
    found: dict[str, Mark] = {}
    for model in (name[:-1] for name in store.names("production") if name.endswith("/")):
        for each in store.names(f"production/{model}"):
            if each.endswith("/") and not candidates.is_version(each):
                found[f"production/{model}/{each[:-1]}"] = mark_of(store, f"production/{model}/{each[:-1]}")
    for model in candidates.models(store):
        for version in candidates.versions(store, model):
            folder = version_folder("test", model, version)
            found[f"{folder}/card.json"] = Mark(1, sha256_bytes(store.get(f"{folder}/card.json")))
            found[f"{folder}/acceptances"] = mark_of(store, f"{folder}/acceptances")
            if attested := attestations.record_digest(store, model, version):
                found[f"{attestations.folder(model, version)}/{attestations.RECORD}"] = Mark(1, attested)
    return {name: mark for name, mark in found.items() if mark.count}
