"""Connections are balanced among the workers; one that holds too many gives some up."""

import errno
import json
import os
import signal
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from serving_parts import Client

from serving.server import control
from serving.server.connection_balance import IGNORED, NOT_ACCEPTING, PATIENCE, PAUSE, ConnectionBalance
from serving.server.gunicorn_worker import AT_ONCE, Worker

ROUNDS, CLIENTS = 20, 16
BODY = json.dumps({"instances": [[[0] * 8] * 8]})


def who(client, path="/health/live"):
    """Which process answered: the first part of the ids that it gives; and whether the connection is kept."""
    status, headers, _ = client.ask("GET", path)
    assert status == 200
    return headers["X-Request-Id"].partition("-")[0], headers["Connection"]


def all_at_once(clients):
    """Each asks once, all at the same time; which process answered each."""
    found, start = {}, threading.Barrier(len(clients))

    def ask(i, client):
        start.wait()
        found[i] = who(client)[0]

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Counter(found.values())


@pytest.fixture
def api(registry, start):
    """URL and folder."""
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=2, threads=4)
    control.await_release(folder, 1, 20)
    return url, folder


@pytest.fixture
def url(api):
    return api[0]


def test_sixteen_kept_connections_are_balanced_every_time(url, until):
    for _ in range(ROUNDS):
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(url)) for _ in range(CLIENTS)]
            share = all_at_once(clients)
            assert len(share) == 2, f"one worker has them all: {share}"
            assert min(share.values()) >= 5, share
        # both have seen that these are gone, or the next round does not begin with none
        until(lambda: abs(connections(url)) == 0)


def connections(url):
    """How many connections the workers hold, but for the one that asks."""
    port = int(url.rpartition(":")[2])
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    states = [fields[3] for fields in map(str.split, lines) if int(fields[1].rpartition(":")[2], 16) == port]
    return sum(state in {"01", "08"} for state in states)  # established, or waiting for our side to close


def test_a_worker_that_has_all_connections_asks_clients_to_come_again(api, until):
    url, folder = api
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(url)) for _ in range(CLIENTS)]
        all_at_once(clients)
        pids = [each["pid"] for each in control.status(folder)["workers"]]
        os.kill(pids[0], signal.SIGKILL)  # the other one gets what this one had, before there is a new one
        found = until(lambda: once_more(clients))
        assert sum(found.values()) == CLIENTS
        until(lambda: len(share := all_at_once(clients)) == 2 and min(share.values()) >= CLIENTS // 4)


def once_more(clients):
    """Who answers each, one after the other; a client whose worker was killed connects anew."""
    found = Counter()
    for client in clients:
        try:
            found[who(client)[0]] += 1
        except (OSError, EOFError):
            client._connection.close()
            found[who(client)[0]] += 1
    return found


class TestAccept:
    """Of one worker, without a server."""

    class Listener:
        def __init__(self, waiting):
            self.waiting = waiting

        def getsockname(self):
            return "127.0.0.1", 80

        def accept(self):
            if not self.waiting:
                raise BlockingIOError(errno.EAGAIN, "none")
            self.waiting -= 1
            return object(), ("127.0.0.1", 1)

    class Receiver:
        count = load = 0

        def add(self, *_):
            self.count += 1
            self.load += 1

    @pytest.fixture
    def worker(self):
        worker = object.__new__(Worker)
        worker.cfg, worker.worker_connections = SimpleNamespace(is_ssl=False), 100
        worker.connections = ConnectionBalance().add_worker()
        worker.receiver = self.Receiver()
        return worker

    def test_who_has_connected_is_accepted_without_a_turn_of_the_loop_for_each(self, worker):
        listener = self.Listener(AT_ONCE + 3)
        worker.accept(listener)
        assert (worker.nr_conns, listener.waiting) == (AT_ONCE, 3)
        worker.accept(listener)
        assert (worker.nr_conns, listener.waiting) == (AT_ONCE + 3, 0)

    def test_no_more_are_than_a_worker_may_have(self, worker):
        worker.worker_connections = 5
        worker.accept(self.Listener(9))
        assert worker.nr_conns == 5


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class TestConnectionBalance:
    @pytest.fixture
    def clock(self):
        return Clock()

    @pytest.fixture
    def balance(self, clock):
        return ConnectionBalance(clock)

    def test_a_connection_is_left_to_who_holds_fewer(self, balance):
        one, two = balance.add_worker(), balance.add_worker()
        two.publish(3)
        assert one.should_wait(4)
        assert not one.should_wait(3)

    def test_of_many_a_few_more_do_not_matter(self, balance):
        one, two = balance.add_worker(), balance.add_worker()
        two.publish(300)
        assert not one.should_wait(320)
        assert one.should_wait(330)

    def test_no_connection_waits_for_a_worker_that_accepts_none_or_has_ended(self, balance):
        one, two = balance.add_worker(), balance.add_worker()
        two.publish(0)
        two.publish(NOT_ACCEPTING)
        assert not one.should_wait(4)
        two.publish(0)
        balance.remove_worker(two)
        assert not one.should_wait(4)

    def test_what_the_others_do_not_take_is_taken_and_they_are_not_counted_on_for_a_while(self, balance, clock):
        one, two = balance.add_worker(), balance.add_worker()
        two.publish(0)
        for _ in range(int(PATIENCE * 1000)):
            assert one.should_wait(4)
            clock.now += 0.001
        clock.now += 0.001
        assert not one.should_wait(4)
        clock.now += IGNORED - 0.01
        assert not one.should_wait(4)
        assert not one.should_shed(4)
        clock.now += 0.02
        assert one.should_wait(4)

    def test_patience_begins_anew_with_a_connection_that_comes_later_or_when_another_one_was_taken(
        self, balance, clock
    ):
        one, two = balance.add_worker(), balance.add_worker()
        for count in (0, 0, 1, 2, 0, 1):
            two.publish(count)
            assert one.should_wait(4)
            clock.now += PATIENCE if count == 0 else PATIENCE - 0.01

    def test_clients_are_asked_to_come_again_one_after_the_other(self, balance, clock):
        one, two = balance.add_worker(), balance.add_worker()
        two.publish(0)
        assert one.should_shed(4)
        assert not one.should_shed(4)
        clock.now += PAUSE
        assert not one.should_shed(2)
        clock.now += PAUSE
        assert one.should_shed(4)
        assert not two.should_shed(0)

    def test_one_worker_alone_takes_all(self, balance):
        one = balance.add_worker()
        one.publish(100)
        assert not one.should_wait(100)
        assert not one.should_shed(100)

    def test_slots_are_used_again(self, balance):
        for _ in range(1000):
            share = balance.add_worker()
            share.publish(1)
            balance.remove_worker(share)
        assert share.slot == 0

    def test_more_workers_than_slots_do_no_harm(self, balance):
        many = [balance.add_worker() for _ in range(70)]
        many[-1].publish(3)
        assert not many[-1].should_wait(0)
        balance.remove_worker(many[-1])
