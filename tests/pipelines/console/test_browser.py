"""The frame in a real browser: with and without script, on a phone and a wide screen, light and dark."""

from __future__ import annotations

import pytest
from console_browser import barriers, is_wider_than_the_screen, page_of, served, sign_in
from console_parts import ConsoleProject


@pytest.fixture
def project(tmp_path):
    return ConsoleProject(tmp_path)


def test_signing_in_and_out_by_the_keyboard_without_script(browser, project):
    with served(project.app()) as address, page_of(browser, address, script=False) as page:
        sign_in(page, project, "engineer")
        assert page.get_by_role("heading", level=1).count() == 1
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.get_by_role("link", name="Audit").press("Enter")
        assert page.get_by_role("row", name="a-engineer").count() == 1
        page.get_by_role("button", name="Sign out").press("Enter")
        page.wait_for_url("**/sign-in")
        page.goto("/audit")
        assert "/sign-in?next=" in page.url


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_keeps_anybody_out(browser, project, scheme, width):
    with served(project.app()) as address, page_of(browser, address, width=width, scheme=scheme) as page:
        page.goto("/sign-in")
        found = {"/sign-in": barriers(page)}
        sign_in(page, project, "admin")
        for path in ("/", "/audit", "/settings", "/nothing"):
            page.goto(path)
            found[path] = barriers(page)
            assert not is_wider_than_the_screen(page), path
        assert not any(found.values()), found
