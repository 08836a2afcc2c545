"""Durations read the same in console, mail and report."""

from __future__ import annotations

import pytest

from pipelines.text.duration import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.96, "10.0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (185, "3 min 5 s"),
        (7500, "2 h 5 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations_read_as_spoken(seconds, words):
    assert duration(seconds) == words
