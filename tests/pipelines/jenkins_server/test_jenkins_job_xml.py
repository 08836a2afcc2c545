"""A job's config.xml: whatever the settings hold comes back from Jenkins as it was, and only our things are compared."""

import dataclasses
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from fake_state import parse as as_jenkins_keeps_it
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.schema import Batch, Config, JenkinsServer, Repositories, Schedule
from pipelines.jenkins_server import job_xml, plugins
from pipelines.jenkins_server.jobs import SCRIPTS, jobs_of
from registry.errors import ConfigError

ROOT = Path(__file__).parents[3]
WITH_BATCH = Config(
    "digits",
    Repositories("a", "b", "c"),
    batch=Batch(input="in", output="out"),
    schedule=Schedule(monitor="*/15 * * * *", timezone="Europe/Berlin"),
)
nasty = st.sampled_from(["a&b", "<x>", "\"'", "]]>", "&amp;", "ü☃", "a b", "$HOME ${X}", "x" * 300, "<!--", "C:\\d"])
# all that a setting may hold: what prints, and blanks
texts = st.one_of(nasty, st.text(st.characters(blacklist_categories=("C", "Z"), whitelist_characters=" "), min_size=1))


@st.composite
def configs(draw):
    git = [draw(texts) for _ in range(3)]
    server = JenkinsServer(
        repository=draw(texts),
        branch=draw(texts),
        agent=draw(texts),
        git_credentials=draw(st.one_of(st.just(""), texts)),
        schedule=draw(st.one_of(st.just("H 3 * * 0\nH 4 * * 1"), texts)),
        submitters=tuple(draw(st.lists(texts, max_size=3))),
    )
    return Config("digits", Repositories(*git, branch=draw(texts)), jenkins=server)


def written(job):
    tree = job_xml.empty_job()
    job_xml.merge(tree, job)
    return job_xml.write(tree)


@given(configs())
def test_every_text_arrives_as_it_was_and_a_second_look_finds_no_difference(config):
    for job in jobs_of(config):
        xml = "<?xml version='1.1' encoding='UTF-8'?>\n" + ET.tostring(as_jenkins_keeps_it(written(job)), "unicode")
        tree = job_xml.parse(xml, job.name)
        assert tree.findtext(".//userRemoteConfigs/*/url") == config.jenkins.repository
        assert tree.findtext("definition/scriptPath") == SCRIPTS[job.name]
        kept = {
            each.findtext("name"): each.findtext("defaultValue") or ""
            for each in tree.iterfind(".//parameterDefinitions/*")
        }
        for parameter in job.parameters:
            if parameter.managed:
                assert kept[parameter.name] == parameter.default
        assert job_xml.merge(tree, job) == []


@given(configs(), configs())
def test_a_job_becomes_what_is_wanted_from_whatever_it_was(first, second):
    for was, wanted in zip(jobs_of(first), jobs_of(second), strict=True):
        tree = as_jenkins_keeps_it(written(was))
        reported = job_xml.merge(tree, wanted)
        assert bool(reported) == (managed(was) != managed(wanted))
        assert job_xml.merge(as_jenkins_keeps_it(job_xml.write(tree)), wanted) == []


def managed(job):
    return dataclasses.replace(job, parameters=tuple(each for each in job.parameters if each.managed))


def test_the_mark_names_job_and_model():
    for job in jobs_of(WITH_BATCH):
        assert job_xml.owner(job_xml.parse(written(job), "")) == (f"job {job.name}", "digits")
    assert job_xml.owner(job_xml.parse(job_xml.folder_xml("my_cars-2"), "")) == ("folder", "my_cars-2")


def test_a_file_that_is_not_xml_is_reported():
    with pytest.raises(ConfigError, match=r"digits/code: its config\.xml cannot be read"):
        job_xml.parse("<?xml version='1.1' encoding='UTF-8'?>\n<a>&#x1;</a>", "digits/code")


@pytest.mark.parametrize("branch", ["refs/tags/v1", "refs/heads/main"])
def test_a_full_name_of_a_branch_stays_as_it_is(branch):
    server = JenkinsServer(repository="https://h/x.git", branch=branch)
    xml = written(jobs_of(Config("digits", Repositories("a", "b", "c"), jenkins=server))[0])
    assert f"<name>{branch}</name>" in xml


@pytest.mark.parametrize("job", SCRIPTS)
def test_no_jenkinsfile_takes_a_parameter_of_ours_away(job):
    """Declarative gives a declared parameter its own default in each build; `params.X ?: ''` passes the managed one on."""
    text = (ROOT / SCRIPTS[job]).read_text(encoding="utf-8")
    declared = dict(re.findall(r"(?:string|booleanParam|password|choice)\(name: '(\w+)',\s*(.*)", text))
    (wanted,) = [each for each in jobs_of(WITH_BATCH) if each.name == job]
    for parameter in wanted.parameters:
        if parameter.managed and parameter.name in declared:
            assert f"defaultValue: params.{parameter.name} ?: ''" in declared[parameter.name]
        if not parameter.managed:
            assert parameter.name in declared, f"{parameter.name} is not in {SCRIPTS[job]} any more"


@pytest.mark.parametrize("job", SCRIPTS)
def test_a_job_has_all_parameters_that_its_jenkinsfile_and_what_it_shares_read(job):
    text = (ROOT / SCRIPTS[job]).read_text(encoding="utf-8")
    (wanted,) = [each for each in jobs_of(WITH_BATCH) if each.name == job]
    declared = set(re.findall(r"(?:string|booleanParam|password|choice)\(name: '(\w+)'", text))
    assert set(re.findall(r"params\.(\w+)", text)) <= declared | {each.name for each in wanted.parameters}


def test_plugins_are_tested_with_what_the_controller_of_this_repository_installs():
    pinned = ROOT / "jenkins" / "plugins.txt"
    lines = [line.split("#")[0].strip() for line in pinned.read_text(encoding="utf-8").splitlines()]
    versions = dict(line.split(":", 1) for line in lines if line)
    assert {name: plugin.tested for name, plugin in plugins.REQUIRED.items()}.items() <= versions.items()


@pytest.mark.parametrize("name", plugins.REQUIRED)
def test_a_plugin_is_accepted_from_its_oldest_version_on(name):
    others = [
        {"shortName": each, "version": plugin.tested} for each, plugin in plugins.REQUIRED.items() if each != name
    ]
    assert plugins.problems([*others, {"shortName": name, "version": plugins.REQUIRED[name].oldest + ".vabc_1"}]) == []
    assert plugins.problems([*others, {"shortName": name, "version": "0.9"}])[0].startswith(f"{name} 0.9 is too old")


def test_the_documentation_lists_the_same_plugins():
    text = (ROOT / "docs" / "how-to" / "jenkins.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (\S+) \| (\S+) \|", text, re.MULTILINE)
    assert {name: versions for name, *versions in rows} == {
        name: [plugin.tested, plugin.oldest] for name, plugin in plugins.REQUIRED.items()
    }
