import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runner_contract import PROBE_JOBS, RunnerContract, check_for_ever, family_is_gone, held, nothing, serve

from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits, open_runner
from pipelines.runners.job_folder import prepare
from pipelines.runners.process.pipes import PipeLink
from pipelines.runners.process.runner import ProcessRunner
from pipelines.runners.supervisor.output import opened
from pipelines.runners.supervisor.supervised import SupervisedWorker, run_through
from registry.errors import ConfigError, WorkerFailed

CONTROLLER = """
import sys
from pathlib import Path
from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits
from pipelines.runners.process.runner import ProcessRunner
import signal
class Terminated(BaseException): pass
def terminate(*_): raise Terminated
signal.signal(signal.SIGTERM, terminate)
folder = Path(sys.argv[1])
job = Job("probe", ("probe_job", "tree"), folder / "job", Limits(60, 0), {"jobs": Path(sys.argv[2])},
          {"PYTHONPATH": "inputs/jobs"})
ProcessRunner(RunnerConfig(), folder / "cache", grace=0.3).run(job, lambda line: print(line, flush=True))
"""


class TestProcessRunner(RunnerContract):
    @pytest.fixture
    def runner(self, tmp_path):
        return ProcessRunner(RunnerConfig(), tmp_path / "cache", grace=0.5)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
    def test_the_family_dies_with_its_controller(self, tmp_path, number):
        with start_controller(tmp_path) as controller:
            controller.send_signal(number)
            controller.wait(20)
        if number == signal.SIGKILL:  # nobody is left to wait for the supervisor
            wait_until(lambda: family_is_gone(tmp_path / "job"))
        assert family_is_gone(tmp_path / "job")

    def test_the_worker_dies_with_its_supervisor(self, runner, job):
        folder = job("").folder

        def kill_the_supervisor(line):
            if "family" in line:
                os.kill(supervisor_of(folder), signal.SIGKILL)

        with pytest.raises(WorkerFailed, match="killed together with its supervisor"):
            runner.run(job("tree"), kill_the_supervisor)
        kill_the_daemon(folder)

    def test_the_worker_dies_with_its_supervisor_even_when_the_controller_hangs(self, tmp_path):
        with start_controller(tmp_path) as controller:
            controller.send_signal(signal.SIGSTOP)
            os.kill(supervisor_of(tmp_path / "job"), signal.SIGKILL)
            wait_until(lambda: not held(tmp_path / "job", "worker"))
            controller.send_signal(signal.SIGCONT)
            controller.wait(20)
        wait_until(lambda: not held(tmp_path / "job", "child"))
        kill_the_daemon(tmp_path / "job")

    def test_the_worker_itself_notices_that_memory_is_short(self, runner, job):
        with pytest.raises(WorkerFailed, match="the worker ran out of memory: the limit is 512 MiB"):
            runner.run(job("memory", memory_mb=512), nothing)

    def test_a_module_that_is_not_there_is_reported(self, runner, job, tmp_path):
        lost = Job("train", ("no_such_module",), tmp_path / "lost", Limits(20, 0))
        with pytest.raises(
            WorkerFailed, match=r"worker train ended with exit code 1: .*No module named no_such_module"
        ):
            runner.run(lost, nothing)

    def test_a_crash_for_lack_of_memory_in_foreign_code_is_reported_as_such(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"out of memory: the limit is 512 MiB; it said: .*bad_alloc"):
            runner.run(job("abort", memory_mb=512), nothing)

    def test_what_the_listener_of_a_service_raises_is_raised_at_the_end_of_the_block(self, runner, job):
        def refuse(_line):
            raise LookupError("a bug in the progress view")

        with pytest.raises(LookupError, match="a bug in the progress view"):
            serve(runner, job("serve_not"), check_for_ever, refuse)

    @pytest.mark.parametrize("name", ["inputs", "outputs", "scratch"])
    def test_a_link_that_an_earlier_try_left_leads_to_no_foreign_folder(self, runner, job, tmp_path, name):
        foreign = tmp_path / "foreign"
        (foreign / "folder").mkdir(parents=True)
        (foreign / "link").symlink_to("folder")
        (tmp_path / "job").mkdir()
        (tmp_path / "job" / name).symlink_to(foreign)
        runner.run(job("result"), nothing)
        assert {path.name for path in foreign.iterdir()} == {"folder", "link"}
        assert not (tmp_path / "job" / name).is_symlink()

    def test_a_folder_that_an_earlier_try_put_among_the_inputs_is_gone(self, runner, job, tmp_path):
        (tmp_path / "job" / "inputs" / "jobs" / "below").mkdir(parents=True)
        (tmp_path / "foreign").mkdir()
        (tmp_path / "job" / "inputs" / "jobs" / "link").symlink_to(tmp_path / "foreign")
        runner.run(job("result"), nothing)
        assert (tmp_path / "job" / "inputs" / "jobs").readlink() == PROBE_JOBS
        assert (tmp_path / "foreign").is_dir()

    def test_the_command_line_is_python_without_the_current_folder(self, runner, job, tmp_path):
        (tmp_path / "job").mkdir()
        (tmp_path / "job" / "json.py").write_text("raise SystemExit('shadowed')")
        runner.run(job("result"), nothing)


def test_a_worker_that_the_kernel_cannot_fence_is_refused_where_fences_are_required(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.runners.process.runner.lacks", lambda: ("signals", "modes of files"))
    job = Job("train", ("training",), tmp_path / "job", Limits(20, 0))
    with pytest.raises(ConfigError, match="require_fence: this kernel cannot fence signals, modes of files") as caught:
        ProcessRunner(RunnerConfig(require_fence=True), tmp_path).run(job, nothing)
    assert "trainyard doctor" in caught.value.hint
    assert not job.folder.exists()


def test_a_worker_whose_supervisor_does_not_keep_the_time_is_out_of_time_nevertheless(tmp_path):
    env = {"PYTHONPATH": "inputs/jobs", "PATH": os.defpath}
    job = Job("probe", ("probe_job", "stop_supervisor"), tmp_path / "job", Limits(2, 0), {"jobs": PROBE_JOBS}, env)
    prepare(job, job.folder)
    (job.folder / "inputs" / "jobs").symlink_to(PROBE_JOBS)
    with opened(job, job.folder, nothing) as output:
        worker = SupervisedWorker(job, output, PipeLink(job, job.folder, env, 0.1), 0.1)
    worker.patience = 1.0
    with pytest.raises(WorkerFailed, match="ran longer than 2 s"):
        run_through(worker)


def test_the_runner_is_opened_by_its_name(tmp_path):
    assert open_runner(RunnerConfig(kind="process"), tmp_path).name == "process"


def start_controller(folder):
    command = [sys.executable, "-P", "-c", CONTROLLER, str(folder), str(PROBE_JOBS)]
    controller = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert controller.stdout.readline() == "the family is there\n"
    return controller


def wait_until(true):
    until = time.monotonic() + 20
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)


def kill_the_daemon(folder):
    """Without its supervisor the daemon gets away: it had left the group, and the one who knew it was killed."""
    wait_until(lambda: len(those_in(folder)) == 1)  # who was killed may take a moment to be gone
    (escaped,) = those_in(folder)
    os.kill(escaped, signal.SIGKILL)


def those_in(folder):
    return [pid for pid in processes() if working_folder(pid) == folder]


def processes():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def working_folder(pid):
    try:
        return Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None


def supervisor_of(folder):
    supervisors = [
        pid for pid in processes() if working_folder(pid) == folder and b"supervisor.py" in command_line(pid)
    ]
    assert len(supervisors) == 1
    return supervisors[0]


def command_line(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
