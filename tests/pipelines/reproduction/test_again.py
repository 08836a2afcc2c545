"""A version trained once more: from the commits, settings and base of its manifest, without a trace in the registry.

The repositories, the registry and the preparation are real; the workers that would need TensorFlow are not.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import replace

import pytest
from data_makers import images
from registry_parts import FILES, write_files
from team import Team
from versions import candidate, image_signature

from pipelines.commands import reproduce as command
from pipelines.config.load import load_config
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.reproduction.again import reproduce
from pipelines.workers.jobs import Differences
from registry import candidates, codec
from registry.errors import ConfigError, TryAgain, WorkerFailed
from registry.files import sha256_bytes
from registry.records import Served, Sources, TrainJob, TrainResult
from training.data import prepare

JOB = TrainJob("digits", 3, 7, 32, 2, 5, "accuracy", 0.9)
PLACE = {"packages": {"keras": "3.15.1"}, "machine": {"processor": "a fast one", "threads": "2"}}


class Workers:
    """Prepares for real; "trains" the files that it is given."""

    name = "process"

    def __init__(self):
        self.files, self.differences, self.jobs = dict(FILES), Differences(0.5, 0.5, 9, {}, {}), {}
        self.place, self.error = PLACE, None

    def run(self, job, on_line):
        self.jobs[job.name] = (job, (job.folder / "job.json").read_bytes())
        (job.folder / "inputs").mkdir(exist_ok=True)
        for name, path in job.inputs.items():
            (job.folder / "inputs" / name).symlink_to(path)
        if job.name == "validate":
            codec.save(prepare.main(job.folder), job.folder / "result.json")
        elif job.name == "compare":
            codec.save(self.differences, job.folder / "result.json")
        elif self.error:
            raise self.error
        else:
            codec.save(self._trained(job.folder / "outputs"), job.folder / "result.json")

    def _trained(self, outputs):
        outputs.mkdir()
        files = write_files(outputs, self.files)
        served = Served("litert", "model.tflite", "a test")
        return TrainResult(
            files, image_signature(), served, "trained", "", 0, 3, 3, {"accuracy": 1.0}, True, **self.place
        )

    def image(self, requirements, on_line):
        return None

    def lacks(self):
        return ()


@pytest.fixture
def team(tmp_path):
    (tmp_path / "team").mkdir()
    team = Team(tmp_path / "team")
    images(tmp_path / "team" / "work" / "dataset")
    team.write("dataset", {"dataset.toml": 'format = "images"\n'})
    team.write("code", {"model.py": "def build_model(spec, attempt): ..."})
    return team


@pytest.fixture
def context(team):
    context = Context(load_config(team.config, {}), open_progress(io.StringIO(), live=False))
    context.runner = Workers()
    return context


@pytest.fixture
def made(team, context, tmp_path):
    """Registers versions of the first commits."""
    sources = Sources(*(team.push(name)[0] for name in ("code", "dataset", "tests")))
    folder = tmp_path / "prepared"
    (folder / "inputs").mkdir(parents=True)
    (folder / "inputs" / "dataset").symlink_to(team.folder / "work" / "dataset")
    codec.save(prepare.PrepareJob(), folder / "job.json")
    tree = prepare.main(folder).tree

    def made(**fields):
        run = f"run-{len(candidates.versions(context.store, 'digits'))}"
        version = candidates.claim(context.store, "digits", run)
        files = write_files(tmp_path / run)
        given = {"sources": sources, "training": JOB, "dataset": tree, **PLACE} | fields
        candidates.publish(context.store, candidate("digits", version, run, files, **given), tmp_path / run)
        return version

    return made


def registry_of(team):
    return {path: path.lstat().st_mtime_ns for path in (team.home / "registry").rglob("*")}


def test_the_same_bytes_are_found_and_nothing_is_left_but_the_record(team, context, made):
    version = made()
    before = registry_of(team)
    found = reproduce(context, version, 1e-5)
    assert (found.outcome, found.circumstances, found.other) == ("bit-identical", (), ())
    assert found.identical == ("model.keras", "model.tflite")
    assert found.card == candidates.manifest_digest(context.store, "digits", version)
    assert registry_of(team) == before
    left = [path.name for path in (team.home / "reproductions").iterdir()]
    assert left == [f"digits-{version}.json"]
    assert codec.read(type(found), team.home / "reproductions" / left[0]) == found


def test_it_trains_with_the_settings_of_the_manifest_not_with_those_of_today(context, made):
    reproduce(context, made(), 1e-5)
    job, text = context.runner.jobs["train"]
    given = codec.from_json(TrainJob, text, "job.json")
    assert (given.seed, given.epochs, given.threads) == (3, 7, 2)
    assert job.module == ("training",)
    assert job.inputs.keys() == {"code", "train", "validation"}


def test_a_retraining_begins_with_the_version_that_it_began_with(context, made):
    base = made()
    reproduce(context, made(base=base, parent=base, how="fine-tuned"), 1e-5)
    job, _ = context.runner.jobs["train"]
    assert job.module == ("retraining",)
    assert job.inputs["model"] == candidates.local_folder(context.store, "test", "digits", base)


@pytest.mark.parametrize(("apart", "outcome", "code"), [(1e-7, "equal", 0), (0.5, "different", 3)])
def test_other_bytes_are_compared_by_their_numbers(context, made, apart, outcome, code):
    version = made()
    context.runner.files["model.tflite"] = b"a little different"
    context.runner.differences = Differences(apart, apart, 9, {}, {})
    found = reproduce(context, version, 1e-5)
    assert (found.outcome, found.exit_code, found.other) == (outcome, code, ("model.tflite",))
    job, _ = context.runner.jobs["compare"]
    assert job.inputs.keys() == {"holdout", "then", "again", "code"}


def test_what_was_not_the_same_is_named(context, made):
    version = made()
    context.runner.place = {"packages": {"keras": "3.16.0"}, "machine": PLACE["machine"]}
    assert reproduce(context, version, 1e-5).circumstances == ("keras 3.15.1 then, 3.16.0 now",)


def test_a_commit_that_is_lost_prevents_it(context, made):
    found = reproduce(context, made(sources=Sources("a" * 40, "b" * 40, "c" * 40)), 1e-5)
    assert (found.outcome, found.exit_code) == ("impossible", 2)
    assert "a" * 40 in found.reasons[0] or "aaaaaaa" in found.reasons[0]


def test_files_that_are_not_those_of_then_prevent_it(context, made):
    version = made()
    card = candidates.manifest(context.store, "digits", version)
    other = made(dataset=replace(card.dataset, digest=sha256_bytes(b"other files")))
    found = reproduce(context, other, 1e-5)
    assert found.outcome == "impossible"
    assert "has other files than it had" in found.reasons[0]
    assert "train" not in context.runner.jobs


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"training": None}, None, "before versions kept their settings"),
        ({"base": 9}, None, "no such version"),
        ({}, WorkerFailed("the loss became nan", hint="lower the rate"), "the loss became nan"),
    ],
)
def test_all_that_prevents_it_is_a_reason(team, context, made, fields, error, words):
    context.runner.error = error
    found = reproduce(context, made(**fields), 1e-5)
    assert found.outcome == "impossible"
    assert any(words in each for each in found.reasons)
    assert not [path for path in (team.home / "reproductions").iterdir() if path.is_dir()]


def test_what_may_work_later_is_not_an_outcome(team, context, made):
    context.runner.error = TryAgain("the engine is away")
    with pytest.raises(TryAgain):
        reproduce(context, made(), 1e-5)
    assert not list((team.home / "reproductions").iterdir())


def test_a_version_that_is_not_there_is_an_error(context, made):
    made()
    with pytest.raises(ConfigError, match="no such version"):
        reproduce(context, 9, 1e-5)


def test_what_a_killed_process_has_left_is_removed(team, context, made):
    for name in ("digits-1", "digits-7"):
        left = team.home / "reproductions" / name / "train" / "outputs"
        left.mkdir(parents=True)
        (left / "model.keras").write_bytes(b"half")
    assert reproduce(context, made(), 1e-5).outcome == "bit-identical"
    assert [path.name for path in (team.home / "reproductions").iterdir()] == ["digits-1.json"]


@pytest.mark.parametrize("given", ["-1", "nan", "inf"])
def test_a_tolerance_that_is_not_a_distance_is_refused(team, given):
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    command.add_arguments(parser)
    args = parser.parse_args(["digits", "1", f"--tolerance={given}"])
    with pytest.raises(ConfigError, match="not a distance"):
        command.main(args, load_config(team.config, {}))


def test_the_command_prints_why_and_ends_with_the_outcome(team, context, made, monkeypatch, capsys):
    made(training=None)
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    command.add_arguments(parser)
    assert command.main(parser.parse_args(["digits", "1", "--json"]), context.config) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["exit_code"]) == ("impossible", 2)
    assert command.main(parser.parse_args(["digits", "1"]), context.config) == 2
    assert "cannot be reproduced" in capsys.readouterr().out


class InContainers(Context):
    """Its engine has the images that the test names."""

    images = ()

    def in_image(self, image):
        own = super().in_image(image)
        own.runner = InImage(image, image in self.images)
        return own


class InImage(Workers):
    name = "docker"

    def __init__(self, image="sha256:now", there=True):
        super().__init__()
        self._image, self._there = image, there

    def image(self, requirements, on_line):
        if not self._there:
            raise ConfigError(f"{self._image} is not on the engine")
        return f"{self._image}+packages" if requirements else self._image


@pytest.mark.parametrize(
    ("there", "around"),
    [(("sha256:then",), ()), ((), ("sha256:then then, sha256:now+packages now",))],
    ids=["the image is there", "the image is gone"],
)
def test_it_trains_in_the_container_image_of_then_if_the_engine_has_it(team, context, made, there, around):
    team.write("code", {"requirements.txt": "einops"})
    code = team.push("code")[0]
    version = made(image="sha256:then")
    sources = candidates.manifest(context.store, "digits", version).sources
    version = made(image="sha256:then", sources=replace(sources, code=code))
    containers = InContainers(context.config, context.progress)
    containers.images, containers.runner = there, InImage()
    found = reproduce(containers, version, 1e-5)
    assert found.outcome == "bit-identical", found.reasons
    assert found.circumstances == around
