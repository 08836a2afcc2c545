"""What labels say of quality: late ones, corrected ones, and those of another class, joined with the log."""

import numpy as np
import pytest
from watched_parts import HOURS_AGO, MINUTE, Pets, answered, job, monitored, pet_model, write_log

from pipelines.workers import monitor, monitored_labels
from pipelines.workers.jobs import MonitorRules
from registry.label_store import LabelStore
from registry.records.labels import Label

REQUESTS, ROWS = 15, 20
RULES = MonitorRules(max_drop=0.05)


def labels(pets, request, **fields):
    defaults = {"by": "ada", "at": "", "source": "feedback", "correct": None}
    return [Label(request, row, value, **defaults | fields) for row, value in enumerate(pets.labels())]


def add(folder, *some):
    with LabelStore(folder / "labels.sqlite") as store:
        store.add([each for part in some for each in part])


def write(folder, *, right=0.9, start=HOURS_AGO, seed=1):
    """A request a minute, with its labels; `right` of the answers are."""
    found = []
    answers = []
    for i in range(REQUESTS):
        pets = Pets(ROWS, seed * 100 + i)
        pets.right = np.random.default_rng(seed * 1000 + i).random(ROWS) < right
        pets.truth = np.where(pets.right, pets.predicted, (pets.predicted + 1) % 3)
        answers.append(answered(pet_model(), pets, start + i * MINUTE, f"r-{seed}-{i}"))
        found.append(labels(pets, f"r-{seed}-{i}"))
    write_log(folder / "log", answers)
    return found


def look(folder, release, since=0.0, until=15.0, rules=RULES):
    wanted = job(folder, [release], HOURS_AGO + since * MINUTE, HOURS_AGO + until * MINUTE, rules)
    return monitor.look(wanted).health


def decay(health):
    return {each.what: each for each in health.checks if each.kind == "decay"}


def test_without_a_label_that_is_a_note(tmp_path):
    write(tmp_path)
    (health,) = look(tmp_path, monitored(tmp_path))
    assert "nobody has labelled an answer yet: quality is not measured" in health.notes
    assert decay(health) == {}
    assert not (tmp_path / "labels.sqlite").exists()


def test_quality_like_on_the_holdout_passes(tmp_path):
    add(tmp_path, *write(tmp_path, right=0.9))
    (health,) = look(tmp_path, monitored(tmp_path))
    found = decay(health)
    assert {name: each.outcome for name, each in found.items()} == {
        "accuracy": "passed",
        "sequence of errors": "passed",
    }
    assert found["accuracy"].now == pytest.approx(0.9, abs=0.05)
    assert found["accuracy"].low < found["accuracy"].now < found["accuracy"].high
    assert health.window.labelled == found["accuracy"].rows == 300


def test_quality_that_is_surely_worse_than_allowed_fails(tmp_path):
    add(tmp_path, *write(tmp_path, right=0.7))
    (health,) = look(tmp_path, monitored(tmp_path))
    found = decay(health)
    assert {name: each.outcome for name, each in found.items()} == {
        "accuracy": "failed",
        "sequence of errors": "failed",
    }
    assert "on the holdout it was 0.9, and 0.05 worse is allowed" in found["accuracy"].reason
    assert health.checks[0].outcome == "failed"


def test_few_labels_decide_nothing(tmp_path):
    add(tmp_path, write(tmp_path, right=0.2)[0])
    (health,) = look(tmp_path, monitored(tmp_path))
    assert {name: each.outcome for name, each in decay(health).items()} == {"accuracy": "unknown"}


def test_late_labels_count_when_they_come(tmp_path):
    """The window that they are about is long over."""
    late = write(tmp_path, right=0.6)
    release = monitored(tmp_path)
    assert decay(look(tmp_path, release)[0]) == {}
    add(tmp_path, *late)
    write(tmp_path, start=HOURS_AGO + 15 * MINUTE, seed=2)
    (health,) = look(tmp_path, release, 15, 30)
    assert decay(health)["accuracy"].outcome == "failed"
    assert health.window.labelled == 0


def test_labels_that_came_before_the_last_look_are_not_news(tmp_path):
    add(tmp_path, *write(tmp_path, right=0.6))
    write(tmp_path, start=HOURS_AGO + 8 * 60 * MINUTE, seed=2)  # later than the labels
    (health,) = look(tmp_path, monitored(tmp_path), 480, 495)
    assert decay(health) == {}
    assert any(each.startswith("no label for an answer of release 2 has come in since") for each in health.notes)


def test_a_correction_overrules(tmp_path):
    right = write(tmp_path, right=1.0)
    wrong = [[Label(each.request, each.row, "cat", None, "bo", "", "feedback") for each in part] for part in right]
    add(tmp_path, *wrong)
    assert decay(look(tmp_path, monitored(tmp_path))[0])["accuracy"].now < 0.5
    add(tmp_path, *right)
    assert decay(look(tmp_path, monitored(tmp_path))[0])["accuracy"].now == 1.0


def test_only_whether_an_answer_was_right_is_enough_for_accuracy(tmp_path):
    known = write(tmp_path, right=1.0)
    only = [
        [Label(each.request, each.row, "", each.row % 2 == 0, "bo", "", "feedback") for each in part] for part in known
    ]
    add(tmp_path, *only)
    release = monitored(tmp_path)
    assert decay(look(tmp_path, release)[0])["accuracy"].now == 0.5
    macro = monitored(tmp_path, metric="macro_f1", then={"accuracy": 0.9, "macro_f1": 0.9})
    found = decay(look(tmp_path, macro)[0])["macro_f1"]
    assert (found.outcome, found.reason) == (
        "unknown", "no label says what was right, so that macro_f1 cannot be measured",
    )  # fmt: skip


def test_a_label_of_a_class_that_the_model_does_not_have_is_an_error(tmp_path):
    known = write(tmp_path, right=1.0)
    fish = [[Label(each.request, each.row, "fish", None, "bo", "", "feedback") for each in part] for part in known[:5]]
    add(tmp_path, *fish, *known[5:])
    for metric in ("accuracy", "macro_f1", "loss", "brier"):
        release = monitored(tmp_path, metric=metric, then={"accuracy": 0.9, metric: 0.9})
        found = decay(look(tmp_path, release)[0])[metric]
        assert found.rows == 300
        if metric == "accuracy":
            assert found.now == pytest.approx(2 / 3)
        if metric == "macro_f1":
            assert found.now < 0.75


def test_labels_of_unknown_requests_and_other_releases_harm_nothing(tmp_path):
    known = write(tmp_path, right=0.9)
    add(tmp_path, *known, labels(Pets(50), "never-asked"))
    write_log(tmp_path / "log", [answered(pet_model(3), Pets(50), HOURS_AGO + MINUTE, "of-another")])
    add(tmp_path, labels(Pets(50), "of-another"))
    (health,) = look(tmp_path, monitored(tmp_path))
    assert decay(health)["accuracy"].rows == 300


def test_an_id_that_was_sent_twice_counts_once(tmp_path):
    known = write(tmp_path, right=0.9)
    write_log(tmp_path / "log", [answered(pet_model(), Pets(ROWS, 100), HOURS_AGO + MINUTE, "r-1-0")])
    add(tmp_path, *known)
    (health,) = look(tmp_path, monitored(tmp_path))
    assert decay(health)["accuracy"].rows == 300


def test_with_few_new_labels_the_newest_earlier_ones_count_too(tmp_path, monkeypatch):
    monkeypatch.setattr(LabelStore, "newest", by_time(LabelStore.newest))
    first, second = write(tmp_path, right=0.9), write(tmp_path, right=0.9, start=HOURS_AGO + 15 * MINUTE, seed=2)
    add(tmp_path, *first, second[0])
    release = monitored(tmp_path)
    monkeypatch.setattr(monitored_labels, "_second", lambda _: "recent")
    (health,) = look(tmp_path, release, 15, 30)
    found = decay(health)["accuracy"]
    assert found.rows == 100
    assert "(20 of them came in since the last look)" in found.reason


def by_time(newest):
    """Only the labels of `r-2-0` are recent."""

    def found(self, requests=None, since=""):
        return (each for each in newest(self, requests) if since != "recent" or each.request == "r-2-0")

    return found


def test_of_a_long_log_only_the_newest_lines_are_looked_through(tmp_path, monkeypatch):
    monkeypatch.setattr(monitored_labels, "MOST_LINES", 10)
    old = write(tmp_path, start=HOURS_AGO - 3 * 86_400, seed=3)
    add(tmp_path, *old, *write(tmp_path))
    (health,) = look(tmp_path, monitored(tmp_path, at=HOURS_AGO - 4 * 86_400))
    assert decay(health)["accuracy"].rows == 300
    assert "only the newest 10 lines were looked through for labelled answers" in health.notes


def test_a_regression_is_measured_by_its_own_metric(tmp_path):
    model, random = pet_model(classes=()), np.random.default_rng(1)
    pets = Pets(300)
    truth = random.normal(size=300)
    outputs = (truth + random.normal(0, 0.3, 300)).astype(np.float32).reshape(-1, 1)
    write_log(tmp_path / "log", [answered(model, pets, HOURS_AGO, "r-1", outputs=outputs)])
    values = [repr(each) for each in truth.tolist()]
    values[:3] = ["nonsense", "nan", "1e999"]
    add(tmp_path, [Label("r-1", row, value, None, "ada", "", "import") for row, value in enumerate(values)])
    rules = MonitorRules(max_drop=0.1)
    outcomes = {}
    for then in (0.24, 0.05):
        for metric, factor in (("mae", 1.0), ("rmse", 1.25)):
            fields = {"classes": (), "metric": metric, "then": {metric: then * factor}}
            (health,) = look(tmp_path, monitored(tmp_path, **fields), rules=rules)
            found = decay(health)[metric]
            assert found.rows == 297
            assert found.now == pytest.approx(0.3 * (0.798 if metric == "mae" else 1.0), abs=0.03)
            outcomes[metric, then] = found.outcome
    assert outcomes == {
        ("mae", 0.24): "passed", ("rmse", 0.24): "passed", ("mae", 0.05): "failed", ("rmse", 0.05): "failed",
    }  # fmt: skip


def test_metrics_of_probabilities_need_that_the_log_keeps_them(tmp_path):
    pets = Pets(300)
    write_log(tmp_path / "log", [answered(pet_model(), pets, HOURS_AGO, "r-1")], columns={"out": "no"})
    add(tmp_path, labels(pets, "r-1"))
    release = monitored(tmp_path, metric="loss", then={"loss": 0.3, "accuracy": 0.9})
    found = decay(look(tmp_path, release)[0])
    assert found["loss"].outcome == "unknown"
    assert "needs probabilities, which the prediction log does not keep" in found["loss"].reason
    assert found["sequence of errors"].outcome == "passed"


def test_of_a_version_that_nothing_is_known_of_labels_are_not_looked_at(tmp_path):
    add(tmp_path, *write(tmp_path))
    (health,) = look(tmp_path, monitored(tmp_path, then={}, metric="", note="version 5 cannot be read: gone"))
    assert decay(health) == {}
    assert any("nothing is known of the version of release 2" in each for each in health.notes)


def test_several_windows_at_once_each_have_their_labelled_rows(tmp_path):
    add(tmp_path, *write(tmp_path), *write(tmp_path, start=HOURS_AGO + 15 * MINUTE, seed=2)[:4])
    first, second = look(tmp_path, monitored(tmp_path), 0, 30)
    assert (first.window.labelled, second.window.labelled) == (300, 80)
    assert decay(first) == {}
    assert decay(second)["accuracy"].rows == 380
