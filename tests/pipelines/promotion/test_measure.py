"""A candidate is measured beside the live release by the real worker, on the holdout of the candidate's own dataset commit."""

import io
import json
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from promotion_parts import MODEL, Project
from versions import release_draft

from pipelines.config.schema import Repositories
from pipelines.context import Context
from pipelines.gate import worse_than_live
from pipelines.progress.view import open_progress
from pipelines.promotion.compare import compare_with_live
from pipelines.promotion.measure import measure_by_worker
from pipelines.reuse import prepared_data
from pipelines.runs import RunFolder
from pipelines.steps.validate import prepare
from registry import candidates, codec, releases
from registry.errors import ConfigError
from registry.records import Policy, Rule, Run, Sources, utc_now

pytestmark = pytest.mark.tensorflow
THIRDS = ("left", "middle", "right")
DATASET = """
format = "images"
[images]
mode = "L"
[split]
holdout = 0.5
validation = 0.25
"""

METRICS = b"""
def found(truth, probabilities, classes):
    of = truth == classes.index("right")
    return (probabilities.argmax(axis=1) == truth)[of].mean()
"""


def commit(folder, files):
    """The files as the one commit of a repository; gives its id."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    git = ["git", "-C", str(folder), "-c", "user.name=Ada", "-c", "user.email=ada@company.example"]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    return subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()


def dataset_images(folder, per_class=40):
    """Grey images of 6x6 pixels, one third of each brighter than the rest."""
    random = np.random.default_rng(1)
    for label, name in enumerate(THIRDS):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.integers(0, 120, (6, 6), dtype=np.uint8)
            pixels[:, 2 * label : 2 * label + 2] += 100
            Image.fromarray(pixels, "L").save(folder / name / f"{number}.png")


@pytest.fixture
def project(tmp_path, tiny_models):
    """Two versions in production and in test: 1 answers well, 2 never says `right`; both were made from one dataset commit."""
    made = Project(tmp_path, tiny_models)
    sources = {name: tmp_path / f"{name}-repository" for name in ("code", "dataset", "tests")}
    dataset_images(sources["dataset"])
    commits = Sources(
        commit(sources["code"], {"model.py": b"def build_model(spec): ...\n"}),
        commit(sources["dataset"], {"dataset.toml": DATASET.encode()}),
        commit(sources["tests"], {"metrics.py": METRICS}),
    )
    made.config = replace(made.config, repositories=Repositories(*map(str, sources.values())))
    made.seen = io.StringIO()
    made.context = Context(made.config, open_progress(made.seen))
    first = RunFolder(made.home / "runs" / "first")
    codec.save(Run("first", MODEL, "code", commits, "", None, None, utc_now()), first.root / "run.json")
    made.context.git.fetch_and_checkout(str(sources["code"]), commits.code, "code", first.sources / "code")
    prepared_data.check_out(made.context, first)
    prepare(made.context, first)
    for kind in ("thirds", "dull"):
        version = made.publish(kind, sources=commits, extra={"data.json": first.split("holdout") / "data.json"})
        releases.copy_to_production(made.store, MODEL, version)
    made.dataset = sources["dataset"]
    return made


def live(project, version):
    return replace(
        release_draft(MODEL, version, candidates.manifest_digest(project.store, MODEL, version)), number=version
    )


def test_both_are_measured_on_the_same_holdout_and_the_worse_one_is_rejected(project):
    measure = measure_by_worker(lambda: project.context)
    dull = replace(candidates.manifest(project.store, MODEL, 2), evaluation=project_evaluation(project, None))
    found = compare_with_live(dull, live(project, 1), measure, anyway=False)
    assert found.comparison.live_version == 1
    assert 40 < found.comparison.samples < 80  # a hash of each sample says in which split it is
    assert found.comparison.difference < -0.2
    (reason,) = found.failed
    assert "is worse than the live release's 1.0000" in reason
    better = replace(candidates.manifest(project.store, MODEL, 1), evaluation=project_evaluation(project, None))
    found = compare_with_live(better, live(project, 2), measure, anyway=False)
    assert (found.failed, found.comparison.difference > 0.2) == ((), True)
    assert {path.name for path in (project.home / "promotions").glob("*/*")} <= {".lock"}
    assert "prepared before, for another run" in project.seen.getvalue()


@pytest.mark.slow
def test_the_teams_own_metrics_are_asked_again_and_what_its_scripts_have_said_is_compared(project):
    rules = (
        Rule("own:found", max_drop=0.1, better="more"),
        Rule("script:auc", max_drop=0.1, better="more"),
    )
    dull = candidates.manifest(project.store, MODEL, 2)
    dull = replace(
        dull,
        verdict=replace(dull.verdict, policy=Policy(max_drop=1.0, rule=rules)),
        evaluation=replace(project_evaluation(project, None), reported={"auc": 0.5}),
    )
    found = measure_by_worker(lambda: project.context)(dull, live(project, 1))
    own = 'own:found(better="more")'
    assert (found.candidate.values[own], found.live.values[own]) == (0.0, 1.0)
    assert [each.metric for each in found.comparisons] == [own]
    assert found.reported == {"auc": 0.5}
    (reason,) = worse_than_live(found, dull.verdict.policy)
    assert reason == f"{own} 0.0000 is worse than the live release's 1.0000, by more than 0.1"
    assert not list((project.home / "promotions" / "2-beside-1").glob("*answers"))


def project_evaluation(project, live_version):
    """As a candidate's that was compared with this version."""
    return replace(candidates.manifest(project.store, MODEL, 1).evaluation, comparison=live_version)


@pytest.mark.slow
def test_a_dataset_that_is_gone_is_reported_and_its_prepared_data_are_not_needed_once_cloned(project):
    measure = measure_by_worker(lambda: project.context)
    shutil.rmtree(project.dataset)
    found = measure(candidates.manifest(project.store, MODEL, 2), live(project, 1))  # the clone has the commit
    assert found.comparison
    shutil.rmtree(project.home)
    with pytest.raises(ConfigError, match="dataset: cannot read"):
        measure(candidates.manifest(project.store, MODEL, 2), live(project, 1))
    assert not (project.home / "promotions" / "2-beside-1" / "sources").exists()
    assert not (project.home / "promotions" / "2-beside-1" / "run.json").exists()


@pytest.mark.slow
def test_what_an_earlier_try_has_left_does_no_harm(project):
    folder = project.home / "promotions" / "2-beside-1"
    (folder / "evaluate").mkdir(parents=True)
    (folder / "evaluate" / "result.json").write_text(json.dumps({"schema": 1}))
    (folder / "sources").symlink_to(project.folder)
    found = measure_by_worker(lambda: project.context)(candidates.manifest(project.store, MODEL, 2), live(project, 1))
    assert found.live.values["accuracy"] == 1.0
    assert (project.folder / "registry").exists()
