"""A code repository that means harm, run in a container by a real engine: what it looks for is not there, what it wants
too much of it does not get. The same attacks in a child process are in test_hostile_models.py."""

from __future__ import annotations

import json
import os

import pytest
from faults_parts import change_settings, small_team

from pipelines.approvals.tokens import SECRET_FILE
from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits
from pipelines.runners.docker.runner import ContainerRunner
from pipelines.runners.supervisor.output import LOG_BYTES, TAIL_BYTES
from registry.errors import Corrupt, PipelineError, WorkerFailed

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]
SECRET = "s3cret-of-the-relay"
LOOKS = """
import ctypes, json, os, socket

def tried(what, *arguments):
    try:
        return str(what(*arguments))
    except OSError as error:
        return f"no: {error.strerror}"

def wrote(path):
    with open(path, "w") as file:
        return file.write("x")

def met(host, port):
    with socket.create_connection((host, port), timeout=2):
        return "met"

HIDDEN = {"holdout", "registry", "outbox", "card.json", "secret", "docker.sock", "SECRET_NAME", ".trainyard", "run.json", "evaluate"}
found = {
    "inputs": sorted(os.listdir("../../inputs")),
    "hidden": [
        os.path.join(root, name)
        for root, folders, files in os.walk("/")
        if not root.startswith(("/proc", "/sys", "/usr", "/opt", "/var/lib", "/etc"))
        for name in folders + files if name in HIDDEN
    ],
    "home": os.path.lexists("TEAM_HOME"),
    "environment": dict(os.environ),
    "processes": [open(f"/proc/{pid}/cmdline").read()[:60] for pid in os.listdir("/proc") if pid.isdigit()],
    "first environment": tried(lambda: open("/proc/1/environ").read())[:3000],
    "networks": os.listdir("/sys/class/net"),
    "api": tried(met, "127.0.0.1", API_PORT),
    "world": tried(met, "192.0.2.1", 80),
    "name": tried(socket.getaddrinfo, "company.example", 80),
    "root": tried(wrote, "/owned"),
    "usr": tried(wrote, "/usr/owned"),
    "input": tried(wrote, "../../inputs/train/owned"),
    "code": tried(wrote, "../../inputs/code/owned"),
    "user": os.getuid(),
    "become root": tried(os.setuid, 0),
    "mount": ctypes.CDLL(None).mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "status": [each for each in open("/proc/self/status").read().splitlines() if each.startswith(("Cap", "NoNew", "Seccomp:"))],
    "devices": sorted(os.listdir("/dev")),
}
print("FOUND " + json.dumps(found), flush=True)
raise SystemExit("looked at everything")
"""


@pytest.fixture(scope="module")
def found(engine, worker_image, tmp_path_factory):
    """What a model.py finds out in the run of a team, which has a version of its own registered and a secret or two."""
    team = small_team(tmp_path_factory.mktemp("team"))
    look = (
        LOOKS.replace("TEAM_HOME", str(team.home))
        .replace("API_PORT", str(team.port))
        .replace("SECRET_NAME", SECRET_FILE)
    )
    team.write("code", {"model.py": look})
    team.push("code", "looks around")
    change_settings(team, {"[serving]": f'[runner]\nkind = "docker"\nimage = "{worker_image}"\n[serving]'})
    (team.home / "registry").mkdir(parents=True)
    (team.home / SECRET_FILE).write_text(SECRET)
    secrets = {"TRAINYARD_SMTP_PASSWORD": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "GITHUB_TOKEN": SECRET}
    said = team.trainyard("run", "code", code=2, env=secrets)
    assert "looked at everything" in said.stderr
    assert team.cards() == []
    (run,) = team.runs()
    log = (run / "train" / "worker.log").read_text()
    line = next(each for each in log.splitlines() if each.startswith("FOUND "))
    return json.loads(line.removeprefix("FOUND "))


class TestWhatItSees:
    def test_its_inputs_and_nothing_of_the_home(self, found):
        assert found["inputs"] == ["code", "train", "validation"]
        assert found["hidden"] == []
        assert found["home"] is False

    def test_no_secret_in_any_environment(self, found):
        assert SECRET not in json.dumps(found)

    def test_no_process_but_its_own(self, found):
        assert all("python" in each or not each for each in found["processes"])
        assert not [each for each in found["processes"] if "pytest" in each or "pipelines\0run" in each]

    def test_no_network_and_no_names(self, found):
        assert found["networks"] == ["lo"]
        for name in ("api", "world", "name"):
            assert found[name].startswith("no: "), name

    def test_nothing_to_write_to_but_its_own_folder(self, found):
        for name in ("root", "usr", "input", "code"):
            assert found[name].startswith("no: "), f"{name}: {found[name]}"

    def test_no_privilege(self, found):
        status = dict(each.split(":\t") for each in found["status"])
        assert {int(value, 16) for name, value in status.items() if name.startswith("Cap")} == {0}
        assert status["NoNewPrivs"] == "1"
        assert found["user"] != 0
        assert found["become root"].startswith("no: ")
        assert found["mount"] == -1
        assert not {"sda", "mem", "kmsg", "fuse"} & set(found["devices"])


@pytest.fixture
def attack(engine, worker_image, tmp_path):
    def run(code, seconds=60.0, memory_mb=1024, disk_mb=200, pids=64):
        folder, code_folder = tmp_path / "job", tmp_path / "code"
        code_folder.mkdir(exist_ok=True)
        (code_folder / "attack.py").write_text(f"import os, sys, time\n{code}")
        folder.mkdir(exist_ok=True)
        config = RunnerConfig(kind="docker", image=worker_image, pids=pids)
        runner = ContainerRunner(config, tmp_path / "cache", grace=0.5)
        job = Job(
            "attack",
            ("attack",),
            folder,
            Limits(seconds, memory_mb, disk_mb),
            {"code": code_folder},
            {"PYTHONPATH": "inputs/code"},
        )
        try:
            runner.run(job, lambda _: None)
        finally:
            runner.close()
            left = [
                each
                for each in engine.containers.list(all=True, ignore_removed=True)
                if str(tmp_path) in str(each.attrs["Mounts"])
            ]
            assert left == []

    return run


class TestWhatItGets:
    def test_a_fork_bomb_meets_the_limit_of_processes(self, attack):
        bomb = "born = 0\nwhile born < 3000:\n  try: pid = os.fork()\n  except OSError as error: sys.exit(f'{born} born, then {error.strerror}')\n  born += 1\n  if not pid: time.sleep(600)"
        with pytest.raises(
            WorkerFailed, match=r"^worker attack .* [1-6][0-9] born, then Resource temporarily unavailable"
        ):
            attack(bomb)

    def test_sigterm_may_be_ignored_for_a_moment_only(self, attack):
        code = "import signal\nfor n in range(1, 32):\n  if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\n"
        with pytest.raises(WorkerFailed, match="ran longer than 2 s and was killed"):
            attack(code + "time.sleep(600)", seconds=2)

    @pytest.mark.slow
    def test_half_a_gigabyte_of_output_does_not_fill_the_disk(self, attack, tmp_path):
        code = "text = (b'x' * 99 + b'\\n') * 1000 + b'y' * (10 << 20) + b'\\n'\nfor _ in range(50): sys.stdout.buffer.write(text)\nsys.exit('that was all')"
        with pytest.raises(WorkerFailed, match="that was all"):
            attack(code)
        assert (tmp_path / "job" / "worker.log").stat().st_size < LOG_BYTES + TAIL_BYTES + 4096

    @pytest.mark.parametrize(
        "code",
        [
            "for i in range(200): open(f'outputs/{i}', 'wb').write(bytes(1 << 20)); time.sleep(0.02)",
            "open('outputs/one', 'wb').write(bytes(80 << 20))",
        ],
        ids=["many files", "one file"],
    )
    def test_its_quota_of_the_disk_is_kept(self, attack, code):
        with pytest.raises(WorkerFailed, match="wrote more than 40 MiB"):
            attack(code, disk_mb=40)

    def test_memory_is_limited(self, attack):
        with pytest.raises(WorkerFailed, match="out of memory"):
            attack("a = [bytearray(os.urandom(1) * (64 << 20)) for _ in range(40)]", memory_mb=300)

    @pytest.mark.parametrize("name", ["result.json", "outputs/model.keras"])
    def test_a_link_that_it_leaves_leads_to_no_file_outside_its_folder(self, attack, tmp_path, name):
        (tmp_path / "theirs").write_text('{"schema": 1}')
        code = f"os.symlink({str(tmp_path / 'theirs')!r}, {name!r})\nos._exit(0)"
        with pytest.raises(PipelineError) as caught:
            attack(code)
        assert isinstance(caught.value, (Corrupt, WorkerFailed))
        link = tmp_path / "job" / name
        assert not link.exists() or link.is_symlink()
        assert (tmp_path / "theirs").read_text() == '{"schema": 1}'

    def test_what_it_leaves_belongs_to_the_caller_and_can_be_removed(self, attack, tmp_path):
        code = "os.makedirs('outputs/a/b')\nos.chmod('outputs/a', 0)\nopen('outputs/c', 'w').close()\nos.chmod('outputs/c', 0o4777)\nsys.exit('left')"
        with pytest.raises(WorkerFailed, match="left"):
            attack(code)
        for path in (tmp_path / "job").rglob("*"):
            assert path.lstat().st_uid == os.getuid()
