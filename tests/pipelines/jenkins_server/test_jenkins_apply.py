"""`trainyard jenkins apply` against a Jenkins over HTTP: what it creates, what it leaves alone, what it reports."""

import dataclasses
import json
import re
import xml.etree.ElementTree as ET

import pytest
from fake_jenkins import FakeJenkins, Refusal, oops_page
from fake_state import defaults

from pipelines.__main__ import main
from pipelines.jenkins_server import job_xml, plugins
from pipelines.jenkins_server.apply import apply
from pipelines.jenkins_server.client import open_jenkins
from registry.errors import ConfigError, TryAgain

JOBS = ["digits/code", "digits/dataset", "digits/tests", "digits/promotion"]
TRACKER = "org.jenkinsci.plugins.pipeline.modeldefinition.actions.DeclarativeJobPropertyTrackerAction"
TRIGGERS = "org.jenkinsci.plugins.workflow.job.properties.PipelineTriggersJobProperty"


@pytest.fixture
def fake(fake):
    """With the plugins that are wanted."""
    fake.state.plugins = {name: {"version": each.tested} for name, each in plugins.REQUIRED.items()}
    return fake


@pytest.fixture
def config(fake, tmp_path):
    return fake.config(tmp_path, git_credentials="git & <more>", schedule="H 3 * * 0", submitters=("ann", "po"))


def applied(config, **options):
    return {item.name: item for item in apply(config, open_jenkins(config), **options).items}


def changed(config, section="jenkins", **settings):
    return dataclasses.replace(config, **{section: dataclasses.replace(getattr(config, section), **settings)})


def posts(fake, part=""):
    return [seen.path for seen in fake.posts() if part in seen.path]


def as_after_a_build(job):
    """What Declarative makes of a job at the start of a build."""
    tree = job.tree
    tracker = ET.SubElement(tree.find("actions"), TRACKER, {"plugin": "pipeline-model-definition@2.2289"})
    parameters = ET.SubElement(tracker, "parameters")
    for name in ("FORCE", "REASON", "COMMIT", "ONLY_PREPARE"):
        ET.SubElement(parameters, "string").text = name
    polling = ET.SubElement(ET.SubElement(tree.find("properties"), TRIGGERS), "triggers")
    ET.SubElement(ET.SubElement(polling, "hudson.triggers.SCMTrigger"), "spec")
    definitions = tree.find(".//parameterDefinitions")
    managed, declared = [], []
    for each in list(definitions):
        definitions.remove(each)
        named = each.findtext("name") in {"FORCE", "REASON", "COMMIT", "OCCASION", "ONLY_PREPARE"}
        (declared if named else managed).append(each)
        if named:
            ET.SubElement(each, "description").text = "as the Jenkinsfile says"
    definitions.extend(declared + managed)


def test_folder_and_jobs_are_created_and_their_first_builds_started(fake, config):
    items = applied(config)
    assert [(item.name, item.action, item.build) for item in items.values()] == [
        ("digits", "created", False),
        ("digits/code", "created", True),
        ("digits/dataset", "created", True),
        ("digits/tests", "created", True),
        ("digits/promotion", "created", False),
    ]
    assert [item.job.full_name for item in fake.state.queue.values()] == JOBS[:3]
    assert {item.parameters["ONLY_PREPARE"] for item in fake.state.queue.values()} == {"true"}


def test_a_job_says_where_its_script_is_and_what_it_watches(fake, config):
    applied(config)
    job = fake.state.find("digits/dataset")
    definition = job.tree.find("definition")
    assert definition.get("class") == "org.jenkinsci.plugins.workflow.cps.CpsScmFlowDefinition"
    assert definition.findtext("scriptPath") == "jenkins/dataset.Jenkinsfile"
    assert definition.findtext("lightweight") == "true"
    scm = definition.find("scm")
    assert (scm.get("class"), scm.findtext("configVersion")) == ("hudson.plugins.git.GitSCM", "2")
    assert scm.findtext("userRemoteConfigs/*/url") == config.jenkins.repository
    assert scm.findtext("userRemoteConfigs/*/credentialsId") == "git & <more>"
    assert scm.findtext("branches/hudson.plugins.git.BranchSpec/name") == "*/main"
    assert job.defaults() == {
        "AGENT": "",
        "GIT_CREDENTIALS": "git & <more>",
        "SMTP_CREDENTIALS": "",
        "WATCHED_URL": config.repositories.dataset,
        "WATCHED_BRANCH": "main",
        "CRON": "H 3 * * 0",
        "FORCE": "false",
        "REASON": "",
        "COMMIT": "",
        "OCCASION": "",
        "ONLY_PREPARE": "false",
    }
    assert fake.state.find("digits/promotion").defaults()["SUBMITTERS"] == "ann,po"


def test_builds_of_one_job_wait_for_each_other_but_a_rollback_never_waits(fake, config):
    applied(config)
    alone = {
        name for name in JOBS if fake.state.find(name).tree.find(f"properties/{job_xml.ONE_AT_A_TIME}") is not None
    }
    assert alone == set(JOBS[:3])


def test_no_credentials_are_named_where_none_are_needed(fake, config):
    applied(changed(config, git_credentials=""))
    assert fake.state.find("digits/code").tree.find(".//credentialsId") is None


def test_the_monitor_has_a_job_when_it_has_a_schedule(fake, config):
    config = changed(config, "schedule", monitor="*/15 * * * *", timezone="Europe/Berlin")
    assert applied(config)["digits/monitor"].build
    assert fake.state.find("digits/monitor").defaults() == {
        "AGENT": "",
        "GIT_CREDENTIALS": "git & <more>",
        "SMTP_CREDENTIALS": "",
        "MODEL": "digits",
        "CRON": "TZ=Europe/Berlin\n*/15 * * * *",
        "ONLY_PREPARE": "false",
    }


@pytest.mark.parametrize("cron", ["*/15 * * * MON", "0 3 L * *", "0 3 * * 1#2"])
def test_a_cron_expression_that_jenkins_does_not_know_is_refused(fake, config, cron):
    with pytest.raises(ConfigError, match=r"schedule\.monitor: .* holds a name, L or #"):
        applied(changed(config, "schedule", monitor=cron))
    assert fake.posts() == []


def test_a_retraining_after_an_alarm_needs_one_more_plugin(fake, config):
    config = changed(changed(config, "schedule", monitor="0 * * * *"), "monitoring", on_alarm="retrain")
    with pytest.raises(ConfigError, match=r"pipeline-build-step is missing"):
        applied(config)
    fake.state.plugins["pipeline-build-step"] = {"version": "584.vdb_a_2cc3a_d07a_"}
    assert "digits/monitor" in applied(config)


def test_a_second_time_changes_nothing_and_posts_nothing(fake, config):
    applied(config)
    before = len(fake.posts())
    assert {item.action for item in applied(config).values()} == {"unchanged"}
    assert len(fake.posts()) == before


def test_what_declarative_adds_in_a_build_is_not_a_difference(fake, config):
    applied(config)
    for name in JOBS[:3]:
        as_after_a_build(fake.state.find(name))
    before = len(fake.posts())
    assert {item.action for item in applied(config).values()} == {"unchanged"}
    assert len(fake.posts()) == before


def test_a_dry_run_shows_everything_and_posts_nothing(fake, config):
    items = applied(config, dry_run=True)
    assert {item.action for item in items.values()} == {"created"}
    assert [item.build for item in items.values()] == [False, True, True, True, False]
    assert fake.posts() == []


def test_only_what_differs_is_shown_and_written(fake, config):
    applied(config)
    as_after_a_build(fake.state.find("digits/code"))
    config = changed(changed(config, branch="release"), "repositories", code="https://git.example.org/new/code.git")
    before = len(fake.posts())
    items = applied(config)
    shown = [(each.what, each.was, each.wanted) for each in items["digits/code"].differences]
    assert shown == [
        ("branch", "*/main", "*/release"),
        ("parameter WATCHED_URL", "https://git.example.org/team/code.git", "https://git.example.org/new/code.git"),
    ]
    assert [each.what for each in items["digits/tests"].differences] == ["branch"]
    assert len(posts(fake, "config.xml")) == 4
    assert posts(fake, "digits/job/code")[-3:] == [
        "/job/digits/job/code/config.xml",
        "/job/digits/job/code/buildWithParameters",
        "/job/digits/job/code/submitDescription",
    ]
    assert len(fake.posts()) == before + 4 + 2 * 3


def test_what_others_have_added_stays(fake, config):
    applied(config)
    job = fake.state.find("digits/code")
    as_after_a_build(job)
    ET.SubElement(job.tree, "quietPeriod").text = "60"
    ET.SubElement(job.tree.find("definition/scm/extensions"), "hudson.plugins.git.extensions.impl.CleanCheckout")
    other = ET.SubElement(job.tree.find(".//parameterDefinitions"), "hudson.model.StringParameterDefinition")
    ET.SubElement(other, "name").text = "THEIRS"
    job.tree.find("description").text = "Ask Bob first. " + job.tree.findtext("description") + " Really."
    applied(changed(config, branch="release"))
    assert job.tree.findtext("quietPeriod") == "60"
    assert job.tree.find(".//hudson.plugins.git.extensions.impl.CleanCheckout") is not None
    assert job.tree.find(f"actions/{TRACKER}/parameters") is not None
    assert job.tree.find(f"properties/{TRIGGERS}") is not None
    assert "THEIRS" in job.defaults()
    assert job.tree.findtext("description") == f"Ask Bob first. {job_xml.mark('job code', 'digits')} Really."


def test_a_definition_of_another_kind_is_replaced(fake, config):
    applied(config)
    job = fake.state.find("digits/code")
    job.tree.find("definition").set("class", "org.jenkinsci.plugins.workflow.cps.CpsFlowDefinition")
    assert applied(config)["digits/code"].differences[0].what == "definition"
    assert {item.action for item in applied(config).values()} == {"unchanged"}


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (
            "<flow-definition><description>Bob's</description></flow-definition>",
            "digits/tests .* is not managed by Trainyard",
        ),
        ("<project><description/></project>", "is not a pipeline job, but project"),
        (
            f"<flow-definition><description>{job_xml.mark('job tests', 'cars')}</description></flow-definition>",
            "is Trainyard's job tests of model cars",
        ),
        (
            f"<flow-definition><description>{job_xml.mark('job code', 'digits')}</description></flow-definition>",
            "is Trainyard's job code of model digits",
        ),
    ],
    ids=["somebody's", "freestyle", "another model's", "a copy"],
)
def test_a_job_that_is_not_ours_is_left_alone_and_so_is_all_else(fake, config, xml, words):
    fake.add_job("digits/tests", xml=xml)
    with pytest.raises(ConfigError, match=words) as error:
        applied(config)
    assert "folder" in error.value.hint
    assert fake.posts() == []


def test_a_job_is_handed_over_by_its_description(fake, config):
    fake.add_job("digits/code", xml="<flow-definition><description>Bob's</description></flow-definition>")
    with pytest.raises(ConfigError) as error:
        applied(config)
    line = error.value.hint.partition("its description: ")[2]
    fake.state.find("digits/code").tree.find("description").text = line
    assert applied(config)["digits/code"].action == "changed"
    assert {item.action for item in applied(config).values()} <= {"unchanged", "used"}


def test_a_foreign_folder_is_used_and_not_changed(fake, config):
    fake.add_job("team/other")
    config = changed(config, folder="team/digits")
    before = fake.state.find("team").config_xml()
    items = applied(config)
    assert (items["team"].action, items["team/digits"].action) == ("used", "created")
    assert fake.state.find("team").config_xml() == before
    assert [item.action for item in applied(config).values()] == ["used", *["unchanged"] * 5]


def test_a_job_under_the_name_of_the_folder_is_reported(fake, config):
    fake.add_job("digits")
    with pytest.raises(ConfigError, match=r"digits on .* is not a folder"):
        applied(config)
    assert fake.posts() == []


def test_each_unusable_plugin_is_named_with_versions(fake, config):
    del fake.state.plugins["cloudbees-folder"]
    fake.state.plugins["git"] = {"version": "5.10.1", "enabled": False, "active": False}
    fake.state.plugins["junit"] = {"version": "1265.v65b", "active": False}
    fake.state.plugins["workflow-job"] = {"version": "2.42"}
    with pytest.raises(ConfigError) as error:
        applied(config)
    assert str(error.value).partition(": ")[2].partition(": ")[0]
    for words in (
        "cloudbees-folder is missing (6.928 or newer, tested with 6.1079.vc0975c2de294)",
        "git is disabled",
        "junit is installed, but was not loaded",
        "workflow-job 2.42 is too old (1400 or newer",
    ):
        assert words in str(error.value)
    assert fake.posts() == []


def test_without_permission_to_list_plugins_a_note_says_that_they_were_not_checked(fake, config):
    fake.state.forbidden.add("Overall/SystemRead")
    fake.state.plugins = {}
    done = apply(config, open_jenkins(config))
    (note,) = done.notes
    assert note.startswith("plugins were not checked: that needs the Overall/SystemRead permission")
    assert "docs/how-to/jenkins.md" in note, "what to do on a Jenkins that cannot grant it"


def test_what_jenkins_drops_for_want_of_a_plugin_is_detected(fake, config):
    fake.state.forbidden.add("Overall/SystemRead")
    fake.state.lost = {job_xml.ONE_AT_A_TIME}
    with pytest.raises(ConfigError, match="did not keep all of digits/code: builds at the same time"):
        applied(config)


@pytest.mark.parametrize("permission", ["Job/Create", "Job/Build", "Job/ExtendedRead", "Job/Configure"])
def test_a_missing_permission_is_named(fake, config, permission):
    if permission in {"Job/ExtendedRead", "Job/Configure"}:
        applied(config)
        config = changed(config, branch="release")
    fake.state.forbidden.add(permission)
    with pytest.raises(ConfigError, match=f"is missing the {permission} permission"):
        applied(config)


def test_settings_that_cannot_work_on_jenkins_are_reported_together(fake, config, tmp_path):
    config = changed(changed(config, repository="", folder="a/b?c"), "repositories", dataset="/srv/git/data.git")
    config = dataclasses.replace(config, home=str(tmp_path / "pipeline" / ".trainyard"))
    with pytest.raises(ConfigError) as error:
        applied(config)
    for words in ("jenkins.repository: empty", "jenkins.folder: 'b?c' holds ?", "repositories.dataset", "home: "):
        assert words in str(error.value)
    assert fake.requests == []


@pytest.mark.parametrize("place", ["/srv/git/code.git", "../code.git", "file:///srv/git/code.git", "FILE://x/y"])
def test_a_repository_on_a_disk_is_refused(fake, config, place):
    with pytest.raises(ConfigError, match=r"jenkins.repository: .* is a local path"):
        applied(changed(config, repository=place))


@pytest.mark.parametrize("place", ["git://h/x.git", "ssh://git@h/x.git", "git@h:x.git", "http://127.0.0.1:8080/x.git"])
def test_a_repository_at_an_address_is_accepted(fake, config, place):
    assert applied(changed(config, repository=place), dry_run=True)


@pytest.mark.parametrize(
    ("written", "faulty"),
    [
        ("", True),
        ('home = "../shared"', True),
        ('home = ".trainyard"', True),
        ('home = "{here}/home"', False),
        ('home = "{here}/home"\nregistry.url = "file://registry"', True),
        ('home = "{here}/home"\nregistry.url = "file://{here}/registry"', False),
        ('home = "{here}/home"\nregistry.url = "s3://bucket/registry"', False),
    ],
)
def test_what_the_jobs_share_must_be_outside_of_their_checkouts(fake, config, tmp_path, written, faulty):
    from pipelines.config.load import load_config

    file = tmp_path / "pipeline" / "trainyard.toml"
    file.parent.mkdir()
    git = config.repositories
    repositories = f'[repositories]\ncode = "{git.code}"\ndataset = "{git.dataset}"\ntests = "{git.tests}"\n'
    server = f'[jenkins]\nurl = "{fake.url}"\nuser = "alice"\nrepository = "{config.jenkins.repository}"\n'
    file.write_text(f'model = "digits"\n{written.format(here=tmp_path)}\n{repositories}{server}')
    if not faulty:
        applied(load_config(file, {}), dry_run=True)
        return
    with pytest.raises(ConfigError, match=r"(home|registry\.url): .* is inside the pipeline's checkout"):
        applied(load_config(file, {}), dry_run=True)


def test_without_a_build_the_triggers_wait_for_the_next_apply(fake, config):
    assert not any(item.build for item in applied(config, build=False).values())
    assert fake.state.queue == {}
    assert job_xml.is_pending(fake.state.find("digits/code").tree)
    before = len(fake.posts())
    applied(config, build=False)
    assert len(fake.posts()) == before
    assert [item.build for item in applied(config).values()] == [False, True, True, True, False]
    assert {item.action for item in applied(config).values()} == {"unchanged"}
    assert len(fake.state.queue) == 3


def test_a_disabled_job_stays_disabled_and_is_reported(fake, config):
    applied(config, build=False)
    fake.state.find("digits/tests").tree.find("disabled").text = "true"
    assert "disabled" in applied(config)["digits/tests"].note
    assert fake.state.find("digits/tests").tree.findtext("disabled") == "true"


@pytest.mark.parametrize("moment", ["before", "after"])
def test_interrupted_anywhere_and_repeated_gives_the_same(monkeypatch, tmp_path, moment):
    """At each POST in turn: Jenkins fails, or succeeds and its answer is lost."""
    wanted, number = None, 0
    while number != 13:  # 1 folder, 4 jobs, 3 builds with a description each, and one run that nothing stops
        with FakeJenkins() as fake:
            fake.state.plugins = {name: {"version": each.tested} for name, each in plugins.REQUIRED.items()}
            monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", fake.token)
            config = fake.config(tmp_path)
            setattr(fake, moment, failing_at(fake, number, lost=moment == "after"))
            try:
                applied(config)
            except (ConfigError, TryAgain):
                assert number < 11
            else:
                assert number >= 11
            fake.before = fake.after = lambda seen: None
            applied(config)
            assert {item.action for item in applied(config).values()} == {"unchanged"}
            assert {item.job.full_name for item in fake.state.queue.values()} == set(JOBS[:3])
            wanted = wanted or everything(fake)
            assert everything(fake) == wanted
        number += 1


def failing_at(fake, number, *, lost):
    def fail(seen):
        if seen.method == "POST" and len(fake.posts()) == number + 1:
            raise ConnectionResetError if lost else Refusal(500, oops_page())

    return fail


def everything(fake):
    xml = {name: fake.state.find(name).config_xml() for name in ("digits", *JOBS)}
    return {name: re.sub(r"\{AQAAAB\w+\}|:\d+/", "", text) for name, text in xml.items()}


def test_two_concurrent_runs_do_not_disturb_each_other(fake, config):
    other = open_jenkins(config)

    def be_faster(seen):
        if "createItem?name=code" in seen.path:
            fake.before = lambda seen: None
            fake.state.lock.release()
            apply(changed(config, branch="other"), other)
            fake.state.lock.acquire()

    fake.before = be_faster
    applied(config)
    assert {item.action for item in applied(config).values()} == {"unchanged"}


def test_a_hidden_job_is_reported_as_such(fake, config):
    fake.add_job("digits/code")

    def hide(seen):
        if seen.method == "GET" and "/job/digits/job/code" in seen.path:
            raise Refusal(404, "")

    fake.before = hide
    with pytest.raises(ConfigError, match="already exists") as error:
        applied(config)
    assert "Job/Read" in error.value.hint


def test_the_command_shows_what_it_did(fake, tmp_path, capsys):
    file = written(fake, tmp_path)
    assert main(["jenkins", "apply", "--config", str(file)]) == 0
    shown = capsys.readouterr()
    assert "folder digits            created\n" in shown.out
    assert "job    digits/code       created\n" in shown.out
    assert "digits/code: first build queued" in shown.err
    assert main(["jenkins", "apply", "--config", str(file), "--set", "jenkins.branch=release", "--dry-run"]) == 0
    assert (
        "job    digits/tests      would be changed\n         branch: */main -> */release\n"
        "         would start a first build, which registers its triggers\n"
    ) in capsys.readouterr().out
    assert main(["jenkins", "apply", "--config", str(file)]) == 0
    assert capsys.readouterr().out.count("unchanged") == 5


def test_the_command_speaks_json(fake, tmp_path, capsys):
    assert main(["jenkins", "apply", "--json", "--dry-run", "--config", str(written(fake, tmp_path))]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["dry_run"], said["url"], said["version"], said["notes"]) == (True, fake.url, "2.541.2", [])
    assert [each["name"] for each in said["items"]] == ["digits", *JOBS]
    assert said["items"][1]["differences"][0] == {"what": "Jenkinsfile", "was": "", "wanted": "Jenkinsfile"}


def test_the_command_reports_a_wrong_token_in_one_line(fake, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TRAINYARD_JENKINS_TOKEN", "wrong-one")
    assert main(["jenkins", "apply", "--config", str(written(fake, tmp_path))]) == 2
    shown = capsys.readouterr()
    assert "rejects user 'alice'" in shown.err
    assert "wrong-one" not in shown.err + shown.out


def written(fake, tmp_path):
    """A trainyard.toml for this Jenkins."""
    file = tmp_path / "pipeline" / "trainyard.toml"
    file.parent.mkdir(exist_ok=True)
    git = "https://git.example.org/team"
    file.write_text(
        f'model = "digits"\nhome = "{tmp_path}/home"\n[repositories]\ncode = "{git}/code.git"\n'
        f'dataset = "{git}/dataset.git"\ntests = "{git}/tests.git"\n'
        f'[jenkins]\nurl = "{fake.url}"\nuser = "alice"\nrepository = "{git}/pipeline.git"\n'
    )
    return file


def test_the_fake_marks_what_jenkins_marks():
    """A job that comes back with defaults and marks is compared by meaning, so the fake must add some."""
    tree = ET.fromstring("<flow-definition/>")
    defaults(tree)
    assert tree.find("keepDependencies") is not None


def test_each_folder_of_one_repository_is_watched_by_the_job_of_its_role(fake, config):
    one = dict.fromkeys(("code", "dataset", "tests"), "https://git.example.org/team/one.git")
    config = changed(
        config, "repositories", **one, code_folder="m/code", dataset_folder="m/data", dataset_branch="data"
    )
    applied(config)
    found = {name: fake.state.find(f"digits/{name}").defaults() for name in ("code", "dataset", "tests")}
    watched = [[each.get(f"WATCHED_{what}") for what in ("URL", "BRANCH", "FOLDER")] for each in found.values()]
    url = one["code"]
    assert watched == [[url, "main", "m/code"], [url, "data", "m/data"], [url, "main", None]]
