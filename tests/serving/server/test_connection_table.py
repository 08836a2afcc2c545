"""Which connections there are, which count as load, and which one has to go when there are too many."""

from dataclasses import dataclass, field

import pytest

from serving.server.connection_table import ConnectionTable
from serving.server.limits import Limits, Stage

LIMITS = Limits(max_body=1000, connections=4, per_address=2)
NEAR, FAR = "127.0.0.1", "203.0.113.9"


@dataclass(eq=False)
class Conn:
    """A connection, as far as the table needs one."""

    address: str = FAR
    stage: Stage = Stage.NEW
    since: float = 0.0
    progress: int = 0
    held: int = 0
    input: bytearray = field(default_factory=bytearray)
    output: bytearray = field(default_factory=bytearray)


class World:
    def __init__(self):
        self.now = 100.0
        self.table = ConnectionTable(LIMITS, lambda: self.now)

    def add(self, stage=Stage.NEW, address=FAR, **values):
        """One that waits for this since now; a second passes."""
        conn = Conn(address=address)
        self.table.add(conn)
        if stage is not Stage.NEW:
            self.table.begin(conn, stage)
        for name, value in values.items():
            setattr(conn, name, value)
        self.now += 1
        return conn


@pytest.fixture
def world():
    return World()


@pytest.fixture
def table(world):
    return world.table


class TestOneMore:
    def test_is_counted_and_waits_from_now_on(self, world, table):
        conn = Conn(progress=7)
        table.add(conn)
        assert (table.count, table.load, table.all()) == (1, 1, [conn])
        assert (conn.stage, conn.since, conn.progress) == (Stage.NEW, 100.0, 0)

    def test_fits_until_there_are_as_many_as_may_be(self, world, table):
        for count in range(4):
            assert table.is_full is False
            world.add()
            assert table.count == count + 1
        assert table.is_full is True

    def test_that_is_closed_leaves_nothing_behind(self, world, table):
        conn, other = world.add(input=bytearray(b"12")), world.add(address=NEAR)
        conn.output += b"3"
        table.account(conn)
        assert table.buffered == 3
        table.remove(conn)
        assert (table.count, table.load, table.buffered, table.all()) == (1, 1, 0, [other])
        assert (bytes(conn.input), bytes(conn.output), conn.held) == (b"", b"", 0)
        assert list(table._by_address) == [NEAR]
        table.remove(other)
        assert (table.count, table._by_address) == (0, {})


class TestBytes:
    def test_are_those_that_are_held_now(self, world, table):
        conn, other = world.add(input=bytearray(b"1234"), output=bytearray(b"56")), world.add(input=bytearray(b"7"))
        for each, held in ((conn, 6), (conn, 6), (other, 7)):
            table.account(each)
            assert table.buffered == held
        conn.input.clear()
        table.account(conn)
        assert (table.buffered, conn.held) == (3, 2)

    def test_more_than_may_be_held_cost_the_request_that_began_first(self, world, table):
        silent, body, head = world.add(), world.add(Stage.BODY), world.add(Stage.HEAD)
        world.add(Stage.ANSWERING)
        table.buffered = LIMITS.buffered
        assert table.one_too_much() is None
        table.buffered += 1
        assert table.one_too_much() is body
        table.remove(body)
        assert table.one_too_much() is head
        table.remove(head)
        assert table.one_too_much() is None
        assert silent in table.all()


class TestTheOldest:
    def test_is_the_one_that_has_been_silent_for_longest_whatever_it_waits_for(self, world, table):
        head, new, hands = world.add(Stage.HEAD), world.add(Stage.NEW), world.add(Stage.HANDSHAKE)
        idle = world.add(Stage.IDLE, since=0.0)
        for each in (head, new, hands, idle):
            assert table.oldest() is each
            table.remove(each)
        assert table.oldest() is None

    def test_is_else_one_that_lingers_sends_or_is_idle_in_this_order_and_none_that_is_answered(self, world, table):
        found = [
            world.add(stage) for stage in (Stage.ANSWERING, Stage.IDLE, Stage.SENDING, Stage.BODY, Stage.LINGERING)
        ]
        for each in found[:0:-1]:
            assert table.oldest() is each
            table.remove(each)
        assert table.oldest() is None

    def test_begins_anew_when_it_waits_for_something_else(self, world, table):
        first, second = world.add(), world.add()
        table.begin(first, Stage.HEAD)
        table.begin(first, Stage.NEW)
        assert table.oldest() is second


class TestOneAddress:
    def test_may_have_a_few(self, world, table):
        first, second = world.add(), world.add()
        assert not table.too_many_of(second)
        third = world.add()
        assert table.too_many_of(third)
        assert table.too_many_of(first)
        table.remove(first)
        assert not table.too_many_of(third)

    @pytest.mark.parametrize("address", ["", NEAR])
    def test_of_a_socket_or_of_this_machine_may_have_as_many_as_it_wants(self, world, table, address):
        conns = [world.add(address=address) for _ in range(4)]
        assert not table.too_many_of(conns[-1])

    def test_gives_up_its_oldest_other_one_that_is_not_answered(self, world, table):
        answered, old, new = world.add(Stage.ANSWERING), world.add(), world.add()
        world.add(address="198.51.100.7")
        assert table.older_of(new) is old
        assert table.older_of(old) is new
        table.remove(old)
        assert table.older_of(new) is None
        assert table.older_of(answered) is new


class TestLoad:
    def test_is_what_asks_or_has_just_come(self, world, table):
        conn = world.add()
        world.now = conn.since + 1.0
        table.overdue(stopping=False)
        assert table.load == 1
        world.now += 0.01
        table.overdue(stopping=False)
        assert table.load == 0
        table.asks(conn)
        assert table.load == 1

    def test_is_what_is_being_answered_for_however_long(self, world, table):
        world.add(Stage.ANSWERING)
        world.now += 1000
        table.overdue(stopping=False)
        assert table.load == 1

    def test_is_not_what_has_gone(self, world, table):
        table.remove(world.add())
        assert table.load == 0


class TestOverdue:
    def test_are_those_whose_time_is_over(self, world, table):
        first, second = world.add(), world.add()
        world.now = first.since + 10
        assert table.overdue(stopping=False) == [first]
        world.now -= 0.01
        assert table.overdue(stopping=False) == []
        world.now += 1.01
        assert table.overdue(stopping=False) == [first, second]

    def test_a_body_that_comes_gets_more_time_and_does_not_hide_the_next_one(self, world, table):
        quick, slow = world.add(Stage.BODY, progress=32 << 10), world.add(Stage.BODY)
        world.now = slow.since + 30
        assert table.overdue(stopping=False) == [slow]
        quick.progress = 0
        assert table.overdue(stopping=False) == [quick, slow]

    def test_when_the_server_stops_silent_ones_have_less_time(self, world, table):
        conn = world.add()
        world.now = conn.since + 2
        assert table.overdue(stopping=False) == []
        assert table.overdue(stopping=True) == [conn]
