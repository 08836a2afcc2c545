"""Whatever is altered, missing or foreign in a registry is found, and named."""

import dataclasses
import errno
import hashlib
import os
import random
import shutil
import subprocess

import pytest
from registry_parts import FILES, acceptance, make_card, promote, publish, release, write_files
from versions import approval_draft, release_draft

from registry import candidates, codec, releases
from registry.checks.versions import COMPLETE
from registry.errors import Corrupt
from registry.records import Claim
from registry.stores import open_store
from registry.verify import inspect, verify


def fill(store, tmp_path):
    """Two models; three versions, one live after a rollback; approvals, acceptance tests, and one that was only begun."""
    for run in ("one", "two", "three"):
        version = publish(store, tmp_path, run, files=FILES | {"metrics.json": run.encode()})
        candidates.append_acceptance(store, acceptance(store, version, accepted=False))
        candidates.append_acceptance(store, acceptance(store, version))
    promote(store, 1, "t1")
    promote(store, 2, "t2")
    release(store, 1)
    promote(store, publish(store, tmp_path, "other", model="flowers"), "t3", model="flowers")
    candidates.claim(store, "digits", "begun")


def names_of(root):
    return sorted(
        str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and ".store" not in path.parts
    )


def named(problems, name):
    return any(problem.startswith(f"{name}: ") for problem in problems)


@pytest.fixture
def filled(store, tmp_path):
    fill(store, tmp_path)
    return store


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    folder = tmp_path_factory.mktemp("original")
    fill(open_store(f"file://{folder / 'registry'}"), folder)
    return folder / "registry"


@pytest.fixture
def root(original, tmp_path):
    """A copy of a filled registry, hard links and all, to be damaged; `folder_store` opens it."""
    subprocess.run(["cp", "-a", original, tmp_path], check=True)
    return tmp_path / "registry"


def test_a_registry_as_it_was_written_has_no_problem(filled):
    report = inspect(filled)
    assert report.problems == ()
    assert report.notes == (
        "test/digits/4: was begun by run begun and not finished",
        "test/digits: without model signature and provenance: version 1, 2, 3; " + COMPLETE,
        "test/flowers: without model signature and provenance: version 1; " + COMPLETE,
    )


def test_an_empty_registry_has_no_problem(store):
    assert verify(store) == verify(store, "digits") == []


def test_a_flipped_bit_in_any_file_is_found_and_named(root, folder_store):
    chance = random.Random(1)
    for name in names_of(root):
        path = root / name
        whole = path.read_bytes()
        path.chmod(0o644)
        altered = bytearray(whole)
        altered[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(altered)
        assert named(verify(folder_store), name)
        path.write_bytes(whole)
    assert verify(folder_store) == []


def test_a_flipped_bit_in_a_file_of_a_version_keeps_it_from_being_used(root, folder_store):
    for area, versions in (("test", (1, 2, 3)), ("production", (1, 2))):
        for version in versions:
            for name in (*FILES, "metrics.json", "card.json"):
                path = root / area / "digits" / str(version) / name
                whole = path.read_bytes()
                path.chmod(0o644)
                path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
                with pytest.raises(Corrupt, match=f"^{area}/digits/{version}/"):
                    candidates.local_folder(folder_store, area, "digits", version)
                path.write_bytes(whole)


@pytest.mark.parametrize(
    "name",
    [
        "test/digits/1/claim.json",
        "test/digits/1/card.json",
        "test/digits/1/model.keras",
        "test/digits/1/acceptances/000001.json",
        "production/digits/1/model.tflite",
        "production/digits/1/saved_model/variables/data",
        "production/digits/approvals/000001.json",
        "production/digits/releases/000001.json",
        "production/digits/releases/000002.json",
    ],
)
def test_a_missing_file_is_found_and_named(root, folder_store, name):
    (root / name).unlink()
    problems = verify(folder_store)
    assert named(problems, name), problems
    assert verify(folder_store, "flowers") == []


def test_a_release_without_its_production_version_is_found(root, folder_store):
    (root / "production/digits/1/card.json").unlink()
    problems = verify(folder_store)
    assert named(problems, "production/digits/releases/000001.json")
    assert named(problems, "production/digits/releases/000003.json")


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "staging/digits/1/card.json",
        "test/readme",
        "test/digits/readme",
        "test/digits/best/model.keras",
        "test/digits/1/extra",
        "test/digits/1/saved_model/extra",
        "test/digits/1/acceptances/notes.txt",
        "test/digits/1/acceptances/3.json",
        "production/digits/latest/model.keras",
        "production/digits/1/claim.json",
        "production/digits/releases/live",
        "production/digits/approvals/1.json",
    ],
)
def test_what_does_not_belong_is_found_and_named(root, folder_store, name):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(b"by hand")
    assert any(f"{name}/".startswith(each.partition(":")[0].rstrip("/") + "/") for each in verify(folder_store))


def test_production_that_is_not_what_was_tested_is_found(filled, tmp_path):
    card = make_card(3, "three", write_files(tmp_path / "new"), accuracy=1.0)
    for name, data in FILES.items():
        filled.create(f"production/digits/3/{name}", data)
    filled.create("production/digits/3/card.json", codec.with_checksum(card))
    assert verify(filled) == ["production/digits/3/card.json: is not the manifest in test"]


def test_records_that_point_nowhere_are_found(filled):
    chain, approvals = releases.release_chain(filled, "digits"), releases.approval_chain(filled, "digits")
    digest = candidates.manifest_digest(filled, "digits", 3)
    live = candidates.manifest_digest(filled, "digits", 1)
    approvals.append(approval_draft("digits", 3, live, "t"), 2)
    for after, (version, card, approval) in enumerate(
        [(3, digest, None), (1, live, 1), (1, live, 9), (2, live, None)], 3
    ):
        chain.append(release_draft("digits", version, card, approval=approval), after)
    problems = verify(filled)
    assert len(problems) == 5 + 2  # and two of them go back to what was never released with an approval
    for name in ("approvals/000003", "releases/000004", "releases/000005", "releases/000006", "releases/000007"):
        assert named(problems, f"production/digits/{name}.json")
    assert any("used before" in each for each in problems)


def test_an_approval_that_was_not_used_yet_is_a_note(filled):
    digest = candidates.manifest_digest(filled, "digits", 3)
    releases.append_approval(filled, approval_draft("digits", 3, digest, "t9"))
    report = inspect(filled, "digits")
    assert report.problems == ()
    assert any(each.startswith("production/digits/approvals/000003.json: ") for each in report.notes)


def test_a_file_that_cannot_be_read_is_found_and_named(folder_store, tmp_path, monkeypatch):
    publish(folder_store, tmp_path, "run")
    real = hashlib.file_digest

    def file_digest(file, *rest):
        if file.name.endswith("model.keras"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(file, *rest)

    monkeypatch.setattr(hashlib, "file_digest", file_digest)  # as a failing disk does
    assert "Input/output error" in next(each for each in verify(folder_store) if "model.keras" in each)


def test_records_of_another_model_or_version_are_found(filled):
    digest = candidates.manifest_digest(filled, "digits", 3)
    chain = candidates.acceptance_chain(filled, "digits", 3, digest)
    draft = dataclasses.replace(acceptance(filled, 3), version=1)
    chain.append(draft, 2)
    filled.create("test/digits/runs/foreign/1.json", codec.with_checksum(Claim("flowers", 1, "other")))
    releases.release_chain(filled, "digits").append(release_draft("flowers", None), 3)
    problems = verify(filled)
    assert len(problems) == 3
    for name in (
        "test/digits/3/acceptances/000003.json",
        "test/digits/runs/foreign/1.json",
        "production/digits/releases/000004.json",
    ):
        assert named(problems, name)


def test_versions_that_changed_places_are_found(root, folder_store):
    shutil.move(root / "test/digits/2", root / "test/digits/9")
    problems = verify(folder_store)
    assert named(problems, "test/digits/9/card.json")
    assert named(problems, "test/digits/9/claim.json")
    assert named(problems, "production/digits/2/card.json")


def test_a_version_of_another_run_is_found(filled, tmp_path):
    filled.create("test/digits/5/claim.json", codec.with_checksum(Claim("digits", 5, "mine")))
    filled.create("test/digits/5/card.json", codec.with_checksum(make_card(5, "yours", {})))
    assert named(verify(filled), "test/digits/5/claim.json")


def test_every_problem_is_reported_and_not_only_the_first(root, folder_store):
    for name in ("test/digits/1/metrics.json", "production/digits/releases/000003.json", "test/flowers/1/card.json"):
        (root / name).chmod(0o644)
        (root / name).write_bytes(b"{}")
    problems = verify(folder_store)
    for name in ("test/digits/1/metrics.json", "production/digits/releases/000003.json", "test/flowers/1/card.json"):
        assert named(problems, name)


def test_what_is_appended_while_verify_reads_is_not_taken_for_foreign(filled, monkeypatch):
    """Between any two of its reads a writer appends a release, an approval, an acceptance test and a version's number."""
    writers = iter(range(1000))

    def append():
        number = next(writers)
        if number > 30:
            return
        digest = candidates.manifest_digest(filled, "digits", 3)
        chain = releases.approval_chain(filled, "digits")
        chain.append(approval_draft("digits", 3, digest, f"token {number}"), chain.last())
        candidates.append_acceptance(filled, acceptance(filled, 1))
        release(filled, 1)
        candidates.claim(filled, "digits", f"run {number}")

    class Busy(type(filled)):
        """The store, with a writer in the middle of every read."""

        def __init__(self):
            self.busy = False

        def __getattribute__(self, name):
            if name in {"get", "names", "path"} and not object.__getattribute__(self, "busy"):
                self.busy = True
                append()
                self.busy = False
            return getattr(filled, name) if name not in {"busy", "__class__"} else object.__getattribute__(self, name)

    assert verify(Busy()) == []
    assert len(releases.releases(filled, "digits")) == 3 + 31


def test_a_folder_that_cannot_be_a_name_is_reported(root, folder_store):
    for where in ("test/digits", "test/digits/1", "test/digits/runs/one", "production/digits/releases"):
        (root / where / "a\nb").mkdir()
        assert f"{where}/a\\nb: cannot be a name in the registry" in verify(folder_store)


def test_twelve_versions_are_reported_in_the_order_of_their_numbers(folder_store, tmp_path):
    for number in range(1, 13):
        publish(folder_store, tmp_path, f"run-{number}")
    for number in range(1, 13):
        (tmp_path / "registry/test/digits" / str(number) / "claim.json").unlink()
    found = [each.split("/")[2] for each in verify(folder_store) if each.endswith("claim.json: is missing")]
    assert found == [str(number) for number in range(1, 13)]


def test_a_model_that_is_only_in_production_is_checked(root, folder_store):
    shutil.rmtree(root / "test/flowers")
    assert named(verify(folder_store), "production/flowers/1/card.json")


def test_of_one_model_neither_the_other_ones_nor_what_the_store_keeps_is_checked(root, folder_store):
    known = next((root / ".store/objects").glob("*/*"))
    known.unlink()
    known.write_bytes(b"others")
    (root / "test/flowers/1/extra").touch()
    assert verify(folder_store, "digits") == []
    assert len(verify(folder_store)) == 2


def test_a_wish_without_a_checksum_is_reported(filled):
    filled.create("test/digits/runs/plain/1.json", codec.to_json(Claim("digits", 9, "plain")))
    assert verify(filled) == ["test/digits/runs/plain/1.json: it has no checksum"]


def test_an_approval_of_another_model_is_reported(filled):
    digest = candidates.manifest_digest(filled, "digits", 1)
    approvals = releases.approval_chain(filled, "digits")
    approvals.append(approval_draft("flowers", 1, digest, "t"), approvals.last())
    assert named(verify(filled), approvals.name(approvals.last()))


def test_a_problem_is_reported_once(root, folder_store):
    (root / "test/digits/1/.hidden").touch()
    (root / "test/digits/a\nb").mkdir()
    problems = verify(folder_store)
    assert len(problems) == len(set(problems)) == 2
