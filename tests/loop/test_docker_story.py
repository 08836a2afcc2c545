"""The whole loop in containers: trained, tried and served by a real engine, each step with no more than it needs."""

from __future__ import annotations

import pytest
import requests
from digits_model import MODEL, digits

pytestmark = [pytest.mark.docker, pytest.mark.tensorflow, pytest.mark.timeout(600)]

NOSY = """
import os
import socket

try:
    socket.create_connection(("192.0.2.1", 80), timeout=2)
except OSError as error:
    print("network:", error.strerror)
print("user:", os.getuid(), "inputs:", sorted(os.listdir("../../inputs")))
"""


@pytest.fixture(scope="module")
def in_containers(team, engine, worker_image):
    team.config.write_text(
        team.config.read_text().replace("[serving]", '[serving]\ndeploy = "docker"') + '\n[runner]\nkind = "docker"\n'
    )
    team.write("code", {"model.py": NOSY + MODEL})
    for repository in ("dataset", "tests", "code"):
        team.push(repository, f"first {repository}")
    return team


@pytest.fixture(scope="module")
def first_run(in_containers):
    return in_containers.trainyard("run", "code").stderr


@pytest.fixture(scope="module")
def promoted(in_containers, first_run):
    in_containers.promote()
    return in_containers


@pytest.fixture(scope="module")
def promoted_again(promoted):
    promoted.trainyard("run", "code", "--force", "--reason", "once more")
    promoted.promote()
    return promoted


def api_containers(engine, team):
    found = engine.containers.list(all=True, filters={"label": "org.trainyard.model=digits"})
    home = str(team.home)
    return [each for each in found if home in str(each.attrs["Mounts"]) or home in str(each.labels)]


def answer(team):
    image = next(iter(digits(0, 20).values()))
    done = requests.post(f"{team.url}/predict", data=image, headers={"Content-Type": "image/png"}, timeout=10)
    assert done.status_code == 200, done.text
    return done.json()


def test_training_reaches_no_network_and_is_given_no_holdout(first_run):
    assert "network: Network is unreachable" in first_run
    assert "inputs: ['code', 'train', 'validation']" in first_run
    assert "user: 0 " not in first_run


def test_the_version_names_its_image_and_the_acceptance_test_its_engine(in_containers, first_run, worker_image):
    assert [card["image"] for card in in_containers.cards()] == [worker_image]
    (acceptance,) = in_containers.home.glob("registry/test/digits/1/acceptances/*.json")
    assert '"engine": "docker"' in acceptance.read_text()


def test_no_container_of_the_run_is_left(in_containers, first_run, engine):
    run = in_containers.runs("code")[0].name
    assert not engine.containers.list(all=True, filters={"label": f"org.trainyard.run={run}"})


def test_the_released_model_answers_from_a_container_without_a_network(promoted, engine):
    assert answer(promoted)["release"] == 1
    modes = {each.attrs["HostConfig"]["NetworkMode"] for each in api_containers(engine, promoted)}
    assert "none" in modes


@pytest.mark.slow
def test_the_version_can_be_trained_again_in_its_image_to_the_bit(in_containers, first_run, engine):
    found = in_containers.ask("reproduce", "digits", "1")
    assert (found["outcome"], found["other"], found["circumstances"]) == ("bit-identical", [], []), found
    assert not engine.containers.list(all=True, filters={"label": "org.trainyard.run=reproduction"})


def test_a_second_release_and_a_rollback_are_served(promoted_again):
    assert answer(promoted_again)["release"] == 2
    promoted_again.trainyard("rollback", "digits")
    assert (answer(promoted_again)["release"], answer(promoted_again)["version"]) == (3, 1)


def test_stopping_leaves_nothing_on_the_engine(promoted_again, engine):
    promoted_again.trainyard("serve", "digits", "--stop")
    assert not api_containers(engine, promoted_again)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{promoted_again.url}/", timeout=5)
