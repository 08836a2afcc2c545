"""`trainyard doctor` on the labels of answers."""

from pathlib import Path

import pytest
from monitor_parts import config

from pipelines.doctor.labels import labels
from registry.errors import Corrupt
from registry.label_store import LabelStore, label_file
from registry.records.labels import Label


def test_labels_are_counted_and_none_are_made(tmp_path):
    settings = config(tmp_path)
    path = label_file(Path(settings.home), settings.model)
    assert labels(settings).what == "nobody has labelled an answer yet"
    assert not path.parent.exists()
    with LabelStore(path) as store:
        store.add([Label("r-1", 0, value, None, "ada", "", "feedback") for value in ("a", "b")])
    assert labels(settings).what == "1 labelled answers"


def test_a_damaged_file_is_named_with_what_to_do(tmp_path):
    settings = config(tmp_path)
    path = label_file(Path(settings.home), settings.model)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database")
    with pytest.raises(Corrupt, match="damaged") as found:
        labels(settings)
    assert "move it away" in found.value.hint
