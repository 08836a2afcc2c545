"""What a promotion is asked for, and with whose approval."""

from __future__ import annotations

from registry.dataclass import dataclass
from registry.records import ApprovalWay

RECORDED = "recorded"
"""In the place of a token: the approvals that the registry has already are to be used, as after a decision on the console."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of `trainyard promote`."""

    model: str
    version: int
    approval: str
    """The token of the mail, a text signed by the approver's own key, or `RECORDED`."""
    by: str
    """Who promotes, as the caller says."""
    seen: str
    """Who the system sees: `user@machine`, or a login of Jenkins and its build."""
    way: ApprovalWay = "token"
    """`token` or `jenkins`; a signed text says for itself that it is one."""
    although: str = ""
    """Why it is to be released even if it is not compared with the live release, or worse."""
    reason: str = ""
    """Why, for the release's record, where a machine asks."""
    over: int = 0
    """The number of the release that it may replace, where no person has looked at what is live; 0: any."""
