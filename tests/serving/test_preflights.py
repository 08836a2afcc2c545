"""A release is tried once for all workers, in a process that may end in any way."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from registry import candidates
from serving.job import ServeJob
from serving.known_good import Live
from serving.preflights import Preflights, Result, for_all, result_of

LIVE = Live(2, 5, "c" * 64)


def never():
    return False


@pytest.fixture
def preflights(tmp_path):
    """`preflights(code)`: those whose program is this Python code; each start leaves a line in the file `starts`."""

    def made(code, **more):
        program = f"import os, signal, sys, time; open('starts', 'a').write('x'); asked = sys.stdin.read(); {code}"
        return Preflights(ServeJob("m"), tmp_path, (sys.executable, "-c", program), **more)

    return made


def starts(folder):
    return len((folder / "starts").read_text(encoding="utf-8"))


def test_what_has_loaded_is_not_tried_again(preflights, tmp_path):
    ours = preflights("sys.exit(0)")
    assert ours.known(LIVE.card) is None
    assert ours.of(LIVE, never).outcome == "loaded"
    assert preflights("sys.exit(1)").of(LIVE, never).outcome == "loaded", "another worker's, too"
    assert starts(tmp_path) == 1


def test_the_program_is_given_what_to_load_and_where(preflights, tmp_path):
    preflights("open('asked', 'w').write(asked)").of(LIVE, never)
    asked = json.loads((tmp_path / "asked").read_bytes())
    assert asked["live"] == {"release": 2, "version": 5, "card": LIVE.card}
    assert json.loads(asked["job"])["model"] == "m"
    assert asked["copies"] == str(tmp_path / "models")
    assert asked["memory_mb"] > 0


@pytest.mark.parametrize(("hard", "limit"), [(512 << 20, 512 << 20), (4 << 30, 1 << 30), (-1, 1 << 30)])
def test_the_limit_of_memory_is_none_that_a_runner_has_forbidden(hard, limit):
    code = f"""
import resource
from serving.preflight import _limit_memory
resource.setrlimit(resource.RLIMIT_DATA, ({hard}, {hard}))
_limit_memory(1 << 30)
print(resource.getrlimit(resource.RLIMIT_DATA)[0])
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{limit}\n", "")


def test_a_crash_is_tried_without_a_limit_of_memory_too_and_then_never_again(preflights, tmp_path):
    ours = preflights("os.kill(os.getpid(), signal.SIGSEGV)")
    result = ours.of(LIVE, never)
    assert (result.outcome, result.final) == ("crashed", True)
    assert result.reason == "it crashed the process that loaded it (SIGSEGV)"
    assert starts(tmp_path) == 2
    time.sleep(1.1)
    assert ours.of(LIVE, never) == result
    assert starts(tmp_path) == 2


def test_a_crash_that_only_the_limit_of_memory_makes_is_none(preflights):
    code = "import json; json.loads(asked)['memory_mb'] and os.kill(os.getpid(), signal.SIGSEGV)"
    assert preflights(code).of(LIVE, never).outcome == "loaded"


def test_a_refusal_has_its_reason_and_counts_for_all_who_ask_at_the_same_time(preflights, tmp_path):
    ours = preflights('print(\'{"reason": "it is not a model", "memory": false}\'); sys.exit(3)')
    results = []
    threads = [threading.Thread(target=lambda: results.append(ours.of(LIVE, never))) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert {(each.outcome, each.reason, each.final) for each in results} == {("refused", "it is not a model", False)}
    assert starts(tmp_path) == 1
    time.sleep(1.1)
    ours.of(LIVE, never)
    assert starts(tmp_path) == 2, "later it is tried again"


def test_a_release_for_which_not_all_server_processes_have_memory_is_loaded_by_none(preflights, monkeypatch):
    monkeypatch.setattr("serving.preflights.free_mb", lambda: 1000)
    ours = preflights("print('{\"memory_mb\": 501}')")  # and there are two
    result = ours.of(LIVE, never)
    assert (result.outcome, result.final) == ("out of memory", False)
    assert result.reason == (
        "2 server processes need 1002 MB of memory for it beside what they serve, and 1000 MB are free: "
        "set [serving] workers to fewer, or give it more"
    )
    monkeypatch.setattr("serving.preflights.free_mb", lambda: 1002)
    time.sleep(1.1)
    assert ours.of(LIVE, never).outcome == "loaded", "later it is tried again"


@pytest.mark.parametrize(("memory", "free"), [(0, 10), (500, 0), (5, 10)])
def test_what_fits_or_is_not_known_is_no_reason(memory, free):
    result = Result("loaded", memory_mb=memory)
    assert for_all(result, 2, free) is result


def test_the_memory_that_a_model_takes_is_measured(registry, tmp_path):
    version = registry.put("digits")
    number = registry.release(version)
    card = candidates.manifest_digest(registry.store, "m", version, "production")
    ours = Preflights(ServeJob("m", registry=registry.url), tmp_path)
    result = ours.of(Live(number, version, card), never)
    assert result.outcome == "loaded"
    assert 0 < result.memory_mb < 500


def test_a_preflight_that_hangs_is_ended(preflights):
    result = preflights("time.sleep(60)", seconds=0.3).of(LIVE, never)
    assert (result.outcome, result.reason) == ("too slow", "it did not load within 0 s")
    assert not result.final


def test_a_newer_release_ends_the_preflight_and_the_wait_for_one(preflights, tmp_path):
    ours, newer = preflights("time.sleep(60)"), threading.Event()
    results = []
    threads = [threading.Thread(target=lambda: results.append(ours.of(LIVE, newer.is_set))) for _ in range(2)]
    for each in threads:
        each.start()
    while not (tmp_path / "starts").exists():
        time.sleep(0.01)
    newer.set()
    for each in threads:
        each.join(5)
    assert results == [None, None]
    assert ours.known(LIVE.card) is None


def test_a_full_disk_under_the_results_fails_no_release(preflights, tmp_path, monkeypatch):
    ours = preflights("sys.exit(0)")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("serving.preflights.write_whole", full)
    assert ours.of(LIVE, never).outcome == "loaded"


@pytest.mark.parametrize(
    ("code", "said", "outcome", "final", "reason"),
    [
        (-signal.SIGKILL, b"", "out of memory", False, "SIGKILL"),
        (-signal.SIGABRT, b"", "crashed", False, "SIGABRT"),
        (-signal.SIGBUS, b"", "crashed", True, "SIGBUS"),
        (-signal.SIGFPE, b"", "crashed", True, "SIGFPE"),
        (3, b'{"reason": "there is not enough memory", "memory": true}', "out of memory", False, "not enough memory"),
        (3, b"", "refused", False, "ended with 3"),
        (1, b"", "refused", False, "ended with 1"),
    ],
)
def test_each_end_has_its_words(code, said, outcome, final, reason):
    result = result_of(code, said)
    assert (result.outcome, result.final) == (outcome, final)
    assert reason in result.reason


def test_a_preflight_ends_with_the_worker_that_waits_for_it(tmp_path):
    code = "import time\nfrom serving.preflight import _go_first\n_go_first()\nopen('pid', 'w').write(str(__import__('os').getpid()))\ntime.sleep(60)"
    program = (sys.executable, "-c", code)
    if worker := os.fork():
        while not (tmp_path / "pid").exists() or not (pid := (tmp_path / "pid").read_text(encoding="utf-8")):
            time.sleep(0.01)
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)
        deadline = time.monotonic() + 10
        while os.path.exists(f"/proc/{pid}/stat") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not os.path.exists(f"/proc/{pid}/stat") or _state(pid) == "Z"
    else:
        Preflights(ServeJob("m"), tmp_path, program).of(LIVE, never)
        os._exit(0)


def _state(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        return file.read().rpartition(")")[2].split()[0]
