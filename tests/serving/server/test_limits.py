"""How many connections there may be and how long each may take."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.job import ServeJob
from serving.server.limits import (
    MOST,
    OTHER_FILES,
    Limits,
    Stage,
    address_key,
    connection_limits,
    exempt,
    limits_for,
    raise_open_files,
)

LIMITS = Limits(max_body=1 << 20, connections=100, per_address=50)
FIXED = [each for each in Stage if each not in {Stage.BODY, Stage.SENDING, Stage.ANSWERING}]


@pytest.mark.parametrize("stage", FIXED)
def test_what_is_short_has_a_time_that_no_byte_makes_longer(stage):
    deadlines = {LIMITS.deadline(stage, 100.0, progress, stopping=False) for progress in (0, 1, 1 << 30)}
    assert len(deadlines) == 1
    assert 100 < deadlines.pop() <= 115


@pytest.mark.parametrize("stage", [Stage.BODY, Stage.SENDING])
@given(progress=st.integers(0, 1 << 34))
def test_a_body_and_an_answer_have_their_time_and_that_of_the_least_rate(stage, progress):
    assert LIMITS.deadline(stage, 100.0, progress, stopping=False) == 100 + LIMITS.seconds + progress / LIMITS.rate


def test_a_request_that_is_being_answered_has_no_deadline():
    assert LIMITS.deadline(Stage.ANSWERING, 0.0, 0, stopping=True) == float("inf")


def test_a_stopping_server_waits_for_requests_that_have_begun_only():
    for stage in Stage:
        seconds = LIMITS.deadline(stage, 0.0, 0, stopping=True)
        assert (seconds <= 2.0) == (stage not in {Stage.HEAD, Stage.BODY, Stage.SENDING, Stage.ANSWERING})


@pytest.mark.parametrize(
    ("client", "key"),
    [
        (("203.0.113.9", 5), "203.0.113.9"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::"),
        (("::ffff:203.0.113.9", 5, 0, 0), "203.0.113.9"),
        (("::1", 5, 0, 0), "::1"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::"),
        ("", ""),
        (b"", ""),
    ],
)
def test_clients_are_counted_by_address_and_ipv6_by_network(client, key):
    assert address_key(client) == key


@pytest.mark.parametrize(
    ("wanted", "per_address", "files", "found"),
    [
        (0, 0, MOST + OTHER_FILES, (MOST, MOST // 2)),
        (0, 0, 1024, (1024 - OTHER_FILES, (1024 - OTHER_FILES) // 2)),
        (0, 0, 100, (16, 8)),
        (200, 0, 10_000, (200, 100)),
        (200, 500, 10_000, (200, 200)),
        (20_000, 10, 10_256, (10_000, 10)),
        (1, 0, 10_000, (1, 1)),
        (10, 0, 10_000, (10, 8)),
        (0, 0, 10_000, (4096, 2048)),
    ],
)
def test_there_are_never_more_connections_than_files_may_be_open(wanted, per_address, files, found):
    assert connection_limits(wanted, per_address, files) == found


def test_the_limit_of_open_files_is_raised_as_far_as_it_may_be():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        allowed = raise_open_files(500)
        assert (
            allowed
            == resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            == min(500 + OTHER_FILES, hard if hard > 0 else 10**9)
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def open_files(monkeypatch):
    """Sets the soft and the hard limit of open files, as far as limits.py sees them; the list has what it has set."""
    changed = []

    def give(soft, hard):
        monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda _, both: changed.append(both))
        changed.clear()
        return changed

    return give


ANY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "allowed", "changed"),
    [
        (1024, ANY, 0, MOST + OTHER_FILES, [(MOST + OTHER_FILES, ANY)]),
        (1024, ANY, 1000, 1256, [(1256, ANY)]),
        (1024, 1100, 1000, 1100, [(1100, 1100)]),
        (1256, 4096, 1000, 1256, []),
        (ANY, ANY, 1000, 1256, []),
        (1255, 1255, 1000, 1255, [(1255, 1255)]),
    ],
)
def test_the_limit_is_raised_once_to_what_is_needed_and_never_lowered(open_files, soft, hard, wanted, allowed, changed):
    made = open_files(soft, hard)
    assert (raise_open_files(wanted), made) == (allowed, changed)


def test_the_settings_decide_what_clients_may_do(open_files):
    open_files(100_000, 100_000)
    job = ServeJob(
        "m", max_body_mb=3, max_connections=100, max_connections_per_address=7, timeout_seconds=9,
        trusted_proxies=("10.0.0.0/8",),
    )  # fmt: skip
    found = limits_for(job, idle_seconds=4.0)
    assert (found.max_body, found.connections, found.per_address) == (3 << 20, 100, 7)
    assert (found.seconds, found.idle_seconds, found.head_seconds) == (9, 4.0, 9)
    assert "10.1.2.3" in found.exempt
    assert limits_for(ServeJob("m", timeout_seconds=30), 4.0).head_seconds == 10


@pytest.mark.parametrize(("max_body", "most"), [(1 << 20, 64 << 20), (16 << 20, 64 << 20), (17 << 20, 68 << 20)])
def test_memory_holds_four_of_the_largest_bodies_and_64_mib_at_least(max_body, most):
    limits = Limits(max_body, connections=100, per_address=50)
    assert limits.buffered == limits.drained == most


def test_without_settings_a_client_has_these_times():
    assert [LIMITS.deadline(stage, 0.0, 0, stopping=False) for stage in Stage] == [
        10, 10, 10, 2.0, 30.0, 30.0, 15.0, float("inf"),
    ]  # fmt: skip
    assert LIMITS.deadline(Stage.BODY, 0.0, 16 << 10, stopping=False) == 31.0
    assert [LIMITS.deadline(stage, 0.0, 0, stopping=True) for stage in FIXED] == [2.0, 2.0, 10, 2.0, 2.0]
    assert [each in LIMITS.exempt for each in ("127.9.9.9", "::1", "10.1.2.3")] == [True, True, False]


def test_this_machine_and_trusted_proxies_are_not_counted_by_address():
    networks = exempt(["10.0.0.0/8"])
    assert [each in networks for each in ("127.0.0.1", "::1", "10.9.9.9", "203.0.113.9")] == [True, True, True, False]
