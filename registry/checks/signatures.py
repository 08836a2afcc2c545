"""Keys and heads: whether they are those that this machine knows, and whether all is there that the heads say."""

from __future__ import annotations

from registry import heads, releases
from registry.checks.findings import Findings
from registry.errors import Corrupt
from registry.keyring import key_chain
from registry.marks import mark_of
from registry.records import SeenHead
from registry.stores import Store, signatures_of


def check_keys(store: Store, findings: Findings) -> bool:
    """Check `keys/`; whether they can be used. Raises ConfigError when this machine does not know them at all."""
    findings.records(key_chain(store))
    if signatures := signatures_of(store):
        try:
            signatures.verify_keys()
        except Corrupt as error:
            findings.problems.append(str(error))
            return False
    return True


def check_heads(store: Store, model: str, findings: Findings) -> None:
    """Check a model's heads, and that what they, and one that this machine has seen, vouch for is there."""
    chain = heads.head_chain(store, model)
    records = findings.records(chain)
    for each in records:
        if each.model != model:
            findings.wrong(chain.name(each.number), f"is about {each.model}")
    with findings.collecting():
        findings.problems += heads.missing_since(store, model, records)
    signatures = signatures_of(store)
    if signatures is None:
        return
    if seen := signatures.seen(model):
        findings.problems += problems_since(store, seen)
    known = records[-1].releases.count if records else 0
    folder = releases.release_chain(store, model).folder
    with findings.collecting():
        if (newest := mark_of(store, folder).count) > known:
            findings.note(f"{folder}/{newest:06d}.json", "no head has it yet; the next run, or release, writes one")


def problems_since(store: Store, seen: SeenHead) -> list[str]:
    """What is wrong with the registry if this head was once its newest."""
    try:
        heads.check_seen(store, seen)
    except Corrupt as error:
        return [str(error)]
    return []
