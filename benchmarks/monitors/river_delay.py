"""river's detectors, in its own environment, on the streams of an archive: {detector: {"false": […], "delay": […]}} as JSON.

river_delay.py ARCHIVE BEFORE
"""

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from river import drift

DETECTORS: dict[str, Callable[[], Any]] = {
    "ADWIN": drift.ADWIN,
    "DDM": drift.binary.DDM,
    "Page-Hinkley": drift.PageHinkley,
}


def first_alarm(detector: Any, errors: Iterable[int]) -> int | None:
    """After how many of them it raises its first alarm, of a rise as far as it says that."""
    for number, error in enumerate(errors, 1):
        detector.update(error)
        if detector.drift_detected:
            return number
    return None


with np.load(sys.argv[1]) as archive:
    quiet, changing = (archive[name].astype(int).tolist() for name in ("quiet", "changing"))
before = int(sys.argv[2])
answers = {}
for name, make in DETECTORS.items():
    false = [first_alarm(make(), stream) is not None for stream in quiet]
    delay = []
    for stream in changing:
        detector = make()
        for error in stream[:before]:  # a false alarm resets it
            detector.update(error)
        delay.append(first_alarm(detector, stream[before:]))
    answers[name] = {"false": false, "delay": delay}
print(json.dumps(answers))
