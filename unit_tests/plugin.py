"""The pytest plugin for a tests repository: fixtures for the version under test, and a log for the worker.

In an acceptance test Trainyard starts pytest with it. By hand, against any running API:

    pytest -p unit_tests.plugin --trainyard-url http://127.0.0.1:8500 [--trainyard-version DIR] [--trainyard-holdout DIR]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry import codec
from registry.records import Candidate, Evaluation, Metrics, Outcome, TestCase
from unit_tests.client import Api
from unit_tests.holdout import Holdout
from unit_tests.pytest_log import append, append_case

MESSAGE = 6000
"""Characters kept of one failure."""
LOG = pytest.StashKey[Path]()


@dataclass(frozen=True, slots=True)
class Live:
    """The release that is live now: its manifest, and how it did on the holdout of the version under test."""

    card: Candidate
    metrics: Metrics | None
    """Null when it could not be measured there, or is not the release that was live then."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options that say what is under test."""
    group = parser.getgroup("trainyard", "the version under test")
    group.addoption("--trainyard-url", metavar="URL", help="the running API")
    group.addoption("--trainyard-version", metavar="DIR", type=Path, help="the version's folder, with card.json")
    group.addoption("--trainyard-holdout", metavar="DIR", type=Path, help="a prepared split")
    group.addoption("--trainyard-live", metavar="DIR", type=Path, help="the live version's folder, with card.json")
    group.addoption("--trainyard-log", metavar="FILE", type=Path, help="one JSON line per event, for the worker")


@pytest.fixture(scope="session")
def api(pytestconfig: pytest.Config) -> Iterator[Api]:
    """The running API of the version under test.

    `api.url`; `api.get("/version")` and `api.post("/predict", json={"instances": [...]})` give a requests.Response,
    also for a refusal; `api.description` is what `GET /` says about the model.
    """
    api = Api(_given(pytestconfig, "url"))
    yield api
    api.close()


@pytest.fixture(scope="session")
def predict(api: Api) -> Callable[[Any], Any]:
    """Ask the API: `predict(sample)` gives its answer, `predict([sample, …])` the list of answers.

    A sample is a numpy array, a dict of columns, or the path of an image (PNG, JPEG).
    An answer is what the API says: {"class": "7", "probability": 0.98, "probabilities": {…}}, or {"value": 3.2}.
    When the API refuses, the test fails with its words.

        def test_a_seven(predict):
            assert predict("images/seven.png")["class"] == "7"
    """
    return api.predict


@pytest.fixture(scope="session")
def holdout(pytestconfig: pytest.Config) -> Holdout:
    """The samples that training never saw: `for sample, label in holdout`, or `holdout.samples`, `.labels`, `.names`.

    Samples are what `predict` takes; labels are class names, or numbers for regression. Samples are read from the
    disk when they are asked for; `holdout.samples[:100]` are the first hundred.

        def test_most_are_right(predict, holdout):
            answers = predict(holdout.samples)
            right = sum(each["class"] == label for each, label in zip(answers, holdout.labels))
            assert right / len(holdout) > 0.9
    """
    if pytestconfig.getoption("trainyard_holdout") is None:
        pytest.skip("there is no holdout in this acceptance test (--trainyard-holdout)")
    return Holdout(_given(pytestconfig, "holdout"))


@pytest.fixture(scope="session")
def card(pytestconfig: pytest.Config) -> Candidate:
    """The manifest of the version under test (`card.json`): `card.version`, `card.sources.code`, `card.how`, `card.signature.classes`, …"""
    return codec.read(Candidate, _given(pytestconfig, "version") / "card.json")


@pytest.fixture(scope="session")
def metrics(card: Candidate) -> Metrics:
    """What evaluation measured on the holdout: `metrics.values["accuracy"]`, `metrics.classes["7"].recall`, `.samples`.

    Values: accuracy, loss, macro_f1, brier, ece; for regression mae, rmse, r2, loss.
    """
    return card.evaluation.candidate


@pytest.fixture(scope="session")
def live(pytestconfig: pytest.Config, card: Candidate) -> Live | None:
    """The release that is live now, or None: `live.card`, and `live.metrics` on the same holdout as `metrics`, or None.

    def test_not_slower_to_learn(live, metrics):
        if live and live.metrics:
            assert metrics.values["macro_f1"] >= live.metrics.values["macro_f1"] - 0.02
    """
    folder = pytestconfig.getoption("trainyard_live")
    if folder is None:
        return None
    current = codec.read(Candidate, folder / "card.json")
    return Live(current, _measured(card.evaluation, current.version))


def _measured(evaluation: Evaluation, version: int) -> Metrics | None:
    same = evaluation.comparison is not None and evaluation.comparison.live_version == version
    return evaluation.live if same else None


def _given(config: pytest.Config, name: str) -> Any:
    value = config.getoption(f"trainyard_{name}")
    if value is None:
        raise pytest.UsageError(f"this test needs the option --trainyard-{name}")
    return value


def pytest_configure(config: pytest.Config) -> None:
    """Start the log."""
    log = config.getoption("trainyard_log")
    if log is not None:
        config.stash[LOG] = log
        config.pluginmanager.register(_Logger(log))


class _Logger:
    """Writes down what pytest does, as it does it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._phases: list[pytest.TestReport] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.outcome != "passed":
            outcome: Outcome = "error" if report.failed else "skipped"
            append_case(self._path, TestCase(report.nodeid or "collection", outcome, message=_message(report)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        append(self._path, {"collected": [item.nodeid for item in session.items]})

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._phases = []
        append(self._path, {"started": nodeid})

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._phases.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """One case from set-up, call and tear-down: the first that did not pass decides."""
        failed = next((each for each in self._phases if each.outcome != "passed"), None)
        seconds = sum(each.duration for each in self._phases)
        if failed is None:
            append_case(self._path, TestCase(nodeid, "passed", seconds))
            return
        outcome: Outcome = "skipped" if failed.skipped else "failed" if failed.when == "call" else "error"
        append_case(self._path, TestCase(nodeid, outcome, seconds, _message(failed)))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, exitstatus: int) -> Iterator[None]:
        yield
        append(self._path, {"finished": int(exitstatus)})


def _telling(lines: Sequence[str]) -> str:
    """The line with the error: the last one, or the first that pytest has marked, as of a fixture that is not there."""
    marked = next((line for line in lines if line.startswith("E ")), lines[-1])
    return (lines[-1] if lines[-1].startswith("E ") else marked).removeprefix("E").lstrip()


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    """One line that says it, then pytest's own text."""
    if hasattr(report, "wasxfail"):
        return f"expected to fail: {report.wasxfail}".removesuffix(": ")
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = report.longreprtext
    line = crash.message.partition("\n")[0] if crash else _telling(text.strip().splitlines() or [""])
    return f"{line}\n{text}"[:MESSAGE]
