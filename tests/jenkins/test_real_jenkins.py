"""The whole of it on a real Jenkins: one story, in this order; each test goes on from what the ones before have made."""

from __future__ import annotations

import json
import os
import re
import signal
import time

import pytest
import requests
from jenkins_trial import WATCHED
from real_jenkins import BUILD_SECONDS, FIRST_SECONDS, Build, wait_for
from team import MODEL, digits

from pipelines.flows import FLOWS, names

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(2 * FIRST_SECONDS + BUILD_SECONDS)]
LEARNS_NOTHING = MODEL.replace("Adam(0.01)", "SGD(0.0)").replace(
    'activation="softmax"', 'activation="softmax", kernel_initializer="zeros"'
)
SLOW = (
    MODEL
    + """

def fit(model, train, validation, *, epochs, callbacks):
    import time
    slow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: time.sleep({seconds} if epoch else 0))
    return model.fit(train, validation_data=validation, epochs=epochs, callbacks=[*callbacks, slow], verbose=0)
"""
)
ONE_MORE_TEST = """
def test_it_answers_for_every_sample(predict, holdout):
    assert len(predict(holdout.samples)) == len(holdout.samples)
"""
STAGES = {trigger: ["prepare", *names(trigger)] for trigger in FLOWS}


@pytest.fixture(scope="module")
def learned(watching):
    """The commit and the build of the first model."""
    sha, build = watching.pushed("code", "a second thought")
    return sha, build.ended()


@pytest.fixture(scope="module")
def promoted(watching, learned):
    """The build that has promoted it, with the token of its mail."""
    command = watching.promotion_command()
    approval = command[command.index("--approval") + 1]
    told = watching.ask("promote", "digits", "1", "--approval", approval)
    build = Build(watching.jenkins, watching.job("promotion"), told["build"].rstrip("/").rpartition("/")[2])
    return approval, build.ended()


@pytest.fixture(scope="module")
def retrained(watching, promoted):
    """The build of data that the released model does not know."""
    _, build = watching.pushed("dataset", "new pictures", digits(800, 1797, inverted=True))
    return build.ended()


def all_stages(build):
    return [each for each in build.stages if not each.startswith("Declarative: ")]


def test_a_dry_run_makes_nothing(trial):
    said = trial.trainyard("jenkins", "apply", "--dry-run").stdout
    assert all(f"{trial.name}/{name}" in said for name in (*WATCHED, "promotion"))
    assert trial.jenkins.json(f"job/{trial.name}", "name") is None


def test_the_jobs_are_made(trial, jobs):
    found = trial.jenkins.json(f"job/{trial.name}", "jobs[name]")["jobs"]
    assert {each["name"] for each in found} == {*WATCHED, "promotion"}


def test_their_first_builds_prepare_the_agent_and_run_nothing(trial, watching):
    for name in WATCHED:
        (number,) = trial.builds(name)
        build = Build(trial.jenkins, trial.job(name), number)
        assert all_stages(build) == STAGES[name]
        assert build.skipped == set(names(name))
    assert trial.cards() == []
    assert trial.mails() == []


def test_apply_again_changes_nothing(trial, watching):
    told = trial.ask("jenkins", "apply")
    changed = [each for each in told["items"] if each["action"] != "unchanged" or each["build"]]
    assert changed == []


def test_a_push_to_code_is_trained_judged_registered_tried_and_mailed(trial, learned):
    sha, build = learned
    assert all_stages(build) == STAGES["code"]
    assert build.skipped == set()
    assert trial.cards(), f"the agent has written nothing to {trial.home}: has it a /tmp of its own? (TMPDIR)"
    (card,) = trial.cards()
    assert card["sources"]["code"] == sha
    assert "digits 1 " in build.name
    for words in ("version 1", "accuracy", sha[:7]):
        assert words in build.description
    (mail,) = trial.mails()
    assert "promote digits 1" in mail.get_body(("plain",)).get_content()


def test_jenkins_has_its_test_results_and_a_report_without_weights(learned):
    _, build = learned
    passed, failed = build.tests
    assert passed >= 5
    assert failed == 0
    names = build.artifacts.keys()
    assert {"index.html", "report.css", "card.json", "card.md", "run.json", "verdict.json", "gate.xml"} <= names
    assert not [name for name in names if name.endswith((".keras", ".tflite", ".npz"))]


def test_the_report_needs_nothing_that_jenkins_forbids(learned):
    _, build = learned
    page = build.artifact("index.html").text
    assert "digits" in page
    assert not re.findall(r"<script|<style|\sstyle=|\son\w+=|https?://[^\"\s]+\.(?:css|js|png|svg)", page)
    drawn = re.findall(r'(?:src|href)="([\w./-]+\.(?:css|png|svg))"', page)
    assert len(drawn) >= 3
    for each in drawn:
        assert build.artifact(each).content, each


def test_a_build_of_what_has_been_run_is_decided_in_one_stage(trial, learned):
    said, build = trial.triggered("code")
    assert build.result == "SUCCESS"
    assert "nothing new" in said
    assert build.skipped == set(names("code")[1:-1])
    assert len(trial.mails()) == 1


def test_a_push_to_the_pipelines_repository_retrains_nothing(trial, learned):
    before = trial.builds("code")
    trial.push_pipeline("Not about the model")
    told = {"url": f"{trial.git_url}/pipeline.git", "token": trial.environment["TRAINYARD_JENKINS_NOTIFY_TOKEN"]}
    assert requests.post(f"{trial.jenkins.url}/git/notifyCommit", data=told, timeout=60).status_code == 200
    time.sleep(15)  # what does not happen can only be waited for: polling takes a second or two
    assert trial.builds("code") == before
    assert trial.jenkins.json(trial.job("code"), "inQueue")["inQueue"] is False


def test_the_mailed_approval_promotes_by_the_promotion_job_and_the_api_outlives_it(trial, promoted):
    approval, build = promoted
    assert approval not in build.console
    assert "approve" in build.skipped
    wait_for(lambda: trial.release()["version"] == 1, "version 1 in the API", 60)


def test_a_push_to_the_dataset_retrains_from_the_released_model(trial, retrained):
    assert all_stages(retrained) == STAGES["dataset"]
    assert retrained.skipped == set()
    card = trial.cards()[-1]
    assert (card["version"], card["parent"], card["how"]) == (2, 1, "fine-tuned")
    assert "promote digits 2" in trial.mails()[-1].get_body(("plain",)).get_content()


def test_a_push_to_the_tests_tries_the_candidate_and_trains_nothing(trial, retrained):
    before = len(trial.cards())
    _, build = trial.pushed("tests", "one more test", {"test_more.py": ONE_MORE_TEST})
    build.ended()
    assert all_stages(build) == STAGES["tests"]
    assert build.skipped == set()
    assert len(trial.cards()) == before
    passed, failed = build.tests
    assert passed >= 2
    assert failed == 0


def test_who_may_approve_in_jenkins_promotes_without_a_token(trial, retrained):
    build = trial.jenkins.build(trial.job("promotion"), {"MODEL": "digits", "VERSION": "2"})
    build.until(lambda: "to production?" in build.console, "the question")
    trial.jenkins.post(f"{build.path}/input/Approve/proceedEmpty")
    build.ended()
    wait_for(lambda: trial.release()["version"] == 2, "version 2 in the API", 60)
    *_, approval = sorted(trial.home.glob("registry/production/digits/approvals/*.json"))
    assert trial.jenkins.user.casefold() in json.loads(approval.read_bytes())["by"].casefold()


def test_a_model_below_the_threshold_makes_the_build_unstable_and_is_not_registered(trial, watching):
    assert LEARNS_NOTHING.count("SGD(0.0)") == LEARNS_NOTHING.count("zeros") == 1
    before = len(trial.cards())
    _, build = trial.pushed("code", "learns nothing", {"model.py": LEARNS_NOTHING})
    build.ended("UNSTABLE")
    assert all_stages(build) == STAGES["code"]
    assert build.skipped == {"register", "accept"}
    assert "accuracy" in build.description
    _, failed = build.tests
    assert failed >= 1
    assert len(trial.cards()) == before
    assert "rejected" in trial.mails()[-1]["Subject"]


def test_an_aborted_build_leaves_no_worker_and_is_mailed(trial, watching):
    before = len(trial.mails())
    _, build = trial.pushed("code", "slow", {"model.py": SLOW.format(seconds=60)})
    build.until(lambda: "epoch 1/" in build.console, "the first epoch")
    assert trial.training()
    build.stop()
    build.ended("ABORTED")
    assert len(trial.mails()) > before
    assert "failed in train" in trial.mails()[-1]["Subject"]
    wait_for(lambda: not trial.training(), "the worker to end", 60)


def test_a_build_killed_halfway_and_started_again_goes_on_with_the_same_run(trial, watching):
    before = len(trial.mails())
    _, build = trial.pushed("code", "a little slow", {"model.py": SLOW.format(seconds=5)})
    build.until(lambda: "epoch 1/" in build.console, "the first epoch")
    controllers = trial.processes("-m pipelines ", " step train ")
    assert controllers, f"the step's process is not to be seen: {build}"
    for process in controllers:
        os.kill(process, signal.SIGKILL)
    build.ended("FAILURE")
    assert len(trial.mails()) > before
    assert "failed in train" in trial.mails()[-1]["Subject"]
    wait_for(lambda: not trial.training(), "the worker to end", 60)
    said, again = trial.triggered("code")
    assert again.result == "SUCCESS"
    assert again.run in build.console
    assert "fetch: done before" in said
    assert "epoch 8/" in said
    assert "epoch 1/" not in said


def test_the_last_builds_are_shown_in_a_table(trial, watching):
    shown = trial.trainyard("jenkins", "status").stdout
    assert all(name in shown for name in (*WATCHED, "promotion"))
    assert "SUCCESS" in shown
