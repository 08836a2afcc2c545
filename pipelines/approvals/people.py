"""Who is who: the names by which the machine, Jenkins, git and `[approval] approvers` know one person.

Who may do something is compared narrowly, who may not is compared widely: a slip costs an approval, never grants one.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from pipelines.config.bounds import PUBLIC_KEY
from registry.dataclass import dataclass
from registry.signatures import PublicKey

ADDRESS = re.compile(r"<([^<>]*)>\s*$")


@dataclass(frozen=True, slots=True)
class Approver:
    """One entry of `[approval] approvers`: a name, or a public key and the name of its owner."""

    name: str
    """Empty for a key without a comment."""
    key: str = ""
    """As `ssh-keygen` writes it, without the comment."""

    @property
    def key_id(self) -> str:
        """The key's id; empty without a key."""
        return PublicKey(base64.b64decode(self.key.split()[1])[-32:]).id if self.key else ""

    @property
    def shown(self) -> str:
        """For messages."""
        return self.name or f"the owner of {self.key[:24]}…{self.key[-8:]}"


def approvers(entries: Iterable[str]) -> tuple[Approver, ...]:
    """The entries of `[approval] approvers`, which the config has checked."""
    found = []
    for entry in entries:
        key = PUBLIC_KEY.match(entry)
        found.append(Approver(entry[key.end() :].strip(), key[0]) if key else Approver(entry.strip()))
    return tuple(found)


def is_same_login(listed: str, seen: str) -> bool:
    """Whether a login or an address that the system saw is the one that is listed. A listed name without `@` is that of
    an account on any machine."""
    one, other = address(listed), address(seen)
    return bool(one) and (one == other or ("@" not in one and one == _account(other)))


def on_console(seen: str) -> frozenset[str]:
    """What somebody who has signed in to the console as `login <address>`, or `login`, can be listed as: just these two. An
    address of another company may begin with anybody's name."""
    return frozenset({_fold(ADDRESS.sub("", seen)), address(seen)}) - {""}


def names(*texts: str) -> frozenset[str]:
    """All names in `Ada Lovelace <ada+work@company.example>`: the whole, the name, the address, and what is before its
    `@`, also without what is before or after a `+`."""
    found = set()
    for text in texts:
        whole = address(text)
        account = _account(whole)
        found |= {_fold(text), _fold(ADDRESS.sub("", text)), whole, account, *account.split("+")}
    return frozenset(found - {""})


def address(text: str) -> str:
    """The address in `Name <address>`, else all of it."""
    inside = ADDRESS.search(text)
    return _fold(inside[1] if inside else text)


def _account(whole: str) -> str:
    return whole.rpartition("@")[0] or whole


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())
