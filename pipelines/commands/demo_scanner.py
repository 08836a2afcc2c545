"""The demo's second scanner: its images come to the API as requests, and a person's labels bring them into the dataset."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.errors import PipelineError

HELD_BACK = 6
"""One image of so many is never sent to be labelled, and only measured with."""
PER_DAY = 1000
"""Answers that people are asked about: more than there are, as those that are only measured with are among them."""
SETTINGS = f"""
[prediction_log]    # what the API keeps of its answers, for the monitor and for labels
enabled = true
images = "file"

[monitoring]        # a demo does not wait for a quarter of an hour, nor for a second window
window_minutes = 0.02
windows = 1

[labels]
per_day = {PER_DAY}
"""
LATE = 15.0
"""Seconds until the monitor takes a window for complete: 12 with `[serving] timeout_seconds = 2`, and some more."""


@dataclass(slots=True)
class Scanner:
    """Images of known digits, and an API to ask."""

    folder: Path
    url: str
    known: dict[str, str] = field(default_factory=dict)
    """Request → the digit that it shows: what the person sees."""
    sent: float = 0.0

    def images(self, *, held_back: bool) -> list[Path]:
        """Those that are only measured with, or the others, in an order that mixes the digits."""
        every = sorted(self.folder.glob("pictures/*/*.png"), key=lambda path: path.name)
        return [path for place, path in enumerate(every) if (place % HELD_BACK == 0) is held_back]

    def send(self) -> int:
        """A request for each of the images that are not held back; how many those are. Their ids are the same in every demo, so that
        the same samples come into the same splits, and the same model of it."""
        for path, answer in self._ask(self.images(held_back=False), "scanner-{}"):
            self.known[answer["request_id"]] = path.parent.name
        self.sent = time.monotonic()
        return len(self.known)

    def accuracy(self) -> tuple[float, int]:
        """Share of right answers on the images that are never sent to be labelled, and how many those are."""
        found = [path.parent.name == answer["class"] for path, answer in self._ask(self.images(held_back=True))]
        return sum(found) / len(found), len(found)

    def label(self, config: Path) -> int:
        """What the person does: say what each image that waits in the queue shows; how many those are."""
        import requests

        command = [sys.executable, "-P", "-m", "pipelines", "labels", "queue", "--last", str(PER_DAY), "--json"]
        done = subprocess.run([*command, "--config", str(config)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise PipelineError(f"labels queue ended with {done.returncode}: {done.stderr.strip()}")
        items = [each for each in json.loads(done.stdout)["open"] if each["request"] in self.known]
        for first in range(0, len(items), 500):
            some = items[first : first + 500]
            said = [
                {"request_id": i["request"], "row": i["row"], "label": self.known[i["request"]], "by": "ann"}
                for i in some
            ]
            requests.post(f"{self.url}/feedback", json=said, timeout=60).raise_for_status()
        return len(items)

    def wait(self) -> None:
        """Until the monitor takes the requests for complete."""
        time.sleep(max(self.sent + LATE - time.monotonic(), 0))

    def _ask(self, images: list[Path], request_id: str = "") -> Iterator[tuple[Path, dict[str, str]]]:
        import requests

        with requests.Session() as session:
            for path in images:
                named = {"X-Request-Id": request_id.format(path.stem)} if request_id else {}
                answer = session.post(f"{self.url}/predict", data=path.read_bytes(), headers=named, timeout=10)
                answer.raise_for_status()
                found = answer.json()
                if "predictions" in found:
                    found |= found["predictions"][0]
                yield path, found
