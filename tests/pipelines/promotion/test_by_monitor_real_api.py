"""`[monitoring] auto_promote` with an API that runs: it answers with what the monitor has promoted."""

from dataclasses import replace

import pytest
from promotion_parts import Project
from versions import measured_beside

from pipelines.promotion.by_monitor import Occasion, promote_by_monitor
from registry.records import Comparison, Policy
from registry.records.evaluation import Recent

pytestmark = pytest.mark.tensorflow


@pytest.mark.slow
def test_the_api_answers_with_what_the_monitor_has_promoted_and_none_is_started(tmp_path, tiny_models):
    project = Project(tmp_path, tiny_models)
    project.release_by_hand(project.publish("dull"))
    recent = Recent(100, comparison=Comparison(1, "accuracy", 0.1, 0.05, 0.15, 100))
    project.publish("thirds", evaluation=replace(measured_beside(1), recent=recent), policy=Policy(recent=True))
    asked = Occasion("run 0123456789ab after alarm 4, drift inputs.mass", "trainyard@gpu1")
    assert "does not run here" in promote_by_monitor(project.store, project.config, 2, asked).problem
    try:
        project.rollback(to=1)  # starts the API
        assert project.ask()[1]["version"] == 1
        release = promote_by_monitor(project.store, project.config, 2, asked).release
        status, body = project.ask()
    finally:
        project.stop()
    assert (status, body["release"], body["version"]) == (200, release.number, 2)
