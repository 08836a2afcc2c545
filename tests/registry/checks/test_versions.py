"""What is said of a model's versions, line by line: of what was registered, copied, tested, attested and only begun."""

from datetime import UTC, datetime

import pytest
from attacked_registry import with_new_checksum
from attested import attested
from registry_parts import FILES, MemoryStore, OneKey, acceptance, make_card, publish, write_files
from versions import acceptance_draft, candidate

from registry import attestations, candidates, codec, releases
from registry.checks.findings import Findings
from registry.checks.versions import COMPLETE, Versions
from registry.records import Claim, Policy, Verdict
from registry.signed_store import SignedStore

NOW = datetime(2026, 11, 29, tzinfo=UTC)


class Written(MemoryStore):
    """A registry with a hand that writes and removes what it likes."""

    def claim(self, version, run, where=None):
        self.create(f"test/digits/{where or version}/claim.json", codec.with_checksum(Claim("digits", version, run)))

    def wish(self, version, run, model="digits", where=None):
        record = codec.with_checksum(Claim(model, version, run))
        self.create(f"test/digits/runs/{where or run}/1.json", record)

    def card(self, record, area="test"):
        self.create(f"{area}/digits/{record.version}/card.json", codec.with_checksum(record))

    def remove(self, name):
        del self._kept[name]

    def replace(self, name, data):
        self._kept[name] = data


@pytest.fixture
def store(tmp_path):
    """Versions 1 and 2; the first one is in production."""
    made = Written(tmp_path / "local")
    for run in ("one", "two"):
        version = publish(made, tmp_path, run)
        candidates.append_acceptance(made, acceptance(made, version))
    releases.copy_to_production(made, "digits", 1)
    return made


def look(store):
    found = Versions(store, "digits", NOW, Findings())
    found.check_production()
    found.check_test()
    return found


def said(store):
    """The problems, and the notes but those about attestations."""
    findings = look(store).findings
    return findings.problems, [each for each in findings.notes if COMPLETE not in each]


def without(*versions):
    return [f"test/digits: without model signature and provenance: version {', '.join(versions)}; {COMPLETE}"]


def test_of_what_is_as_it_was_written_nothing_is_said_but_what_it_holds(store):
    found = look(store)
    digests = {each: candidates.manifest_digest(store, "digits", each) for each in (1, 2)}
    assert (found.findings.problems, found.findings.notes) == ([], without("1", "2"))
    assert (found.test, found.production, found.accepted) == (digests, {1: digests[1]}, {1, 2})
    assert (found.numbers, found.parents, found.copied) == ({"one": 1, "two": 2}, {}, {})
    assert found.files.keys() == {
        f"{folder}/{name}" for folder in ("test/digits/1", "test/digits/2", "production/digits/1") for name in FILES
    }
    assert found.signed[2].keys() == {*FILES, "card.json"}


# --- registered --------------------------------------------------------------------------------------------------------


def test_a_version_that_was_begun_is_a_note_with_its_run(store):
    candidates.claim(store, "digits", "three")
    assert said(store) == ([], ["test/digits/3: was begun by run three and not finished"])


def test_a_version_of_which_there_is_only_a_file_was_begun_by_whom_is_not_known(store):
    store.create("test/digits/3/model.keras", b"half")
    assert said(store) == ([], ["test/digits/3: was begun and not finished"])


def test_a_published_version_without_a_claim_misses_it(store):
    store.remove("test/digits/2/claim.json")
    assert said(store) == (["test/digits/2/claim.json: is missing"], [])


def test_a_version_that_was_tested_has_had_a_manifest(store):
    store.remove("test/digits/2/card.json")
    assert said(store) == (["test/digits/2/card.json: is missing, though the version was tested"], [])


def test_a_manifest_that_cannot_be_read_is_one_problem(store):
    data = store.get("test/digits/2/card.json")
    store.replace("test/digits/2/card.json", data.replace(b"2026", b"2025"))
    assert said(store) == (["test/digits/2/card.json: checksum mismatch"], [])
    assert 2 not in look(store).test


def test_a_run_has_one_number(store):
    store.claim(3, "one")
    problems, _ = said(store)
    assert problems == ["test/digits/3/claim.json: gives run one a second number, after 1"]


def test_a_run_asks_for_the_number_that_it_has(store):
    store.remove("test/digits/runs/two/1.json")
    assert said(store) == (["test/digits/runs/two: does not ask for number 2"], [])
    store.wish(9, "two")
    assert said(store) == (["test/digits/runs/two: does not ask for number 2"], [])


def test_the_claim_and_the_manifest_name_the_same_run(store):
    store.claim(3, "three")
    store.wish(3, "three")
    store.card(make_card(3, "another", {}))
    assert said(store) == (["test/digits/3/claim.json: says run three, the manifest says another"], [])


def registered(store, **fields):
    """Version 3, of which the manifest alone says something."""
    store.claim(3, "three")
    store.wish(3, "three")
    store.card(candidate(version=3, run="three", **fields))


def test_what_the_gate_has_rejected_is_not_registered(store):
    registered(store, verdict=Verdict(accepted=False, reasons=("too bad",), policy=Policy()))
    assert said(store) == (["test/digits/3/card.json: was registered though the gate has rejected it"], [])


@pytest.mark.parametrize(("parent", "there"), [(2, True), (7, False)])
def test_the_version_that_one_was_trained_from_is_there(store, parent, there):
    registered(store, parent=parent)
    missing = f"test/digits/3/card.json: was trained from version {parent}, which is not there"
    assert said(store) == ([] if there else [missing], [])


def test_the_time_of_a_manifest_is_one_and_has_passed(store):
    registered(store, created_at="yesterday")
    assert said(store) == (["test/digits/3/card.json: 'yesterday' is not a time"], [])
    store.remove("test/digits/3/card.json")
    store.card(candidate(version=3, run="three", created_at="2027-01-01T00:00:00Z"))
    note = "test/digits/3/card.json: says 2027-01-01T00:00:00Z, which is in the future by the clock of this machine"
    assert said(store) == ([], [note])


def test_the_files_of_a_version_are_those_of_its_manifest(store):
    store.create("test/digits/2/saved_model/extra", b"1")
    store.create("production/digits/1/claim.json", b"1")
    assert said(store) == (
        [
            "production/digits/1/claim.json: is not in the manifest",
            "test/digits/2/saved_model/extra: is not in the manifest",
        ],
        [],
    )


def test_a_folder_that_is_called_like_a_record_and_a_file_that_is_called_like_a_folder_do_not_belong(store):
    registered(store)
    for name in ("test/digits/3/card.json/below", "test/digits/3/claim.json/below", "test/digits/3/acceptances"):
        store.create(name, b"1")
    store.create("production/digits/1/card.json/below", b"1")
    problems, _ = said(store)
    assert set(problems) == {
        "production/digits/1/card.json/: does not belong here",
        "test/digits/3/acceptances: does not belong here",
        "test/digits/3/card.json/: does not belong here",
        "test/digits/3/claim.json/: does not belong here",
    }


def test_what_is_neither_a_version_nor_a_folder_of_the_registry_does_not_belong(store):
    for name in ("test/digits/03/x", "test/digits/readme", "test/digits/heads/x", "production/digits/runs/x",
                 "production/digits/attestations/x", "production/digits/latest/x"):  # fmt: skip
        store.create(name, b"1")
    problems, _ = said(store)
    assert set(problems) == {
        "test/digits/03/: does not belong here",
        "test/digits/readme: does not belong here",
        "test/digits/heads/: does not belong here",
        "production/digits/runs/: does not belong here",
        "production/digits/attestations/: does not belong here",
        "production/digits/latest/: does not belong here",
    }


# --- tested ------------------------------------------------------------------------------------------------------------


def test_an_acceptance_test_of_another_manifest_is_a_problem_and_accepts_nothing(store, tmp_path):
    publish(store, tmp_path, "three")
    digest = candidates.manifest_digest(store, "digits", 3)
    chain = candidates.acceptance_chain(store, "digits", 3, digest)
    for after, other in enumerate(({"model": "flowers"}, {"version": 2}, {"card": "0" * 64})):
        chain.append(acceptance_draft(**{"model": "digits", "version": 3, "card": digest} | other), after)
    assert said(store) == ([f"{chain.name(each)}: is about another manifest" for each in (1, 2, 3)], [])
    assert look(store).accepted == {1, 2}


def test_a_test_that_failed_accepts_nothing_and_its_time_is_one(store, tmp_path):
    publish(store, tmp_path, "three")
    digest = candidates.manifest_digest(store, "digits", 3)
    candidates.append_acceptance(store, acceptance_draft("digits", 3, digest, ("no",), at="noon"))
    assert said(store) == (["test/digits/3/acceptances/000001.json: 'noon' is not a time"], [])
    assert look(store).accepted == {1, 2}


# --- copied ------------------------------------------------------------------------------------------------------------


def test_a_copy_that_was_begun_is_a_note_and_its_files_are_hashed(store):
    store.create("production/digits/2/model.keras", b"weights")
    assert said(store) == ([], ["production/digits/2: was begun and not finished"])
    found = look(store)
    assert found.production.keys() == {1}
    assert found.files["production/digits/2/model.keras"] == found.files["test/digits/2/model.keras"]


def test_a_copy_that_was_begun_holds_nothing_of_its_own(store):
    store.create("production/digits/2/extra", b"1")
    store.create("production/digits/5/model.keras", b"weights")
    problems, _ = said(store)
    assert problems == [
        "production/digits/2/extra: is not in the manifest",
        "production/digits/5: was never in test",
    ]


def test_a_copy_is_the_manifest_in_test(store, tmp_path):
    other = make_card(2, "two", write_files(tmp_path / "other"), accuracy=1.0)
    for name, data in FILES.items():
        store.create(f"production/digits/2/{name}", data)
    store.card(other, "production")
    assert said(store) == (["production/digits/2/card.json: is not the manifest in test"], [])


def test_a_manifest_in_production_that_cannot_be_read_is_one_problem(store):
    data = store.get("production/digits/1/card.json")
    store.replace("production/digits/1/card.json", data.replace(b"2026", b"2025"))
    assert said(store) == (["production/digits/1/card.json: checksum mismatch"], [])


# --- attested ----------------------------------------------------------------------------------------------------------


def place(version, name):
    return f"{attestations.folder('digits', version)}/{name}"


def test_of_what_is_attested_nothing_is_said(store, tmp_path):
    for version, run in ((1, "one"), (2, "two")):
        attested(store, tmp_path, run, version)
    found = look(store)
    assert (found.findings.problems, found.findings.notes) == ([], [])


def test_the_first_five_versions_without_attestations_are_listed(store, tmp_path):
    for number in (3, 4, 5):
        publish(store, tmp_path, f"run-{number}")
    assert look(store).findings.notes == without("1", "2", "3", "4", "5")
    publish(store, tmp_path, "run-6")
    assert look(store).findings.notes == without("1", "2", "3", "4", "5", "…")


def test_what_is_missing_of_an_attestation_is_named_once_its_record_is_there(store, tmp_path):
    for version, run in ((1, "one"), (2, "two")):
        attested(store, tmp_path, run, version)
    for name in ("signer.pem", "model.sig"):
        store.remove(place(1, name))
    found = look(store)
    assert found.findings.problems == [f"{place(1, 'model.sig')}: is missing", f"{place(1, 'signer.pem')}: is missing"]
    assert found.findings.notes == []


def test_a_version_that_was_accepted_after_the_first_attested_one_misses_its_own(store, tmp_path):
    attested(store, tmp_path, "one", 1)
    found = look(store)
    assert found.findings.problems == [f"{place(2, name)}: is missing" for name in sorted(attestations.NAMES)]
    publish(store, tmp_path, "three")  # not tested: its run may have been killed
    found = look(store)
    assert len(found.findings.problems) == len(attestations.NAMES)
    assert found.findings.notes == without("3")


def test_the_first_attested_version_whose_step_was_killed_is_a_note(store, tmp_path):
    attested(store, tmp_path, "two", 2)
    store.remove(place(2, attestations.RECORD))
    found = look(store)
    assert (found.findings.problems, found.findings.notes) == ([], without("1", "2"))


def test_in_a_signed_registry_the_heads_say_what_was_removed(tmp_path):
    store = SignedStore(Written(tmp_path / "local"), OneKey())
    for run in ("one", "two"):
        candidates.append_acceptance(store, acceptance(store, publish(store, tmp_path, run)))
    attested(store, tmp_path, "one", 1)
    found = look(store)
    assert (found.findings.problems, found.findings.notes) == ([], without("2"))


def test_attestations_of_no_version_and_foreign_files_beside_them_are_problems(store, tmp_path):
    for version, run in ((1, "one"), (2, "two")):
        attested(store, tmp_path, run, version)
    for name in ("test/digits/attestations/extra", "test/digits/attestations/07/x", place(1, "extra"), place(9, "x")):
        store.create(name, b"1")
    found = look(store)
    assert set(found.findings.problems) == {
        "test/digits/attestations/extra: does not belong here",
        "test/digits/attestations/07/: does not belong here",
        f"{place(1, 'extra')}: does not belong here",
        f"{place(9, 'x')}: does not belong here",
        "test/digits/attestations/9: is about a version that is not there",
    }


# --- asked for ---------------------------------------------------------------------------------------------------------


def test_a_wish_is_about_its_run_and_model(store):
    store.wish(5, "other", where="four")
    store.wish(5, "five", model="flowers")
    assert said(store) == (
        [
            "test/digits/runs/five/1.json: is about run five of flowers",
            "test/digits/runs/four/1.json: is about run other of digits",
        ],
        [],
    )


def test_what_is_not_a_wish_does_not_belong(store):
    for name in ("readme", "one/0.json", "one/two/1.json", "one/1.txt"):
        store.create(f"test/digits/runs/{name}", b"1")
    problems, _ = said(store)
    assert problems == [
        f"test/digits/runs/{name}: does not belong here"
        for name in ("one/0.json", "one/1.txt", "one/two/1.json", "readme")
    ]


def test_a_wish_without_a_checksum_is_a_problem(store):
    store.create("test/digits/runs/plain/1.json", codec.to_json(Claim("digits", 9, "plain")))
    assert said(store) == (["test/digits/runs/plain/1.json: it has no checksum"], [])


def test_a_second_try_for_a_number_is_one_of_the_runs_wishes(store):
    store.create("test/digits/runs/two/2.json", codec.with_checksum(Claim("digits", 9, "two")))
    assert said(store) == ([], [])


@pytest.mark.parametrize(
    "name",
    [
        "test/digits/2/card.json",
        "test/digits/2/claim.json",
        "production/digits/1/card.json",
        "test/digits/runs/two/1.json",
        "test/digits/attestations/2/attestation.json",
    ],
)
def test_every_record_is_written_as_trainyard_writes_one(store, tmp_path, name):
    for version, run in ((1, "one"), (2, "two")):
        attested(store, tmp_path, run, version)
    assert look(store).findings.problems == []
    store.replace(name, with_new_checksum(store.get(name) + b"\n"))
    assert f"{name}: {codec.OTHERWISE}" in look(store).findings.problems
