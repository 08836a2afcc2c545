"""The Jenkinsfiles are executed by a real Groovy, with Jenkins' steps simulated: what becomes of each exit code, of an abort, of
a restart; and every command that they give to a shell is one that our command line accepts."""

from __future__ import annotations

import argparse
import os
import subprocess
from importlib import import_module

import pytest
from groovy_runs import FILES, simulate

from pipelines.flows import FLOWS, names

HEAD = "trainyard-head:1:digits:2:2:0123:4567:89ab=="
KNOWN = {
    "script": "--dry-run",
    "files": {
        "build/name.txt": "promotion digits 3\n",
        "build/description.txt": "promotion digits 3: waits for an approval\naccuracy 0.98\nreport: http://jenkins/job/code/4/x\n"
        f"{HEAD}\n",
    },
}
RELEASED = {"script": "--approved-by", "files": {"build/description.txt": "promotion digits 3: live as release 2\n"}}
EXPIRED = {"code": 3, "files": {"build/description.txt": "promotion digits 3: rejected: the approval has expired\n"}}
URL = {"WATCHED_URL": "http://git.example/watched.git"}
RUN = {
    "build/run.txt": "0123\n",
    "build/name.txt": "digits 3 0.97\n",
    "build/description.txt": "digits version 3\ngate: fine\n",
}
RESOLVED = {"step": "resolve", "files": RUN}
REJECTED = {
    "step": "gate",
    "code": 3,
    "files": {"build/decided": "", "build/description.txt": "gate: accuracy 0.5 is under 0.9\n"},
}
TIMER = [{"_class": "hudson.triggers.TimerTrigger$TimerTriggerCause"}]
ALICE = [{"_class": "hudson.model.Cause$UserIdCause", "userId": "alice"}]
CREDENTIALS = {"GIT_CREDENTIALS": "git-id", "SMTP_CREDENTIALS": "smtp-id"}
ODD = {"COMMIT": "", "REASON": 'it\'s -- "new"; $(touch oops) ü', "FORCE": True}
PUSH = [{"_class": "hudson.triggers.SCMTrigger$SCMTriggerCause", "shortDescription": "Started by an SCM change"}]
GITHUB = [{"_class": "com.cloudbees.jenkins.GitHubPushCause", "shortDescription": "Started by GitHub push by bob"}]
ABORT = {"step": "train", "interrupt": "Aborted by alice"}
PROMOTION = {"file": "jenkins/promotion.Jenkinsfile"}
VERSION = {"MODEL": "digits", "VERSION": "3"}
ODD_BATCH = {"VERSION": "3", "INPUT": 's3://lake/it\'s "new"; $(touch oops)', "SHARD": "1/4", "RESUME": "12"}
WHY = {"ALTHOUGH": 'it\'s "urgent"; $(touch oops)'}

MONITOR = {"file": "jenkins/monitor.Jenkinsfile"}
FOUND = {"build/description.txt": "digits: 1 alarm open\ndrift inputs.mass\n", "build/name.txt": "digits, 1 alarm\n"}
OCCASION = "the alarm 3 of release 2, 2026-11-30T12:00:00Z"
ASKED = {"build/retrain/occasion.txt": f"{OCCASION}\n", "build/retrain/reason.txt": f"{WHY['ALTHOUGH']}\n"}
UPSTREAM = [
    {
        "_class": "hudson.model.Cause$UpstreamCause",
        "shortDescription": 'Started by upstream project "digits/monitor" build number 7',
    }
]


def scenario(*sh, **more):
    return {"params": URL, "sh": [*sh, RESOLVED], **more}


SCENARIOS = {
    "code": scenario(),
    "dataset": scenario(file="jenkins/dataset.Jenkinsfile"),
    "tests": scenario(file="jenkins/unit_tests.Jenkinsfile"),
    "timer": scenario(file="jenkins/dataset.Jenkinsfile", causes=TIMER, params={**URL, "CRON": "H 3 * * 0", "POLL": "H * * * *"}),
    "odd": scenario(params={**URL, **ODD}),
    "commit": scenario(params={**URL, "COMMIT": "abc123", "WATCHED_BRANCH": "feature/x", "AGENT": "gpu", **CREDENTIALS}),
    "folder": scenario(params={**URL, "WATCHED_FOLDER": "m/a.b"}),
    "nothing new": scenario({"step": "resolve", "files": {**RUN, "build/decided": ""}}),
    "earlier rejection": scenario({"step": "resolve", "code": 3, "files": {**RUN, "build/decided": ""}}),
    "rejected": scenario(REJECTED),
    "wrong data": scenario({"step": "validate", "code": 2}),
    "bug": scenario({"step": "train", "code": 1}),
    "lost agent": scenario({"step": "train", "code": -1}),
    "once out of reach": scenario({"step": "fetch", "code": 75, "times": 1}),
    "long out of reach": scenario({"step": "fetch", "code": 75}),
    "no mail": scenario({"step": "notify", "code": 75}),
    "no resolve": scenario({"step": "resolve", "code": 2}),
    "aborted": scenario(ABORT),
    "aborted, no mail": scenario(ABORT, {"script": "--stopped", "code": 75}),
    "lost": scenario({**ABORT, "loses": True}, params={**URL, "AGENT": "gpu", **CREDENTIALS}, stash=RUN, otherAgent=True),
    "lost for good": scenario({**ABORT, "loses": True}, stash=RUN),
    "lost, no mail": scenario({**ABORT, "loses": True}, {"script": "jenkins/prepare", "times": 1}, {"script": "jenkins/prepare", "code": 2}, stash=RUN, otherAgent=True),
    "lost early": scenario({"script": "jenkins/prepare", "interrupt": "Aborted by alice", "loses": True}),
    "by push": scenario(causes=PUSH),
    "by hand": scenario(causes=[*PUSH, *ALICE]),
    "by webhook": scenario(causes=GITHUB),
    "aborted early": scenario({"script": "jenkins/prepare", "interrupt": "Aborted by alice"}, files=RUN),
    "no agent": scenario({"script": "jenkins/prepare", "code": 2}, files=RUN),
    "no pip": scenario({"script": "jenkins/prepare", "code": 75, "times": 1}),
    "no pipeline": scenario(checkout="pipeline", files=RUN),
    "no repository": scenario(checkout="watched", files=RUN),
    "only prepare": scenario(params={**URL, "ONLY_PREPARE": True}),
    "restart": scenario(restart="evaluate", files={"build/decided": "", "build/name.txt": "another"}, stash=RUN),
    "restart resolve": scenario(restart="resolve", stash=RUN),
    "restart notify": scenario(restart="notify", stash=RUN),
    "restart without stash": scenario({"step": "evaluate", "code": 2}, restart="evaluate", files={"build/decided": ""}),
    "token": {**PROMOTION, "params": {**VERSION, "APPROVAL": "the-token"}, "causes": ALICE},
    "asked": {**PROMOTION, "params": {**VERSION, "SUBMITTERS": "alice,owners"}, "approver": "alice", "sh": [KNOWN, RELEASED]},
    "not answered": {**PROMOTION, "params": VERSION, "sh": [KNOWN]},
    "answered with no": {**PROMOTION, "params": VERSION, "sh": [KNOWN], "answer": "Rejected by Alice Smith"},
    "aborted while it asks": {**PROMOTION, "params": VERSION, "sh": [KNOWN], "answer": "Aborted by Rejected Alice"},
    "no such version": {**PROMOTION, "params": VERSION, "approver": "alice", "sh": [{"script": "--dry-run", "code": 2}]},
    "refused with reasons": {**PROMOTION, "params": {**VERSION, "APPROVAL": "x"}, "sh": [{**EXPIRED, "script": " promote "}]},
    "token of a machine": {**PROMOTION, "params": {**VERSION, "APPROVAL": "the-token"}},
    "although": {**PROMOTION, "params": {**VERSION, "APPROVAL": "x", **WHY}, "causes": ALICE},
    "asked, although": {**PROMOTION, "params": {**VERSION, **WHY}, "approver": "alice", "sh": [KNOWN, RELEASED]},
    "with credentials": {**PROMOTION, "params": {**VERSION, **CREDENTIALS, "APPROVAL": "x"}},
    "asked, with credentials": {**PROMOTION, "params": {**VERSION, **CREDENTIALS}, "approver": "alice", "sh": [KNOWN, RELEASED]},
    "rollback with credentials": {**PROMOTION, "params": {**VERSION, **CREDENTIALS, "ACTION": "rollback"}},
    "refused": {**PROMOTION, "params": {**VERSION, "APPROVAL": "x"}, "sh": [{"script": " promote ", "code": 3}]},
    "rollback": {**PROMOTION, "params": {**VERSION, "ACTION": "rollback", "REASON": "it is wrong"}, "causes": ALICE},
    "batch": {"file": "jenkins/batch.Jenkinsfile", "params": {"MODEL": "digits", "CRON": "H 4 * * *"}},
    "batch, all set": {"file": "jenkins/batch.Jenkinsfile", "params": {**ODD_BATCH, "MODEL": "digits"}},
    "batch, a lost store": {"file": "jenkins/batch.Jenkinsfile", "params": {"MODEL": "digits"}, "sh": [{"script": " batch ", "code": 75, "times": 1}]},
    "batch, many rejected": {"file": "jenkins/batch.Jenkinsfile", "params": {"MODEL": "digits"}, "sh": [{"script": " batch ", "code": 3}]},
    "batch, only prepare": {"file": "jenkins/batch.Jenkinsfile", "params": {"MODEL": "digits", "ONLY_PREPARE": True}},
    "monitor": {**MONITOR, "params": {"MODEL": "digits", "CRON": "TZ=UTC\n*/15 * * * *", **CREDENTIALS}},
    "monitor, an alarm": {**MONITOR, "params": {"MODEL": "digits"}, "sh": [{"script": " monitor ", "code": 3, "files": FOUND}]},
    "monitor, retraining": {**MONITOR, "params": {"MODEL": "digits"}, "sh": [{"script": " monitor ", "code": 3, "files": {**FOUND, **ASKED}}]},
    "monitor, no dataset job": {**MONITOR, "params": {"MODEL": "digits"}, "sh": [{"script": " monitor ", "code": 3, "files": ASKED}], "noJob": True},
    "monitor, another one": {**MONITOR, "params": {"MODEL": "digits"}, "sh": [{"script": " monitor ", "code": 75, "times": 1}]},
    "monitor, wrong": {**MONITOR, "params": {"MODEL": "digits"}, "sh": [{"script": " monitor ", "code": 2}]},
    "monitor, only prepare": {**MONITOR, "params": {"MODEL": "digits", "ONLY_PREPARE": True}},
    "by the monitor": scenario(file="jenkins/dataset.Jenkinsfile", causes=UPSTREAM, params={**URL, "FORCE": True, "REASON": WHY["ALTHOUGH"], "OCCASION": OCCASION}),
    "rollback by a machine": {**PROMOTION, "params": {"MODEL": "digits", "VERSION": "", "ACTION": "rollback"}},
}  # fmt: skip


@pytest.fixture(scope="module")
def builds():
    return simulate(SCENARIOS)


@pytest.mark.parametrize("trigger", FLOWS)
def test_a_good_build_runs_every_stage_with_one_shell_each(builds, trigger):
    build = builds[trigger]
    assert build.result == "SUCCESS"
    assert build.shells == [("prepare", "prepare"), *((step, step) for step in names(trigger))]
    assert build.started == ["prepare", *names(trigger)]
    resolve = build.of("sh")[1]["env"]
    assert resolve["TRIGGER"] == trigger
    assert resolve["COMMIT"].startswith("c0ffee"), "what Jenkins has seen is what is trained"
    assert (resolve["FORCE"], resolve["REASON"]) == ("", "")


def test_name_and_description_show_model_version_and_accuracy(builds):
    assert builds["code"].name == "#7 digits 3 0.97"
    assert builds["code"].description == "digits version 3\ngate: fine"


def test_the_reports_are_published_by_every_build_and_change_no_result(builds):
    for name in ("code", "rejected", "wrong data", "aborted"):
        (junit,), (kept,) = builds[name].of("junit"), builds[name].of("archiveArtifacts")
        assert junit["testResults"].startswith("build/report/junit/")
        assert junit["allowEmptyResults"]
        assert junit["skipMarkingBuildUnstable"]
        assert kept["artifacts"] == "build/report/**"
        assert kept["allowEmptyArchive"]


def test_only_a_push_to_the_watched_repository_starts_a_build(builds):
    pipeline, watched = builds["commit"].of("checkout")
    assert (pipeline["folder"], pipeline["scm"], pipeline["poll"]) == ("pipeline", "the-scm", False)
    assert (watched["folder"], watched["poll"]) == ("watched", True)
    (remote,) = watched["scm"]["userRemoteConfigs"]
    assert remote["url"] == URL["WATCHED_URL"]
    assert remote["credentialsId"] == "git-id"
    assert watched["scm"]["branches"] == [{"name": "refs/heads/feature/x"}], "no wildcard: polling needs no workspace"
    assert remote["refspec"] == "+refs/heads/feature/x:refs/remotes/origin/feature/x"
    order = [each["step"] for each in builds["commit"].events]
    assert order.index("sh") > max(index for index, step in enumerate(order) if step == "checkout")


def test_a_build_runs_where_its_parameters_say_for_the_commit_that_they_name(builds):
    assert builds["commit"].of("node")[0]["label"] == "gpu"
    assert builds["commit"].of("sh")[1]["env"]["COMMIT"] == "abc123"


def test_a_folder_is_polled_by_the_files_in_it(builds):
    watched = builds["folder"].of("checkout")[-1]["scm"]["extensions"]
    assert watched[1:] == [{"$class": "PathRestriction", "includedRegions": r"\Qm/a.b\E/.*", "excludedRegions": ""}]
    assert not watched[0]["shallow"]
    assert len(builds["commit"].of("checkout")[-1]["scm"]["extensions"]) == 1


def test_secrets_are_bound_for_the_steps_that_need_them_only(builds):
    bound = {each["env"].get("STEP", "prepare"): each["bound"] for each in builds["commit"].of("sh")}
    assert {step for step, names in bound.items() if "gitUsernamePassword" in names} == {"resolve", "fetch"}
    assert {step for step, names in bound.items() if "TRAINYARD_SMTP_PASSWORD" in names} == {"notify"}


@pytest.mark.parametrize("name", ["with credentials", "asked, with credentials"])
def test_a_promotion_may_read_the_repositories_and_send_mail(builds, name):
    *before, promote = builds[name].of("sh")
    assert {"gitUsernamePassword", "TRAINYARD_SMTP_PASSWORD"} <= {*promote["bound"]}
    assert not [each for each in before if each["bound"]], "the question alone needs neither"


def test_a_rollback_sends_mail_and_reads_no_repository(builds):
    rollback = builds["rollback with credentials"].of("sh")[-1]
    assert "TRAINYARD_SMTP_PASSWORD" in rollback["bound"]
    assert "gitUsernamePassword" not in rollback["bound"]


def test_the_timer_forces_a_retraining_and_the_schedule_stays(builds):
    resolve = builds["timer"].of("sh")[1]["env"]
    assert (resolve["FORCE"], resolve["REASON"]) == ("yes", "scheduled")
    assert builds["timer"].of("triggers")[0]["triggers"] == {"pollSCM": "H * * * *", "cron": "H 3 * * 0"}
    (declared,) = builds["timer"].of("parameters")
    assert declared["parameters"]["CRON"]["defaultValue"] == "H 3 * * 0", "the next build has no other way to know"
    assert builds["dataset"].of("triggers")[0]["triggers"] == {"pollSCM": "", "cron": ""}


def test_nothing_new_is_decided_by_resolve(builds):
    assert builds["nothing new"].result == "SUCCESS"
    assert builds["nothing new"].started == ["prepare", "resolve", "notify"]
    assert builds["earlier rejection"].result == "UNSTABLE"
    assert builds["earlier rejection"].started == ["prepare", "resolve", "notify"]


def test_a_rejection_is_unstable_and_only_notify_runs_after_it(builds):
    build = builds["rejected"]
    assert build.result == "UNSTABLE"
    assert build.started == ["prepare", "resolve", "fetch", "validate", "train", "evaluate", "gate", "notify"]
    assert build.description == "gate: accuracy 0.5 is under 0.9"
    assert "rejected" in build.of("unstable")[0]["message"]


@pytest.mark.parametrize(
    ("name", "stage", "code"), [("wrong data", "validate", 2), ("bug", "train", 1), ("lost agent", "train", -1)]
)
def test_any_other_code_is_a_failure_and_still_mailed(builds, name, stage, code):
    build = builds[name]
    assert build.result == "FAILURE"
    assert build.started[-2:] == [stage, "notify"]
    (caught,) = build.of("caught")
    assert (caught["stage"], caught["stageResult"]) == (stage, "FAILURE")
    assert f"exit code {code}" in caught["message"]
    assert [each["text"] for each in build.of("echo")] == [f"trainyard: exit {code}"]


def test_what_is_out_of_reach_is_retried_with_longer_waits(builds):
    assert builds["once out of reach"].result == "SUCCESS"
    assert [each["time"] for each in builds["once out of reach"].of("sleep")] == [15]
    build = builds["long out of reach"]
    assert build.result == "FAILURE"
    assert [(each["time"], each["unit"]) for each in build.of("sleep")] == [
        (15, "SECONDS"),
        (60, "SECONDS"),
        (240, "SECONDS"),
    ]
    assert [step for stage, step in build.shells if stage == "fetch"] == ["fetch"] * 4
    assert build.started[-2:] == ["fetch", "notify"]
    assert builds["no mail"].result == "FAILURE"


def test_without_a_run_there_is_nothing_to_mail(builds):
    assert builds["no resolve"].result == "FAILURE"
    assert builds["no resolve"].started == ["prepare", "resolve"]


def test_an_aborted_build_mails_once_who_did_it(builds):
    build = builds["aborted"]
    assert build.result == "ABORTED"
    assert build.started[-1] == "train"
    assert build.shells[-1] == ("post", "notify")
    assert build.of("sh")[-1]["env"]["STOPPED"] == "Aborted by alice, http://jenkins/job/code/7/"
    silent = builds["aborted, no mail"]
    assert silent.result == "ABORTED"
    assert [step for stage, step in silent.shells if stage == "post"] == ["notify"], (
        "no waiting in a build that is to end"
    )
    assert silent.of("archiveArtifacts")
    assert builds["aborted early"].result == "ABORTED"
    assert ("post", "notify") not in builds["aborted early"].shells


def test_an_abort_whose_agent_is_lost_is_mailed_from_another_agent(builds):
    build = builds["lost"]
    assert build.result == "ABORTED"
    assert build.of("node")[-1]["label"] == "gpu"
    assert build.shells[-2:] == [("post", "prepare"), ("post", "notify")]
    mail = build.of("sh")[-1]
    assert mail["env"]["STOPPED"] == "Aborted by alice, http://jenkins/job/code/7/"
    assert mail["bound"] == ["TRAINYARD_SMTP_PASSWORD"]
    assert not build.of("junit")
    assert not build.of("archiveArtifacts")


@pytest.mark.parametrize("name", ["lost for good", "lost, no mail"])
def test_an_abort_that_nobody_can_mail_says_so(builds, name):
    build = builds[name]
    assert build.result == "ABORTED"
    assert ("post", "notify") not in build.shells
    assert build.description.startswith("Aborted by alice, while the agent was out of reach: no mail was sent")


def test_a_lost_agent_without_a_run_has_nothing_to_mail(builds):
    build = builds["lost early"]
    assert (build.result, build.description) == ("ABORTED", None)
    assert len(build.of("node")) == 1


@pytest.mark.parametrize(
    ("name", "who"),
    [
        ("code", ""),
        ("by push", ""),
        ("by hand", "alice, in Jenkins"),
        ("timer", "the schedule"),
        ("by webhook", "GitHub push by bob"),
    ],
)
def test_mail_and_report_get_to_know_what_started_the_build(builds, commands, name, who):
    assert builds[name].of("sh")[1]["env"]["STARTED_BY"] == who
    assert commands[name][0][1].started_by == who


@pytest.mark.parametrize("name", ["no agent", "no pipeline", "no repository"])
def test_a_build_that_cannot_start_shows_nothing_of_the_one_before(builds, name):
    build = builds[name]
    assert build.result == "FAILURE"
    assert build.started == ["prepare"]
    assert (build.name, build.description) == ("#7", None)


def test_an_agent_without_network_is_prepared_once_it_is_back(builds):
    assert builds["no pip"].result == "SUCCESS"
    assert builds["no pip"].shells[:3] == [("prepare", "prepare"), ("prepare", "prepare"), ("resolve", "resolve")]


def test_a_first_build_may_only_prepare(builds):
    build = builds["only prepare"]
    assert (build.result, build.started) == ("SUCCESS", ["prepare"])
    assert [each["folder"] for each in build.of("checkout")] == ["pipeline", "watched"]
    assert build.of("triggers")


def test_a_restart_from_a_stage_prepares_anew_and_resumes_the_same_run(builds):
    (kept,) = builds["code"].of("stash")
    assert (kept["name"], kept["includes"]) == ("run", "build/run.txt")
    build = builds["restart"]
    assert build.result == "SUCCESS"
    assert build.shells[:2] == [("evaluate", "prepare"), ("evaluate", "evaluate")]
    assert len(build.of("unstash")) == 1
    assert build.started == list(names("code")[4:])
    assert builds["restart notify"].shells == [("notify", "prepare"), ("notify", "notify")]
    assert builds["restart resolve"].shells[:2] == [("resolve", "prepare"), ("resolve", "resolve")]


def test_a_restart_whose_run_is_not_known_any_more_says_so(builds):
    build = builds["restart without stash"]
    assert build.result == "FAILURE"
    assert "No such saved stash" in build.of("caught")[0]["message"]
    assert build.started == ["evaluate"]


def test_a_token_promotes_without_a_question_and_without_a_trace(builds):
    build = builds["token"]
    assert (build.result, build.started) == ("SUCCESS", ["release"])
    assert (build.name, build.description) == ("#7 promotion digits 3", "promotion digits 3: done")
    assert not build.of("input")
    promote = build.of("sh")[-1]
    assert promote["script"].startswith("set +x; ")
    assert "the-token" not in promote["script"]
    assert not [name for name, value in promote["env"].items() if value == "the-token" and name != "APPROVAL"]


def test_without_a_token_a_submitter_is_asked_outside_of_any_agent(builds):
    build = builds["asked"]
    (asked,) = build.of("input")
    assert (asked["submitter"], asked["submitterParameter"]) == ("alice,owners", "APPROVER")
    assert build.started == ["describe", "approve", "release"]
    assert build.of("sh")[-1]["env"]["BY"] == "alice"
    assert "--approved-by" in build.of("sh")[-1]["script"]
    assert build.description == "promotion digits 3: live as release 2"


def test_what_there_is_to_decide_about_is_shown_before_the_question(builds):
    build = builds["not answered"]
    steps = [each["step"] for each in build.events]
    said = next(each["text"] for each in build.of("echo"))
    assert "accuracy 0.98\nreport: http://jenkins/job/code/4/x" in said
    assert steps.index("echo") < steps.index("input")
    assert build.name == "#7 promotion digits 3"
    assert (build.result, build.started) == ("ABORTED", ["describe", "approve"])
    assert build.description == f"promotion digits 3: Timeout has been exceeded\n{HEAD}"


def test_nobody_is_asked_about_a_version_that_does_not_exist(builds):
    build = builds["no such version"]
    assert (build.result, build.started) == ("FAILURE", ["describe"])
    assert not build.of("input")
    assert "trainyard: exit 2" in [each["text"] for each in build.of("echo")]


def test_a_no_is_a_rejection_and_says_by_whom(builds):
    build = builds["answered with no"]
    assert (build.result, build.started) == ("UNSTABLE", ["describe", "approve"])
    assert build.description.splitlines() == ["promotion digits 3: Rejected by Alice Smith", HEAD]
    assert build.of("unstable")[0]["message"] == "promotion digits 3: Rejected by Alice Smith"
    assert not [
        each for each in build.of("sh") if "--dry-run" not in each["script"] and "prepare" not in each["script"]
    ]


def test_an_abort_while_it_asks_is_not_an_answer(builds):
    build = builds["aborted while it asks"]
    assert (build.result, build.started) == ("ABORTED", ["describe", "approve"])
    assert build.description == f"promotion digits 3: Aborted by Rejected Alice\n{HEAD}"


def test_a_refused_approval_is_unstable_and_its_description_has_the_reason(builds):
    assert builds["refused"].result == "UNSTABLE"
    assert "exit code 3" in builds["refused"].description
    assert builds["refused with reasons"].result == "UNSTABLE"
    assert builds["refused with reasons"].description == "promotion digits 3: rejected: the approval has expired"


def test_a_rollback_waits_for_nobody(builds):
    assert builds["rollback"].started == ["release"]
    assert builds["rollback"].description == "rollback digits 3: done"
    assert builds["rollback by a machine"].description == "rollback digits: done"
    assert builds["rollback"].of("sh")[-1]["env"]["BY"] == "alice"
    assert builds["rollback by a machine"].of("sh")[-1]["env"]["BY"] == "jenkins"


# --- the commands, through a real shell, to the real parser


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("a workspace")
    program = folder / "pipeline" / "jenkins" / "trainyard"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\nprintf "%s\\0" "$@"; printf "%s" "$TRAINYARD_APPROVAL"\n', encoding="utf-8")
    program.chmod(0o755)
    return folder


def parsed(words):
    """What our command line parses from them; a wrong one ends the test with its usage."""
    parser = argparse.ArgumentParser()
    import_module(f"pipelines.commands.{words[0]}").add_arguments(parser)
    return parser.parse_args(words[1:])


@pytest.fixture(scope="module")
def commands(builds, workspace):
    """Of each build: what the command line was asked for, and the token that it got, as Jenkins starts a shell."""

    def called(event):
        environment = os.environ | {name: value for name, value in event["env"].items() if value is not None}
        done = subprocess.run(
            ["sh", "-xe", "-c", event["script"]],
            cwd=workspace,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "the-token" not in done.stderr, "a shell with -x prints its commands"
        *words, token = done.stdout.split("\0")
        return words, parsed(words), token

    return {
        name: [called(event) for event in build.of("sh") if "/trainyard " in event["script"]]
        for name, build in builds.items()
    }


def test_every_command_is_one_that_our_command_line_accepts(commands):
    assert {words[0] for calls in commands.values() for words, _, _ in calls} == {
        "step",
        "promote",
        "rollback",
        "batch",
        "monitor",
    }
    assert {args.name for _, args, _ in commands["code"]} == set(names("code"))
    assert all(str(args.build) == "build" for _, args, _ in commands["code"])


def test_what_people_type_reaches_the_command_line_as_it_is(commands, workspace):
    _, args, _ = commands["odd"][0]
    assert args.reason == ODD["REASON"]
    assert args.force
    assert args.commit.startswith("c0ffee")
    assert not (workspace / "oops").exists()
    assert commands["aborted"][-1][1].stopped == "Aborted by alice, http://jenkins/job/code/7/"


def test_promotion_is_asked_for_in_its_three_ways(commands):
    _, promote, token = commands["token"][-1]
    assert (promote.model, promote.version, promote.here, promote.approval, token) == (
        "digits",
        3,
        True,
        "",
        "the-token",
    )
    assert (promote.by, promote.jenkins_user, promote.although) == ("alice", "alice", "")
    machine = commands["token of a machine"][-1][1]
    assert (machine.by, machine.jenkins_user) == ("jenkins", "")
    assert {commands[name][-1][1].although for name in ("although", "asked, although")} == set(WHY.values())
    _, asked, token = commands["asked"][-1]
    assert (asked.approved_by, asked.here, token) == ("alice", True, "")
    _, back, _ = commands["rollback"][-1]
    assert (back.model, back.to, back.by, back.here, back.reason) == ("digits", 3, "alice", True, "it is wrong")
    assert commands["rollback by a machine"][-1][1].to is None


def test_every_jenkinsfile_was_run(builds):
    assert {scenario.get("file", "Jenkinsfile") for scenario in SCENARIOS.values()} == {
        str(path.relative_to(FILES["code"].parent)) for path in FILES.values()
    }


def test_a_batch_is_one_command_that_resumes_and_the_clock_stays(builds):
    for name in ("batch", "batch, all set"):
        assert builds[name].result == "SUCCESS"
        assert builds[name].started == ["prepare", "predict"]
    assert builds["batch"].of("triggers")[0]["triggers"] == {"cron": "H 4 * * *"}
    assert builds["batch"].description == "batch digits: done"
    assert builds["batch, a lost store"].result == "SUCCESS"
    assert len(builds["batch, a lost store"].of("sh")) == 3
    assert builds["batch, many rejected"].result == "UNSTABLE"
    assert builds["batch, only prepare"].started == ["prepare"]


def test_a_check_is_one_command_and_its_checks_are_test_cases(builds, commands):
    build = builds["monitor"]
    assert (build.result, build.started) == ("SUCCESS", ["prepare", "monitor"])
    assert build.of("triggers")[0]["triggers"] == {"cron": "TZ=UTC\n*/15 * * * *"}
    assert build.description == "monitor digits: done"
    ((_, args, _),) = commands["monitor"]
    assert (args.once, str(args.build)) == (True, "build")
    (junit,) = build.of("junit")
    assert args.junit.startswith(junit["testResults"].rpartition("/")[0])
    assert build.of("sh")[-1]["bound"] == ["TRAINYARD_SMTP_PASSWORD"]
    assert builds["monitor, only prepare"].started == ["prepare"]


def test_an_open_alarm_is_unstable_and_anything_else_a_failure(builds):
    build = builds["monitor, an alarm"]
    assert build.result == "UNSTABLE"
    assert build.of("unstable")[0]["message"] == "monitor: an alarm is open"
    assert (build.name, build.description) == ("#7 digits, 1 alarm", "digits: 1 alarm open\ndrift inputs.mass")
    assert build.started == ["prepare", "monitor"]
    assert builds["monitor, wrong"].result == "FAILURE"
    assert builds["monitor, another one"].result == "SUCCESS"
    assert builds["monitor, another one"].description == "monitor digits: done"


def test_a_retraining_is_started_in_the_job_of_the_dataset_and_not_waited_for(builds, commands):
    build = builds["monitor, retraining"]
    assert (build.result, build.started) == ("UNSTABLE", ["prepare", "monitor", "retrain"])
    (asked,) = build.of("build")
    assert (asked["job"], asked["wait"]) == ("dataset", False)
    given = {each["name"]: each["value"] for each in asked["parameters"]}
    assert given == {"FORCE": True, "REASON": WHY["ALTHOUGH"], "OCCASION": OCCASION}
    _, args, _ = commands["by the monitor"][0]
    assert (args.occasion, args.force, args.reason, args.started_by) == (OCCASION, True, WHY["ALTHOUGH"], "the monitor")
    assert builds["monitor, no dataset job"].result == "FAILURE"
