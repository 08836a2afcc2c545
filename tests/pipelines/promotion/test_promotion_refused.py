"""An approval that does not hold, a candidate that is not accepted, bytes that were altered: refused, nothing changed."""

import time

import pytest
from promotion_parts import MODEL, Project
from versions import decision_draft

from pipelines.approvals.tokens import approval_secret, make_token
from pipelines.promotion.request import RECORDED
from registry import candidates
from registry.decisions import append_decision
from registry.errors import ConfigError, Corrupt, Rejected


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    yield made
    made.stop()  # no API is left behind by a promotion that was wrongly not refused


def refused(project, kind, version, token, said):
    """The promotion raises `kind`, and neither the registry nor the API knows anything of it."""
    before = project.tree()
    with pytest.raises(kind, match=said) as no:
        project.promote(version, token)
    assert project.tree() == before
    assert not (project.home / "serving").exists()
    return no.value


def test_a_tampered_token_is_refused(project):
    token = project.token(project.publish())
    error = refused(project, Rejected, 1, ("A" if token[9] != "A" else "B").join((token[:9], token[10:])), "altered")
    assert error.exit_code == 3
    assert token not in str(error) + error.hint


def test_an_expired_token_is_refused(project):
    token = project.token(project.publish(), at=time.time() - 8 * 86400)
    assert refused(project, Rejected, 1, token, "expired at").exit_code == 3


def test_a_token_for_another_version_is_refused(project):
    project.publish()
    project.publish()
    assert (
        refused(project, Rejected, 2, project.token(1), f"for {MODEL} version 1, not for {MODEL} version 2").exit_code
        == 3
    )


def test_a_token_of_another_registry_is_refused(project, tmp_path):
    """The same model and version, signed with the same secret, but other bytes."""
    project.publish()
    token = make_token(approval_secret(project.home, {}), MODEL, 1, "f" * 64)
    refused(project, Rejected, 1, token, "another manifest")


def test_a_token_signed_with_another_secret_is_refused(project):
    project.publish()
    digest = candidates.manifest_digest(project.store, MODEL, 1)
    refused(
        project, Rejected, 1, make_token("a secret of my own, thank you very much", MODEL, 1, digest), "another secret"
    )


def test_words_instead_of_a_token_are_refused(project):
    project.publish()
    refused(project, Rejected, 1, "please", "malformed")


def test_a_version_that_is_not_there_is_refused(project):
    project.publish()
    refused(project, ConfigError, 7, project.token(1), "no such version")


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (
            {"gate": ("accuracy 0.5 is under 0.9", "too few samples")},
            "the gate rejected.*accuracy 0.5 is under 0.9; too few",
        ),
        ({"tests": ()}, "has had no acceptance test"),
        ({"tests": ((), ("test_dark failed",))}, "failed its newest acceptance test.*test_dark failed"),
    ],
    ids=["by the gate", "not tried", "by newer tests"],
)
def test_a_candidate_that_is_not_accepted_is_refused(project, made, said):
    project.publish(**made)
    assert refused(project, Rejected, 1, project.token(1), said).exit_code == 3


@pytest.mark.parametrize("name", ["model.tflite", "signature.json"])
def test_altered_bytes_are_refused(project, name):
    version = project.publish()
    token = project.token(version)
    path = project.folder / "registry" / "test" / MODEL / "1" / name
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"!")
    assert refused(project, Corrupt, 1, token, f"test/{MODEL}/1/{name}: checksum mismatch").exit_code == 2


def test_a_missing_file_is_refused(project):
    token = project.token(project.publish())
    (project.folder / "registry" / "test" / MODEL / "1" / "model.tflite").unlink()
    refused(project, Corrupt, 1, token, "model.tflite: is missing")


def test_an_altered_manifest_is_refused(project):
    token = project.token(project.publish(gate=("accuracy 0.5 is under 0.9",)))
    path = project.folder / "registry" / "test" / MODEL / "1" / "card.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"accepted": false', b'"accepted": true'))
    assert refused(project, Corrupt, 1, token, "card.json").exit_code == 2


def test_an_altered_acceptance_test_is_refused(project):
    token = project.token(project.publish(tests=(("test_dark failed",),)))
    path = project.folder / "registry" / "test" / MODEL / "1" / "acceptances" / "000001.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b'"accepted": false', b'"accepted": true'))
    assert refused(project, Corrupt, 1, token, "000001.json").exit_code == 2


@pytest.mark.parametrize("kind", ["rejected", "changes asked"])
def test_what_a_person_has_refused_is_not_promoted_by_any_token(project, kind):
    project.publish()
    token = project.token(1)
    card = candidates.manifest_digest(project.store, MODEL, 1)
    append_decision(project.store, decision_draft(MODEL, 1, card, kind, reason="too weak on zeros"), 0)
    error = refused(project, Rejected, 1, token, 'by ada <ada@company.example> at .*: "too weak on zeros"')
    assert (error.exit_code, error.hint) == (3, "that is final; a new version gets a new decision")
    refused(project, Rejected, 1, RECORDED, "too weak on zeros")


def test_a_promotion_over_one_release_does_not_replace_another(project):
    project.publish()
    project.publish(parent=None)
    project.release_by_hand(1)
    before = project.tree()
    with pytest.raises(Rejected, match="release 1 has replaced release 7 meanwhile"):
        project.promote(2, over=7)
    assert project.tree() == before
