"""What the worker that measures a candidate beside the live release is given, and what it leaves behind; it is played here."""

import io
import subprocess
from dataclasses import replace

import pytest
from promotion_parts import MODEL, Project
from versions import measured_beside, release_draft

from pipelines.config.schema import Repositories
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.promotion.measure import measure_by_worker
from pipelines.runs import RunFolder
from pipelines.workers.jobs import EvaluateJob
from registry import candidates, codec, releases
from registry.errors import ConfigError, WorkerFailed
from registry.records import Run, Sources
from training.data.spec import Validation

FOUND = measured_beside(1)


class Played:
    """A runner without workers: it prepares nothing, and finds FOUND."""

    name = "played"

    def __init__(self):
        self.jobs, self.asked, self.runs, self.there, self.fails = {}, {}, [], [], None

    def image(self, _requirements, _on_line):
        return None

    def run(self, job, _on_line):
        root = job.folder.parent
        self.jobs[job.name], self.asked[job.name] = job, (job.folder / "job.json").read_bytes()
        self.runs.append(codec.read(Run, root / "run.json"))
        self.there.append({str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()})
        if job.name == "validate":
            assert (job.inputs["dataset"] / "d.csv").read_text() == "1"
            (job.folder / "outputs/data/holdout").mkdir(parents=True)
            (job.folder / "outputs/data/holdout/data.npz").write_bytes(b"samples")
            result = Validation(True, "dataset", "npz", {"holdout": 100})
        else:
            assert (job.inputs["holdout"] / "data.npz").read_bytes() == b"samples"
            result = FOUND
        (job.folder / "worker.log").write_text("what the worker said")
        if self.fails:
            raise self.fails
        codec.save(result, job.folder / "result.json")


def commit(folder, name, text):
    """A repository with one file, and the id of its commit."""
    folder.mkdir()
    (folder / name).write_text(text)
    git = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@company.example"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path):
    """Version 1 in production, version 2 in test, from one commit each of code and dataset."""
    made = Project(tmp_path)
    code, dataset = tmp_path / "code", tmp_path / "dataset"
    made.sources = Sources(commit(code, "model.py", "def load_data(): ..."), commit(dataset, "d.csv", "1"), "e" * 40)
    made.config = replace(made.config, repositories=Repositories(str(code), str(dataset), "none"))
    made.seen = io.StringIO()
    made.context = Context(made.config, open_progress(made.seen))
    made.context.runner = Played()
    for _ in range(2):
        made.publish(sources=made.sources)
    releases.copy_to_production(made.store, MODEL, 1)
    made.place = made.home / "promotions" / "2-beside-1"
    return made


def measure(project):
    live = replace(release_draft(MODEL, 1, candidates.manifest_digest(project.store, MODEL, 1)), number=1)
    return measure_by_worker(lambda: project.context)(candidates.manifest(project.store, MODEL, 2), live)


def left(project):
    return {str(path.relative_to(project.place)) for path in project.place.rglob("*") if not path.is_dir()}


def test_candidate_and_live_release_are_measured_on_the_holdout_of_the_candidates_dataset(project):
    assert measure(project) == FOUND
    jobs = project.context.runner.jobs
    assert list(jobs) == ["validate", "evaluate"]
    registry = project.folder / "registry"
    inputs = jobs["evaluate"].inputs
    assert inputs["candidate"] == registry / "test" / MODEL / "2"
    assert inputs["live"] == registry / "production" / MODEL / "1"
    assert inputs["holdout"] == project.place / "validate/outputs/data/holdout"
    assert "measuring version 2 beside live version 1" in project.seen.getvalue()


def test_the_run_that_the_worker_sees_is_about_the_candidates_commits(project):
    measure(project)
    (run, same) = project.context.runner.runs
    assert run == same
    assert (run.model, run.sources, run.candidate, run.parent) == (MODEL, project.sources, 2, 1)
    assert len(run.id) == 12
    evaluated = project.context.runner.there[1]
    assert {"sources/code/model.py", "evaluate/job.json"} <= evaluated


def test_both_models_are_named_with_the_metric_that_the_gate_compared(project):
    measure(project)
    asked = codec.from_json(EvaluateJob, project.context.runner.asked["evaluate"], "job.json")
    assert (asked.metric, asked.candidate.version, asked.live.version) == ("accuracy", 2, 1)


def test_afterwards_only_the_lock_is_there(project):
    measure(project)
    assert left(project) == {".lock"}
    assert (project.folder / "registry/test" / MODEL / "2/card.json").exists()


def test_nothing_of_an_earlier_try_is_there_when_the_worker_begins(project):
    (project.place / "evaluate/outputs").mkdir(parents=True)
    (project.place / "evaluate/result.json").write_text("{}")
    (project.place / "extra").write_text("1")
    (project.place / "sources").symlink_to(project.folder / "dataset")
    assert measure(project) == FOUND
    assert not {"extra", "evaluate/result.json"} & project.context.runner.there[0]
    assert (project.folder / "dataset/d.csv").read_text() == "1"
    assert left(project) == {".lock"}


def test_after_an_error_the_log_stays_and_nothing_large_does(project):
    project.context.runner.fails = WorkerFailed("no memory")
    with pytest.raises(WorkerFailed, match="no memory"):
        measure(project)
    assert left(project) == {".lock", "validate/job.json", "validate/worker.log"}
    project.context.runner.fails = None
    assert measure(project) == FOUND


def test_an_error_before_anything_was_fetched_is_the_one_that_is_raised(project):
    (project.folder / "code").rename(project.folder / "moved")
    with pytest.raises(ConfigError, match="code: cannot read"):
        measure(project)
    assert not RunFolder(project.place).sources.exists()


def test_the_settings_are_read_only_when_there_is_something_to_measure():
    def never():
        raise AssertionError("nothing is to be measured")

    assert callable(measure_by_worker(never))
