"""A real browser reads the monitor's page under Jenkins' own content security policy: on a desk, on a phone, in the dark."""

import pytest
import report_browser
from monitor_parts import columns, config, decay, drift, health, looking, service
from report_browser import EVERY_SCREEN, SCREENS
from report_parts import HOSTILE

from pipelines.monitor.service import monitor_once
from pipelines.monitor.store import MonitorStore

report_browser.needed()


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    settings = config(tmp_path_factory.mktemp("team"))
    checks = (drift(), drift(f"inputs.{HOSTILE}"), decay("failed", 0.8), decay(what="estimated accuracy"), service())
    monitor_once(settings, looking(health(1, *checks), health(2, *checks), histograms=columns()))
    with report_browser.shown(MonitorStore(settings).folder / "report", tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.mark.parametrize(("width", "dark"), EVERY_SCREEN, ids=SCREENS)
def test_the_page_breaks_no_rule_and_fits_the_screen(shown, width, dark):
    browser, url, _ = shown
    report_browser.breaks_no_rule_and_fits(browser, url, width, dark=dark)


def test_every_chart_loads_and_none_covers_another(shown):
    browser, url, answered = shown
    assert len(report_browser.images_apart(browser, url)) == 4
    asked = [code for path, code in answered if path.endswith(".svg")]
    assert len(asked) >= 4
    assert set(asked) <= {200, 304}


def test_a_chart_can_be_opened_by_itself(shown):
    browser, url, _ = shown
    report_browser.opens_alone(browser, f"{url}/timeline.svg")
