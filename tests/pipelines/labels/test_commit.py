"""Accepted labels become a commit in the dataset repository."""

import io
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import openpyxl
import pytest
from label_team import DATASET, KEPT, ROWS, Team, label
from prediction_log_files import write_segment
from repositories_parts import git

from pipelines.__main__ import main
from pipelines.commands import label_files
from pipelines.config.load import load_config
from pipelines.deploy.serve_job import log_folder
from pipelines.labels import commit as module
from pipelines.labels.documents import samples_in
from pipelines.labels.push import NewCommit, author_of
from pipelines.labels.scratch import alone
from registry.errors import ConfigError, TryAgain
from registry.label_manifest import MANIFEST
from registry.label_queue import Item
from registry.label_store import LabelStore, label_file


@pytest.fixture
def team(tmp_path):
    return Team(tmp_path)


def test_nobody_has_labelled_anything(team):
    made = team.commit()
    assert (made.commit, made.taken) == ("", ())
    assert not (Path(team.config.home) / "labels").exists()


def test_labels_become_rows_with_who_gave_them_as_authors(team):
    team.label(
        label("r-1"), label("r-2", "b", by="Bob <bob@example.org>"), label("r-3", "a"), label("r-4", "", correct=True)
    )
    made = team.commit()
    assert team.show("rev-parse main") == made.commit
    assert team.rows() == ["a,1001.0", "b,1002.0", "a,1003.0", "b,1004.0"], "the last: what was answered was right"
    assert team.show("log -1 --format=%an%n%ae%n%ce%n%B main").splitlines() == [
        "ada", "ada@labels.invalid", "ops@example.org", "Add 4 labelled answers of m", "", "'a': 2, 'b': 2", "",
        "Co-authored-by: Bob <bob@example.org>",
    ]  # fmt: skip
    listed = list(samples_in(team.show(f"show main:{MANIFEST}").encode()))
    assert [(each.request, each.label, each.file, each.by) for each in listed][:2] == [
        ("r-1", "a", "data.csv", ("ada",)), ("r-2", "b", "data.csv", ("Bob <bob@example.org>",)),
    ]  # fmt: skip
    assert team.show("show --stat --format= main").count("|") == 2


def test_again_commits_only_what_is_new(team):
    team.label(label("r-1"))
    first = team.commit().commit
    assert team.commit().commit == ""
    team.label(label("r-2"))
    assert team.commit().commit != first
    assert team.rows() == ["a,1001.0", "a,1002.0"]
    assert team.show("rev-list --count main") == "3"


def test_a_correction_after_the_commit_is_reported_and_not_committed_beside_it(team):
    team.label(label("r-1"))
    team.commit()
    team.label(label("r-1", "b", at="2026-11-30T11:00:00Z"))
    made = team.commit()
    assert [(each.request, each.label, each.file) for each in made.corrected] == [("r-1", "a", "data.csv")]
    assert team.rows() == ["a,1001.0"]


def test_a_rehearsal_says_what_would_be_and_pushes_nothing(team):
    team.label(label("r-1"), label("gone"))
    made = team.commit(rehearse=True)
    assert [(each.request, each.file) for each in made.taken] == [("r-1", "data.csv")]
    assert [(each.request, each.reason) for each in made.left_out] == [
        ("gone", "its line is not in the prediction log any more")
    ]
    assert team.show("rev-list --count main") == "1"
    assert list(team.queue.committed()) == []


class TestWhatCannotBeASample:
    """Of the labels of r-1 (a class that is not there), t-0 (a sample that is there) and gone, none can."""

    ALL = frozenset({"r-1", "t-0", "gone"})

    @pytest.fixture
    def tried(self, team, monkeypatch):
        """Requests that a worker was asked about, once for each time."""
        write_segment(log_folder(team.config), KEPT, [{"id": "t-0", "class": "b", "inputs": {"mass": 0.5}}], number=2)
        team.label(label("r-1", "c"), label("t-0", "b"), label("gone"))
        make, asked = module._make_files, []

        def noted(config, folder, wanted):
            asked.append({each.request for each in wanted})
            return make(config, folder, wanted)

        monkeypatch.setattr(module, "_make_files", noted)
        return asked

    def test_is_tried_once(self, team, tried):
        assert {each.request for each in team.commit().left_out} == self.ALL
        made = team.commit()
        assert (made.left_out, {each.request for each in made.before}) == ((), self.ALL)
        team.label(label("r-2"))
        team.commit()
        assert {each.request for each in team.commit().before} == self.ALL, (
            "samples that this command has added change nothing"
        )
        assert tried == [self.ALL, {"r-2"}]

    def test_is_not_noted_by_a_rehearsal(self, team, tried):
        team.commit(rehearse=True)
        team.commit()
        assert tried == [self.ALL, self.ALL]

    @pytest.mark.slow
    def test_is_tried_again_with_another_declaration_or_when_asked_to(self, team, tried):
        team.commit()
        team.commit(retry=True)
        team.repository.commit({"dataset.toml": DATASET.encode() + b'duplicates = "allow"\n'})
        made = team.commit()
        assert tried[1:] == [self.ALL, {"r-1", "t-0"}], "the log is as it was"
        assert [each.request for each in made.taken] == ["t-0"]
        assert {each.request for each in team.queue.unusable()} == {"r-1", "gone"}

    def test_of_a_class_that_the_data_do_not_have_is_tried_again_after_each_push_of_others(self, team, tried):
        team.commit()
        more = "".join(f"c,{n}.25\n" for n in range(100, 130))
        team.repository.commit({"data.csv": ROWS.encode() + more.encode()})
        made = team.commit()
        assert tried[1:] == [{"r-1"}]
        assert [(each.request, each.label) for each in made.taken] == [("r-1", "c")]

    def test_as_its_line_is_gone_is_tried_again_with_another_log(self, team, tried):
        team.commit()
        log_folder(team.config).rename(team.folder / "away")
        write_segment(log_folder(team.config), KEPT, [{"id": "gone", "class": "b", "inputs": {"mass": 99.25}}])
        assert [each.request for each in team.commit().taken] == ["gone"]
        assert tried[1:] == [{"gone"}]

    def test_with_another_label_is_tried_again(self, team, tried):
        team.commit()
        team.label(label("r-1", "a", at="2026-11-30T11:00:00Z"))
        assert [each.request for each in team.commit().taken] == ["r-1"]
        assert tried[1:] == [{"r-1"}]

    def test_leaves_with_the_request_that_is_forgotten(self, team, tried):
        team.commit()
        with LabelStore(label_file(Path(team.config.home), "m")) as store:
            store.purge(["r-1"], "ops", "1 request")
        assert {each.request for each in team.queue.unusable()} == {"t-0", "gone"}


def test_what_is_in_the_queue_waits_until_enough_people_agree(team):
    team.config = replace(team.config, labels=replace(team.config.labels, labellers=2))
    with team.queue as queue:
        queue.offer([Item(f"r-{n}", 0, "random", 0.5, "b", 1, "2026-11-30T09:00:00Z") for n in (1, 2)])
    team.label(label("r-1"), label("r-2"), label("r-2", by="bob"), label("r-3"))
    team.commit()
    assert team.rows() == ["a,1002.0", "a,1003.0"]


def test_others_who_push_meanwhile_are_not_overwritten(team, monkeypatch):
    team.label(label("r-1"))
    push, pushed = NewCommit.push, []

    def late(*given, **more):
        if not pushed:
            pushed.append(team.repository.commit({"data.csv": ROWS.encode() + b"b,77.25\n"}))
        return push(*given, **more)

    monkeypatch.setattr(NewCommit, "push", late)
    team.commit()
    assert team.rows() == ["b,77.25", "a,1001.0"]


@pytest.mark.slow
def test_two_installations_that_commit_the_same_labels_at_once_have_each_in_the_dataset_once(
    team, tmp_path, monkeypatch
):
    (tmp_path / "elsewhere").mkdir()
    other = Team(tmp_path / "elsewhere", team.repository)
    team.label(label("r-1"), label("r-2"))
    other.label(label("r-2"), label("r-3"))
    push, first = NewCommit.push, []

    def overtaken(*given, **more):
        if not first:
            first.append(True)
            other.commit()
        return push(*given, **more)

    monkeypatch.setattr(NewCommit, "push", overtaken)
    made = team.commit()
    assert [each.request for each in made.taken] == ["r-1"], "the other one has committed r-2"
    assert team.rows() == ["a,1002.0", "a,1003.0", "a,1001.0"]
    assert [each.request for each in samples_in(team.show(f"show main:{MANIFEST}").encode())] == ["r-2", "r-3", "r-1"]
    assert (team.commit().commit, other.commit().commit) == ("", "")


def test_what_the_hook_of_the_repository_says_is_shown_meanwhile(team):
    hook = team.repository.url / "hooks" / "post-receive"
    hook.write_text("#!/bin/sh\necho 'training begins'\n")
    hook.chmod(0o755)
    team.label(label("r-1"))
    assert team.commit().commit
    assert [each.strip() for each in team.shown] == ["remote: training begins"]


@pytest.mark.slow
def test_after_five_tries_it_gives_up_and_loses_nothing(team, monkeypatch):
    team.label(label("r-1"))
    monkeypatch.setattr(NewCommit, "push", lambda *_, **__: False)
    with pytest.raises(TryAgain, match="others have pushed 5 times"):
        team.commit()
    monkeypatch.undo()
    assert team.commit().taken


def test_a_push_that_the_repository_refuses_is_reported_and_goes_on_later(team):
    team.label(label("r-1"))
    hook = team.repository.url / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho 'main is protected' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(ConfigError, match="does not take a push to main") as caught:
        team.commit()
    assert "let this user push to main; no label is lost" in caught.value.hint
    hook.unlink()
    assert team.commit().taken


def test_a_dataset_that_would_not_pass_its_checks_is_not_pushed(team):
    team.repository.commit({"data.csv": ROWS.encode() + b"a ,77.25\n"})
    team.label(label("r-1"))
    with pytest.raises(ConfigError, match="does not pass its checks with the new samples") as caught:
        team.commit()
    assert caught.value.hint
    assert team.show("rev-list --count main") == "2"


def test_files_of_git_lfs_are_refused_before_anything_is_pushed(team):
    team.repository.commit({".gitattributes": b"*.csv filter=lfs diff=lfs merge=lfs -text\n"})
    team.label(label("r-1"))
    with pytest.raises(ConfigError, match="LFS"):
        team.commit()
    assert team.rows() == []


def test_a_workbook_is_left_as_it_is_and_the_labels_go_into_a_file_beside_it(team):
    book, file = openpyxl.Workbook(), io.BytesIO()
    for kind, mass in (line.split(",") for line in ROWS.splitlines()):
        book.active.append([kind, mass if mass == "mass" else float(mass)])
    book.save(file)
    sheet = DATASET.replace("data.csv", "data.xlsx") + 'sheet = "Sheet"\n'
    team.repository.commit({"data.xlsx": file.getvalue(), "dataset.toml": sheet.encode()})
    team.label(label("r-1"))
    with pytest.raises(ConfigError, match=r"^data\.xlsx: labels are not written into workbooks$") as caught:
        team.commit()
    assert 'file = ["labelled-*.csv", "data.xlsx"]' in caught.value.hint
    assert team.show("rev-list --count main") == "2"
    beside = sheet.replace('"data.xlsx"', '["labelled-*.csv", "data.xlsx"]')
    team.repository.commit({"labelled-0.csv": b"kind,mass\na,77.25\n", "dataset.toml": beside.encode()})
    assert len(team.commit().taken) == 1, "the label is still there"


KILLED = """
import os, signal, sys
from pathlib import Path
from pipelines.__main__ import main
from pipelines.commands import labels
from pipelines.config.load import load_config
from pipelines.labels import commit
from pipelines.labels.push import NewCommit
from registry.label_queue import LabelQueue

def die(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
def after(method):
    def done(*given, **more):
        method(*given, **more)
        die()
    return done

where = sys.argv[2]
if where == "before the push": NewCommit.push = die
if where == "after the push": NewCommit.push = after(NewCommit.push)
if where == "after the commit was made": NewCommit.commit = after(NewCommit.commit)
if where == "while files are made": commit.ask = die
commit.commit_labels(load_config(Path(sys.argv[1]), {}), "ops", print)
"""


@pytest.mark.parametrize(
    "where", ["while files are made", "after the commit was made", "before the push", "after the push"]
)
def test_a_kill_loses_nothing_and_repeats_nothing(team, where):
    team.label(label("r-1"), label("r-2"))
    environment = os.environ | {"PYTHONPATH": str(Path(module.__file__).parents[2])}
    command = [sys.executable, "-P", "-c", KILLED, team.folder / "trainyard.toml", where]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    team.commit()
    assert team.rows() == ["a,1001.0", "a,1002.0"]
    assert [each.request for each in team.queue.committed()] == ["r-1", "r-2"]
    assert not list((Path(team.config.home) / "labels").glob(".tmp-*"))


def test_one_commits_at_a_time(team):
    team.label(label("r-1"))
    with (
        alone(label_file(Path(team.config.home), "m").with_suffix(".lock"), "commits labels"),
        pytest.raises(TryAgain, match="another process"),
    ):
        team.commit()


@pytest.mark.parametrize(
    ("person", "name", "email"),
    [
        ("ada", "ada", "ada@labels.invalid"),
        ("ada@example.org", "ada@example.org", "ada@example.org"),
        ("Ada L <ada@example.org>", "Ada L", "ada@example.org"),
        ("a<b>\nc", "ab c", "ab-c@labels.invalid"),
        ("<>", "unknown", "unknown@labels.invalid"),
        ("é ü", "é ü", "unknown@labels.invalid"),
    ],
)  # fmt: skip
def test_whoever_is_named_in_a_label_is_an_author_that_git_takes(person, name, email):
    found = author_of(person)
    assert (found.name, found.email) == (name, email)


def test_the_command_says_what_would_be_committed_what_was_and_what_was_left_out(team, capsys):
    def call(*words):
        assert main(["labels", *words, "--config", str(team.folder / "trainyard.toml")]) == 0
        return capsys.readouterr().out

    assert call("commit") == "m: no accepted label that the dataset does not have\n"
    team.label(label("r-1"), label("gone"))
    out = "  left out: 1, its line is not in the prediction log any more\n"
    assert call("commit", "--dry-run") == f"m: 1 samples would be committed to data.csv\n{out}"
    assert call("commit").endswith(f"of the dataset repository, which is pushed\n{out}")
    assert call("commit") == (
        "m: no accepted label that the dataset does not have\n"
        "  left out before, and not tried again: 1; `trainyard labels show` says why, --retry tries them\n"
    )
    assert "No sample of the dataset: 1, its line is not in the prediction log any more." in call("show")
    assert call("commit", "--retry").endswith(out)
    assert "answers wait for a label" in call("queue")


def test_what_the_dataset_has_already_is_one_line(team, capsys):
    twins = [{"id": f"t-{n}", "class": "b", "inputs": {"mass": n + 0.5}} for n in range(40)]
    write_segment(log_folder(team.config), KEPT, twins, number=2)
    team.label(*(label(f"t-{n}", "a" if n % 2 or n < 8 else "b") for n in range(40)))
    main(["labels", "commit", "--dry-run", "--config", str(team.folder / "trainyard.toml")])
    said = capsys.readouterr().out.splitlines()
    assert said[1:] == [
        "  left out: 36, the dataset has it already: data.csv line 3, and others",
        "  left out: 4, the dataset has it as 'b': data.csv line 2, and others",
    ]


def test_many_reasons_are_cut_with_how_many_are_left():
    said = list(label_files.by_reason([f"reason {n}" for n in range(25)] + ["reason 0"]))
    assert (said[0], said[-1], len(said)) == ("2, reason 0", "5 more, for other reasons: --json has all of them", 21)


def test_they_go_into_the_folder_that_is_the_dataset(tmp_path):
    team = Team(tmp_path)
    toml = DATASET.encode()
    team.repository.commit(
        {"README.md": b"x", "data.csv": b"not this", "m/data/dataset.toml": toml, "m/data/data.csv": ROWS.encode()}
    )
    text = (tmp_path / "trainyard.toml").read_text().replace('dataset"\n', 'dataset#m/data"\n')
    text = text.replace(f'"{team.repository.url}"', f'"{team.repository.url}#m/data"')
    (tmp_path / "trainyard.toml").write_text(text)
    team.config = load_config(tmp_path / "trainyard.toml", {})
    assert team.config.repositories.place_of("dataset") == (str(team.repository.url), "main", "m/data")
    team.label(label("r-1"))
    made = team.commit()
    assert (len(made.taken), made.files) == (1, ("data.csv",))
    names = git("show", "--name-only", "--format=", made.commit, cwd=team.repository.url).split()
    assert names == ["m/data/data.csv", f"m/data/{MANIFEST}"]
    assert git("show", f"{made.commit}:data.csv", cwd=team.repository.url) == "not this"
