"""How a text file writes its columns and numbers: what `dataset.toml` declares, and what the file itself says."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import Any

BLANKS = " \u00a0\u2007\u2009\u202f"
"""What may be between groups of digits where `thousands` is a blank."""
MARKS = (
    "NA", "N/A", "n/a", "#NA", "#N/A", "#N/A N/A", "<NA>", "NaN", "nan", "-NaN", "-nan", "NULL", "null",
    "1.#IND", "1.#QNAN", "-1.#IND", "-1.#QNAN",
)  # fmt: skip
"""What means missing where nothing is declared: no number is written like that."""
SUSPICIOUS = frozenset({
    *(mark.casefold() for mark in MARKS), "?", "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "*", "/", "\\n",
    "none", "nil", "n.a.", "k.a.", "nat", "(empty)", "empty", "(null)", "(none)", "(blank)", "blank", "missing",
    "unknown", "undefined", "not available", "#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!",
})  # fmt: skip
"""What often means missing, in small letters: a text like any other until `na` declares it."""
EXPONENT = r"(?:[eE][-+]?[0-9]+)?"
INFINITE = r"(?:[iI][nN][fF](?:[iI][nN][iI][tT][yY])?)"


@dataclass(frozen=True, slots=True)
class Numbers:
    """How numbers are written."""

    decimal: str = "."
    thousands: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression, for Python and for RE2, of a whole text that is a number; digits are ASCII."""
        mark = "\\" + self.decimal
        whole = "[0-9]+"
        if self.thousands:
            between = f"[{BLANKS}]" if self.thousands in BLANKS else "\\" + self.thousands
            grouped = f"[1-9][0-9]{{0,2}}(?:(?:{between}[0-9]{{3}})+|(?:{between}[0-9]{{2}})+{between}[0-9]{{3}})"
            whole = f"(?:{grouped}|{whole})"
        return f"^[-+]?(?:(?:{whole}(?:{mark}[0-9]*)?|{mark}[0-9]+){EXPONENT}|{INFINITE})$"

    def changes(self, declared: Numbers) -> tuple[str, ...]:
        """The lines of `dataset.toml` that say so, as far as they differ from what is declared."""
        decimal = (f"decimal = {quoted(self.decimal)}",) if self.decimal != declared.decimal else ()
        return decimal + ((f"thousands = {quoted(self.thousands)}",) if self.thousands != declared.thousands else ())


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one text file was read."""

    delimiter: str
    encoding: str
    """A codec's name in Python."""
    first_line: str = ""
    """`sep=;` where the file begins with it; it is written again."""
    quote: str = '"'
    """What is around a field that holds a delimiter or a line break; empty: nothing can be."""
    comment: str = ""
    """What a line begins with that means nothing; empty: every line means something."""

    @property
    def for_python(self) -> dict[str, Any]:
        """As arguments of Python's module csv."""
        quoting = {"quotechar": self.quote} if self.quote else {"quotechar": None, "quoting": csv.QUOTE_NONE}
        return {"delimiter": self.delimiter, **quoting}

    def in_words(self, numbers: Numbers) -> str:
        """E.g. `delimiter ";", decimal ",", encoding "utf-8-sig"`."""
        said = {"delimiter": self.delimiter, "decimal": numbers.decimal, "encoding": self.encoding}
        said |= {"thousands": numbers.thousands} if numbers.thousands else {}
        said |= {"quote": self.quote} if self.quote != '"' else {}
        said |= {"comment": self.comment} if self.comment else {}
        return ", ".join(f"{name} {quoted(value)}" for name, value in said.items())


def quoted(text: str) -> str:
    """As TOML writes it."""
    return json.dumps(text, ensure_ascii=False)


def form(text: str) -> str:
    """What a text looks like without what it says: letters are `x`, digits `9`."""
    return "".join("9" if each.isdigit() else "x" if each.isalpha() else each for each in text[:40])
