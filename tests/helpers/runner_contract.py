"""What every runner promises. A test class for one runner derives from RunnerContract and gives the fixture `runner`."""

import fcntl
import json
import os
import subprocess
import threading
import time
from pathlib import Path
from uuid import uuid4

import pytest

from pipelines.runners import Job, Limits
from registry.errors import Corrupt, PipelineError, TryAgain, WorkerFailed

PROBE_JOBS = Path(__file__).with_name("probe_jobs")
SECRETS = {
    "TRAINYARD_SMTP_PASSWORD": "s3cret-1",
    "TRAINYARD_APPROVAL_SECRET": "s3cret-2",
    "AWS_SECRET_ACCESS_KEY": "s3cret-3",
    "GITHUB_TOKEN": "s3cret-4",
    "JENKINS_API_TOKEN": "s3cret-5",
    "SMTP_PASSWORD": "s3cret-6",
    "TF_VAR_db_password": "s3cret-7",
    "TF_TOKEN_app_terraform_io": "s3cret-8",
    "SSH_AUTH_SOCK": "/s3cret-9",
    "http_proxy": "http://user:s3cret-10@proxy",
}


def held(folder, name):
    """Whether a process of the worker still lives: locks are seen from every container of this machine."""
    with open(folder / "outputs" / f"{name}.lock", "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def family_is_gone(folder):
    return not any(held(folder, name) for name in ("worker", "child", "daemon"))


def said(folder):
    return json.loads((folder / "result.json").read_bytes())["text"]


def nothing(_line):
    """Nobody listens."""


class RunnerContract:
    @pytest.fixture
    def job(self, tmp_path):
        def job(case, *words, seconds=60.0, memory_mb=0, disk_mb=0, inputs=(), env=(), folder="job", reaches=None):
            return Job(
                name="probe",
                module=("probe_job", case, *words),
                folder=tmp_path / folder,
                limits=Limits(seconds, memory_mb, disk_mb),
                inputs={"jobs": PROBE_JOBS, **dict(inputs)},
                env={"PYTHONPATH": "inputs/jobs", **dict(env)},
                reaches=reaches,
            )

        return job

    # how it ends

    def test_a_result_comes_back(self, runner, job):
        runner.run(job("result"), nothing)
        assert said(job("").folder) == "fine"

    def test_a_typed_error_comes_back_as_it_was(self, runner, job):
        with pytest.raises(Corrupt, match=r"data\.csv, line 3: no number") as caught:
            runner.run(job("fail"), nothing)
        assert caught.value.hint == "repair the file"

    def test_a_bug_in_the_worker_is_reported_with_its_last_line_and_the_log(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"exit code 1: ZeroDivisionError: a bug in model.py") as caught:
            runner.run(job("bug"), nothing)
        assert "worker.log" in caught.value.hint
        assert "Traceback" in (job("").folder / "worker.log").read_text()

    def test_a_worker_that_wanted_what_it_was_not_given_gets_a_hint(self, runner, job):
        with pytest.raises(WorkerFailed, match="exit code 1: ") as caught:
            runner.run(job("want", f"/outside-{uuid4()}/of/everything"), nothing)
        assert "put the files into a repository" in caught.value.hint

    def test_a_crash_names_the_signal(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"SIGSEGV.*: before the crash"):
            runner.run(job("crash"), nothing)

    def test_what_it_said_before_its_end_is_not_its_progress(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"SIGTERM.*: before the training$"):
            runner.run(job("killed_in_training"), nothing)

    def test_an_end_without_a_result_is_a_failure(self, runner, job):
        with pytest.raises(WorkerFailed, match="without a result: I have better things to do"):
            runner.run(job("leave"), nothing)

    def test_a_result_of_a_worker_that_failed_afterwards_is_not_believed(self, runner, job):
        with pytest.raises(WorkerFailed, match="exit code 7: cannot close the file"):
            runner.run(job("error_after_result"), nothing)

    def test_a_result_of_an_earlier_try_is_not_believed(self, runner, job):
        runner.run(job("result"), nothing)
        with pytest.raises(WorkerFailed, match="without a result"):
            runner.run(job("leave"), nothing)

    def test_an_error_of_an_earlier_try_is_not_believed(self, runner, job):
        with pytest.raises(Corrupt):
            runner.run(job("fail"), nothing)
        runner.run(job("result"), nothing)
        with pytest.raises(Corrupt):
            runner.run(job("fail"), nothing)
        with pytest.raises(WorkerFailed, match="without a result"):
            runner.run(job("leave"), nothing)

    # limits

    def test_time_is_limited_and_the_whole_family_is_killed(self, runner, job):
        with pytest.raises(WorkerFailed, match="longer than 3 s") as caught:
            runner.run(job("tree", seconds=3), nothing)
        assert "timeout_minutes" in caught.value.hint
        assert family_is_gone(job("").folder)

    def test_a_worker_is_asked_before_it_is_killed(self, runner, job):
        with pytest.raises(WorkerFailed, match="longer than"):
            runner.run(job("polite", seconds=3), nothing)
        assert (job("").folder / "outputs" / "farewell").read_text() == "bye"

    def test_memory_is_limited(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"out of memory.*512 MiB") as caught:
            runner.run(job("memory", memory_mb=512), nothing)
        assert "memory_mb" in caught.value.hint

    def test_memory_of_all_processes_together_is_limited(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"out of memory.*256 MiB") as caught:
            runner.run(job("memory_together", memory_mb=256), nothing)
        assert "memory_mb" in caught.value.hint

    def test_shared_pages_count_once(self, runner, job):
        runner.run(job("share_memory", memory_mb=256), nothing)

    def test_one_file_may_not_be_larger_than_the_limit(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"wrote more than 8 MiB") as caught:
            runner.run(job("write_large", disk_mb=8), nothing)
        assert "disk_mb" in caught.value.hint

    def test_a_program_that_the_limit_on_files_kills_is_reported_as_such(self, runner, job):
        with pytest.raises(WorkerFailed, match="wrote more than 8 MiB and was killed"):
            runner.run(job("write_large", "killed", disk_mb=8), nothing)

    @pytest.mark.parametrize("how", ["files", "hidden", "empty"])
    def test_what_a_worker_writes_is_limited_in_all(self, runner, job, how):
        with pytest.raises(WorkerFailed, match="wrote more than 8 MiB and was killed") as caught:
            runner.run(job("write_much", how, disk_mb=8), nothing)
        assert "disk_mb" in caught.value.hint

    def test_folders_nested_deeper_than_a_path_can_name_do_no_harm(self, runner, job):
        for _ in range(2):
            try:
                runner.run(job("nest"), nothing)
            finally:
                subprocess.run(["rm", "-rf", job("").folder], check=True)  # pytest cannot

    def test_inputs_and_links_do_not_count_as_written(self, runner, job, tmp_path):
        (tmp_path / "large").write_bytes(b"x" * (24 << 20))
        runner.run(job("link_inputs", disk_mb=8, inputs={"large": tmp_path / "large"}), nothing)

    def test_a_disk_that_is_full_is_worth_another_try(self, runner, job):
        with pytest.raises(TryAgain, match="No space left on device"):
            runner.run(job("disk_full"), nothing)

    def test_what_a_failed_worker_wrote_is_there_at_the_next_try(self, runner, job):
        with pytest.raises(WorkerFailed, match="longer than 3 s"):
            runner.run(job("resume", seconds=3), nothing)
        assert (job("").folder / "checkpoints" / "state").read_text() == "1"
        with pytest.raises(WorkerFailed, match="longer than 3 s"):
            runner.run(job("resume", seconds=3), nothing)
        assert (job("").folder / "checkpoints" / "state").read_text() == "2"

    def test_processes_left_behind_by_a_worker_that_ended_are_killed(self, runner, job):
        runner.run(job("leave_family"), nothing)
        assert family_is_gone(job("").folder)

    def test_an_interrupt_in_the_controller_kills_the_whole_family(self, runner, job):
        def interrupt(line):
            if "family" in line:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            runner.run(job("tree"), interrupt)
        assert family_is_gone(job("").folder)

    # the log

    def test_lines_arrive_while_the_worker_runs(self, runner, job):
        def heard(line):
            raise LookupError(line)

        with pytest.raises(LookupError, match="waiting"):
            runner.run(job("polite"), heard)

    def test_the_log_is_kept_and_appended_to(self, runner, job):
        runner.run(job("result"), nothing)
        runner.run(job("result"), nothing)
        assert (job("").folder / "worker.log").read_text().splitlines().count("at work") == 2

    def test_any_output_becomes_lines_of_plain_text(self, runner, job):
        lines = []
        runner.run(job("noise"), lines.append)
        *bars, last_bar, text, red, long, end = lines
        assert last_bar == "199/200"
        assert len(bars) < 20
        assert text == "k\N{REPLACEMENT CHARACTER}nnte"
        assert red == "red"
        assert 8000 < len(long) < 8400
        assert end == "no end"

    # what the worker sees

    def test_secrets_are_not_in_its_environment(self, runner, job, monkeypatch):
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        runner.run(job("environment"), nothing)
        assert "s3cret" not in said(job("").folder)

    def test_what_it_needs_is_in_its_environment(self, runner, job):
        runner.run(job("environment", env={"TRAINYARD_SEED": "7"}), nothing)
        seen = json.loads(said(job("").folder))
        assert seen["TRAINYARD_SEED"] == "7"
        assert seen["TF_CPP_MIN_LOG_LEVEL"] == "2"
        assert {"PATH", "HOME", "TMPDIR", "KERAS_HOME", "MPLCONFIGDIR"} <= seen.keys()

    def test_inputs_are_visible_and_those_of_an_earlier_try_are_gone(self, runner, job, tmp_path):
        for name in ("a.txt", "b.txt"):
            (tmp_path / name).write_text(f"this is {name}")
        runner.run(job("inputs", inputs={"old.txt": tmp_path / "a.txt", "new.txt": tmp_path / "a.txt"}), nothing)
        runner.run(job("inputs", inputs={"new.txt": tmp_path / "b.txt"}), nothing)
        assert json.loads(said(job("").folder)) == {"new.txt": "this is b.txt"}

    def test_a_missing_input_is_reported_before_anything_starts(self, runner, job, tmp_path):
        with pytest.raises(PipelineError, match=r"input model is missing: .*nowhere"):
            runner.run(job("result", inputs={"model": tmp_path / "nowhere"}), nothing)

    def test_outputs_belong_to_the_caller_and_scratch_is_removed(self, runner, job):
        folder = job("").folder
        runner.run(job("outputs"), nothing)
        written = (folder / "outputs" / "model.bin").stat()
        assert (written.st_uid, written.st_gid) == (os.geteuid(), os.getegid())
        assert {path.name for path in folder.iterdir()} == {"inputs", "outputs", "result.json", "worker.log"}

    # services

    def talk(self, runner, job, service, *words):
        """What the server answers to a worker that may talk to it."""
        runner.run(job("talk", service.url, *words, folder="client", reaches=service), nothing)
        return json.loads(said(job("", folder="client").folder))

    def test_a_service_is_reachable_and_gone_afterwards(self, runner, job):
        folder = job("").folder
        with runner.service(job("serve"), nothing) as service:
            assert service.url.startswith("http://127.0.0.1:")
            assert self.talk(runner, job, service, "hi", "hi") == ["hello", "hello"]
            service.check()
        assert not held(folder, "server")
        assert not held(folder, "server-child")

    def test_a_service_ends_with_a_block_that_raises(self, runner, job):
        def block(service):
            self.talk(runner, job, service, "hi")
            raise KeyError

        with pytest.raises(KeyError):
            serve(runner, job("serve"), block)
        assert not held(job("").folder, "server-child")

    def test_a_service_that_cannot_start_is_reported_with_its_last_lines(self, runner, job):
        with pytest.raises(WorkerFailed, match=r"exit code 1: model\.tflite: not a model"):
            serve(runner, job("serve_not"), check_for_ever)

    def test_the_death_of_a_service_ends_the_worker_that_reaches_it_and_explains_its_failure(self, runner, job):
        def block(service):
            runner.run(job("talk", service.url, "hi", "die", "hi", "wait", folder="client", reaches=service), nothing)

        with pytest.raises(WorkerFailed, match="SIGKILL") as caught:
            serve(runner, job("serve"), block)
        assert isinstance(caught.value.__context__, PipelineError)
        assert not held(job("").folder, "server-child")

    def test_a_worker_that_comes_after_the_death_of_its_service_is_ended_too(self, runner, job):
        def block(service):
            ended = threading.Event()
            service.on_end(ended.set)
            assert ended.wait(20)
            runner.run(job("polite", folder="client", reaches=service), nothing)

        with pytest.raises(WorkerFailed, match="not a model"):
            serve(runner, job("serve_not"), block)


def serve(runner, job, block, on_line=nothing):
    with runner.service(job, on_line) as service:
        block(service)


def check_for_ever(service):
    """What a caller does that waits until a server is ready."""
    while True:
        service.check()
        time.sleep(0.01)
