"""A real browser reads the report under Jenkins' own content security policy: on a desk, on a phone, in the dark."""

import pytest
import report_browser
from report_browser import EVERY_SCREEN, SCREENS, served
from report_parts import HOSTILE, Team, accepted, fetched

from pipelines.report import write_report

report_browser.needed()


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    team = Team(tmp_path_factory.mktemp("team"))
    folder = accepted(team, reason=HOSTILE)
    fetched(folder, HOSTILE)
    with report_browser.shown(write_report(team.context, folder), tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.mark.parametrize(("width", "dark"), EVERY_SCREEN, ids=SCREENS)
def test_the_page_breaks_no_rule_and_fits_the_screen(shown, width, dark):
    browser, url, _ = shown
    report_browser.breaks_no_rule_and_fits(browser, url, width, dark=dark)


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
    images = report_browser.images_apart(browser, url)
    asked = dict(answered)
    for name in ("comparison.svg", "curves.svg", "confusion.png", "calibration.png", "lineage.svg"):
        assert asked[f"/{name}"] in {200, 304}
    assert len(images) == 5
    assert all(right - left > 200 and bottom - top > 200 for left, top, right, bottom in images)


@pytest.mark.parametrize("name", ["comparison.svg", "curves.svg"])
def test_a_drawing_can_be_opened_by_itself(shown, name):
    browser, url, _ = shown
    report_browser.opens_alone(browser, f"{url}/{name}")


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
