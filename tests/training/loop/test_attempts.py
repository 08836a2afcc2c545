"""Attempt after attempt until one is good enough: the best weights are kept, and a killed training resumes."""

import json
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from training_parts import CNN, QUICK, TWO_SUMS, make_job, run_jobs, start_worker, two_sums

from registry import codec
from serving.engines.base import cast_inputs, load_engine
from training.data.spec import load_split
from training.loop.checkpoints import Checkpoints
from training.loop.history import History
from training.worker.protocol import parse_event

pytestmark = pytest.mark.tensorflow

GROWS = CNN.replace("Adam(0.01)", "Adam(0.05 * attempt)")  # attempt 0 cannot learn
IGNORES = QUICK
NEVER_LEARNS = QUICK.replace("Adam(0.01)", "SGD(0.0)")
SPOILS = (
    QUICK
    + """
def fit(model, train, validation, *, epochs, callbacks):
    model.fit(train, validation_data=validation, epochs=epochs - 1, callbacks=callbacks, verbose=0)
    model.set_weights([0 * each for each in model.get_weights()])
    model.optimizer.learning_rate = 0.0
    model.fit(train, validation_data=validation, epochs=1, callbacks=callbacks, verbose=0)
"""
)
WIDER = QUICK.replace("Conv2D(4,", "Conv2D(4 + attempt,")
ONE_PARAMETER = QUICK.replace("build_model(spec, attempt)", "build_model(spec)")
BESIDE = (
    "import json\nUNITS = json.load(open('params.json'))['units']\nopen('seen.txt', 'w').write('x')\n"
    + QUICK.replace("Conv2D(4,", "Conv2D(json.load(open('params.json'))['units'],")
)
OWN_LOOP = (
    QUICK
    + """
def fit(model, train, validation, *, epochs, callbacks):
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0)
"""
)
NO_CALLBACKS = (
    QUICK
    + """
def fit(model, train, validation, *, epochs, callbacks):
    model.fit(train, epochs=epochs, verbose=0)
"""
)
# The first time it waits in the middle of the fourth epoch, for ever. It has everything whose state a resume must keep.
WAITS = (
    CNN.replace("layers.Flatten()", "layers.BatchNormalization(), layers.Dropout(0.3), layers.Flatten()")
    + """
import time
from pathlib import Path
import tensorflow as tf

def augment(x, y):
    return tf.ensure_shape(tf.numpy_function(wait, [x], x.dtype), x.shape), y

def wait(x):
    job = Path(@JOB@)
    progress = job / "checkpoints" / "progress.json"
    while not (job / "go-on").exists() and progress.exists() and progress.read_text().count('"seconds"') == 3:
        time.sleep(0.05)
    return x
"""
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    at = tmp_path_factory.mktemp("attempts")
    whole, killed = (
        make_job(at / name, WAITS.replace("@JOB@", repr(str(at / name))), epochs=6) for name in ("whole", "killed")
    )
    kill_after_three_epochs(killed)
    for folder in (whole, killed):
        (folder / "go-on").touch()
    twice = make_job(at / "twice", QUICK, epochs=2)
    streamed = make_job(
        at / "streamed", "import training.model.samples\ntraining.model.samples.STREAM_BYTES = 0\n" + QUICK
    )
    jobs = [
        make_job(at / "grows", GROWS, max_attempts=3, threshold=0.9, epochs=5),
        make_job(at / "never", WIDER, epochs=2, max_attempts=2, threshold=1.01),
        make_job(at / "ignores", IGNORES, epochs=2, max_attempts=3, threshold=1.01),
        make_job(at / "one_parameter", ONE_PARAMETER, epochs=2, max_attempts=2, threshold=1.01),
        make_job(at / "beside", BESIDE, files={"params.json": '{"units": 4}'}, epochs=1),
        make_job(at / "own_loop", OWN_LOOP, epochs=1, max_attempts=2, threshold=1.01),
        other_checkpoints(make_job(at / "other_checkpoints", QUICK, epochs=1)),
        make_job(at / "patience", NEVER_LEARNS, epochs=9, patience=2),
        make_job(at / "spoils", SPOILS, epochs=4),
        make_job(at / "no_callbacks", NO_CALLBACKS, epochs=3),
        make_job(at / "in_memory", QUICK),
        make_job(at / "two_sums", TWO_SUMS, two_sums, epochs=8, metric="rmse", threshold=9.0),
        whole,
        killed,
        twice,
        twice,
        streamed,  # last: what it changes, it changes for good
    ]
    return run_jobs(jobs)


def kill_after_three_epochs(folder):
    """SIGKILL for a real worker, in the middle of its fourth epoch."""
    with start_worker(folder) as process:
        for line in process.stdout:
            if (parse_event(line) or {}).get("epoch") == 3:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "result.json").exists()
    return folder


def other_checkpoints(folder):
    """What an earlier version of Trainyard has left of an interrupted training."""
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "progress.json").write_text('{"schema": 1}')
    return folder


def history_of(outcome):
    return codec.read(History, outcome.outputs / "history.json")


def answers_of(outcome):
    result = outcome.result
    x = load_split(outcome.folder / "inputs" / "validation").x
    return load_engine(outcome.outputs, result.signature, result.served)(cast_inputs(result.signature, x))[
        "probabilities"
    ]


def test_a_larger_attempt_follows_when_the_threshold_is_not_reached(runs):
    result, history = runs["grows"].result, history_of(runs["grows"])
    assert (result.attempt, result.reached, result.how) == (1, True, "trained")
    assert [each.attempt for each in history.rounds] == [0, 1]
    assert max(history.rounds[0].values) < 0.9 <= max(history.rounds[1].values)
    assert [(each["attempt"], each["of"]) for each in runs["grows"].events("attempt")] == [(1, 3), (2, 3)]


def test_the_best_attempt_leaves_even_when_none_is_good_enough(runs):
    result, history = runs["never"].result, history_of(runs["never"])
    assert not result.reached
    assert len(history.rounds) == 2
    best = max(max(each.values) for each in history.rounds)
    assert result.validation["accuracy"] == pytest.approx(best)


@pytest.mark.parametrize(("name", "attempts"), [("ignores", 3), ("one_parameter", 2)])
def test_a_build_model_that_ignores_the_attempt_is_trained_once(runs, name, attempts):
    rounds = history_of(runs[name]).rounds
    assert [len(each.epochs) for each in rounds] == [2] + [0] * (attempts - 1)
    assert runs[name].result.attempt == 0
    notes = [each["text"] for each in runs[name].events("note")]
    assert len([each for each in notes if "would train the same model again" in each]) == attempts - 1


def test_what_lies_beside_model_py_is_opened_by_its_name_and_the_repository_stays_as_it_is(runs):
    assert runs["beside"].result.how == "trained"
    left = sorted(each.name for each in (runs["beside"].folder / "inputs" / "code").iterdir())
    assert left == ["model.py", "params.json"]


def test_a_loop_of_the_teams_own_is_left_to_make_its_attempts(runs):
    assert [len(each.epochs) for each in history_of(runs["own_loop"]).rounds] == [1, 1]


def test_checkpoints_that_cannot_be_used_are_mentioned(runs):
    (note,) = runs["other_checkpoints"].events("note")
    assert "are not used" in note["text"]


def test_an_attempt_ends_when_it_gets_no_better(runs):
    (only,) = history_of(runs["patience"]).rounds
    assert len(only.epochs) == 3  # the best is the first, then patience for two
    assert runs["patience"].result.epochs == 1


def test_the_best_weights_leave_and_not_the_last_ones(runs):
    result, (only,) = runs["spoils"].result, history_of(runs["spoils"]).rounds
    assert only.values[-1] < max(only.values)
    assert result.epochs == only.values.index(max(only.values)) + 1
    assert result.validation["accuracy"] == pytest.approx(max(only.values))


def test_a_loop_that_ignores_our_callbacks_still_gives_a_model(runs):
    (only,) = history_of(runs["no_callbacks"]).rounds
    assert len(only.epochs) == 1
    assert runs["no_callbacks"].result.validation["accuracy"] == pytest.approx(only.values[0])


def test_data_too_large_for_memory_train_the_same_model(runs):
    assert history_of(runs["streamed"]).rounds[0].values == history_of(runs["in_memory"]).rounds[0].values


def test_progress_is_reported_epoch_by_epoch(runs):
    events = runs["grows"].events("epoch")
    assert [each["epoch"] for each in events][-5:] == [1, 2, 3, 4, 5]
    assert {(each["of"], each["metric"]) for each in events} == {(5, "accuracy")}
    history = json.loads((runs["grows"].outputs / "history.json").read_text())
    assert {"loss", "accuracy", "val_loss", "val_accuracy", "value", "seconds"} <= history["rounds"][1]["epochs"][
        0
    ].keys()
    assert (runs["grows"].outputs / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_killed_worker_resumes_after_its_last_epoch_and_trains_the_same_model(runs):
    resumed, whole = runs["killed"], runs["whole"]
    assert [each["epoch"] for each in resumed.events("epoch")] == [4, 5, 6]
    assert resumed.events("note")[0]["text"] == "resumes after epoch 3"
    assert history_of(resumed).rounds[0].values == history_of(whole).rounds[0].values
    assert resumed.result.validation == whole.result.validation
    np.testing.assert_array_equal(answers_of(resumed), answers_of(whole))


def test_a_worker_that_was_killed_after_its_last_epoch_trains_no_more(runs):
    assert runs["twice"].events("epoch") == []  # the second time
    assert len(history_of(runs["twice"]).rounds[0].epochs) == 2
    assert runs["twice"].result.attempt == 0


@pytest.mark.parametrize("damage", ["state", "best", "progress", "other job"])
def test_a_damaged_checkpoint_is_not_used(tmp_path, damage):
    from training.loop.history import Best, Progress

    checkpoints = Checkpoints(tmp_path)
    state = checkpoints.write("state-0-1.npz", [np.arange(3.0), np.ones((2, 2))])
    best = checkpoints.write("best-0-1.npz", [np.arange(3.0)])
    checkpoints.write("state-0-0.npz", [np.zeros(3)])
    progress = Progress("job", History("accuracy", 0.9, 1), state, Best(0, 1, 0.5, best))
    checkpoints.save(progress)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best-0-1.npz", "progress.json", "state-0-1.npz"]
    loaded = checkpoints.load("job")
    assert loaded is not None
    assert (loaded.state, loaded.best) == (state, progress.best)
    np.testing.assert_array_equal(checkpoints.read(state)[1], np.ones((2, 2)))

    if damage == "other job":
        assert checkpoints.load("another") is None
        return
    path = tmp_path / {"state": state, "best": best, "progress": "progress.json"}[damage]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert checkpoints.load("job") is None


def test_a_checkpoint_names_files_of_its_own_folder_only(tmp_path):
    from training.loop.history import Progress

    outside = tmp_path / "outside.npz"
    with zipfile.ZipFile(outside, "w"):
        pass
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    checkpoints.write("state.npz", [])
    checkpoints.save(Progress("job", History("accuracy", 0.9, 1), "../outside.npz"))
    assert checkpoints.load("job") is None
    assert Path(outside).exists()


def test_of_several_targets_rmse_is_that_of_the_gate_and_not_of_keras(runs):
    result = runs["two_sums"].result
    (output,) = result.signature.outputs
    assert (result.signature.targets, output.shape) == (("sum", "difference"), (None, 2))
    *_, last = history_of(runs["two_sums"]).rounds[-1].epochs
    assert last["value"] < 0.9 * last["val_root_mean_squared_error"]  # the root of both targets' errors together
