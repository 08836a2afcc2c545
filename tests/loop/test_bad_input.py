"""Bad input, as a team meets it: a clear message, the right exit code, nothing registered, a mail, and the way on."""

from __future__ import annotations

import json

import pytest
from digits_model import MODEL, digits


def run(team, trigger="code", code=2):
    """Run the pipeline; gives what a person reads."""
    before = len(team.cards())
    done = team.trainyard("run", trigger, code=code)
    assert len(team.cards()) == before
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_truncated_image_is_found_before_any_training(new_team):
    name, image = next(iter(digits(0, 50).items()))
    new_team.write("dataset", {name: image[: len(image) // 2]})
    new_team.push("dataset")
    said = run(new_team)
    assert name in said
    (folder,) = new_team.runs("code")
    assert not (folder / "train").exists()
    assert json.loads((folder / "validate/outputs/validation.json").read_bytes())["ok"] is False
    assert "failed" in new_team.mails()[-1]["Subject"]


def test_a_class_that_vanished_is_named(new_team):
    new_team.write("dataset", {"dataset.toml": 'format = "images"\nclasses = ["1", "4", "7", "9"]\n'})
    new_team.push("dataset")
    assert "9" in run(new_team)


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_syntax_error_in_the_model_is_shown_with_its_line_and_repaired_by_the_next_push(new_team):
    new_team.write("code", {"model.py": MODEL + "def broken(:\n"})
    new_team.push("code", "oops")
    said = run(new_team)
    assert "model.py" in said
    assert "SyntaxError" in said or "syntax" in said
    new_team.write("code", {"model.py": MODEL})
    new_team.push("code", "mended")
    new_team.trainyard("run", "code")
    assert [card["version"] for card in new_team.cards()] == [1]


@pytest.mark.tensorflow
@pytest.mark.slow
def test_a_model_that_never_reaches_the_threshold_is_rejected_with_every_reason(new_team):
    text = new_team.config.read_text(encoding="utf-8").replace("epochs = 8", "epochs = 1", 1)
    new_team.config.write_text(
        text.replace("threshold = 0.8", 'metric = "loss"\nthreshold = 0.0\nclass_floor = 1.0'), encoding="utf-8"
    )
    said = run(new_team, code=3)
    assert "REJECTED: push to code, gate" in said
    assert "threshold" in said
    assert "class_floor" in said or "under the floor" in said
    assert "rejected" in new_team.mails()[-1]["Subject"]
    again = new_team.trainyard("run", "code", code=3)
    assert "nothing new" in again.stderr


def test_a_holdout_that_the_policy_finds_too_small_is_refused_before_the_training(new_team):
    text = new_team.config.read_text(encoding="utf-8").replace("threshold = 0.8", "threshold = 0.8\nmin_samples = 5000")
    new_team.config.write_text(text, encoding="utf-8")
    said = run(new_team)
    assert "[gate] min_samples wants at least 5000" in said
    assert "[split] holdout" in said
    (folder,) = new_team.runs("code")
    assert not (folder / "train").exists()
    new_team.write(
        "code", {"model.py": MODEL + "\ndef load_data(folder):\n    raise ValueError('load_data was asked')\n"}
    )
    new_team.push("code", "samples of its own making")
    assert "load_data was asked" in run(new_team), "how many samples it makes, only it knows"


def test_a_repository_without_a_commit_is_reported(team):
    said = run(team)
    assert "is empty" in said
    assert "push a first commit" in said


def test_new_tests_before_any_candidate_are_refused_with_what_to_do_first(new_team):
    assert "push to code first" in run(new_team, "tests")


def test_a_forced_push_takes_the_new_head_and_a_lost_commit_is_reported(new_team):
    lost = new_team.commit("dataset", "never pushed")
    done = new_team.trainyard("run", "dataset", "--commit", lost, code=2)
    assert f"does not have commit {lost[:12]}" in done.stderr
    assert "forced push" in done.stderr


def test_a_step_out_of_turn_is_refused_with_the_one_that_comes_first(new_team, tmp_path):
    run_folder = str(tmp_path / "jenkins" / "run")
    new_team.trainyard("step", "resolve", "--run", run_folder, "--trigger", "code")
    new_team.trainyard("step", "fetch", "--run", run_folder)
    done = new_team.trainyard("step", "register", "--run", run_folder, code=2)
    assert "step validate has not run yet" in done.stderr
    done = new_team.trainyard("step", "retrain", "--run", run_folder, code=2)
    assert "a push to code has no step 'retrain'" in done.stderr
    done = new_team.trainyard("step", "fetch", "--run", str(tmp_path / "nowhere"), code=2)
    assert "no run.json" in done.stderr


def test_a_failure_of_the_mail_server_changes_no_verdict_and_the_mail_waits(new_team):
    new_team.write("dataset", {"1/broken.png": b"not a image"})
    new_team.push("dataset")
    with new_team.config.open("a", encoding="utf-8") as config:
        config.write('[mail]\nhost = "127.0.0.1"\nport = 1\nsecurity = "none"\ntimeout_seconds = 2\n')
    assert "broken.png" in run(new_team)
    assert len(new_team.mails()) == 1


def test_a_hook_that_trainyard_did_not_write_is_left_alone(new_team):
    hook = new_team.folder / "repositories/code.git/hooks/post-receive"
    hook.write_text("#!/bin/sh\necho mine\n", encoding="utf-8")
    done = new_team.trainyard("hooks", "install", code=2)
    assert "was not written by Trainyard" in done.stderr
    assert hook.read_text(encoding="utf-8") == "#!/bin/sh\necho mine\n"
    assert not (new_team.folder / "repositories/dataset.git/hooks/post-receive").exists()


def test_a_hook_that_fails_leaves_the_push_as_it_is(new_team):
    new_team.trainyard("hooks", "install")
    new_team.config.write_text("model = ", encoding="utf-8")
    sha, seen = new_team.push("code", "while the settings are broken")
    assert "not TOML" in seen
    assert new_team.git("rev-parse", "main", cwd=new_team.folder / "repositories/code.git").stdout.strip() == sha


def test_the_wrong_word_on_the_command_line_is_reported(new_team):
    done = new_team.trainyard("run", "cod", code=2)
    assert "invalid choice" in done.stderr
