"""Run one piece of the registry's work on a bucket in a child that is killed before its first request, after it, before its
second, …. What readers see is then the state before or the state after, and the same work again completes it.

Usage: python s3_kill_everywhere.py SCENARIO ENDPOINT URL FOLDER; prints how many kills there were. It forks.
"""

import os
import shutil
import sys
from pathlib import Path

from registry_kill_everywhere import SCENARIOS, Counter, seen
from s3_server import BUCKET

from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.store_options import Access, StoreOptions
from registry.stores import open_store
from registry.verify import verify


def copy_objects(store, other):
    """All objects of a registry to another prefix, server-side."""
    at = store._objects
    for name, _ in at.listing("", deep=True):
        at.client.copy_object(
            Bucket=BUCKET, Key=other._objects.place.key(name), CopySource={"Bucket": BUCKET, "Key": at.place.key(name)}
        )


def in_child(work, kill_at):
    """Run `work` in a child that is killed at its moment number `kill_at`: before or after a request."""
    child = os.fork()
    if child == 0:
        from botocore.httpsession import URLLib3Session

        counter = Counter(kill_at)
        URLLib3Session.send = counter.around(URLLib3Session.send)
        try:
            work()
        except BaseException:  # noqa: BLE001  (the exit code reports it)
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in {0, 9}, f"the child failed: {status}"
    return status != 0


def main(scenario, endpoint, url, folder):
    prepare, work = SCENARIOS[scenario]
    options = StoreOptions(Access(endpoint, "us-east-1"), cache=str(folder / "cache"))
    Probed(folder / "cache", options.access, Place(BUCKET, "", "")).remember("a test's server")
    original = open_store(f"{url}/original", options)
    prepare(original, folder)
    before, kills, after, number = seen(original), 0, None, None
    while True:
        store = open_store(f"{url}/{kills}", options)
        copy_objects(original, store)
        if kills == 0:
            number = work(store, folder)
            after = seen(store)
            assert before != after
        else:
            killed = in_child(lambda: work(open_store(f"{url}/{kills}", options), folder), kills)  # noqa: B023
            assert verify(store) == [], f"after kill {kills}"
            assert seen(store) in (before, after), f"after kill {kills}"
            if not killed:
                break
            assert work(store, folder) == number, f"after kill {kills}"
            assert seen(store) == after
            assert verify(store) == []
        kills += 1
    print(kills - 1)  # noqa: T201
    shutil.rmtree(folder / "cache")


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]))
