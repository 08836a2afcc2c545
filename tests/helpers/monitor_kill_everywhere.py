"""A monitor that is killed before its first change to the disk, its second, …, and then called again: nothing is lost or sent twice.

Usage: python monitor_kill_everywhere.py FOLDER EVERY, where EVERY is the stride (2: before change 1, 3, 5, …); writes the number of kills to stdout. Not run by pytest itself: it forks.
"""

import os
import shutil
import sys
from pathlib import Path

from killed_child import dies
from monitor_parts import config, drift, failing, health, looking, name

from pipelines.exports.http import Server
from pipelines.monitor.service import monitor_once
from pipelines.monitor.store import MonitorStore

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "monitor.posted"}
FIRST = (failing(1), failing(2))
SECOND = (*FIRST, *(health(number, drift(outcome="passed"), drift("inputs.other")) for number in (3, 4)))


def is_change(event, arguments):
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and flags & WRITES and not str(path).startswith(("/dev/", "/proc/"))
    return event in CHANGES


class Posted:
    """What the webhook has got, in a file, as its receiver is another process that nobody kills."""

    def __init__(self, folder):
        self.file = folder / "posted.txt"

    def deliver(self, document):
        with self.file.open("a") as file:
            file.write(f"{document['id']}\n")
        sys.audit("monitor.posted")  # a kill between the server's taking it and our knowing that

    def ids(self):
        return self.file.read_text().split()


def check(settings, posted, seen):
    """What must hold once a call has come to its end."""
    store, home = MonitorStore(settings), Path(settings.home)
    assert store.health_ids() == sorted(map(name, seen)), store.health_ids()
    state = store.state()
    assert state.pending == (), state
    mails = [each.name for place in ("pending", "sent") for each in (home / "outbox" / place).glob("*.eml")]
    notices = 1 if seen == FIRST else 2
    assert len(mails) == notices, mails
    assert len(set(posted.ids())) == notices, posted.ids()
    assert list((store.folder / "webhook" / "pending").iterdir()) == []
    done = [each.partition(" ")[2] for each in store.alarm(1).done]
    reported = ["mail to owner@company.example", "queued for the webhook"]
    assert done == ["raised", *reported] + (["over", *reported] if seen == SECOND else []), done
    assert store.alarm_numbers() == ([1] if seen == FIRST else [1, 2])
    assert [each.number for each in state.alarms] == ([1] if seen == FIRST else [2])
    assert (store.folder / "report" / "index.html").exists()
    assert not list(store.folder.rglob(".tmp-*"))


def go(folder, every):
    kills = 0
    for before, seen in (((), FIRST), (FIRST, SECOND)):
        number = 1
        while True:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            settings, posted = config(folder, webhook="http://127.0.0.1:9/hook"), Posted(folder)
            Server.deliver = posted.deliver
            if before:
                monitor_once(settings, looking(*before))
            killed = dies(lambda: monitor_once(settings, looking(*seen)) and None, is_change, number)  # noqa: B023
            monitor_once(settings, looking(*seen))
            check(settings, posted, seen)
            if not killed:
                break
            kills += 1
            number += every
    sys.stdout.write(f"{kills}\n")


if __name__ == "__main__":
    go(Path(sys.argv[1]), int(sys.argv[2]))
