"""Records to JSON and back, strictly: a wrong type, a missing or an unknown field is refused with the file's name."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import re
import sys
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from registry.dataclass import dataclass, types_of
from registry.errors import Corrupt
from registry.files import sha256_bytes, write_new, write_whole

SCHEMA = 1
CHECKSUM = "seal"  # the field's name on disk: registries of earlier versions of Trainyard stay valid
HINT = "it was altered or corrupted, or written by another version of Trainyard: restore it, or repeat the step that wrote it"
OTHERWISE = "has the content of a record, but is not written as Trainyard writes one"
SIGNATURE = "signed_by"  # beside the checksum; a version's own `signature` says what goes into the model
SIGNED_LINE = re.compile(rb'\n "signed_by": "([0-9a-f]{64}):([A-Za-z0-9+/]{86}==)"')  # one space: only at the top level
CHECKSUM_LINE = re.compile(rb'\n "seal": "[0-9a-f]{64}"')
T = TypeVar("T")
UNIONS = {typing.Union, types.UnionType}  # `Optional[int]` and `int | None`


def to_json(record: object) -> bytes:
    """The bytes of a record: sorted keys, `schema`, NaN and infinity as null, one line feed at the end."""
    return _dump({"schema": SCHEMA} | _plain(record))


def with_checksum(record: object, sign: Callable[[str], str] | None = None) -> bytes:
    """The bytes of a record as the registry keeps it: with their own SHA-256, taken while the checksum was still empty.

    So any altered byte shows, also in the last record of a chain, which no later record vouches for.
    `sign` gives the signature, as `<key id>:<base64>`, of the SHA-256 of the bytes without both: see `signature_in`.
    """
    data = _dump({"schema": SCHEMA, CHECKSUM: ""} | _plain(record) | ({SIGNATURE: ""} if sign else {}))
    if sign:
        data = data.replace(_line(SIGNATURE, ""), _line(SIGNATURE, sign(sha256_bytes(data))))
    return data.replace(_line(CHECKSUM, ""), _line(CHECKSUM, sha256_bytes(data)))


@dataclass(frozen=True, slots=True)
class SignedBytes:
    """What vouches for a record's bytes."""

    key: str
    """The id of the key that is said to have signed them."""
    signature: str
    digest: str
    """The SHA-256 of the bytes while checksum and signature were still empty: what was signed."""


def signature_in(data: bytes) -> SignedBytes | None:
    """The signature in a record's bytes, not verified; None when there is none."""
    found = SIGNED_LINE.search(data)
    if found is None:
        return None
    bare = CHECKSUM_LINE.sub(_line(CHECKSUM, ""), data.replace(found[0], _line(SIGNATURE, "")))
    return SignedBytes(found[1].decode(), found[2].decode(), sha256_bytes(bare))


def is_canonical(data: bytes) -> bool:
    """Whether these bytes are how a record with their content is written: no key twice, nothing before or after, no other
    order, encoding or spelling. What a reader overlooks could be what another one finds."""
    try:
        raw = _DECODER.decode(data.decode())
        return _dump(raw) == data
    except (ValueError, RecursionError, TypeError):
        return False


def from_json(kind: type[T], data: bytes, where: str, *, checksum_required: bool = False) -> T:
    """The record in `data`; raises Corrupt, naming `where` and the field. A checksum that is there must match."""
    raw = _parse(data, where)
    if checksum_required or CHECKSUM in raw:
        _verify_checksum(raw, data, where)
    raw.pop(SIGNATURE, None)
    return _decode(kind, raw, where)


def from_vouched(kind: type[T], data: bytes, where: str) -> T:
    """As `from_json`, of bytes that something else vouches for: their checksum is not computed again."""
    raw = _parse(data, where)
    raw.pop(CHECKSUM, None)
    raw.pop(SIGNATURE, None)
    return _decode(kind, raw, where)


def line(field: str, value: str | int) -> bytes:
    """How a record's bytes say that its `field` is `value`; for a number, one with more digits begins like this, too.

    Nothing else in them can look like it: a string has no raw line feed, and only the top level one space before a key.
    """
    text = f"\n {json.dumps(field)}: {json.dumps(value, ensure_ascii=False)}"
    return text.encode(errors="backslashreplace")


def read(kind: type[T], path: Path) -> T:
    """The record in the file at `path`; raises FileNotFoundError or Corrupt."""
    return from_json(kind, path.read_bytes(), str(path))


def save(record: object, path: Path) -> None:
    """Write a record whole, replacing an older file (run folders only)."""
    write_whole(path, to_json(record))


def save_new(record: object, path: Path) -> None:
    """Write a record whole, or raise FileExistsError."""
    write_new(path, to_json(record))


def _parse(data: bytes, where: str) -> dict[str, Any]:
    try:
        raw = _DECODER.decode(data.decode(json.detect_encoding(data), "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"{where}: not JSON: {error}", hint=HINT) from None
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise Corrupt(f"{where}: not a file of schema {SCHEMA}", hint=HINT)
    del raw["schema"]
    return raw


def _verify_checksum(raw: dict[str, Any], data: bytes, where: str) -> None:
    found = raw.pop(CHECKSUM, None)
    if found is None:
        raise Corrupt(f"{where}: it has no checksum", hint=HINT)
    if found != sha256_bytes(data.replace(_line(CHECKSUM, found), _line(CHECKSUM, ""))):
        raise Corrupt(f"{where}: checksum mismatch", hint=HINT)


def _line(field: str, value: object) -> bytes:
    return f'\n "{field}": "{value}"'.encode()  # one space: only at the top level


def _decode(kind: type[T], raw: Mapping[str, Any], where: str) -> T:
    """The record with these fields. What an earlier version of Trainyard did not write yet is added by the record's own
    `upgrade`, after the checksum of its bytes was verified."""
    if upgrade := getattr(kind, "upgrade", None):
        raw = upgrade(raw)
    return typing.cast("T", _build(kind, raw, where))


def _dump(body: dict[str, Any]) -> bytes:
    text = json.dumps(body, sort_keys=True, ensure_ascii=False, indent=1) + "\n"
    return text.encode(errors="backslashreplace")  # half a surrogate pair becomes its JSON escape


def _finite(text: str) -> float:
    if math.isfinite(value := float(text)):
        return value
    raise ValueError(f"{text} is not a number")


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)  # made once: a history has many records


@functools.lru_cache
def _fits(kind: type, names: tuple[str, ...], types: tuple[type, ...]) -> tuple[tuple[str, frozenset[str]], ...] | None:
    """None unless `kind` is a record of strings and integers only, with fields of just these names and types; else the
    fields that are declared as a Literal, with the words that each may hold."""
    hints = types_of(kind)
    fields = {name: set(_choices(hint)) for name, hint in hints.items()}
    if fields.keys() != set(names) or not set().union(*fields.values()) <= {str, int}:
        return None
    if not all(each in fields[name] for name, each in zip(names, types, strict=True)):
        return None
    literals = {name: _parts(hint)[2] for name, hint in hints.items() if _parts(hint)[1] is typing.Literal}
    return tuple((name, frozenset(words)) for name, words in literals.items())


def _choices(kind: Any) -> tuple[Any, ...]:
    """The types that a value of this kind may have."""
    _, origin, arguments = _parts(kind)
    return tuple(map(type, arguments)) if origin is typing.Literal else (kind,)


@functools.cache
def _parts(kind: Any) -> tuple[bool, Any, tuple[Any, ...]]:
    return dataclasses.is_dataclass(kind), typing.get_origin(kind), typing.get_args(kind)


def _build(kind: Any, value: Any, where: str) -> Any:
    is_record, origin, arguments = _parts(kind)
    if is_record:
        return _build_dataclass(kind, value, where)
    if origin in UNIONS:
        if value is None and type(None) in arguments:
            return None
        return _build(next(each for each in arguments if each is not type(None)), value, where)
    if origin is typing.Literal:
        return value if value in arguments else _wrong(where, value, " or ".join(map(repr, arguments)))
    if origin is tuple:
        if not isinstance(value, list):
            return _wrong(where, value, "a list")
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(kinds) != len(value):
            return _wrong(where, value, f"a list of {len(kinds)}")
        return tuple(
            _build(each, item, f"{where}[{i}]") for i, (each, item) in enumerate(zip(kinds, value, strict=True))
        )
    if origin is dict:
        if not isinstance(value, dict):
            return _wrong(where, value, "an object")
        return {key: _build(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if kind is float:
        if value is None:
            return math.nan
        fits = type(value) is float or (type(value) is int and abs(value) <= sys.float_info.max)
        return float(value) if fits else _wrong(where, value, "a number")
    return value if kind is Any or type(value) is kind else _wrong(where, value, kind.__name__)


def _build_dataclass(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        return _wrong(where, value, "an object")
    literals = _fits(kind, tuple(value), tuple(map(type, value.values())))
    if literals is not None and all(value[name] in words for name, words in literals):
        return kind(**value)  # most records of a long history; the rest of this function says what is wrong with others
    hints, fields = types_of(kind), dataclasses.fields(kind)
    if unknown := value.keys() - hints.keys():
        raise Corrupt(f"{where}: unknown field {min(unknown)!r}", hint=HINT)
    missing = [
        each.name
        for each in fields
        if each.name not in value
        and each.default is dataclasses.MISSING
        and each.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise Corrupt(f"{where}: field {missing[0]!r} is missing", hint=HINT)
    return kind(**{name: _build(hints[name], item, f"{where}.{name}") for name, item in value.items()})


def _wrong(where: str, value: Any, wanted: str) -> typing.NoReturn:
    raise Corrupt(f"{where}: {value!r:.80} is not {wanted}", hint=HINT)
