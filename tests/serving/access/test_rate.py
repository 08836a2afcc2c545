"""Requests a second per client."""

import fcntl
import os
import signal
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.access import rate
from serving.access.rate import RateLimit


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_seconds_worth_is_answered_at_once_and_then_as_many_as_the_rate_allows(clock):
    limit = RateLimit(5, clock)
    assert [limit.wait("a") > 0 for _ in range(7)] == [False] * 5 + [True] * 2
    clock.now += limit.wait("a")
    assert limit.wait("a") == 0
    assert limit.wait("a") == pytest.approx(0.2)


def test_clients_do_not_share(clock):
    limit = RateLimit(1, clock)
    assert [limit.wait("a"), limit.wait("b")] == [0, 0]
    assert min(limit.wait("a"), limit.wait("b")) > 0


def test_less_than_one_a_second_is_possible(clock):
    limit = RateLimit(0.1, clock)
    assert limit.wait("a") == 0
    assert limit.wait("a") == pytest.approx(10)
    clock.now += 10
    assert limit.wait("a") == 0


@given(st.floats(0.2, 50), st.lists(st.floats(0, 0.5), max_size=200))
def test_whatever_the_times_no_client_gets_more_than_rate_and_burst(allowed, pauses):
    clock = Clock()
    limit, answered, began = RateLimit(allowed, clock), 0, clock.now
    for pause in pauses:
        clock.now += pause
        answered += limit.wait("a") == 0
    assert answered <= (clock.now - began) * allowed + max(1.0, allowed) + 1


def test_a_million_clients_make_the_table_no_larger_and_the_newest_are_limited(clock, monkeypatch):
    monkeypatch.setattr(rate, "SETS", 4)
    limit = RateLimit(1, clock)
    for number in range(2_000):
        clock.now += 0.001
        assert limit.wait(f"client {number}") == 0
    assert limit.wait("client 1999") > 0
    assert len(limit._memory) == 4 * rate.WIDTH


def test_the_table_takes_128_kib(clock):
    assert len(RateLimit(1, clock)._memory) == 128 * 1024


def test_of_more_clients_than_a_set_holds_the_one_that_asked_least_lately_is_forgotten(clock, monkeypatch):
    monkeypatch.setattr(rate, "SETS", 1)
    limit = RateLimit(0.001, clock)
    for number in range(rate.WAYS):
        clock.now += 1
        assert limit.wait(f"client {number}") == 0
    assert all(limit.wait(f"client {number}") > 0 for number in range(rate.WAYS))
    clock.now += 1
    assert limit.wait("one more") == 0  # in the place of client 0
    assert all(limit.wait(f"client {number}") > 0 for number in range(1, rate.WAYS))
    assert limit.wait("client 0") == 0  # in that of client 1
    assert limit.wait("client 1") == 0


def locked(limit, how=fcntl.LOCK_EX):
    """The lock of a client's part of the table, taken as another process does."""
    fcntl.lockf(limit._file, how, rate.WIDTH, limit._place("a")[1])


def test_while_another_process_counts_a_client_this_one_waits(clock):
    limit = RateLimit(10, clock)
    (ready, is_locked), (over, end) = os.pipe(), os.pipe()
    if (child := os.fork()) == 0:
        locked(limit)
        os.write(is_locked, b".")
        os.read(over, 1)
        os._exit(0)
    os.read(ready, 1)
    answer = []
    asking = threading.Thread(target=lambda: answer.append(limit.wait("a")))
    asking.start()
    asking.join(0.3)
    assert answer == []
    os.write(end, b".")
    asking.join(30)
    assert answer == [0]
    os.waitpid(child, 0)


def test_what_was_counted_is_free_for_other_processes_at_once(clock):
    limit = RateLimit(10, clock)
    limit.wait("a")
    if (child := os.fork()) == 0:
        try:
            locked(limit, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def test_processes_and_threads_count_together_and_one_that_is_killed_blocks_nobody():
    limit = RateLimit(40, lambda: 100.0)  # at one moment: 40 in all
    reading, writing = os.pipe()
    children = []
    for _ in range(2):
        if (pid := os.fork()) == 0:
            threads = [threading.Thread(target=_ask, args=(limit, writing)) for _ in range(2)]
            for each in threads:
                each.start()
            for each in threads:
                each.join()
            os.kill(os.getpid(), signal.SIGKILL)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert len(pipe.read()) == 40
    assert limit.wait("a") > 0
    assert limit.wait("b") == 0


def _ask(limit, writing):
    for _ in range(50):
        if limit.wait("a") == 0:
            os.write(writing, b".")
