"""Promotions and rollbacks of one model at once, from several processes, with a real API that follows them."""

import itertools
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults_parts import wait_for
from promotion_parts import LEFT, MODEL, Project, clients
from registry_faults_parts import TESTS
from versions import append_release

from pipelines.deploy import api_folder
from pipelines.deploy.serve_job import serve_job
from pipelines.trust import open_registry
from registry import candidates, releases
from registry.stores import open_store
from registry.verify import verify
from serving.server import control

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

# Each process does its own five things as a person would: sent to check, it checks and retries.
PERSON = """
import sys
from pathlib import Path
from registry_faults_parts import TESTS
from promotion_parts import Project
from registry.errors import TryAgain

project = Project(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for what, version, token in (line.split() for line in sys.argv[2:]):
    while True:
        try:
            made = project.promote(int(version), token) if what == "promote" else project.rollback(int(version))
        except TryAgain as error:
            print("again", str(error).partition("\\n")[0], flush=True)
            continue
        print("made", what, version, made.number, made.version, flush=True)
        break
"""


@pytest.fixture
def project(tmp_path, tiny_models):
    made = Project(tmp_path, tiny_models)
    yield made
    made.stop()


def begin(project, work):
    path = str(TESTS / "helpers")
    return subprocess.Popen(
        [sys.executable, "-c", PERSON, str(project.folder), *work],
        cwd=path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={"PYTHONPATH": f"{TESTS.parent}:{path}", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip


def test_twenty_promotions_and_rollbacks_at_once_make_one_history(project):
    """Four people, five decisions each: ten promotions of ten versions, and ten rollbacks."""
    for _ in range(6):
        project.publish("thirds")
        project.publish("dull")
    project.promote(1)
    project.promote(2)
    work = [[] for _ in range(4)]
    for number in range(10):
        work[number % 4].append(f"promote {number + 3} {project.token(number + 3)}")
        work[(number + 2) % 4].append(f"rollback {1 + number % 2} -")
    people = [begin(project, each) for each in work]
    assert [each.stdout.readline() for each in people] == ["ready\n"] * 4
    with clients(project.url, 2) as answers:
        for each in people:
            each.stdin.write("go\n")
            each.stdin.flush()
        said = [each.communicate(timeout=240) for each in people]
    assert [each.returncode for each in people] == [0] * 4, said
    made = [line.split()[1:] for out, _ in said for line in out.splitlines() if line.startswith("made")]
    history = releases.releases(project.store, MODEL)
    assert len(made) == 20
    assert [each.number for each in history] == list(range(1, len(history) + 1))
    assert verify(project.store) == []
    by_number = {each.number: each for each in history}
    promoted = [int(number) for what, _, number, _ in made if what == "promote"]
    assert len(set(promoted)) == 10, "two promotions won one number"
    assert all(by_number[int(number)].version == int(version) for _, _, number, version in made)
    approvals = [each.approval for each in history if each.approval]
    assert sorted(approvals) == list(range(1, 13)), "an approval was used twice, or lost"
    control.await_release(api_folder(project.config), history[-1].number, 60)
    assert project.ask(LEFT)[1]["release"] == history[-1].number
    assert {status for status, _ in answers} == {200}


def test_a_promotion_while_the_api_starts_ends_on_the_newest_release(project):
    """The API that another process is starting may have looked at the registry before the release, or after it."""
    project.publish("thirds")
    project.publish("dull")
    project.promote(1)
    project.stop()
    over = threading.Event()

    def start():
        control.start(serve_job(project.config), api_folder(project.config))

    def release_back_and_forth():
        store, versions = open_registry(project.config), itertools.cycle((1, 2))
        while not over.wait(0.01):  # many while an API starts, which takes a second
            version, last = next(versions), releases.latest(store, MODEL).number
            append_release(store, MODEL, version, after=last, by="grace")

    def one_more():
        """Wait for another release."""
        before = releases.latest(project.store, MODEL).number
        wait_for(lambda: busy.done() or releases.latest(project.store, MODEL).number > before)
        assert not busy.done(), busy.result()

    with ThreadPoolExecutor(2) as pool:
        starting = pool.submit(start)
        release = project.promote(2, store=open_registry(project.config))
        starting.result()
        assert release.number == 2
        assert project.ask(LEFT)[1]["release"] == 2
        busy = pool.submit(release_back_and_forth)
        try:
            for _ in range(2):
                project.stop()
                one_more()
                start()  # in the midst of it
            one_more()
        finally:
            over.set()
        busy.result()
    control.await_release(api_folder(project.config), releases.latest(project.store, MODEL).number, 60)
    assert verify(project.store) == []


def test_readers_beside_writers_see_whole_versions_and_a_history_that_only_grows(project):
    over, wrong, lengths = threading.Event(), [], ([], [])

    def read(seen):
        store = open_store(project.config.registry.url)
        while not over.is_set():
            seen.append(len(releases.read_history(store, MODEL).releases))
            wrong.extend(verify(store))
            live = releases.live(store, MODEL)
            if live:
                candidates.local_folder(store, "production", MODEL, live.version, live.card)
            for version in candidates.versions(store, MODEL):
                candidates.local_folder(store, "test", MODEL, version)

    readers = [threading.Thread(target=read, args=[seen]) for seen in lengths]
    for each in readers:
        each.start()
    try:
        for version in range(1, 7):
            project.publish("thirds" if version % 2 else "dull")
            project.promote(version)
    finally:
        over.set()
        for each in readers:
            each.join()
    assert wrong == []
    for seen in lengths:
        assert seen == sorted(seen)
        assert max(seen) <= 6
