"""What somebody who may write the registry's files can do to it, and what `registry verify` then says.

Each attack is a function that alters a copy of a registry, with a pattern that one of the problems must match.
"""

import re
import shutil
from collections.abc import Callable

import pytest
from attacked_registry import Attacked, build
from registry_parts import acceptance, make_card
from versions import approval_draft, release_draft

from registry import candidates, codec
from registry.records import Claim

ATTACKS: dict[str, tuple[Callable[[Attacked], object], str]] = {}


def attack(says: str):
    """A row of the table: the function's name says what is done, `says` is a pattern of what verify must say."""

    def add(act):
        assert act.__name__ not in ATTACKS
        ATTACKS[act.__name__] = (act, says)
        return act

    return add


def card(registry, version, area="test"):
    return candidates.manifest_digest(registry.store, "digits", version, area)


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    return build(tmp_path_factory.mktemp("attacked"))


@pytest.fixture
def registry(original, tmp_path):
    return Attacked(original, tmp_path)


# --- removed -----------------------------------------------------------------------------------------------------------


@attack(r"production/digits/releases/000002\.json: is missing")
def a_release_in_the_middle_is_removed(registry):
    (registry / "production/digits/releases/000002.json").unlink()


@attack(r"production/digits/releases/000001\.json: .*names approval 1")
def the_approvals_are_removed(registry):
    shutil.rmtree(registry / "production/digits/approvals")


@attack(r"production/digits/releases/000004\.json: releases a manifest that production/…/4 does not have")
def a_released_version_is_removed_from_production(registry):
    shutil.rmtree(registry / "production/digits/4")


@attack(r"production/digits/2/card\.json: is not the manifest in test")
def a_released_version_is_removed_from_test(registry):
    shutil.rmtree(registry / "test/digits/2")


@attack(r"production/flowers/1/card\.json: is not the manifest in test")
def a_model_is_removed_from_test(registry):
    shutil.rmtree(registry / "test/flowers")


@attack(r"production/digits/1/card\.json: is not the manifest in test")
def everything_in_test_is_removed(registry):
    shutil.rmtree(registry / "test")


@attack(r"test/digits/3/acceptances/000001\.json: is missing")
def an_older_acceptance_test_is_removed(registry):
    (registry / "test/digits/3/acceptances/000001.json").unlink()


@attack(r"test/digits/2/model\.keras: is missing")
def a_file_of_a_version_is_removed(registry):
    (registry / "test/digits/2/model.keras").unlink()


@attack(r"test/digits/3/card\.json: is missing")
def a_manifest_is_removed(registry):
    (registry / "test/digits/3/card.json").unlink()


@attack(r"test/digits/2/claim\.json: is missing")
def a_claim_is_removed(registry):
    (registry / "test/digits/2/claim.json").unlink()


# --- altered -----------------------------------------------------------------------------------------------------------


@attack(r"production/digits/1/model\.tflite: checksum mismatch")
def the_live_model_is_altered(registry):
    registry.write("production/digits/1/model.tflite", b"other weights")


@attack(r"production/digits/1/model\.tflite: checksum mismatch")
def the_live_model_is_altered_in_place_under_all_its_names(registry):
    path = registry / "production/digits/1/model.tflite"
    path.chmod(0o644)
    path.write_bytes(b"other weights")
    path.chmod(0o444)


@attack(r"\.store/objects/../[0-9a-f]{64}: checksum mismatch")
def an_object_of_the_store_is_altered(registry):
    path = next((registry / ".store/objects").glob("*/*"))
    registry.write(str(path.relative_to(registry.root)), b"other bytes")


@attack(r"production/digits/releases/000005\.json: checksum mismatch")
def the_last_release_is_altered(registry):
    path = registry / "production/digits/releases/000005.json"
    registry.write("production/digits/releases/000005.json", path.read_bytes().replace(b"trainyard", b"ada"))


@attack(r"production/digits/releases/000003\.json: does not follow the record before it")
def a_release_is_altered_and_its_checksum_made_anew(registry):
    registry.edit("production/digits/releases/000002.json", '"by": "ada"', '"by": "eve"')


@attack(r"production/digits/approvals/000002\.json: does not follow the record before it")
def an_approval_is_altered_and_its_checksum_made_anew(registry):
    registry.edit("production/digits/approvals/000001.json", '"by": "ada"', '"by": "eve"')


@attack(r"test/digits/1/acceptances/000001\.json: does not follow the record before it")
def a_manifest_is_altered_and_its_checksum_made_anew(registry):
    registry.edit("test/digits/1/card.json", '"note": "the first version"', '"note": ""')


@attack(r"production/digits/releases/000004\.json: names approval 3, which is not about this manifest")
def an_approval_is_taken_out_of_its_chain_and_the_chain_written_anew(registry):
    registry.rewrite_without("production/digits/approvals", 2)


@attack(r"test/digits/2/claim\.json: says run run-9, the manifest says run-2")
def a_claim_is_altered(registry):
    registry.write("test/digits/2/claim.json", codec.with_checksum(Claim("digits", 2, "run-9")))


@attack(r"test/digits/3/acceptances/000003\.json: is about another manifest")
def an_acceptance_test_of_another_version_is_added(registry):
    registry.append("test/digits/3/acceptances", acceptance(registry.store, 1))


@attack(r"test/digits/runs/run-1/1\.json: is about run run-1 of flowers")
def a_wish_for_a_number_is_altered(registry):
    registry.write("test/digits/runs/run-1/1.json", codec.with_checksum(Claim("flowers", 1, "run-1")))


# --- added -------------------------------------------------------------------------------------------------------------


@attack(r"production/digits/releases/000006\.json: names approval 2, which was used before")
def an_approval_is_used_twice(registry):
    draft = release_draft("digits", 2, card(registry, 2), approval=2)
    registry.append("production/digits/releases", draft)


@attack(r"production/digits/releases/000006\.json: names approval 1, which is not about this manifest")
def a_release_borrows_the_approval_of_another_version(registry):
    draft = release_draft("digits", 2, card(registry, 2), approval=1)
    registry.append("production/digits/releases", draft)


@attack(r"production/digits/releases/000006\.json: is a release of flowers")
def a_release_of_another_model_is_added(registry):
    registry.append("production/digits/releases", release_draft("flowers", None))


@attack(r"production/digits/approvals/000005\.json: approves a manifest that test/…/9 does not have")
def an_approval_of_a_version_that_is_not_there_is_added(registry):
    registry.append("production/digits/approvals", approval_draft("digits", 9, card(registry, 1), "token-9"))


@attack(r"production/digits/7/card\.json: is not the manifest in test")
def a_version_comes_into_production_that_was_never_in_test(registry):
    registry.write("production/digits/7/card.json", codec.with_checksum(make_card(7, "run-7", {})))


@attack(r"production/digits/3/card\.json: is the manifest of digits 1")
def a_version_comes_into_production_under_another_number(registry):
    shutil.copytree(registry / "production/digits/1", registry / "production/digits/3")


@attack(r"test/digits/1/extra\.py: is not in the manifest")
def a_file_is_added_to_a_version(registry):
    registry.write("test/digits/1/extra.py")


@attack(r"production/digits/releases/000001\.json\.bak: does not belong here")
def a_backup_of_a_record_lies_beside_it(registry):
    registry.write("production/digits/releases/000001.json.bak")


@attack(r"production/digits/releases/0000006\.json: does not belong here")
def a_record_has_a_zero_too_many(registry):
    registry.write("production/digits/releases/0000006.json")


@attack(r"test/digits/01/: does not belong here")
def a_version_is_there_under_two_names(registry):
    shutil.copytree(registry / "test/digits/1", registry / "test/digits/01")


@attack(r"production/digits/Releases/: does not belong here")
def a_folder_differs_in_case_only(registry):
    shutil.copytree(registry / "production/digits/releases", registry / "production/digits/Releases")


@attack(r"test/digits/1١/: does not belong here")
def a_version_has_the_digits_of_another_script(registry):
    shutil.copytree(registry / "test/digits/1", registry / "test/digits/1١")


@attack(r"staging/: does not belong here")
def an_area_is_added(registry):
    registry.write("staging/digits/1/card.json")


# --- what they all have in common --------------------------------------------------------------------------------------


def test_the_registry_is_clean_before_it_is_altered(registry):
    report = registry.inspect()
    assert report.problems == ()
    assert len(report.notes) == 2, report.notes  # the number that was only claimed, and the approval that was not used


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ATTACKS)
def test_verify_reports_an_attack(registry, name):
    act, says = ATTACKS[name]
    assert registry.inspect().problems == ()
    act(registry)
    problems = registry.inspect().problems
    assert any(re.match(says, each) for each in problems), problems
