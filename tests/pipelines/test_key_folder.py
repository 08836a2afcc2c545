"""This machine's private keys: each is used under its own id only, and one that was made and not used up is used first."""

import pytest

from pipelines.key_folder import KeyFolder
from registry.signatures import make_key, save_key


@pytest.fixture
def folder(tmp_path):
    return KeyFolder(tmp_path)


def test_a_key_is_found_by_its_id(folder):
    made = folder.new()
    assert folder.signer(made.public.id).public == made.public
    assert folder.signer("0" * 64) is None


def test_a_key_in_the_file_of_another_one_is_not_taken_for_it(folder):
    made, other = make_key(), make_key()
    save_key(other, folder.path(made.public.id))
    assert folder.signer(made.public.id) is None


def test_a_key_that_was_made_and_not_used_up_is_used_first(folder):
    first = folder.make()
    assert folder.make().public == first.public
    folder.retire(first.public.id)
    assert folder.make().public != first.public
    assert folder.signer(first.public.id) is None
    folder.retire("0" * 64)  # which is not there


def test_a_key_for_something_else_is_not_one_of_the_registry(folder):
    save_key(make_key(), folder.root / "model-signing.pem")
    made = folder.make()
    assert folder.path(made.public.id).is_file()
    assert folder.path(made.public.id).name == f"{made.public.id[:16]}.pem"


def test_what_is_known_of_two_registries_is_in_two_files(folder):
    assert folder.memory("file:///a").path != folder.memory("file:///b").path
    assert folder.memory("file:///a").path == folder.memory("file:///a").path
