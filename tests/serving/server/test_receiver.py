"""Connections wait without a thread: whole requests are handed out, slow ones end, and the oldest silent one is closed for a new one."""

import contextlib
import dataclasses
import datetime as dt
import json
import selectors
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from serving.metrics.layout import CLOSED, REFUSALS
from serving.server import refusals
from serving.server.connection_table import QUIET
from serving.server.limits import Limits, Stage
from serving.server.receiver import CONTINUE, OVERDUE, SOON, SPREAD, SWEEP, Receiver

GET = b"GET / HTTP/1.1\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"
LIMITS = Limits(max_body=1000, connections=6, per_address=3, seconds=30, idle_seconds=15, head_seconds=10)


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class World:
    """A receiver, its clients, and what it handed to a thread."""

    def __init__(self, limits=LIMITS):
        self.clock, self.selector = Clock(), selectors.DefaultSelector()
        self.handed, self.refused, self.closed = [], [], []
        self.receiver = Receiver(
            self.selector, limits, self.handed.append, self._refuse, self.closed.append, clock=self.clock
        )
        self.clients = []

    def _refuse(self, _conn, refusal):
        assert (str(refusal.status), refusal.reason) in REFUSALS
        self.refused.append(refusal.status)
        return refusal.answer("id")

    def connect(self, address="127.0.0.1", said=b"", tls=None):
        """A client, and our side of it."""
        ours, theirs = socket.socketpair()
        theirs.settimeout(10)
        self.clients.append(theirs)
        if said:
            theirs.sendall(said)
        before = set(self.open())
        self.receiver.add(ours, (address, 1), ("127.0.0.1", 80), tls)
        return theirs, next(iter(set(self.open()) - before), None)

    def open(self):
        return self.receiver._table.all()

    def turn(self, seconds=0.0, *, stopping=False):
        """What the main loop does."""
        self.clock.now += seconds
        for key, _ in self.selector.select(0):
            key.data(key.fileobj)
        self.receiver.sweep(stopping=stopping)

    def answer(self, conn, data=b"answer", *, keep=True):
        """As a thread does."""
        size = conn.scan.end
        conn.recv(size)
        conn.sendall(data)
        if keep:
            assert conn.finish_request(0)
        self.receiver.answered(conn, keep=keep)

    def close(self):
        for each in self.clients:
            each.close()
        for conn in self.open():
            conn.socket.close()
        self.selector.close()


@pytest.fixture
def world():
    made = []

    def make(**changes):
        made.append(World(dataclasses.replace(LIMITS, **changes)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def ended(client):
    """What the client gets until the end of the connection."""
    received = b""
    while data := client.recv(1 << 20):
        received += data
    return received


def test_a_request_is_handed_out_when_its_last_byte_has_come(world):
    world = world()
    client, conn = world.connect()
    for i in range(len(POST)):
        client.sendall(POST[i : i + 1])
        world.turn()
    client.sendall(b"1234")
    world.turn()
    assert world.handed == []
    assert conn.stage is Stage.BODY
    client.sendall(b"5")
    world.turn()
    assert world.handed == [conn]
    assert conn.complete
    world.answer(conn)
    assert client.recv(100) == b"answer"
    assert conn.stage is Stage.IDLE


def test_requests_that_came_together_are_answered_one_after_the_other(world):
    world = world()
    client, conn = world.connect(said=GET * 3)
    client.sendall(GET)
    for count in range(1, 5):
        world.turn()
        world.turn()
        assert len(world.handed) == count
        world.answer(conn, b"%d" % count)
    world.turn()
    assert len(world.handed) == 4
    assert client.recv(100) == b"1234"


@pytest.mark.parametrize(("said", "seconds", "status"), [(b"", 10, None), (GET[:5], 10, 408), (POST, 30, 408)])
def test_who_is_too_slow_to_send_is_refused_if_a_request_has_begun(world, said, seconds, status):
    world = world()
    client, _ = world.connect(said=said)
    world.turn(seconds - 0.1)
    assert world.receiver.count == 1
    world.turn(0.5)
    if status:
        client.shutdown(socket.SHUT_WR)
        world.turn()
    answer = ended(client)
    assert (world.refused, world.closed) == (([status], []) if status else ([], ["silent"]))
    assert answer.startswith(b"HTTP/1.1 408 ") if status else answer == b""
    world.turn()
    assert world.receiver.count == 0


def test_no_byte_now_and_then_makes_a_head_last_longer(world):
    world = world()
    client, _ = world.connect(said=GET[:2])
    for each in GET[2:13]:
        world.turn(1)
        client.sendall(bytes([each]))
    world.turn(1)
    assert world.refused == [408]


def test_a_body_that_comes_at_the_least_rate_is_awaited(world):
    world = world(max_body=10 << 20)
    client, conn = world.connect(said=b"POST / HTTP/1.1\r\nContent-Length: 2000000\r\n\r\n")
    for _ in range(100):  # 16 KiB per second
        client.sendall(b"x" * (16 << 10))
        world.turn(1)
    assert conn.stage is Stage.BODY
    for _ in range(32):
        world.turn(1)
    assert world.refused == [408]


def test_a_kept_connection_may_idle_and_then_ends_without_a_word(world):
    world = world()
    client, conn = world.connect(said=GET)
    world.answer(conn)
    world.turn(14.9)
    client.sendall(GET)
    world.turn()
    world.answer(conn)
    world.turn(15.1)
    assert ended(client) == b"answeranswer"
    assert world.closed == []


def test_an_answer_that_is_not_read_occupies_no_thread_and_ends(world):
    world = world()
    client, conn = world.connect(said=GET)
    world.answer(conn, b"x" * (8 << 20))
    assert conn.stage is Stage.SENDING
    world.turn(25)
    assert client.recv(1 << 20)
    world.turn(4)
    assert conn.stage is Stage.SENDING
    for _ in range(100):
        world.turn(10)
    assert (world.receiver.count, world.closed) == (0, ["slow_to_receive"])


def test_a_large_answer_arrives_whole_and_the_next_request_is_read_after_it(world):
    world = world()
    client, conn = world.connect(said=GET + GET)
    world.answer(conn, b"x" * (8 << 20))
    received = 0
    while received < 8 << 20:
        received += len(client.recv(1 << 20))
        world.turn()
    assert world.handed == [conn, conn]


def test_a_client_that_waits_for_a_word_gets_it_before_the_body(world):
    world = world()
    client, _ = world.connect(said=POST[:-2] + b"Expect: 100-continue\r\n\r\n")
    assert client.recv(100) == CONTINUE
    client.sendall(b"12345")
    world.turn()
    assert len(world.handed) == 1


def test_a_body_that_is_too_large_is_answered_and_then_thrown_away(world):
    world = world()
    client, conn = world.connect(said=b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n")
    assert not conn.complete
    world.answer(conn, b"too large", keep=False)
    sent = 0
    client.setblocking(False)
    while sent < 3_000_000:
        try:
            sent += client.send(b"x" * 65536)
        except BlockingIOError:
            world.turn()
    client.setblocking(True)
    assert ended(client) == b"too large"
    client.close()
    for _ in range(20):
        world.turn()
    assert world.receiver.count == 0


def test_what_is_thrown_away_has_an_end(world):
    world = world()
    client, conn = world.connect(said=GET)
    world.answer(conn, keep=False)
    for _ in range(40):
        client.send(b"x")
        world.turn(1)
        if world.receiver.count == 0:
            break
    assert world.receiver.count == 0
    assert world.clock.now < 100 + LIMITS.seconds + 3


def test_a_client_that_has_ended_its_side_gets_its_answer(world):
    world = world()
    client, conn = world.connect(said=GET)
    client.shutdown(socket.SHUT_WR)
    world.turn()
    world.answer(conn)
    world.turn()
    assert ended(client) == b"answer"
    assert world.receiver.count == 0


def test_a_body_that_ends_early_is_handed_out_as_incomplete(world):
    world = world()
    client, conn = world.connect(said=POST + b"12")
    client.shutdown(socket.SHUT_WR)
    world.turn()
    assert world.handed == [conn]
    assert not conn.complete
    assert conn.recv(100) == POST + b"12"
    assert conn.recv(100) == b""


@pytest.mark.parametrize("said", [b"", GET[:4], POST + b"1"])
def test_a_client_that_goes_in_the_middle_leaves_nothing_behind(world, said):
    world = world()
    client, _ = world.connect(said=said)
    client.close()
    world.turn()
    for conn in world.handed:
        world.answer(conn, keep=False)
    assert (world.receiver.count, world.receiver.load, world.receiver._table.buffered) == (0, 0, 0)


def test_a_connection_that_is_closed_in_the_turn_in_which_it_says_something_is_let_be(world):
    world = world()
    client, _ = world.connect()
    _, other = world.connect(said=GET)
    client.sendall(GET)
    events = world.selector.select(0)
    assert world.receiver.close_oldest()
    for key, _ in events:
        key.data(key.fileobj)
    assert world.handed == [other]
    assert world.receiver.count == 1


def test_an_error_in_one_connection_ends_that_one_only(world, caplog):
    world = world()
    client, conn = world.connect()
    _, other = world.connect()
    conn.scan = None  # whatever makes it fail
    client.sendall(GET)
    world.turn()
    assert world.open() == [other]
    assert "an error in the connection of" in caplog.text


def test_an_end_that_the_parser_sees_elsewhere_ends_the_connection(world):
    world = world()
    _, conn = world.connect(said=GET + b"more")
    conn.recv(len(GET) + 4)
    assert not conn.finish_request(3)


def test_many_whose_time_is_over_at_once_are_closed_over_a_while(world):
    world = world(connections=3 * SPREAD)
    for _ in range(2 * SPREAD):
        world.connect(said=GET[:5])
    world.turn(10.5)
    assert len(world.refused) == 2
    client, _ = world.connect(said=GET)
    assert len(world.handed) == 1
    world.turn(SOON + 0.001)
    assert len(world.refused) == 4
    turns = 2
    while len(world.refused) < 2 * SPREAD:
        world.turn(SOON + 0.001)
        turns += 1
    assert SPREAD < turns < 2 * SPREAD
    world.answer(world.handed[0])
    assert client.recv(10) == b"answer"


def test_a_sweep_looks_only_at_those_whose_time_may_be_over(world, monkeypatch):
    world = world(connections=1000)
    for said in (b"", GET[:5], POST):
        for _ in range(200):
            world.connect(said=said)
    asked = []
    deadline = Limits.deadline
    monkeypatch.setattr(Limits, "deadline", lambda *args, **more: (asked.append(1), deadline(*args, **more))[1])
    world.turn(5)
    assert len(asked) == 3, "one of each stage"


class TestRoom:
    def test_the_oldest_silent_connection_is_closed_for_a_new_one(self, world):
        world = world(per_address=100)
        said = [b"", GET, GET[:3], POST + b"1", b"", GET]
        clients = []
        for each in said:
            world.clock.now += 0.01
            clients.append(world.connect(said=each))
        for _, conn in clients:
            if conn.stage is Stage.ANSWERING:
                world.clock.now += 0.01
                world.answer(conn)
        gone = []
        for _ in range(6):
            world.clock.now += 0.01
            _, new = world.connect(said=GET)  # is being answered for ever
            assert new in world.handed
            gone += [i for i, (_, conn) in enumerate(clients) if conn.socket.fileno() < 0 and i not in gone]
            assert world.receiver.count == 6
        assert gone == [0, 2, 4, 3, 1, 5]
        assert world.refused == [503, 503]
        assert world.closed == ["connections"] * 4
        assert ended(clients[2][0]).startswith(b"HTTP/1.1 503 ")

    def test_nobody_who_is_being_answered_has_to_go(self, world):
        world = world(per_address=100)
        for _ in range(8):
            world.connect(said=GET)
        assert world.receiver.count == len(world.handed) == 8
        assert not world.receiver.close_oldest()

    def test_one_address_cannot_have_all(self, world):
        world = world(connections=100)
        clients = [world.connect("203.0.113.9") for _ in range(4)]
        assert world.receiver.count == 3
        assert ended(clients[0][0]) == b""
        world.connect("198.51.100.1")
        assert world.receiver.count == 4

    def test_a_new_connection_of_an_address_that_has_too_many_is_refused_when_all_others_are_answered(self, world):
        world = world(connections=100)
        for _ in range(3):
            world.connect("203.0.113.9", said=GET)
        client, _ = world.connect("203.0.113.9", said=GET)
        assert world.refused == [429]
        client.shutdown(socket.SHUT_WR)
        world.turn()
        answer = ended(client)
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["request_id"] == "id"
        assert len(world.handed) == 3

    def test_this_machine_is_not_counted_by_address(self, world):
        world = world(connections=100)
        for _ in range(10):
            world.connect()
        assert world.receiver.count == 10

    def test_bodies_have_a_memory_and_the_one_that_began_first_has_to_go(self, world):
        world = world(max_body=40 << 20, per_address=100)  # four of them
        clients = [world.connect(said=b"POST / HTTP/1.1\r\nContent-Length: 41000000\r\n\r\n") for _ in range(6)]
        piece = b"x" * 65536
        for _ in range(41_000_000 // len(piece)):
            for client, conn in clients:
                if conn.socket.fileno() >= 0:
                    client.sendall(piece)
            world.turn()
            assert world.receiver._table.buffered <= 160 << 20
        assert world.refused == [503, 503]
        assert [conn.socket.fileno() < 0 for _, conn in clients] == [True, True, False, False, False, False]

    def test_heads_have_the_same_memory(self, world, monkeypatch):
        monkeypatch.setattr(Limits, "buffered", property(lambda _: 10_000))
        world = world(connections=100)
        clients = [world.connect(said=GET[:-2] + b"x" * 2_000) for _ in range(7)]
        assert world.receiver._table.buffered <= 10_000
        assert [conn.socket.fileno() < 0 for _, conn in clients] == [True, True, True, False, False, False, False]
        assert set(world.refused) == {503}

    def test_a_body_of_too_many_chunks_is_answered(self, world):
        world = world(max_body=1 << 20)
        client, _ = world.connect(said=b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(200):
                client.sendall(b"1\r\nx\r\n" * 100)
                world.turn()
        assert world.refused == [413]


class TestLoad:
    def test_silent_connections_are_no_load(self, world):
        world = world()
        world.connect()
        client, conn = world.connect(said=GET)
        assert world.receiver.load == 2
        world.turn(QUIET + SWEEP)
        assert world.receiver.load == 1
        world.answer(conn)
        assert world.receiver.load == 1
        world.turn(QUIET + SWEEP)
        assert world.receiver.load == 0
        client.sendall(GET)
        world.turn()
        assert world.receiver.load == 1
        client.close()
        world.answer(conn)
        world.turn()
        assert world.receiver.load == 0

    def test_a_stopping_server_closes_what_idles_after_a_moment(self, world):
        world = world()
        world.connect()
        _, kept = world.connect(said=GET)
        world.answer(kept)
        _, begun = world.connect(said=POST)
        world.turn(1.9, stopping=True)
        assert world.receiver.count == 3
        world.turn(0.5, stopping=True)
        assert world.open() == [begun]


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
    """For a server with a certificate of its own making, and for a client that does not mind."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(file)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    return server, client


def test_every_reason_for_closing_one_is_counted_under_a_name_of_its_own():
    for refusal in (refusals.TOO_MANY, refusals.TOO_MANY_OF_ADDRESS, refusals.TOO_MUCH):
        assert refusal.reason in CLOSED
    assert set(OVERDUE.values()) | {"no_tls"} <= set(CLOSED)


class TestTls:
    def secured(self, world, raw, context):
        """The client's side, after the handshake."""
        secure = context.wrap_socket(raw, do_handshake_on_connect=False)
        secure.setblocking(False)
        world.clients.append(secure)
        for _ in range(20):
            try:
                secure.do_handshake()
                break
            except ssl.SSLWantReadError:
                world.turn()
        return secure

    def read(self, world, secure, size):
        received = b""
        for _ in range(2000):
            world.turn()
            try:
                received += secure.recv(1 << 16)
            except ssl.SSLWantReadError:
                if len(received) >= size:
                    break
        return received

    def test_requests_and_answers_of_any_size_go_through_it(self, world, contexts):
        world = world(max_body=1 << 20)
        raw, conn = world.connect(tls=contexts[0])
        assert conn.stage is Stage.HANDSHAKE
        secure = self.secured(world, raw, contexts[1])
        body = b"x" * 500_000
        data = memoryview(b"POST / HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + body)
        while data:
            with contextlib.suppress(ssl.SSLWantWriteError, ssl.SSLWantReadError):
                data = data[secure.send(data) :]
            world.turn()
        for _ in range(20):
            world.turn()
        assert world.handed == [conn]
        world.answer(conn, b"y" * 3_000_000)
        assert self.read(world, secure, 3_000_000) == b"y" * 3_000_000
        assert conn.stage is Stage.IDLE

    @pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
    def test_a_client_that_goes_before_the_handshake_is_not_counted_as_closed(self, world, contexts, said):
        world = world()
        client, _ = world.connect(tls=contexts[0], said=said)
        client.close()
        world.turn()
        assert (world.receiver.count, world.closed) == (0, [])

    @pytest.mark.parametrize("said", [b"", GET, b"\x16\x03\x01"])
    def test_a_handshake_that_does_not_come_is_given_up_without_a_thread(self, world, contexts, said):
        world = world()
        world.connect(tls=contexts[0], said=said)
        world.turn(10.5)
        assert (world.receiver.count, world.handed, world.refused) == (0, [], [])
        assert world.closed == ["no_tls" if said == GET else "slow_handshake"]
