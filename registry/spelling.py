"""One value in two spellings: which texts mean the same, in labels, categories, keys, groups, names and requests.

`1`, `1.0` and `01`; `True` and `true`; `yes` and `yes `; é as one character and as two; with and without characters that
nobody sees. Upper and lower case apart from `true` and `false` are different values, and so are `1` and `one`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

NUMBER = r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"
FLOAT64_WHOLE = 2**53  # from here on float64 does not hold every whole number
TRUTH = frozenset({"true", "false"})


def canonical(value: Any) -> str:
    """A value's text, the same for 1, 1.0 and "1": a column's type may change when rows are added."""
    if not re.match(NUMBER, text := str(value), re.ASCII):
        return text
    number = float(text) + 0.0  # no negative zero
    return repr(number) if abs(number) < FLOAT64_WHOLE else text


def name_spelling(name: str) -> str:
    """What all spellings of a name have in common: composed (Unicode's NFC), without what nobody sees, blanks as one space."""
    if name.isascii() and name.isprintable() and "  " not in name:  # mostly, and much quicker
        return name.strip()
    seen = "".join(each for each in unicodedata.normalize("NFC", name) if unicodedata.category(each) != "Cf")
    return " ".join(seen.split())


def spelling(value: Any) -> str:
    """What all spellings of a value have in common; `value` is a text, or a bool or a number of JSON or Parquet."""
    text = name_spelling(str(value))
    lower = text.lower()
    return lower if lower in TRUTH else canonical(text)


def spellings(values: Iterable[str]) -> dict[str, list[str]]:
    """Spelling → the different texts with it, in the order in which they come."""
    found: dict[str, list[str]] = defaultdict(list)
    for each in dict.fromkeys(values):
        found[spelling(each)].append(each)
    return dict(found)


def by_spelling(values: Iterable[str]) -> dict[str, str]:
    """Spelling → the one text with it; spellings that several texts share are left out."""
    return {key: texts[0] for key, texts in spellings(values).items() if len(texts) == 1}


def difference(one: str, other: str) -> str:
    """In what two spellings of the same value differ, as people say it."""
    if name_spelling(one) != name_spelling(other):
        return "upper and lower case" if one.strip().lower() == other.strip().lower() else "how the number is written"
    if unicodedata.normalize("NFC", one) == unicodedata.normalize("NFC", other):
        return "the Unicode form of their letters"
    if one.split() == other.split():
        return "blanks"
    return "characters that nobody sees"


def shown(*texts: str) -> list[str]:
    """Texts in quotes; with the numbers of their characters, when they would look the same otherwise."""
    looks = [unicodedata.normalize("NFC", each) for each in texts]
    return [ascii(each) if looks.count(look) > 1 else repr(each) for each, look in zip(texts, looks, strict=True)]


def same_but_for_spelling(ours: Iterable[str], theirs: Iterable[str]) -> Mapping[str, str]:
    """Our texts → theirs, when each has just one counterpart and some differ; else empty."""
    one, two = by_spelling(ours), by_spelling(theirs)
    pairs = {one[key]: two[key] for key in one if key in two}
    matched = len(pairs) == len(set(ours)) == len(set(theirs))
    return pairs if matched and any(a != b for a, b in pairs.items()) else {}
