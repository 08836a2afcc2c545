"""How many connections there may be, how long each may take, and which one has to go first: rules, without I/O."""

from __future__ import annotations

import resource
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum, auto

from serving.access.addresses import client_network
from serving.job import ServeJob
from serving.proxies import Networks

MOST = 4096
"""Connections of a server process, unless there is a setting."""
OTHER_FILES = 256
"""File descriptors that a server process needs for anything but its clients."""
GRPC_FILES = 1100
"""And for those who ask over gRPC, with what it needs itself."""
HEAD_SECONDS = 10
LOOPBACK = ("127.0.0.0/8", "::1/128")


class Stage(IntEnum):
    """What a connection waits for. When there are too many, those of the first stages have to go first."""

    HANDSHAKE = auto()
    """TLS."""
    NEW = auto()
    """The first byte of its first request."""
    HEAD = auto()
    """The end of a header section."""
    LINGERING = auto()
    """The client to close a connection that the server has closed."""
    BODY = auto()
    """The end of a body."""
    SENDING = auto()
    """The client, to receive its answer."""
    IDLE = auto()
    """The next request of a client that has been answered."""
    ANSWERING = auto()
    """Us."""


SILENT = (Stage.HANDSHAKE, Stage.NEW, Stage.HEAD)
"""What has not sent a request yet."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the clients of one server process may do."""

    max_body: int
    """Bytes."""
    connections: int
    per_address: int
    exempt: Networks = field(default_factory=lambda: Networks(LOOPBACK))
    """Addresses whose connections are not counted by address: many clients are behind each."""
    seconds: float = 30.0
    """For a body, and for an answer to be received, beside the time that `rate` gives."""
    rate: int = 16 << 10
    """Bytes per second that a body or an answer takes at least."""
    idle_seconds: float = 15.0
    head_seconds: float = HEAD_SECONDS
    linger_seconds: float = 2.0
    """For the next bytes of what is not read any more."""
    stopping_seconds: float = 2.0
    """For a client that may be about to send, once the server stops."""

    @property
    def buffered(self) -> int:
        """Bytes of requests and answers in memory."""
        return max(64 << 20, 4 * self.max_body)

    @property
    def drained(self) -> int:
        """Bytes that are read and thrown away before a connection is closed."""
        return max(64 << 20, 4 * self.max_body)

    def deadline(self, stage: Stage, since: float, progress: int, *, stopping: bool) -> float:
        """When the connection is given up that is in `stage` since then, with `progress` bytes moved."""
        if stage is Stage.ANSWERING:
            return float("inf")
        if stage in {Stage.BODY, Stage.SENDING}:
            return since + self.seconds + progress / self.rate
        seconds = self.idle_seconds if stage is Stage.IDLE else self.head_seconds
        if stage is Stage.LINGERING:
            seconds = self.linger_seconds
        if stopping and stage is not Stage.HEAD:
            seconds = min(seconds, self.stopping_seconds)
        return since + seconds


def address_key(client: object) -> str:
    """Under what a client's connections are counted; empty: not by address, as for a Unix socket."""
    return client_network(str(client[0])) if isinstance(client, tuple) else ""


def connection_limits(wanted: int, wanted_per_address: int, files: int) -> tuple[int, int]:
    """Connections of one server process, in all and per address, when it may have `files` open; 0: choose."""
    most = max(16, files - OTHER_FILES)
    connections = min(wanted or MOST, most)
    return connections, min(wanted_per_address or max(8, connections // 2), connections)


def raise_open_files(wanted: int, besides: int = 0) -> int:
    """Let this process and those that it starts open as many files as they need, as far as that is allowed; how many it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = (wanted or MOST) + OTHER_FILES + besides
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, allowed), hard))
    return max(soft, allowed)


def limits_for(job: ServeJob, idle_seconds: float) -> Limits:
    """By the settings, and by how many files may be open: as many as are needed, as far as that is allowed."""
    besides = GRPC_FILES if job.grpc_port else 0
    files = raise_open_files(job.max_connections, besides) - besides
    connections, per_address = connection_limits(job.max_connections, job.max_connections_per_address, files)
    return Limits(
        max_body=job.max_body_mb << 20,
        connections=connections,
        per_address=per_address,
        exempt=exempt(job.trusted_proxies),
        seconds=job.timeout_seconds,
        idle_seconds=idle_seconds,
        head_seconds=min(HEAD_SECONDS, job.timeout_seconds),
    )


def exempt(trusted_proxies: Iterable[str]) -> Networks:
    """Whose connections are not counted by address: this machine's, where a proxy may run, and trusted proxies."""
    return Networks((*LOOPBACK, *trusted_proxies))
