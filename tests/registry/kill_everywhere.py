"""Run one piece of the registry's work in a child that is killed before its first file operation, its second, …

After each kill, what readers see is the state before or the state after, and doing the work again completes it.
Usage: python kill_everywhere.py SCENARIO FOLDER; prints how many kills there were. Not run by pytest itself: it forks.
"""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from registry_parts import FILES, publish, trial

from registry import candidates, releases
from registry.stores import open_store
from registry.verify import verify

OPERATIONS = {
    "open",
    "os.link",
    "os.mkdir",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.chmod",
    "os.scandir",
    "os.truncate",
}
MORE = {"more.json": b"only in the new version"}


def register(store, folder):
    return publish(store, folder, "new", files=FILES | MORE)


def accept(store, _folder):
    """As the step does: nothing more when this run's trial is there."""
    kept = [each.number for each in candidates.acceptances(store, "digits", 1) if each.run == "run"]
    return kept[0] if kept else candidates.append_acceptance(store, trial(store, 1)).number


def promote(store, _folder):
    """As the command does: goes on with the approval that is there, releases once per approval."""
    releases.copy_to_production(store, "digits", 1)
    digest = candidates.card_digest(store, "digits", 1)
    approval = releases.append_approval(store, "digits", 1, card=digest, token="new", by="ada")
    said = releases.releases(store, "digits")
    for each in said:
        if each.approval == approval.number:
            return each.number
    return releases.append_release(
        store,
        "digits",
        1,
        card=digest,
        by="ada",
        reason="",
        approval=approval.number,
        after=said[-1].number if said else None,
    ).number


def old(store, folder):
    publish(store, folder, "old")


def nothing(_store, _folder):
    pass


SCENARIOS = {
    "first": (nothing, register),
    "register": (old, register),
    "accept": (old, accept),
    "promote": (old, promote),
}


def seen(store):
    """What any reader may see."""
    versions = candidates.versions(store, "digits")
    for version in versions:
        candidates.local_folder(store, "test", "digits", version)
    live = releases.live(store, "digits")
    if live:
        candidates.local_folder(store, "production", "digits", live.version, live.card)
    return (
        versions,
        [len(candidates.acceptances(store, "digits", version)) for version in versions],
        live and live.version,
        len(releases.releases(store, "digits")),
    )


def in_child(work, kill_before):
    """Run `work` in a child, killed before its operation number `kill_before`; whether it was killed."""
    child = os.fork()
    if child == 0:
        count = 0

        def operation(*_):
            nonlocal count
            count += 1
            if count == kill_before:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(lambda event, _: operation() if event in OPERATIONS else None)
        os.fsync = operation  # nothing here depends on a power cut, and it saves minutes
        try:
            work()
        except BaseException:  # noqa: BLE001  (told by the exit code)
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in {0, signal.SIGKILL}, f"the child failed: {status}"
    return status != 0


def main(scenario, folder):
    prepare, work = SCENARIOS[scenario]
    original, root = folder / "original", folder / "registry"
    prepare(open_store(f"file://{original}"), folder)
    before = seen(open_store(f"file://{original}"))
    copy(original, root)
    number = work(open_store(f"file://{root}"), folder)
    after = seen(open_store(f"file://{root}"))
    assert before != after

    kills = 0
    while True:
        copy(original, root)
        killed = in_child(lambda: work(open_store(f"file://{root}"), folder), kills + 1)
        store = open_store(f"file://{root}")
        assert verify(store) == [], f"after kill {kills + 1}"
        assert seen(store) in (before, after), f"after kill {kills + 1}"
        left = [path for path in root.rglob("*") if path.is_file() and "unfinished" in path.parts]
        assert len(left) <= 2 * os.cpu_count(), left  # files are stored side by side
        if not killed:
            break
        kills += 1
        assert work(store, folder) == number, f"after kill {kills}"
        assert seen(store) == after
        assert verify(store) == []
    print(kills)  # noqa: T201


def copy(original, root):
    shutil.rmtree(root, ignore_errors=True)
    if original.exists():
        subprocess.run(["cp", "-a", original, root], check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
