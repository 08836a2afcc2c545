"""What one machine has prepared, another one takes: only what was signed, as it was signed, and never at the cost of a run."""

from __future__ import annotations

import io
import json
import os
import shutil
from dataclasses import replace

import pytest
from data_makers import images
from registry_parts import MemoryStore
from team import Team

from pipelines.commands import clean
from pipelines.config.load import load_config
from pipelines.config.schema import Cache, Registry
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.reuse.bound import entries_over, over_bound
from pipelines.reuse.shared import SharedPreparations
from pipelines.runs import RunFolder
from pipelines.steps import validate
from pipelines.steps.fetch import main as fetch
from pipelines.trust import first_key
from registry import codec
from registry.errors import ConfigError, Corrupt
from registry.records import Run, Sources
from registry.stores import open_store
from training.data import prepare


class Preparer:
    """Prepares in this process, and counts."""

    name = "process"

    def __init__(self):
        self.made = 0

    def run(self, job, on_line):
        assert job.name == "validate"
        self.made += 1
        (job.folder / "inputs").mkdir(exist_ok=True)
        (job.folder / "inputs" / "dataset").symlink_to(job.inputs["dataset"])
        codec.save(prepare.main(job.folder), job.folder / "result.json")

    def image(self, requirements, on_line):
        return None


class Machine:
    """A home of its own; registry, repositories and what is shared are those of the team."""

    def __init__(self, team, name, **settings):
        self.said = io.StringIO()
        config = load_config(team.config, {}, ["gate.min_samples=1"])
        config = replace(
            config, home=str(team.folder / name), cache=Cache(f"file://{team.folder / 'shared'}"), **settings
        )
        self.context = Context(config, open_progress(self.said, live=False))
        self.context.runner = Preparer()
        self.sources = team.sources

    def validate(self, run="run"):
        """A run up to `validate`; gives its folder."""
        folder = RunFolder(self.context.config.runs / run)
        codec.save(
            Run(run, "digits", "code", self.sources, "", None, None, "2026-11-30T00:00:00Z"), folder.root / "run.json"
        )
        fetch(self.context, folder)
        validate.main(self.context, folder)
        return folder

    @property
    def made(self):
        return self.context.runner.made


@pytest.fixture
def team(tmp_path):
    (tmp_path / "team").mkdir()
    team = Team(tmp_path / "team")
    images(team.folder / "work" / "dataset", per_class=30)
    team.write("dataset", {"dataset.toml": 'format = "images"\n'})
    team.sources = Sources(*(team.push(name)[0] for name in ("code", "dataset", "tests")))
    return team


@pytest.fixture
def first(team):
    machine = Machine(team, "home")
    machine.folder = machine.validate()
    return machine


@pytest.fixture
def second(team, first):
    """Another machine, which knows the registry's first key."""
    known = first_key(first.context.config)
    return Machine(team, "another", registry=replace(first.context.config.registry, trusted_keys=(known,)))


def files(folder):
    root = folder.outputs("validate")
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def shared(team, pattern):
    return sorted((team.folder / "shared" / "prepared").glob(pattern))


def test_the_second_machine_prepares_nothing(team, first, second):
    there = second.validate()
    assert (first.made, second.made) == (1, 0)
    assert files(there) == files(first.folder)
    assert (there.root / "validate" / "result.json").read_bytes() == (
        first.folder.root / "validate" / "result.json"
    ).read_bytes()
    assert not list((team.folder / "another" / "cache" / "shared").glob("*"))


def test_what_a_machine_has_it_does_not_take_again(first, team):
    shutil.rmtree(team.folder / "shared")
    first.validate("another-run")
    assert first.made == 1
    assert not shared(team, "*/*")


def test_by_default_nothing_is_shared(team):
    machine = Machine(team, "home")
    machine.context.config = replace(machine.context.config, cache=Cache())
    machine.validate()
    assert machine.made == 1
    assert not (team.folder / "shared").exists()


def flipped(team):
    (path,) = shared(team, "validate/*.zip")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def cut(team):
    (path,) = shared(team, "validate/*.zip")
    path.unlink()


def forged(team):
    """By somebody who can write there, and has a key of another registry."""
    (path,) = shared(team, "validate/*.json")
    (archive,) = shared(team, "validate/*.zip")
    path.unlink()
    archive.unlink()
    stranger = Machine(team, "stranger", registry=Registry(f"file://{team.folder / 'registry of a stranger'}"))
    stranger.validate()
    assert stranger.made == 1


def unsigned(team):
    (path,) = shared(team, "validate/*.json")
    record = json.loads(path.read_bytes())
    path.unlink()
    del record["signed_by"], record["seal"], record["schema"]
    from pipelines.reuse.shared import SharedEntry

    path.write_bytes(codec.with_checksum(SharedEntry(**record)))


def moved(team):
    """Another entry, signed well, under this key."""
    (path,) = shared(team, "validate/*.json")
    other = path.with_name(f"{'0' * 24}.json")
    path.rename(other)
    shutil.copy(other, path)
    path.write_bytes(path.read_bytes().replace(path.stem.encode(), b"0" * 24))


@pytest.mark.parametrize("attack", [flipped, cut, forged, unsigned, moved])
def test_what_is_not_as_it_was_signed_is_prepared_again(team, first, second, attack):
    attack(team)
    there = second.validate()
    assert second.made == 1
    assert files(there) == files(first.folder)
    assert ("not taken from [cache]" in second.said.getvalue()) == (attack is not cut)


def test_a_place_that_cannot_be_used_costs_no_run(team):
    (team.folder / "shared").write_text("a file")
    machine = Machine(team, "home")
    machine.validate()
    assert machine.made == 1
    assert "[cache]" in machine.said.getvalue()


@pytest.fixture(params=["folder", "bucket"])
def preparations(request, tmp_path):
    """In a folder, and in a store of another kind, in which we do not delete."""
    folder = tmp_path / "shared"
    if request.param == "folder":
        return SharedPreparations(open_store(f"file://{folder}"), None, folder, 1 << 20)
    return SharedPreparations(MemoryStore(tmp_path / "local"), None, None, 1 << 20)


def content(folder, name="content", size=10):
    (folder / name / "outputs" / "empty").mkdir(parents=True)
    (folder / name / "outputs" / "x0.npy").write_bytes(os.urandom(size))
    (folder / name / "result.json").write_text("{}")
    return folder / name


def test_any_store_gives_back_what_it_was_given(preparations, tmp_path):
    given, into = content(tmp_path), tmp_path / "into"
    into.mkdir()
    assert not preparations.fetch("validate", "key", into)
    assert preparations.offer("validate", "key", given, tmp_path / "scratch")
    assert not preparations.offer("validate", "key", given, tmp_path / "scratch"), "it is there"
    assert preparations.fetch("validate", "key", into)
    taken, wanted = (
        {p.relative_to(root): p.is_dir() or p.read_bytes() for p in root.rglob("*")} for root in (into, given)
    )
    assert taken == wanted
    assert not list((tmp_path / "scratch").iterdir())


def test_what_is_larger_than_the_bound_is_not_shared(preparations, tmp_path):
    assert not preparations.offer("validate", "key", content(tmp_path, size=2 << 20), tmp_path / "scratch")
    assert not preparations.fetch("validate", "key", tmp_path)


def test_the_entries_used_longest_ago_are_deleted(tmp_path):
    folder = tmp_path / "shared"
    preparations = SharedPreparations(open_store(f"file://{folder}"), None, folder, 1 << 20)
    for age, key in ((300, "old"), (200, "used"), (100, "new")):
        preparations.offer("validate", key, content(tmp_path, key, 300_000), tmp_path / "scratch")
        for path in (folder / "prepared" / "validate").glob(f"{key}*"):
            os.utime(path, (path.stat().st_mtime - age,) * 2)
    (tmp_path / "into").mkdir()
    assert preparations.fetch("validate", "used", tmp_path / "into")
    preparations.offer("validate", "newest", content(tmp_path, "newest", 500_000), tmp_path / "scratch")
    assert {path.name.split("-")[0].split(".")[0] for path in (folder / "prepared" / "validate").iterdir()} == {
        "used",
        "newest",
    }


def test_clean_removes_what_is_over_the_bound_and_archives_that_nobody_finds(team, first, capsys):
    (record,) = shared(team, "validate/*.json")
    record.unlink()
    config = first.context.config
    assert not over_bound(config.cache)
    (left,) = entries_over(team.folder / "shared", 0)
    assert [path.suffix for path in left.files] == [".zip"]
    (archive,) = shared(team, "validate/*.zip")
    archive.chmod(0o644)
    with archive.open("ab") as file:
        file.truncate(2 << 20)
    small = replace(config, cache=replace(config.cache, max_mb=1))
    rows = {}
    for dry in (True, False):
        clean.main(type("Args", (), {"dry_run": dry, "json": True}), small)
        rows[dry] = {each["kind"]: each["count"] for each in json.loads(capsys.readouterr().out)["kinds"]}
        assert archive.exists() == dry
    assert rows[True] == rows[False]
    assert rows[True]["prepared data shared with other machines"] == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [("ftp://here", "begins neither"), ("s3://", "cache"), ("/srv/shared", "begins neither"), ("file://.trainyard/registry", "never deletes")],
)  # fmt: skip
def test_a_place_that_cannot_be_one_is_refused_with_the_settings(team, url, words):
    with pytest.raises(ConfigError, match=words):
        load_config(team.config, {}, [f"cache.url={url}"])


def test_a_relative_folder_is_beside_the_file(team):
    config = load_config(team.config, {}, ["cache.url=file://shared"])
    assert config.cache.url == f"file://{team.folder / 'shared'}"


def test_an_entry_about_something_else_is_refused(preparations, tmp_path):
    preparations.offer("validate", "key", content(tmp_path), tmp_path / "scratch")
    data = preparations._store.get("prepared/validate/key.json")
    preparations._store.create("prepared/expectations/key.json", data)
    with pytest.raises(Corrupt, match="is about"):
        preparations.fetch("expectations", "key", tmp_path)
