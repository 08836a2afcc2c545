"""All settings, with their defaults and bounds; `pipelines.config.load` reads them from file, environment and flags.

The sections are in modules beside this one, and imported from here.
"""

from __future__ import annotations

from dataclasses import asdict, field
from pathlib import Path
from typing import Annotated, Any

from pipelines.config.bounds import Between
from pipelines.config.console_sections import Console
from pipelines.config.monitoring_sections import Labelling, Monitoring, Schedule
from pipelines.config.run_sections import (
    AcceptancePolicy,
    ApprovalPolicy,
    JenkinsServer,
    Mail,
    Report,
    Repositories,
    Retraining,
    RunnerConfig,
    Tracking,
    Training,
)
from pipelines.config.serving_sections import (
    Batch,
    PredictionLog,
    Serving,
)
from pipelines.config.storage_sections import (
    Cache,
    Keep,
    Lineage,
    Registry,
)
from registry.dataclass import dataclass
from registry.records import Policy
from training.metric_table import LIMITS

__all__ = [
    "NOT_SETTINGS",
    "RENAMED",
    "AcceptancePolicy",
    "ApprovalPolicy",
    "Batch",
    "Cache",
    "Config",
    "Console",
    "JenkinsServer",
    "Keep",
    "Labelling",
    "Lineage",
    "Mail",
    "Monitoring",
    "PredictionLog",
    "Registry",
    "Report",
    "Repositories",
    "Retraining",
    "RunnerConfig",
    "Schedule",
    "Serving",
    "Tracking",
    "Training",
]

RENAMED = {"serving.go_live": "serving.deploy", "jenkins.go_live": "jenkins.deploy"}
"""Settings by the names that they had in earlier versions of Trainyard."""
NOT_SETTINGS = {"file", "shared"}
LATER = {
    "recent",
    "positive",
    "beta",
    "k",
    "quantile",
    "costs",
    "rule",
    "slices",
    "slice_floor",
    "slice_floors",
    "slice_min_samples",
    "slice_max_drop",
    "target",
}
"""Settings of `[gate]` that came later."""


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, with defaults filled in. Paths are absolute."""

    model: str
    repositories: Repositories
    training: Training = field(default_factory=Training)
    retraining: Retraining = field(default_factory=Retraining)
    gate: Annotated[
        Policy,
        {
            "min_samples": Between(1, 10**9),
            "max_drop": Between(0, float("inf")),
            "class_floor": Between(0, 1),
            "slice_min_samples": Between(1, 10**9),
            "slice_max_drop": Between(0, float("inf")),
            **{name: Between(*each) for name, each in LIMITS.items()},
        },  # a record of the registry
    ] = field(default_factory=Policy)
    acceptance: AcceptancePolicy = field(default_factory=AcceptancePolicy)
    approval: ApprovalPolicy = field(default_factory=ApprovalPolicy)
    mail: Mail = field(default_factory=Mail)
    report: Report = field(default_factory=Report)
    serving: Serving = field(default_factory=Serving)
    batch: Batch = field(default_factory=Batch)
    prediction_log: PredictionLog = field(default_factory=PredictionLog)
    monitoring: Monitoring = field(default_factory=Monitoring)
    labels: Labelling = field(default_factory=Labelling)
    schedule: Schedule = field(default_factory=Schedule)
    runner: RunnerConfig = field(default_factory=RunnerConfig)
    registry: Registry = field(default_factory=Registry)
    cache: Cache = field(default_factory=Cache)
    lineage: Lineage = field(default_factory=Lineage)
    keep: Keep = field(default_factory=Keep)
    console: Console = field(default_factory=Console)
    jenkins: JenkinsServer = field(default_factory=JenkinsServer)
    tracking: Tracking = field(default_factory=Tracking)
    home: str = ".trainyard"
    """Runs, caches, outbox, logs and the registry's default place; relative to the file."""

    file: str = ""
    """Where all this was read from; not a setting."""
    shared: str = ""
    """The file with what several models share, which was read, too; empty: the repository has one model. Not a setting."""

    @property
    def own_folder(self) -> Path:
        """Where the runs and mails of this model are, and what its commands remember: `home`, or its own folder in it where several
        models share that."""
        return Path(self.home) / "models" / self.model if self.shared else Path(self.home)

    @property
    def runs(self) -> Path:
        """The folder that holds one folder per run."""
        return self.own_folder / "runs"

    @property
    def outcome_settings(self) -> dict[str, Any]:
        """The settings that can change what a run finds; their hash is part of the run's id."""
        values = asdict(self)
        where = {
            "host",
            "port",
            "admin_host",
            "admin_port",
            "grpc_port",
            "deploy",
            "registry_volume",
            "log_mb",
            "log_files",
            "traces",
            "poll_seconds",
        }
        who = {
            "auth", "open", "certfile", "keyfile", "allowed_hosts", "cors_origins", "requests_per_second",
        }  # fmt: skip
        serving = {key: value for key, value in values["serving"].items() if key not in where | who}
        same = {name: values[name] for name in ("training", "retraining", "gate", "acceptance")}
        for name in (each for each in LATER if getattr(self.gate, each) == getattr(Policy(), each)):
            del same["gate"][name]  # runs keep the ids that they had before there was this setting
        for rule in (each for each in same["gate"].get("rule", ()) if not each["target"]):
            del rule["target"]
        runner = [self.runner.kind, self.runner.image, *([] if self.runner.packages else ["no packages"])]
        return {**same, "serving": serving, "runner": runner}
