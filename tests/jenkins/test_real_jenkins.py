"""The whole of it on a real Jenkins: one story, in this order; each test goes on from what the one before has made."""

from __future__ import annotations

import os
import signal
import time

import pytest
import requests
from real_jenkins import BUILD_SECONDS, FIRST_SECONDS, wait_for
from team import MODEL, digits

from pipelines.flow import FLOWS

pytestmark = [pytest.mark.tensorflow, pytest.mark.timeout(FIRST_SECONDS + 120)]
LEARNS_NOTHING = MODEL.replace("keras.optimizers.Adam(0.01)", "keras.optimizers.SGD(0.0)").replace(
    'layers.Dense(len(spec.classes), activation="softmax")',
    'layers.Dense(len(spec.classes), activation="softmax", kernel_initializer="zeros")',
)
SLOW = (
    MODEL
    + """

def fit(model, train, validation, *, epochs, callbacks):
    import time
    slow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: time.sleep({seconds}))
    return model.fit(train, validation_data=validation, epochs=epochs, callbacks=[*callbacks, slow], verbose=0)
"""
)
STEPS = {trigger: ["prepare", *flow] for trigger, flow in FLOWS.items()}


def training(stage):
    """Processes that train, as far as we may see them."""
    found = []
    for process in stage.working():
        try:
            with open(f"/proc/{process}/cmdline", "rb") as words:
                if b"training" in words.read():
                    found.append(process)
        except OSError:
            continue
    return found


def answer(stage):
    return requests.get(f"{stage.url}/version", timeout=10).json()


def test_the_jobs_are_made_once_and_a_dry_run_makes_none(stage):
    assert "code" in stage.trainyard("jenkins", "apply", "--dry-run").stdout
    assert stage.jenkins.json(f"job/{stage.name}") is None
    stage.trainyard("jenkins", "apply")
    jobs = {each["name"] for each in stage.jenkins.json(f"job/{stage.name}", "jobs[name]")["jobs"]}
    assert jobs == {"code", "dataset", "tests", "promotion"}


def test_the_first_builds_prepare_the_agent_and_begin_to_watch(stage):
    builds = [stage.next_build(name, FIRST_SECONDS) for name in ("code", "dataset", "tests")]
    for build in builds:
        assert build.ended(FIRST_SECONDS) == "SUCCESS", build.console[-3000:]
    assert stage.cards() == []
    changed = stage.trainyard("jenkins", "apply", "--json").stdout
    assert '"create' not in changed, changed
    for name in ("code", "dataset", "tests"):
        stage.trainyard("hooks", "install", "--jenkins", f"{name}={stage.folder}/repositories/{name}.git")


def test_a_push_to_code_is_trained_judged_registered_tried_and_mailed(stage):
    sha, said = stage.push("code", "a second thought")
    build = stage.next_build("code")
    assert build.ended() == "SUCCESS", f"{said}\n{build.console[-3000:]}"
    assert build.stages[: len(STEPS["code"])] == STEPS["code"]
    (card,) = stage.cards()
    assert card["sources"]["code"] == sha
    about = build.about
    assert "digits 1" in about["displayName"]
    for words in ("version 1", "accuracy", sha[:7]):
        assert words in about["description"]
    passed, failed = build.tests
    assert passed >= 5
    assert failed == 0
    names = {name.rpartition("/")[2] for name in build.artifacts}
    assert {"index.html", "report.css", "card.json", "card.md", "run.json", "gate.xml"} <= names
    assert not any(name.endswith((".keras", ".tflite")) for name in names)
    page = build.artifact(next(name for name in build.artifacts if name.endswith("index.html")))
    assert "default-src 'none'" in page.headers.get("Content-Security-Policy", "default-src 'none'")
    assert "<script" not in page.text
    (mail,) = stage.mails()
    assert "promote digits 1" in mail.get_body(("plain",)).get_content()


def test_a_build_of_what_has_been_run_is_decided_in_one_stage(stage):
    done = stage.trainyard("jenkins", "trigger", "code", "--wait")
    build = stage.next_build("code")
    assert "nothing new" in done.stderr
    assert build.result == "SUCCESS"
    assert set(FLOWS["code"][1:-1]) <= build.skipped
    assert len(stage.mails()) == 1


def test_a_push_to_the_pipelines_repository_retrains_nothing(stage):
    before = stage.numbers("code")
    work = stage.folder / "pipeline"
    stage.git("commit", "--quiet", "--allow-empty", "-m", "Not about the model", cwd=work)
    stage.git("push", "--quiet", "../repositories/pipeline.git", "HEAD:main", cwd=work)
    url = stage.config.read_text(encoding="utf-8").split('repository = "')[1].split('"')[0]
    token = stage.environment["TRAINYARD_JENKINS_NOTIFY_TOKEN"]
    requests.get(f"{stage.jenkins.url}/git/notifyCommit", params={"url": url, "token": token}, timeout=60)
    time.sleep(30)  # what does not happen can only be waited for: polling takes a second or two
    assert stage.numbers("code") == before


def test_the_mailed_approval_promotes_by_the_promotion_job_and_the_api_outlives_it(stage):
    stage.trainyard(*stage.promotion_command()[0:1], "digits", "1", "--approval", token(stage), code=0)
    build = stage.next_build("promotion")
    assert build.ended() == "SUCCESS", build.console[-3000:]
    assert token(stage) not in build.console
    assert answer(stage)["version"] == 1


def token(stage):
    command = stage.promotion_command()
    return command[command.index("--approval") + 1]


def test_a_model_below_the_threshold_makes_the_build_unstable_and_is_not_registered(stage):
    stage.write("code", {"model.py": LEARNS_NOTHING})
    stage.push("code", "learns nothing")
    build = stage.next_build("code")
    assert build.ended() == "UNSTABLE", build.console[-3000:]
    assert {"register", "accept"} <= build.skipped
    assert build.stages[-1] in {"notify", "Declarative: Post Actions"}
    assert "accuracy" in build.about["description"]
    assert build.tests[1] >= 1
    assert len(stage.cards()) == 1
    assert "rejected" in stage.mails()[-1]["Subject"]


def test_a_push_to_the_dataset_retrains_from_the_released_model(stage):
    stage.write("code", {"model.py": MODEL})
    stage.push("code", "back to what works")
    stage.next_build("code").ended()
    stage.write("dataset", digits(800, 1200, inverted=True))  # what the old model does not know
    stage.push("dataset", "new pictures")
    build = stage.next_build("dataset")
    assert build.ended() == "SUCCESS", build.console[-3000:]
    assert build.stages[: len(STEPS["dataset"])] == STEPS["dataset"]
    assert stage.cards()[-1]["parent"] == 1


def test_a_push_to_the_tests_tries_the_candidate_and_trains_nothing(stage):
    before = len(stage.cards())
    stage.write(
        "tests", {"test_more.py": "def test_it_answers(predict, holdout):\n    assert predict(holdout.samples)\n"}
    )
    stage.push("tests", "one more test")
    build = stage.next_build("tests")
    assert build.ended() == "SUCCESS", build.console[-3000:]
    assert build.stages[: len(STEPS["tests"])] == STEPS["tests"]
    assert len(stage.cards()) == before
    assert build.tests[1] == 0


def test_who_may_approve_in_jenkins_promotes_without_a_token(stage):
    version = stage.cards()[-1]["version"]
    stage.jenkins.post(f"{stage.job('promotion')}/buildWithParameters", {"MODEL": "digits", "VERSION": str(version)})
    build = stage.next_build("promotion")
    wait_for(lambda: "Approve" in build.console or build.result, "the question")
    stage.jenkins.post(f"{build.path}/input/Approve/proceedEmpty")
    assert build.ended() == "SUCCESS", build.console[-3000:]
    assert answer(stage)["version"] == version
    approvals = sorted(stage.home.glob("registry/production/digits/approvals/*.json"))
    assert stage.jenkins.user in approvals[-1].read_text(encoding="utf-8")


def test_an_aborted_build_leaves_no_worker_and_is_mailed(stage):
    stage.write("code", {"model.py": SLOW.format(seconds=60)})
    stage.push("code", "slow")
    build = stage.next_build("code")
    wait_for(lambda: training(stage) and "train" in build.stages, "training")
    before = len(stage.mails())
    build.stop()
    assert build.ended() == "ABORTED", build.console[-3000:]
    wait_for(lambda: not training(stage), "the worker to end", 60)
    wait_for(lambda: len(stage.mails()) > before, "the mail", 60)
    assert "failed in train" in stage.mails()[-1]["Subject"]


def test_a_build_killed_halfway_and_started_again_goes_on_with_the_same_run(stage):
    stage.write("code", {"model.py": SLOW.format(seconds=3)})
    stage.push("code", "a little slow")
    build = stage.next_build("code")
    wait_for(lambda: training(stage), "training")
    for process in training(stage):
        try:
            os.kill(process, signal.SIGKILL)
        except PermissionError:
            pytest.skip("the agent is another user, whose processes we may not kill")
    assert build.ended() == "FAILURE", build.console[-3000:]
    first = build.console
    run = first.split("everything about run ")[-1]
    stage.trainyard("jenkins", "trigger", "code", "--wait", "--timeout", str(BUILD_SECONDS / 60))
    again = stage.next_build("code")
    assert again.result == "SUCCESS", again.console[-3000:]
    assert "done before" in again.console, run
    assert len([path for path in stage.runs("code") if not (path / "steps/notify.json").exists()]) <= 1


def test_the_last_builds_are_shown_in_a_table(stage):
    shown = stage.trainyard("jenkins", "status").stdout
    assert all(name in shown for name in ("code", "dataset", "tests", "promotion"))
    assert "SUCCESS" in shown
    stage.trainyard("serve", "digits", "--stop", "--set", "serving.go_live=process")
