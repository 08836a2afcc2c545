"""Labelled predictions that no training saw, as arrays for the gate: what is taken, and why the rest is not."""

import io
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from prediction_log_files import write_segment

from pipelines import recent
from pipelines.config.load import load_config
from pipelines.deploy.serve_job import log_folder
from pipelines.runs import RunFolder
from pipelines.workers.jobs import MeasuredModel
from pipelines.workers.recent_samples import open_recent
from registry import codec
from registry.errors import TryAgain
from registry.label_manifest import MANIFEST, answers_in
from registry.label_queue import Committed, LabelQueue
from registry.label_store import LabelStore, label_file
from registry.records import Run, Served, Signature, Sources, TensorSpec
from registry.records.labels import Label

CLASSES = ("no", "yes")
OUT = (TensorSpec("p", (None, 2), "float32"),)
TABLE = Signature(
    "classification",
    "table",
    (TensorSpec("mass", (None, 1), "float32"), TensorSpec("city", (None, 1), "string")),
    OUT,
    CLASSES,
)
GREY = Signature("classification", "image", (TensorSpec("image", (None, 3, 2, 1), "uint8"),), OUT, CLASSES)
KEPT = {"mass": ("value", "float"), "city": ("value", "text")}


def line(request, mass=1.5, city="Bern", answered="no", **more):
    return {"id": request, "class": answered, "inputs": {"mass": mass, "city": city}, **more}


class Team:
    """A prediction log, labels, and a run whose candidate is to be compared on them."""

    def __init__(self, folder):
        (folder / "trainyard.toml").write_text('model = "m"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n')
        self.config = load_config(folder / "trainyard.toml", {})
        self.log, self.labels = log_folder(self.config), label_file(folder / ".trainyard", "m")
        self.run = RunFolder(folder / "run")
        sources = Sources("a" * 40, "b" * 40, "c" * 40)
        codec.save(Run("1", "m", "dataset", sources, "", 1, 1, "2026-11-30T12:00:00Z"), folder / "run/run.json")
        self.said = []

    def label(self, *pairs, correct=None):
        with LabelStore(self.labels) as store:
            store.add(
                [Label(each, 0, value, correct, "ada", "2026-11-30T12:30:00Z", "feedback") for each, value in pairs]
            )

    def commit(self, *requests):
        with LabelQueue(self.labels) as queue:
            queue.add_committed(
                [Committed(each, 0, "yes", "x.csv", "c" * 40, "2026-11-30T13:00:00Z") for each in requests]
            )

    def gather(self, signature=TABLE):
        context = SimpleNamespace(config=self.config, progress=SimpleNamespace(note=self.said.append))
        folder = recent.gather(context, self.run, MeasuredModel(signature, Served("LiteRT", "model.tflite", ""), {}))
        return open_recent(folder, signature.classes)


@pytest.fixture
def team(tmp_path):
    return Team(tmp_path)


def test_labelled_predictions_become_the_models_inputs(team):
    write_segment(team.log, KEPT, [line("a", 1.5), line("b", 2.5, "Thun"), line("c")])
    team.label(("a", "yes"), ("b", "no"))
    x, y, notes = team.gather()
    assert x["mass"].tolist() == [[1.5], [2.5]]
    assert x["city"].tolist() == [["Bern"], ["Thun"]]
    assert (y.tolist(), notes) == ([1, 0], ())
    assert team.said == ["2 labelled recent predictions"]


def test_an_answer_that_was_right_has_itself_as_its_label_and_one_that_was_wrong_has_none(team):
    write_segment(team.log, KEPT, [line("a", answered="yes"), line("b")])
    team.label(("a", ""), correct=True)
    team.label(("b", ""), correct=False)
    x, y, _ = team.gather()
    assert (len(x["mass"]), y.tolist()) == (1, [1])


def test_writers_are_asked_to_close_their_segments_first_as_images_appear_then(team, monkeypatch):
    monkeypatch.setattr(recent, "ask_to_close", lambda log: write_segment(log, KEPT, [line("a")]))
    team.label(("a", "yes"))
    assert len(team.gather()[1]) == 1


def test_a_writer_that_does_not_close_its_segment_is_named_and_the_others_are_read(team, monkeypatch):
    def stuck(_log):
        raise TryAgain("1.jsonl: still being written")

    monkeypatch.setattr(recent, "ask_to_close", stuck)
    write_segment(team.log, KEPT, [line("a")])
    team.label(("a", "yes"))
    assert len(team.gather()[1]) == 1
    assert team.said[0] == "images of the newest predictions are not there yet: 1.jsonl: still being written"


def test_what_training_may_have_seen_is_left_out(team):
    write_segment(team.log, KEPT, [line(each) for each in "abcd"])
    team.label(*((each, "yes") for each in "abcd"))
    team.commit("a")
    listed = {"model": "m", "request": "b", "row": 0, "label": "yes", "file": "x.csv", "by": ["ada"]}
    other = {**listed, "model": "another", "request": "c"}
    manifest = team.run.sources / "dataset" / MANIFEST
    manifest.parent.mkdir(parents=True)
    manifest.write_text(f"{json.dumps(listed)}\nnot of this kind\n{json.dumps(other)}\n")
    assert list(answers_in(manifest.read_bytes(), "m")) == [("b", 0)]
    _, y, notes = team.gather()
    assert (len(y), notes) == (2, ("2 left out: they are samples of the dataset",))


def test_when_all_of_them_are_in_the_dataset_that_is_said(team):
    team.label(("a", "yes"))
    team.commit("a")
    assert team.gather() == ({}, pytest.approx(np.zeros(0)), ("1 left out: they are samples of the dataset",))


def test_without_labels_or_a_log_that_is_said(team):
    assert team.gather()[2] == ("nobody has labelled a prediction yet",)
    team.label(("a", "yes"))
    assert team.gather()[2] == ("1 left out: its line is not in the prediction log any more",)


@pytest.mark.parametrize(
    ("kept", "given", "reason"),
    [
        (
            {"city": ("hash", "text")},
            {},
            "its 'city' is kept as a hash: set it to \"value\" in [prediction_log] columns",
        ),
        (
            {"mass": ("bin", "int")},
            {"mass": 3},
            "its 'mass' is kept as a bin: set it to \"value\" in [prediction_log] columns",
        ),
        ({}, {"mass": None}, "its 'mass' is missing"),
        ({"mass": ("value", "float[]")}, {"mass": [1.0, 2.0]}, "its 'mass' has another shape than the model's input"),
        ({"mass": ("value", "text")}, {"mass": "heavy"}, "its 'mass' is not a number"),
    ],
)
def test_no_value_is_guessed(team, kept, given, reason):
    write_segment(team.log, KEPT | kept, [line("a", **given)])
    team.label(("a", "yes"))
    assert team.gather()[2] == (f"1 left out: {reason}",)


def test_a_request_whose_id_was_used_twice_is_left_out(team):
    write_segment(team.log, KEPT, [line("a", 1.0), line("a", 2.0)])
    team.label(("a", "yes"))
    assert team.gather()[2] == ("1 left out: several requests had this id",)


def test_a_label_that_the_dataset_does_not_have_is_left_out(team):
    write_segment(team.log, KEPT, [line("a"), line("b")])
    team.label(("a", "perhaps"), ("b", "yes"))
    x, y, notes = team.gather()
    assert (len(x["mass"]), y.tolist()) == (1, [1])
    assert notes == ("1 left out: their label is not one that the dataset has",)


def test_images_are_read_from_where_they_are_kept(team):
    pixels = np.arange(6, dtype=np.uint8).reshape(3, 2)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    lines = [{"id": each, "class": "no", "inputs": {"image": {"width": 2}}} for each in ("a", "b")]
    header = {"image": ("file", {"width": "int"})}
    write_segment(team.log, header, lines, images={"a.0.png": file.getvalue()})
    team.label(("a", "yes"), ("b", "yes"))
    x, y, notes = team.gather(GREY)
    assert x["image"].dtype == np.uint8
    assert x["image"][..., 0].tolist() == [pixels.tolist()]
    assert y.tolist() == [1]
    assert notes == ('1 left out: its image is not kept: set [prediction_log] images = "file"',)


def test_numbers_are_labels_where_there_are_no_classes(team):
    number = replace(TABLE, task="regression", classes=())
    write_segment(team.log, KEPT, [line("a"), line("b"), line("c")])
    team.label(("a", "2.5"), ("b", "nan"), ("c", "a lot"))
    _, y, notes = team.gather(number)
    assert (y.tolist(), y.dtype) == ([2.5], np.float64)
    assert notes == ("2 left out: their label is not one that the dataset has",)
    assert not math.isnan(y[0])
