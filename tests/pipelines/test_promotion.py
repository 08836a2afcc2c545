"""From a token to a release that answers, with a real API; and the way back when it does not."""

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from promotion_parts import LEFT, MODEL, RIGHT, House, Interrupted, ask, clients, frozen

from pipelines.promotion import _check_again
from registry import candidates, releases
from registry.errors import ConfigError, Rejected, TryAgain, WorkerFailed

pytestmark = pytest.mark.tensorflow


@pytest.fixture
def house(tmp_path, tiny_models):
    """A team without an API; one that is started is stopped."""
    made = House(tmp_path, tiny_models)
    yield made
    made.stop()


def test_a_promotion_starts_the_api_and_is_told_once_however_often_it_is_repeated(house):
    token = house.token(house.publish("thirds"))
    release = house.promote(1, token)
    assert (release.number, release.version, release.by) == (1, 1, "ada")
    (approval,) = releases.approvals(house.store, MODEL)
    assert (approval.version, approval.card, approval.by) == (1, candidates.card_digest(house.store, MODEL, 1), "ada")
    assert approval.token not in token  # the id inside, not the token itself
    assert release.approval == approval.number
    status, body = house.ask()
    assert (status, body["release"], body["version"]) == (200, 1, 1)
    before = house.tree()
    assert house.promote(1, token) == release
    house.stop()
    assert house.promote(1, token) == release  # the API was down: it comes up, and nothing is written
    assert house.ask()[0] == 200
    assert house.tree() == before


def test_promotion_and_rollback_under_load_lose_no_request(house):
    """Version 1 never says `right`, version 2 does: an answer shows who gave it."""
    house.publish("dull")
    house.publish("thirds")
    house.promote(1)
    with clients(house.url, 6) as answers:
        while len(answers) < 50:
            threading.Event().wait(0.01)
        house.promote(2)
        assert ask(house.url)[1]["release"] == 2  # every worker had it before we were told
        assert house.rollback().number == 3
        for number in range(4, 8):
            release = house.rollback(to=2 if number % 2 == 0 else 1)
            assert (release.number, ask(house.url)[1]["release"]) == (number, number)
    assert {status for status, _ in answers} == {200}
    for _, body in answers:
        assert body["version"] == {1: 1, 2: 2, 3: 1, 4: 2, 5: 1, 6: 2, 7: 1}[body["release"]]
        assert (body["predictions"][0]["class"] == "right") == (body["version"] == 2)
    assert {body["release"] for _, body in answers} >= {1, 2, 3}


def test_a_release_that_cannot_be_loaded_is_taken_back_and_no_request_notices(house):
    house.publish("thirds")
    house.publish()
    house.promote(1)
    token = house.token(2)
    with clients(house.url, 2) as answers, pytest.raises(WorkerFailed) as failure:
        house.promote(2, token)
    assert failure.value.exit_code == 2
    assert "version 2 of thirds did not go live: release 2 is not served" in str(failure.value)
    assert "version 1 answers as before, now as release 3" in str(failure.value)
    assert house.history == [1, 2, 1]
    back = releases.live(house.store, MODEL)
    assert back.by == "trainyard"
    assert "release 2 did not go live" in back.reason
    assert {status for status, _ in answers} == {200}
    assert {body["version"] for _, body in answers} == {1}
    assert house.ask()[1]["release"] == 3
    with pytest.raises(Rejected, match="used for release 2") as no:
        house.promote(2, token)
    assert "rollback thirds --to 2" in no.value.hint
    with pytest.raises(ConfigError, match="nothing was live before"):  # and not: forward to what has just failed
        house.rollback()
    assert house.history == [1, 2, 1]


def test_a_first_release_that_cannot_be_loaded_is_withdrawn(house):
    house.publish()
    house.publish("thirds")
    with pytest.raises(WorkerFailed, match="release 2 withdrew it, and nothing is live"):
        house.promote(1)
    assert house.history == [1, None]
    assert house.ask()[0] == 503
    assert house.promote(2).number == 3
    assert house.ask()[1]["release"] == 3


def test_an_api_that_gives_no_answer_is_no_reason_to_leave_what_is_live(house):
    house.publish("dull")
    house.publish("thirds")
    house.promote(1)
    live = house.promote(2)
    with frozen(house), pytest.raises(TryAgain, match="no answer"):
        _check_again(house.store, house.config, live, seconds=0.1)
    assert house.history == [1, 2]
    assert house.rollback(to=2) == live


def test_an_api_that_cannot_be_started_is_no_reason_to_leave_what_is_live(house):
    house.publish("dull")
    house.publish("thirds")
    house.promote(1)
    live = house.promote(2)
    house.stop()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = replace(house.config, serving=replace(house.config.serving, port=taken.getsockname()[1]))
        with pytest.raises(ConfigError, match="in use"):
            _check_again(house.store, config, live)
    assert house.history == [1, 2]


def test_what_was_interrupted_and_cannot_be_loaded_is_taken_back_when_it_is_repeated(house):
    house.publish("thirds")
    house.publish()
    house.promote(1)
    token = house.token(2)

    def ctrl_c(name):
        if "/releases/" in name:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        house.promote(2, token, Interrupted(house.store, after=ctrl_c))
    assert house.history == [1, 2]
    with pytest.raises(WorkerFailed, match="version 1 answers as before, now as release 3"):
        house.promote(2, token)
    assert house.history == [1, 2, 1]


def test_a_port_in_use_is_told_before_anything_is_written(house):
    house.publish("thirds")
    before = house.tree()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        house.config = replace(house.config, serving=replace(house.config.serving, port=port))
        with pytest.raises(ConfigError, match=f"port {port} is in use"):
            house.promote(1)
    assert house.tree() == before
    assert house.promote(1).number == 1


def test_who_loses_the_race_is_told_to_look_and_changes_nothing_that_is_live(house):
    for kind in ("thirds", "dull"):
        house.publish(kind)

    def somebody_else_first(name):
        if "/releases/" in name:
            house.promote(2)

    with pytest.raises(TryAgain, match="someone else released") as lost:
        house.promote(1, store=Interrupted(house.store, before=somebody_else_first))
    assert lost.value.exit_code == 75
    assert house.history == [2]
    assert house.ask()[1]["version"] == 2


def test_one_token_makes_one_release_however_many_use_it_at_once(house):
    token = house.token(house.publish("thirds"))

    def once(_):
        try:
            return house.promote(1, token).number
        except TryAgain as lost:
            return lost

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(once, range(4)))
    assert {each for each in results if not isinstance(each, TryAgain)} == {1}
    assert house.history == [1]
    assert len(releases.approvals(house.store, MODEL)) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from promotion_parts import House, Interrupted

left = int(sys.argv[4])

def die(_name):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

house = House(Path(sys.argv[2]))
house.promote(int(sys.argv[3]), sys.stdin.read(), Interrupted(house.store, after=die))
"""
WRITES = 5  # model, signature and card, the approval, the release


def test_a_promotion_that_was_killed_after_any_write_goes_on_when_it_is_repeated(tmp_path, tiny_models):
    house = House(tmp_path, tiny_models, workers=1)
    root = Path(__file__).parents[2]
    parts = root / "tests" / "helpers"
    try:
        house.publish("dull")
        house.promote(1)
        for writes in range(1, WRITES + 1):
            version = house.publish("thirds" if writes % 2 else "dull")
            token, before = house.token(version), house.history
            done = subprocess.run(
                [sys.executable, "-P", "-c", KILLED, parts, tmp_path, str(version), str(writes)],
                input=token, text=True, check=False, env=os.environ | {"PYTHONPATH": str(root)},
            )  # fmt: skip
            assert done.returncode == -signal.SIGKILL
            assert house.history == (before if writes < WRITES else [*before, version])
            assert house.ask(LEFT)[0] == 200
            release = house.promote(version, token)
            assert house.history == [*before, version]
            approvals = [each for each in releases.approvals(house.store, MODEL) if each.version == version]
            assert [each.number for each in approvals] == [release.approval]
            assert house.ask(RIGHT)[1]["release"] == release.number
    finally:
        house.stop()


def test_a_rollback_of_an_api_that_is_down_brings_it_up(house):
    house.publish("dull")
    house.publish("thirds")
    house.promote(1)
    house.promote(2)
    house.stop()
    assert house.rollback().version == 1
    assert house.ask()[1]["version"] == 1
