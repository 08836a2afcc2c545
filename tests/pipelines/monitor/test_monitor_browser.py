"""A real browser reads the monitor's page under Jenkins' own content security policy: on a desk, on a phone, in the dark."""

import pytest
import report_browser
from monitor_parts import columns, config, decay, drift, health, looking, service
from report_browser import Browser, served
from report_parts import HOSTILE

from pipelines.monitor.service import monitor_once
from pipelines.monitor.store import MonitorStore

if not report_browser.CHROMIUM:
    pytest.skip("there is no Chromium", allow_module_level=True)


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A browser, the address of the page, and what the server has been asked for."""
    settings = config(tmp_path_factory.mktemp("team"))
    checks = (drift(), drift(f"inputs.{HOSTILE}"), decay("failed", 0.8), decay(what="estimated accuracy"), service())
    monitor_once(settings, looking(health(1, *checks), health(2, *checks), histograms=columns()))
    with served(MonitorStore(settings).folder / "report") as (url, answered):
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
    for left, _, right, _ in browser.boxes("h1, p, figure, .box, .scroll, .tiles"):
        assert 0 <= left < right <= width


def test_every_chart_loads_and_none_covers_another(shown):
    browser, url, answered = shown
    browser.open(f"{url}/index.html")
    asked = [code for path, code in answered if path.endswith(".svg")]
    assert len(asked) >= 4
    assert set(asked) <= {200, 304}
    images = browser.boxes("figure img")
    assert len(images) == 4
    for one in images:
        for other in images:
            assert one is other or one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]


def test_a_chart_can_be_opened_by_itself(shown):
    browser, url, _ = shown
    browser.open(f"{url}/timeline.svg")
    assert not browser.complaints()
    assert browser.boxes("text")
