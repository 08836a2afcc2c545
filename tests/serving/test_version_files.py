"""The files of a version that an API loads are those of its manifest, and nobody can alter them while they are mapped."""

import fcntl
import os
from dataclasses import replace

import pytest
from registry_parts import make_card, write_files

from registry import codec
from registry.errors import Corrupt
from registry.records import Served
from serving.version_files import check_folder, mapped_copy, remove_copies


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "version"


@pytest.fixture
def copies(tmp_path):
    return tmp_path / "copies"


@pytest.fixture
def manifest(folder):
    made = make_card(1, "run", write_files(folder))
    (folder / "card.json").write_bytes(codec.with_checksum(made))
    return made


def names(copies):
    return sorted(path.name for path in copies.iterdir())


class TestTheFolder:
    def test_of_a_version_is_what_its_manifest_says(self, folder, manifest):
        assert manifest.files
        check_folder(folder)

    def test_that_lacks_a_file_is_refused(self, folder, manifest):
        (folder / "model.keras").unlink()
        with pytest.raises(Corrupt, match=r"model\.keras: is missing, though the manifest names it"):
            check_folder(folder)

    @pytest.mark.parametrize("name", ["model.tflite", "saved_model/variables/data"])
    def test_with_a_file_of_other_bytes_is_refused(self, folder, manifest, name):
        (folder / name).write_bytes((folder / name).read_bytes()[::-1])
        with pytest.raises(Corrupt, match=f"{name}: was altered"):
            check_folder(folder)

    def test_whose_manifest_was_altered_is_refused(self, folder, manifest):
        raw = (folder / "card.json").read_bytes()
        (folder / "card.json").write_bytes(raw.replace(b'"the first version"', b'"another version"'))
        with pytest.raises(Corrupt):
            check_folder(folder)

    def test_whose_manifest_has_no_checksum_is_refused(self, folder, manifest):
        (folder / "card.json").write_bytes(codec.to_json(manifest))
        with pytest.raises(Corrupt):
            check_folder(folder)


class TestTheCopy:
    def test_that_is_mapped_has_the_bytes_of_the_manifest_under_their_hash(self, folder, copies, manifest):
        with mapped_copy(folder, manifest, copies) as (place, served):
            assert place == copies
            assert served == replace(manifest.served, path=manifest.files["model.tflite"])
            assert (place / served.path).read_bytes() == (folder / "model.tflite").read_bytes()
        assert names(copies) == [".lock", manifest.files["model.tflite"]]

    def test_is_made_once_for_all_workers(self, folder, copies, manifest):
        for _ in range(2):
            with mapped_copy(folder, manifest, copies) as (place, served):
                copied = (place / served.path).stat().st_ino
            (folder / "model.tflite").write_bytes(b"altered since")
        assert (copies / served.path).stat().st_ino == copied

    def test_is_not_made_of_a_file_that_was_altered(self, folder, copies, manifest):
        (folder / "model.tflite").write_bytes(b"altered")
        with (
            pytest.raises(Corrupt, match=r"model\.tflite: was altered: the manifest has another SHA-256"),
            mapped_copy(folder, manifest, copies),
        ):
            raise AssertionError("it was given")
        assert names(copies) == [".lock"]

    def test_that_was_altered_is_made_anew(self, folder, copies, manifest):
        with mapped_copy(folder, manifest, copies) as (place, served):
            pass
        (place / served.path).write_bytes(b"altered")
        with mapped_copy(folder, manifest, copies):
            assert (place / served.path).read_bytes() == b"served"

    def test_of_a_file_that_the_manifest_does_not_name_is_refused(self, folder, copies, manifest):
        files = {name: digest for name, digest in manifest.files.items() if name != "model.tflite"}
        with pytest.raises(Corrupt), mapped_copy(folder, replace(manifest, files=files), copies):
            raise AssertionError("it was given")

    def test_is_not_needed_of_a_model_in_a_folder_which_is_not_mapped(self, folder, copies, manifest):
        saved = replace(manifest, served=Served("savedmodel", "saved_model", "a test"))
        with mapped_copy(folder, saved, copies) as found:
            assert found == (folder, saved.served)
        assert names(copies) == [".lock"]


class TestOldCopies:
    @pytest.fixture
    def old(self, folder, copies, manifest):
        with mapped_copy(folder, manifest, copies):
            (copies / "old").write_bytes(b"old")
            (copies / ".tmp-1").write_bytes(b"unfinished")
        return copies

    def test_are_removed_but_for_the_one_that_is_served(self, old, manifest):
        remove_copies(old, manifest)
        assert names(old) == [".lock", manifest.files["model.tflite"]]
        remove_copies(old, None)
        assert names(old) == [".lock"]

    def test_stay_while_a_worker_loads(self, old, folder, manifest):
        with mapped_copy(folder, manifest, old):
            remove_copies(old, manifest)
        assert "old" in names(old)

    def test_are_not_loaded_while_they_are_removed(self, old, folder, manifest):
        lock = os.open(old / ".lock", os.O_RDWR)
        with mapped_copy(folder, manifest, old), pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(lock)

    def test_of_an_api_that_has_loaded_nothing_are_none(self, copies):
        remove_copies(copies / "below", None)
        assert names(copies / "below") == [".lock"]
