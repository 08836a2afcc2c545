"""The pages about Jenkins say what the Jenkinsfiles, `jenkins apply` and the command line really have."""

from __future__ import annotations

import re

import pytest
from groovy_runs import FILES, ROOT, SHARED

from pipelines.build_status import STATUS_FILES
from pipelines.config.schema import Batch, Config, Repositories, Schedule
from pipelines.flows import names
from pipelines.jenkins_server.jobs import SCRIPTS, WATCHED, jobs_of
from pipelines.jenkins_server.plugins import FOR_RETRAINING, JENKINS, REQUIRED

DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference" / "jenkins.md").read_text(encoding="utf-8")
HOW_TO = (DOCS / "how-to" / "jenkins.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if "jenkins" in path.name)]
each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


def table(page, head):
    """The rows, as lists of cells, of the table whose head begins so."""
    rows = page.split(f"\n| {head}", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def declared(job):
    block = re.search(
        r"^    parameters \{\n(.*?)^    \}", FILES[job].read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )[1]
    return set(re.findall(r"\(name: '(\w+)'", block))


def written(job):
    """What `apply` writes beyond that."""
    here = "https://git.example.org"
    config = Config(
        model="digits",
        repositories=Repositories(
            f"{here}/code", f"{here}/dataset", f"{here}/tests", code_folder="c", dataset_folder="d", tests_folder="t"
        ),
        batch=Batch(input="in", output="out"),
        schedule=Schedule(monitor="*/15 * * * *"),
        shared="/pipeline/trainyard.toml",  # with other models
    )
    (found,) = (each for each in jobs_of(config) if each.name == job)
    return {each.name for each in found.parameters if each.managed} - declared(job)


def by_job(rows):
    jobs = {"all": tuple(SCRIPTS)}
    pairs = [(job, name.strip("`")) for name, where, *_ in rows for job in jobs.get(where) or where.split(", ")]
    assert len(pairs) == len(set(pairs))
    return {job: {name for each, name in pairs if each == job} for job in SCRIPTS}


def test_every_parameter_of_a_jenkinsfile_is_on_the_page_and_no_other():
    rows = table(REFERENCE, "parameter | jobs | default")
    assert by_job(rows) == {job: declared(job) for job in SCRIPTS}


def test_every_parameter_that_apply_writes_is_on_the_page_and_no_other():
    rows = table(REFERENCE, "parameter | jobs | from")
    assert by_job(rows) == {job: written(job) for job in SCRIPTS}


def test_groovy_asks_for_no_parameter_that_nobody_defines():
    for text in [SHARED, *FILES.values()]:
        asked = set(re.findall(r"\bparams\.(\w+)", text.read_text(encoding="utf-8")))
        assert asked <= set().union(*map(declared, SCRIPTS), *map(written, SCRIPTS))


def test_the_jobs_are_those_that_apply_makes():
    rows = table(REFERENCE, "job | its Jenkinsfile")
    assert {name.strip("`"): script.strip("`") for name, script, *_ in rows} == SCRIPTS
    assert {job: path.relative_to(ROOT).as_posix() for job, path in FILES.items()} == SCRIPTS


def test_the_stages_are_in_their_order_under_their_triggers():
    rows = table(REFERENCE, "stage | code | dataset | tests")
    for column, trigger in enumerate(WATCHED, start=1):
        assert [row[0].strip("`") for row in rows if row[column]] == ["prepare", *names(trigger)]
    promotion = re.findall(r"stage\('(\w+)'\)", FILES["promotion"].read_text(encoding="utf-8"))
    sentence = REFERENCE.split("`promotion` has three stages: ", 1)[1].split("\n\n", 1)[0]
    assert len(promotion) == 3
    assert all(f"`{name}`" in sentence for name in promotion)
    monitor = re.findall(r"stage\('(\w+)'\)", FILES["monitor"].read_text(encoding="utf-8"))
    sentence = REFERENCE.split("`monitor` has three stages: ", 1)[1].split("\n\n", 1)[0]
    assert len(monitor) == 3
    assert all(f"`{name}`" in sentence for name in monitor)


def test_the_plugins_are_those_that_apply_checks():
    rows = table(HOW_TO, "plugin | tested")
    assert {name.strip("`"): cells for name, *cells in rows} == {
        name: [each.tested, each.oldest, each.why] for name, each in REQUIRED.items()
    }
    assert f"Jenkins {JENKINS}" in HOW_TO
    command = HOW_TO.split("install-plugin -restart \\\n", 1)[1].split("```", 1)[0]
    assert set(command.replace("\\\n", " ").split()) == set(REQUIRED)


def test_the_plugin_for_retraining_is_the_one_that_apply_checks_then():
    ((name, plugin),) = FOR_RETRAINING.items()
    assert f"`{name}`, tested with {plugin.tested}, at least {plugin.oldest}" in HOW_TO


def test_waits_limits_and_files_are_as_they_are_written():
    delays = re.search(r"retryDelays = \[(\d+), (\d+), (\d+)\]", SHARED.read_text(encoding="utf-8")).groups()
    assert "after {}, {} and {} seconds".format(*delays) in REFERENCE
    code, promotion = (FILES[job].read_text(encoding="utf-8") for job in ("code", "promotion"))
    assert "timeout(time: 24, unit: 'HOURS')" in code
    assert "timeout(time: 7, unit: 'DAYS')" in promotion
    assert "timeout(time: 1, unit: 'HOURS')" in promotion
    assert "timeout(time: 1, unit: 'DAYS')" in promotion
    assert (
        "24 hours for a build, a day for the description in `promotion`, 7 days for its approval and an hour for its release"
        in REFERENCE
    )
    assert "timeout(time: 5, unit: 'MINUTES')" in SHARED.read_text(encoding="utf-8")
    assert "the same one within 5 minutes" in REFERENCE
    assert "numToKeepStr: '30', artifactNumToKeepStr: '10'" in code
    assert "numToKeepStr: '100'" in promotion
    assert "numToKeepStr: '100', artifactNumToKeepStr: '10'" in FILES["monitor"].read_text(encoding="utf-8")
    assert "keeps 30 builds of a job, the artifacts of the last 10, and 100 promotions and checks" in REFERENCE
    assert all(f"`build/{name}`" in REFERENCE or f"`build/{name}/`" in REFERENCE for name in STATUS_FILES)
    used = re.findall(r"\$\{(TRAINYARD_\w+|PYTHON):", (ROOT / "jenkins" / "prepare").read_text(encoding="utf-8"))
    assert "TRAINYARD_ENVIRONMENTS" in used
    assert all(f"| `{name}` |" in REFERENCE for name in used)


@each_page
def test_make_knows_every_target_on_the_page(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)) <= targets
