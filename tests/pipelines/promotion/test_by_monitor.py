"""`[monitoring] auto_promote`: what the monitor may promote by itself, what it leaves to people, and what the records say."""

from dataclasses import replace

import pytest
from promotion_parts import MODEL, Interrupted
from recorded_api import project_with_recorded_api
from versions import append_release, measured_beside

from pipelines.config.schema import ApprovalPolicy
from pipelines.promotion.by_monitor import Occasion, promote_by_monitor
from registry import releases
from registry.errors import Rejected, TryAgain, WorkerFailed
from registry.records import Comparison, Policy
from registry.records.evaluation import Recent
from registry.verify import verify

WHY = "run 0123456789ab after alarm 4, drift inputs.mass"
ASKED = Occasion(WHY, "trainyard@gpu1")
RECENT = Policy(recent=True)


def measured(samples=100, live=1):
    """Beside the live version, on the holdout and on so many recent predictions."""
    compared = Comparison(live, "accuracy", 0.01, -0.01, 0.03, samples)
    return replace(measured_beside(live), recent=Recent(samples, comparison=compared))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Version 1 is live, promoted by ada; version 2 was compared with it, also on recent predictions."""
    made = project_with_recorded_api(tmp_path, monkeypatch)
    made.promote(made.publish())
    made.publish(evaluation=measured(), policy=RECENT)
    return made


def by_monitor(project, version=2, asked=ASKED, store=None):
    return promote_by_monitor(store or project.store, project.config, version, asked)


def refused(project, said, version=2, asked=ASKED):
    """Nothing is released or approved, and the reason is said."""
    before = project.tree()
    found = by_monitor(project, version, asked)
    assert found.release is None
    assert said in found.problem
    assert project.tree() == before


def test_the_records_say_that_it_was_the_monitor_by_which_setting_and_after_which_alarm(project):
    release = by_monitor(project).release
    assert (release.number, release.version, release.kind, release.by) == (2, 2, "promotion", "the monitor")
    assert release.reason == f"promoted with approval 2, by [monitoring] auto_promote: {WHY}"
    approval = releases.approvals(project.store, MODEL)[-1]
    assert (approval.number, approval.by, approval.way) == (2, "the monitor", "token")
    assert approval.seen == f"the monitor, by [monitoring] auto_promote: {WHY}; trainyard@gpu1"
    assert project.api.followed[-1] == 2


def test_repeated_it_changes_nothing(project):
    first = by_monitor(project)
    before = project.tree()
    assert by_monitor(project) == first
    assert project.tree() == before


def test_killed_between_its_approval_and_its_release_it_is_repeated(project):
    def killed(name):
        if "/releases/" in name:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        by_monitor(project, store=Interrupted(project.store, before=killed))
    assert project.history == [1]
    assert by_monitor(project).release.number == 2
    assert project.history == [1, 2]
    assert verify(project.store) == []


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ({"evaluation": measured(7), "policy": RECENT}, "7 labelled recent predictions that no training saw, 30 are"),
        ({"evaluation": measured()}, "[gate] recent was false"),
        ({"evaluation": measured_beside(None), "policy": RECENT}, "not compared with a release that is live now"),
        ({"evaluation": measured(), "policy": RECENT, "gate": ("too bad",)}, "the gate rejected thirds version 3: too bad"),
        ({"evaluation": measured(), "policy": RECENT, "tests": (("wrong",),)}, "failed its newest acceptance test"),
        ({"evaluation": measured(), "policy": RECENT, "tests": ()}, "has had no acceptance test yet"),
    ],
)  # fmt: skip
def test_what_a_gate_does_not_vouch_for_is_left_to_people(project, version, said):
    assert project.publish(**version) == 3
    refused(project, said, 3)


def test_a_comparison_with_another_release_than_the_live_one_is_stale(project):
    project.promote(project.publish(parent=1))
    refused(project, "it was compared with version 1, and version 3 is live by now")


def test_what_was_withdrawn_is_not_replaced(project):
    append_release(project.store, MODEL, None)
    refused(project, "not compared with a release that is live now")


def test_a_release_that_is_made_meanwhile_wins(project):
    project.api.meanwhile["start"] = lambda: append_release(project.store, MODEL, 1, reason="by hand")
    with pytest.raises(TryAgain):
        by_monitor(project)
    assert project.history == [1, 1]


def test_a_promotion_over_another_release_than_it_was_asked_for_is_refused(project):
    with pytest.raises(Rejected, match=r"^release 1 has replaced release 7 meanwhile$"):
        project.promote(2, over=7)
    assert project.promote(2, over=1).number == 2


def test_a_version_that_a_person_has_gone_back_from_stays_away(project):
    by_monitor(project)
    project.rollback()
    refused(project, "version 2 was live before, and is not any more")


def test_one_that_cannot_be_deployed_is_reverted_and_not_tried_again(project):
    project.api.fails[2] = WorkerFailed("it cannot be loaded")
    found = by_monitor(project)
    assert (found.release, project.history) == (None, [1, 2, 1])
    assert "it cannot be loaded" in found.problem
    refused(project, "version 2 was live before")


def test_one_that_is_late_is_live_and_it_is_said(project):
    project.api.fails[2] = TryAgain("two of four workers answer with it")
    found = by_monitor(project)
    assert found.release.number == 2
    assert "does not serve it everywhere yet: two of four workers" in found.problem


def test_what_a_person_has_promoted_meanwhile_is_not_the_monitors(project):
    project.promote(2)
    refused(project, "it is live already, as release 2, by ada")


def test_no_api_is_started(project):
    project.api.url = None
    refused(project, "the API of thirds does not run here")


def test_it_is_not_promoted_long_after_it_was_measured_but_what_is_live_is_known(project):
    late = replace(ASKED, late="its retraining was started too long ago")
    refused(project, "its retraining was started too long ago", asked=late)
    release = by_monitor(project).release
    assert by_monitor(project, asked=late).release == release


def test_its_approval_is_not_one_of_two_people(project):
    """The release failed, so the approval is not used up; then the settings change."""
    project.api.fails[2] = WorkerFailed("it cannot be loaded")
    by_monitor(project)
    project.config = replace(project.config, approval=ApprovalPolicy(needed=2))
    with pytest.raises(Rejected, match="1 more person must approve thirds version 2") as no:
        project.promote(2, by="grace")
    assert "is not a person, as [approval] needed = 2 demands" in str(no.value)
