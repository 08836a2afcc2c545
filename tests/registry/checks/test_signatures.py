"""What is said of keys and heads: those that this machine knows, and whether all is there that the heads say."""

import dataclasses

import pytest
from registry_parts import MemoryStore, OneKey, acceptance, promote, publish, release
from versions import CREATED_AT

from registry import candidates, heads
from registry.checks.findings import Findings
from registry.checks.signatures import check_heads, check_keys, problems_since
from registry.errors import ConfigError, Corrupt
from registry.keyring import append_key, draft_key, key_chain
from registry.signatures import make_key
from registry.signed_store import SignedStore

HEADS = "production/digits/heads"
RELEASES = "production/digits/releases"


class Keys(OneKey):
    """Keys that are what `problem` says."""

    problem = None

    def verify_keys(self):
        if self.problem:
            raise self.problem


@pytest.fixture
def below(tmp_path):
    return MemoryStore(tmp_path / "local")


@pytest.fixture
def store(below, tmp_path):
    """Two releases, each with its head, of one version."""
    made = SignedStore(below, Keys())
    version = publish(made, tmp_path, "run")
    candidates.append_acceptance(made, acceptance(made, version))
    promote(made, version, "token")
    release(made, version)
    return made


def keys_of(store):
    findings = Findings()
    return check_keys(store, findings), findings.problems


def said(store):
    findings = Findings()
    check_heads(store, "digits", findings)
    return findings.problems, findings.notes


def test_keys_that_verify_can_be_used(store, below):
    assert keys_of(store) == keys_of(below) == (True, [])


def test_keys_that_do_not_verify_cannot_be_used_and_the_reason_is_a_problem(store):
    store.signatures.problem = Corrupt("keys/000001.json: its signature does not match")
    assert keys_of(store) == (False, ["keys/000001.json: its signature does not match"])
    store.signatures.problem = ConfigError("this machine does not know the registry")
    with pytest.raises(ConfigError):
        keys_of(store)


def test_key_records_that_were_altered_are_problems_also_where_nobody_verifies_them(below):
    key = make_key()
    append_key(below, draft_key("made", key.public, {}, by="ada", at=CREATED_AT, reason=""), key, 0)
    below._kept["keys/000001.json"] += b" "
    below.create("keys/readme", b"1")
    assert keys_of(below) == (
        True,
        [f"{key_chain(below).name(1)}: checksum mismatch", "keys/readme: does not belong here"],
    )


def test_of_heads_that_say_what_is_there_nothing_is_said(store, below):
    assert len(below.names(HEADS)) == 2
    assert said(store) == ([], [])


def test_without_signatures_there_are_no_heads_and_none_are_missed(below, tmp_path):
    promote(below, publish(below, tmp_path, "run"), "token")
    assert said(below) == ([], [])


def test_a_head_of_another_model_is_a_problem(store):
    head = heads.head_chain(store, "digits").read(2)
    heads.head_chain(store, "digits").append(dataclasses.replace(head, model="flowers"), 2)
    assert said(store) == ([f"{HEADS}/000003.json: is about flowers"], [])


def test_what_a_head_says_and_is_gone_is_a_problem(store, below):
    del below._kept[f"{RELEASES}/000002.json"]
    assert said(store) == ([f"{RELEASES}/000002.json: {heads.GONE}"], [])


def test_a_head_that_this_machine_has_seen_and_is_gone_is_a_problem(store, below):
    seen = store.signatures.seen("digits")
    assert problems_since(store, seen) == []
    del below._kept[f"{HEADS}/000002.json"]
    problem = f"{HEADS}/000002.json: is missing, though it was seen: release 2 was the newest"
    assert problems_since(store, seen) == [problem]
    assert said(store) == ([problem], [f"{RELEASES}/000002.json: {NOT_YET}"])
    store.signatures.heads.clear()  # a machine that has seen nothing cannot know
    assert said(store)[0] == []


NOT_YET = "no head has it yet; the next run, or release, writes one"


def test_a_release_that_no_head_has_yet_is_a_note(store, below):
    store.signatures.heads.clear()
    for name in ("000001.json", "000002.json"):
        del below._kept[f"{HEADS}/{name}"]
    assert said(store) == ([], [f"{RELEASES}/000002.json: {NOT_YET}"])
    del below._kept[f"{RELEASES}/000002.json"]
    assert said(store) == ([], [f"{RELEASES}/000001.json: {NOT_YET}"])
    heads.write_head(store, "digits")
    assert said(store) == ([], [])


def test_the_newest_head_says_which_releases_are_known(store, below):
    """The last release has a number that no head has, though an older head and a newer one are there."""
    store.signatures.heads.clear()
    del below._kept[f"{HEADS}/000002.json"]
    candidates.append_acceptance(store, acceptance(store, 1))
    assert said(store) == ([], [f"{RELEASES}/000002.json: {NOT_YET}"])
    heads.write_head(store, "digits")
    assert said(store) == ([], [])
