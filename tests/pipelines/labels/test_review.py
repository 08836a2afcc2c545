"""The review queue over a prediction log."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prediction_log_files import write_segment

from pipelines.config.load import load_config
from pipelines.deploy.serve_job import log_folder
from pipelines.labels.review import details, fill, review
from pipelines.labels.tasks import labelling_config, tasks
from registry.label_queue import LabelQueue
from registry.label_store import LabelStore, label_file
from registry.records.labels import Label

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
KEPT = {"mass": ("value", "float")}


def line(number, share, **more):
    p = [share, round(1 - share, 6)]
    return {"id": f"r-{number}", "class": "a" if share >= 0.5 else "b", "confidence": max(p), "outputs": {"p": p},
            "inputs": {"mass": float(number)}, **more}  # fmt: skip


@pytest.fixture
def config(tmp_path):
    (tmp_path / "trainyard.toml").write_text('model = "m"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n')
    found = load_config(tmp_path / "trainyard.toml", {})
    return replace(found, labels=replace(found.labels, per_day=10))


def label(config, *labels):
    with LabelStore(label_file(Path(config.home), "m")) as store:
        store.add(labels)


def said(request, value, by="ada", at="2026-11-30T12:30:00Z"):
    return Label(request, 0, value, None, by, at, "queue")


def test_without_a_log_nothing_is_asked(config):
    assert fill(config, NOW).new == 0
    assert review(config).items == ()


def test_the_queue_holds_the_doubtful_and_a_random_share_up_to_the_bound_of_the_day(config):
    write_segment(log_folder(config), KEPT, [line(n, 0.5 + n / 200) for n in range(100)])
    assert fill(config, NOW).new == 10
    items = review(config).items
    at_random = {each.request for each in items if each.why == "random"}
    assert len(at_random) == 2
    rest = [f"r-{n}" for n in range(100) if f"r-{n}" not in at_random]
    assert [each.request for each in items if each.why == "doubtful"] == rest[:8]
    assert {(each.answered, each.version) for each in items} == {("a", 1)}
    assert fill(config, NOW).new == 0, "the day is full"
    assert fill(config, NOW.replace(day=1, month=12)).new == 10
    assert len({each.request for each in review(config).items}) == 20, "nobody is asked twice"


def test_refused_requests_labelled_ones_and_old_ones_are_not_asked_about(config):
    lines = [
        line(1, 0.5, status=422, row=None),
        line(2, 0.5, time="2026-11-01T00:00:00.000Z"),
        line(3, 0.5),
        line(4, 0.5),
    ]
    write_segment(log_folder(config), KEPT, lines)
    label(config, said("r-3", "a"))
    fill(config, NOW)
    found = review(config)
    assert [each.request for each in found.open] == ["r-4"]
    assert {each.request for each in found.items} <= {"r-3", "r-4"}, "a labelled one may be drawn, and counts then"


def test_the_queue_says_how_far_it_is_and_what_it_says_of_the_model(config):
    config = replace(config, labels=replace(config.labels, labellers=2, random_share=1.0))
    write_segment(log_folder(config), KEPT, [line(n, 0.9) for n in range(10)])
    fill(config, NOW)
    label(
        config,
        *[said(f"r-{n}", "a" if n < 7 else "b", by) for n in range(9) for by in ("ada", "bob")],
        said("r-9", "a"),
    )
    found = review(config)
    assert [each.request for each in found.open] == ["r-9"]
    assert (found.drawn, round(found.accuracy[0], 4)) == (9, round(7 / 9, 4))
    (agreement,) = found.agreements
    assert (agreement.items, agreement.kappa) == (9, 1.0)


def test_tasks_hold_what_a_labeller_needs_and_come_back_by_their_id(config):
    kept = {"image": ("file", {"brightness": "float", "hash": "text"})}
    image = {"image": {"brightness": 0.5, "hash": "00ff00ff00ff00ff"}}
    write_segment(log_folder(config), kept, [line(1, 0.6, inputs=image)], images={"r-1.0.png": b"PNG"})
    fill(config, NOW)
    (item,) = review(config).items
    (task,) = json.loads(tasks([item], details(config, [item], images=True), "m"))
    assert task["data"]["trainyard_id"] == "r-1/0"
    assert base64.b64decode(task["data"]["image"].partition(",")[2]) == b"PNG"
    (prediction,) = task["predictions"]
    assert prediction["score"] == pytest.approx(1 - item.score)
    assert prediction["result"][0]["value"] == {"choices": ["a"]}
    assert '<Choice value="a"/><Choice value="b &amp; c"/>' in labelling_config(["a", "b & c"], images=True)


def test_of_a_row_the_inputs_are_shown_by_name(config):
    write_segment(
        log_folder(config),
        {**KEPT, "text": ("value", "text"), "city": ("bin", "text")},
        [line(1, 0.6, inputs={"mass": 2.5, "text": "hi", "city": None})],
    )
    fill(config, NOW)
    items = review(config).items
    (task,) = json.loads(tasks(items, details(config, items), "m"))
    assert task["data"] == {
        "trainyard_id": "r-1/0", "mass": 2.5, "text": "mass 2.5, text hi", "city": None,
    }  # fmt: skip
    with LabelQueue(label_file(Path(config.home), "m")) as queue:
        assert len(queue.items()) == 1


def test_lines_that_the_log_does_not_have_any_more_are_left_out_of_tasks(config):
    path = write_segment(log_folder(config), KEPT, [line(1, 0.6)])
    fill(config, NOW)
    path.unlink()
    items = review(config).items
    assert json.loads(tasks(items, details(config, items), "m")) == []


def test_a_task_says_of_a_value_that_the_log_does_not_have_why_it_is_not_there(config):
    kept = {"age": ("bin", "int"), "name": ("hash", "text"), "city": ("bin", "text")}
    inputs = {"age": 3, "name": "5e1f", "city": "Bern"}
    write_segment(log_folder(config), kept, [line(1, 0.6, inputs=inputs)])
    fill(config, NOW)
    items = review(config).items
    (task,) = json.loads(tasks(items, details(config, items), "m"))
    assert task["data"]["text"] == (
        "age (not here: it is kept as a bin), name (not here: it is kept as a hash), city Bern"
    )


def test_equal_inputs_and_near_images_are_asked_about_once(config):
    write_segment(log_folder(config), KEPT, [line(n, 0.6, inputs={"mass": 1.0}) for n in range(5)])
    kept = {"image": ("features", {"brightness": "float", "hash": "text"})}
    near = [line(10 + n, 0.6, inputs={"image": {"brightness": 0.1, "hash": f"{n:016x}"}}) for n in (0, 1, 3)]
    write_segment(log_folder(config), kept, near, number=2)
    assert fill(config, NOW).new == 2


def test_numbers_are_shown_with_the_digits_that_the_log_has(config):
    write_segment(log_folder(config), KEPT, [line(1, 0.6, inputs={"mass": 49.4})])
    fill(config, NOW)
    items = review(config).items
    assert details(config, items)["r-1", 0]["inputs"] == {"mass": 49.4}, "and not 49.400001525878906"


def test_of_a_model_that_answers_with_numbers_a_number_is_asked_for_and_no_accuracy_is_estimated(config):
    outputs = {"y": {"kept": "value", "type": "float"}}
    numbers = [{"id": f"r-{n}", "outputs": {"y": 0.1 * n}, "inputs": {"mass": float(n)}} for n in range(1, 5)]
    write_segment(log_folder(config), KEPT, numbers, outputs=outputs)
    config = replace(config, labels=replace(config.labels, random_share=1.0))
    fill(config, NOW)
    items = review(config).open
    label(config, said(items[0].request, "0.123"))
    assert review(config).accuracy is None, "no label is the same number as an answer"
    found = json.loads(tasks(items, details(config, items), "m"))
    results = {each["data"]["trainyard_id"]: each["predictions"][0]["result"][0] for each in found}
    assert results["r-3/0"] == {"from_name": "label", "to_name": "text", "type": "number", "value": {"number": 0.3}}
    assert '<Number name="label" toName="text"/>' in labelling_config([], images=False)


def test_an_answer_that_is_only_said_to_be_wrong_counts_as_wrong(config):
    config = replace(config, labels=replace(config.labels, random_share=1.0))
    write_segment(log_folder(config), KEPT, [line(n, 0.9) for n in range(4)])
    fill(config, NOW)
    bad = replace(said("r-0", ""), correct=False)
    label(config, bad, said("r-1", "a"), replace(bad, request="r-2", correct=True), said("r-3", "b"))
    found = review(config)
    assert (found.drawn, found.accuracy[0]) == (4, 0.5)
    assert [each.request for each in found.open] == ["r-0"], "what is right is not known yet"
    label(config, said("r-0", "a", at="2026-11-30T13:00:00Z"))
    assert review(config).accuracy[0] == 0.75
