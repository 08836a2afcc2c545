"""What a promotion and a rollback ask of the API, in which order, and what becomes of a release that it does not serve."""

from dataclasses import replace

import pytest
from promotion_parts import MODEL
from recorded_api import project_with_recorded_api
from versions import acceptance_draft, append_release

from registry import candidates, heads, releases
from registry.errors import ConfigError, Corrupt, Rejected, TryAgain, WorkerFailed
from registry.records import Comparison
from registry.stores import signatures_of
from serving.reach import OutOfReach

BROKEN = WorkerFailed("the worker says: not a flatbuffer")
SLOW = TryAgain("0 of 2 server processes are up")


@pytest.fixture
def project(tmp_path, monkeypatch):
    return project_with_recorded_api(tmp_path, monkeypatch)


def promoted(project, count):
    """So many versions, promoted one after the other; the API forgets that it was asked."""
    for _ in range(count):
        project.promote(project.publish())
    project.api.asked.clear()
    return releases.live(project.store, MODEL)


def failed(kind, act, *arguments, **fields):
    with pytest.raises(kind) as raised:
        act(*arguments, **fields)
    return raised.value


# --- promotion ---------------------------------------------------------------------------------------------------------


def test_a_first_promotion_starts_the_api_copies_the_version_and_waits_until_it_is_served(project):
    made = project.promote(project.publish())
    assert (made.number, made.version, made.kind, made.approval, made.by) == (1, 1, "promotion", 1, "ada")
    assert project.api.asked == [("start", "serve"), ("follow", "serve", 1), ("update", "serve")]
    assert releases.live(project.store, MODEL) == made
    assert candidates.manifest(project.store, MODEL, 1, "production").version == 1


def test_each_promotion_follows_the_release_before_it(project):
    assert [project.promote(project.publish()).number for _ in range(3)] == [1, 2, 3]
    assert (project.history, project.api.followed) == ([1, 2, 3], [1, 2, 3])


def test_a_promotion_that_is_repeated_only_checks_the_api(project):
    token = project.token(project.publish())
    made, before = project.promote(1, token), project.tree()
    project.api.asked.clear()
    assert project.promote(1, token) == made
    assert project.api.asked == [("start", "serve"), ("follow", "serve", 1), ("update", "serve")]
    assert project.tree() == before


def test_what_the_api_says_when_it_is_started_is_said_before_anything_is_written(project):
    token, before = project.token(project.publish()), project.tree()
    project.api.fails["start"] = ConfigError("port 8500 is in use")
    assert failed(ConfigError, project.promote, 1, token) is project.api.fails["start"]
    assert (project.tree(), project.api.followed) == (before, [])


def test_nothing_is_promoted_into_a_registry_from_which_a_release_was_removed(project):
    promoted(project, 2)
    token = project.token(project.publish())
    (project.folder / f"registry/production/{MODEL}/releases/000002.json").unlink()
    before = project.tree()
    error = failed(Corrupt, project.promote, 3, token)
    assert "000002.json: is missing" in str(error)
    assert (project.tree(), project.api.asked) == (before, [])


def test_a_token_that_has_made_a_release_makes_no_other_one(project):
    token = project.token(project.publish())
    project.promote(1, token)
    promoted(project, 1)
    assert "used for release 1" in str(failed(Rejected, project.promote, 1, token))
    assert project.api.asked == []


def test_an_acceptance_test_of_another_manifest_accepts_nothing(project):
    """Who may write to the registry could append one that was passed by other bytes."""
    version = project.publish(tests=())
    digest = candidates.manifest_digest(project.store, MODEL, version)
    chain = candidates.acceptance_chain(project.store, MODEL, version, digest)
    chain.append(acceptance_draft(MODEL, version, "f" * 64), 0)
    assert "has had no acceptance test" in str(failed(Rejected, project.promote, version))
    project.test_again(version)
    assert project.promote(version).number == 1


def test_the_newest_of_several_acceptance_tests_decides(project):
    project.publish(tests=(("test_dark failed",), ("test_dim failed",), ()))
    assert project.promote(1).number == 1
    project.publish(tests=((), ("test_dark failed",)))
    assert "failed its newest acceptance test" in str(failed(Rejected, project.promote, 2))


def worse(candidate, live):
    """What the worker finds when a candidate is much worse than what is live."""
    found = candidate.evaluation.candidate
    low = replace(found, values={**found.values, "accuracy": 0.5})
    gap = Comparison(live.version, "accuracy", -0.47, -0.5, -0.4, 100)
    return replace(candidate.evaluation, candidate=low, live=found, comparison=gap)


def test_a_candidate_that_is_worse_than_what_it_would_replace_is_rejected_and_nothing_is_written(project):
    promoted(project, 1)
    version = project.publish(parent=None)
    token, before = project.token(version), project.tree()
    assert "is worse than the live release's" in str(failed(Rejected, project.promote, version, token, measure=worse))
    assert (project.tree(), project.api.asked) == (before, [])
    made = project.promote(version, token, measure=worse, although="the old one leaks")
    assert (made.number, made.although, made.compared.difference) == (2, "the old one leaks", -0.47)


# --- a release that cannot be loaded -----------------------------------------------------------------------------------


def test_a_release_that_cannot_be_loaded_is_reverted_to_what_was_live(project):
    promoted(project, 2)
    project.api.fails[3] = BROKEN
    error = failed(WorkerFailed, project.promote, project.publish())
    assert str(error) == (
        "version 3 of thirds could not be deployed: the worker says: not a flatbuffer; "
        "version 2 answers as before, now as release 4"
    )
    assert "the approval is not used up" in error.hint
    assert project.history == [1, 2, 3, 2]
    back = releases.live(project.store, MODEL)
    assert (back.kind, back.by, back.approval) == ("revert", "trainyard", None)
    assert back.reason == "release 3 could not be deployed: the worker says: not a flatbuffer"
    assert project.api.asked[-2:] == [("follow", "serve", 3), ("follow", "serve", 4)]


def test_a_first_release_that_cannot_be_loaded_is_withdrawn(project):
    project.api.fails[1] = BROKEN
    error = failed(WorkerFailed, project.promote, project.publish())
    assert str(error).endswith("release 2 withdrew it, and nothing is live")
    withdrawn = releases.latest(project.store, MODEL)
    assert (withdrawn.kind, withdrawn.version, withdrawn.card) == ("withdrawal", None, "")
    assert project.api.followed == [1, 2]
    assert project.promote(project.publish()).number == 3


def test_the_same_command_tries_again_what_was_reverted(project):
    promoted(project, 1)
    token = project.token(project.publish())
    project.api.fails[2] = BROKEN
    failed(WorkerFailed, project.promote, 2, token)
    assert project.promote(2, token).number == 4
    assert (project.history, len(releases.approvals(project.store, MODEL))) == ([1, 2, 1, 2], 2)


def test_a_revert_whose_reason_is_long_records_its_beginning(project):
    promoted(project, 1)
    project.api.fails[2] = WorkerFailed("x" * 1000)
    failed(WorkerFailed, project.promote, project.publish())
    assert len(releases.live(project.store, MODEL).reason) == 300


@pytest.mark.parametrize("other", [3, None])
def test_what_a_concurrent_writer_has_released_or_withdrawn_is_not_reverted(project, other):
    promoted(project, 1)
    project.publish(), project.publish()
    project.api.fails[2] = BROKEN
    project.api.meanwhile[2] = lambda: (
        project.release_by_hand(3) if other else append_release(project.store, MODEL, None)
    )
    error = failed(WorkerFailed, project.promote, 2)
    assert str(error).endswith("not a flatbuffer; a concurrent writer has released another version")
    assert project.history == [1, 2, other]


def test_a_revert_that_is_late_answers_and_says_so(project):
    promoted(project, 1)
    project.api.fails |= {2: BROKEN, 3: SLOW}
    error = failed(WorkerFailed, project.promote, project.publish())
    assert (
        "version 1 answers as before, now as release 3, but not everywhere yet: 0 of 2 server processes are up"
        in str(error)
    )
    assert "trainyard serve thirds --status" in error.hint
    assert project.history == [1, 2, 1]


def test_a_revert_that_cannot_be_loaded_either_is_reported_with_both_reasons(project):
    promoted(project, 1)
    project.api.fails |= {2: BROKEN, 3: WorkerFailed("no memory")}
    error = failed(WorkerFailed, project.promote, project.publish())
    assert str(error).endswith("not a flatbuffer; and the automatic revert failed, too: no memory")


def test_a_revert_that_could_not_be_written_has_failed_and_is_not_late(project):
    promoted(project, 1)
    project.api.fails[2] = BROKEN
    store = FullAfter(project.store, 2)
    error = failed(WorkerFailed, project.promote, project.publish(), store=store)
    assert str(error).endswith("and the automatic revert failed, too: No space left on device")
    assert project.history == [1, 2]


class FullAfter:
    """A store whose disk is full once there are so many releases."""

    def __init__(self, store, number):
        self._store, self._number = store, number

    def __getattr__(self, name):
        return getattr(self._store, name)

    def create(self, name, *args):
        if "/releases/" in name and int(name[-11:-5]) > self._number:
            raise TryAgain("No space left on device")
        self._store.create(name, *args)


# --- a release that is late --------------------------------------------------------------------------------------------


def test_a_promotion_that_is_late_stays_and_the_same_command_checks_it_again(project):
    promoted(project, 1)
    project.api.fails[2] = SLOW
    token = project.token(project.publish())
    for _ in range(2):  # the second time it is live already
        late = failed(TryAgain, project.promote, 2, token)
        assert str(late) == (
            "release 2 of thirds (version 2) stays, but the API does not serve it everywhere yet: "
            "0 of 2 server processes are up"
        )
        assert late.hint.startswith("the same command checks it again, and changes nothing else")
    assert project.history == [1, 2]
    assert ("update", "serve") not in project.api.asked
    project.api.fails.clear()
    assert project.promote(2, token).number == 2


@pytest.mark.parametrize("again", [False, True], ids=["new", "live already"])
def test_a_release_that_an_api_cannot_reach_stays_and_the_api_is_to_be_started_again(project, again):
    promoted(project, 2 if again else 1)
    token = project.token(2 if again else project.publish())
    project.api.fails[2] = OutOfReach()
    error = failed(ConfigError, project.promote, 2, token)
    assert str(error).startswith("release 2 of thirds stays, but the API cannot serve it: ")
    assert "trainyard serve thirds --stop" in error.hint
    assert "nothing was reverted" in error.hint
    assert project.history == [1, 2]


def test_a_rollback_that_is_late_says_how_it_is_checked_again(project):
    """Without --to the same command would go back by one more version."""
    promoted(project, 2)
    project.api.fails[3] = SLOW
    late = failed(TryAgain, project.rollback)
    assert "release 3 of thirds (version 1) stays" in str(late)
    assert late.hint.startswith("`trainyard rollback thirds --to 1` checks it again")
    assert project.history == [1, 2, 1]


def test_what_is_live_is_reverted_when_the_api_cannot_load_it_and_only_then(project):
    promoted(project, 2)
    token = project.token(2)
    project.api.fails["follow"] = ConfigError("no image")
    assert failed(ConfigError, project.promote, 2, token) is project.api.fails["follow"]
    assert project.history == [1, 2]
    project.api.fails = {2: BROKEN}
    assert "version 1 answers as before, now as release 3" in str(failed(WorkerFailed, project.promote, 2, token))
    assert project.history == [1, 2, 1]


def test_an_api_that_cannot_be_started_reverts_nothing_that_is_live(project):
    promoted(project, 2)
    project.api.fails["start"] = WorkerFailed("it ended at once")
    assert failed(WorkerFailed, project.promote, 2) is project.api.fails["start"]
    assert (project.history, project.api.followed) == ([1, 2], [])


def test_settings_that_do_not_work_revert_nothing_and_name_what_is_live(project):
    project.api.fails["update"] = WorkerFailed("no such user")
    for _ in range(2):  # a new release, and what is live already
        kept = failed(WorkerFailed, project.promote, project.publish() if not project.history else 1)
        assert str(kept) == ("version 1 of thirds is live as release 1, but the API keeps its settings: no such user")
    assert project.history == [1]
    project.api.fails["update"] = TryAgain("the engine is away")
    assert failed(TryAgain, project.promote, 1)


def test_a_promotion_that_was_killed_before_it_wrote_the_head_writes_it_when_it_is_repeated(project):
    promoted(project, 1)
    last = heads.newest(project.store, MODEL)
    seen = project.folder / f"registry/production/{MODEL}/heads/{last.number:06d}.json"
    signatures = signatures_of(project.store)
    seen.unlink()
    memory = signatures._memory
    memory.write(replace(memory.read(), heads={}))
    assert heads.newest(project.store, MODEL) is None
    project.promote(1)
    assert heads.newest(project.store, MODEL).release == 1


# --- rollback ----------------------------------------------------------------------------------------------------------


def test_a_rollback_releases_the_version_before_and_waits_until_it_is_served(project):
    promoted(project, 2)
    made = project.rollback()
    assert (made.number, made.version, made.kind, made.approval, made.by) == (3, 1, "rollback", None, "grace")
    assert made.reason == "a test"
    assert project.api.asked == [("start", "serve"), ("follow", "serve", 3), ("update", "serve")]
    assert releases.live(project.store, MODEL) == made


def test_a_rollback_without_a_reason_records_that_it_is_one(project):
    promoted(project, 2)
    assert project.rollback(reason="").reason == "rolled back"


def test_a_rollback_to_a_version_goes_there_and_not_to_the_one_before(project):
    promoted(project, 3)
    assert project.rollback(to=1).version == 1
    assert project.rollback(to=3).version == 3
    assert project.history == [1, 2, 3, 1, 3]


def test_a_rollback_to_what_is_live_only_checks_the_api(project):
    live, before = promoted(project, 2), project.tree()
    assert project.rollback(to=2) == live
    assert project.api.asked == [("start", "serve"), ("follow", "serve", 2), ("update", "serve")]
    assert project.tree() == before


def test_a_rollback_whose_api_cannot_be_started_writes_nothing(project):
    promoted(project, 2)
    before, project.api.fails["start"] = project.tree(), ConfigError("port 8500 is in use")
    assert failed(ConfigError, project.rollback) is project.api.fails["start"]
    assert project.tree() == before


def test_a_rollback_that_cannot_be_loaded_is_reverted_and_speaks_of_no_approval(project):
    promoted(project, 3)
    project.api.fails[4] = BROKEN
    error = failed(WorkerFailed, project.rollback)
    assert "version 2 of thirds could not be deployed" in str(error)
    assert "version 3 answers as before, now as release 5" in str(error)
    assert "approval" not in error.hint
    assert project.history == [1, 2, 3, 2, 3]


def test_where_nothing_was_released_with_an_approval_none_is_named(project):
    version = project.publish()
    releases.copy_to_production(project.store, MODEL, version)
    append_release(project.store, MODEL, version)
    error = failed(Rejected, project.rollback, version)
    assert "approved and released: none;" in error.hint


def test_after_a_single_release_the_version_that_was_never_released_is_named(project):
    promoted(project, 1)
    error = failed(Rejected, project.rollback, 7)
    assert str(error) == "thirds version 7 was never released, so it cannot be rolled back to"
    assert "released: 1;" in error.hint
