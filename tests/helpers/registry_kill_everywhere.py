"""Run one piece of the registry's work in a child that is killed before its first file operation, after it, before its
second, …; a write is also killed in its middle.

After each kill, what readers see is the state before or the state after, and doing the work again completes it.
Usage: python registry_kill_everywhere.py SCENARIO FOLDER all|sample; prints how many kills there were, and of how many
moments. Not run by pytest itself: it forks.
"""

import io
import os
import signal
import sys
import tempfile
from pathlib import Path

from kill_sample import sample
from registry_faults_parts import copy
from registry_parts import acceptance
from registry_parts import promote as promoted
from registry_parts import publish as published
from signed_registry import config_of
from versions import append_release, approval_draft, release_draft

from pipelines.trust import open_registry
from registry import archiving, candidates, heads, releases
from registry.archived import archived
from registry.files import CHUNK
from registry.stores import open_store
from registry.verify import verify

OPERATIONS = ("open", "link", "unlink", "mkdir", "rename", "rmdir", "scandir", "fchmod", "fsync")
FILES = {"model.keras": b"weights", "model.tflite": b"served", "saved_model/same": b"served"}
LARGE = b"other weights".ljust(CHUNK + 3, b".")  # written in two ways
NEW = FILES | {"model.keras": LARGE}  # one that is new, one that is known, and twice the same


def first(store, folder):
    return published(store, folder, "new", files=FILES)


def publish(store, folder):
    return published(store, folder, "new", files=NEW)


def accept(store, _folder):
    """As the step does: nothing more when this run's acceptance test is there."""
    kept = [each.number for each in candidates.acceptances(store, "digits", 1) if each.run == "run"]
    return kept[0] if kept else candidates.append_acceptance(store, acceptance(store, 1)).number


def promote(store, _folder):
    """As the command does: reads the history once, resumes with the approval that is there, releases once for it."""
    known = releases.read_history(store, "digits")
    releases.copy_to_production(store, "digits", 1)
    digest = candidates.manifest_digest(store, "digits", 1)
    approval = releases.append_approval(store, approval_draft("digits", 1, digest, "new"), known)
    if made := known.release_with(approval.number):
        heads.write_head(store, "digits")
        return made.number
    draft = release_draft("digits", 1, digest, approval=approval.number)
    return releases.append_release(store, draft, 0, known).number


def rollback(store, _folder):
    """As the command with `--to 1` does: nothing when it is live already."""
    current = releases.latest(store, "digits")
    if current.version == 1:
        return current.number
    return append_release(store, "digits", 1, after=current.number).number


def nothing(_store, _folder):
    pass


def old(store, folder):
    published(store, folder, "old", files=FILES)


def tested(store, folder):
    old(store, folder)
    accept(store, folder)


def two_released(store, folder):
    tested(store, folder)
    promote(store, folder)
    promoted(store, published(store, folder, "newer", files=NEW), "newer")


def three_released(store, folder):
    two_released(store, folder)
    promoted(store, published(store, folder, "newest", files=FILES), "newest")


def archive(store, folder):
    """As the command does."""
    target = open_store(f"file://{folder / 'team' / 'archive'}")
    who = archiving.Who("ada", "2026-07-01T08:00:00+00:00", "room")
    return archiving.archive(store, target, "file:///archive", ("digits", 2), who, lambda: ()).number


SCENARIOS = {
    "archive": (three_released, archive),
    "first": (nothing, first),
    "publish": (old, publish),
    "accept": (old, accept),
    "promote": (tested, promote),
    "rollback": (two_released, rollback),
}


def seen(store):
    """What any reader may see."""
    versions = candidates.versions(store, "digits")
    away = archived(store, "digits")
    for version in sorted({*versions} - away.keys()):
        candidates.local_folder(store, "test", "digits", version)
    live = releases.live(store, "digits")
    if live:
        candidates.local_folder(store, "production", "digits", live.version, live.card)
    return (
        versions,
        [len(candidates.acceptances(store, "digits", version)) for version in versions],
        live and live.version,
        len(releases.releases(store, "digits")),
        sorted(away),
    )


class Counter:
    """Counts the moments before and after each operation, in all threads; dies at one of them (0: at none).

    `kind_of(*arguments)` says what sort of an operation it is, where its name does not.
    """

    def __init__(self, kill_at, kind_of=None):
        self.left, self.kind_of, self.kinds = kill_at, kind_of, []

    def tick(self, kind):
        self.kinds.append(kind)
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, operation):
        def counted(*arguments, **more):
            kind = self.kind_of(*arguments) if self.kind_of else operation.__name__
            self.tick(f"before {kind}")
            found = operation(*arguments, **more)
            self.tick(f"after {kind}")
            return found

        return counted

    def install(self):
        counter, fdopen = self, os.fdopen
        os.fsync = lambda _fd: None  # nothing here depends on a power cut, and it saves minutes

        class HalfWritten(io.FileIO):
            """Writes half of what it is given, so that there is a moment in the middle."""

            def write(self, data):
                counter.tick("in a write")
                return super().write(memoryview(data)[: max(1, len(data) // 2)])

        for name in OPERATIONS:
            setattr(os, name, self.around(getattr(os, name)))

        def half_written(fd, mode="r", *more, **options):
            if mode != "wb":
                return fdopen(fd, mode, *more, **options)
            raw = HalfWritten(fd, mode)
            return raw if options.get("buffering") == 0 else io.BufferedWriter(raw)

        os.fdopen = half_written


def in_child(work, counter, install):
    """Run `work` in a child whose moments are counted, which may kill it; gives whether it was killed, and the kinds of all
    its moments when it was not."""
    with tempfile.TemporaryFile("w+") as kinds:
        child = os.fork()
        if child == 0:
            install(counter)
            try:
                work()
                kinds.write("\n".join(counter.kinds))
                kinds.flush()
            except BaseException:  # noqa: BLE001  (the exit code reports it)
                sys.excepthook(*sys.exc_info())
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status in {0, signal.SIGKILL}, f"the child failed: {status}"
        kinds.seek(0)
        return status != 0, kinds.read().splitlines()


def moments(which, kinds):
    """The moments to kill at. Threads take turns as they like: a run may have a few more moments than the one before."""
    return sample(kinds) if which == "sample" else range(1, len(kinds) + 1)


def main(scenario, folder, which):
    prepare, work = SCENARIOS[scenario]
    original, team = folder / "original", folder / "team"  # registry and home, as they were and as they become
    root, config = team / "registry", config_of(team)
    os.fsync = lambda _fd: None
    prepare(open_registry(config), folder)
    before = seen(open_registry(config))
    copy(team, original)
    number = work(open_registry(config), folder)
    after = seen(open_registry(config))
    assert before != after

    copy(original, team)
    _, kinds = in_child(lambda: work(open_registry(config), folder), Counter(0), Counter.install)
    kills = 0
    for moment in moments(which, kinds):
        copy(original, team)
        killed, _ = in_child(lambda: work(open_registry(config), folder), Counter(moment), Counter.install)
        store = open_registry(config)
        assert verify(store) == [], f"after kill {moment}"
        assert seen(store) in (before, after), f"after kill {moment}"
        left = [path for path in root.rglob("*") if path.is_file() and "unfinished" in path.parts]
        assert len(left) <= 3 * os.cpu_count(), left  # files are stored side by side
        if killed:
            kills += 1
            assert work(store, folder) == number, f"after kill {moment}"
            assert seen(store) == after
            assert verify(open_registry(config)) == []
    print(kills, len(kinds))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
