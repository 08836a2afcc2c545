"""What a run remembers, and what it must not believe. The data are broken or small, so that no training is needed."""

from __future__ import annotations

import os
import subprocess

import pytest

from pipelines.runs import RunFolder


def test_a_run_that_failed_is_tried_again_and_mailed_once(broken):
    for _ in range(2):
        broken.trainyard("run", "code", code=2)
    assert len(broken.runs("code")) == 1
    assert len(broken.mails()) == 1


def test_a_run_says_where_its_report_lies(broken):
    said = broken.trainyard("run", "code", code=2).stderr
    (run,) = broken.runs("code")
    assert f"report: {run / 'report' / 'index.html'}" in said
    assert "broken.png" in (run / "report" / "index.html").read_text("utf-8")
    assert "broken.png" in (run / "report" / "junit" / "data.xml").read_text("utf-8")


def test_a_run_whose_mail_could_not_be_written_is_not_finished(broken):
    (broken.home / "outbox").parent.mkdir(parents=True, exist_ok=True)
    (broken.home / "outbox").write_text("in the way", encoding="utf-8")
    said = broken.trainyard("run", "code", code=2).stderr
    assert "broken.png" in said
    assert "notify:" in said
    assert "Traceback" not in said
    (broken.home / "outbox").unlink()
    broken.trainyard("run", "code", code=2)
    assert len(broken.mails()) == 1


def test_there_is_no_mail_before_there_is_a_verdict(new_team, tmp_path):
    folder = str(tmp_path / "run")
    new_team.trainyard("step", "resolve", "--run", folder, "--trigger", "code")
    new_team.trainyard("step", "fetch", "--run", folder)
    new_team.trainyard("step", "validate", "--run", folder)
    assert "no verdict yet" in new_team.trainyard("step", "notify", "--run", folder, code=2).stderr
    assert not new_team.mails()


def test_a_failed_step_is_mailed_and_the_steps_after_it_say_so(broken, tmp_path):
    folder = str(tmp_path / "run")
    broken.trainyard("step", "resolve", "--run", folder, "--trigger", "code")
    broken.trainyard("step", "fetch", "--run", folder)
    broken.trainyard("step", "validate", "--run", folder, code=2)
    broken.trainyard("step", "notify", "--run", folder)
    assert "failed in validate" in broken.mails()[-1]["Subject"]
    assert "step validate has failed" in broken.trainyard("step", "train", "--run", folder, code=2).stderr


def test_a_folder_left_by_another_build_swallows_no_new_push(new_team, tmp_path):
    folder = str(tmp_path / "run")
    new_team.trainyard("step", "resolve", "--run", folder, "--trigger", "code")
    new_team.trainyard("step", "resolve", "--run", folder, "--trigger", "code")
    new, _ = new_team.push("code", "another idea")
    for asked in (["--trigger", "dataset"], ["--trigger", "code", "--commit", new], ["--trigger", "code", "--force"]):
        assert "not the one asked for" in new_team.trainyard("step", "resolve", "--run", folder, *asked, code=2).stderr


def test_a_run_killed_before_its_first_record_resumes(new_team, tmp_path):
    folder = tmp_path / "run"
    new_team.trainyard("step", "resolve", "--run", str(folder), "--trigger", "code")
    (folder / "steps" / "resolve.json").unlink()
    new_team.trainyard("step", "resolve", "--run", str(folder), "--trigger", "code")
    new_team.trainyard("step", "fetch", "--run", str(folder))
    assert RunFolder(folder).record("fetch").outcome == "done"


def test_a_mistyped_folder_is_left_alone(new_team, tmp_path):
    new_team.trainyard("step", "fetch", "--run", str(tmp_path / "typo"), code=2)
    assert not (tmp_path / "typo").exists()


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("this user may not mount a small file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_reported_as_such_and_the_run_resumes_when_there_is_space(new_team, small_disk):
    noise = {f"9/{i}.png": os.urandom(50_000) for i in range(20)}  # what git cannot press together
    new_team.write("dataset", noise)
    new_team.push("dataset")
    new_team.config.write_text(
        f'home = "{small_disk}"\n' + new_team.config.read_text(encoding="utf-8"), encoding="utf-8"
    )
    done = new_team.trainyard("run", "code", code=75)
    assert "Traceback" not in done.stderr
    assert "space" in done.stderr
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    said = new_team.trainyard("run", "code", code=2).stderr
    assert "fetch: done" in said
    assert "9/0.png" in said


def test_a_home_that_cannot_be_one_is_not_a_bug(new_team):
    done = new_team.trainyard("run", "code", "--set", "home=/etc/hostname/x", code=2)
    assert "Traceback" not in done.stderr
    assert "hint:" in done.stderr
