"""The disk of the home is full, has no inodes left, may only be read, or goes away, before and in the middle of each
step: exit code 75 (2 where it is read-only) with the place, nothing half, and the same command resumes afterwards.

The registry on a full disk is tried in test_registry_disk.py.
"""

from __future__ import annotations

import contextlib
import json

import pytest
from digits_model import MODEL
from faults_parts import check_whole, left_over, mail, nobody_works_in, small_team
from registry_faults_parts import KIB, full, small_disk
from training_parts import EQUAL, QUICK, make_job

from pipelines.config.schema import Mail, RunnerConfig
from pipelines.mail.outbox import deliver, post
from pipelines.runners import Job, Limits
from pipelines.runners.process.runner import ProcessRunner
from registry.errors import TryAgain
from training.worker.protocol import parse_event

pytestmark = pytest.mark.slow

STEPS = ("resolve", "fetch", "validate", "train", "evaluate", "gate", "register", "accept", "notify")
ROOM = {"fetch": (0, 8, 60, 150), "validate": (0, 40), "train": (0, 40), "evaluate": (0, 24), "register": (0, 40)}
"""Step → how many KiB are left to it when it is tried on the full disk; others are tried with none."""


@contextlib.contextmanager
def no_inodes(folder, kib=0):
    """Use the inodes of the disk of `folder` up."""
    crowd = folder / "crowd"
    crowd.mkdir()
    try:
        with contextlib.suppress(OSError):
            for number in range(100_000):
                (crowd / str(number)).touch()
        yield
    finally:
        for path in crowd.iterdir():
            path.unlink()
        crowd.rmdir()


def whole(home):
    """Every JSON file is one, but for those that a worker without a result has left, which are made again, and caches
    of libraries, which look for themselves."""
    others = [path for path in home.glob("runs/*/*/outputs") if not (path.parent / "result.json").exists()]
    for path in home.rglob("*.json"):
        if not any(path.is_relative_to(other) for other in (*others, home / "cache")):
            assert json.loads(path.read_bytes()) is not None, path


def step(team, name, code):
    run = team.home / "runs" / "one"
    more = ("--trigger", "code") if name == "resolve" else ()
    done = team.trainyard("step", name, "--run", str(run), *more, code=code)
    assert "\nTraceback" not in done.stderr, done.stderr
    nobody_works_in(run)
    return done.stderr


@pytest.fixture
def home(tmp_path):
    """A team, and its home, which is a disk of its own: (team, remount)."""
    team = small_team(tmp_path, MODEL)
    with small_disk(team.home, size="12m", nr_inodes=4000) as remount:
        yield team, remount


@pytest.mark.tensorflow
def test_every_step_recovers_from_a_full_disk_once_there_is_space(home):
    team, _ = home
    for name in STEPS:
        for kib in ROOM.get(name, (0,)):
            with full(team.home, kib):
                said = step(team, name, 75)
                assert str(team.home) in said, f"{name} with {kib} KiB: {said}"
                assert "hint: " in said
                assert "space" in said or "room" in said, said
            whole(team.home)
            assert left_over(team.home) == []
        step(team, name, 0)
    assert [card["version"] for card in team.cards()] == [1]
    assert len(team.mails()) == 1
    check_whole(team.home)


def test_a_disk_without_inodes_is_reported_like_a_full_one(home):
    team, _ = home
    for name in ("resolve", "fetch", "validate"):
        with no_inodes(team.home):
            said = step(team, name, 75)
            assert str(team.home) in said, said
            assert "df -i" in said or "room" in said, said
        step(team, name, 0)


def test_a_home_that_may_only_be_read_is_reported_and_the_next_run_resumes(home):
    team, remount = home
    remount(ro="")
    said = team.trainyard("run", "code", code=2).stderr
    assert f"{team.home}" in said
    assert "Read-only file system" in said
    assert "hint: " in said
    remount(rw="")
    for name in ("resolve", "fetch"):
        step(team, name, 0)
    remount(ro="")
    said = step(team, "validate", 2)
    assert "Read-only file system" in said
    assert str(team.home) in said
    assert "doctor" in said
    doctor = team.trainyard("doctor", code=2)
    assert str(team.home) in doctor.stdout
    remount(rw="")
    step(team, "validate", 0)


def test_a_full_outbox_changes_no_verdict_and_the_mail_comes_with_the_next_run(home):
    team, _ = home
    team.write("dataset", {"1/broken.png": b"not a image"})
    team.push("dataset")
    with small_disk(team.home / "outbox", size="16k") as remount:
        (team.home / "outbox" / "filler").write_bytes(bytes(12 * KIB))
        said = team.trainyard("run", "code", code=2).stderr
        assert "broken.png" in said
        assert "outbox" in said.partition("notify: ")[2]
        assert "No space left" in said
        assert not list((team.home / "outbox").glob("*/*"))
        (team.home / "outbox" / "filler").unlink()
        remount(size="1m")
        team.trainyard("run", "code", code=2)
        (mail,) = team.mails()
        assert "failed" in mail["Subject"]


@pytest.mark.tensorflow
class TestWorker:
    """A worker whose own files do not fit."""

    @pytest.fixture
    def train(self, tmp_path):
        big = QUICK.replace("layers.Flatten(),", 'layers.Flatten(),\n        layers.Dense(6000, activation="relu"),')
        made = make_job(tmp_path / "made", big, samples=16, epochs=2, parity_command=EQUAL)
        inputs = {name: made / "inputs" / name for name in ("train", "validation", "code")}
        runner = ProcessRunner(RunnerConfig(), tmp_path / "cache")

        def run(folder):
            folder.mkdir(exist_ok=True)
            (folder / "job.json").write_bytes((made / "job.json").read_bytes())
            lines = []
            runner.run(Job("train", ("training",), folder, Limits(300, 8192), inputs), lines.append)
            return lines

        return run

    def test_a_checkpoint_that_does_not_fit_ends_the_training_which_resumes_from_the_one_before(self, tmp_path, train):
        with small_disk(tmp_path / "disk", size="9m") as remount:  # one checkpoint is 5 MB
            job = tmp_path / "disk" / "job"
            with pytest.raises(TryAgain, match=r"No space left|disk of .* is full") as raised:
                train(job)
            assert str(tmp_path / "disk") in str(raised.value) + raised.value.hint
            assert not (job / "result.json").exists()
            remount(size="64m")
            lines = train(job)
            assert (job / "result.json").exists()
            assert not list((job / "checkpoints").glob("*.part"))
            events = [each for each in map(parse_event, lines) if each]
            assert [each["epoch"] for each in events if each["event"] == "epoch"] == [2]

    def test_its_scratch_may_be_full(self, tmp_path):
        (tmp_path / "code").mkdir()
        (tmp_path / "code/writes.py").write_text(
            "import tempfile\nwith tempfile.TemporaryFile() as file:\n  for _ in range(99): file.write(bytes(1 << 20))\n"
        )
        runner = ProcessRunner(RunnerConfig(), tmp_path / "cache")
        job = Job(
            "try",
            ("writes",),
            tmp_path / "disk" / "job",
            Limits(60, 0),
            {"code": tmp_path / "code"},
            {"PYTHONPATH": "inputs/code"},
        )
        with small_disk(tmp_path / "disk", size="2m"):
            job.folder.mkdir()
            with pytest.raises(TryAgain, match=r"disk of .* is full"):
                runner.run(job, lambda _: None)
            assert not (job.folder / "scratch").exists()


def test_an_outbox_that_is_full_keeps_what_it_has(tmp_path):
    with small_disk(tmp_path / "outbox", size="64k", nr_inodes=20):
        waiting = post(mail("run1"), tmp_path / "outbox")
        with full(tmp_path / "outbox"), pytest.raises(OSError, match="No space left"):
            post(mail("run2"), tmp_path / "outbox")
        with no_inodes(tmp_path / "outbox"), pytest.raises(OSError, match="No space left"):
            post(mail("run2"), tmp_path / "outbox")
        assert deliver(tmp_path / "outbox", Mail(), "").kept == [each.name for each in waiting]
        post(mail("run2"), tmp_path / "outbox")
        assert len(deliver(tmp_path / "outbox", Mail(), "").kept) == 2
