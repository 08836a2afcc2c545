"""Whether the labels of answers can be read."""

from __future__ import annotations

from pathlib import Path

from pipelines.config.schema import Config
from pipelines.doctor.finding import Finding
from registry.label_store import LabelStore, label_file


def labels(config: Config) -> Finding:
    """Raises Corrupt, ConfigError, TryAgain for a file that cannot be read: the API refuses feedback then."""
    store = LabelStore.existing(label_file(Path(config.home), config.model))
    if store is None:
        return Finding("ok", "nobody has labelled an answer yet")
    with store:
        return Finding("ok", f"{store.counts().rows:,} labelled answers")
