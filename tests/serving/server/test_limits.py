"""How many connections there may be and how long each may take."""

import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.limits import (
    MOST,
    OTHER_FILES,
    Limits,
    Stage,
    address_key,
    connection_limits,
    exempt,
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


def test_this_machine_and_trusted_proxies_are_not_counted_by_address():
    networks = exempt(["10.0.0.0/8"])
    assert [each in networks for each in ("127.0.0.1", "::1", "10.9.9.9", "203.0.113.9")] == [True, True, True, False]
