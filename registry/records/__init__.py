"""What the steps share: frozen dataclasses, each one JSON file in a run folder or in the registry; see `registry.codec`."""

from registry.records.archive import Archiving
from registry.records.data import (
    Convertible,
    DatasetTree,
    ImageFormat,
    ImagePreparation,
    Signature,
    Task,
    TensorSpec,
    with_tensor_names,
)
from registry.records.evaluation import (
    DIRECTION,
    ClassMetrics,
    Comparison,
    Evaluation,
    Importance,
    InputImportance,
    Metrics,
    Policy,
    Recent,
    Verdict,
)
from registry.records.release import Approval, ApprovalWay, Release, ReleaseKind
from registry.records.run import Run, Sources, Trigger, utc_now
from registry.records.training import OnnxWiring, Served, TrainJob, TrainResult
from registry.records.trust import Attestation, Head, HeadFold, KeyKind, KeyRecord, Mark, SeenHead, VersionMark
from registry.records.version import Acceptance, Candidate, Claim, LoadReport, Outcome, TestCase, TestReport

__all__ = [
    "DIRECTION",
    "Acceptance",
    "Approval",
    "ApprovalWay",
    "Archiving",
    "Attestation",
    "Candidate",
    "Claim",
    "ClassMetrics",
    "Comparison",
    "Convertible",
    "DatasetTree",
    "Evaluation",
    "Head",
    "HeadFold",
    "ImageFormat",
    "ImagePreparation",
    "Importance",
    "InputImportance",
    "KeyKind",
    "KeyRecord",
    "LoadReport",
    "Mark",
    "Metrics",
    "OnnxWiring",
    "Outcome",
    "Policy",
    "Recent",
    "Release",
    "ReleaseKind",
    "Run",
    "SeenHead",
    "Served",
    "Signature",
    "Sources",
    "Task",
    "TensorSpec",
    "TestCase",
    "TestReport",
    "TrainJob",
    "TrainResult",
    "Trigger",
    "Verdict",
    "VersionMark",
    "utc_now",
    "with_tensor_names",
]
