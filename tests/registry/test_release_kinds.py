"""Each release says why it was made; what older records do not say is read from their other fields."""

import json
from dataclasses import replace

import pytest
from registry_parts import acceptance, promote, publish, release
from versions import approval_draft, release_draft

from registry import candidates, codec, releases
from registry.errors import Corrupt
from registry.files import sha256_bytes
from registry.records import Release
from registry.records.release import kind_of_old
from registry.verify import verify

BEFORE_KINDS = b"""{
 "approval": null,
 "at": "2026-11-20T09:00:00Z",
 "by": "trainyard",
 "card": "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
 "model": "digits",
 "number": 2,
 "previous": "",
 "reason": "release 1 did not go live: no answer after 60 s",
 "schema": 1,
 "seal": "4323282ea4a4b13fb07f31dd8d230b426a516e13b5ccef14fd3917b2f5eefc79",
 "version": 3
}
"""
FAILED = "release 7 did not go live: the port is in use"


def as_before_kinds(record):
    """The bytes of a release as they were written before releases had a kind."""
    raw = json.loads(codec.to_json(record)) | {"seal": ""}
    for name in ("kind", "also_approved", "compared", "failed", "although"):
        del raw[name]
    data = (json.dumps(raw, sort_keys=True, ensure_ascii=False, indent=1) + "\n").encode()
    return data.replace(b'"seal": ""', f'"seal": "{sha256_bytes(data)}"'.encode())


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"version": 1, "approval": 1, "by": "ada", "reason": "promoted with approval 1"}, "promotion"),
        ({"version": 1, "approval": 1, "by": "trainyard", "reason": "promoted with approval 1"}, "promotion"),
        ({"version": 1, "approval": None, "by": "ada", "reason": "rolled back"}, "rollback"),
        ({"version": 1, "approval": None, "by": "trainyard", "reason": "rolled back"}, "rollback"),
        ({"version": 1, "approval": None, "by": "ada", "reason": FAILED}, "rollback"),
        ({"version": 1, "approval": None, "by": "trainyard", "reason": FAILED}, "revert"),
        ({"version": None, "approval": None, "by": "trainyard", "reason": FAILED}, "withdrawal"),
        ({"version": None, "approval": None, "by": "carol", "reason": ""}, "withdrawal"),
    ],
    ids=lambda each: each if isinstance(each, str) else "-".join(str(value) for value in each.values()),
)
def test_the_kind_of_an_old_release_is_that_of_its_other_fields(fields, kind):
    assert kind_of_old(fields) == kind
    assert Release.upgrade(fields) == fields | {"kind": kind}


def test_a_kind_that_is_written_is_not_derived():
    raw = {"kind": "rollback", "version": None}
    assert Release.upgrade(raw) == raw


def test_an_old_release_is_read_with_its_checksum_and_its_kind():
    found = codec.from_json(Release, BEFORE_KINDS, "x.json", checksum_required=True)
    assert (found.number, found.version, found.kind, found.by) == (2, 3, "revert", "trainyard")
    assert codec.from_vouched(Release, BEFORE_KINDS, "x.json") == found
    assert as_before_kinds(found) == BEFORE_KINDS
    for altered in (BEFORE_KINDS.replace(b'"trainyard"', b'"ada"'), BEFORE_KINDS.replace(b"3\n", b"4\n")):
        with pytest.raises(Corrupt, match=r"^x\.json"):
            codec.from_json(Release, altered, "x.json", checksum_required=True)


@pytest.mark.parametrize("kind", ["automatic", "", "Promotion", None, 7])
def test_an_unknown_kind_is_refused(kind):
    raw = json.loads(codec.to_json(release_draft("digits", 1))) | {"kind": kind}
    with pytest.raises(
        Corrupt, match=r"x\.json\.kind: .* is not 'promotion' or 'rollback' or 'revert' or 'withdrawal' or 'demotion'"
    ):
        codec.from_json(Release, json.dumps(raw).encode(), "x.json")


def test_an_old_chain_verifies_and_is_continued(store, tmp_path):
    """Four releases from before kinds, then new ones: one chain, all of its checksums hold, and each has its kind."""
    for run in ("one", "two"):
        version = publish(store, tmp_path, run)
        candidates.append_acceptance(store, acceptance(store, version))
        releases.copy_to_production(store, "digits", version)
        digest = candidates.manifest_digest(store, "digits", version)
        releases.append_approval(store, approval_draft("digits", version, digest, f"token of {run}"))
    old = [
        release_draft("digits", 1, approval=1),
        release_draft("digits", 2, approval=2, by="trainyard"),
        release_draft("digits", 1, by="trainyard", reason="release 2 did not go live: no answer"),
        release_draft("digits", None, by="trainyard", reason="release 3 did not go live: no answer"),
    ]
    chain, previous = releases.release_chain(store, "digits"), ""
    for number, draft in enumerate(old, 1):
        card = candidates.manifest_digest(store, "digits", draft.version) if draft.version else ""
        data = as_before_kinds(replace(draft, number=number, card=card, previous=previous))
        assert b"kind" not in data
        store.create(chain.name(number), data)
        previous = sha256_bytes(data)
    promote(store, 1, "token")
    release(store, 2, by="trainyard")
    release(store, 1, by="trainyard", kind="revert")
    kinds = ["promotion", "promotion", "revert", "withdrawal", "promotion", "rollback", "revert"]
    assert [each.kind for each in releases.releases(store, "digits")] == kinds
    assert [each.kind for each in chain.check()[0]] == kinds
    assert releases.live(store, "digits").kind == "revert"
    assert verify(store) == []
