"""When the container that follows a bucket is started, kept, and replaced; its engine is a stand-in."""

import io
import json
import tarfile

import pytest

from pipelines.deploy.container_facts import RESTART_ALWAYS
from pipelines.deploy.follower import FollowerContainer
from pipelines.docker_engine import LABEL
from registry.errors import ConfigError, TryAgain
from serving.job import ServeJob

JOB = ServeJob("m", registry="s3://models/us", mirror="/home/mirrors/m")
STARTED = "2026-11-30T08:00:00.123456789Z"


class FakeContainer:
    """`says` is what it does when it is started: None: it begins; else its exit code and its last lines."""

    def __init__(self, engine, number, digest, image):
        self.id = self.name = f"follower-{number}"
        self.labels = {f"{LABEL}.number": str(number), f"{LABEL}.job": digest}
        self.attrs = {"Image": image, "State": {}, "HostConfig": {"RestartPolicy": {"Name": "no"}}}
        self.engine, self.status, self.state = engine, "created", None

    def start(self):
        self.status = "running"
        self.attrs["State"] = {"Status": "running", "StartedAt": STARTED}
        self.login = dict(self.engine.login)
        if self.engine.says is None:
            self.state = {"release": 3, "since": "2026-11-30T08:00:01Z", "error": ""}
        else:
            self.attrs["State"] |= {"Status": "exited", "ExitCode": self.engine.says[0]}
            self.status = "exited"

    def stop(self, timeout):
        self.status = "exited"

    def reload(self):
        pass

    def update(self, restart_policy):
        self.attrs["HostConfig"]["RestartPolicy"] = restart_policy

    def remove(self, **_):
        self.engine.containers.remove(self)

    def logs(self, tail):
        return self.engine.says[1].encode()

    def get_archive(self, path):
        from docker import errors

        files = self.login if path == "/login" else {"state.json": json.dumps(self.state).encode()}
        if path != "/login" and self.state is None:
            raise errors.NotFound("no such file")
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(f"x/{name}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
        return [stream.getvalue()], {}


class FakeContainers:
    """As ApiContainers."""

    def __init__(self):
        self.containers, self.login, self.says = [], {}, None

    def all(self, role):
        assert role == "follower"
        return list(self.containers)

    def follower_digest(self, job):
        return repr(job)

    def create_follower(self, job, image, number, login):
        self.give_login(image, login)
        made = FakeContainer(self, number, repr(job), image)
        self.containers.append(made)
        return made

    def give_login(self, image, login):
        self.login = dict(login)


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_CA_BUNDLE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def engine():
    return FakeContainers()


def ensure(engine, job=JOB, image="now", **more):
    FollowerContainer(engine).ensure(job, lambda: image, **more)
    (found,) = engine.containers
    assert found.status == "running"
    assert found.attrs["HostConfig"]["RestartPolicy"] == RESTART_ALWAYS
    return found


def test_the_first_one_begins_and_stays(engine):
    first = ensure(engine)
    assert ensure(engine) is first


def test_an_image_of_another_day_replaces_it_only_when_that_is_asked_for(engine):
    first = ensure(engine)
    assert ensure(engine, image="later") is first
    assert ensure(engine, image="later", newest=True) is not first


def test_other_settings_replace_it(engine):
    first = ensure(engine)
    assert ensure(engine, ServeJob("m", registry="s3://models/them", mirror="/x")) is not first


def test_one_that_works_keeps_its_credentials_and_one_that_cannot_read_gets_the_callers(engine, monkeypatch):
    first = ensure(engine)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    assert ensure(engine) is first
    first.state["error"] = "denied"
    other = ensure(engine)
    assert other is not first
    assert b"mine" in other.login["environment.json"]
    other.state["error"] = "denied"
    assert ensure(engine) is other  # the same ones would not help


@pytest.mark.parametrize(
    ("says", "kind", "hint"),
    [
        ((75, "a line\nthe bucket is away\n  hint: wait\n"), TryAgain, "wait"),
        ((2, "denied\n  hint: set AWS_PROFILE\n"), ConfigError, "set AWS_PROFILE"),
    ],
)
def test_one_that_cannot_begin_says_why_and_the_one_before_works_on_as_it_was(engine, monkeypatch, says, kind, hint):
    first = ensure(engine)
    before = dict(engine.login)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    engine.says = says
    original = first.start
    first.start = lambda: (setattr(engine, "says", None), original())
    with pytest.raises(kind, match=r"which follows the registry: (the bucket is away|denied)") as error:
        FollowerContainer(engine).ensure(ServeJob("m", registry="s3://models/them", mirror="/x"), lambda: "now")
    assert error.value.hint == hint
    assert engine.containers == [first]
    assert (first.status, engine.login) == ("running", before)


def test_what_a_killed_command_has_left_goes(engine):
    for number in (1, 2):
        left = engine.create_follower(JOB, "now", number, {})
        left.status = "running"
    assert ensure(engine).id == "follower-3"


def test_it_is_described_by_what_it_has_written(engine):
    assert FollowerContainer(engine).describe(JOB.registry) == []
    ensure(engine)
    (line,) = FollowerContainer(engine).describe(JOB.registry)
    assert line.startswith("it follows s3://models/us, whose newest release is 3")
