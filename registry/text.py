"""Foreign text (commit subjects, exceptions, logs) without what could rewrite a terminal or disguise a line."""

from __future__ import annotations

import re

ESCAPES = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])"
"""Terminal escape sequences: colours, cursor moves, window titles, links. An unterminated one hides nothing after it.

A pattern that is compiled when it is first needed: most commands never see such text."""


def printable(text: str, *, keep: str = "", instead: str = "") -> str:
    """`text` in printable characters; those in `keep` stay, too.

    White space of any kind becomes a space. An escape sequence, a control or direction character, half a surrogate
    pair and a character that Unicode does not assign become `instead`, one for each character.
    """
    if text.isprintable():  # mostly, and much quicker
        return text
    text = re.sub(ESCAPES, lambda found: instead * len(found[0]), text)

    def shown(found: re.Match[str]) -> str:
        return "".join(
            each if each.isprintable() or each in keep else " " if each.isspace() else instead for each in found[0]
        )

    return re.sub(r"[^ -~]+", shown, text)


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters: what is left out is in the middle, as long names often begin with the same words."""
    if len(text) <= limit:
        return text
    end = (limit - 1) * 2 // 5
    return f"{text[: limit - 1 - end]}…{text[len(text) - end :]}"
