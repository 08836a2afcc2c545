"""What somebody who may write the registry's files can do to it, and what `registry verify` then says.

Each attack is a function that alters a copy of a registry, with a pattern that one of the problems must match.
"""

import base64
import dataclasses
import json
import os
import shutil
import socket

import pytest
from attacked_registry import Attacked, Attacks, build, claims, with_new_checksum
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from registry_parts import acceptance, make_card
from versions import approval_draft, release_draft

from registry import attestations, candidates, codec
from registry.records import Claim, Policy, Verdict

OF_TEST = shutil.ignore_patterns("claim.json", "acceptances")
attack = Attacks()


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


@attack(r"test/digits/attestations/2/model\.sig: is missing")
def a_model_signature_is_removed(registry):
    (registry / "test/digits/attestations/2/model.sig").unlink()


@attack(r"test/digits/attestations/4/provenance\.intoto\.json: is missing")
def all_that_was_attested_of_a_version_is_removed(registry):
    shutil.rmtree(registry / "test/digits/attestations/4")


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


@attack(r"test/digits/attestations/1/model\.sig: is about other files than the manifest")
def the_model_signature_is_that_of_another_version(registry):
    signature = (registry / "test/digits/attestations/2/model.sig").read_bytes()
    registry.write("test/digits/attestations/1/model.sig", signature)


@attack(r"test/digits/attestations/3/provenance\.intoto\.json: its signature is not by signer\.pem")
def a_provenance_is_altered(registry):
    name = "test/digits/attestations/3/provenance.intoto.json"
    envelope = json.loads((registry / name).read_bytes())
    payload = base64.b64decode(envelope["payload"]).replace(b"c" * 40, b"a" * 40)
    registry.write(name, json.dumps(envelope | {"payload": base64.b64encode(payload).decode()}).encode())


@attack(r"test/digits/attestations/1/model\.sig: its signature is not by signer\.pem")
def the_public_key_of_a_version_is_exchanged(registry):
    key = ec.generate_private_key(ec.SECP256R1())
    registry.write("test/digits/attestations/1/signer.pem", attestations.public_pem(key))


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


@attack(r"production/digits/releases/000006\.json: goes back to version 3, which was never released with an approval")
def a_version_that_was_never_approved_is_released_without_an_approval(registry):
    shutil.copytree(registry / "test/digits/3", registry / "production/digits/3", ignore=OF_TEST)
    registry.append("production/digits/releases", release_draft("digits", 3, card(registry, 3)))


@attack(r"production/digits/releases/000006\.json: is a promotion without an approval")
def a_promotion_without_an_approval_is_added(registry):
    registry.append("production/digits/releases", release_draft("digits", 2, card(registry, 2), kind="promotion"))


@attack(r"production/digits/releases/000006\.json: is a withdrawal of version 2")
def a_withdrawal_names_a_version(registry):
    registry.append("production/digits/releases", release_draft("digits", 2, card(registry, 2), kind="withdrawal"))


@attack(r"production/digits/approvals/000005\.json: has the token of approval 1")
def one_token_approves_twice(registry):
    registry.append("production/digits/approvals", approval_draft("digits", 3, card(registry, 3), "token-1"))


@attack(r"production/digits/releases/000001\.json: releases version 1, which no acceptance test has accepted")
def the_acceptance_tests_of_a_released_version_are_removed(registry):
    shutil.rmtree(registry / "test/digits/1/acceptances")


@attack(r"test/digits/6/claim\.json: gives run run-1 a second number, after 1")
def one_run_gets_a_second_number(registry):
    registry.write("test/digits/6/claim.json", codec.with_checksum(Claim("digits", 6, "run-1")))


@attack(r"test/digits/runs/run-2: does not ask for number 2")
def it_is_removed_which_number_a_run_has_asked_for(registry):
    shutil.rmtree(registry / "test/digits/runs/run-2")


@attack(r"test/digits/6/card\.json: was registered though the gate has rejected it")
def a_version_comes_into_test_that_the_gate_has_rejected(registry):
    rejected = Verdict(accepted=False, reasons=("too bad",), policy=Policy())
    made = dataclasses.replace(make_card(6, "run-6", {}), verdict=rejected)
    for name in ("runs/run-6/1.json", "6/claim.json"):
        registry.write(f"test/digits/{name}", codec.with_checksum(Claim("digits", 6, "run-6")))
    registry.write("test/digits/6/card.json", codec.with_checksum(made))


@attack(r"test/digits/6/card\.json: was trained from version 9, which is not there")
def a_version_comes_from_one_that_is_not_there(registry):
    made = dataclasses.replace(make_card(6, "run-6", {}), parent=9)
    for name in ("runs/run-6/1.json", "6/claim.json"):
        registry.write(f"test/digits/{name}", codec.with_checksum(Claim("digits", 6, "run-6")))
    registry.write("test/digits/6/card.json", codec.with_checksum(made))


@attack(r"production/digits/9: was never in test")
def a_copy_is_begun_of_a_version_that_was_never_in_test(registry):
    registry.write("production/digits/9/model.keras")


@attack(r"production/digits/3/extra\.py: is not in the manifest")
def a_copy_is_begun_with_a_file_that_the_version_does_not_have(registry):
    registry.write("production/digits/3/extra.py")


# --- what is not a file or a folder, or may be written by others -------------------------------------------------------


@attack(r"test/digits/3: is a symbolic link")
def a_version_is_moved_out_and_linked_to(registry):
    registry.moved_out("test/digits/3")


@attack(r"production/digits/1/model\.tflite: is a symbolic link")
def a_file_of_the_live_version_is_moved_out_and_linked_to(registry):
    registry.moved_out("production/digits/1/model.tflite")


@attack(r"production/digits/1/model\.tflite: is a symbolic link")
def a_file_is_a_link_to_the_right_bytes_in_the_store(registry):
    path = registry / "production/digits/1/model.tflite"
    (known,) = (each for each in (registry / ".store/objects").glob("*/*") if each.samefile(path))
    path.unlink()
    path.symlink_to(known)


@attack(r"production/digits/releases: is a symbolic link")
def the_releases_are_moved_out_and_linked_to(registry):
    registry.moved_out("production/digits/releases")


@attack(r"production/digits/releases/000005\.json: is a symbolic link")
def the_last_release_is_moved_out_and_linked_to(registry):
    registry.moved_out("production/digits/releases/000005.json")


@attack(r"production: is a symbolic link")
def production_is_moved_out_and_linked_to(registry):
    registry.moved_out("production")


@attack(r"test/digits/1/acceptances/000003\.json: is a symbolic link")
def a_link_leads_nowhere(registry):
    (registry / "test/digits/1/acceptances/000003.json").symlink_to(registry.outside / "nothing")


@attack(r"test/digits/1/saved_model/loop: is a symbolic link")
def a_link_leads_back_to_its_own_folder(registry):
    (registry / "test/digits/1/saved_model/loop").symlink_to(".")


@attack(r"\.store/objects/../[0-9a-f]{64}: is a symbolic link")
def an_object_of_the_store_is_moved_out_and_linked_to(registry):
    registry.moved_out(str(next((registry / ".store/objects").glob("*/*")).relative_to(registry.root)))


@attack(r"production/digits/releases/000006\.json: is neither a file nor a folder")
def a_record_is_a_named_pipe(registry):
    os.mkfifo(registry / "production/digits/releases/000006.json")


@attack(r"test/digits/2/model\.keras: is neither a file nor a folder")
def a_file_of_a_version_is_a_named_pipe(registry):
    (registry / "test/digits/2/model.keras").unlink()
    os.mkfifo(registry / "test/digits/2/model.keras")


@attack(r"\.store/objects/ab/ab[0-9a-f]{62}: is neither a file nor a folder")
def an_object_of_the_store_is_a_named_pipe(registry):
    (registry / ".store/objects/ab").mkdir(exist_ok=True)
    os.mkfifo(registry / f".store/objects/ab/{'ab' * 32}")


@attack(r"production/digits/releases/000006\.json: is neither a file nor a folder")
def a_record_is_a_socket(registry):
    with socket.socket(socket.AF_UNIX) as listener:
        fd = os.open(registry / "production/digits/releases", os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{fd}/000006.json")  # its whole path is too long for an address
        os.close(fd)


@attack(r"test/digits/2/claim\.json/: does not belong here")
def a_folder_is_called_like_a_claim(registry):
    (registry / "test/digits/2/claim.json").unlink()
    (registry / "test/digits/2/claim.json").mkdir()


@attack(r"production/digits/releases/000006\.json/: does not belong here")
def a_folder_is_called_like_the_next_release(registry):
    (registry / "production/digits/releases/000006.json").mkdir()


@attack(r"test/digits/4/acceptances: does not belong here")
def a_file_is_called_like_the_folder_of_acceptance_tests(registry):
    shutil.rmtree(registry / "test/digits/4/acceptances")
    registry.write("test/digits/4/acceptances")


@attack(r"test/digits/1/\.hidden\.py: is hidden: does not belong here")
def a_hidden_file_is_added_to_a_version(registry):
    registry.write("test/digits/1/.hidden.py")


@attack(r"production/\.hidden: is hidden: does not belong here")
def a_hidden_folder_is_added(registry):
    registry.write("production/.hidden/model.keras")


@attack(r"\.store/more: does not belong here")
def a_folder_is_hidden_in_the_store(registry):
    registry.write(".store/more/model.keras")


@attack(r"\.store/objects/cd/model: does not belong here")
def a_file_is_hidden_among_the_objects_of_the_store(registry):
    registry.write(".store/objects/cd/model")


@attack(r"test/digits/1/empty: is empty: does not belong here")
def an_empty_folder_is_added_to_a_version(registry):
    (registry / "test/digits/1/empty").mkdir()


@attack(r"production/digits/9: was never in test")
def an_empty_folder_is_added_for_a_version_that_is_not_there(registry):
    (registry / "production/digits/9").mkdir()


@attack(r"test/digits/1/model\.keras: others than its owner may write it \(mode 0666\)")
def a_file_may_be_written_by_others(registry):
    (registry / "test/digits/1/model.keras").chmod(0o666)


@attack(r"production/digits/releases/000005\.json: others than its owner may write it \(mode 0464\)")
def a_record_may_be_written_by_its_group(registry):
    (registry / "production/digits/releases/000005.json").chmod(0o464)


@attack(r"production/digits/approvals: others than its owner may write it \(mode 0777\)")
def a_folder_may_be_written_by_others(registry):
    (registry / "production/digits/approvals").chmod(0o777)


@attack(r"test/digits/a\\nb: cannot be a name in the registry")
def a_name_has_a_line_feed_in_it(registry):
    (registry / "test/digits/a\nb").mkdir()


@attack(r"test/digits/\\u202egnp: cannot be a name in the registry")
def a_name_is_shown_backwards(registry):
    registry.write("test/digits/\u202egnp")


@attack(r"test/digits/1(/a){38}: is nested deeper than 40 folders")
def folders_are_nested_deeper_than_any_reader_goes(registry):
    registry.write("test/digits/1" + "/a" * 200)


@attack(r"production/digits/releases/000006\.json: has more than 64 MiB, which no record has")
def a_record_has_no_end(registry):
    path = registry.write("production/digits/releases/000006.json", b"{")
    os.truncate(path, 1 << 40)


# --- records that one reader reads and another one does not, or that are to stop a reader ----------------------------------

CLAIM = '{\n "model": "digits",\n "run": "run-2",\n "schema": 1,\n "' + codec.CHECKSUM + '": "",\n "version": 2\n}\n'
OTHERWISE = "has the content of a record, but is not written as Trainyard writes one"
CLAIM_2 = r"test/digits/2/claim\.json: "


@attack(CLAIM_2 + OTHERWISE)
def a_record_has_a_key_twice(registry):
    claims(registry, CLAIM.replace('"run"', '"run": "run-9",\n "run"'))


@attack(CLAIM_2 + OTHERWISE)
def a_record_is_followed_by_bytes_that_no_reader_shows(registry):
    claims(registry, CLAIM + " " * 1000)


@attack(CLAIM_2 + OTHERWISE)
def a_record_begins_with_a_byte_order_mark(registry):
    claims(registry, "\ufeff" + CLAIM)


@attack(CLAIM_2 + "checksum mismatch")
def a_record_is_written_in_another_encoding(registry):
    claims(registry, CLAIM, "utf-16-le")


@attack(r"test/digits/runs/run-2/1\.json: " + OTHERWISE)
def a_wish_for_a_number_spells_its_letters_differently(registry):
    data = (registry / "test/digits/runs/run-2/1.json").read_bytes().replace(b'"digits"', b'"\\u0064igits"')
    registry.write("test/digits/runs/run-2/1.json", with_new_checksum(data))


@attack(r"production/digits/releases/000005\.json: " + OTHERWISE)
def the_last_release_has_its_reason_twice(registry):
    registry.edit("production/digits/releases/000005.json", '"reason": ', '"reason": "none",\n "reason": ')


@attack(r"test/digits/1/card\.json: " + OTHERWISE)
def a_manifest_has_its_note_twice(registry):
    registry.edit("test/digits/1/card.json", '"note": ', '"note": "none",\n "note": ')


@attack(CLAIM_2 + "not JSON: NaN is not a number")
def a_number_is_not_a_number(registry):
    claims(registry, CLAIM.replace(": 2", ": NaN"))


@attack(CLAIM_2 + "not JSON: ")
def a_number_has_a_hundred_thousand_digits(registry):
    claims(registry, CLAIM.replace(": 2", ": " + "9" * 100_000))


@attack(CLAIM_2 + "not JSON: ")
def a_record_is_nested_deeper_than_a_parser_goes(registry):
    claims(registry, CLAIM.replace('"run-2"', "[" * 100_000 + "]" * 100_000))


@attack(r"test/digits/2/claim\.json\.version: 'x+ is not int")
def a_record_is_some_megabytes_long(registry):
    claims(registry, CLAIM.replace(": 2", ': "' + "x" * (1 << 23) + '"'))


@attack(CLAIM_2 + r"says run run-2\?+, the manifest says run-2")
def a_record_would_rewrite_the_terminal(registry):
    claims(registry, CLAIM.replace("run-2", "run-2\\u001b[2K\\u001b[1A"))


@attack(CLAIM_2 + r"says run run-2\?, the manifest says run-2")
def a_record_holds_what_no_terminal_can_show(registry):
    claims(registry, CLAIM.replace("run-2", "run-2\\ud800"))


def nested(registry, where):
    """Attest version 1 anew with a key of one's own, so that its signatures hold, with a payload that stops a parser."""
    key, name = ec.generate_private_key(ec.SECP256R1()), "test/digits/attestations/1"
    payload = b"[" * 100_000 + b"]" * 100_000
    signature = key.sign(attestations._pre_authentication(payload), ec.ECDSA(hashes.SHA256()))
    signed = {
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    registry.write(f"{name}/signer.pem", attestations.public_pem(key))
    made = attestations.make(key, "digits-1", {}, {})
    files = made | {where: json.dumps({"dsseEnvelope": signed, **signed}).encode()}
    for each, data in files.items():
        registry.write(f"{name}/{each}", data)


@attack(r"test/digits/attestations/1/model\.sig: its signature is not by signer\.pem")
def a_model_signature_is_nested_deeper_than_a_parser_goes(registry):
    nested(registry, "model.sig")


# --- models and versions in each other's places ----------------------------------------------------------------------------


@attack(r"production/digits/1/card\.json: is the manifest of flowers 1")
def two_models_are_exchanged(registry):
    for area in ("test", "production"):
        (registry / f"{area}/digits").rename(registry.outside / area)
        (registry / f"{area}/flowers").rename(registry / f"{area}/digits")
        (registry.outside / area).rename(registry / f"{area}/flowers")


@attack(r"production/digits/1/card\.json: is the manifest of digits 2")
def two_released_versions_are_exchanged(registry):
    for area in ("test", "production"):
        (registry / f"{area}/digits/1").rename(registry.outside / area)
        (registry / f"{area}/digits/2").rename(registry / f"{area}/digits/1")
        (registry.outside / area).rename(registry / f"{area}/digits/2")


@attack(r"production/Digits/releases/000001\.json: is a release of digits")
def a_model_is_there_again_in_other_letters(registry):
    for area in ("test", "production"):
        shutil.copytree(registry / f"{area}/digits", registry / f"{area}/Digits")


@attack(r"production/d\u0456gits/releases/000001\.json: is a release of digits")
def a_model_is_there_again_in_letters_that_look_alike(registry):
    for area in ("test", "production"):
        shutil.copytree(registry / f"{area}/digits", registry / f"{area}/d\u0456gits")


@attack(r"production/digits/releases/000006\.json: says that it is number 5")
def a_record_is_a_second_name_of_another_one(registry):
    os.link(registry / "production/digits/releases/000005.json", registry / "production/digits/releases/000006.json")


@attack(r"production/digits/approvals/000005\.json: approves a manifest that test/…/1 does not have")
def an_approval_of_another_model_is_repeated(registry):
    registry.append("production/digits/approvals", approval_draft("flowers", 1, card(registry, 1), "token-5"))


# --- what they all have in common --------------------------------------------------------------------------------------


def test_the_registry_is_clean_before_it_is_altered(registry):
    report = registry.inspect()
    assert report.problems == ()
    assert len(report.notes) == 2, report.notes  # the number that was only claimed, and the approval that was not used


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", attack)
def test_verify_reports_an_attack(registry, name):
    assert registry.inspect().problems == ()
    attack.must_find(name, registry)
