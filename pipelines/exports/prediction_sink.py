"""Send the closed segments of a prediction log to a server that takes CloudEvents in batches: `[prediction_log] sink = "http"`.

Outside the API, whose fence leaves it no network. What was taken is removed here; what was not stays, within the bounds of
the log, and is sent the next time. A server may get a batch twice: the events' ids say so.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests

from pipelines.exports.http import Bearer
from pipelines.text.clean import clean
from registry.errors import ConfigError, TryAgain
from registry.files import write_whole
from serving.prediction_log.cloud_events import CONTENT_TYPE, as_batch, batches
from serving.prediction_log.segments import Segment, blocks, closed, exclusive, recover

TRIES = 5
PAUSE_SECONDS = 1.0
"""Before the second try; twice as long before each further one."""
ANSWER_SECONDS = 30.0
PROGRESS = "sent.json"
LATER = {408, 425, 429}


@dataclass(frozen=True, slots=True)
class Sent:
    """What came of it."""

    lines: int
    segments: int
    dropped: int
    """Lines that the server will never take."""


def send(folder: Path, url: str, token: str, pause: Callable[[float], None] = time.sleep) -> Sent:
    """Send all closed segments, oldest first; TryAgain when the server does not answer, after TRIES tries."""
    with exclusive(folder):
        recover(folder)
        session = requests.Session()
        session.trust_env = True
        lines = dropped = 0
        found = closed(folder)
        for segment in found:
            sent, lost = _send_segment(folder, segment, lambda body: _post(session, url, token, body, pause))
            lines += sent
            dropped += lost
        return Sent(lines, len(found), dropped)


def _send_segment(folder: Path, segment: Segment, post: Callable[[bytes], bool]) -> tuple[int, int]:
    """How many lines were taken, and refused for good. What was done is noted after each batch."""
    done = _progress(folder, segment)
    all_lines = [line for part in blocks(segment.path) for line in part.splitlines()][1:]
    sent = dropped = 0
    for batch in batches(all_lines[done:]):
        if post(as_batch(batch)):
            sent += len(batch)
        else:
            dropped += len(batch)
        done += len(batch)
        write_whole(folder / PROGRESS, json.dumps({"segment": segment.path.name, "lines": done}).encode())
    segment.path.unlink(missing_ok=True)
    return sent, dropped


def _progress(folder: Path, segment: Segment) -> int:
    try:
        known = json.loads((folder / PROGRESS).read_bytes())
        return int(known["lines"]) if known["segment"] == segment.path.name else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _post(session: requests.Session, url: str, token: str, body: bytes, pause: Callable[[float], None]) -> bool:
    """Whether the server has taken it; False: it never will. Raises TryAgain, or ConfigError for what a person must change."""
    reason = ""
    for number in range(TRIES):
        if number:
            pause(PAUSE_SECONDS * 2 ** (number - 1))
        try:
            with session.post(
                url,
                data=body,
                headers={"Content-Type": CONTENT_TYPE},
                auth=Bearer(token) if token else None,
                timeout=ANSWER_SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                code, reason = answer.status_code, clean(f"{answer.status_code} {answer.reason}", 200)
        except (requests.RequestException, OSError) as error:
            reason = clean(str(error), 300)
            continue
        if code < 300:
            return True
        if code in {401, 403, 404, 405, 415} or 300 <= code < 400:
            hint = "check [prediction_log] url and TRAINYARD_PREDICTION_LOG_TOKEN; nothing was removed"
            raise ConfigError(f"{url}: {reason}", hint=hint)
        if code < 500 and code not in LATER:
            return False
    raise TryAgain(f"{url}: not taken after {TRIES} tries: {reason}", hint="what is left is sent the next time")
