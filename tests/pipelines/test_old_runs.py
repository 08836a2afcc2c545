"""What earlier runs leave on the disk, and what of it goes."""

import dataclasses
import itertools
import json
import shutil
import time

import pytest

from pipelines import flows
from pipelines.__main__ import main
from pipelines.config.schema import Keep
from pipelines.old_runs import GONE, Removal, known, plan, removals, remove, size, tidy
from pipelines.runs import RunFolder, StepRecord
from registry import codec
from registry.files import write_whole
from registry.records import Run, Sources


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trainyard.toml").write_text(
        'model = "m"\nhome = "home"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n[keep]\nruns = 3\nfull_runs = 2\n'
    )
    return tmp_path


@pytest.fixture
def runs(project):
    return project / "home" / "runs"


COUNT = itertools.count()


def run(runs, name, trigger="code", steps=None, outcome="done"):
    """A run with a file of each kind; `steps`: those that have ended, all by default."""
    folder = RunFolder(runs / name)
    at = f"2026-11-29T00:{next(COUNT) % 60:02d}:00Z"
    codec.save(
        Run(name, "m", trigger, Sources("a" * 40, "b" * 40, "c" * 40), "", None, None, at, False, ""),
        folder.root / "run.json",
    )
    for path in ("sources/code/model.py", "validate/outputs/data/x.npy", "train/outputs/model.keras", "train/outputs/history.json",
                 "train/worker.log", "report/index.html", "fetched.json"):  # fmt: skip
        write_whole(folder.root / path, b"x" * 5000)
    for step in flows.names(trigger) if steps is None else steps:
        folder.keep(StepRecord(step, outcome, f"{step} note", at, 1.0))
    return folder


@pytest.fixture(autouse=True)
def _minutes():
    global COUNT  # noqa: PLW0603
    COUNT = itertools.count()


def names(found):
    return [each.run.id for each in found]


def test_the_oldest_go_and_the_newest_keep_all_but_weights_that_the_registry_has(runs):
    for name in "abcde":
        run(runs, name)
    tidy(runs, Keep(runs=3, full_runs=2))
    assert names(known(runs)) == ["e", "d", "c"]
    for name, files in {
        "e": {"model.py", "x.npy", "history.json"},
        "d": {"model.py", "x.npy", "history.json"},
        "c": set(),
    }.items():
        left = {path.name for path in (runs / name).rglob("*") if path.is_file() and "steps" not in path.parts}
        assert left - {".lock"} == files | {"run.json", "worker.log", "index.html", "fetched.json"}
    assert not list(runs.glob(f"{GONE}*"))
    assert not list(removals(runs, Keep(runs=3, full_runs=2)))


def test_what_the_registry_has_is_in_no_run_that_was_accepted_and_one_that_may_be_resumed_keeps_it(runs):
    files = (
        "register/version/model.keras",
        "train/checkpoints/best-0-1.npz",
        "accept/api-1/models/abc",
        "accept/api-1/worker.log",
    )
    begun = flows.names("code")[:-1]
    for name, steps, log in (("done", None, 300_000), ("short", None, 9), ("open", begun, 300_000)):
        folder = run(runs, name, steps=steps)
        for path in files:
            write_whole(folder.root / path, b"x" * (log if path == files[3] else 9))
    tidy(runs, Keep())
    left = {name: {path for path in files if (runs / name / path).exists()} for name in ("done", "short", "open")}
    assert left == {"done": set(), "short": {files[3]}, "open": set(files)}


def test_a_run_that_was_not_registered_keeps_its_weights_until_it_is_old(runs):
    run(runs, "rejected", steps=("resolve", "gate"), outcome="rejected").keep(
        StepRecord("notify", "done", "", "2026", 1.0)
    )
    tidy(runs, Keep())
    assert (runs / "rejected/train/outputs/model.keras").exists()


def test_the_newest_of_each_repository_stays_whole_whatever_the_bounds(runs):
    for number, trigger in enumerate(("dataset", "tests", "code", "code", "code")):
        run(runs, f"r{number}", trigger)
    removed, lighter = plan(known(runs), Keep(runs=1, full_runs=0))
    assert (names(removed), names(lighter)) == (["r3", "r2"], [])


def test_what_has_not_ended_is_not_made_lighter_but_goes_with_the_oldest(runs):
    run(runs, "stopped", steps=("resolve", "fetch"))
    for name in "ab":
        run(runs, name)
    assert plan(known(runs), Keep(runs=5, full_runs=0))[1] != []
    assert names(plan(known(runs), Keep(runs=5, full_runs=0))[1]) == ["a"]
    assert names(plan(known(runs), Keep(runs=2, full_runs=0))[0]) == ["stopped"]


def test_a_run_that_ended_stays_at_work_while_a_process_has_it(runs):
    run(runs, "a")
    run(runs, "b")
    with RunFolder(runs / "a").locked():
        assert plan(known(runs), Keep(runs=1, full_runs=0)) == ([], [])
        assert [each.run for each in removals(runs, Keep(runs=0, full_runs=9))] == [
            "b"
        ]  # its weights, which are copies


@pytest.mark.parametrize(
    ("steps", "state", "last"),
    [
        ({}, "begun", None),
        ({"resolve": "done", "fetch": "done"}, "unfinished", "fetch"),
        ({"resolve": "enough", "notify": "done"}, "nothing to do", "resolve"),
        ({"resolve": "done", "gate": "rejected", "notify": "done"}, "rejected", "gate"),
        ({"resolve": "done", "fetch": "failed"}, "failed", "fetch"),
        ({"resolve": "done", "accept": "done", "notify": "done"}, "accepted", "accept"),
    ],
)
def test_the_state_of_a_run_is_that_of_the_step_that_decided_it_or_of_its_last_one(runs, steps, state, last):
    folder = run(runs, "a", steps=())
    for step, outcome in steps.items():
        folder.keep(StepRecord(step, outcome, "", "2026", 1.0))
    (found,) = known(runs)
    assert (found.state, found.at_work, found.ended) == (state, False, "notify" in steps)
    assert (found.last and found.last.step) == last


def test_runs_of_the_same_second_are_in_the_order_of_their_names(runs):
    for name in "bac":
        folder = run(runs, name)
        made = codec.read(Run, folder.root / "run.json")
        codec.save(dataclasses.replace(made, created_at="2026-11-29T00:00:00Z"), folder.root / "run.json")
    assert names(known(runs)) == ["c", "b", "a"]


def test_all_runs_are_kept_when_no_number_is_set(runs):
    for name in "abc":
        run(runs, name)
    assert plan(known(runs), Keep(runs=0, full_runs=3)) == ([], [])


def test_what_is_planned_names_the_run_its_bytes_and_whether_all_of_it_goes(runs):
    for name in "abc":
        run(runs, name)
    (runs / f"{GONE}d-outputs").mkdir()
    write_whole(runs / f"{GONE}d-outputs/x", b"x" * 5000)
    found = {each.run: each for each in removals(runs, Keep(runs=2, full_runs=1))}
    assert [(name, found[name].whole) for name in "abcd"] == [("a", True), ("b", False), ("c", False), ("d", True)]
    assert [found[name].folder and found[name].folder.root.name for name in "abcd"] == ["a", "b", "c", None]
    assert found["a"].paths == (runs / "a",)
    assert sorted(str(path.relative_to(runs / "b")) for path in found["b"].paths) == [
        "sources", "train/outputs", "validate/outputs",
    ]  # fmt: skip
    assert found["c"].paths == (runs / "c/train/outputs/model.keras",)
    assert found["a"].bytes == size(runs / "a") > found["b"].bytes > found["c"].bytes == found["d"].bytes > 0


def test_bytes_are_those_on_the_disk_each_file_once_and_nothing_behind_a_link(tmp_path):
    def blocks(*paths):
        return sum(512 * path.lstat().st_blocks for path in paths)

    write_whole(tmp_path / "shared/big", b"x" * 50_000)
    folder, one = tmp_path / "run", tmp_path / "run/a/one"
    write_whole(one, b"x" * 5000)
    assert size(folder) == size(one) == blocks(one) > 0
    (folder / "two").hardlink_to(one)
    assert size(folder) == blocks(one)
    link = folder / "link"
    link.symlink_to(tmp_path / "shared/big")
    (folder / "a/folder").symlink_to(tmp_path / "shared")
    assert size(folder) == blocks(one, link)
    assert size(link) == blocks(link)
    write_whole(folder / "three", b"x" * 5000)
    assert size(folder) == blocks(one, link, folder / "three")
    assert size(folder / "gone") == 0


def test_a_link_is_removed_and_not_what_it_leads_to(runs, tmp_path):
    folder = run(runs, "a")
    write_whole(tmp_path / "shared/x", b"x")
    link = folder.root / "link"
    link.symlink_to(tmp_path / "shared")
    remove(Removal("a", (link,), 0, False, runs, folder))
    assert not link.is_symlink()
    assert (tmp_path / "shared/x").exists()


def test_a_run_at_work_stays(runs):
    for name in "abc":
        run(runs, name)
    with RunFolder(runs / "a").locked():
        assert [each.state for each in known(runs)] == ["accepted", "accepted", "at work"]
        tidy(runs, Keep(runs=1, full_runs=0))
        assert (runs / "a/train/outputs/model.keras").exists()
    assert names(known(runs)) == ["c", "a"]


def test_a_run_that_is_taken_between_the_plan_and_the_removal_stays(runs):
    for name in "ab":
        run(runs, name)
    (planned, *_) = removals(runs, Keep(runs=1))
    with RunFolder(runs / "a").locked():
        remove(planned)
    assert (runs / "a/run.json").exists()


def test_of_two_that_remove_the_same_run_the_second_makes_nothing_anew(runs):
    for name in "ab":
        run(runs, name)
    (planned, *_) = removals(runs, Keep(runs=1))
    remove(planned)
    remove(planned)
    assert {path.name for path in runs.iterdir()} == {"b"}


def test_a_run_that_is_gone_is_not_made_anew_to_be_made_lighter(runs):
    for name in "ab":
        run(runs, name)
    planned = {each.run: each for each in removals(runs, Keep(runs=2, full_runs=1))}
    shutil.rmtree(runs / "a")
    remove(planned["a"])
    assert {path.name for path in runs.iterdir()} == {"b"}


def test_a_removal_that_is_interrupted_leaves_no_half_of_a_run_under_its_name(runs, monkeypatch):
    def interrupted(_path):
        raise OSError("interrupted")

    run(runs, "a")
    run(runs, "b")
    (planned, *_) = removals(runs, Keep(runs=1))
    monkeypatch.setattr(shutil, "rmtree", interrupted)
    with pytest.raises(OSError, match="interrupted"):
        remove(planned)
    assert sorted(path.name for path in runs.iterdir()) == [f"{GONE}a-a", "b"]
    (left, *_) = removals(runs, Keep(runs=1))
    assert (left.run, left.paths, left.folder) == ("a", (runs / f"{GONE}a-a",), None)
    with pytest.raises(OSError, match="interrupted"):
        remove(left)
    assert sorted(path.name for path in runs.iterdir()) == [f"{GONE}a-a", "b"]


def test_what_prevents_the_tidying_changes_nothing_else(runs, monkeypatch):
    def broken(_path):
        raise OSError("the disk is gone")

    for name in "ab":
        run(runs, name)
    monkeypatch.setattr("pipelines.old_runs.size", broken)
    tidy(runs, Keep(runs=1))
    assert names(known(runs)) == ["b", "a"]


def test_what_a_killed_process_was_removing_goes_with_the_next(runs):
    run(runs, "a")
    (runs / f"{GONE}b-outputs" / "data").mkdir(parents=True)
    tidy(runs, Keep())
    assert not list(runs.glob(f"{GONE}*"))


def test_shared_data_behind_a_link_stays(runs, tmp_path):
    for name in "ab":
        folder = run(runs, name)
    shared = tmp_path / "cache"
    shared.mkdir()
    (shared / "x.npy").touch()
    folder = RunFolder(runs / "a")
    (folder.root / "sources/dataset").symlink_to(shared)
    tidy(runs, Keep(runs=0, full_runs=0))
    assert not (folder.root / "sources").exists()
    assert (shared / "x.npy").exists()


@pytest.mark.parametrize("damage", ["{", ""])
def test_a_damaged_run_is_passed_over(runs, damage):
    run(runs, "a")
    (runs / "bad").mkdir()
    (runs / "bad/run.json").write_text(damage)
    assert names(known(runs)) == ["a"]


def said(project, capsys, *words):
    code = main([*words, "--config", str(project / "trainyard.toml")])
    return code, *capsys.readouterr()


def test_the_command_lists_shows_and_prints_a_log(project, runs, capsys):
    run(runs, "abc1")
    run(runs, "abd2", steps=("resolve", "fetch", "validate"), outcome="failed")
    code, out, _ = said(project, capsys, "runs", "list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["abd2", "abc1"]
    assert "failed" in out
    listed = json.loads(said(project, capsys, "runs", "list", "--json")[1])
    assert [each["state"] for each in listed] == ["failed", "accepted"]
    assert "validate note" in said(project, capsys, "runs", "show", "abd")[1]
    assert said(project, capsys, "runs", "log", "abc1", "train")[1] == "x" * 5000 + "\n"


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("show", "zzz"), "there is no run 'zzz'", "runs list --all"),
        (("show", "ab"), "'ab' begins 2 runs: abd2, abc1", "write more of it"),
        (("log", "abc1", "gate"), "run abc1 has no log of 'gate'", "it has: train"),
    ],
)
def test_a_run_that_cannot_be_found_is_refused_with_what_to_do(project, runs, capsys, words, message, hint):
    run(runs, "abc1")
    run(runs, "abd2")
    code, _, err = said(project, capsys, "runs", *words)
    assert code == 2
    assert message in err
    assert hint in err


def test_clean_and_prune_say_what_they_would_remove_and_then_do(project, runs, capsys):
    for name in "abcde":
        run(runs, name)
    mail = project / "home/outbox/sent/old.eml"
    write_whole(mail, b"x")
    import os

    os.utime(mail, (0, 0))
    write_whole(mail.with_name("new.eml"), b"x")
    killed = project / "home/reproductions/digits-1/train/outputs/model.keras"
    write_whole(killed, b"half")
    for number in range(2):
        write_whole(project / f"home/data/a{number}/a{number}", bytes(700_000))
        time.sleep(0.02)  # what was used last is known by ticks of the kernel
    for number in range(3):
        write_whole(project / f"home/monitor/m/health/2026113{number}T000000Z-r1.json", b"{}")
    write_whole(project / "home/cache/packages/abc/large.py", bytes(1_200_000))
    (project / "home/cache/packages/abc.lock").touch()
    bound = ("--set", "repositories.data_mb=1", "--set", "runner.packages_mb=1", "--set", "monitoring.keep=2", "--json")
    would = json.loads(said(project, capsys, "clean", "--dry-run", *bound)[1])
    assert [each["count"] for each in would["kinds"]] == [5, 1, 1, 1, 0, 1, 0, 0, 1]
    assert killed.exists()
    assert names(known(runs)) == ["e", "d", "c", "b", "a"]
    assert json.loads(said(project, capsys, "clean", *bound)[1])["bytes"] == would["bytes"] > 0
    assert names(known(runs)) == ["e", "d", "c"]
    assert sorted(path.name for path in mail.parent.iterdir()) == ["new.eml"]
    assert len(list((project / "home/monitor/m/health").iterdir())) == 2
    assert not (project / "home/reproductions/digits-1").exists()
    assert [path.name for path in (project / "home/data").glob("*/*")] == ["a1"]
    assert "freed 0 B" in said(project, capsys, "runs", "prune")[1]


def test_a_log_cannot_move_the_cursor(project, runs, capsys):
    write_whole(run(runs, "a").root / "train/worker.log", b"one\x1b[2Jtwo\r\nthree\xff\n")
    assert said(project, capsys, "runs", "log")[1] == "one[2Jtwo\nthree\ufffd\n"


def test_a_log_that_leads_elsewhere_is_not_shown(project, runs, capsys, tmp_path):
    folder = run(runs, "a").root
    (tmp_path / "secret").write_text("s3cret")
    (folder / "train/outputs/worker.log").symlink_to(tmp_path / "secret")
    (folder / "train/worker.log").unlink()
    code, out, err = said(project, capsys, "runs", "log")
    assert (code, out) == (2, "")
    assert "has no log" in err
