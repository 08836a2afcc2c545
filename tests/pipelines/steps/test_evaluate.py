"""The evaluate worker, on tiny served models whose answers are known."""

import base64
import dataclasses
import io
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.gate import gate_report
from pipelines.steps import evaluate as evaluate_step
from pipelines.workers.answers import classes_of, kept
from pipelines.workers.evaluate import golden_index
from pipelines.workers.examples_file import FILE, MOST_BYTES, Answer, Example, Examples, read_examples
from pipelines.workers.jobs import EvaluateJob, MeasuredModel
from registry import codec
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_file
from registry.records import Evaluation, ImagePreparation, Policy, Rule, Served, Signature, TensorSpec
from retraining.monitoring.reference import from_bytes
from retraining.policy import LEARNED_UNKNOWN, RESPLIT
from training.data.checks import SampleList
from training.data.learned import CONTENTS, LEARNED, write_lists
from training.data.spec import DataSpec
from training.worker.protocol import load_failure, parse_event

ROOT = Path(__file__).parents[3]
THIRDS = ("left", "middle", "right")
IMAGES = DataSpec("images", "classification", (TensorSpec("image", (None, 6, 6, 1), "uint8"),), THIRDS, image_mode="L")
SUMS = DataSpec("table", "regression", tuple(TensorSpec(n, (None, 1), "float32") for n in "ab"), (), (), target="total")


def images(samples, seed=1):
    """Grey images of which one third is brighter: the class."""
    random = np.random.default_rng(seed)
    y = np.arange(samples) % 3
    x = random.integers(0, 150, (samples, 6, 3, 2), dtype=np.uint8)
    x[np.arange(samples), :, y] += 90
    return x.reshape(samples, 6, 6, 1), y


def write_split(folder, spec, arrays, y):
    folder.mkdir(parents=True)
    codec.save(spec, folder / "data.json")
    (folder / "names.json").write_text(json.dumps([f"sample {i}" for i in range(len(y))]))
    for i, array in enumerate(arrays):
        np.save(folder / f"x{i}.npy", array)
    np.save(folder / "y.npy", y)
    (folder / "files").mkdir()


def subject(folder, version=None, **changes):
    served = codec.read(Served, folder / "served.json")
    files = {str(p.relative_to(folder)): sha256_file(p) for p in folder.rglob("*") if p.is_file()}
    return MeasuredModel(codec.read(Signature, folder / "signature.json"), served, files | changes, version)


class Evaluating:
    """A job folder, as a runner makes it."""

    def __init__(self, folder, models):
        self.folder, self.models = folder, models
        (folder / "inputs").mkdir()

    def holdout(self, spec, arrays, y):
        write_split(self.folder / "inputs" / "holdout", spec, arrays, y)
        return self

    def run(self, candidate, live=None, metric="accuracy", subjects=None, **more):
        inputs = self.folder / "inputs"
        for role, name in (("candidate", candidate), ("live", live)):
            if name:
                shutil.copytree(self.models / name, inputs / role, dirs_exist_ok=True)
        for role in ("candidate", "live"):  # as a registered version has it
            if (inputs / role).exists() and not (inputs / role / "data.json").exists():
                shutil.copy(inputs / "holdout" / "data.json", inputs / role / "data.json")
        made = {"candidate": subject(self.models / candidate), "live": live and subject(self.models / live, 7)}
        codec.save(EvaluateJob(metric, **(made | (subjects or {}) | more)), self.folder / "job.json")
        command = [sys.executable, "-P", "-m", "pipelines.workers.evaluate"]
        self.done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if self.done.returncode == 1:
            raise AssertionError(self.done.stderr)
        if self.done.returncode:
            raise load_failure(self.folder)
        return codec.read(Evaluation, self.folder / "result.json")

    def recent(self, name, x, labels, notes=()):
        """Labelled predictions, as `pipelines.workers.recent` leaves them."""
        folder = self.folder / "inputs" / "recent"
        folder.mkdir()
        np.save(folder / "x0.npy", x)
        (folder / "recent.json").write_text(json.dumps({"inputs": [name], "labels": labels, "notes": list(notes)}))

    @property
    def outputs(self):
        return self.folder / "outputs"


@pytest.fixture
def evaluating(tmp_path, tiny_models):
    return Evaluating(tmp_path, tiny_models)


def test_a_classifier_is_measured_with_its_plots_and_golden_samples(evaluating):
    x, y = images(100)
    x[0] = 0  # no third is brighter: `left` by luck
    x[1, :, 1:] = 255 - x[1, :, 1:] // 2
    found = evaluating.holdout(IMAGES, [x], y).run("thirds").candidate
    assert (found.task, found.samples, list(found.classes)) == ("classification", 100, list(THIRDS))
    assert found.values["accuracy"] > 0.98
    assert sum(map(sum, found.confusion)) == 100
    assert [each.support for each in found.classes.values()] == [34, 33, 33]
    assert all(math.isfinite(value) for value in found.values.values())
    for name in ("confusion.png", "calibration.png"):
        with Image.open(evaluating.outputs / name) as image:
            assert image.format == "PNG"
            assert min(image.size) > 300
    with np.load(evaluating.outputs / "golden.npz") as golden:
        index = golden["index"]
        assert np.array_equal(golden["in_0"], x[index])
        assert golden["in_0"].dtype == np.uint8
        assert golden["out_0"].dtype == np.float32
        assert golden["out_0"].sum(axis=1) == pytest.approx(1)
        assert sorted(y[index].tolist()) == [0] * 6 + [1] * 5 + [2] * 5


def test_both_models_are_compared_on_labelled_recent_predictions(evaluating):
    x, y = images(90)
    evaluating.recent("image", x, [THIRDS[each] for each in y], ["1 left out: no image"])
    found = evaluating.holdout(IMAGES, [x[:60]], y[:60]).run("thirds", "dull", recent=True)
    recent = found.recent
    assert (recent.samples, recent.notes) == (90, ("1 left out: no image",))
    assert recent.candidate.values["accuracy"] > 0.98
    assert recent.live.values["accuracy"] == pytest.approx(2 / 3)
    assert recent.comparison.difference == pytest.approx(1 / 3)
    assert recent.comparison.low > 0.2
    assert not gate_report(found, Policy(threshold=0.0, recent=True)).failed


@pytest.mark.slow
def test_what_the_rules_of_the_gate_ask_for_is_measured_and_compared(evaluating):
    x, y = images(90)
    evaluating.recent("image", x, [THIRDS[each] for each in y])
    policy = Policy(
        threshold=0.0,
        recent=True,
        costs={"right": {"left": 5.0, "middle": 5.0}},
        rule=(
            Rule("recall", 0.9, positive="right"),
            Rule("roc_auc", max_drop=0.0),
            Rule("cost", max=0.1),
            Rule("mape"),
        ),
    )
    more = policy.more
    found = evaluating.holdout(IMAGES, [x], y).run("thirds", "dull", recent=True, more=more, costs=policy.costs)
    recall, roc_auc, cost, mape = more
    assert found.candidate.values[recall] > 0.9
    assert found.live.values[recall] == 0
    assert found.live.values["cost"] == pytest.approx(5 / 3)
    assert mape not in found.candidate.values, "it is of another task"
    assert [each.metric for each in found.comparisons] == [recall, roc_auc, cost]
    better = [each.low > 0 for each in found.comparisons]
    assert better == [each.low > 0 for each in found.recent.comparisons] == [True, False, True], (
        "both rank nearly as well"
    )
    assert not gate_report(found, policy).failed
    swapped = dataclasses.replace(found, candidate=found.live, live=found.candidate)
    assert [case.name for case in gate_report(swapped, policy).failed] == [
        f"{recall} at least 0.9",
        "cost at most 0.1",
        "at most 0.01 worse than the live release",
        "roc_auc: at most 0 worse than the live release",
    ]


@pytest.mark.slow
def test_the_answers_are_left_for_the_teams_own_metrics_and_change_nothing_else(evaluating):
    x, y = images(90)
    evaluating.recent("image", x[:30], [THIRDS[each] for each in y[:30]])
    evaluating.holdout(IMAGES, [x], y)
    plain = evaluating.run("thirds", "dull", recent=True, more=("mcc",))
    assert not (evaluating.outputs / "answers").exists()
    (evaluating.outputs / "answers" / "left").mkdir(parents=True)
    found = evaluating.run("thirds", "dull", recent=True, more=("mcc",), answers=True)
    assert codec.to_json(dataclasses.replace(found, importance=None)) == codec.to_json(
        dataclasses.replace(plain, importance=None)
    )
    answers = evaluating.outputs / "answers"
    assert sorted(each.name for each in answers.iterdir()) == ["classes.json", "holdout", "recent"]
    whole, recent = kept(answers, "holdout"), kept(answers, "recent")
    assert classes_of(answers) == THIRDS
    assert whole.truth.tolist() == y.tolist()
    assert whole.candidate.shape == whole.live.shape == (90, 3)
    assert (whole.candidate.argmax(axis=1) == y).mean() == found.candidate.values["accuracy"]
    assert len(recent.truth) == len(recent.live) == 30


@pytest.mark.slow
def test_classes_that_have_an_order_are_measured_by_their_distances_too(evaluating):
    x, y = images(90)
    found = evaluating.holdout(dataclasses.replace(IMAGES, ordered=True), [x], y).run(
        "dull", "thirds", more=("rank_mae",)
    )
    values = found.candidate.values
    counts, places = np.array(found.candidate.confusion), np.arange(3)
    assert values["rank_mae"] == pytest.approx((counts * abs(places - places[:, None])).sum() / counts.sum())
    assert {"quadratic_kappa", "within_one"} < values.keys()
    assert values["within_one"] >= values["accuracy"]
    (compared,) = found.comparisons
    assert (compared.metric, compared.difference < 0) == ("rank_mae", True)


def test_a_class_that_the_holdout_does_not_have_is_said(evaluating):
    x, y = images(9)
    with pytest.raises(ConfigError, match="the dataset has no class 'top'; it has 'left', 'middle', 'right'"):
        evaluating.holdout(IMAGES, [x], y).run("thirds", more=('recall(positive="top")',))


@pytest.mark.slow
def test_recent_predictions_that_a_model_cannot_answer_are_a_note(evaluating):
    x, y = images(60)
    evaluating.recent("picture", x, [THIRDS[each] for each in y])
    recent = evaluating.holdout(IMAGES, [x], y).run("thirds", "dull", recent=True).recent
    assert (recent.samples, recent.comparison) == (60, None)
    assert recent.notes[0].startswith("they cannot be answered by both models: it takes image; the data have picture")


def test_recent_images_that_were_prepared_for_the_live_version_alone_are_a_note(evaluating):
    x, y = images(12)
    evaluating.recent("image", x, [THIRDS[each] for each in y])
    evaluating.holdout(IMAGES, [x], y)
    candidate = subject(evaluating.models / "thirds")
    changed = dataclasses.replace(candidate.signature, preparation=ImagePreparation(resize=(6, 6)))
    other = {"candidate": dataclasses.replace(candidate, signature=changed)}
    recent = evaluating.run("thirds", "dull", recent=True, subjects=other).recent
    assert (recent.samples, recent.comparison, len(recent.notes)) == (12, None, 1)
    assert "those of the candidate are prepared in another way" in recent.notes[0]


@pytest.mark.slow
def test_without_recent_predictions_nothing_is_compared(evaluating):
    x, y = images(60)
    evaluating.recent("image", x[:0], [], ["nobody has labelled a prediction yet"])
    found = evaluating.holdout(IMAGES, [x], y).run("thirds", "dull", recent=True)
    assert (found.recent.samples, found.recent.notes) == (0, ("nobody has labelled a prediction yet",))
    assert evaluating.run("thirds", "dull").recent is None


def test_the_reference_of_the_candidate_is_made_when_the_job_asks_for_it(evaluating):
    x, y = images(100)
    evaluating.holdout(IMAGES, [x], y).run("thirds", "thirds", reference=True)
    found = from_bytes((evaluating.outputs / "reference.npz").read_bytes())
    features = {"width", "height", "brightness", "contrast", "sharpness"}
    outputs = {name for name in found.columns if name.startswith("outputs.")}
    assert (found.rows, len(outputs)) == (100, 3)
    assert found.columns.keys() - outputs == {f"inputs.image.{each}" for each in features} | {"class", "confidence"}
    assert found.columns["class"].counts == {"left": 34, "middle": 33, "right": 33}
    assert found.columns["inputs.image.width"].knots.tolist() == [6]
    brightness = (x / np.float32(255)).mean(axis=(1, 2, 3))
    assert found.columns["inputs.image.brightness"].knots[-1] == pytest.approx(brightness.max(), abs=1e-5)
    assert found.calibration.samples.sum() == 100
    assert found.calibration.right.tolist() == [1.0]


@pytest.mark.slow
def test_nobody_asks_for_the_reference_of_a_version_that_has_one(evaluating):
    x, y = images(20)
    evaluating.holdout(IMAGES, [x], y).run("thirds")
    assert not (evaluating.outputs / "reference.npz").exists()


def test_a_regression_is_measured(evaluating):
    a, b = np.random.default_rng(1).normal(size=(2, 50, 1)).astype(np.float32)
    y = (2 * a + 3 * b + 0.5)[:, 0]
    found = evaluating.holdout(SUMS, [a, b], y).run("sum", "sum", metric="rmse")
    assert found.candidate.values == pytest.approx(
        {"mae": 0.5, "rmse": 0.5, "r2": found.candidate.values["r2"], "loss": 0.25}, rel=1e-4
    )
    assert found.comparison.metric == "rmse"
    assert found.comparison.difference == 0
    assert (evaluating.outputs / "scatter.png").stat().st_size > 1000
    with np.load(evaluating.outputs / "golden.npz") as golden:
        assert golden["in_1"].shape == (16, 1)
        assert golden["out_0"][:, 0] == pytest.approx(y[golden["index"]] - 0.5, abs=1e-4)


def test_named_columns_with_text_are_measured(evaluating):
    inputs = (TensorSpec("age", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string"))
    spec = DataSpec("table", "classification", inputs, ("yes", "no"), target="buys")
    age = np.array([[20.0], [60.0], [45.0], [80.0]], np.float32)
    colour = np.array([["red"], ["blue"], ["red"], ["green"]])
    found = evaluating.holdout(spec, [age, colour], np.array([0, 1, 0, 0])).run("shop").candidate
    assert found.confusion == ((2, 1), (0, 1))
    with np.load(evaluating.outputs / "golden.npz", allow_pickle=False) as golden:
        assert golden["in_1"].dtype.kind == "U"
        assert golden["in_1"].ravel().tolist() == ["red", "blue", "red", "green"]


def test_slices_are_measured_beside_the_live_release(evaluating):
    inputs = (TensorSpec("age", (None, 1), "float32"), TensorSpec("colour", (None, 1), "string"))
    spec = DataSpec("table", "classification", inputs, ("yes", "no"), target="buys")
    age = np.array([[20.0], [60.0], [45.0], [80.0]], np.float32)
    colour = np.array([["red"], ["blue"], ["red"], ["green"]])
    slices = {"colour": ("red", "grey"), "age": ("50..",)}
    found = evaluating.holdout(spec, [age, colour], np.array([0, 1, 0, 0])).run("shop", "shop", slices=slices)
    old, red, grey = found.slices  # by the name of the column
    assert [(each.name, each.samples, each.candidate, each.live) for each in (old, red)] == [
        ("age=50..", 2, 0.5, 0.5),
        ("colour=red", 2, 1.0, 1.0),
    ]
    assert (grey.name, grey.samples, grey.comparison) == ("colour=grey", 0, None)
    assert math.isnan(grey.candidate)
    assert (red.comparison.difference, red.comparison.live_version) == (0, 7)
    with pytest.raises(ConfigError, match=r"no input column 'isle'; it has 'age', 'colour'"):
        evaluating.run("shop", slices={"isle": ("a",)})


@pytest.mark.slow
@pytest.mark.tensorflow
def test_the_teams_load_data_reads_the_holdout(evaluating):
    """It finds the files of the split, and may use what is beside model.py."""
    x = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [2, 0, 0, 1]], np.float32)
    spec = DataSpec("npz", "classification", (TensorSpec("signal", (None, 4), "float32"),), ("left", "middle"))
    evaluating.holdout(spec, [np.zeros((3, 4), np.float32)], np.array([0, 1, 0]))
    np.savetxt(evaluating.folder / "inputs" / "holdout" / "files" / "own.csv", x)
    code = evaluating.folder / "inputs" / "code"
    code.mkdir()
    (code / "own.py").write_text("import numpy as np\ndef read(f): return np.loadtxt(f / 'own.csv', dtype='float32')\n")
    (code / "model.py").write_text(
        "from own import read\ndef build_model(spec, attempt): ...\n"
        "def load_data(folder): return {'x': read(folder)}, [0, 1, 0]\n"
    )
    assert evaluating.run("halves").candidate.values["accuracy"] == 1


def test_the_live_release_is_measured_on_the_same_samples_and_compared(evaluating):
    x, y = images(90)
    found = evaluating.holdout(IMAGES, [x], y).run("thirds", "dull")
    assert found.live.samples == 90
    assert found.live.classes["right"].recall == 0
    assert found.live_note == ""
    assert found.comparison.live_version == 7
    assert found.comparison.difference == pytest.approx(
        found.candidate.values["accuracy"] - found.live.values["accuracy"]
    )
    assert 0.2 < found.comparison.low < found.comparison.difference < found.comparison.high < 0.5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("live", "note"),
    [
        ("wide", "its input image is uint8 ?x6x9x1; the data are uint8 ?x6x6x1"),
        ("sum", "it is made for regression; the data are for classification"),
    ],
)
def test_a_live_release_of_another_kind_is_noted_and_is_not_an_error(evaluating, live, note):
    x, y = images(30)
    found = evaluating.holdout(IMAGES, [x], y).run("thirds", live)
    assert (found.live, found.comparison) == (None, None)
    assert found.live_note == f"live version 7 cannot be measured on this holdout: {note}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("classes", "why"),
    [
        ((*THIRDS, "top"), "it has other classes than the data (new: top)"),
        (("left", "middle"), "it has other classes than the data (gone: right)"),
        (("left", "middle", "right "), "its classes are spelled otherwise ('right' is now 'right ')"),
    ],
)
def test_a_version_with_other_classes_is_not_comparable_rather_than_bad(evaluating, classes, why):
    x, y = images(30)
    evaluating.holdout(dataclasses.replace(IMAGES, classes=classes), [x], y % len(classes))
    for role in ("candidate", "live"):
        (evaluating.folder / "inputs" / role).mkdir(exist_ok=True)
        codec.save(IMAGES, evaluating.folder / "inputs" / role / "data.json")
    with pytest.raises(ConfigError, match="version 6 is not measured: not comparable"):  # so it is trained anew
        evaluating.run("thirds", subjects={"candidate": subject(evaluating.models / "thirds", 6)})
    found = evaluating.run("thirds", "thirds")
    assert (found.live, found.comparison) == (None, None)
    note = f"live version 7 was not measured: not comparable: {why}; the gate decides by the thresholds alone"
    assert found.live_note == note
    case = gate_report(found, Policy(threshold=0.0)).cases[-1]
    assert (case.outcome, case.message) == ("skipped", note)


def test_a_version_with_the_same_classes_in_another_order_is_compared(evaluating):
    x, y = images(30)
    found = evaluating.holdout(dataclasses.replace(IMAGES, classes=THIRDS[::-1]), [x], 2 - y).run("thirds", "thirds")
    assert found.live.values["accuracy"] == found.candidate.values["accuracy"] > 0.9


@pytest.mark.slow
def test_a_version_of_another_split_is_not_measured(evaluating):
    """A sample of this holdout may have been one that it learned from."""
    x, y = images(30)
    evaluating.holdout(dataclasses.replace(IMAGES, split="holdout 0.3"), [x], y)
    for role in ("candidate", "live"):
        (evaluating.folder / "inputs" / role).mkdir()
        codec.save(dataclasses.replace(IMAGES, split="holdout 0.1"), evaluating.folder / "inputs" / role / "data.json")
    found = evaluating.run("thirds", "thirds")
    assert (found.live, found.comparison) == (None, None)
    assert found.live_note == f"live version 7 was not measured: {RESPLIT}; the gate decides by the thresholds alone"
    with pytest.raises(ConfigError, match="version 6 is not measured: the rule of the split has changed"):
        evaluating.run("thirds", subjects={"candidate": subject(evaluating.models / "thirds", 6)})


@pytest.mark.slow
def test_a_version_whose_images_are_prepared_in_another_way_is_not_measured(evaluating):
    """Its API would show it other pixels than this holdout has."""
    x, y = images(30)
    evaluating.holdout(dataclasses.replace(IMAGES, preparation=ImagePreparation(resize=(6, 6), fit="pad")), [x], y)
    (evaluating.folder / "inputs" / "live").mkdir()
    then = dataclasses.replace(IMAGES, preparation=ImagePreparation(resize=(6, 6)))
    codec.save(then, evaluating.folder / "inputs" / "live" / "data.json")
    found = evaluating.run("thirds", "thirds")
    assert (found.live, found.candidate.samples) == (None, 30)
    assert "dataset.toml has other [images] settings now" in found.live_note


class TestLearned:
    """A live release that was trained on samples of what is the holdout now."""

    MOVING = dataclasses.replace(IMAGES, split="the newest by day", moving=True)

    @pytest.fixture
    def beside(self, evaluating):
        def run(learned, **more):
            x, y = images(60)
            inputs, names = evaluating.folder / "inputs", [f"sample {i}" for i in range(60)]
            evaluating.holdout(self.MOVING, [x], y)
            (inputs / "train").mkdir()
            (inputs / "live").mkdir()
            contents = [f"{i:032}".encode()[::-1] for i in range(60)]
            write_lists(inputs, SampleList(names, ["holdout"] * 60, contents=contents))
            of_train = SampleList(names[:learned], ["train"] * learned, contents=contents[:learned])
            kept = (inputs / "holdout" / CONTENTS).read_bytes()
            (inputs / "holdout" / "names.json").write_text("[]")
            write_lists(inputs, of_train)
            (inputs / "holdout" / CONTENTS).write_bytes(kept)
            (inputs / "train" / LEARNED).rename(inputs / "live" / LEARNED)
            (inputs / "holdout" / "names.json").write_text(json.dumps(names))
            return evaluating.run("thirds", "dull", **more)

        return run

    @pytest.mark.slow
    def test_both_are_measured_without_what_it_knows(self, beside):
        found = beside(12, min_samples=48)
        assert (found.candidate.samples, found.live.samples, found.learned) == (48, 48, 12)
        assert found.comparison.samples == 48
        assert "without 12 others, which the live release has learned from" in evaluate_step._in_words(
            found, "accuracy"
        )

    @pytest.mark.slow
    @pytest.mark.parametrize(("learned", "few"), [(12, 49), (60, 0)])
    def test_where_too_few_are_left_it_is_not_compared(self, beside, learned, few):
        found = beside(learned, min_samples=few)
        assert (found.candidate.samples, found.live, found.learned) == (60, None, 0)
        assert f"it has learned from {learned} of the 60 samples of the holdout" in found.live_note

    @pytest.mark.slow
    def test_what_is_not_known_is_not_compared(self, evaluating):
        x, y = images(30)
        found = evaluating.holdout(self.MOVING, [x], y).run("thirds", "dull")
        assert (found.candidate.samples, found.live) == (30, None)
        assert LEARNED_UNKNOWN in found.live_note


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_version_made_for_another_load_data_is_not_measured(evaluating):
    """The holdout that the new code reads is not one that the old model knows."""
    x = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], np.float32)
    spec = DataSpec("npz", "classification", (TensorSpec("x", (None, 4), "float32"),), ("left", "middle"))
    evaluating.holdout(spec, [x], np.array([0, 1]))
    code = evaluating.folder / "inputs" / "code"
    code.mkdir()
    (code / "model.py").write_text(
        "import numpy as np\ndef build_model(spec, attempt): ...\n"
        "def load_data(folder): return np.eye(4, dtype='float32')[[0, 3]], [0, 1]\n"
    )
    live = subject(evaluating.models / "halves", 7)
    assert evaluating.run("halves", "halves", subjects={"live": live}).live.values["accuracy"] == 1
    live = dataclasses.replace(live, other_code=True)
    found = evaluating.run("halves", "halves", subjects={"live": live})
    assert (found.live, found.comparison) == (None, None)
    assert found.live_note.startswith("live version 7 was not measured: it was made for another load_data")
    with pytest.raises(ConfigError, match="version 7 is not measured: it was made for another load_data"):
        evaluating.run("halves", subjects={"candidate": live})
    (code / "model.py").write_text("def build_model(spec, attempt): ...\n")
    assert evaluating.run("halves", "halves", subjects={"live": live}).live.values["accuracy"] == 1


@pytest.mark.slow
def test_a_live_release_that_does_not_know_a_class_is_not_compared(evaluating):
    x, y = images(60)
    live = subject(evaluating.models / "thirds", 7)
    renamed = dataclasses.replace(live.signature, classes=("left", "middle", "far"))
    live = dataclasses.replace(live, signature=renamed)
    found = evaluating.holdout(IMAGES, [x], y).run("thirds", "thirds", subjects={"live": live})
    assert found.candidate.values["accuracy"] == 1
    assert (found.live, found.comparison) == (None, None)
    assert "not comparable: it has other classes than the data (new: right; gone: far)" in found.live_note


@pytest.mark.slow
def test_answers_that_are_not_numbers_are_reported_as_such(evaluating):
    x, y = images(60)
    x[5, 0, 0] = 255
    found = evaluating.holdout(IMAGES, [x], y).run("nothing").candidate
    assert math.isnan(found.values["loss"])
    assert found.values["accuracy"] == pytest.approx(59 / 60)


def test_other_bytes_than_those_of_the_job_are_refused(evaluating):
    x, y = images(30)
    other = subject(evaluating.models / "thirds", **{"model.tflite": "0" * 64})
    with pytest.raises(Corrupt, match=r"model\.tflite: the bytes are not those of the job"):
        evaluating.holdout(IMAGES, [x], y).run("thirds", subjects={"candidate": other})
    assert not (evaluating.folder / "result.json").exists()


def test_a_file_that_nobody_named_is_not_served(evaluating, tmp_path_factory):
    x, y = images(30)
    evaluating.models = shutil.copytree(evaluating.models, tmp_path_factory.mktemp("models") / "copy")
    codec.save(Served("saved_model", "saved_model", "a test"), evaluating.models / "thirds" / "served.json")
    made = subject(evaluating.models / "thirds")
    (evaluating.models / "thirds" / "saved_model" / "assets" / "extra.txt").write_text("x")
    with pytest.raises(Corrupt, match=r"extra\.txt: is not among the files of this version"):
        evaluating.holdout(IMAGES, [x], y).run("thirds", subjects={"candidate": made})


def test_a_candidate_that_does_not_take_the_data_is_an_error_of_the_model(evaluating):
    x, y = images(30)
    with pytest.raises(ConfigError, match="its input image is uint8 "):
        evaluating.holdout(IMAGES, [x], y).run("wide")


@pytest.mark.slow
def test_progress_is_reported(evaluating):
    x, y = images(200)
    evaluating.holdout(IMAGES, [x], y).run("thirds")
    events = [event for line in evaluating.done.stdout.splitlines() if (event := parse_event(line))]
    assert events[-1] == {"event": "progress", "done": 200, "of": 200, "what": "samples"}


@pytest.mark.tensorflow
@pytest.mark.slow
def test_the_fallback_engine_is_measured_as_well(evaluating, tmp_path_factory):
    x, y = images(30)
    evaluating.models = shutil.copytree(evaluating.models, tmp_path_factory.mktemp("models") / "copy")
    codec.save(Served("saved_model", "saved_model", "a test"), evaluating.models / "thirds" / "served.json")
    found = evaluating.holdout(IMAGES, [x], y).run("thirds")
    assert found.candidate.values["accuracy"] == 1


def test_the_worker_does_not_import_tensorflow_for_litert(evaluating):
    x, y = images(30)
    evaluating.holdout(IMAGES, [x], y)
    command = (
        "import sys; from pathlib import Path; from pipelines.workers.evaluate import main; main(Path.cwd());"
        "sys.exit(bool({'tensorflow', 'keras', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    evaluating.run("thirds")
    subprocess.run([sys.executable, "-P", "-c", command], cwd=evaluating.folder, check=True, capture_output=True)


@pytest.mark.slow
def test_what_the_candidate_looks_at_is_measured_where_it_is_asked_for(evaluating):
    random = np.random.default_rng(1)
    a, b = random.normal(size=(2, 300, 1)).astype(np.float32)
    evaluating.holdout(SUMS, [a, b], (2 * a + 3 * b)[:, 0])
    found = evaluating.run("sum", metric="mae", importance=True).importance
    assert [each.name for each in found.inputs] == ["b", "a"]
    assert (found.metric, found.samples) == ("mae", 300)
    assert found.inputs[0].low < 3 * 2 / math.sqrt(math.pi) < found.inputs[0].high
    assert evaluating.run("sum", metric="mae").importance is None


@pytest.mark.slow
def test_the_pixels_of_an_image_have_no_importance(evaluating):
    x, y = images(30)
    assert evaluating.holdout(IMAGES, [x], y).run("thirds", importance=True).importance is None


def test_golden_samples_hold_every_class_and_are_few():
    y = np.array([0] * 50 + [1] * 2 + [2] * 10)
    index = golden_index(y, 3)
    assert np.bincount(y[index]).tolist() == [7, 2, 7]
    assert golden_index(y[:3], 3).tolist() == [0, 1, 2]
    assert golden_index(np.linspace(0, 1, 40), 0).tolist()[::15] == [0, 39]
    assert golden_index(np.linspace(0, 1, 1), 0).tolist() == [0]


PAIRS = dataclasses.replace(SUMS, target="", targets=("sum", "difference"))


def pairs(samples=60):
    """Two columns, and their sum and difference, which is off by 2 in every sample."""
    random = np.random.default_rng(4)
    x = [random.normal(5, 2, (samples, 1)).astype(np.float32) for _ in "ab"]
    return x, np.hstack([x[0] + x[1], x[0] - x[1] + 2]).astype(np.float32)


@pytest.mark.slow
def test_of_several_targets_each_is_measured_and_compared(evaluating):
    x, y = pairs()
    rules = {"more": ('mae(target="difference")', "r2")}
    found = evaluating.holdout(PAIRS, x, y).run("pair", "pair", metric="mae", importance=True, reference=True, **rules)
    new = found.candidate
    assert {name: each.mae for name, each in new.targets.items()} == pytest.approx(
        {"sum": 0, "difference": 2}, abs=1e-5
    )
    assert new.values["mae"] == pytest.approx(1, abs=1e-5)
    assert new.values['mae(target="difference")'] == pytest.approx(2, abs=1e-5)
    assert [each.difference for each in (found.comparison, *found.comparisons)] == [0, 0, 0]
    assert {each.name for each in found.importance.inputs} == {"a", "b"}
    assert min(each.loss for each in found.importance.inputs) > 1
    with np.load(evaluating.outputs / "golden.npz") as golden:
        assert golden["out_0"] == pytest.approx(y[golden["index"]] - [0, 2], abs=1e-5)
    known = from_bytes((evaluating.outputs / "reference.npz").read_bytes())
    assert {"outputs.prediction[0]", "outputs.prediction[1]"} <= set(known.columns)
    with Image.open(evaluating.outputs / "scatter.png") as image:
        assert min(image.size) > 250


@pytest.mark.slow
def test_a_live_release_with_other_targets_is_not_measured(evaluating):
    x, y = pairs()
    found = evaluating.holdout(PAIRS, x, y).run("pair", "sum", metric="mae")
    assert "it predicts one number; the data ask for sum, difference" in found.live_note
    assert found.live is None


@pytest.mark.slow
def test_labelled_predictions_of_several_targets_are_not_compared(evaluating):
    x, y = pairs()
    found = evaluating.holdout(PAIRS, x, y).run("pair", "pair", metric="mae", recent=True)
    assert (found.recent.samples, found.recent.notes) == (
        0,
        ("a label is one number, and the models answer with several",),
    )


def test_a_target_that_the_dataset_has_not_is_refused(evaluating):
    with pytest.raises(ConfigError, match="there is no target 'product'; the dataset has 'sum', 'difference'"):
        evaluating.holdout(PAIRS, *pairs()).run("pair", metric='mae(target="product")')


def examples(evaluating):
    return read_examples((evaluating.outputs / FILE).read_bytes())


def test_the_worst_and_the_most_changed_answers_are_left_with_their_images(evaluating):
    x, y = images(90)
    y = y.copy()
    y[:3] = (y[:3] + 1) % 3  # what is right by the image is wrong by these labels
    evaluating.holdout(IMAGES, [x], y).run("thirds", "dull", examples=True, importance=True)
    found = examples(evaluating)
    assert (found.samples, found.live_version, len(found.worst), len(found.changed)) == (90, 7, 3, 10)
    assert {each.sample for each in found.worst} == {"sample 0", "sample 1", "sample 2"}
    assert not any(each.candidate.right for each in found.worst)
    assert all(each.candidate.said != each.live.said for each in found.changed)
    assert found.fixed > found.broken
    assert found.fixed + found.broken <= found.differ
    first = found.changed[0]
    place = int(first.sample.removeprefix("sample "))
    with Image.open(io.BytesIO(base64.b64decode(first.image))) as image:
        assert np.array_equal(np.asarray(image), x[place, :, :, 0])
    assert first.truth == THIRDS[y[place]]
    assert 0 < first.candidate.sure <= 1


def test_rows_are_left_with_their_columns_and_numbers_with_how_far_they_are_off(evaluating):
    random = np.random.default_rng(3)
    x = random.normal(size=(2, 40, 1)).astype(np.float32)
    y = (2 * x[0] + 3 * x[1])[:, 0]
    y[5] += 100
    evaluating.holdout(SUMS, list(x), y).run("sum", None, metric="mae", examples=True)
    found = examples(evaluating)
    assert (found.live_version, found.changed, found.differ) == (None, (), 0)
    worst = found.worst[0]
    assert (worst.sample, worst.live, worst.image, worst.candidate.right) == ("sample 5", None, "", None)
    assert worst.candidate.off == pytest.approx(100, abs=1)
    assert dict(worst.cells) == {"a": f"{x[0, 5, 0]:.6g}", "b": f"{x[1, 5, 0]:.6g}"}


def test_a_large_or_hostile_file_of_examples_is_not_read():
    with pytest.raises(Corrupt, match="allowed"):
        read_examples(b" " * (MOST_BYTES + 1))
    one = Example("s", "a", Answer("b", False))
    with pytest.raises(Corrupt, match="more than is kept"):
        read_examples(codec.to_json(Examples(1, None, (one,) * 11, ())))
    for data in (b"[]", b'{"samples": "x"}', b"\xff"):
        with pytest.raises(Corrupt):
            read_examples(data)
