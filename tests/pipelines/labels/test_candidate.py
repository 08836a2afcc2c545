"""The candidate that waits is asked about logged requests, and where it answers another class comes first into the queue."""

import io
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from PIL import Image
from prediction_log_files import write_segment
from promotion_parts import NO_MODEL, Project
from versions import acceptance_draft, candidate, digests

from pipelines.__main__ import main
from pipelines.deploy.serve_job import log_folder
from pipelines.labels import candidate as module
from pipelines.labels.candidate import waiting
from pipelines.labels.review import fill, review
from registry import candidates, codec
from registry.label_store import label_file
from registry.records import Policy, Served, Signature, TensorSpec, Verdict

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
SHOP = {"age": ("value", "float"), "colour": ("value", "text")}
SHOP_SIGNATURE = Signature(
    "classification", "table", (TensorSpec("age", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string")),
    (TensorSpec("probabilities", (None, 2), "float32"),), ("yes", "no"), target="buys",
)  # fmt: skip


class Shop:
    """A model that is live, the log of what it has answered, and candidates."""

    def __init__(self, folder, tiny_models=None):
        self.project, self.tiny_models = Project(folder, model="shop"), tiny_models
        self.store, self.folder = self.project.store, folder
        labels = replace(self.project.config.labels, choose="disagreement", per_day=5)
        self.config = replace(self.project.config, labels=labels)

    def publish(self, kind="", signature=SHOP_SIGNATURE, tested=True, gate=()):
        """A candidate: one of the tiny models, or one that cannot be loaded."""
        number = len(candidates.versions(self.store, "shop")) + 1
        source = self.folder / "made" / str(number)
        source.mkdir(parents=True)
        if kind:
            signature = codec.read(Signature, self.tiny_models / kind / "signature.json")
            shutil.copy(self.tiny_models / kind / "model.tflite", source)
        else:
            (source / "model.tflite").write_bytes(NO_MODEL)
        version = candidates.claim(self.store, "shop", f"run{number}")
        card = candidate("shop", version, f"run{number}", digests(source), signature=signature, parent=None,
                         served=Served("litert", "model.tflite", "a test"), verdict=Verdict(not gate, gate, Policy()))  # fmt: skip
        candidates.publish(self.store, card, source)
        if tested:
            self.test(version)
        return version

    def test(self, version, reasons=()):
        digest = candidates.manifest_digest(self.store, "shop", version)
        candidates.append_acceptance(self.store, acceptance_draft("shop", version, digest, reasons))

    def log(self, lines, inputs=SHOP, **more):
        write_segment(log_folder(self.config), inputs, lines, **more)

    @property
    def waits(self):
        found = waiting(self.store, "shop")
        return found.version if found else None


def line(number, age=20.0, colour="blue", **more):
    """Answered with `yes`, of which the model was almost sure."""
    return {"id": f"r-{number}", "class": "yes", "confidence": 0.99, "outputs": {"p": [0.99, 0.01]},
            "inputs": {"age": age, "colour": colour}, **more}  # fmt: skip


@pytest.fixture
def shop(tmp_path, request):
    tensorflow = request.node.get_closest_marker("tensorflow")
    return Shop(tmp_path, request.getfixturevalue("tiny_models") if tensorflow else None)


def test_the_candidate_that_waits_is_the_newest_accepted_one_that_was_never_live(shop):
    assert shop.waits is None
    first = shop.publish()
    assert shop.waits == first, "nothing is live"
    second, third = shop.publish(), shop.publish(tested=False)
    assert shop.waits == second, f"version {third} has had no acceptance test"
    shop.test(third, ("too slow",))
    shop.publish(gate=("accuracy is too low",))
    assert shop.waits == second
    shop.test(third)
    assert shop.waits == third
    shop.project.release_by_hand(third)
    assert shop.waits is None
    shop.project.release_by_hand(second)
    assert shop.waits is None, "version 3 was live, and is not any more: somebody has decided about it"


def test_without_a_candidate_the_margin_decides_and_the_command_says_so(shop, tmp_path, capsys):
    shop.log(
        [line(n, n / 10, confidence=0.5 + n / 100, outputs={"p": [0.5 + n / 100, 0.5 - n / 100]}) for n in range(20)]
    )
    filled = fill(shop.config, NOW)
    assert filled.notes == ("No accepted candidate is newer than the live release: the most doubtful come by margin.",)
    doubtful = [each for each in review(shop.config).items if each.why == "doubtful"]
    assert [each.score for each in doubtful] == sorted((each.score for each in doubtful), reverse=True)
    assert doubtful[0].score > 0.9, "the margin's doubt, and not half of it"
    (tmp_path / "trainyard.toml").write_text(
        'model = "shop"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n[labels]\nchoose = "disagreement"\nper_day = 99\n'
        f'[registry]\nurl = "file://{tmp_path / "registry"}"\n'
    )
    assert main(["labels", "queue", "--json", "--config", str(tmp_path / "trainyard.toml")]) == 0
    assert "notes" in json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("signature", "why"),
    [
        (SHOP_SIGNATURE, "Version 1 cannot be asked (/"),
        (
            replace(SHOP_SIGNATURE, task="regression", classes=()),
            "Version 1 waits for an approval, and answers without",
        ),
    ],
)
def test_a_candidate_that_cannot_be_asked_does_not_keep_the_queue_empty(shop, signature, why):
    shop.publish(signature=signature)
    shop.log([line(n, n / 10) for n in range(9)])
    filled = fill(shop.config, NOW)
    assert filled.new == 5
    (note,) = filled.notes
    assert note.startswith(why)
    assert note.endswith("the most doubtful come by margin.")
    left = list(label_file(shop.project.home, "shop").parent.glob(".tmp-*"))
    assert left == []


def test_a_candidate_that_takes_too_long_is_ended(shop, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    shop.publish()
    shop.log([line(n, n / 10) for n in range(9)])
    (note,) = fill(shop.config, NOW).notes
    assert "was still running after 0.01 s" in note


def test_where_a_fence_is_required_and_lacks_something_the_candidate_is_not_asked(shop, monkeypatch):
    monkeypatch.setattr(module, "lacks", lambda: ("TCP ports",))
    shop.config = replace(shop.config, runner=replace(shop.config.runner, require_fence=True))
    shop.publish()
    shop.log([line(n, n / 10) for n in range(9)])
    (note,) = fill(shop.config, NOW).notes
    assert "[runner] require_fence: this kernel cannot fence TCP ports" in note


@pytest.mark.tensorflow
def test_rows_to_which_the_candidate_answers_another_class_come_first(shop):
    shop.publish("shop")
    rows = [line(n, n / 10) for n in range(30)]
    rows += [line("old", 60.0), line("red", 60.0, "red"), line("older", 70.0), line("gone", None), line("late", 70.0)]
    rows += [
        line("twice", 60.0),
        line("twice", 60.0),
        line("long", 60.0, "b" * 200),
        line("none", 60.0, **{"class": None}),
    ]
    rows[-5]["time"] = "2026-11-01T00:00:00.000Z"
    shop.log(rows)
    shop.log([line("hidden", 60.0, "00ff")], {**SHOP, "colour": ("hash", "text")}, number=2)
    (note,) = fill(shop.config, NOW).notes
    assert "was asked about 33 of 39 answers, and gives another class to 2." in note
    assert "6 cannot be predicted again" in note
    for reason in ("2: several requests had this id", "1: its 'age' is missing", "1: its answer has no class",
                   "1: its 'colour' is longer than the log keeps", "1: its 'colour' is kept as a hash"):  # fmt: skip
        assert reason in note
    items = {each.request: each for each in review(shop.config).items if each.why == "doubtful"}
    at_random = {each.request for each in review(shop.config).items if each.why == "random"}
    assert {name for name, each in items.items() if each.score == 1.0} == {"r-old", "r-older"} - at_random
    assert all(each.score < 0.05 for name, each in items.items() if name not in {"r-old", "r-older"})


@pytest.mark.tensorflow
def test_no_more_lines_are_predicted_than_the_bound_says(shop, monkeypatch):
    monkeypatch.setattr(module, "MOST", 7)
    shop.publish("shop")
    shop.log([line(n, 60.0 + n) for n in range(40)])
    (note,) = fill(shop.config, NOW).notes
    assert note.endswith("was asked about 7 of 40 answers, and gives another class to 7.")
    assert len([each for each in review(shop.config).items if each.score == 1.0]) >= 4


@pytest.mark.tensorflow
def test_arrays_get_back_the_shape_that_the_log_does_not_keep(shop):
    shop.publish("halves")
    lines = [{**line(n), "class": "left", "inputs": {"x": [4.0, 1.5, n, 0.25]}} for n in range(9)]
    lines += [{**line("short"), "inputs": {"x": [1.0, 2.0]}}, {**line("hole"), "inputs": {"x": [1.0, None, 2.0, 3.0]}}]
    shop.log(lines, {"x": ("value", "float[]")})
    (note,) = fill(shop.config, NOW).notes
    assert "was asked about 9 of 11 answers, and gives another class to 3." in note, "whose second half is larger"
    assert "1: its 'x' has 2 values, and the candidate takes 4" in note
    assert "1: the candidate does not take it, e.g.: " in note
    doubtful = {each.request for each in review(shop.config).items if each.score == 1.0}
    assert doubtful <= {"r-6", "r-7", "r-8"}


@pytest.mark.slow
@pytest.mark.tensorflow
def test_images_that_the_log_keeps_are_predicted_again(shop):
    shop.publish("thirds")
    kept = {"image": ("file", {"brightness": "float"})}
    lines = [{**line(n), "class": "left", "inputs": {"image": {"brightness": 0.5}}} for n in range(6)]
    images = {f"r-{n}.0.png": png(bright=4 if n == 2 else 0) for n in range(5)}
    shop.log(lines, kept, images=images)
    (note,) = fill(shop.config, NOW).notes
    assert "was asked about 5 of 6 answers, and gives another class to 1." in note
    assert "1: its image is not kept" in note
    assert {each.request for each in review(shop.config).items if each.score == 1.0} == {"r-2"}


def png(bright):
    """6 x 6 grey pixels, two white columns from `bright` on."""
    pixels = np.zeros((6, 6), np.uint8)
    pixels[:, bright : bright + 2] = 255
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
