"""A column that should hold numbers and does not, or dates: what is in it, where, and what to write into `dataset.toml`.

Nothing becomes hundreds of categories silently: a column in which more than half of the values are numbers, or all but
those that often mean missing, is a column of numbers unless it is declared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyarrow import compute

from training.data.checks import HANDFUL
from training.data.dataset_toml import Table
from training.data.dates import guessed, is_date
from training.data.table.dialect import SUSPICIOUS, Numbers, form, quoted
from training.data.table.read import Rows
from training.data.table.suspect import FOOTER, texts
from training.data.table.typed import TRUTH, numbers_of

SHOWN = 5  # different values in a message
EXAMINED = 5_000  # different values, of each column
MOSTLY = 0.5
NUMBERS = (
    Numbers(),
    Numbers(","), Numbers(",", "."), Numbers(",", " "), Numbers(",", "'"),
    Numbers(".", ","), Numbers(".", " "), Numbers(".", "'"), Numbers(".", "\u2019"),
)  # fmt: skip
DATE = re.compile(
    r"""(?:\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2(?:\d{4}|\d{2})|\d{1,2}[\s.-]{1,2}MONTH[\s.,-]{1,2}\d{2,4}
    |MONTH\s\d{1,2},?\s\d{4})(?:[T\s]+TIME)?|TIME""".replace(
        "MONTH", r"(?:jan|feb|m[aä]r|apr|ma[yi]|jun|jul|aug|sep|o[ck]t|nov|de[cz])[a-zé]*\.?"
    ).replace("TIME", r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\s?(?:Z|[ap]m|[-+]\d{2}:?\d{2}|UTC)?"),
    re.IGNORECASE | re.VERBOSE | re.ASCII,
)
DAY_FIRST = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.]\d", re.ASCII)
WRITTEN_ODDLY = (
    ("a percent sign", re.compile(r"[-+]?[\d.,]+\s?%", re.ASCII), "store the number without the sign"),
    ("a currency sign", re.compile(r"(?:[$€£¥]|[A-Z]{3}\s?)\s?[-+]?[\d.,' ]+|[-+]?[\d.,' ]+\s?(?:[$€£¥]|[A-Z]{3})"),
     "store the number without the sign"),
    ("another minus sign", re.compile("[\u2212\u2013]\\s?[\\d.,]+|[\\d.,]+-|\\([\\d.,]+\\)", re.ASCII),
     "write negative numbers as -1"),
    ("hexadecimal digits", re.compile(r"0[xX][\da-fA-F]+", re.ASCII), "write the number in decimal digits"),
    ("underscores between digits", re.compile(r"[-+]?\d[\d_]*_[\d_.]+", re.ASCII), "delete the underscores"),
    ("an apostrophe", re.compile(r"'[-+]?[\d.,]+'?", re.ASCII), "store the number without it"),
    ("digits of another script", re.compile(r"(?=.*[^\x00-\x7f])[-+]?[\d.,\u066b\u066c]+"), "write the digits 0 to 9"),
    ("a unit", re.compile(r"[-+]?[\d.,]+\s?[A-Za-zµ°/²³]{1,5}", re.ASCII), "store the number without its unit"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Slip:
    """Why a column cannot be used as it is."""

    message: str
    hint: str
    count: int


class Counted:
    """The different texts of a column, most frequent first, with how often each appears."""

    def __init__(self, column: Any, numbers: Numbers) -> None:
        self.column = column
        found = compute.value_counts(column.drop_null())
        values, counts = found.field(0), found.field(1)
        self.values = pa.chunked_array([values])
        """Each of them once, as a column."""
        self.total: int = compute.sum(counts).as_py() or 0
        is_number = compute.match_substring_regex(compute.utf8_trim_whitespace(values), numbers.pattern)
        odd = compute.invert(is_number)
        odd_values, odd_counts = values.filter(odd), counts.filter(odd)
        self.numbers: int = self.total - (compute.sum(odd_counts).as_py() or 0)
        order = compute.array_sort_indices(odd_counts, order="descending").slice(0, EXAMINED)
        self.odd = dict(zip(odd_values.take(order).to_pylist(), odd_counts.take(order).to_pylist(), strict=True))
        self.some_numbers: list[str] = values.filter(is_number).slice(0, EXAMINED).to_pylist()
        self.scale = (self.total - self.numbers) / (sum(self.odd.values()) or 1)

    def share(self, chosen: Sequence[str]) -> float:
        """How much of the column these of the odd texts are."""
        return float(sum(self.odd[text] for text in chosen) * self.scale / (self.total or 1))

    def shown(self, texts: Sequence[str], rows: Rows) -> str:
        """Texts with how often and where they are; those of few rows only in their form."""
        groups: dict[str, list[str]] = {}
        for text in texts:
            often = text.strip().casefold() in SUSPICIOUS or self.odd[text] >= HANDFUL or FOOTER.match(text)
            groups.setdefault(f"{text!r:.80}" if often else f"text like {form(text)!r}", []).append(text)
        counts = {what: sum(self.odd[text] for text in members) for what, members in groups.items()}
        parts = []
        for what in sorted(groups, key=lambda each: -counts[each])[:SHOWN]:
            first = min(compute.index(self.column, _scalar(self.column, text)).as_py() for text in groups[what][:SHOWN])
            several = "row" if counts[what] == 1 else "rows"
            parts.append(f"{what} in {counts[what]:,} {several} (e.g. {rows.where(first)})")
        more = len(groups) - SHOWN
        return ", ".join(parts) + (f" and {more:,} more" if more > 0 else "")


def slip_in(
    name: str, found: Counted, rows: Rows, table: Table, *, numeric: bool = False, what: str = "column"
) -> Slip | None:
    """What is wrong with a column of texts that is not declared as text; None: it is a column of categories.

    `numeric`: the column is declared to hold numbers.
    """
    numbers = numbers_of(table)
    if not found.odd:
        return None
    dates = [text for text in found.odd if DATE.fullmatch(text.strip())]
    if not numeric and found.share(dates) > MOSTLY:
        return _dates(name, dates, found, rows)
    if found.numbers and not numeric and all(re.match(TRUTH, text.strip()) for text in found.odd):
        both = f"{what} {name!r} holds numbers in {found.numbers:,} rows and {found.shown(list(found.odd), rows)}"
        hint = f"write truth values in one way, or list it: categorical = [{quoted(name)}]"
        return Slip(both, hint, found.total - found.numbers)
    missing = [text for text in found.odd if text.strip().casefold() in SUSPICIOUS]
    rest = [text for text in found.odd if text not in set(missing)]
    others = fitting(found, rest, numbers)
    oddly = [(called, hint, [t for t in rest if form_.fullmatch(t.strip())]) for called, form_, hint in WRITTEN_ODDLY]
    called, advice, like = max(oddly, key=lambda each: found.share(each[2]))
    as_numbers = found.numbers / found.total + (found.share(rest) if others else found.share(like))
    if not numeric and as_numbers <= MOSTLY and not (as_numbers and as_numbers + found.share(missing) >= 1):
        return None
    count = found.total - found.numbers
    said = f"holds numbers in {found.numbers:,} of {found.total:,} rows" if found.numbers else "looks like numbers"
    if numeric:
        said = "is listed as numeric" if what == "column" else "is predicted as a number"
    shown = [*rest, *missing] if others or like else list(found.odd)
    message = f"{what} {name!r} {said}, but holds {found.shown(shown, rows)}"
    declare = f"or list it: categorical = [{quoted(name)}]" if what == "column" else "or delete these rows"
    declare = "or take it out of [table] numeric" if numeric and what == "column" else declare
    marks = [
        text for text in found.odd if text in missing or (found.odd[text] >= HANDFUL and not re.search(r"\d", text))
    ]
    if others:
        lines = ", or ".join(" and ".join(each.changes(numbers)) for each in others)
        many = " (one or the other, as the mark means)" if len(others) > 1 else ""
        return Slip(message, f"write {lines}{many} under [table] in dataset.toml, {declare}", count)
    if all(FOOTER.match(text) for text in found.odd):
        return Slip(message, f"delete the rows that sum up others, {declare}", count)
    if like and found.share(like) >= found.share(rest) * MOSTLY:
        return Slip(f"{message}: with {called}", f"{advice}, {declare}", count)
    if marks and len(marks) == len(found.odd) <= 2 * SHOWN and (as_numbers > MOSTLY or len(missing) == len(marks)):
        return Slip(message, f"{_as_missing(marks, name, rows, table)}; else correct them, {declare}", count)
    return Slip(message, f"correct the values, {declare}", count)


def fitting(found: Counted, odd: Sequence[str], declared: Numbers) -> list[Numbers]:
    """The ways to write numbers in which all texts of a column are numbers, which are others than `declared`."""
    if not odd:
        return []
    texts = [text.strip() for text in (*odd, *found.some_numbers)]
    ways = [way for way in NUMBERS if way != declared and all(map(re.compile(way.pattern).match, texts))]
    changes = {way: set(way.changes(declared)) for way in ways}
    return [way for way in ways if not any(changes[other] < changes[way] for other in ways)]


def doubtful(name: str, found: Counted, table: Table) -> list[str]:
    """Texts of a column of categories that often mean missing, as a note."""
    texts = [text for text in found.odd if text.strip().casefold() in SUSPICIOUS]
    if not texts or table.na is not None:
        return []
    said = ", ".join(f"{text!r} in {found.odd[text]:,} rows" for text in texts[:SHOWN])
    lines = ", ".join(map(quoted, texts[:SHOWN]))
    return [f"column {name!r} holds {said}, as values of their own; where they mean missing, write na = [{lines}]"]


def leading_zeros(name: str, rows: Rows) -> list[str]:
    """A note when whole numbers are written like `007`: they may be names."""
    if not (count := rows.matches(name, r"^\s*[-+]?0[0-9]")):
        return []
    declare = f"where it is a name, such as a postal code, write categorical = [{quoted(name)}]"
    return [f"column {name!r} holds numbers with leading zeros in {count:,} rows, which are read as numbers; {declare}"]


def _as_missing(texts: list[str], name: str, rows: Rows, table: Table) -> str:
    """The line that makes texts of one column missing, and which other columns it concerns."""
    marks = list(dict.fromkeys([*(table.na or ()), *(text.strip() for text in texts)]))
    hint = f"if they mean missing, write na = [{', '.join(map(quoted, marks))}] under [table] in dataset.toml"
    concerned = [other for other in rows.columns if other != name and rows.holds(other, marks)]
    return f"{hint} (then they are missing in {', '.join(map(repr, concerned[:SHOWN]))}, too)" if concerned else hint


def _dates(name: str, dates: Sequence[str], found: Counted, rows: Rows) -> Slip:
    pairs = [(int(each[1]), int(each[2])) for each in map(DAY_FIRST.match, dates) if each]
    order = ""
    if pairs:
        day_first, month_first = any(a > 12 for a, _ in pairs), any(b > 12 for _, b in pairs)
        order = {(True, False): ", day first", (False, True): ", month first"}.get((day_first, month_first), "")
    first = rows.where(compute.index(found.column, _scalar(found.column, dates[0])).as_py())
    ways = [] if all(map(is_date, dates)) else guessed(dates)
    declare = "".join(f" and date_format = {quoted(each)}" for each in ways) if len(ways) == 1 else ""
    message = f"column {name!r} holds dates or times{order} (like {form(dates[0])!r}, in {first})"
    return Slip(
        message,
        f"write dates = [{quoted(name)}]{declare} under [table] in dataset.toml: the model gets them as numbers; or list the column "
        f"under [table] ignore; categorical = [{quoted(name)}] takes each date as a category",
        round(found.share(dates) * found.total),
    )


def _scalar(column: Any, text: str) -> Any:
    return texts(text)[0].cast(column.type)
