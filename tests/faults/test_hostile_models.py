"""A code repository that means harm, run by the process runner: it is limited and reported, and the controller stays well.

What it may not reach is tried in test_hostile_workers.py, for this runner and for containers.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import threading

import pytest
from faults_parts import nobody_works_in
from training_parts import make_job

from pipelines.config.schema import RunnerConfig
from pipelines.progress.lines import PlainProgress
from pipelines.progress.stream import PatientStream
from pipelines.runners import Job, Limits
from pipelines.runners.process.runner import ProcessRunner
from pipelines.runners.supervisor.output import LOG_BYTES, TAIL_BYTES
from pipelines.runs import RunFolder
from pipelines.steps.register import _gather
from registry import codec
from registry.errors import Corrupt, PipelineError, WorkerFailed
from registry.records import TrainResult

SECRET = "s3cret-of-the-relay"


@pytest.fixture
def runner(tmp_path):
    return ProcessRunner(RunnerConfig(), tmp_path / "cache", grace=0.5)


@pytest.fixture
def attack(tmp_path, runner):
    """Run code as what it can be at its worst, the worker itself."""

    def run(code, seconds=60.0, memory_mb=2048, disk_mb=200, on_line=lambda _: None):
        (tmp_path / "attack").mkdir(exist_ok=True)
        (tmp_path / "attack" / "attack.py").write_text(f"import os, sys, time\n{code}")
        folder = tmp_path / "job"
        folder.mkdir(exist_ok=True)
        limits, env = Limits(seconds, memory_mb, disk_mb), {"PYTHONPATH": "inputs/attack"}
        try:
            runner.run(Job("train", ("attack",), folder, limits, {"attack": tmp_path / "attack"}, env), on_line)
        finally:
            nobody_works_in(folder)

    return run


@pytest.fixture
def no_tree_stays(tmp_path):
    """Folders nested too deep for pytest, which would fail when it cleans up after a later session."""
    yield
    subprocess.run(["rm", "-rf", tmp_path / "job"], check=True)


@pytest.fixture
def train(tmp_path, runner):
    """Train for real, with this model.py or this script of the team's own."""

    def run(code, script=True, seconds=60.0, disk_mb=200):
        name = "train.py" if script else "model.py"
        command = ("python", name) if script else ()
        job = make_job(tmp_path / "made", None, samples=12, files={name: f"import os, sys\n{code}"}, command=command)
        inputs = {name: job / "inputs" / name for name in ("train", "validation", "code")}
        folder = tmp_path / "job"
        folder.mkdir(exist_ok=True)
        (folder / "job.json").write_bytes((job / "job.json").read_bytes())
        try:
            runner.run(Job("train", ("training",), folder, Limits(seconds, 4096, disk_mb), inputs), lambda _: None)
        finally:
            nobody_works_in(folder)

    return run


class TestTooMuch:
    def test_a_gigabyte_of_output_does_not_fill_the_disk(self, attack, tmp_path):
        code = "text = (b'x' * 99 + b'\\n') * 1000 + b'y' * (10 << 20) + b'\\n'\nfor _ in range(100): sys.stdout.buffer.write(text)\nsys.exit('that was all')"
        with pytest.raises(WorkerFailed, match="that was all"):
            attack(code)
        assert (tmp_path / "job" / "worker.log").stat().st_size < LOG_BYTES + TAIL_BYTES + 4096

    def test_a_fork_bomb_is_ended_with_all_its_children(self, attack, tmp_path):
        bomb = "for _ in range(8): os.fork()\nos.setpgid(0, 0) if os.getpid() % 2 and os.getpid() != os.getsid(0) else None\ntime.sleep(600)"  # 256 of them
        with pytest.raises(WorkerFailed, match="ran longer than 3 s and was killed"):
            attack(bomb, seconds=3)

    def test_daemons_that_it_leaves_behind_are_ended(self, attack, tmp_path):
        code = "if not os.fork():\n  os.setsid()\n  if not os.fork(): time.sleep(600)\n  os._exit(0)\nsys.exit('bye')"
        with pytest.raises(WorkerFailed, match="bye"):
            attack(code)

    def test_sigterm_may_be_ignored_for_a_moment_only(self, attack):
        code = "import signal\nfor n in range(1, 32):\n  if n not in (9, 19): signal.signal(n, signal.SIG_IGN)\n"
        with pytest.raises(WorkerFailed, match="ran longer than 1 s and was killed"):
            attack(code + "time.sleep(600)", seconds=1)

    @pytest.mark.parametrize(
        "code",
        [
            "os.chdir('scratch')\nfor i in range(300): open(str(i), 'wb').write(bytes(1 << 20)); time.sleep(0.02)",
            "open('outputs/one', 'wb').write(bytes(80 << 20))",
            "for i in range(100_000): open(f'outputs/{i}', 'wb').close()\ntime.sleep(600)",
        ],
        ids=["many files", "one file", "empty files"],
    )
    def test_its_quota_of_the_disk_is_kept(self, attack, code):
        with pytest.raises(WorkerFailed, match="wrote more than 40 MiB") as raised:
            attack(code, disk_mb=40)
        assert "disk_mb" in raised.value.hint

    def test_memory_is_limited(self, attack):
        with pytest.raises(WorkerFailed, match="out of memory") as raised:
            attack("a = [bytearray(os.urandom(1) * (64 << 20)) for _ in range(40)]", memory_mb=512)
        assert "memory_mb" in raised.value.hint

    @pytest.mark.usefixtures("no_tree_stays")
    def test_folders_nested_without_end_do_not_stop_the_cleaning_up(self, attack, tmp_path):
        code = "os.chdir('scratch')\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nsys.exit('deep')"
        with pytest.raises(WorkerFailed, match="deep"):
            attack(code)
        with pytest.raises(WorkerFailed, match="again"):
            attack("sys.exit('again')")


class TestSecrets:
    @pytest.mark.parametrize(
        "script", [True, pytest.param(False, marks=pytest.mark.tensorflow)], ids=["own script", "model.py"]
    )
    def test_the_environment_holds_none_and_the_inputs_no_holdout(self, train, monkeypatch, tmp_path, script):
        for name in ("TRAINYARD_SMTP_PASSWORD", "TRAINYARD_APPROVAL_SECRET", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN"):
            monkeypatch.setenv(name, SECRET)
        inputs = "../../inputs"
        look = "print(dict(os.environ))\n"
        with pytest.raises(WorkerFailed, match=r"\['code', 'train', 'validation'\]"):
            train(f"{look}sys.exit(str(sorted(os.listdir({inputs!r}))))", script)
        log = (tmp_path / "job" / "worker.log").read_text()
        assert "KERAS_HOME" in log
        assert SECRET not in log

    def test_a_link_in_the_place_of_the_model_is_not_followed(self, train, tmp_path):
        (tmp_path / "secret").write_text(SECRET)
        with pytest.raises(PipelineError):
            train(f"os.symlink({str(tmp_path / 'secret')!r}, os.environ['TRAINYARD_OUTPUT'] + '/model.keras')")
        assert not list((tmp_path / "job" / "outputs").iterdir())


LIES = {
    "a link to an endless file": "os.symlink('/dev/zero', NAME)",
    "a link to a file that is not its own": "os.symlink('job.json', NAME)",
    "a pipe": "os.mkfifo(NAME)",
    "a folder": "os.mkdir(NAME)",
    "a hundred megabytes": "open(NAME, 'w').write('{\"schema\": 1, \"a\": \"' + 'x' * (100 << 20) + '\"}')",
    "nesting": "open(NAME, 'w').write('[' * 100_000)",
    "a huge number": "open(NAME, 'w').write('{\"schema\": ' + '9' * 100_000 + '}')",
    "no text": "open(NAME, 'wb').write(bytes(range(256)))",
    "an empty file": "open(NAME, 'w').close()",
}


class TestLies:
    @pytest.mark.parametrize("code", LIES.values(), ids=LIES)
    def test_what_is_in_the_place_of_a_result_is_read_with_care(self, attack, code, tmp_path):
        def trained():
            attack(f"NAME = 'result.json'\n{code}\nos._exit(0)")
            return codec.read(TrainResult, tmp_path / "job" / "result.json")  # as the step does

        with pytest.raises(PipelineError, match=r"result\.json|worker train") as raised:
            trained()
        assert raised.value.exit_code == 2
        assert len(str(raised.value)) < 1000

    @pytest.mark.parametrize("code", LIES.values(), ids=LIES)
    def test_what_is_in_the_place_of_an_error_is_read_with_care(self, attack, code):
        with pytest.raises(PipelineError, match=r"error\.json|worker train") as raised:
            attack(f"NAME = 'error.json'\n{code}\nos._exit(2)")
        assert raised.value.exit_code == 2
        assert len(str(raised.value)) < 1000

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            ({"error": "Rejected", "message": "rejected by the gate", "hint": ""}, WorkerFailed),
            ({"error": "SystemExit", "message": "x", "hint": ""}, Corrupt),
            ({"error": ["Corrupt"], "message": "x", "hint": ""}, Corrupt),
            ({"error": "Corrupt", "message": ["x"] * 9, "hint": {"a": 1}}, Corrupt),
            ({"error": "Corrupt"}, Corrupt),
        ],
        ids=["a verdict", "another exception", "a list", "no text", "half"],
    )
    def test_a_worker_reports_failures_and_no_verdicts(self, attack, error, kind):
        code = f"import json\nopen('error.json', 'w').write({json.dumps(error)!r})\nos._exit(3)"
        with pytest.raises(PipelineError) as raised:
            attack(code)
        assert type(raised.value) is kind

    def test_a_long_error_is_cut(self, attack):
        error = json.dumps({"error": "WorkerFailed", "message": "x" * 600_000, "hint": "y" * 300_000})
        with pytest.raises(WorkerFailed, match="xxx") as raised:
            attack(f"open('error.json', 'w').write({error!r})\nos._exit(2)")
        assert len(str(raised.value)) < 20_000
        assert len(raised.value.hint) < 20_000

    @pytest.mark.parametrize(
        "line",
        [
            "'@trainyard ' + '[' * 8000",
            "'@trainyard {\"event\": \"epoch\", \"epoch\": ' + '9' * 5000 + '}'",
            '\'@trainyard {"event": "epoch", "epoch": 1e999, "of": NaN, "metric": {}, "value": "x"}\'',
            '\'@trainyard {"event": "progress", "done": -1, "of": 0, "what": "\\\\u001b[2J"}\'',
            '\'@trainyard {"event": "note", "text": ["\\\\u001b[2J\\\\nACCEPTED"]}\'',
        ],
        ids=["nested", "huge", "no numbers", "negative", "no text"],
    )
    def test_lines_that_only_look_like_events_do_no_harm(self, attack, line, tmp_path):
        screen = io.StringIO()
        progress = PlainProgress(PatientStream(screen))
        progress.step("train")
        with pytest.raises(WorkerFailed, match="that was it"):
            attack(f"print({line}, flush=True)\nsys.exit('that was it')", on_line=progress.line)
        assert "\x1b" not in screen.getvalue()
        assert not [said for said in screen.getvalue().splitlines() if said.startswith("ACCEPTED")]


class TestTheNextTry:
    """What an earlier try has left in the job folder does no harm to the next one."""

    @pytest.mark.parametrize("name", ["worker.log", "outputs", "inputs", "scratch", "result.json", "error.json"])
    @pytest.mark.parametrize(
        "leave",
        [
            "os.mkfifo(NAME)",
            "open(NAME, 'w').close()",
            "os.mkdir(NAME); os.mkdir(NAME + '/x')",
            "os.symlink('/', NAME)",
        ],
        ids=["pipe", "file", "folder", "link"],
    )
    def test_it_begins_anew_or_names_what_is_in_the_way(self, attack, name, leave):
        gone = "os.rename(NAME, 'moved') if os.path.lexists(NAME) else None"
        with pytest.raises(PipelineError):
            attack(f"NAME = {name!r}\n{gone}\n{leave}\nos._exit(1)")
        before = os.listdir("/")
        with pytest.raises(PipelineError, match=rf"again|{name}") as raised:
            attack("sys.exit('again')")
        assert raised.value.exit_code == 2
        assert os.listdir("/") == before

    def test_what_only_looks_like_the_hidden_file_of_a_killed_writer_does_no_harm(self, attack, tmp_path):
        (tmp_path / "secret").write_text(SECRET)
        leave = (
            f"os.mkfifo('.tmp-pipe'); os.mkdir('.tmp-folder'); os.symlink({str(tmp_path / 'secret')!r}, '.tmp-link')"
        )
        with pytest.raises(WorkerFailed):
            attack(f"{leave}\nopen('.tmp-file', 'w').close()\nos._exit(1)")
        taken = threading.Event()

        def take_the_run():
            with RunFolder(tmp_path).locked():
                taken.set()

        threading.Thread(target=take_the_run, daemon=True).start()
        assert taken.wait(20), "the controller waits for the pipe"
        left = {each.name for each in (tmp_path / "job").glob(".tmp-*")}
        assert left == {".tmp-pipe", ".tmp-folder", ".tmp-link"}
        assert (tmp_path / "secret").read_text() == SECRET


class TestWhatIsRegistered:
    @pytest.fixture
    def folder(self, tmp_path):
        folder = RunFolder(tmp_path / "run")
        for path in ("evaluate/result.json", "gate/verdict.json", "validate/outputs/data/train/data.json"):
            (folder.root / path).parent.mkdir(parents=True)
            (folder.root / path).write_text("{}")
        for name in ("train", "evaluate"):
            folder.outputs(name).mkdir(parents=True)
        return folder

    @pytest.mark.parametrize(
        "name",
        [b"a\nb", b"\x1b[2J", "\u202egpj.exe".encode(), b"\xff\xfe", b"a\\b", "\u2028".encode()],
        ids=["line break", "escape", "direction", "not UTF-8", "backslash", "separator"],
    )
    def test_a_name_that_could_mislead_is_refused(self, folder, name):
        (folder.outputs("train") / os.fsdecode(name)).write_text("x")
        with pytest.raises(Corrupt, match="cannot be shown") as raised:
            _gather(folder)
        assert str(raised.value).isprintable()

    def test_a_million_files_are_refused_before_they_are_read(self, folder):
        (folder.outputs("train") / "many").mkdir()
        for number in range(10_001):
            (folder.outputs("train") / "many" / str(number)).touch()
        with pytest.raises(Corrupt, match="more than"):
            _gather(folder)

    def test_folders_nested_without_end_are_refused(self, folder):
        here = os.getcwd()
        try:
            os.chdir(folder.outputs("train"))
            for _ in range(60):  # more would be too much for pytest as well
                os.mkdir("d")
                os.chdir("d")
        finally:
            os.chdir(here)
        with pytest.raises(Corrupt, match="nested"):
            _gather(folder)

    @pytest.mark.parametrize("name", ["metrics.json/x", "verdict.json/x"])
    def test_a_folder_where_a_file_of_ours_belongs_is_refused(self, folder, name):
        (folder.outputs("train") / name).parent.mkdir()
        (folder.outputs("train") / name).write_text("x")
        with pytest.raises(Corrupt, match=name.partition("/")[0]):
            _gather(folder)

    def test_a_file_in_the_place_of_ours_is_replaced(self, folder):
        (folder.outputs("train") / "verdict.json").write_text('{"accepted": true}')
        assert (_gather(folder) / "verdict.json").read_text() == "{}"

    def test_a_pipe_is_not_a_file(self, folder):
        os.mkfifo(folder.outputs("train") / "pipe")
        with pytest.raises(Corrupt, match="pipe"):
            _gather(folder)


def test_what_only_looks_like_an_image_goes_into_no_mail(tmp_path):
    from pipelines.mail_facts import _plot

    def pictured(make):
        path = tmp_path / "confusion.png"
        path.unlink(missing_ok=True)
        make(path)
        found = []
        thread = threading.Thread(target=lambda: found.append(_plot(tmp_path)), daemon=True)
        thread.start()
        thread.join(20)
        return found

    (tmp_path / "secret").write_bytes(b"\x89PNG\r\n\x1a\n" + b"secret")
    assert pictured(lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\nours")) == [b"\x89PNG\r\n\x1a\nours"]
    assert pictured(os.mkfifo) == [b""]
    assert pictured(lambda path: path.symlink_to("/dev/zero")) == [b""]
    assert pictured(lambda path: path.symlink_to("secret")) == [b""]
    assert pictured(lambda path: path.mkdir()) == [b""]
