"""JUnit XML that Jenkins can read, whatever a message holds."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.records import TestCase, TestReport
from training.junit import write_junit

REPORT = TestReport(
    "data",
    (
        TestCase("fine", "passed", 0.25),
        TestCase("bad", "failed", 0.5, "two classes vanished\n3, 8"),
        TestCase("odd", "error", 0.25, "could not be checked"),
        TestCase("later", "skipped", 0.0, "no table"),
    ),
)


@pytest.fixture
def written(tmp_path):
    write_junit(tmp_path / "reports" / "junit.xml", [REPORT, TestReport("gate", (TestCase("a", "passed"),))])
    return ET.parse(tmp_path / "reports" / "junit.xml").getroot()


def test_counts_are_given_per_suite_and_for_all(written):
    assert (written.tag, written.get("tests"), written.get("failures"), written.get("errors")) == (
        "testsuites",
        "5",
        "1",
        "1",
    )
    data, gate = written
    assert [data.get(key) for key in ("name", "tests", "failures", "errors", "skipped", "time")] == [
        "data",
        "4",
        "1",
        "1",
        "1",
        "1.000",
    ]
    assert gate.get("tests") == "1"


def test_every_case_is_in_a_package_and_in_a_class_of_its_suite(written):
    """Jenkins calls what is before the last dot a package; cases without one are in `(root)`."""
    assert {case.get("classname") for case in written.iter("testcase")} == {"trainyard.data", "trainyard.gate"}


def test_a_failure_differs_from_an_error_and_a_skip(written):
    kinds = {case.get("name"): [child.tag for child in case] for case in written[0]}
    assert kinds == {"fine": [], "bad": ["failure"], "odd": ["error"], "later": ["skipped"]}


def test_the_first_line_is_the_message_and_all_of_it_the_text(written):
    failure = written[0].find("testcase[@name='bad']/failure")
    assert failure.get("message") == "two classes vanished"
    assert failure.text == "two classes vanished\n3, 8"


def test_colours_and_control_characters_are_dropped(tmp_path):
    case = TestCase("a\x00b", "failed", float("nan"), "\x1b[31mred\x1b[0m \x07 \udcff <&> \ufffe")
    write_junit(tmp_path / "junit.xml", [TestReport("s\x01", (case,))])
    read = ET.parse(tmp_path / "junit.xml").getroot()[0][0]
    assert read.get("name") == "ab"
    assert read[0].text == "red   <&> "


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_any_text_gives_xml_that_parses(tmp_path_factory, name, message):
    path = tmp_path_factory.getbasetemp() / "any.xml"
    write_junit(path, [TestReport(name, (TestCase(name, "error", 1.0, message), TestCase(name, "passed", 0, message)))])
    assert len(ET.parse(path).getroot()[0]) == 2
