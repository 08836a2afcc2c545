"""What the audit page shows: every action on the console, and every decision, approval and release in the registry, with what proves it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field

from pipelines.approvals.policy import who
from pipelines.console.audit import Entry
from pipelines.console.installation import Place
from registry.dataclass import dataclass
from registry.decisions import decision_chain
from registry.errors import PipelineError
from registry.releases import read_history
from registry.stores import signatures_of

log = logging.getLogger(__name__)
FRESH = 60.0
"""Seconds for which what was read of a registry is not read again, nor its signatures checked."""


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was done."""

    at: str
    who: str
    how: str
    address: str
    action: str
    model: str
    detail: str
    proof: str
    """What says that it is as it was written."""


COLUMNS = ("at", "who", "how", "address", "action", "model", "detail", "proof")


def of_console(entry: Entry) -> Line:
    """An entry of the console's own log."""
    return Line(
        entry.at, entry.who, entry.how, entry.address, entry.action, entry.model, entry.detail, f"log, {entry.number}"
    )


def of_registry(place: Place) -> list[Line]:
    """The decisions, approvals and releases of a model, all chains and signatures checked; raises PipelineError when one does not hold."""
    store = place.store
    history = read_history(store, place.name)
    proof = "signed, chain checked" if signatures_of(store) else "not signed, chain checked"
    found = [
        Line(
            each.at,
            who(each),
            each.way,
            "",
            "approval",
            place.name,
            f"version {each.version}, approval {each.number}",
            proof,
        )
        for each in history.approvals
    ]
    for decided in decision_chain(store, place.name).records():
        detail = f"version {decided.version}, decision {decided.number}: {decided.kind}. {decided.reason}".strip()
        found.append(Line(decided.at, decided.by, decided.how, "", "decision", place.name, detail, proof))
    for made in history.releases:
        what = f"version {made.version}" if made.version is not None else "none is live"
        given = f" with approval {', '.join(map(str, made.approvals))}" if made.approvals else ""
        detail = f"release {made.number}: {what}{given}. {made.reason}".strip()
        found.append(Line(made.at, made.by, "", "", made.kind, place.name, detail, proof))
    return found


@plain_dataclass
class RegistryLines:
    """The lines of each model's registry, kept for a moment."""

    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: dict[str, tuple[float, list[Line], str]] = field(default_factory=dict)

    def of(self, places: Iterable[Place]) -> tuple[list[Line], list[str]]:
        """The lines of these models, and what is wrong with any of them."""
        lines, wrong = [], []
        for place in places:
            with self._lock:
                read_at, found, problem = self._known.get(place.name, (-FRESH, [], ""))
            if time.monotonic() - read_at >= FRESH:
                found, problem = _read(place)
                with self._lock:
                    self._known[place.name] = (time.monotonic(), found, problem)
            lines += found
            wrong += [problem] if problem else []
        return lines, wrong


def _read(place: Place) -> tuple[list[Line], str]:
    try:
        return of_registry(place), ""
    except PipelineError as error:  # what it says may name files: that is for whoever reads the log
        log.warning("the registry's records of %s: %s", place.name, error)
        return [], (
            f"The registry's records of {place.name} cannot be read, or do not hold: `trainyard registry verify` says where."
        )


def chosen(lines: Sequence[Line], asked: Mapping[str, str]) -> list[Line]:
    """The newest first: those with the model and the action that were asked for, since and until a day, and with a text."""
    text = asked.get("text", "").casefold()
    found = [
        each
        for each in lines
        if asked.get("model", "") in {"", each.model}
        and asked.get("action", "") in {"", each.action}
        and asked.get("since", "") <= each.at[:10]
        and (not asked.get("until") or each.at[:10] <= asked["until"])
        and (not text or text in f"{each.who}\n{each.detail}".casefold())
    ]
    return sorted(found, key=lambda each: each.at, reverse=True)
