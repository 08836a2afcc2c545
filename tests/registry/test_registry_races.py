"""Many at once: one wins, the others are sent to check, and numbers have no gaps."""

import subprocess
import sys
import threading
from pathlib import Path

from registry_parts import acceptance, promote, publish, release
from versions import approval_draft

from registry import candidates, releases
from registry.errors import TryAgain
from registry.stores import open_store
from registry.verify import verify

MANY = 40

RELEASE = """
import sys
from registry_parts import release
from registry.errors import TryAgain
from registry.stores import open_store

store, name, wanted = open_store(sys.argv[1]), sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
won = lost = 0
while won < wanted:
    try:
        print("won", release(store, 1, by=name).number)
        won += 1
    except TryAgain:
        lost += 1
print("lost", lost)
"""


def at_once(act):
    """Call `act(0)` … `act(MANY - 1)` in threads that start together; gives what each returned or raised."""
    start, results = threading.Barrier(MANY), [None] * MANY

    def run(number):
        start.wait()
        try:
            results[number] = act(number)
        except TryAgain as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=[number]) for number in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_of_forty_who_release_after_the_same_release_one_wins(store, tmp_path):
    promote(store, publish(store, tmp_path, "run"), "token")
    results = at_once(lambda number: release(store, 1, by=str(number), after=1))
    won = [each for each in results if not isinstance(each, TryAgain)]
    assert len(won) == 1
    assert releases.live(store, "digits") == won[0]
    assert verify(store) == []


def test_forty_who_try_until_they_win_leave_no_gap(store, tmp_path):
    promote(store, publish(store, tmp_path, "run"), "token")

    def act(number):
        while True:
            try:
                return release(store, 1, by=str(number)).number
            except TryAgain:
                continue

    assert sorted(at_once(act)) == list(range(2, MANY + 2))
    assert [each.number for each in releases.releases(store, "digits")] == list(range(1, MANY + 2))


def test_processes_who_release_at_once_leave_no_gap(folder_store, tmp_path):
    promote(folder_store, publish(folder_store, tmp_path, "run"), "token")
    url, each_wants = f"file://{tmp_path / 'registry'}", 15
    command = [sys.executable, "-c", RELEASE, url]
    processes = [
        subprocess.Popen(
            [*command, f"process-{number}", str(each_wants)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1] / "helpers",
        )
        for number in range(4)
    ]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
    said = []
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        said += process.communicate()[0].splitlines()
        assert process.returncode == 0
    won = sorted(int(line.split()[1]) for line in said if line.startswith("won"))
    assert won == list(range(2, 4 * each_wants + 2))
    found = releases.releases(folder_store, "digits")
    assert [each.number for each in found] == list(range(1, 4 * each_wants + 2))
    assert all(sum(each.by == f"process-{number}" for each in found) == each_wants for number in range(4))
    assert verify(folder_store) == []


def test_forty_runs_get_forty_numbers(store):
    numbers = at_once(lambda number: candidates.claim(store, "digits", f"run-{number}"))
    assert sorted(numbers) == list(range(1, MANY + 1))
    assert [candidates.find_run(store, "digits", f"run-{number}") for number in range(MANY)] == numbers


def test_forty_processes_of_one_run_get_one_number_also_beside_others(store):
    numbers = at_once(lambda number: candidates.claim(store, "digits", "mine" if number % 2 else f"other-{number}"))
    mine = set(numbers[1::2])
    assert len(mine) == 1
    assert sorted([*mine, *numbers[::2]]) == list(range(1, MANY // 2 + 2))


def test_forty_who_publish_the_same_version_at_once_publish_it(store, tmp_path):
    results = at_once(lambda number: publish(store, tmp_path / str(number), "run"))
    assert results == [1] * MANY
    assert verify(store) == []


def test_forty_acceptance_tests_at_once_are_all_kept(store, tmp_path):
    publish(store, tmp_path, "run")
    draft = acceptance(store, 1)
    results = at_once(lambda _number: candidates.append_acceptance(store, draft).number)
    assert sorted(results) == list(range(1, MANY + 1))
    assert len(candidates.acceptances(store, "digits", 1)) == MANY


def test_forty_approvals_with_one_token_are_one(store, tmp_path):
    publish(store, tmp_path, "run")
    digest = candidates.manifest_digest(store, "digits", 1)
    at_once(lambda _number: releases.append_approval(store, approval_draft("digits", 1, digest, "t")))
    assert len(releases.approvals(store, "digits")) == 1


def test_a_reader_beside_a_writer_never_sees_half_a_version(folder_store, tmp_path):
    done, seen, wrong = threading.Event(), set(), []
    reader = open_store(f"file://{tmp_path / 'registry'}")

    def read():
        while not done.is_set():
            newest = candidates.newest(reader, "digits")
            wrong.extend(verify(reader))
            if newest is not None:
                candidates.local_folder(reader, "test", "digits", newest)
                seen.add(newest)
            live = releases.live(reader, "digits")
            if live:
                candidates.local_folder(reader, "production", "digits", live.version, live.card)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in range(1, 9):
            promote(folder_store, publish(folder_store, tmp_path, f"run-{number}"), f"token-{number}")
    finally:
        done.set()
        thread.join()
    assert wrong == []
    assert seen <= set(range(1, 9))
