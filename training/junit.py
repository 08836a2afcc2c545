"""JUnit XML, the one format that Jenkins draws trends from: written here for data checks, gates and model tests."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from registry.files import write_whole
from registry.records import TestCase, TestReport
from registry.text import ESCAPES

PACKAGE = "trainyard"
"""Of all our cases: Jenkins groups them by the part of `classname` before its last dot, and calls none `(root)`."""
NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
ELEMENTS = {"failed": "failure", "error": "error", "skipped": "skipped"}


def write_junit(path: Path, reports: Sequence[TestReport]) -> None:
    """Write all reports into one JUnit XML file, replacing an older one.

    `failed` becomes <failure>, `error` (could not be checked) becomes <error>; characters that XML 1.0 forbids are
    dropped. Raises OSError.
    """
    root = Element("testsuites", _counts([case for report in reports for case in report.cases]))
    for report in reports:
        suite = SubElement(root, "testsuite", {"name": _clean(report.suite)} | _counts(report.cases))
        for case in report.cases:
            _add_case(suite, report.suite, case)
    indent(root)
    write_whole(path, tostring(root, encoding="utf-8", xml_declaration=True) + b"\n")


def _add_case(suite: Element, suite_name: str, case: TestCase) -> None:
    attributes = {"classname": f"{PACKAGE}.{_clean(suite_name)}", "name": _clean(case.name), "time": _seconds([case])}
    element = SubElement(suite, "testcase", attributes)
    if case.outcome in ELEMENTS:
        message = _clean(case.message)
        problem = SubElement(element, ELEMENTS[case.outcome], {"message": message.partition("\n")[0]})
        problem.text = message
    elif case.message:
        SubElement(element, "system-out").text = _clean(case.message)


def _counts(cases: Sequence[TestCase]) -> dict[str, str]:
    outcomes = [case.outcome for case in cases]
    return {
        "tests": str(len(outcomes)),
        "failures": str(outcomes.count("failed")),
        "errors": str(outcomes.count("error")),
        "skipped": str(outcomes.count("skipped")),
        "time": _seconds(cases),
    }


def _seconds(cases: Iterable[TestCase]) -> str:
    total = sum(case.seconds for case in cases)
    return f"{total:.3f}" if math.isfinite(total) else "0.000"


def _clean(text: str) -> str:
    return NOT_XML.sub("", re.sub(ESCAPES, "", text))
