"""A decision in a real browser: from the page to an API that answers with the new version."""

from __future__ import annotations

import fcntl

import pytest
from console_browser import barriers, is_wider_than_the_screen, page_of, served, sign_in
from console_parts import ConsoleProject
from decision_parts import rich_version
from promotion_parts import MODEL, RIGHT

from pipelines.console.decisions.promoting import Promotion
from registry import releases

SETTINGS = """
model = "thirds"
home = "home"
repositories = {code = "code", dataset = "dataset", tests = "tests"}
registry = {url = "file://registry"}
serving = {port = 0, workers = 1, threads = 2}
"""


@pytest.mark.slow
@pytest.mark.tensorflow
def test_an_owner_approves_and_the_api_answers_with_the_new_version(browser, tmp_path, tiny_models):
    project = ConsoleProject(tmp_path, tiny_models)
    (tmp_path / "trainyard.toml").write_text(SETTINGS)
    version = rich_version(project, "thirds", live=None)
    try:
        with served(project.app()) as address, page_of(browser, address, script=False) as page:
            sign_in(page, project, "owner")
            page.goto(f"/models/{MODEL}/decision")
            page.get_by_role("button", name="Approve and make it live").click()
            page.get_by_role("heading", name="Live", exact=True).wait_for(timeout=120_000)
        assert project.ask(RIGHT)[1]["version"] == version
        (release,) = releases.releases(project.store, MODEL)
        assert (release.by, release.kind) == ("a-owner", "promotion")
    finally:
        project.stop()


@pytest.mark.slow
def test_the_page_of_a_promotion_that_runs_is_loaded_again_without_script(browser, tmp_path, monkeypatch):
    project = ConsoleProject(tmp_path)
    rich_version(project, live=None)
    monkeypatch.setattr(Promotion, "start", lambda *_: True)
    folder = Promotion(project.installation().home, MODEL, 1).folder
    folder.mkdir(parents=True)
    with served(project.app()) as address, page_of(browser, address, script=False) as page:
        sign_in(page, project, "owner")
        page.goto(f"/models/{MODEL}/decision/1")
        with (folder / "lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            page.goto(f"/models/{MODEL}/decision/1")
            page.get_by_role("heading", name="Being made live").wait_for()
        page.get_by_role("heading", name="In short").wait_for()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_keeps_anybody_out_of_a_decision(browser, tmp_path, scheme, width):
    project = ConsoleProject(tmp_path)
    project.publish()
    project.release_by_hand(1)
    rich_version(project, parent=1)
    with served(project.app()) as address, page_of(browser, address, width=width, scheme=scheme) as page:
        sign_in(page, project, "owner")
        for path in (f"/models/{MODEL}/decision/2", f"/models/{MODEL}/decision/1"):
            page.goto(path)
            assert barriers(page) == []
            assert not is_wider_than_the_screen(page), path
