"""Workers in containers: the contract of all runners, files bound or copied, and what only a container promises."""

import io
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

import pytest
from runner_contract import PROBE_JOBS, SECRETS, RunnerContract, nothing, said

from pipelines.config.schema import RunnerConfig
from pipelines.docker_engine import LABEL, labels
from pipelines.runners import Job, Limits, open_runner
from pipelines.runners.docker import limits
from pipelines.runners.docker.leftovers import Owner
from pipelines.runners.docker.mount_probe import Probe, mount_of, nanoseconds, shows
from pipelines.runners.docker.runner import ContainerRunner
from pipelines.runners.docker.transport import FOLDER, Site, transfer_container
from registry.errors import ConfigError, TryAgain, WorkerFailed

pytestmark = pytest.mark.docker

ROOT = Path(__file__).parents[3]
CONTROLLER = """
import sys
from pathlib import Path
from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits
from pipelines.runners.docker.runner import ContainerRunner
case, image, transport, jobs, folder = sys.argv[1:]
folder = Path(folder)
job = Job("probe", ("probe_job", case), folder / "job", Limits(60, 0), {"jobs": Path(jobs)}, {"PYTHONPATH": "inputs/jobs"})
runner = ContainerRunner(RunnerConfig(kind="docker", image=image), folder / "cache", grace=0.3, transport=transport)
runner.run(job, lambda line: print(line, flush=True))
print(*sorted(path.name for path in (folder / "job").rglob("*")), flush=True)
"""


# This Python, and the checkout, may be in a folder that is root's alone; the socket and the outputs do not.
READ_ALL = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
AS_12345 = ("setpriv", "--reuid", "12345", "--regid", "12345", *READ_ALL)


@pytest.fixture
def containers(engine):
    """Runners that leave nothing behind."""
    made = []

    def containers(cache, image, transport="", **settings):
        config = RunnerConfig(kind="docker", image=image, **settings)
        made.append(ContainerRunner(config, cache, image, grace=0.5, transport=transport))
        return made[-1]

    yield containers
    for runner in made:
        home = Owner(runner.cache)
        left = of_home(engine, home.home)
        home.close()
        runner.close()
        assert left == []


def of_home(engine, home):
    """The containers and volumes of one home."""
    wanted = {"label": f"{LABEL}.home={home}"}
    found = [each.name for each in engine.containers.list(all=True, filters=wanted, ignore_removed=True)]
    return found + [each.name for each in engine.volumes.list(filters=wanted)]


@pytest.fixture
def home(tmp_path):
    owner = Owner(tmp_path / "cache")
    yield owner.home
    owner.close()


class TestBound(RunnerContract):
    @pytest.fixture
    def runner(self, containers, tmp_path, worker_image):
        return containers(tmp_path / "cache", worker_image, "bind")


class TestCopied(RunnerContract):
    @pytest.fixture
    def runner(self, containers, tmp_path, worker_image):
        return containers(tmp_path / "cache", worker_image, "copy")

    def test_only_files_and_folders_come_back(self, runner, job):
        folder = job("").folder
        folder.mkdir()
        (folder / "job.json").write_text("{}")
        runner.run(job("traps"), nothing)
        assert sorted(path.name for path in (folder / "outputs").iterdir()) == ["model.bin", "run.sh", "same.bin"]
        assert (folder / "outputs" / "same.bin").read_bytes() == b"weights"
        assert (folder / "outputs" / "run.sh").stat().st_mode & 0o7777 == 0o755
        assert (folder / "job.json").read_text() == "{}"
        log = (folder / "worker.log").read_text()
        assert all(f"not taken over: './outputs/{name}'" in log for name in ("link", "folder", "pipe"))

    def test_links_in_inputs_stay_links_and_large_files_arrive_whole(self, runner, job, tmp_path):
        data = tmp_path / "data"
        data.mkdir()
        (data / "large").write_bytes(bytes(range(256)) * 30_001)
        (data / "link").symlink_to("large")
        (data / ("n" * 120)).mkdir()
        (data / ("n" * 120) / ("é" * 100)).write_text("deep")
        runner.run(job("look_at_data", inputs={"data": data}), nothing)
        assert json.loads(said(job("").folder)) == [256 * 30_001, "large", "deep"]


@pytest.fixture
def look(containers, tmp_path, worker_image):
    """What a worker sees; `targets` are (host, port), `paths` of this machine."""

    def look(runner, targets=(), paths=(), **more):
        data = tmp_path / "data"
        data.mkdir(exist_ok=True)
        (data / "a.txt").write_text("1")
        env = {"PYTHONPATH": "inputs/jobs", "TARGETS": json.dumps(targets), "PATHS": json.dumps(paths)}
        folder = tmp_path / "looking"
        limits = Limits(60, 512, 64)
        job = Job("look", ("probe_job", "look_around"), folder, limits, {"jobs": PROBE_JOBS, "data": data}, env, **more)
        runner.run(job, nothing)
        return json.loads(said(folder))

    return look


@pytest.fixture
def runner(containers, tmp_path, worker_image):
    return containers(tmp_path / "cache", worker_image)


def test_a_worker_sees_nothing_but_its_job(runner, look, tmp_path, monkeypatch):
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOSTS_OWN", "s3cret-11")
    (tmp_path / "config.json").write_text('{"proxies": {"default": {"httpProxy": "http://user:s3cret-12@proxy"}}}')
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    for name in ("registry", "holdout"):
        (tmp_path / name).mkdir()
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        hosts = ["127.0.0.1", "172.17.0.1", *own_addresses()]
        seen = look(runner, [(host, port) for host in hosts], [str(tmp_path), str(tmp_path / "holdout"), str(ROOT)])
    assert seen["interfaces"] == ["lo"]
    assert (seen["reached"], seen["resolved"]) == ([], "")
    assert seen["seen"] == []
    assert seen["inputs"] == ["data", "jobs"]
    assert "s3cret" not in json.dumps(seen["environment"])
    assert len(seen["processes"]) == 2
    assert not {name for name in seen["devices"] if name.startswith(("sd", "vd", "mem", "kmsg", "nvme"))}


def own_addresses():
    listed = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False)
    return [each for each in listed.stdout.split() if ":" not in each]


def test_a_worker_has_no_privileges_and_a_read_only_root(runner, look, tmp_path):
    seen = look(runner)
    status = seen["status"]
    assert {int(status[key], 16) for key in ("CapEff", "CapBnd")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    uid = os.geteuid() or 65532
    assert status["Uid"].split() == [str(uid)] * 4
    assert seen["written"] == []
    assert seen["read_only"] == ["/", "inputs", "inputs/data"]
    assert seen["tmp"]
    assert seen["home"] == seen["expanded"] == "/job/scratch"
    assert (tmp_path / "data" / "a.txt").read_text() == "1"


def test_the_number_of_processes_is_limited(containers, tmp_path, worker_image):
    runner = containers(tmp_path / "cache", worker_image, pids=40)
    folder = tmp_path / "job"
    runner.run(probe_job("fork_bomb", folder), nothing)
    count, why = said(folder).split()
    assert int(count) < 40
    assert why == "EAGAIN"


def probe_job(case, folder, memory_mb=0, **more):
    env = {"PYTHONPATH": "inputs/jobs"}
    return Job("probe", ("probe_job", case), folder, Limits(60, memory_mb), {"jobs": PROBE_JOBS}, env, **more)


def test_the_kernels_own_limit_on_memory_is_reported(runner, tmp_path):
    with pytest.raises(WorkerFailed, match=r"out of memory, all processes together: the limit is 128 MiB") as caught:
        runner.run(probe_job("memory_in_files", tmp_path / "job", 128), nothing)
    assert "memory_mb" in caught.value.hint


def test_a_worker_can_neither_trace_its_supervisor_nor_write_where_the_supervisor_reports(runner, tmp_path):
    runner.run(probe_job("touch_supervisor", tmp_path / "job"), nothing)
    assert said(tmp_path / "job") == ""


def test_containers_carry_the_run_and_the_job(engine, runner, tmp_path):
    seen = []

    def look(_line):
        found = engine.containers.list(filters={"label": f"{LABEL}.run=r7"})
        seen.extend((each.labels[f"{LABEL}.job"], each.name) for each in found)

    runner.run(probe_job("result", tmp_path / "job", run="r7"), look)
    [(job, name)] = seen
    assert job == "probe"
    assert name.startswith("trainyard-r7-probe-")


def test_inputs_that_only_root_may_read_are_copied(runner, look, tmp_path):
    (tmp_path / "data").mkdir(mode=0o700)
    assert look(runner)["inputs"] == ["data", "jobs"]


@pytest.mark.parametrize(
    ("do", "words"), [("kill", "killed together with its container"), ("remove", "removed from outside")]
)
def test_a_container_that_is_ended_from_outside_is_worth_another_try(engine, runner, tmp_path, do, words):
    def end(_line):
        [mine] = engine.containers.list(filters={"label": f"{LABEL}.run=doomed"})
        mine.kill() if do == "kill" else mine.remove(force=True)

    with pytest.raises(TryAgain, match=words) as caught:
        runner.run(probe_job("polite", tmp_path / "job", run="doomed"), end)
    assert "resumes from the last checkpoint" in caught.value.hint


def test_gpus_that_the_engine_does_not_have(engine, containers, tmp_path, worker_image):
    if "nvidia" in engine.info()["Runtimes"]:
        pytest.skip("this engine has GPUs")
    runner = containers(tmp_path / "cache", worker_image, gpus="all")
    with pytest.raises(ConfigError, match="could not select device driver") as caught:
        runner.run(probe_job("result", tmp_path / "job"), nothing)
    assert "gpus" in caught.value.hint
    assert (tmp_path / "job").stat().st_uid == os.geteuid()


def test_more_processors_than_there_are(containers, tmp_path, worker_image):
    runner = containers(tmp_path / "cache", worker_image, cpus=10_000)
    with pytest.raises(ConfigError, match="CPUs") as caught:
        runner.run(probe_job("result", tmp_path / "job"), nothing)
    assert "[runner]" in caught.value.hint


def test_the_image_is_the_one_that_the_card_names(engine, runner, worker_image):
    assert runner.image(None, nothing) == engine.images.get(worker_image).id


def test_the_runner_is_opened_by_its_name(tmp_path):
    assert open_runner(RunnerConfig(kind="docker"), tmp_path).name == "docker"


# what reaches a server


def test_a_worker_that_reaches_a_server_reaches_nothing_else(runner, look, tmp_path):
    with (
        socket.create_server(("0.0.0.0", 0)) as server,
        runner.service(probe_job("serve", tmp_path / "api"), nothing) as api_service,
    ):
        port = server.getsockname()[1]
        api = ("127.0.0.1", int(api_service.url.rpartition(":")[2]))
        wait_until(lambda: look(runner, [api], reaches=api_service)["reached"])
        targets = [api, ("172.17.0.1", port), *((host, port) for host in own_addresses()), ("127.0.0.1", port)]
        seen = look(runner, targets, [str(tmp_path)], reaches=api_service)
    assert seen["reached"] == [list(api)]
    assert (seen["interfaces"], seen["resolved"], seen["seen"]) == (["lo"], "", [])
    assert len(seen["processes"]) == 2


def test_servers_of_two_runs_do_not_meet(runner, look, tmp_path):
    with (
        runner.service(probe_job("serve", tmp_path / "a"), nothing) as one,
        runner.service(probe_job("serve", tmp_path / "b"), nothing) as two,
    ):
        api = ("127.0.0.1", int(one.url.rpartition(":")[2]))
        wait_until(lambda: look(runner, [api], reaches=one)["reached"])
        assert one.container != two.container


# when the controller dies


@pytest.mark.parametrize("transport", ["bind", "copy"])
def test_a_killed_controller_leaves_nothing_that_the_next_does_not_remove(
    engine, tmp_path, home, worker_image, containers, transport
):
    foreign = strangers(engine, worker_image, home)
    try:
        with start_controller("resume", worker_image, transport, tmp_path) as controller:
            wait_until(lambda: running(engine, home))
            wait_until(lambda: wrote_a_checkpoint(engine, tmp_path, home, transport))
            controller.kill()
            controller.wait(20)
        wait_until(lambda: not running(engine, home))  # nobody asked it to: its standard input was closed
        left = set(of_home(engine, home)) - {each.name for each in foreign}
        assert left
        with pytest.raises(LookupError):
            containers(tmp_path / "cache", worker_image, transport).run(probe_job("polite", tmp_path / "job"), stop)
        assert not left & set(of_home(engine, home))
        assert (tmp_path / "job" / "checkpoints" / "state").read_text() == "1"
        assert all(engine.containers.get(each.id) for each in foreign)
    finally:
        for each in foreign:
            each.remove(force=True)


def test_checkpoints_that_cannot_be_taken_over_now_stay_on_the_engine(engine, runner, tmp_path, worker_image, home):
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a disk that is full")
    folder = tmp_path / "job"
    left_by_a_killed_run(engine, worker_image, tmp_path, folder)
    left = of_home(engine, home)
    folder.mkdir()
    runner.run(probe_job("result", tmp_path / "other"), nothing)  # another job's: not its business
    assert of_home(engine, home) == left
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k,nr_inodes=8", "none", folder]
    subprocess.run(mount, check=True)
    try:
        with pytest.raises(TryAgain, match="No space left"):
            remove_leftovers(engine, tmp_path, folder)
        assert not list(folder.glob(".incoming-*"))
    finally:
        subprocess.run(["umount", folder], check=True)
    assert of_home(engine, home) == left
    runner.run(probe_job("result", folder), nothing)
    assert (folder / "checkpoints" / "state").stat().st_size == 1 << 20
    assert of_home(engine, home) == []


def left_by_a_killed_run(engine, image, base, folder):
    """A volume with a checkpoint of 1 MiB, and the container through which it travels."""
    owner = Owner(base / "cache")
    own_labels = owner.labels | labels(job="probe", **{FOLDER: folder})
    owner.close()
    volume = engine.volumes.create(f"trainyard-{secrets.token_hex(8)}-job", labels=own_labels).name
    made = transfer_container(engine.api, image, [limits.volume(volume, limits.JOB, read_only=False)], own_labels)
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            entry = tarfile.TarInfo("job/checkpoints/state")
            entry.size = 1 << 20
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
        engine.api.put_archive(made, "/", file.getvalue())


def stop(line):
    if line == "waiting":
        raise LookupError


def strangers(engine, image, home):
    """Containers that are not a dead owner's: without labels, of another home, of this home but nobody's."""
    kinds = ({}, {f"{LABEL}.home": "0" * 24, f"{LABEL}.owner": "1" * 16}, {f"{LABEL}.home": home})
    return [engine.containers.create(image, ["true"], labels=labels) for labels in kinds]


def running(engine, home):
    return engine.containers.list(filters={"label": [f"{LABEL}.home={home}", f"{LABEL}.owner"]}, ignore_removed=True)


def wrote_a_checkpoint(engine, folder, home, transport):
    if transport == "bind":
        return (folder / "job" / "checkpoints" / "state").exists()
    return running(engine, home)[0].exec_run(["cat", "checkpoints/state"]).exit_code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
def test_a_controller_that_is_asked_to_end_leaves_nothing(engine, tmp_path, home, worker_image, number):
    with start_controller("tree", worker_image, "bind", tmp_path) as controller:
        assert controller.stdout.readline() == "the family is there\n"
        controller.send_signal(number)
        controller.wait(30)
    if number == signal.SIGTERM:  # Python dies of it, like of SIGKILL
        wait_until(lambda: not running(engine, home))
        remove_leftovers(engine, tmp_path)
    assert of_home(engine, home) == []


def remove_leftovers(engine, base, folder=None):
    owner = Owner(base / "cache")
    try:
        owner.remove_leftovers(engine.api, folder or base, nothing)
    finally:
        owner.close()


def start_controller(case, image, transport, folder, wrap=()):
    command = [*wrap, sys.executable, "-P", "-c", CONTROLLER, case, image, transport, PROBE_JOBS, folder]
    return subprocess.Popen(
        [str(each) for each in command], cwd="/", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def wait_until(true):
    until = time.monotonic() + 40
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


# other users


@pytest.mark.parametrize("transport", ["bind", "copy"])
def test_a_user_without_a_name_or_a_home_runs_workers_and_owns_their_outputs(engine, worker_image, transport):
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        os.chown(folder, 12345, 12345)
        shutil.copytree(PROBE_JOBS, folder / "jobs", ignore=shutil.ignore_patterns("__pycache__"))
        group = os.stat("/var/run/docker.sock").st_gid
        os.chown(folder / "jobs", 0, 23456)
        (folder / "jobs").chmod(0o750)  # only members of a further group of this user may read it
        become = [*AS_12345, "--groups", f"{group},23456", "env", "-u", "HOME"]
        command = [*become, sys.executable, "-P", "-c", CONTROLLER, "outputs", worker_image, transport]
        done = subprocess.run([*command, folder / "jobs", folder], cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        written = (folder / "job" / "outputs" / "model.bin").stat()
        assert (written.st_uid, written.st_gid) == (12345, 12345)
        foreign = [path for path in folder.rglob("*") if path.lstat().st_uid != 12345 and "jobs" not in path.parts]
        assert foreign == []


# files that the engine does not see


def test_files_are_copied_when_the_engine_does_not_see_them(engine, tmp_path, worker_image):
    """As in a Jenkins that runs in a container itself: the folder is there, on a mount that only this process has."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount something")
    script = 'mount -t tmpfs none "$1" && cp -r "$2" "$1/jobs" && shift 2 && exec "$@"'
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    wrap = ["unshare", "--mount", "sh", "-ec", script, "sh", hidden, PROBE_JOBS]
    command = [*wrap, sys.executable, "-P", "-c", CONTROLLER, "outputs", worker_image, "", hidden / "jobs", hidden]
    done = subprocess.run([str(each) for each in command], cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["inputs", "model.bin", "outputs", "result.json", "worker.log"]
    assert list(hidden.iterdir()) == []


def test_the_probe_asks_once_for_each_mount(engine, tmp_path, worker_image):
    probe = Probe(tmp_path)
    site = Site(engine.api, worker_image, (0, 0), {})
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert probe.sees(site, tmp_path / name)
    assert not shows(site, tmp_path / "nowhere")
    assert not shows(site, Path("/proc/self"))


def test_mounts_are_distinguished(tmp_path):
    table = tmp_path / "mountinfo"
    rows = ("/", "/home", "/home/a\\040b", "/homework")
    table.write_text("".join(f"1 1 8:1 / {row} rw - ext4 /dev/sda rw\n" for row in rows))
    mounted = {
        "/etc": "/",
        "/home/x/y": "/home",
        "/home/a b/c": "/home/a b",
        "/home/a": "/home",
        "/homework": "/homework",
    }
    assert {each: mount_of(Path(each), table) for each in mounted} == mounted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("1970-01-01T01:00:01+01:00", 1_000_000_000),
        ("2026-11-21T04:14:35.98437473Z", 1795234475984374730),
        ("yesterday", 0),
    ],
)
def test_times_of_the_engine_are_read_to_the_nanosecond(text, expected):
    assert nanoseconds(text) == expected


def test_two_workers_at_once(runner, tmp_path):
    """Steps that do not need each other run side by side, over one connection to the engine."""
    failed = []

    def run(name):
        try:
            runner.run(probe_job("result", tmp_path / name), nothing)
        except Exception as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(f"job{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert [said(tmp_path / f"job{i}") for i in range(4)] == ["fine"] * 4
