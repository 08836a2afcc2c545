"""The overview, the page of a model, and the two decisions there."""

from __future__ import annotations

import html
import sys
from dataclasses import replace

import pytest
from console_parts import ROLES, ConsoleProject
from console_watched import watch
from hostile_names import CLASSES
from monitor_parts import at, decay, drift
from promotion_parts import MODEL

from pipelines.console.actions import Actions, said_by, words
from pipelines.console.pages.model import NAME
from registry.records.monitoring import Alarm

SAYS = "import json, sys; print(json.dumps({'number': 3, 'version': 1, 'asked': sys.argv[1:]}))"
REFUSES = "import json, sys; print(json.dumps({'error': 'no: see /srv/secret/api.log'})); sys.exit(3)"
WAITS = "import sys; sys.stdin.read(); import time; time.sleep(600)"


@pytest.fixture
def project(tmp_path):
    """Two versions were released, and a third one waits."""
    made = ConsoleProject(tmp_path)
    for _ in range(2):
        made.release_by_hand(made.publish())
    made.publish()
    return made


def with_command(project, code):
    """The console, whose decisions run this instead of `trainyard`; and what they are run by."""
    app = project.app()
    app.extensions[NAME] = acts = Actions(project.installation().home, lambda _config: (sys.executable, "-c", code))
    return app, acts


def test_the_overview_shows_what_is_live_what_is_wrong_and_what_waits(project):
    check = decay("failed", 0.5)
    watch(project, check, alarm=Alarm(check.cause, MODEL, 2, 2, at(3), at(4), check))
    text = project.browser("viewer").get("/").text
    for said in (
        "1 of 1 model needs attention",
        "version 2",
        "Accuracy is 0.5.",
        "Decide about version 3",
        "1 alarm",
        "0.970",
    ):
        assert said in text, said


def test_a_model_shows_its_releases_and_what_is_measured(project):
    watch(project, decay("passed", 0.93), drift(outcome="passed"))
    text = project.browser("viewer").get(f"/models/{MODEL}/").text
    for said in (
        "Version 2 was released",
        "approved by ada",
        "Quality over time",
        "0.930 (0.900 to 0.960)",
        "<desc",
        "Look at it",
        "The prediction API does not run on this machine.",
    ):
        assert said in text, said
    assert "style=" not in text
    assert "Roll back to version" not in text  # a viewer may not


def test_what_cannot_be_read_of_one_model_hides_no_other(tmp_path, project):
    other = ConsoleProject(tmp_path / "other", model="letters")
    (tmp_path / "registry/production" / MODEL / "releases/000002.json").chmod(0o644)
    (tmp_path / "registry/production" / MODEL / "releases/000002.json").write_text("{}")
    browser = project.browser("viewer", project.app(other))
    text = browser.get("/").text
    assert "cannot be read" in text
    assert "letters" in text
    assert str(tmp_path) not in text
    assert browser.get(f"/models/{MODEL}/").status_code == 503


@pytest.mark.parametrize(
    "query", ["q=nothing-like-it", "q=%00%1b[31m<b>", "page=-3", "page=x", "page=99999999999999999999"]
)
def test_the_overview_takes_any_filter(project, query):
    assert project.browser("viewer").get(f"/?{query}").status_code == 200


@pytest.mark.parametrize("query", ["period=x", "before=-1", "before=x", "before=2", "period=day&before=999999999999"])
def test_the_page_of_a_model_takes_any_period(project, query):
    assert project.browser("viewer").get(f"/models/{MODEL}/?{query}").status_code == 200


@pytest.mark.parametrize("name", CLASSES[:4])
def test_hostile_texts_are_text(tmp_path, name):
    project = ConsoleProject(tmp_path)
    version = project.publish(authors=(name,))
    made = project.release_by_hand(version)
    assert made
    check = replace(drift(column=f"inputs.{name}"), reason=f"<img src=x onerror=alert(1)>{name}")
    watch(project, check, alarm=Alarm(check.cause, MODEL, 1, 1, at(3), at(4), check))
    browser = project.browser("admin")
    for path in ("/", f"/models/{MODEL}/", f"/models/{MODEL}/demote"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "<img src=x" not in answer.text
        assert "<script>" not in answer.text


# --- decisions ---------------------------------------------------------------------------------------------------------


def back(browser, **data):
    page = f"/models/{MODEL}/roll-back?to=1"
    return browser.post(f"/models/{MODEL}/roll-back", {"to": "1", "over": "2", "reason": "it errs"} | data, page=page)


def test_the_question_names_the_consequence_and_decides_nothing(project):
    browser = project.browser("owner")
    text = browser.get(f"/models/{MODEL}/roll-back?to=1").text
    assert "every request is answered by <strong>version 1</strong> instead of version 2" in text
    assert "is refused with 503" in browser.get(f"/models/{MODEL}/demote").text
    assert project.history == [1, 2]
    assert browser.get(f"/models/{MODEL}/roll-back?to=2").status_code == 404
    assert browser.get(f"/models/{MODEL}/roll-back?to=3").status_code == 404


def test_a_rollback_is_the_command_with_who_and_why_and_the_page_says_how_it_ended(project):
    app, acts = with_command(project, SAYS)
    browser = project.browser("owner", app)
    answer = back(browser, reason="it errs; --to=9 `x`")
    assert (answer.status_code, answer.location) == (303, f"/models/{MODEL}/")
    acts.join()
    asked = acts.newest(project.installation().models[MODEL])
    assert (asked.code, asked.said) == (0, "Version 1 is live as release 3.")
    assert "Roll back to version 1: done." in browser.get(f"/models/{MODEL}/").text
    output = (project.home / "console/actions" / MODEL / "output").read_text()
    assert '"rollback", "thirds", "--to=1", "--over=2", "--reason=it errs; --to=9 `x`"' in output
    assert '"--by=a-owner (console, password)"' in output
    audit = project.browser("admin", app).get("/audit").text
    assert "Roll back to version 1, over release 2: it errs" in html.unescape(audit)


def test_a_demotion_is_the_command_of_that_name():
    asked = said_by('{"number": 4, "version": null}\n', 0)
    assert asked == "Nothing is live as release 4."


def test_where_jenkins_rolls_back_the_reason_names_the_person(project):
    from pipelines.console.actions import now

    config = replace(project.config, serving=replace(project.config.serving, deploy="jenkins"))
    given = words(config, now("roll back", 1, 2, "ada", "it errs"))
    assert "--reason=it errs (asked for in the console by ada)" in given
    assert not [each for each in given if each.startswith("--by")]


def test_what_was_refused_is_said_without_paths_of_the_machine(project):
    app, acts = with_command(project, REFUSES)
    browser = project.browser("owner", app)
    back(browser)
    acts.join()
    text = browser.get(f"/models/{MODEL}/").text
    assert "not done." in text
    assert "no: see …" in text
    assert "/srv/secret" not in text


def test_while_a_decision_is_at_work_there_is_no_other(project):
    app, acts = with_command(project, WAITS)
    browser = project.browser("owner", app)
    assert back(browser).status_code == 303
    page = browser.get(f"/models/{MODEL}/").text
    assert "at work" in page
    assert 'http-equiv="refresh"' in page
    assert acts.newest(project.installation().models[MODEL]).running
    assert (
        Actions(project.installation().home).newest(project.installation().models[MODEL]).running
    )  # another process sees it
    answer = back(browser)
    assert answer.status_code == 409
    assert "Another decision about this model is at work" in answer.text
    acts.end()
    acts.join()
    assert back(browser).status_code == 303
    acts.end()
    acts.join()


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        ({"reason": "  "}, 400, "Write down why"),
        ({"reason": "x" * 500}, 400, "Write down why"),
        ({"over": "1"}, 409, "Release 2 was made meanwhile, by a test"),
        ({"to": "3"}, 404, ""),
        ({"to": "x"}, 404, ""),
    ],
)
def test_a_decision_that_does_not_hold_is_not_made(project, data, code, said):
    app, acts = with_command(project, SAYS)
    answer = back(project.browser("owner", app), **data)
    assert answer.status_code == code
    assert said in answer.text
    assert acts.newest(project.installation().models[MODEL]) is None


@pytest.mark.parametrize("role", [each.removeprefix("a-") for each in ROLES if each not in {"a-owner", "a-admin"}])
def test_who_may_not_decide_is_not_asked(project, role):
    app, acts = with_command(project, SAYS)
    browser = project.browser(role, app)
    for verb in ("roll-back", "demote"):
        assert browser.get(f"/models/{MODEL}/{verb}?to=1").status_code == 403
        assert browser.post(f"/models/{MODEL}/{verb}", {"to": "1", "over": "2", "reason": "x"}).status_code == 403
    assert "Demote" not in browser.get(f"/models/{MODEL}/").text
    assert acts.newest(project.installation().models[MODEL]) is None


def test_after_a_restart_an_end_that_nobody_saw_is_not_claimed(project):
    app, acts = with_command(project, SAYS)
    back(project.browser("owner", app))
    acts.join()
    (project.home / "console/actions" / MODEL / "result.json").unlink()
    asked = Actions(project.installation().home).newest(project.installation().models[MODEL])
    assert (asked.code, "was restarted" in asked.said) == (None, True)
