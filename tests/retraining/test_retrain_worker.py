"""The retraining worker: fine-tunes what still fits, falls back to training from scratch, and says what it did."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from training_parts import CNN, QUICK, TABLE, images, make_job, run_jobs, shop

from registry import codec
from registry.errors import Corrupt
from registry.records import Signature, TensorSpec
from training.loop.history import History

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

HOOK = (
    QUICK
    + """
def retrain(model, train, validation, *, epochs, callbacks):
    print("the team's own way,", epochs, "epochs")
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0)
"""
)
SCHEDULE = CNN.replace("Adam(0.01)", "Adam(keras.optimizers.schedules.CosineDecay(0.02, 1000))")
SIXTEEN = "import keras\nkeras.config.set_dtype_policy('mixed_float16')\n" + QUICK
OWN_LAYER = QUICK.replace("layers.Flatten()", "layers.Flatten(), Twice()").replace("def build", "{layer}\ndef build", 1)
TWICE = """
@keras.saving.register_keras_serializable("mine")
class Twice(layers.Layer):
    def call(self, x):
        return 2 * x
"""
SCRIPT = """
import os, keras
model = keras.saving.load_model(os.environ["TRAINYARD_MODEL"])
print("starts from", model.count_params(), "parameters for", os.environ["TRAINYARD_EPOCHS"], "epochs")
model.save(os.path.join(os.environ["TRAINYARD_OUTPUT"], "model.keras"))
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Versions made by the training worker, and then every way to retrain one."""
    at = tmp_path_factory.mktemp("retraining")

    def version(name, *given, **settings):
        return make_job(at / f"version-{name}", *given, **settings)

    versions = [
        version("plain", QUICK, epochs=4),
        version("schedule", SCHEDULE, epochs=1),
        version("sixteen", SIXTEEN, epochs=1),
        version("layer", OWN_LAYER.replace("{layer}", TWICE), epochs=1),
        version("table", TABLE, shop, epochs=2),
    ]

    def job(name, of, *given, **settings):
        return make_job(at / name, *given, model=registered(at / f"version-{of}"), **settings)

    return run_jobs(
        versions,
        [
            job("tuned", "plain", threshold=0.5, retrain_epochs=2),
            job("own_rate", "plain", threshold=0.5, learning_rate=0.005, retrain_epochs=1),
            job("not_enough", "plain", QUICK, threshold=1.01, retrain_epochs=1, epochs=2),
            job("diverges", "plain", QUICK, threshold=0.3, learning_rate=1e30, epochs=2),
            job("new_class", "plain", QUICK, classes=("left", "middle", "other", "right"), epochs=1),
            job("new_split", "plain", QUICK, resplit, epochs=1),
            job("new_column", "table", TABLE, numeric_shop, epochs=1),
            job("table", "table", TABLE, shop, retrain_epochs=1),
            job("hook", "plain", HOOK, retrain_epochs=3),
            job("fit", "plain", HOOK.replace("def retrain", "def fit"), retrain_epochs=3),
            job("schedule", "schedule", SCHEDULE, retrain_epochs=1),
            job("sixteen", "sixteen", SIXTEEN, retrain_epochs=1),
            job("same_layer", "layer", OWN_LAYER.replace("{layer}", TWICE), retrain_epochs=1),
            job("lost_layer", "layer", QUICK, epochs=1),
            make_job(at / "damaged", model=damaged(at / "damaged-version")),
            job("script", "plain", None, files={"go.py": SCRIPT}, command=("python", "go.py"), retrain_epochs=5),
            job("new_split_script", "plain", None, resplit, files={"go.py": SCRIPT}, command=("python", "go.py")),
        ],
    )


@pytest.fixture(scope="module")
def runs(outcomes):
    return {name: each for name, each in outcomes.items() if not name.startswith("version-")}


@pytest.fixture(scope="module")
def versions(outcomes):
    return {name[8:]: each.outputs for name, each in outcomes.items() if name.startswith("version-")}


def registered(job):
    """The version that comes of a training job, once it has run: its files, and the spec of its data."""
    version = job.parent / f"registered-{job.name}"
    if not version.exists():
        version.mkdir()
        for name in ("model.keras", "signature.json"):
            (version / name).symlink_to(job / "outputs" / name)
        (version / "data.json").symlink_to(job / "inputs" / "train" / "data.json")
    return version


def resplit(samples, seed, **more):
    """The same images in a dataset whose [split] was changed since."""
    spec, x, y = images(samples, seed, **more)
    return replace(spec, split="holdout 0.3"), x, y


def numeric_shop(samples, seed):
    return shop(samples, seed, text=False)


def damaged(folder):
    """A version whose signature fits, and whose model file has lost its end."""
    spec, _, _ = images(3, 0)
    output = TensorSpec("probabilities", (None, 3), "float32")
    signature = Signature("classification", "image", spec.inputs, (output,), spec.classes, "L")
    codec.save(signature, folder / "signature.json")
    codec.save(spec, folder / "data.json")
    (folder / "model.keras").write_bytes(b"PK\x03\x04 and then nothing")
    return folder


def history_of(outcome):
    return codec.read(History, outcome.outputs / "history.json")


def compiled_rate(folder):
    with zipfile.ZipFile(folder / "model.keras") as archive:
        config = json.loads(archive.read("config.json"))["compile_config"]["optimizer"]["config"]
    return config.get("inner_optimizer", {"config": config})["config"]["learning_rate"]


def test_a_model_that_still_fits_is_fine_tuned_at_a_tenth_of_its_rate(runs):
    result, history = runs["tuned"].result, history_of(runs["tuned"])
    assert (result.how, result.reached) == ("fine-tuned", True)
    assert result.note == "fine-tuned with a learning rate of 0.001"
    assert [(each.how, len(each.epochs)) for each in history.rounds] == [("fine-tuned", 2)]


def test_fine_tuning_begins_where_the_old_model_ended(runs, versions):
    before = history_of(type("Version", (), {"outputs": versions["plain"]})).rounds[0].epochs[-1]["loss"]
    assert history_of(runs["tuned"]).rounds[0].epochs[0]["loss"] < before + 0.05


def test_the_rate_can_be_chosen(runs):
    assert runs["own_rate"].result.note == "fine-tuned with a learning rate of 0.005"


def test_the_next_retraining_is_not_ten_times_slower(runs, versions):
    for name in ("tuned", "own_rate"):
        assert compiled_rate(runs[name].outputs) == pytest.approx(compiled_rate(versions["plain"]))
    assert compiled_rate(runs["schedule"].outputs)["class_name"] == "CosineDecay"
    assert runs["schedule"].result.note == "fine-tuned with a learning rate of 0.002"
    assert runs["sixteen"].result.note == "fine-tuned with a learning rate of 0.001"
    assert compiled_rate(runs["sixteen"].outputs) == pytest.approx(0.01)


def test_when_fine_tuning_is_not_enough_it_trains_from_scratch_and_keeps_the_better(runs):
    result, history = runs["not_enough"].result, history_of(runs["not_enough"])
    assert [each.how for each in history.rounds] == ["fine-tuned", "trained"]
    best = max(history.rounds, key=lambda each: max(each.values))
    assert result.how == best.how
    assert result.validation["accuracy"] == pytest.approx(max(best.values))
    assert not result.reached
    assert result.note.endswith("training from scratch did no better") or "did not reach" in result.note


def test_fine_tuning_that_diverges_does_not_end_the_run(runs):
    result, history = runs["diverges"].result, history_of(runs["diverges"])
    assert result.how == "trained"
    assert "the loss became" in result.note
    assert "the loss became" in history.rounds[0].failed


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("new_class", "the classes have changed (new: other)"),
        ("new_split", "the rule of the split has changed, so it may have learned from what is the holdout now"),
        ("new_column", "the inputs have changed (new: size; gone: colour)"),
        ("lost_layer", "mine>Twice"),
    ],
)
def test_a_model_that_fits_no_more_is_trained_from_scratch_and_the_note_says_why(runs, name, why):
    result = runs[name].result
    assert result.how == "trained"
    assert why in result.note
    assert [each.how for each in history_of(runs[name]).rounds] == ["trained"]


def test_a_layer_that_the_code_registers_can_be_loaded_again(runs):
    assert runs["same_layer"].result.how == "fine-tuned"


def test_preprocessing_keeps_what_it_had_learned(runs, versions):
    def vocabulary(folder):
        with zipfile.ZipFile(folder / "model.keras") as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        return next(each["config"]["vocabulary"] for each in layers if each["class_name"] == "StringLookup")

    assert runs["table"].result.how == "fine-tuned"
    assert vocabulary(runs["table"].outputs) == vocabulary(versions["table"]) == ["blue", "green", "red"]


def test_a_team_may_retrain_in_its_own_way(runs):
    assert "the team's own way, 3 epochs" in runs["hook"].out
    assert runs["hook"].result.how == "fine-tuned"
    assert len(history_of(runs["hook"]).rounds[0].epochs) == 3


def test_a_fit_of_the_teams_own_does_the_fine_tuning_too_when_there_is_no_retrain(runs):
    assert "the team's own way, 3 epochs" in runs["fit"].out
    assert runs["fit"].result.how == "fine-tuned"
    assert "its fit does the fine-tuning" in str(runs["fit"].events("note"))


def test_a_damaged_model_file_is_not_loaded(runs):
    failure = runs["damaged"].failure
    assert type(failure) is Corrupt
    assert "model.keras" in str(failure)


def test_a_script_starts_from_the_registered_model(runs, versions):
    outcome = runs["script"]
    assert "for 5 epochs" in outcome.out
    assert outcome.result.how == "command"
    assert outcome.result.note == "retrained by python go.py"


def test_a_script_does_not_get_a_model_that_may_have_learned_from_the_holdout(runs):
    outcome = runs["new_split_script"]
    assert "KeyError: 'TRAINYARD_MODEL'" in str(outcome.failure)
    assert "the rule of the split has changed" in outcome.out


def test_the_data_of_the_tests_keep_the_classes_apart():
    _, x, y = images(6, 0)
    assert np.asarray([x["image"][i, :, 2 * y[i]].mean() > 140 for i in range(6)]).all()
