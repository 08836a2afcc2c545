"""A real browser at a running console: Debian's Chromium, driven by playwright; and axe-core, which looks for what keeps people out."""

from __future__ import annotations

import contextlib
import logging
import threading
from pathlib import Path

import pytest
from console_parts import CHEAP, PASSWORD
from werkzeug.serving import make_server

from pipelines.console.services import users_of

CHROMIUM = Path("/usr/bin/chromium")
AXE = Path(__file__).resolve().parents[2] / "build/node/node_modules/axe-core/axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@contextlib.contextmanager
def served(app):
    """The address of an app that answers in threads until the end of the block."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def chromium():
    """A browser process, for all tests of a session; without Chromium or playwright its tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM.exists():
        pytest.skip("Chromium is not installed (the package chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def page_of(browser, address, *, width=1280, height=900, scheme="light", script=True):
    """A page of a new browser session at a console; what its script or the policy objects to fails the test at the end."""
    context = browser.new_context(
        base_url=address, viewport={"width": width, "height": height}, color_scheme=scheme, java_script_enabled=script
    )
    page, said = context.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("console", lambda message: said.append(message.text) if "Content Security Policy" in message.text else None)
    try:
        yield page
        assert not said, said
    finally:
        context.close()


def sign_in(page, project, role):
    """As the person of `console_parts.ROLES` with this role."""
    users, name = users_of(project.installation(), CHEAP), f"a-{role}"
    if all(each.name != name for each in users.all()):
        users.add(name, "", PASSWORD)
    page.goto("/sign-in")
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def barriers(page):
    """What axe-core finds at WCAG 2.2 AA on the page as it is now: one text for each rule that is broken."""
    if not AXE.exists():
        pytest.skip("axe-core is not installed (tests/jenkinsfiles/package.json, into build/node)")
    page.evaluate(AXE.read_text(encoding="utf-8"))  # the policy lets no page load it
    found = page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    return [f"{each['id']}: {each['help']}: {each['nodes'][0]['html']:.200}" for each in found["violations"]]


def is_wider_than_the_screen(page):
    return page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
