"""What the types of settings say beside the type itself."""

from __future__ import annotations

import re
from typing import NamedTuple


class Between(NamedTuple):
    """The inclusive limits of a number: outside them it can only be a slip."""

    low: float
    high: float


PUBLIC_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}(?=\s|$)")
"""An Ed25519 key as `ssh-keygen` writes it, but for the comment behind it."""
ONE_OR_MORE = "a text on its own is read as a list of one"
