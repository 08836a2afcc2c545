"""An owner takes back what is live, in a real browser, by the real commands and the real API."""

from __future__ import annotations

import pytest
from console_browser import barriers, is_wider_than_the_screen, page_of, served, sign_in
from console_parts import ConsoleProject
from console_watched import watch
from promotion_parts import LEFT, MODEL, ask

from pipelines.console.pages.model import NAME
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
def test_an_owner_rolls_back_and_demotes_without_script(browser, tmp_path, tiny_models):
    project = ConsoleProject(tmp_path, tiny_models)
    (tmp_path / "trainyard.toml").write_text(SETTINGS)
    for kind in ("dull", "thirds"):
        project.release_by_hand(project.publish(kind))
    app = project.app()
    try:
        with served(app) as address, page_of(browser, address, script=False) as page:
            sign_in(page, project, "owner")
            page.get_by_role("link", name=MODEL).click()
            page.get_by_role("link", name="Roll back to version 1").click()
            assert "instead of version 2" in page.get_by_role("main").inner_text()
            page.get_by_label("Why").fill("it errs on the left")
            page.get_by_role("button", name="Roll back to version 1").click()
            app.extensions[NAME].join()
            page.reload()
            assert "Roll back to version 1: done." in page.get_by_role("status").inner_text()
            made = releases.live(project.store, MODEL)
            assert (made.version, made.by, made.reason) == (1, "a-owner (console, password)", "it errs on the left")
            assert ask(project.url, LEFT)[1]["version"] == 1
            page.get_by_role("link", name="Demote").click()
            page.get_by_label("Why").fill("neither is right")
            page.get_by_role("button", name=f"Demote {MODEL}").click()
            app.extensions[NAME].join()
            page.reload()
            assert "Taken out of production" in page.get_by_role("heading", level=3).first.inner_text()
            assert ask(project.url, LEFT)[0] == 503
    finally:
        project.stop()


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_keeps_anybody_out_of_models_and_decisions(browser, tmp_path, scheme, width):
    from monitor_parts import decay, drift

    from registry.records.monitoring import Alarm

    project = ConsoleProject(tmp_path)
    for _ in range(2):
        project.release_by_hand(project.publish())
    project.publish()
    check = drift()
    watch(
        project,
        check,
        decay(),
        alarm=Alarm(check.cause, MODEL, 2, 2, "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", check),
    )
    with served(project.app()) as address, page_of(browser, address, width=width, scheme=scheme) as page:
        sign_in(page, project, "admin")
        found = {}
        for path in ("", "roll-back?to=1", "demote"):
            page.goto(f"/models/{MODEL}/{path}")
            found[path] = barriers(page)
            assert not is_wider_than_the_screen(page), path
        page.goto("/")
        found["/"] = barriers(page)
        assert not is_wider_than_the_screen(page)
        assert not any(found.values()), found
