"""A history is checked by its bytes, and decoded only where somebody looks."""

from dataclasses import replace

import pytest
from attacked_registry import with_new_checksum
from registry_parts import Keys, OneKey
from versions import approval_draft, release_draft

from registry import codec
from registry.errors import Corrupt, TryAgain
from registry.files import sha256_bytes
from registry.records import Release
from registry.releases import History, approval_chain, release_chain
from registry.signed_store import SignedStore

AWKWARD = ['"', "\\", "a\nb", 'x",\n "token": "one', "ä€\u2028", "\ud800", ""]


@pytest.fixture
def chain(store):
    """Twelve releases with the approvals 12 to 1, but number 2 is without one; of 1 and 12, the longer comes first."""
    chain = release_chain(store, "digits")
    for number in range(12):
        approval = None if number == 1 else 12 - number
        chain.append(release_draft("digits", 1, "c", approval=approval), number)
    return chain


def test_records_are_those_that_were_appended(chain):
    records, (checked, problems) = chain.records(), chain.check()
    assert problems == []
    assert list(records) == records[:] == checked == chain.read_all()
    assert (len(records), records[-1].number, records[0].number, records[2:4]) == (12, 12, 1, checked[2:4])
    with pytest.raises(IndexError):
        records[12]


def test_the_records_before_one_are_read_back_from_it_and_no_further_than_somebody_asks(store, chain, monkeypatch):
    numbers, get = [], store.get
    monkeypatch.setattr(store, "get", lambda name: numbers.append(name) or get(name))
    back = chain.before(12, get(chain.name(12)))
    assert [next(back)[0], next(back)[0]] == [11, 10]
    assert numbers == [chain.name(11), chain.name(10)]
    assert [number for number, _ in back] == [9, 8, 7, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize("how", ["altered", "removed"])
def test_reading_back_ends_at_a_record_that_the_one_after_it_does_not_name(folder_store, tmp_path, how):
    chain = release_chain(folder_store, "digits")
    for number in range(4):
        chain.append(release_draft("digits", 1, "c", approval=number + 1), number)
    path = tmp_path / "registry" / chain.name(2)
    if how == "removed":
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(codec.with_checksum(replace(chain.read(2), by="eve")))
    back = chain.before(4, folder_store.get(chain.name(4)))
    assert next(back)[0] == 3
    with pytest.raises(Corrupt, match=r"releases/00000[23]\.json: "):
        next(back)


def test_only_what_comes_after_a_known_record_is_read(store, chain, monkeypatch):
    known = sha256_bytes(store.get(chain.name(9)))
    assert [each.number for each in chain.records_after(9, known)] == [10, 11, 12]
    assert chain.records_after(12, sha256_bytes(store.get(chain.name(12)))) == []
    with pytest.raises(TryAgain):  # the chain itself is whole
        chain.records_after(8, known)


def test_of_what_comes_after_a_known_record_only_the_last_one_is_verified(store):
    signed = SignedStore(store, Keys())
    chain = release_chain(signed, "digits")
    for number in range(4):
        chain.append(release_draft("digits", 1, "c"), number)
    signed.signatures.checked.clear()
    later = chain.records_after(1, sha256_bytes(signed.get(chain.name(1))))
    assert [each.number for each in later] == [2, 3, 4]
    assert signed.signatures.checked == [chain.name(4)]


def test_what_was_made_with_an_approval_is_found(store, chain):
    history = History("digits", approval_chain(store, "digits").records(), chain.records())
    assert history.release_with(1).number == 12  # and not those with 12 and 10, which begin like it
    assert history.release_with(12).number == 1
    assert history.release_with(11) is None


@pytest.mark.parametrize("token", AWKWARD, ids=ascii)
def test_a_record_is_found_by_any_words_in_it(store, token):
    chain = approval_chain(store, "digits")
    for number, each in enumerate(("one", token, "two")):
        chain.append(approval_draft("digits", 1, each, each), number)
    assert [each.number for each in chain.records().having("token", token)] == [2]
    assert [each.number for each in chain.records().having("token", "one")] == [1]


def test_any_flipped_bit_in_any_record_is_reported_with_the_records_name(folder_store, tmp_path):
    chain = approval_chain(folder_store, "digits")
    for number in range(3):
        chain.append(approval_draft("digits", 1, "c", f"token {number}"), number)
    for number in (1, 2, 3):
        path = tmp_path / "registry" / chain.name(number)
        whole = path.read_bytes()
        path.chmod(0o644)
        for at in range(len(whole)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            with pytest.raises(Corrupt, match=path.name):
                chain.records()
        path.write_bytes(whole)
    assert len(chain.records()) == 3


def test_a_record_that_another_one_took_the_place_of_is_reported(folder_store, tmp_path):
    chain = approval_chain(folder_store, "digits")
    for number in range(3):
        chain.append(approval_draft("digits", 1, "c", f"token {number}"), number)
    one, other, last = (tmp_path / "registry" / chain.name(number) for number in (1, 2, 3))
    kept = one.read_bytes(), other.read_bytes()
    for path, data in zip((one, other), reversed(kept), strict=True):
        path.unlink()
        path.write_bytes(data)
    with pytest.raises(Corrupt, match="000001"):
        chain.records()
    for path, data in zip((one, other), kept, strict=True):
        path.write_bytes(data)
    last.unlink()
    last.write_bytes(kept[1])
    with pytest.raises(Corrupt, match="number 2"):
        chain.records()


def test_what_is_repaired_during_the_read_is_to_be_read_again(chain):
    class Repaired:
        """Gives other bytes at the first look."""

        looks = 0

        def get(self, name):
            self.looks += 1
            return chain.store.get(chain.name(3) if self.looks == 5 else name)

        def names(self, folder):
            return chain.store.names(folder)

    with pytest.raises(TryAgain, match="changed during the read"):
        type(chain)(Repaired(), Release, chain.folder).records()


def test_a_line_is_what_is_written_with_a_checksum():
    data = codec.with_checksum(replace(release_draft("digits", None, "c", approval=3, reason='a "word"'), number=12))
    for field, value in (("number", 12), ("reason", 'a "word"'), ("approval", 3), ("previous", "")):
        assert data.count(codec.line(field, value)) == 1


def without_checksum(record):
    """A record as an attacker, or another tool, could write it: whole, but with no checksum line."""
    return codec.to_json(record)


def test_a_record_without_a_checksum_is_not_read(store):
    chain = release_chain(store, "digits")
    store.create(chain.name(1), without_checksum(replace(release_draft("digits", 1, "c"), number=1)))
    for read in (lambda: chain.read(1), chain.records, lambda: chain.append(release_draft("digits", 1, "c"), 1)):
        with pytest.raises(Corrupt, match="it has no checksum"):
            read()
    assert chain.check() == ([], [f"{chain.name(1)}: it has no checksum"])


@pytest.mark.parametrize("first", ["", "a" * 64], ids=["a chain of its own", "one that follows a manifest"])
def test_the_first_record_follows_what_the_chain_begins_with(store, first):
    chain = replace(release_chain(store, "digits"), first=first)
    wrong = replace(release_draft("digits", 1, "c"), number=1, previous="b" * 64)
    store.create(chain.name(1), codec.with_checksum(wrong))
    assert chain.check()[1] == [f"{chain.name(1)}: does not follow the record before it: one was altered"]
    with pytest.raises(Corrupt, match="does not follow"):
        chain.records()


def test_a_record_that_is_written_otherwise_is_a_problem_and_read(store):
    chain = release_chain(store, "digits")
    made = chain.append(release_draft("digits", 1, "c"), 0)
    other = release_chain(store, "flowers")
    store.create(other.name(1), with_new_checksum(store.get(chain.name(1)) + b"\n"))
    assert chain.check() == ([made], [])
    assert other.check() == ([made], [f"{other.name(1)}: {codec.OTHERWISE}"])


def test_a_gap_is_one_problem(folder_store, tmp_path):
    chain = release_chain(folder_store, "digits")
    for number in range(5):
        chain.append(release_draft("digits", 1, "c"), number)
    (tmp_path / "registry" / chain.name(3)).unlink()
    records, problems = chain.check()
    assert [each.number for each in records] == [1, 2, 4, 5]
    assert problems == [f"{chain.name(3)}: is missing, though 000004.json is there"]


def test_a_field_is_compared_whole_also_where_the_longer_ones_come_first(store):
    chain = release_chain(store, "digits")
    for number, approval in enumerate((13, 12, 11, 10, 1)):
        chain.append(release_draft("digits", 1, "c", approval=approval), number)
    assert [each.number for each in chain.records().having("approval", 1)] == [5]


def test_numbers_have_six_digits_or_more_and_other_names_are_not_records(store):
    chain = release_chain(store, "digits")
    for name in ("999999", "1000000", "0999998", "99999", "1000001 ", "x000001", "000002.json"):
        store.create(f"{chain.folder}/{name}.json", b"")
    assert chain.numbers() == [999_999, 1_000_000]
    assert chain.last() == 1_000_000


def test_a_stores_records_are_signed_under_their_names_and_checked(store):
    keys = Keys()
    chain = release_chain(SignedStore(store, keys), "digits")
    for number in range(2):
        chain.append(release_draft("digits", 1, "c"), number)
    assert keys.checked == [chain.name(1)]  # the one that is followed
    assert [each.number for each in chain.records()] == [1, 2]
    assert keys.checked == [chain.name(1), chain.name(2)]  # the last one: it vouches for the others
    chain.read(1)
    assert keys.checked[2:] == [chain.name(1)]
    release_chain(store, "digits").append(release_draft("digits", 1, "c"), 2)
    for read in (lambda: chain.read(3), chain.records, lambda: chain.append(release_draft("digits", 1, "c"), 3)):
        with pytest.raises(Corrupt, match="is not signed"):
            read()
    assert chain.check()[1] == [f"{chain.name(3)}: is not signed"]


def test_a_record_can_be_signed_by_something_else_than_the_store(store):
    keys = Keys()
    chain = release_chain(SignedStore(store, keys), "digits")
    chain.append(release_draft("digits", 1, "c"), 0, lambda digest: f"ada@{digest}")
    assert b'"signed_by": "ada@' in store.get(chain.name(1))


def test_a_record_that_is_gone_after_the_listing_is_missing(chain):
    class Listed:
        """Lists a record that cannot be read any more."""

        def names(self, folder):
            return [*chain.store.names(folder), "000013.json"]

        def get(self, name):
            return chain.store.get(name)

    records, problems = replace(chain, store=Listed()).check()
    assert len(records) == 12
    assert problems == [f"{chain.name(13)}: is missing"]


def test_the_bytes_of_records_are_those_of_their_files(chain):
    assert chain.records().bytes == [chain.store.get(chain.name(number)) for number in range(1, 13)]


def test_only_what_is_looked_at_is_decoded_and_only_the_last_one_verified(chain, monkeypatch):
    verified, decoded, from_json, from_vouched = [], [], codec.from_json, codec.from_vouched

    def verify(kind, data, where, **more):
        verified.append(where)
        return from_json(kind, data, where, **more)

    def decode(kind, data, where):
        decoded.append(where)
        return from_vouched(kind, data, where)

    monkeypatch.setattr(codec, "from_json", verify)
    monkeypatch.setattr(codec, "from_vouched", decode)
    records = chain.records()
    assert (verified, decoded) == ([chain.name(12)], [])
    records.having("approval", 1)
    assert decoded == [chain.name(1), chain.name(3), chain.name(12)]  # 12 and 10 begin like 1
    assert records[4].number == 5
    assert decoded[3:] == [chain.name(5)]
    assert len(list(records)) == 12
    assert verified == [chain.name(12)]


class TestKept:
    """A signed chain's records are kept by a machine that has read them, and only the last one and new ones read again."""

    @pytest.fixture
    def keys(self):
        return OneKey()

    @pytest.fixture
    def read(self, folder_store, keys, monkeypatch):
        """Appends up to so many records, reads them all, and gives the numbers of those that were read from the store."""
        signed, get_all, seen = release_chain(SignedStore(folder_store, keys), "digits"), folder_store.get_all, []

        def noted(names):
            seen.extend(names := list(names))
            return get_all(names)

        monkeypatch.setattr(folder_store, "get_all", noted)

        def read(count):
            for number in range(signed.last(), count):
                signed.append(release_draft("digits", 1, "c"), number)
            seen.clear()
            assert [each.number for each in signed.records()] == list(range(1, count + 1))
            return [int(name[-11:-5]) for name in seen]

        return read

    def kept(self, keys):
        return [len(records) for records in keys.records.values()]

    def test_is_what_was_read_once_more_than_sixteen_are_new(self, read, keys):
        counts = []
        for count in (16, 17, 33, 34):
            read(count)
            counts.append(self.kept(keys))
        assert counts == [[], [17], [17], [34]]

    def test_is_not_read_again_but_for_the_last_one(self, read):
        assert read(17) == list(range(1, 18))
        assert read(17) == [17]
        assert read(19) == [18, 19]
        assert read(33) == list(range(18, 34))

    def test_is_read_anew_where_it_does_not_lead_to_the_last_one(self, read, keys):
        read(20)
        (folder,) = keys.records
        keys.records[folder] = [b"{}"] * 17
        assert read(20) == [18, 19, 20, *range(1, 21)]
        assert self.kept(keys) == [20]
        assert keys.records[folder][0] != b"{}"

    def test_does_not_hide_that_a_record_is_missing(self, read, folder_store, tmp_path):
        read(20)
        (tmp_path / "registry/production/digits/releases/000003.json").unlink()
        with pytest.raises(Corrupt, match=r"000003\.json: is missing"):
            read(20)

    def test_is_nothing_of_a_chain_that_is_not_signed(self, folder_store, keys):
        plain = release_chain(folder_store, "digits")
        for number in range(20):
            plain.append(release_draft("digits", 1, "c"), number)
        assert len(plain.records()) == 20
        assert keys.records == {}
