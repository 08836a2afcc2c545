"""Who uses the console."""

from __future__ import annotations

from typing import Literal

from registry.dataclass import dataclass

How = Literal["password", "proxy", "oidc", "mail link"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has signed in. Roles and approvals go by the name and the address, so both come from who vouches for them."""

    name: str
    """The login, e.g. `ada`, or what the OpenID provider says for `[console] oidc_claim`."""
    email: str
    """Empty when it is not known, or not verified."""
    how: How
    only: str = ""
    """`model/version`, for who came by the link of a mail: nothing else can be seen or decided."""

    @property
    def shown(self) -> str:
        """For pages and records: the name, and the address where that says more."""
        return f"{self.name} <{self.email}>" if self.email and self.email != self.name else self.name
