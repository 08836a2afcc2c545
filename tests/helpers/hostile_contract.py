"""What no runner's worker may do. A test class for one runner derives from HostileContract and gives the fixture `runner`."""

import ctypes
import dataclasses
import fcntl
import json
import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from runner_contract import held, said

from pipelines.runners import Job, Limits

HOSTILE_JOBS = Path(__file__).with_name("hostile_jobs")
SECRET = "s3cret-of-this-user"
LIBC = ctypes.CDLL(None)
KEY, IPC_CREAT, IPC_RMID = 0x7E57, 0o1000, 0


@dataclasses.dataclass
class Victims:
    """What a worker of this user would like to reach: files, a process, sockets, memory."""

    folder: Path
    targets: dict
    process: subprocess.Popen
    server: socket.socket
    datagrams: dict

    @property
    def home(self):
        return self.folder / "home"


@pytest.fixture(scope="class")
def victims(folder):
    write_files(folder)
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                ["sleep", "600"], env=os.environ | {"TRAINYARD_SMTP_PASSWORD": SECRET}, start_new_session=True
            )
        )
        stack.callback(process.kill)
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        unix, abstract, datagrams = (
            stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            for kind in (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM)
        )
        name = f"trainyard-victim-{os.getpid()}"
        unix.bind(f"{folder}/socket")
        datagrams.bind(f"{folder}/datagrams")
        abstract.bind(f"\0{name}")
        for each in (unix, abstract):
            each.listen()
        for each in (server, udp, datagrams, unix, abstract):
            each.setblocking(False)
        memory = Path("/dev/shm", name)
        memory.write_text(SECRET)
        stack.callback(memory.unlink)
        segment = LIBC.shmget(KEY, 8, IPC_CREAT | 0o600)
        stack.callback(LIBC.shmctl, segment, IPC_RMID, None)
        targets = {
            "home": f"{folder}/home", "user": f"{folder}/user", "temporary": f"{folder}/temporary",
            "controller": process.pid, "port": server.getsockname()[1], "address": "127.0.0.1",
            "udp": udp.getsockname()[1], "socket": f"{folder}/socket", "datagrams": f"{folder}/datagrams",
            "abstract": name, "memory": name, "key": KEY,
        }  # fmt: skip
        yield Victims(folder, targets, process, server, {"udp": udp, "unix": datagrams})


def write_files(folder):
    files = {
        "home/approval.secret": SECRET, "home/runs/this/validate/outputs/data/holdout/y.npy": SECRET,
        "home/runs/this/validate/outputs/data/train/y.npy": "labels", "home/runs/other/result.json": SECRET,
        "home/registry/test/model.keras": "weights", "home/registry/production/release.json": "release",
        "home/git/code.git/hooks/post-receive": "hook", "user/.ssh/id_ed25519": SECRET, "temporary/theirs": SECRET,
    }  # fmt: skip
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "home/approval.secret").chmod(0o600)


def state(folder):
    """Every file below `folder`: its mode, and its text."""
    return {
        str(path): (path.lstat().st_mode, path.is_file() and path.read_text())
        for path in folder.rglob("*")
        if not path.is_socket()
    }


class HostileContract:
    harmless = frozenset[str]()
    """Attacks that may succeed, as what they reach is the worker's own."""
    harmless_in_shared_memory = frozenset({"list_the_home", "write_through_a_symbolic_link"})
    """As `harmless`, when the home is below /dev/shm, of which a worker has a private one: in that are only the folders
    that lead to its own, and what is written there is gone with the worker."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        """Where all is that a worker of this user would like to reach, and its job folder."""
        return tmp_path_factory.mktemp("victims")

    @pytest.fixture(scope="class")
    @classmethod
    def found(cls, runner, victims):
        """What became of each attack."""
        before = state(victims.folder / "home"), state(victims.folder / "user"), state(victims.folder / "temporary")
        found = json.loads(cls.run(runner, victims))
        after = state(victims.folder / "home"), state(victims.folder / "user"), state(victims.folder / "temporary")
        own = f"{victims.home}/runs/this/train"
        kept = [{path: each for path, each in part.items() if not path.startswith(own)} for part in after]
        return found | {"changed": [a for a, b in zip(before, kept, strict=True) if a != b]}

    @staticmethod
    def run(runner, victims, *words):
        folder = victims.home / "runs/this/train"
        folder.mkdir(exist_ok=True)
        (folder / "targets.json").write_text(json.dumps(victims.targets))
        train = victims.home / "runs/this/validate/outputs/data/train"
        job = Job(
            "train", ("hostile_job", *words), folder, Limits(120, 0), {"jobs": HOSTILE_JOBS, "train": train},
            {"PYTHONPATH": "inputs/jobs"},
        )  # fmt: skip
        runner.run(job, lambda _line: None)
        return said(folder)

    def test_no_attack_succeeds(self, found, victims):
        assert len(found) > 40
        succeeded = {name: text for name, text in found.items() if str(text).startswith("SUCCEEDED")}
        is_private = victims.folder.resolve().is_relative_to("/dev/shm")
        harmless = self.harmless | (self.harmless_in_shared_memory if is_private else set())
        assert succeeded.keys() - harmless == set(), succeeded

    def test_no_secret_is_among_what_it_saw(self, found):
        assert SECRET not in json.dumps(found)

    def test_nothing_of_this_user_has_changed(self, found):
        assert found["changed"] == []

    def test_the_controller_lives_with_its_limits(self, found, victims):
        assert victims.process.poll() is None
        with open(f"/proc/{victims.process.pid}/limits") as limits:
            (files,) = [line for line in limits if line.startswith("Max open files")]
        assert int(files.split()[3]) > 0

    def test_nobody_has_called(self, found, victims):
        with pytest.raises(BlockingIOError):
            victims.server.accept()
        for each in victims.datagrams.values():
            with pytest.raises(BlockingIOError):
                each.recv(10)

    def test_no_process_is_left(self, found, victims):
        assert not held(victims.home / "runs/this/train", "daemon")

    def test_the_next_worker_finds_nothing_of_it(self, found, runner, victims):
        assert json.loads(self.run(runner, victims, "look")) == []
        with open(victims.home / "runs/this/train/outputs/daemon.lock", "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
