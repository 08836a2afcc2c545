"""What a version has for monitoring, in a line."""

from __future__ import annotations

from registry.records import Candidate
from retraining.monitoring.names import REFERENCE_FILE


def in_words(manifest: Candidate) -> str:
    """`reference.npz, of 1,234 samples of the holdout`; empty for a version of an earlier Trainyard, which has none."""
    if REFERENCE_FILE not in manifest.files:
        return ""
    return f"{REFERENCE_FILE}, of {manifest.evaluation.candidate.samples:,} samples of the holdout"
