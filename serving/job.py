"""The job of the prediction API: one JSON file, `job.json`, in its working folder. Light: the controller imports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from registry.formats import formats
from registry.store_options import StoreOptions


@dataclass(frozen=True, slots=True)
class PredictionLogJob:
    """What the API keeps of its answers: see serving.prediction_log."""

    folder: str
    """Where; the API alone writes there while it runs."""
    key: str
    """The file with the secret of `hash`."""
    fraction: float = 1.0
    """Of the requests, chosen by a hash of their id."""
    columns: dict[str, str] = field(default_factory=dict)
    """Input or output → "value", "hash", "bin" or "no"; others as serving.prediction_log.rules says."""
    images: Literal["no", "features", "file"] = "features"
    keep_days: int = 30
    max_mb: int = 1024
    sent: bool = False
    """Closed segments are sent elsewhere: one that is removed before was lost."""


@dataclass(frozen=True, slots=True)
class ServeJob:
    """Serve the live release of `model` in `registry`, or, for an acceptance test, the one version in `folder`."""

    model: str
    registry: str = ""
    """The registry's URL; empty when `folder` is given."""
    store: StoreOptions = field(default_factory=StoreOptions)
    """How to reach it, when it is in a bucket."""
    mirror: str = ""
    """The folder of a local copy, which serving.follower keeps: of a registry in a bucket; empty: the registry itself is read."""
    poll_seconds: float = 2.0
    """Between two updates of that copy."""
    folder: str = ""
    """A version folder with its `card.json`; empty: follow the registry's releases."""
    first_key: str = ""
    """The id of the key that the registry began with; empty: the one with which it begins when it is first seen."""
    state: str = ""
    """A folder for what the API remembers of registry and releases, where its own does not outlive it, as in a container."""
    host: str = "127.0.0.1"
    port: int = 8500
    """0: any free port."""
    admin_host: str = "127.0.0.1"
    admin_port: int = 0
    """Where operators ask: metrics, status; 0: any free port."""
    grpc_port: int = 0
    """Where the Open Inference Protocol is spoken over gRPC, beside `port`; 0: nowhere."""
    auth: Literal["none", "tokens"] = "none"
    tokens: str = ""
    """The file of serving.access.tokens, with `auth` "tokens"."""
    open: bool = False
    """Everybody who reaches the API may ask it, wherever it listens."""
    certfile: str = ""
    keyfile: str = ""
    """PEM files; empty: no TLS."""
    allowed_hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    requests_per_second: float = 0.0
    """Per token, or per address; 0: without limit."""
    workers: int = 2
    """Server processes; each loads the model."""
    threads: int = 4
    """Requests at once per process."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-*` headers count."""
    max_body_mb: int = 16
    max_instances: int = 256
    batch_ms: float = 5.0
    """Milliseconds that a request may wait for others, to go through a model together that gains by it; 0: none is batched."""
    explain_ms: int = 500
    """Milliseconds that one request for explanations may take; 0: there are none."""
    earlier_versions: int = 1
    """Released versions besides the live one that each server process keeps for clients that ask for them by number."""
    log_mb: int = 10
    """Size of one file of the log, where the API writes one."""
    log_files: int = 5
    traces: str = ""
    """The URL of an OpenTelemetry collector for spans of requests; empty: there are none."""
    timeout_seconds: int = 30
    """How long a stopping server lets requests finish. Also for a body to come, and for an answer to be received, beside
    a second for every 16 KiB."""
    max_connections: int = 0
    """Per process; 0: 4096, or what the limit of open files leaves."""
    max_connections_per_address: int = 0
    """Per process; 0: half of all. This machine and trusted proxies are exempt."""
    prediction_log: PredictionLogJob | None = None
    """None: nothing is kept."""
    labels: str = ""
    """The file of registry.label_store that `POST /feedback` writes, in a folder of its own; empty: it is refused."""

    @property
    def copied(self) -> str:
        """The folder of the registry's local copy."""
        return f"{self.mirror}/registry"

    @property
    def followed(self) -> str:
        """The URL of the registry that the API itself reads."""
        return f"file://{self.copied}" if self.mirror else self.registry

    def state_folder(self, folder: Path) -> Path:
        """Where the API in `folder` keeps what it must remember when it is started again."""
        return Path(self.state) if self.state else folder


def differences(runs: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, str]:
    """How an API that runs with the settings in `runs` differs from what is wanted, in words, by setting. Its `formats`
    are among them: what it reads depends on who has started it."""
    found = {name: f"{name} {runs.get(name)}, not {wanted[name]}" for name in wanted if runs.get(name) != wanted[name]}
    if "first_key" in found:  # not a setting that anybody has written
        found["first_key"] = (
            "it does not know with which key the registry begins, and believes the one that it saw first"
        )
    if runs["formats"] != formats():
        found["formats"] = "started by another version of Trainyard, and may not be able to read new releases"
    return found
