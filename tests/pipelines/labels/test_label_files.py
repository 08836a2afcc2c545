"""Labels come in from files, all or nothing, again without harm, and go out into files that come in again."""

import csv
import io
import json
import os
import tracemalloc
from pathlib import Path

import pytest
from prediction_log_parts import CLASSES, log_job, model_of, refused, table_answer, table_model

from pipelines.config.schema import Config, Repositories
from pipelines.deploy.serve_job import log_job as api_log
from pipelines.labels import files
from pipelines.labels.exports import export_labels
from pipelines.labels.files import read_entries
from pipelines.labels.imports import import_labels
from pipelines.labels.summary import summary
from registry.errors import ConfigError
from registry.label_store import LabelStore, label_file
from registry.records import Signature, TensorSpec
from registry.records.labels import Label
from serving.prediction_log import purge as purging
from serving.prediction_log.key import make_key, read_key
from serving.prediction_log.writer import PredictionLog

AT = "2026-11-30T10:00:00Z"
assert CLASSES == ("no", "yes")


def keep(home, answers):
    log = PredictionLog(log_job(home / "predictions" / "m"), lambda _: None)
    log.start()
    for each in answers:
        log.offer(each)
    log.close()


def config_of(home):
    return Config(model="m", repositories=Repositories("code", "dataset", "tests"), home=str(home))


@pytest.fixture
def config(tmp_path):
    """Of a model whose log has r-0 to r-5 with two instances each (answered "yes"), and `bad`, which was refused."""
    model = table_model()
    keep(tmp_path, [*(table_answer(model, f"r-{i}", 2) for i in range(6)), refused("bad")])
    return config_of(tmp_path)


@pytest.fixture
def take(config, tmp_path):
    """Imports a file with this content."""

    def begin(name, content, **more):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return import_labels(config, path, "ann", **more)

    return begin


def kept(config):
    store = LabelStore.existing(label_file(Path(config.home), "m"))
    if store is None:
        return []
    with store:
        return list(store.all())


def test_a_csv_file_is_taken_and_again_changes_nothing(config, take, tmp_path):
    content = f"request_id,row,label,correct,at,by,sure\nr-0,0,yes,,{AT},bo,0.5\nr-0,1,,false,{AT},,\nr-1,0,no,,,,\n"
    found = take("a.csv", content)
    assert (found.added, found.same, found.refused) == (3, 0, 0)
    labels = kept(config)
    assert labels[:2] == [
        Label("r-0", 0, "yes", None, "bo", AT, "import", 0.5), Label("r-0", 1, "", False, "ann", AT, "import"),
    ]  # fmt: skip
    assert (labels[2].value, labels[2].by) == ("no", "ann")
    assert import_labels(config, tmp_path / "a.csv", "ann").same == 3
    os.utime(tmp_path / "a.csv", (1.9e9, 1.7e9))  # a copy has another time
    assert import_labels(config, tmp_path / "a.csv", "ann").same == 3
    assert kept(config) == labels


def test_lines_of_json_are_taken_as_the_api_takes_them(config, take):
    lines = [
        {"request_id": "r-0", "row": 0, "label": "yes", "at": AT},
        {"request_id": "r-0", "row": 1, "correct": True, "at": AT},
    ]
    assert take("a.jsonl", "\ufeff" + "\n\n".join(map(json.dumps, lines))).added == 2
    assert [(each.value, each.correct) for each in kept(config)] == [("yes", None), ("", True)]


def test_one_wrong_line_and_nothing_is_imported_and_every_problem_is_named_by_its_line(config, take):
    content = (
        "request_id,row,label,correct\n"
        "r-0,0,yes,\n"
        "r-0,2,yes,\n"
        "never,0,yes,\n"
        'r-0,0,"may\nbe",\n'
        "r-0,zero,yes,\n"
        "r-0,0\n"
        "bad,0,yes,\n"
        "r-0,0,maybe,\n"
        "r-0,0,,perhaps\n"
    )
    with pytest.raises(ConfigError) as caught:
        take("a.csv", content)
    said = str(caught.value)
    assert "8 labels cannot be taken" in said
    for line in (3, 4, 6, 7, 8, 9, 10, 11):
        assert f"line {line}: " in said, said
    assert "nothing was imported" in caught.value.hint
    assert kept(config) == []
    found = take("a.csv", content, partial=True)
    assert (found.added, found.refused, len(found.problems)) == (1, 8, 8)
    assert [each.request for each in kept(config)] == ["r-0"]


def test_only_the_first_problems_are_named_and_the_others_counted(take):
    with pytest.raises(ConfigError, match=r"1000 labels cannot be taken: line 2: .*; and 980 more$"):
        take("a.csv", "request_id,label\n" + "never,yes\n" * 1000)


def task(request, row, *annotations, **data):
    return {"id": 1, "data": {"trainyard_id": f"{request}/{row}", **data}, "annotations": list(annotations)}


def annotation(label, by=1, cancelled=False, kind="choices", at="2026-11-30T10:00:00.123456Z"):
    value = {"choices": [label]} if kind == "choices" else {"number": label}
    return {
        "completed_by": by, "was_cancelled": cancelled, "created_at": at,
        "result": [{"from_name": "label", "to_name": "text", "type": kind, "value": value}],
    }  # fmt: skip


def test_what_label_studio_exports_is_taken_person_by_person_without_what_was_cancelled(config, take):
    tasks = [
        task("r-0", 0, annotation("yes"), annotation("no", {"id": 2, "email": "bo@example.org"}), annotation("no", 3, cancelled=True)),
        task("r-1", 1, image="data:image/png;base64," + "A" * 300_000),
        task("r-2", 0, annotation("yes", None)),
    ]  # fmt: skip
    found = take("export.json", json.dumps(tasks, indent=2))
    assert (found.added, found.refused) == (3, 0)
    assert [(each.request, each.value, each.by, each.source) for each in kept(config)] == [
        ("r-0", "yes", "annotator 1", "queue"), ("r-0", "no", "bo@example.org", "queue"), ("r-2", "yes", "ann", "queue"),
    ]  # fmt: skip
    assert take("export.json", json.dumps(tasks)).same == 3


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ({"data": {}, "annotations": []}, "trainyard_id"),
        ({"data": {"trainyard_id": "r-0/0"}, "annotations": 7}, "annotations"),
        (task("r-0", 0, {"completed_by": 1}), "not as Label Studio writes them"),
        (task("r-0", 0, {"completed_by": 1, "result": []}), "0 labels for one answer"),
        (task("r-0", 0, {**annotation("yes"), "result": annotation("yes")["result"] * 2}), "2 labels for one answer"),
        (task("r-0", 0, annotation(["a", "b"])), "neither a text nor a number"),
        (task("r-9", 0, annotation("yes")), "there is no such answer"),
        ({"request_id": "r-0", "row": 0, "label": 7}, "not a class"),
        (7, "not an object"),
    ],
    ids=str,
)
def test_a_task_that_is_not_one_is_named_by_its_line(take, found, problem):
    with pytest.raises(ConfigError, match=f"line 3: .*{problem}"):
        take("a.json", "[\n\n" + json.dumps(found) + "\n]\n")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.txt", ""), ("a.csv", ""), ("a.csv", "request,label\n"), ("a.csv", "request_id,label,label\n"),
        ("a.csv", 'request_id,label\nr-0,"yes'), ("a.json", ""), ("a.json", "{}"), ("a.json", "[1"), ("a.json", "[1 2]"),
        ("a.json", "[{]"), ("a.json", "[" * 5000), ("a.jsonl", "x" * (2 << 20)),
    ],
)  # fmt: skip
def test_a_file_that_is_of_no_such_kind_is_named_with_what_to_do(take, name, content):
    with pytest.raises(ConfigError, match=name.replace(".", r"\.")) as caught:
        take(name, content)
    assert caught.value.hint


def test_a_file_that_is_not_utf8_or_not_there_is_named(config, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"request_id,label\nr-0,\xff\n")
    for name, said in (("a.csv", "is not UTF-8"), ("b.csv", "No such file")):
        with pytest.raises(ConfigError, match=said):
            import_labels(config, tmp_path / name, "ann")


def test_without_a_prediction_log_there_is_nothing_to_label(tmp_path):
    with pytest.raises(ConfigError, match="nothing can be labelled") as caught:
        import_labels(config_of(tmp_path), tmp_path / "a.csv", "ann")
    assert "[prediction_log] enabled = true" in caught.value.hint


def test_numbers_of_a_regression_may_be_texts_in_a_table(tmp_path):
    inputs = (TensorSpec("x", (None, 1), "float32"),)
    signature = Signature("regression", "table", inputs, (TensorSpec("y", (None, 1), "float32"),), ())
    model = model_of(signature)
    answers = table_answer(table_model(), "r-0", 2)
    keep(
        tmp_path,
        [
            answers._replace(
                model=model,
                inputs={"x": answers.inputs["age"]},
                outputs={"y": answers.inputs["age"]},
                probabilities=None,
            )
        ],
    )
    config = config_of(tmp_path)
    path = tmp_path / "a.csv"
    path.write_text("request_id,row,label\nr-0,0,42.5\nr-0,1,42\n")
    assert import_labels(config, path, "ann").added == 2
    assert [each.value for each in kept(config)] == ["42.5", "42"]
    found = summary(config)
    assert (found.compared, found.error) == (2, 0.75)
    path.write_text("request_id,row,label\nr-0,0,many\n")
    with pytest.raises(ConfigError, match="the answer is a number"):
        import_labels(config, path, "ann")


def test_labels_of_a_request_that_is_purged_during_their_import_are_not_kept(config, take, monkeypatch):
    job, add = api_log(config), LabelStore.add_file
    make_key(Path(job.key))
    monkeypatch.setattr(purging, "SETTLE_SECONDS", 0.0)

    def after_a_purge(store, *given, **more):
        with LabelStore(store.path) as other:
            purging.purge(Path(job.folder), purging.Purge("request", "r-0", "ada"), read_key(Path(job.key)), other)
        return add(store, *given, **more)

    monkeypatch.setattr(LabelStore, "add_file", after_a_purge)
    found = take("a.csv", "request_id,row,label\nr-0,0,yes\nr-0,1,no\nr-1,0,no\n")
    assert (found.added, found.refused) == (1, 2)
    assert found.problems == ("purged meanwhile, and their labels not kept: 1 of the requests",)
    assert [each.request for each in kept(config)] == ["r-1"]


def test_an_export_comes_in_again_unchanged(config, take, tmp_path):
    take(
        "a.csv",
        f'request_id,row,label,correct,at,by,sure\nr-0,0,yes,,{AT},"Bo, ""B""",0.5\nr-0,1,,true,{AT},é,\nr-0,0,no,,2026-11-30T11:00:00Z,bo,\n',
    )
    store = label_file(Path(config.home), "m")
    for name in ("out.csv", "out.jsonl"):
        assert export_labels(store, tmp_path / name, history=True) == 3
        assert import_labels(config, tmp_path / name, "who").same == 3
    assert export_labels(store, tmp_path / "new.csv") == 2
    rows = list(csv.DictReader(io.StringIO((tmp_path / "new.csv").read_text())))
    assert [(each["request_id"], each["row"], each["label"], each["correct"]) for each in rows] == [
        ("r-0", "0", "no", ""), ("r-0", "1", "", "true"),
    ]  # fmt: skip
    assert export_labels(store, tmp_path / "none.csv", since="2999-01-01T00:00:00Z") == 0
    with pytest.raises(ConfigError, match="--to"):
        export_labels(store, tmp_path / "out.xlsx")


def test_without_labels_an_export_has_none(tmp_path):
    assert export_labels(tmp_path / "labels.sqlite", tmp_path / "a.csv") == 0
    assert (tmp_path / "a.csv").read_text().startswith("request_id,row,label,")
    assert not (tmp_path / "labels.sqlite").exists()


def test_the_summary_says_how_often_the_model_was_right(config, take):
    assert (summary(config).answers, summary(config).counts.labels) == (12, 0)
    take("a.csv", "request_id,row,label,correct\nr-0,0,yes,\nr-0,1,no,\nr-1,0,,true\nr-1,1,,false\nr-2,0,yes,\n")
    found = summary(config)
    assert (found.answers, found.compared, found.right, found.error) == (12, 5, 3, None)
    assert (found.counts.rows, found.counts.by) == (5, (("ann", 5),))


def test_a_large_export_of_label_studio_is_read_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CHUNK", 1 << 12)
    path = tmp_path / "a.json"
    with path.open("w") as file:
        file.write("[")
        for i in range(3000):
            file.write(("," if i else "") + json.dumps(task(f"r-{i}", 0, annotation("yes"), image="A" * 5000)) + "\n")
        file.write("]")
    tracemalloc.start()
    count = lines = 0
    for each in read_entries(path):
        count, lines = count + 1, each.line
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (count, lines) == (3000, 3000)
    assert peak < 2 << 20
