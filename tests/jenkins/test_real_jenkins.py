"""All of it on a real Jenkins: one story, in this order; each test continues from what the ones before have made."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from digits_model import MODEL, digits
from jenkins_scenario import WATCHED
from real_jenkins import BUILD_SECONDS, FIRST_SECONDS, Build, wait_for

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
PINS = Path(__file__).resolve().parents[2] / "jenkins" / "plugins.txt"
STAGES = {trigger: ["prepare", *names(trigger)] for trigger in FLOWS}


def pinned():
    """{plugin: version} of plugins.txt."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    return dict(line.split(":") for line in lines if line and not line.startswith("#"))


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
    shown = watching.ask("promote", "digits", "1", "--approval", approval)
    build = Build(watching.jenkins, watching.job("promotion"), shown["build"].rstrip("/").rpartition("/")[2])
    return approval, build.ended()


@pytest.fixture(scope="module")
def retrained(watching, promoted):
    """The build of data that the released model does not know."""
    _, build = watching.pushed("dataset", "new images", digits(800, 1797, inverted=True))
    return build.ended()


def all_stages(build):
    return [each for each in build.stages if not each.startswith("Declarative: ")]


@pytest.fixture
def asked(watching, retrained):
    """Start a promotion of version 2 that asks; the build, once it waits for the answer."""

    def start():
        build = watching.jenkins.build(watching.job("promotion"), {"MODEL": "digits", "VERSION": "2"})
        build.until(lambda: "to production?" in build.console, "the question")
        return build

    return start


def test_every_plugin_that_is_pinned_and_installed_is_loaded(jenkins):
    """With the versions of plugins.txt, all are; a conflict shows as a plugin that is installed and not active."""
    found = jenkins.plugins()
    assert [name for name in pinned() if name in found and not found[name][1]] == []


def test_a_dry_run_creates_nothing(scenario):
    said = scenario.trainyard("jenkins", "apply", "--dry-run").stdout
    assert all(f"{scenario.name}/{name}" in said for name in (*WATCHED, "promotion"))
    assert scenario.jenkins.json(f"job/{scenario.name}", "name") is None


def test_the_jobs_are_created(scenario, jobs):
    found = scenario.jenkins.json(f"job/{scenario.name}", "jobs[name]")["jobs"]
    assert {each["name"] for each in found} == {*WATCHED, "promotion"}


def test_their_first_builds_prepare_the_agent_and_run_nothing(scenario, watching):
    for name in WATCHED:
        (number,) = scenario.builds(name)
        build = Build(scenario.jenkins, scenario.job(name), number)
        assert all_stages(build) == STAGES[name]
        assert build.skipped == set(names(name))
    assert scenario.cards() == []
    assert scenario.mails() == []


def test_apply_again_changes_nothing(scenario, watching):
    applied = scenario.ask("jenkins", "apply")
    changed = [each for each in applied["items"] if each["action"] != "unchanged" or each["build"]]
    assert changed == []


def test_a_push_to_code_is_trained_gated_registered_accepted_and_mailed(scenario, learned):
    sha, build = learned
    assert all_stages(build) == STAGES["code"]
    assert build.skipped == set()
    assert scenario.cards(), f"the agent has written nothing to {scenario.home}: has it a /tmp of its own? (TMPDIR)"
    (card,) = scenario.cards()
    assert card["sources"]["code"] == sha
    assert "digits 1 " in build.name
    for words in ("version 1", "accuracy", sha[:7]):
        assert words in build.description
    (mail,) = scenario.mails()
    letter = mail.get_body(("plain",)).get_content()
    assert "promote digits 1" in letter
    assert "Started by a push to the model's code." in " ".join(letter.split())


def test_jenkins_has_its_test_results_and_a_report_without_weights(learned):
    _, build = learned
    passed, failed = build.tests
    assert passed >= 5
    assert failed == 0
    assert {each.partition(".")[0] for each in build.test_classes} == {"trainyard"}
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


def test_a_build_of_what_has_been_run_is_decided_in_one_stage(scenario, learned):
    said, build = scenario.triggered("code")
    assert build.result == "SUCCESS"
    assert "nothing new" in said
    assert "[Pipeline]" in said
    assert not re.search(r"\x1b|ha:////", said), "Jenkins' notes are not for people"
    assert build.skipped == set(names("code")[1:-1])
    assert len(scenario.mails()) == 1


def test_a_push_to_the_pipelines_repository_retrains_nothing(scenario, learned):
    before = scenario.builds("code")
    scenario.push_pipeline("Not about the model")
    data = {"url": f"{scenario.git_url}/pipeline.git", "token": scenario.environment["TRAINYARD_JENKINS_NOTIFY_TOKEN"]}
    assert requests.post(f"{scenario.jenkins.url}/git/notifyCommit", data=data, timeout=60).status_code == 200
    time.sleep(15)  # what does not happen can only be waited for: polling takes a second or two
    assert scenario.builds("code") == before
    assert scenario.jenkins.json(scenario.job("code"), "inQueue")["inQueue"] is False


def test_the_mailed_approval_promotes_by_the_promotion_job_and_the_api_outlives_it(scenario, promoted):
    approval, build = promoted
    assert approval not in build.console
    assert "approve" in build.skipped
    wait_for(lambda: scenario.release()["version"] == 1, "version 1 in the API", 60)


def test_a_push_to_the_dataset_retrains_from_the_released_model(scenario, retrained):
    assert all_stages(retrained) == STAGES["dataset"]
    assert retrained.skipped == set()
    card = scenario.cards()[-1]
    assert (card["version"], card["parent"], card["how"]) == (2, 1, "fine-tuned")
    assert "promote digits 2" in scenario.mails()[-1].get_body(("plain",)).get_content()


def test_a_push_to_the_tests_runs_them_on_the_candidate_and_trains_nothing(scenario, retrained):
    before = len(scenario.cards())
    _, build = scenario.pushed("tests", "one more test", {"test_more.py": ONE_MORE_TEST})
    build.ended()
    assert all_stages(build) == STAGES["tests"]
    assert build.skipped == set()
    assert len(scenario.cards()) == before
    passed, failed = build.tests
    assert passed >= 2
    assert failed == 0


def test_a_promotion_that_waits_shows_what_there_is_to_decide_about(scenario, asked):
    build = asked()
    assert "promotion digits 2" in build.name
    assert "waits for an approval" in build.description
    assert "version 1 is live" in build.description
    pages = re.findall(r": (https?://\S+)", build.description)
    assert len(pages) == 2, build.description
    for page in pages:
        path = page.partition("/job/")
        assert scenario.jenkins.get(f"job/{path[2]}") is not None, page
        assert page in build.console
    build.stop()
    build.ended("ABORTED")
    assert "Aborted by" in build.description


def test_a_no_to_the_question_is_a_rejection_with_a_name(scenario, asked):
    with ThreadPoolExecutor(1) as pool:
        before = scenario.builds("promotion")
        command = pool.submit(scenario.trainyard, "promote", "digits", "2", "--json", code=3)
        number = wait_for(lambda: max(scenario.builds("promotion").keys() - before.keys(), default=0), "the build")
        build = Build(scenario.jenkins, scenario.job("promotion"), number)
        build.until(lambda: "to production?" in build.console, "the question")
        scenario.jenkins.post(f"{build.path}/input/Approve/abort")
        build.ended("UNSTABLE")
        said = json.loads(command.result().stdout)
    assert said["exit_code"] == 3
    assert "Rejected by" in said["description"]
    assert "Rejected by" in build.description
    assert scenario.release()["version"] == 1


def test_a_refused_token_leaves_its_reason_in_the_description(scenario, retrained):
    build = scenario.jenkins.build(
        scenario.job("promotion"), {"MODEL": "digits", "VERSION": "2", "APPROVAL": "not.a.token"}
    )
    wait_for(lambda: build.result in {"UNSTABLE", "FAILURE"}, f"the end of {build}")
    assert re.match(r"promotion digits 2: .*(token|approval)", build.description), build.description


def test_nobody_is_asked_about_a_version_that_does_not_exist(scenario, retrained):
    build = scenario.jenkins.build(scenario.job("promotion"), {"MODEL": "digits", "VERSION": "99"})
    build.ended("FAILURE")
    assert "to production?" not in build.console


def test_who_may_approve_in_jenkins_promotes_without_a_token(scenario, asked):
    build = asked()
    scenario.jenkins.post(f"{build.path}/input/Approve/proceedEmpty")
    build.ended()
    wait_for(lambda: scenario.release()["version"] == 2, "version 2 in the API", 60)
    *_, approval = sorted(scenario.home.glob("registry/production/digits/approvals/*.json"))
    assert scenario.jenkins.user.casefold() in json.loads(approval.read_bytes())["by"].casefold()


def test_a_model_below_the_threshold_makes_the_build_unstable_and_is_not_registered(scenario, watching):
    assert LEARNS_NOTHING.count("SGD(0.0)") == LEARNS_NOTHING.count("zeros") == 1
    before = len(scenario.cards())
    _, build = scenario.pushed("code", "learns nothing", {"model.py": LEARNS_NOTHING})
    build.ended("UNSTABLE")
    assert all_stages(build) == STAGES["code"]
    assert build.skipped == {"register", "accept"}
    assert "accuracy" in build.description
    _, failed = build.tests
    assert failed >= 1
    assert len(scenario.cards()) == before
    assert "rejected" in scenario.mails()[-1]["Subject"]


def test_an_aborted_build_leaves_no_worker_and_is_mailed(scenario, watching):
    before = len(scenario.mails())
    _, build = scenario.pushed("code", "slow", {"model.py": SLOW.format(seconds=60)})
    build.until(lambda: "epoch 1/" in build.console, "the first epoch")
    assert scenario.training()
    build.stop()
    build.ended("ABORTED")
    assert len(scenario.mails()) > before
    assert "failed in train" in scenario.mails()[-1]["Subject"]
    letter = scenario.mails()[-1].get_body(("plain",)).get_content()
    assert "Aborted by" in letter
    assert "@trainyard" not in letter + build.description
    assert "trainyard: exit" not in build.description
    wait_for(lambda: not scenario.training(), "the worker to end", 60)


def test_an_abort_while_the_agent_is_lost_ends_in_words_and_is_mailed_or_says_that_it_is_not(scenario, watching):
    before = len(scenario.mails())
    _, build = scenario.pushed("code", "slow, and lost", {"model.py": SLOW.format(seconds=30)})
    build.until(lambda: "epoch 1/" in build.console, "the first epoch")
    if not build.node:
        build.stop()
        pytest.skip("the build runs on the controller, which cannot be disconnected")
    node = f"computer/{build.node}"
    scenario.jenkins.post(f"{node}/doDisconnect", {"offlineMessage": "a test of Trainyard"})
    try:
        wait_for(lambda: scenario.jenkins.json(node, "offline")["offline"], "the agent to be offline", 60)
        build.stop()
        time.sleep(20)
    finally:
        with contextlib.suppress(AssertionError):  # an inbound agent comes back by itself
            scenario.jenkins.post(f"{node}/launchSlaveAgent")
        wait_for(lambda: not scenario.jenkins.json(node, "offline")["offline"], "the agent to be back", 300)
    build.ended("ABORTED")
    assert not re.search(r"^\s+at [\w.$/]+\(", build.console, re.MULTILINE), f"a stack trace: {build}"
    assert len(scenario.mails()) > before or "no mail was sent" in build.description


def test_a_build_killed_halfway_and_started_again_resumes_the_same_run(scenario, watching):
    before = len(scenario.mails())
    _, build = scenario.pushed("code", "a little slow", {"model.py": SLOW.format(seconds=5)})
    build.until(lambda: "epoch 1/" in build.console, "the first epoch")
    controllers = scenario.processes("-m pipelines ", " step train ")
    assert controllers, f"no process of the step is running: {build}"
    for process in controllers:
        os.kill(process, signal.SIGKILL)
    build.ended("FAILURE")
    assert len(scenario.mails()) > before
    assert "failed in train" in scenario.mails()[-1]["Subject"]
    wait_for(lambda: not scenario.training(), "the worker to end", 60)
    said, again = scenario.triggered("code")
    assert again.result == "SUCCESS"
    assert again.run in build.console
    assert "fetch: done before" in said
    assert "epoch 8/" in said
    assert "epoch 1/" not in said


def test_the_last_builds_are_shown_in_a_table(scenario, watching):
    shown = scenario.trainyard("jenkins", "status").stdout
    assert all(name in shown for name in (*WATCHED, "promotion"))
    assert "SUCCESS" in shown
