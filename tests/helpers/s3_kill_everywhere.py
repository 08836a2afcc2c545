"""Run one piece of the registry's work on a bucket in a child that is killed before its first request, after it, before its
second, …. What readers see is then the state before or the state after, and the same work again completes it.

Usage: python s3_kill_everywhere.py SCENARIO ENDPOINT URL FOLDER all|sample; prints how many kills there were, and of how
many moments. It forks.
"""

import shutil
import sys
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from registry_kill_everywhere import SCENARIOS, Counter, in_child, moments, seen
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


def kind(_session, request):
    """What a request does: its method, and for one that writes the part of the registry that it writes to."""
    parts = urlsplit(request.url).path.split("/")
    return request.method if request.method in {"GET", "HEAD"} else f"{request.method} {parts[4]}"


def install(counter):
    """Count the requests of boto3's sessions from now on."""
    from botocore.httpsession import URLLib3Session

    URLLib3Session.send = counter.around(URLLib3Session.send)


def main(scenario, endpoint, url, folder, which):
    prepare, work = SCENARIOS[scenario]
    options = StoreOptions(Access(endpoint, "us-east-1"), cache=str(folder / "cache"))
    Probed(folder / "cache", options.access, Place(BUCKET, "", "")).remember("a test's server")
    original = open_store(f"{url}/original", options)
    prepare(original, folder)
    before = seen(original)

    def copied(name):
        store = open_store(f"{url}/{name}", options)
        copy_objects(original, store)
        return store

    store = copied("whole")
    number = work(store, folder)
    after = seen(store)
    assert before != after

    copied("counted")
    _, kinds = in_child(lambda: work(open_store(f"{url}/counted", options), folder), Counter(0, kind), install)
    kills = 0
    for moment in moments(which, kinds):
        store = copied(moment)
        again = partial(open_store, f"{url}/{moment}", options)
        killed, _ = in_child(lambda: work(again(), folder), Counter(moment, kind), install)  # noqa: B023
        assert verify(store) == [], f"after kill {moment}"
        assert seen(store) in (before, after), f"after kill {moment}"
        if killed:
            kills += 1
            assert work(store, folder) == number, f"after kill {moment}"
            assert seen(store) == after
            assert verify(store) == []
    print(kills, len(kinds))  # noqa: T201
    shutil.rmtree(folder / "cache")


if __name__ == "__main__":
    main(*sys.argv[1:4], Path(sys.argv[4]), sys.argv[5])
