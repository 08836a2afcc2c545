"""The list of labelled answers in a dataset repository."""

import json

from pipelines.steps.register import _labels
from registry.label_manifest import answers_in, labels_in
from registry.records.data import DatasetLabels


def line(request, model="m", by=("ada",), more=None, row=0):
    return json.dumps(
        {"model": model, "request": request, "row": row, "label": "a", "file": "f", "by": list(by)} | (more or {})
    )


LISTED = "\n".join(
    [
        line("r-1"),
        line("r-2", by=("ada", "bob")),
        line("r-3", model="n"),
        "{",
        "[]",
        line("r-4", row="x"),
        line("r-5", more={"by": 3}),
    ]
).encode()


def test_answers_are_those_of_a_model_and_other_lines_are_left_alone():
    assert list(answers_in(LISTED, "m")) == [("r-1", 0), ("r-2", 0)]


def test_labels_are_counted_with_who_gave_them_the_most_first():
    assert labels_in(LISTED) == DatasetLabels(3, {"ada": 3, "bob": 1})
    assert labels_in(b"") is None
    many = "\n".join(line(str(n), by=(f"p{n % 60:02}",)) for n in range(150)).encode()
    assert len(labels_in(many).people) == 50


def test_a_version_is_registered_with_the_labels_of_its_dataset(tmp_path):
    listed = tmp_path / "trainyard-labels.jsonl"
    assert _labels(listed) is None
    listed.write_bytes(LISTED)
    assert _labels(listed) == labels_in(LISTED)
