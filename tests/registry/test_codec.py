"""Records are written and read strictly: whatever is not as it was written is refused, with the file and the field."""

import dataclasses
import json
import math
import sys
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from registry_parts import make_card

from registry import codec, records
from registry.errors import Corrupt

KINDS = [each for each in vars(records).values() if dataclasses.is_dataclass(each)]
NAMES = [each.__name__ for each in KINDS]
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture(autouse=True, scope="module")
def only_finite_floats():
    st.register_type_strategy(float, NUMBERS)
    yield
    st.register_type_strategy(float, st.floats())


def field_cases():
    return [
        pytest.param(kind, each, id=f"{kind.__name__}.{each.name}")
        for kind in KINDS
        for each in dataclasses.fields(kind)
    ]


def sample(kind):
    """Some record or value of a type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{each.name: sample(hints[each.name]) for each in dataclasses.fields(kind)})
    if origin is tuple:
        return tuple(sample(each) for each in inner if each is not ...)
    if origin is dict:
        return {"key": sample(inner[1])}
    if origin is typing.Literal:
        return inner[0]
    if inner:
        return sample(inner[0])  # a union
    return {str: "text", int: 7, float: 0.5, bool: True}[kind]


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_written_is_read_again(kind, data):
    record = data.draw(st.builds(kind))
    assert codec.from_json(kind, codec.to_json(record), "x.json") == record
    assert codec.from_json(kind, codec.with_checksum(record), "x.json", checksum_required=True) == record
    assert codec.to_json(codec.from_json(kind, codec.with_checksum(record), "x.json")) == codec.to_json(record)


@pytest.mark.parametrize(("kind", "field"), field_cases())
def test_a_field_of_a_wrong_type_is_refused(kind, field):
    raw = json.loads(codec.to_json(sample(kind)))
    raw[field.name] = {"of": object.__name__} if not isinstance(raw[field.name], dict) else 3
    with pytest.raises(Corrupt, match=rf"x\.json.*{field.name}"):
        codec.from_json(kind, json.dumps(raw).encode(), "x.json")


@pytest.mark.parametrize(("kind", "field"), field_cases())
def test_a_missing_field_is_refused_unless_it_has_a_default(kind, field):
    raw = json.loads(codec.to_json(sample(kind)))
    del raw[field.name]
    if (kind, field.name) == (records.Release, "kind"):  # releases of earlier versions have none: test_release_kinds.py
        assert codec.from_json(kind, json.dumps(raw).encode(), "x.json").kind == "promotion"
    elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
        with pytest.raises(Corrupt, match=rf"x\.json: field '{field.name}' is missing"):
            codec.from_json(kind, json.dumps(raw).encode(), "x.json")
    else:
        codec.from_json(kind, json.dumps(raw).encode(), "x.json")


@pytest.mark.parametrize("kind", KINDS, ids=NAMES)
def test_an_unknown_field_is_refused(kind):
    raw = json.loads(codec.to_json(sample(kind))) | {"colour": "red"}
    with pytest.raises(Corrupt, match=r"x\.json: unknown field 'colour'"):
        codec.from_json(kind, json.dumps(raw).encode(), "x.json")


@given(st.binary())
def test_any_bytes_give_a_record_or_corrupt(data):
    with pytest.raises(Corrupt, match=r"x\.json"):
        codec.from_json(records.Release, data, "x.json")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"schema": 2}',
        '{"schema": "1"}',
        "[" * 100_000,
        "\ufeff{}",
    ],
    ids=lambda text: text[:20],
)
def test_what_is_not_a_record_at_all_is_refused(text):
    with pytest.raises(Corrupt, match=r"x\.json"):
        codec.from_json(records.Sources, text.encode(), "x.json")


@dataclasses.dataclass(frozen=True)
class Words:
    """Its parts are all plain, so that it could be taken for a record of plain fields."""

    by_name: dict[str, str]
    number: int | None


def test_what_a_dict_holds_is_not_a_dict():
    assert codec.from_json(Words, codec.to_json(Words({"a": "b"}, None)), "x.json") == Words({"a": "b"}, None)
    with pytest.raises(Corrupt, match=r"x\.json\.by_name: 'b' is not an object"):
        codec.from_json(Words, b'{"schema": 1, "by_name": "b", "number": 1}', "x.json")


def test_a_number_too_large_for_a_float_is_refused():
    raw = json.dumps({"schema": 1, "name": "a", "outcome": "passed", "seconds": 10**400})
    with pytest.raises(Corrupt, match=r"x\.json\.seconds"):
        codec.from_json(records.TestCase, raw.encode(), "x.json")


def test_nan_and_infinity_are_null_and_come_back_as_nan():
    metrics = records.Metrics("regression", 3, {"r2": math.nan, "mae": math.inf})
    assert b"NaN" not in codec.to_json(metrics)
    read = codec.from_json(records.Metrics, codec.to_json(metrics), "x.json")
    assert all(math.isnan(value) for value in read.values.values())


def test_half_a_surrogate_pair_from_a_foreign_log_is_kept():
    case = records.TestCase("test_x", "failed", message="\udc80 broken")
    assert codec.from_json(records.TestCase, codec.with_checksum(case), "x.json", checksum_required=True) == case
    codec.to_json(case).decode()  # and the file is valid UTF-8


def test_any_altered_byte_of_a_record_with_a_checksum_is_found():
    whole = codec.with_checksum(make_card(1, "run", {"model.tflite": "0" * 64}))
    for position in range(len(whole)):
        for flip in (1, 0x20):
            altered = bytearray(whole)
            altered[position] ^= flip
            with pytest.raises(Corrupt, match=r"^x\.json"):
                codec.from_json(records.Candidate, bytes(altered), "x.json", checksum_required=True)


@given(st.integers(0, 2000), st.binary(max_size=3))
def test_a_record_with_a_checksum_cut_or_lengthened_is_refused(length, more):
    whole = codec.with_checksum(make_card(1, "run", {"model.tflite": "0" * 64}))
    altered = whole[:length] + more
    if altered != whole:
        with pytest.raises(Corrupt):
            codec.from_json(records.Candidate, altered, "x.json", checksum_required=True)


def test_the_registry_takes_no_record_without_a_checksum():
    sources = records.Sources("a", "b", "c")
    with pytest.raises(Corrupt, match="it has no checksum"):
        codec.from_json(records.Sources, codec.to_json(sources), "x.json", checksum_required=True)
    assert codec.from_json(records.Sources, codec.with_checksum(sources), "x.json") == sources


def test_files_are_saved_whole_and_read_by_name(tmp_path):
    old, new = records.Sources("a", "b", "c"), records.Sources("d", "e", "f")
    path = tmp_path / "run" / "sources.json"
    codec.save_new(old, path)
    with pytest.raises(FileExistsError):
        codec.save_new(new, path)
    assert codec.read(records.Sources, path) == old
    codec.save(new, path)
    assert codec.read(records.Sources, path) == new
    path.write_bytes(b"{")
    with pytest.raises(Corrupt, match=str(path)):
        codec.read(records.Sources, path)


def test_a_number_that_no_float_can_hold_is_refused_in_a_field_that_is_known():
    data = codec.to_json(records.Metrics("classification", 1, {"accuracy": 0.5}))
    for number in (b"1e999", b"NaN", b"Infinity", b"-1e999"):
        with pytest.raises(Corrupt, match=r"x\.json: not JSON: .* is not a number"):
            codec.from_json(records.Metrics, data.replace(b"0.5", number), "x.json")


def test_a_message_names_the_field_what_is_there_and_what_belongs_there():
    raw = json.loads(codec.to_json(sample(records.TensorSpec)))
    with pytest.raises(Corrupt) as error:
        codec.from_json(records.TensorSpec, json.dumps(raw | {"name": ["x"]}).encode(), "x.json")
    assert str(error.value) == "x.json.name: ['x'] is not str"


@pytest.mark.parametrize("number", [int(sys.float_info.max), -int(sys.float_info.max)])
def test_a_whole_number_is_a_float_as_far_as_floats_reach(number):
    data = codec.to_json(records.Metrics("classification", 1, {"accuracy": 0.5}))
    read = codec.from_json(records.Metrics, data.replace(b"0.5", str(number).encode()), "x.json")
    assert read.values["accuracy"] == float(number)
    more = number + (1 if number > 0 else -1)
    with pytest.raises(Corrupt, match=r"x\.json\.values\.accuracy: .* is not a number"):
        codec.from_json(records.Metrics, data.replace(b"0.5", str(more).encode()), "x.json")


Pair = dataclasses.make_dataclass("Pair", [("size", tuple[int, int])])
Either = dataclasses.make_dataclass("Either", [("size", type(None) | tuple[int, ...])])


@pytest.mark.parametrize("size", [[], [1], [1, 2, 3]], ids=len)
def test_a_list_of_two_has_two(size):
    assert codec.from_json(Pair, codec.to_json(Pair((1, 2))), "x.json") == Pair((1, 2))
    with pytest.raises(Corrupt, match=r"^x\.json\.size: .* is not a list of 2$"):
        codec.from_json(Pair, codec.to_json(Pair(size)), "x.json")


def test_what_may_be_missing_is_read_whichever_of_the_two_is_named_first():
    for record in (Either(None), Either((1, 2, 3))):
        assert codec.from_json(Either, codec.to_json(record), "x.json") == record
    with pytest.raises(Corrupt, match=r"^x\.json\.size: 7 is not a list$"):
        codec.from_json(Either, codec.to_json(Either(7)), "x.json")


def test_a_word_that_a_field_may_not_hold_is_refused():
    raw = json.loads(codec.to_json(sample(records.Approval)))
    assert codec.from_json(records.Approval, json.dumps(raw | {"way": "key"}).encode(), "x.json").way == "key"
    with pytest.raises(Corrupt, match=r"^x\.json\.way: 'fax' is not 'unknown' or 'token' or 'jenkins' or 'key'$"):
        codec.from_json(records.Approval, json.dumps(raw | {"way": "fax"}).encode(), "x.json")


@pytest.mark.parametrize("value", ["größe", 'a "word"', "line\nfeed", "half \ud83d"])
def test_a_fields_line_is_found_in_the_bytes_of_records_that_have_it_and_in_no_others(value):
    line = codec.line("by", value)
    approval = sample(records.Approval)
    assert line in codec.with_checksum(dataclasses.replace(approval, by=value))
    assert line not in codec.with_checksum(dataclasses.replace(approval, by="text", token=value, signed=line.decode()))
    assert codec.line("number", 7) in codec.with_checksum(dataclasses.replace(approval, number=7))


def test_only_the_bytes_that_are_written_are_how_a_record_is_written():
    for record in (sample(records.Approval), sample(records.Metrics)):
        assert codec.is_canonical(codec.to_json(record))
        assert codec.is_canonical(codec.with_checksum(record))
    data = codec.to_json(records.Sources("größe", "b", "c"))
    others = (
        data + b"\n",
        b"\n" + data,
        data.replace(b'"code"', b'"code": "x",\n "code"'),
        data.replace("ö".encode(), b"\\u00f6"),
        json.dumps(json.loads(data), indent=1, ensure_ascii=False)[::-1].encode(),
        json.dumps(dict(reversed(json.loads(data).items())), indent=1, ensure_ascii=False).encode() + b"\n",
        data.decode().encode("utf-16"),
        b"\xff",
        b"[" * 100_000,
        b"",
    )
    assert [other for other in others if codec.is_canonical(other)] == []


KEY, SIGNATURE = "a" * 64, "A" * 86 + "=="


def test_a_signature_is_over_the_bytes_without_checksum_and_signature_and_is_found_in_them():
    asked = []

    def sign(digest):
        asked.append(digest)
        return f"{KEY}:{SIGNATURE}"

    sources = records.Sources("a", "b", "c")
    data = codec.with_checksum(sources, sign)
    assert codec.signature_in(data) == codec.SignedBytes(KEY, SIGNATURE, asked[0])
    assert codec.from_json(records.Sources, data, "x.json", checksum_required=True) == sources
    assert codec.from_vouched(records.Sources, data, "x.json") == sources
    assert codec.from_vouched(records.Sources, codec.with_checksum(sources), "x.json") == sources
    assert codec.signature_in(codec.with_checksum(sources)) is None
    assert b"signed_by" not in codec.with_checksum(sources)


def test_bytes_are_sorted_by_name_and_letters_are_kept():
    data = codec.to_json(records.Sources("größe", "b", "c"))
    assert "größe".encode() in data
    assert list(json.loads(data)) == sorted(json.loads(data))


@pytest.mark.parametrize("kind", [records.Sources, records.Claim, records.Approval], ids=lambda kind: kind.__name__)
def test_records_of_plain_fields_are_built_at_once(kind, monkeypatch):
    built, build = [], codec._build

    def counted(each, value, where):
        built.append(where)
        return build(each, value, where)

    monkeypatch.setattr(codec, "_build", counted)
    record = sample(kind)
    assert codec.from_json(kind, codec.to_json(record), "x.json") == record
    assert built == ["x.json"]
