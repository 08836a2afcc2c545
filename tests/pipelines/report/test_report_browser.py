"""A real browser reads the report under Jenkins' own content security policy: on a desk, on a phone, in the dark."""

import pytest
import report_browser
from report_browser import Browser, served
from report_parts import HOSTILE, Team, accepted, fetched

from pipelines.report import write_report

if not report_browser.CHROMIUM:
    pytest.skip("there is no Chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A browser, the address of a report, and what the server has been asked for."""
    team = Team(tmp_path_factory.mktemp("team"))
    folder = accepted(team, reason=HOSTILE)
    fetched(folder, HOSTILE)
    with served(write_report(team.context, folder)) as (url, answered):
        browser = Browser(tmp_path_factory.mktemp("browser"))
        try:
            yield browser, url, answered
        finally:
            browser.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_breaks_no_rule_and_fits_the_screen(shown, width, dark):
    browser, url, _ = shown
    browser.open(f"{url}/index.html", width, dark=dark)
    assert not browser.complaints()
    assert browser.width() <= width
    for left, _, right, _ in browser.boxes("h1, p, figure, .box, .scroll, .tiles, .files"):
        assert 0 <= left < right <= width


def test_the_stylesheet_applies_and_knows_the_dark(shown):
    browser, url, _ = shown
    grounds = []
    for dark in (False, True):
        browser.open(f"{url}/index.html", dark=dark)
        grounds.append(browser.style("body")["background-color"])
        assert browser.style(".box.good")["border-left-width"] == "4px"
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 25, 30)"]


def test_every_image_loads_and_has_its_size(shown):
    browser, url, answered = shown
    browser.open(f"{url}/index.html")
    asked = dict(answered)
    for name in ("comparison.svg", "curves.svg", "confusion.png", "calibration.png", "lineage.svg"):
        assert asked[f"/{name}"] in {200, 304}
    images = browser.boxes("figure img")
    assert len(images) == 5
    assert all(right - left > 200 and bottom - top > 200 for left, top, right, bottom in images)
    for one in images:
        for other in images:
            assert one is other or one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


@pytest.mark.parametrize("name", ["comparison.svg", "curves.svg"])
def test_a_drawing_can_be_opened_by_itself(shown, name):
    browser, url, _ = shown
    browser.open(f"{url}/{name}")
    assert not browser.complaints()
    assert browser.boxes("text")


def test_the_browser_would_have_complained(shown, tmp_path):
    browser = shown[0]
    (tmp_path / "index.html").write_text(
        '<!DOCTYPE html><link rel="icon" href="#"><p style="color: red">a</p><script>1</script>'
    )
    with served(tmp_path) as (url, _):
        browser.open(f"{url}/index.html")
        said = " ".join(browser.complaints())
    assert "style-src" in said
    assert "script" in said
