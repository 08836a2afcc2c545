"""A person takes a model out of production; and nobody decides about a release that they have not looked at."""

import pytest
from promotion_parts import MODEL, Project
from recorded_api import project_with_recorded_api

from pipelines.promotion.demote import demote
from pipelines.promotion.rollback import rollback
from registry import releases
from registry.errors import ConfigError, Rejected, TryAgain, WorkerFailed
from registry.verify import verify


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Two versions were released, one after the other, by hand."""
    made = project_with_recorded_api(tmp_path, monkeypatch)
    for version in (made.publish(), made.publish()):
        made.release_by_hand(version)
    return made


def demoted(project, **fields):
    return demote(project.store, project.config, "grace", "it is unfair", **fields)


def test_a_demotion_is_a_release_without_a_version_which_the_api_follows(project):
    made = demoted(project)
    assert (made.number, made.kind, made.version, made.by, made.reason) == (
        3,
        "demotion",
        None,
        "grace",
        "it is unfair",
    )
    assert releases.live(project.store, MODEL) is None
    assert project.api.asked == [("follow", "serve", 3)]
    assert not verify(project.store)


def test_an_api_that_does_not_run_is_not_started_for_it(project):
    project.api.url = None
    assert demoted(project).number == 3
    assert project.api.asked == []


def test_repeated_it_only_checks_the_api(project):
    demoted(project)
    assert demoted(project, over=2).number == 3
    assert project.api.followed == [3, 3]


def test_what_was_demoted_comes_back_by_its_number_and_by_no_step_back(project):
    demoted(project)
    with pytest.raises(ConfigError, match="nothing is live, and nothing was live before"):
        project.rollback()
    assert project.rollback(to=2).kind == "rollback"
    assert project.history == [1, 2, None, 2]


def test_the_approval_of_what_was_demoted_is_used_up(project):
    """It has served: to promote it again is a new decision."""
    token = project.token(project.publish())
    project.promote(3, token)
    demoted(project)
    with pytest.raises(Rejected, match="this approval was used for release 3"):
        project.promote(3, token)


def test_a_model_that_was_never_released_cannot_be_demoted(tmp_path):
    with pytest.raises(ConfigError, match="no version of thirds was released yet"):
        demoted(Project(tmp_path))


def test_who_has_looked_at_another_release_decides_again(project):
    for act in (
        lambda: demoted(project, over=1),
        lambda: rollback(project.store, project.config, MODEL, 1, "grace", "", over=1),
    ):
        with pytest.raises(
            Rejected, match=r"release 2 of thirds, by a test at .*, was made meanwhile: version 2 is live"
        ):
            act()
    assert (project.history, project.api.asked) == ([1, 2], [])
    assert rollback(project.store, project.config, MODEL, 1, "grace", "", over=2).number == 3
    assert demoted(project, over=3).number == 4


@pytest.mark.parametrize("error", [TryAgain("it is slow"), WorkerFailed("it has ended")])
def test_an_api_that_does_not_follow_is_reported_and_the_release_stays(project, error):
    project.api.fails["follow"] = error
    with pytest.raises(TryAgain, match=r"release 3 of thirds \(nothing is live\) stays, but the API may still answer"):
        demoted(project)
    assert project.history == [1, 2, None]
