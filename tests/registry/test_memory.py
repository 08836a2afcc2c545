"""What a machine remembers of a registry beside its anchor: it saves time, and is never in the way."""

import pytest

from registry.records import HeadFold, VersionMark
from registry.trusted import Memory

FOLD = HeadFold(70, "a" * 64, {"1": VersionMark("b" * 64, 2, "c" * 64, "d" * 64), "2": VersionMark("e" * 64, 0, "")})


@pytest.fixture
def memory(tmp_path):
    return Memory(tmp_path / "0123.json")


def test_what_was_made_of_heads_is_kept_by_model(memory):
    memory.write_fold("digits", FOLD)
    assert memory.fold("digits") == FOLD
    assert memory.fold("flowers") is None


@pytest.mark.parametrize("data", [b"", b"{}", b'{"number": 1}\n{"number": 1}', b"\xff"])
def test_what_cannot_be_read_is_nothing(memory, data):
    memory.write_fold("digits", FOLD)
    (path,) = memory.path.with_suffix("").iterdir()
    path.write_bytes(data)
    assert memory.fold("digits") is None


def test_a_bit_that_was_flipped_makes_it_nothing(memory):
    memory.write_fold("digits", FOLD)
    (path,) = memory.path.with_suffix("").iterdir()
    path.write_bytes(path.read_bytes().replace(b"b" * 64, b"b" * 63 + b"c"))
    assert memory.fold("digits") is None


def test_records_are_kept_by_chain(memory):
    records = [b'{"a": "\\u0000"}\n', b"{}\n"]
    memory.write_records("production/digits/releases", records)
    memory.write_records("test/digits/1/acceptances", records[:1])
    assert memory.records("production/digits/releases") == records
    assert memory.records("test/digits/1/acceptances") == records[:1]
    assert memory.records("production/digits/approvals") == []


def test_where_nothing_can_be_written_nothing_is_kept_and_nothing_fails(memory):
    memory.path.with_suffix("").write_bytes(b"a file in the way")
    memory.write_fold("digits", FOLD)
    memory.write_records("production/digits/releases", [b"{}"])
    assert (memory.fold("digits"), memory.records("production/digits/releases")) == (None, [])
