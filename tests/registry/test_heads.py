"""What a head says of a model's part of the registry, and what shows that it is not there any more."""

import re
from dataclasses import replace

import pytest
from attested import attested
from registry_parts import MemoryStore, OneKey, acceptance, promote, publish
from versions import approval_draft

from registry import attestations, candidates, codec, heads, releases
from registry.errors import ConfigError, Corrupt
from registry.heads import (
    FOLD_AFTER,
    GONE,
    LINE,
    check_seen,
    find_lines,
    missing_since,
    must_be_whole,
    newest,
    write_head,
)
from registry.records import Head, HeadFold, Mark
from registry.signed_store import SignedStore


@pytest.fixture
def unsigned(tmp_path):
    return MemoryStore(tmp_path / "local")


@pytest.fixture
def store(unsigned):
    return SignedStore(unsigned, OneKey())


@pytest.fixture
def released(store, tmp_path):
    """One version that was tested and released; the head that its release has written."""
    version = publish(store, tmp_path, "run")
    candidates.append_acceptance(store, acceptance(store, version))
    promote(store, version, "token")
    return store.signatures.seen("digits")


def forget(store, name):
    del store.unsigned._kept[name]


def spoil(store, name):
    store.unsigned._kept[name] += b" "


def records(store):
    return heads.head_chain(store, "digits").read_all()


def test_an_unsigned_registry_has_no_heads(unsigned, tmp_path):
    promote(unsigned, publish(unsigned, tmp_path, "run"), "token")
    assert (write_head(unsigned, "digits"), newest(unsigned, "digits")) == (None, None)
    must_be_whole(unsigned, "digits")
    assert unsigned.names("production/digits/heads") == []


def test_a_head_says_what_is_there(store, released):
    (head,) = records(store)
    digest = candidates.manifest_digest(store, "digits", 1)
    assert (head.number, head.releases.count, head.approvals.count) == (1, 1, 1)
    assert (head.versions["1"].card, head.versions["1"].acceptances) == (digest, 1)
    assert (released.model, released.number, released.release) == ("digits", 1, 1)
    assert newest(store, "digits") == released


def test_a_head_is_written_when_there_is_something_new_and_only_then(store, released, tmp_path):
    assert write_head(store, "digits") == released
    candidates.append_acceptance(store, acceptance(store, 1))
    second = write_head(store, "digits")
    assert (second.number, records(store)[1].versions.keys()) == (2, {"1"})
    assert records(store)[1].versions["1"].acceptances == 2
    publish(store, tmp_path, "other")
    assert write_head(store, "digits").number == 3
    assert records(store)[2].versions.keys() == {"2"}
    assert write_head(store, "digits").number == 3
    assert store.signatures.seen("digits").number == 3


def test_an_approval_alone_is_something_new(store, released):
    digest = candidates.manifest_digest(store, "digits", 1)
    releases.append_approval(store, approval_draft("digits", 1, digest, "another token"))
    assert write_head(store, "digits").number == 2
    assert records(store)[1].versions == {}


def test_a_model_of_which_nothing_is_there_has_a_head_too(store):
    assert newest(store, "digits") is None
    first = write_head(store, "digits")
    assert (first.number, first.release) == (1, 0)
    must_be_whole(store, "digits")
    assert list(missing_since(store, "digits", records(store))) == []


@pytest.mark.parametrize(
    "name",
    [
        "production/digits/releases/000001.json",
        "production/digits/approvals/000001.json",
        "test/digits/1/card.json",
        "test/digits/1/acceptances/000001.json",
    ],
)
def test_what_is_gone_or_altered_since_a_head_is_named(store, released, name):
    before = store.get(name)
    known = records(store)
    assert list(missing_since(store, "digits", known)) == []
    spoil(store, name)
    assert list(missing_since(store, "digits", known)) == [f"{name}: is not what it was when a head was written"]
    forget(store, name)
    assert list(missing_since(store, "digits", known)) == [f"{name}: {GONE}"]
    store.create(name, before)
    assert list(missing_since(store, "digits", known)) == []


@pytest.mark.parametrize("part", ["releases", "approvals"])
def test_nothing_is_added_where_the_end_of_a_chain_is_gone_or_altered(store, released, part):
    name = f"production/digits/{part}/000001.json"
    spoil(store, name)
    for act in (must_be_whole, write_head):
        with pytest.raises(Corrupt, match=f"{name}: is not what it was"):
            act(store, "digits")
    forget(store, name)
    for act in (must_be_whole, write_head):
        with pytest.raises(Corrupt, match=f"{name}: {GONE}"):
            act(store, "digits")


def test_a_head_of_another_machine_is_remembered(store, released):
    store.signatures.heads.clear()
    must_be_whole(store, "digits")
    assert store.signatures.seen("digits") == released


def test_no_head_is_written_over_a_version_or_a_test_that_is_gone(store, released, tmp_path):
    candidates.append_acceptance(store, acceptance(store, 1))
    write_head(store, "digits")
    forget(store, "test/digits/1/acceptances/000002.json")
    with pytest.raises(Corrupt, match=rf"test/digits/1/acceptances/000002\.json: {GONE}"):
        write_head(store, "digits")
    forget(store, "test/digits/1/card.json")
    with pytest.raises(Corrupt, match=rf"test/digits/1/card\.json: {GONE}"):
        write_head(store, "digits")


def test_what_is_attested_of_a_version_is_in_the_next_head_and_missed_when_it_is_gone(store, released, tmp_path):
    assert records(store)[0].versions["1"].attestation == ""
    attested(store, tmp_path, "run", 1)
    second = write_head(store, "digits")
    assert records(store)[1].versions["1"].attestation == attestations.record_digest(store, "digits", 1) != ""
    assert write_head(store, "digits") == second  # nothing is new
    candidates.append_acceptance(store, acceptance(store, 1))
    write_head(store, "digits")
    assert records(store)[2].versions["1"].attestation == records(store)[1].versions["1"].attestation
    assert list(missing_since(store, "digits", records(store))) == []
    name = f"{attestations.folder('digits', 1)}/{attestations.RECORD}"
    forget(store, name)
    assert list(missing_since(store, "digits", records(store))) == [f"{name}: {GONE}"]
    assert write_head(store, "digits").number == second.number + 1  # none that makes the removal good
    candidates.append_acceptance(store, acceptance(store, 1))
    write_head(store, "digits")
    assert list(missing_since(store, "digits", records(store))) == [f"{name}: {GONE}"]


def test_a_version_that_was_not_tested_has_nothing_but_its_manifest_in_a_head(store, released, tmp_path):
    version = publish(store, tmp_path, "other")
    write_head(store, "digits")
    mark = records(store)[1].versions[str(version)]
    assert (mark.acceptances, mark.last, mark.attestation) == (0, "", "")
    assert list(missing_since(store, "digits", records(store))) == []
    candidates.append_acceptance(store, acceptance(store, version))
    write_head(store, "digits")
    assert records(store)[2].versions[str(version)].acceptances == 1


def test_an_altered_acceptance_test_is_not_made_good_by_a_new_head(store, released):
    spoil(store, "test/digits/1/acceptances/000001.json")
    assert write_head(store, "digits") == released
    assert len(list(missing_since(store, "digits", records(store)))) == 1


def test_an_altered_manifest_is_not_made_good_by_a_new_head(store, released):
    candidates.append_acceptance(store, acceptance(store, 1))
    spoil(store, "test/digits/1/card.json")
    assert write_head(store, "digits").number == 2
    said = ["test/digits/1/card.json: is not what it was when a head was written"]
    assert list(missing_since(store, "digits", records(store))) == said


def test_what_this_machine_made_of_heads_that_are_not_there_counts_for_nothing(store, released):
    candidates.append_acceptance(store, acceptance(store, 1))
    store.signatures.fold("digits", HeadFold(5, "d" * 64, {}))
    assert write_head(store, "digits").number == 2
    assert records(store)[1].versions.keys() == {"1"}


def test_where_nothing_is_signed_any_more_heads_of_before_say_nothing(store, released):
    assert newest(store, "digits") == released
    assert newest(store.unsigned, "digits") is None


def test_heads_that_disagree_are_a_problem(store, released):
    (head,) = records(store)
    other = replace(head, releases=Mark(1, "0" * 64))
    name = "production/digits/releases/000001.json: heads disagree about it"
    assert list(missing_since(store, "digits", [head, other])) == [name]
    assert list(missing_since(store, "digits", [head, replace(head, releases=Mark(0, "x"))])) == []


def test_a_head_that_was_seen_is_still_there(store, released):
    check_seen(store, released)
    name = "production/digits/heads/000001.json"
    with pytest.raises(Corrupt, match=rf"{name}: is not the head that was seen"):
        check_seen(store, replace(released, digest="0" * 64))
    with pytest.raises(Corrupt, match=r"000002\.json: is missing, though it was seen: release 1 was the newest"):
        check_seen(store, replace(released, number=2))
    forget(store, name)
    for act in (must_be_whole, write_head):
        with pytest.raises(Corrupt, match=rf"{name}: is missing, though it was seen"):
            act(store, "digits")


def test_a_head_that_was_seen_is_still_there_with_its_checksum_and_its_signature(store, released):
    name = "production/digits/heads/000001.json"
    whole = store.get(name)
    (checksum,) = re.findall(rb'"seal": "([0-9a-f]{64})"', whole)
    store.unsigned._kept[name] = whole.replace(checksum, b"0" * 64)
    with pytest.raises(Corrupt, match=f"{name}: checksum mismatch"):
        check_seen(store, released)
    del store.unsigned._kept[name]
    store.unsigned.create(name, codec.with_checksum(codec.from_json(Head, whole, name)))
    with pytest.raises(Corrupt, match=f"{name}: is not the head that was seen"):
        check_seen(store.unsigned, released)


def test_a_writer_that_lost_the_race_takes_what_the_other_one_has_written(store, released, monkeypatch):
    candidates.append_acceptance(store, acceptance(store, 1))
    append, other = heads.Chain.append, []

    def late(chain, draft, after):
        if not other:
            other.append(append(chain, draft, after))
        return append(chain, draft, after)

    monkeypatch.setattr(heads.Chain, "append", late)
    assert write_head(store, "digits").number == 2
    assert len(records(store)) == 2


def test_a_writer_that_lost_the_race_to_one_that_saw_less_writes_what_is_new(store, released, monkeypatch):
    candidates.append_acceptance(store, acceptance(store, 1))
    append, other = heads.Chain.append, []

    def late(chain, draft, after):
        if not other:
            other.append(append(chain, replace(draft, versions={}), after))
        return append(chain, draft, after)

    monkeypatch.setattr(heads.Chain, "append", late)
    assert write_head(store, "digits").number == 3
    assert records(store)[1].versions == {}
    assert records(store)[2].versions["1"].acceptances == 2


def test_the_line_of_a_head_is_found_in_a_mail(released):
    line = released.line
    assert LINE.fullmatch(line)
    folded = f"For the record: {line[:60]}\n {line[60:]}\n"
    quoted = "Text =C3=BC\n" + line.replace("=", "=3D")[:70] + "=\n" + line.replace("=", "=3D")[70:]
    for text in (line, f"before {line} after", folded, quoted):
        assert find_lines(text, "here") == [released]
    for text in ("", "nothing", line[:-3]):
        with pytest.raises(ConfigError, match="here: there is no head in it"):
            find_lines(text, "here")


def many(store, count):
    """That many heads, each about another acceptance test."""
    for _ in range(count):
        candidates.append_acceptance(store, acceptance(store, 1))
        write_head(store, "digits")


def read_by(store, act):
    """The heads that are read meanwhile."""
    names, get = [], store.unsigned.get

    def counting(name):
        names.append(name)
        return get(name)

    store.unsigned.get = store.get = counting
    act()
    store.unsigned.get = store.get = get
    return {name for name in names if "/heads/" in name}


def test_what_a_head_costs_does_not_grow_with_the_history(store, released):
    many(store, 2 * FOLD_AFTER)
    candidates.append_acceptance(store, acceptance(store, 1))
    assert len(read_by(store, lambda: write_head(store, "digits"))) <= FOLD_AFTER + 2
    store.signatures.folds.clear()
    assert len(read_by(store, lambda: write_head(store, "digits"))) > 2 * FOLD_AFTER
    assert records(store)[-1].versions["1"].acceptances == 2 * FOLD_AFTER + 2


def test_what_was_made_of_heads_counts_only_as_long_as_the_last_of_them_is_there_as_it_was(store, released):
    many(store, FOLD_AFTER)
    kept = store.signatures.folded("digits")
    assert (kept.number, kept.versions["1"].acceptances) == (FOLD_AFTER, FOLD_AFTER)
    store.signatures.folds["digits"] = replace(kept, digest="0" * 64)
    candidates.append_acceptance(store, acceptance(store, 1))
    assert len(read_by(store, lambda: write_head(store, "digits"))) > FOLD_AFTER
    candidates.append_acceptance(store, acceptance(store, 1))
    write_head(store, "digits")
    candidates.append_acceptance(store, acceptance(store, 1))
    spoil(store, f"production/digits/heads/{store.signatures.folded('digits').number:06d}.json")
    with pytest.raises(Corrupt, match=r"heads/.*: "):
        write_head(store, "digits")


def test_a_head_after_a_fold_says_only_what_is_new(store, released, tmp_path):
    many(store, FOLD_AFTER)
    publish(store, tmp_path, "other")
    write_head(store, "digits")
    assert records(store)[-1].versions.keys() == {"2"}
    number = write_head(store, "digits").number
    assert write_head(store, "digits").number == number


def test_a_line_whose_count_of_releases_was_altered_is_not_the_head(store, released):
    with pytest.raises(Corrupt, match="is not the head that was seen"):
        check_seen(store, replace(released, release=9))
