"""Which version a rollback goes back to, and when it is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from promotion_parts import MODEL, Project
from versions import append_release, approval_draft, release_draft

from pipelines.promotion.rollback import release_before
from registry import candidates, releases
from registry.errors import ConfigError, Corrupt, Rejected
from registry.undo import good_before


def history(*steps, by="ada"):
    """Releases as `+3` (version 3 was promoted), `3` (a rollback to 3), `!3` (an automatic revert to 3), `-` (withdrawn)."""
    return [
        replace(
            release_draft(
                MODEL,
                None if step == "-" else int(step.strip("+!")),
                "c" * 64,
                by=by,
                approval=number if "+" in step else None,
                kind="revert" if "!" in step else "",
            ),
            number=number,
        )
        for number, step in enumerate(steps, 1)
    ]


@pytest.mark.parametrize(
    ("steps", "version"),
    [
        ("+1 +2", 1),
        ("+1 +2 +3", 2),
        ("+1 +2 +3 2", 1),
        ("+1 +2 1 +3", 1),
        ("+1 +2 +3 1 3", 1),
        ("+1 +2 +3 2 +4 2", 1),
        ("+1 - +2 +3", 2),
        ("+1 +2 +1", 2),
        ("+1 +2 2 2", 1),
        ("+1 +2 +3 1 !3", 2),
        ("+1 - +2 +1 1 1", 2),
    ],
    ids=[
        "the one before",
        "not the first",
        "further back, not forward again",
        "around what was undone",
        "after going forward again",
        "around what failed",
        "around what was withdrawn",
        "a version promoted twice",
        "never the current version",
        "around a rollback that failed",
        "to what was promoted after a withdrawal, and only that far",
    ],
)
@pytest.mark.parametrize("by", ["ada", "trainyard"])
def test_it_goes_back_to_what_was_live_before(steps, version, by):
    assert release_before(history(*steps.split(), by=by)).version == version


@pytest.mark.parametrize(
    ("steps", "version"),
    [
        ("+1", None),
        ("+1 +2", 1),
        ("+1 +2 +3 1", 3),
        ("+1 +2 2", 1),
        ("+1 +2 !1", None),
        ("+1 +2 +3 !2", 1),
        ("+1 +2 !1 +3", 1),
        ("+1 +2 +3 1 !3 +4", 3),
        ("+1 +2 +3 1 !3", 2),
        ("+1 - +2", None),
        ("+1 +2 +3 !2 !1", None),
    ],
    ids=[
        "the first",
        "a promotion",
        "a rollback",
        "the same version again",
        "what we went back to, and nothing is left",
        "what we went back to",
        "a promotion after one that failed",
        "a promotion after a rollback that failed",
        "what we went back to from a rollback",
        "after a withdrawal",
        "each that we went back to",
    ],
)
@pytest.mark.parametrize("by", ["ada", "trainyard"])
def test_what_does_not_deploy_is_followed_by_the_last_that_did(steps, version, by):
    back = good_before(history(*steps.split(), by=by))
    assert (back.version if back else None) == version


@pytest.mark.parametrize("steps", ["+1", "+1 -", "+1 - +2", "+1 +2 1", "+1 +1"])
def test_where_nothing_was_before_it_says_so(steps):
    now = "nothing is live" if steps.endswith("-") else f"version {steps.split()[-1].strip('+')} is live"
    with pytest.raises(ConfigError) as error:
        release_before(history(*steps.split()))
    assert str(error.value) == f"{now}, and nothing was live before"
    assert "registry history thirds" in error.value.hint


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12, unique=True))
def test_undone_step_by_step_it_retraces_the_way(versions):
    steps = history(*(f"+{version}" for version in versions))
    for expected in reversed(versions[:-1]):
        back = release_before(steps)
        assert back.version == expected
        steps = [*steps, replace(release_draft(MODEL, back.version, back.card), number=len(steps) + 1)]
    with pytest.raises(ConfigError):
        release_before(steps)


@given(st.lists(st.sampled_from(["+1", "+2", "+3", "1", "2", "3", "-", "!1", "!2"]), min_size=1, max_size=12))
def test_whatever_happened_it_never_stays_where_it_is(steps):
    try:
        back = release_before(history(*steps))
    except ConfigError:
        return
    assert back.version not in {None, history(*steps)[-1].version}


@pytest.fixture
def project(tmp_path):
    """Two versions were released, as the registry knows it; no API is running."""
    made = Project(tmp_path)
    for version in (made.publish(), made.publish()):
        releases.copy_to_production(made.store, MODEL, version)
        card = candidates.manifest_digest(made.store, MODEL, version)
        approval = releases.append_approval(made.store, approval_draft(MODEL, version, card, f"token{version}"))
        append_release(made.store, MODEL, version, approval=approval.number)
    return made


def refused(project, kind, to, said):
    before = project.tree()
    with pytest.raises(kind, match=said) as no:
        project.rollback(to)
    assert project.tree() == before
    assert not (project.home / "serving").exists()
    return no.value


def test_a_target_whose_bytes_were_altered_is_refused_and_nothing_changes(project):
    path = project.folder / "registry" / "production" / MODEL / "1" / "signature.json"
    path.chmod(0o644)
    path.write_bytes(b"{}")
    assert refused(project, Corrupt, None, "production/thirds/1/signature.json: checksum mismatch").exit_code == 2
    assert refused(project, Corrupt, 1, "checksum mismatch").exit_code == 2


def test_a_version_that_was_never_released_needs_an_approval(project):
    project.publish()
    error = refused(project, Rejected, 3, "version 3 was never released")
    assert error.exit_code == 3
    assert "released: 1, 2" in error.hint


def test_after_a_withdrawal_the_versions_that_were_released_are_named(project):
    append_release(project.store, MODEL, None)
    assert "released: 1, 2;" in refused(project, Rejected, 3, "version 3 was never released").hint


def test_a_version_that_was_released_without_an_approval_is_no_way_back(project):
    """Whoever can write to the registry could append such a release; people have not approved it."""
    version = project.publish()
    releases.copy_to_production(project.store, MODEL, version)
    append_release(project.store, MODEL, version)
    append_release(project.store, MODEL, 2)
    error = refused(project, Rejected, version, "thirds version 3 was never approved, so it cannot be rolled back to")
    assert error.exit_code == 3
    assert "approved and released: 1, 2;" in error.hint


def test_without_to_it_goes_to_no_version_that_nobody_approved_either(project):
    version = project.publish()
    releases.copy_to_production(project.store, MODEL, version)
    append_release(project.store, MODEL, version)
    append_release(project.store, MODEL, 2, approval=None, kind="promotion")
    refused(project, Rejected, None, "version 3 was never approved")


def test_an_approval_of_another_manifest_approves_no_rollback(project):
    chain = releases.release_chain(project.store, MODEL)
    version = project.publish()
    releases.copy_to_production(project.store, MODEL, version)
    card = candidates.manifest_digest(project.store, MODEL, version)
    chain.append(release_draft(MODEL, version, card, approval=1), 2)
    append_release(project.store, MODEL, 2)
    refused(project, Rejected, version, "version 3 was never approved")


def test_an_approval_that_a_release_of_another_version_has_used_approves_no_rollback(project):
    version = project.publish()
    releases.copy_to_production(project.store, MODEL, version)
    card, other = (candidates.manifest_digest(project.store, MODEL, each) for each in (version, 2))
    approval = releases.append_approval(project.store, approval_draft(MODEL, version, card, "token"))
    releases.release_chain(project.store, MODEL).append(release_draft(MODEL, 2, other, approval=approval.number), 2)
    append_release(project.store, MODEL, version)
    append_release(project.store, MODEL, 1)
    error = refused(project, Rejected, version, "version 3 was never approved")
    assert "approved and released: 1, 2;" in error.hint


def test_an_approval_of_another_version_with_this_manifest_approves_no_rollback(project):
    """Nobody can have seen such a version: a manifest says which one it is."""
    version = project.publish()
    releases.copy_to_production(project.store, MODEL, version)
    card = candidates.manifest_digest(project.store, MODEL, version)
    approval = releases.append_approval(project.store, approval_draft(MODEL, 2, card, "token"))
    releases.release_chain(project.store, MODEL).append(release_draft(MODEL, 2, card, approval=approval.number), 2)
    append_release(project.store, MODEL, version)
    append_release(project.store, MODEL, 1)
    refused(project, Rejected, version, "version 3 was never approved")


def test_a_model_that_was_never_released_has_no_way_back(tmp_path):
    refused(Project(tmp_path), ConfigError, None, "no version of thirds was released yet")
