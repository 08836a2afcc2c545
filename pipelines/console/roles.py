"""Who may do what: a role is given by model, in `[console.roles]`. Pure rules, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from pipelines.config.console_sections import Role
from pipelines.console.person import Person

ROLES: tuple[Role, ...] = get_args(Role)
EVERYBODY = "*"
ACTIONS: Mapping[str, frozenset[Role]] = {
    "see": frozenset(ROLES),
    "see answers": frozenset({"viewer", "engineer", "owner", "admin"}),
    "label": frozenset({"labeller", "engineer", "owner", "admin"}),
    **dict.fromkeys(("silence", "retrain"), frozenset({"engineer", "owner", "admin"})),
    **dict.fromkeys(("audit", "settings"), frozenset({"engineer", "owner", "admin"})),
    **dict.fromkeys(("decide", "roll back", "demote"), frozenset({"owner", "admin"})),
}
"""Action → the roles that may."""


def role_in(given: Mapping[str, Role], person: Person) -> Role | None:
    """The role of a person by one model's `[console.roles]`: of what it says of the person the strongest, else everybody's."""
    known = {name.casefold(): role for name, role in given.items()}
    found = [
        known[name] for name in (person.name.casefold(), person.email.casefold()) if name in known and name != EVERYBODY
    ]
    return max(found, key=ROLES.index, default=known.get(EVERYBODY))


def may(roles_of_person: Mapping[str, Role], action: str, model: str = "") -> bool:
    """Whether somebody with these roles (model → role) may do this to a model; without one: to any.

    Raises KeyError for an action that is not in `ACTIONS`.
    """
    allowed = ACTIONS[action]
    if model:
        return roles_of_person.get(model) in allowed
    return any(role in allowed for role in roles_of_person.values())
