"""The settings of predictions: by the API, by batches, and what is kept of them."""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Literal

from pipelines.config.bounds import ONE_OR_MORE, Between
from registry.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Serving:
    """The prediction API."""

    host: str = "127.0.0.1"
    port: Annotated[int, Between(0, 65_535)] = 8500
    admin_host: str = "127.0.0.1"
    admin_port: Annotated[int, Between(0, 65_535)] = 0
    """Where operators and Prometheus ask: metrics, status. 0: any free port, which `trainyard serve --status` shows."""
    grpc_port: Annotated[int, Between(0, 65_535)] = 0
    """Where the Open Inference Protocol is spoken over gRPC; 0: nowhere."""
    auth: Literal["none", "tokens"] = "none"
    """Who may ask: everybody who reaches it, or who has a token (`trainyard token`)."""
    open: bool = False
    """Everybody may ask, also from other machines: something else keeps strangers away."""
    certfile: str = ""
    keyfile: str = ""
    """PEM files, relative to this file; both: TLS."""
    allowed_hosts: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Names in the Host header beside those of the loopback interface; empty: there only those, elsewhere any."""
    cors_origins: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Of web pages that may ask from a browser, e.g. "https://shop.example"."""
    requests_per_second: Annotated[float, Between(0, 1_000_000)] = 0.0
    """Per token, without tokens per address; 0: without limit."""
    workers: Annotated[int, Between(1, 128)] = 2
    threads: Annotated[int, Between(1, 256)] = 4
    trusted_proxies: Annotated[tuple[str, ...], ONE_OR_MORE] = ()
    """Addresses and networks of the proxies in front of the API: what they say about the client counts."""
    max_body_mb: Annotated[int, Between(1, 1_024)] = 16
    max_instances: Annotated[int, Between(1, 100_000)] = 256
    batch_ms: Annotated[float, Between(0, 1_000)] = 5.0
    """Milliseconds that a request may wait for others, to go through a model together that gains by it; 0: none is batched."""
    explain_ms: Annotated[int, Between(0, 60_000)] = 500
    earlier_versions: Annotated[int, Between(0, 20)] = 1
    log_mb: Annotated[int, Between(1, 100_000)] = 10
    """Size of one file of the API's log; of `log_files` the oldest is removed."""
    log_files: Annotated[int, Between(1, 1_000)] = 5
    traces: str = ""
    """The URL of an OpenTelemetry collector (OTLP over HTTP) for spans of requests, e.g. "http://127.0.0.1:4318"; empty: none
    are sent."""
    poll_seconds: Annotated[float, Between(0.1, 30)] = 2.0
    """With a registry in a bucket: before a new release is asked for again."""
    timeout_seconds: Annotated[int, Between(1, 3_600)] = 30
    max_connections: Annotated[int, Between(0, 1_000_000)] = 0
    """Per process; 0: 4096, or what the limit of open files leaves."""
    max_connections_per_address: Annotated[int, Between(0, 1_000_000)] = 0
    """0: half of all."""
    deploy: Literal["process", "docker", "jenkins"] = "process"
    """Where the API runs: a process of this machine, a container of the Docker engine, or wherever Jenkins' promotion job
    starts it."""
    image: str = ""
    """Of the API's container; empty: what `trainyard images build` has made of this version of Trainyard."""
    registry_volume: str = ""
    """The engine's volume with the registry, for an engine that does not see our file system."""


@dataclass(frozen=True, slots=True)
class PredictionLog:
    """What the API keeps of what it has answered, for monitoring and labels."""

    enabled: bool = False
    fraction: Annotated[float, Between(0, 1)] = 1.0
    """Of the requests, chosen by a hash of their id."""
    columns: dict[str, Literal["value", "hash", "bin", "no"]] = field(default_factory=dict)
    """What is kept of an input or output, by its name. Without it numbers are, of texts of a table those that many samples
    of the training data share, and of other texts nothing."""
    images: Literal["no", "features", "file"] = "features"
    """What is kept of images."""
    keep_days: Annotated[int, Between(1, 36_500)] = 30
    max_mb: Annotated[int, Between(1, 10**8)] = 1024
    """All files of one model's log; the oldest go first."""
    sink: Literal["file", "http"] = "file"
    """`http`: `trainyard log send` sends what was written to `url`, and removes it."""
    url: str = ""
    """That takes CloudEvents in batches; its token is TRAINYARD_PREDICTION_LOG_TOKEN."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Predictions for many rows (`trainyard batch`). With `input` and `output` Jenkins has a job for them."""

    input: str = ""
    """A file, a folder, or `s3://bucket/prefix`, relative to where the command runs."""
    output: str = ""
    """A folder or a prefix, which must be new; Jenkins' job adds the number of its build."""
    schedule: str = ""
    """When Jenkins' job runs, in its cron syntax; empty: only by hand."""
    format: Literal["", "parquet", "csv", "jsonl"] = ""
    """Of the predictions; empty: that of the input, Parquet for arrays and images."""
    columns: Annotated[tuple[str, ...], ONE_OR_MORE] = ("*",)
    """Columns of the input to keep beside the predictions; "*": all."""
    max_rejected: Annotated[int, Between(0, 10**12)] = 1000
    """Rows without a prediction; with more, the command ends with 3."""
    explain: bool = False
    """Explain each prediction, too, as `--explain` does."""
    explain_ms: Annotated[int, Between(10, 600_000)] = 200
    """Milliseconds that one row may be explained."""
    rows_per_part: Annotated[int, Between(0, 10**8)] = 0
    """What a killed run loses at most; 0: 50,000, of images and with explanations 1,000."""
    delimiter: str | None = None
    """How text files are written, as in `[table]` of a dataset.toml: this, and everything below. None: as the files of the
    dataset that the version was trained on."""
    decimal: Literal[".", ","] | None = None
    thousands: str | None = None
    quote: str | None = None
    comment: str | None = None
    skip_rows: Annotated[int | None, Between(0, 1000)] = None
    encoding: str | None = None
    na: Annotated[tuple[str, ...] | None, ONE_OR_MORE] = None
