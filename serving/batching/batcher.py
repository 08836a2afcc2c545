"""An engine in front of an engine: what several threads ask at the same time goes through the model together.

There is no thread of its own. Of the requests that wait, the first one leads: it waits for others for a moment (if there were
others lately), takes as many as fit, runs the engine, and wakes them; then the first of those that have come meanwhile
leads. A request that is alone so runs at once, in its own thread, as without a batcher.

Belongs to one loaded model: a batch never has requests that two releases answer. An error stays with its own request: when
the engine does not take a batch, each of its requests runs alone, in its own thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable

from registry.records import Signature
from serving.batching.rules import Costs, choose, enough, patience
from serving.engines.base import Array, Arrays, Engine, check_inputs, joined
from serving.engines.meter import METER, QUEUE

log = logging.getLogger(__name__)


class Ticket:
    """One request that waits."""

    __slots__ = ("_wake", "came", "inputs", "kind", "leads", "outputs", "rows", "sleeps", "started", "thread")

    def __init__(self, inputs: Arrays, rows: int) -> None:
        self.inputs, self.rows = inputs, rows
        self.kind: Hashable = tuple(
            (array.shape[1:], array.dtype.kind if array.dtype.kind in "USO" else "") for array in inputs.values()
        )
        """What may go into one array with it."""
        self.thread = threading.get_ident()
        self.came = self.started = time.perf_counter()
        self.leads = self.sleeps = False
        """Whether it leads, and waits for others as a leader."""
        self.outputs: dict[str, Array] | None = None
        """Of its rows, if it was in a batch that the engine took."""
        self._wake = threading.Lock()
        self._wake.acquire()

    def wait(self, seconds: float = -1) -> None:
        """Until `wake`, or for so many seconds."""
        self._wake.acquire(timeout=seconds)

    def wake(self) -> None:
        """Once per `wait`."""
        self._wake.release()


class Batcher:
    """An Engine: safe to call from several threads."""

    def __init__(
        self, engine: Engine, signature: Signature, costs: Costs, *, rows: int, seconds: float, at_once: int = 1
    ) -> None:
        """`costs` are the engine's; `rows`: the most in a batch; `seconds`: that a request waits for others while the engine is
        free; `at_once`: batches that run at the same time."""
        self._engine, self._signature, self._rows, self._at_once = engine, signature, rows, at_once
        self._patience = patience(costs, seconds)
        self._lock = threading.Lock()
        # With the lock. While one waits and fewer than `at_once` run, the first of those that wait collects.
        self._waiting: list[Ticket] = []
        self._collecting: Ticket | None = None
        self._running = 0
        self._company = 1
        """Requests that there were at about the same time lately."""

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        rows = check_inputs(self._signature, inputs)
        if rows >= self._rows:
            return self._engine(inputs)
        ticket = Ticket(inputs, rows)
        QUEUE.add(ticket.thread)
        if not self._enter(ticket):
            ticket.wait()
        batch = self._collect(ticket) if ticket.leads else []
        try:
            if len(batch) > 1:
                self._run_together(batch)
            elif batch:
                self._start(batch)
                return self._engine(inputs)
        finally:
            if batch:
                self._end(batch)
            METER.waited += ticket.started - ticket.came
        if ticket.outputs is None:
            return self._engine(inputs)
        METER.shared = True
        return ticket.outputs

    def _enter(self, ticket: Ticket) -> bool:
        """Whether it leads; else it has to wait until it is woken, as a leader or with its outputs."""
        with self._lock:
            self._waiting.append(ticket)
            collecting = self._collecting
            if collecting is None and self._running < self._at_once:
                self._collecting, ticket.leads = ticket, True
            elif collecting and collecting.sleeps and self._has_enough():
                collecting.sleeps = False
                collecting.wake()
            return ticket.leads

    def _has_enough(self) -> bool:
        rows = sum(each.rows for each in self._waiting)
        return enough(len(self._waiting), rows, self._company, self._rows)

    def _collect(self, leader: Ticket) -> list[Ticket]:
        """The leader's batch, itself the first, after a wait for others if there were more lately."""
        with self._lock:
            leader.sleeps = not self._has_enough()
        if leader.sleeps:
            leader.wait(self._patience)
        with self._lock:
            chosen = choose(((each.kind, each.rows) for each in self._waiting), self._rows)
            batch = [self._waiting[i] for i in chosen]
            taken = set(chosen)
            self._waiting = [each for i, each in enumerate(self._waiting) if i not in taken]
            self._running += 1
            self._collecting = None
            following = self._next_leader()
        if following:
            following.wake()
        return batch

    def _next_leader(self) -> Ticket | None:
        """With the lock: the one to be woken, as there is room for another batch."""
        if not self._waiting or self._collecting or self._running >= self._at_once:
            return None
        self._collecting = self._waiting[0]
        self._collecting.leads = True
        return self._collecting

    def _start(self, batch: list[Ticket]) -> None:
        now = time.perf_counter()
        for each in batch:
            each.started = now
        QUEUE.remove(each.thread for each in batch)

    def _run_together(self, batch: list[Ticket]) -> None:
        """Give each its outputs; none gets any when the engine does not take them all."""
        self._start(batch)
        try:
            outputs = self._engine(joined([each.inputs for each in batch]))
        except Exception as error:  # noqa: BLE001  (each request meets its own, in its own thread)
            log.debug("a batch of %s requests runs one by one: %s", len(batch), error)
            return
        first = 0
        for each in batch:
            last = first + each.rows
            each.outputs = {name: array[first:last] for name, array in outputs.items()}
            first = last
        QUEUE.batched(first)

    def _end(self, batch: list[Ticket]) -> None:
        """Wake all of the batch but the leader, whose thread this is, and who leads next."""
        with self._lock:
            self._running -= 1
            self._company = len(batch) + len(self._waiting)
            following = self._next_leader()
        if following:
            following.wake()
        for each in batch[1:]:
            each.wake()
