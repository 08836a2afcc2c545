"""A version can be given to somebody who has no Trainyard, and they find out what was altered on the way."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from registry_parts import publish
from signed_registry import build, config_of
from versions import digests

from pipelines.commands import export as export_command
from pipelines.exports.destination import write_folder
from pipelines.exports.version_export import gather
from pipelines.key_changes import rotate
from pipelines.trust import first_key, open_registry
from registry import candidates
from registry.errors import ConfigError, Corrupt
from registry.stores import open_store


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return build(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def exported(original, tmp_path_factory):
    """Version 4 of digits, which was promoted."""
    return exported_from(original, tmp_path_factory.mktemp("given") / "digits-4")


def exported_from(original, target, version=4):
    export = gather(open_registry(config_of(original)), "digits", version)
    write_folder(target, export.checked, export.model)
    return target


@pytest.fixture
def received(exported, tmp_path):
    """A copy, to be altered by whoever has it."""
    return shutil.copytree(exported, tmp_path / "received")


def verify(folder, *arguments):
    """What the script says that came with the files, in a Python that sees no Trainyard."""
    return subprocess.run(
        [sys.executable, "-I", folder / "verify.py", *arguments],
        cwd="/", env={}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def fingerprint(folder):
    return sha256((folder / "signer.pem").read_bytes()).hexdigest()


def list_anew(folder):
    """`SHA256SUMS` of the files as they are now: what somebody would write who has altered one."""
    listed = {name: sha for name, sha in digests(folder).items() if not name.startswith("SHA256SUMS")}
    (folder / "SHA256SUMS").write_text("".join(f"{sha}  {name}\n" for name, sha in listed.items()), encoding="utf-8")


def test_it_holds_the_version_and_all_records_of_it(original, exported):
    store = open_store(f"file://{original}/registry")
    manifest = candidates.manifest(store, "digits", 4)
    files = digests(exported)
    assert {name for name in files if name.startswith("model/")} == {
        f"model/{n}" for n in (*manifest.files, "card.json")
    }
    assert {name for name in files if not name.startswith("model/")} == {
        "README.md", "SHA256SUMS", "SHA256SUMS.sig", "verify.py", "sbom.cdx.json",
        "model.sig", "provenance.intoto.json", "signer.pem", "attestation.json",
        "records/keys/000001.json", "records/test/digits/4/acceptances/000001.json",
        "records/production/digits/approvals/000003.json", "records/production/digits/releases/000004.json",
    }  # fmt: skip
    for name in files:
        if name.startswith("records/"):
            assert (exported / name).read_bytes() == store.get(name.removeprefix("records/"))


def test_the_list_of_checksums_is_one_that_sha256sum_reads(exported):
    done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=exported, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_with_the_key_of_the_model_signature_it_is_verified(exported):
    done = verify(exported, "--key", fingerprint(exported))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "VERIFIED with your key: signer.pem" in done.stdout
    assert "model.sig: whoever has the private key of signer.pem has signed just these files" in done.stdout
    assert re.search(r"5 records of the registry .* are signed", done.stdout)
    assert "Not proven by any of this: that the model is good" in done.stdout
    assert not re.search("^open", done.stdout, re.MULTILINE)


def test_with_the_registrys_first_key_too_and_with_a_file(original, exported):
    first = gather(open_registry(config_of(original)), "digits", 4).first_key
    assert verify(exported, "--key", first).returncode == 0
    assert verify(exported, "--key", str(exported / "signer.pem")).returncode == 0


def test_without_a_key_nothing_is_verified(exported):
    done = verify(exported)
    assert done.returncode == 3
    assert fingerprint(exported) in done.stdout
    assert "anybody can have made it" in done.stdout


def test_with_another_key_it_is_refused(exported):
    assert verify(exported, "--key", "0" * 64).returncode == 1


def test_a_key_that_is_none_is_an_error_and_not_a_yes(exported, tmp_path):
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    assert verify(exported, "--key", str(tmp_path / "notes.txt")).returncode == 2
    typo = verify(exported, "--key", "deadbeef")
    assert typo.returncode == 2
    assert "--key deadbeef is neither a SHA-256 (64 hexadecimal digits) nor the file of a public key" in typo.stderr


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "model/model.tflite",
        "model/card.json",
        "model.sig",
        "records/production/digits/releases/000004.json",
    ],
)
@pytest.mark.parametrize("how", ["altered", "removed"])
def test_a_file_that_was_altered_or_removed_is_found(received, name, how):
    path = received / name
    if how == "altered":
        path.write_bytes(path.read_bytes()[:-2] + b"  ")
    else:
        path.unlink()
    done = verify(received, "--key", fingerprint(received))
    assert (done.returncode, name in done.stdout) == (1, True), done.stdout


@pytest.mark.parametrize("name", ["model/extra", "extra", "model/pyfunc/__pycache__/x.pyc"])
def test_a_file_that_was_added_is_found(received, name):
    (received / name).parent.mkdir(parents=True, exist_ok=True)
    (received / name).write_bytes(b"1")
    assert verify(received, "--key", fingerprint(received)).returncode == 1


def test_a_link_is_found(received):
    (received / "README.md").rename(received.parent / "elsewhere")
    os.symlink(received.parent / "elsewhere", received / "README.md")
    assert verify(received, "--key", fingerprint(received)).returncode == 1


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("model/model.tflite", "model/card.json"),
        ("provenance.intoto.json", "provenance.intoto.json"),
        ("records/production/digits/approvals/000003.json", "checksum"),
        ("records/keys/000001.json", "keys/000001.json"),
    ],
)
def test_new_checksums_do_not_hide_what_was_altered(received, name, says):
    data = (received / name).read_bytes()
    middle = len(data) // 2
    (received / name).write_bytes(
        data[:middle] + (b"A" if data[middle : middle + 1] != b"A" else b"B") + data[middle + 1 :]
    )
    list_anew(received)
    done = verify(received, "--key", fingerprint(received))
    assert done.returncode in {1, 2}
    assert says in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["README.md", "verify.py"])
def test_what_only_the_list_names_is_signed_with_it(received, name):
    (received / name).write_bytes((received / name).read_bytes() + b"\n")
    list_anew(received)
    done = verify(received, "--key", fingerprint(received))
    assert (done.returncode, "ALTERED: SHA256SUMS.sig" in done.stdout) == (1, True), done.stdout


def test_an_export_whose_list_nobody_signed_says_so(received, original, tmp_path):
    (received / "SHA256SUMS.sig").unlink()
    done = verify(received, "--key", fingerprint(received))
    assert done.returncode == 0
    assert re.search("^open  SHA256SUMS is not signed, and so README.md is not", done.stdout, re.MULTILINE)
    without_key = config_of(original, tmp_path / "elsewhere")
    with_first = dataclasses.replace(
        without_key, registry=dataclasses.replace(without_key.registry, trusted_keys=(first_key(config_of(original)),))
    )
    export = gather(open_registry(with_first), "digits", 4)
    assert "SHA256SUMS.sig" not in export.checked
    assert any("README.md and SHA256SUMS are not signed: no key in" in each for each in export.notes)


def test_the_signature_of_another_versions_list_does_not_pass(received, original, tmp_path):
    other = exported_from(original, tmp_path / "other", version=2)
    shutil.copy(other / "SHA256SUMS.sig", received)
    assert verify(received, "--key", fingerprint(received)).returncode == 1


def test_who_signs_it_anew_has_another_key(received, tmp_path):
    """Somebody makes a registry of their own, with other bytes under the same names, and exports that."""
    forged = exported_from(build(tmp_path / "forger"), tmp_path / "forged")
    assert verify(forged).returncode == 3
    assert verify(forged, "--key", fingerprint(received)).returncode == 1


def test_records_of_another_version_do_not_pass_for_this_ones(received, original, tmp_path):
    other = exported_from(original, tmp_path / "other", version=2)
    name = "records/production/digits/releases/000002.json"
    shutil.copy(other / name, received / name)
    list_anew(received)
    done = verify(received, "--key", fingerprint(received))
    assert (done.returncode, "another version" in done.stdout) == (1, True)


def test_what_a_key_signed_that_was_replaced_is_said_to_be_open(original, tmp_path):
    copy = shutil.copytree(original, tmp_path / "copy")
    config = config_of(copy)
    shutil.rmtree(copy / "home" / "keys" / "registries")
    rotate(config, by="ada", reason="yearly")
    done = verify(exported_from(copy, tmp_path / "given"))
    assert done.returncode == 3
    assert "was replaced later; only the registry as a whole can show" in done.stdout


def test_a_registry_without_signatures_says_so(tmp_path):
    store = open_store(f"file://{tmp_path}/registry")
    publish(store, tmp_path, "run")
    export = gather(store, "digits", 1)
    write_folder(tmp_path / "given", export.checked, export.model)
    done = verify(tmp_path / "given")
    assert done.returncode == 3
    assert "there is no model signature" in done.stdout
    assert "the registry was not signed" in done.stdout
    assert any("no model signature" in each for each in export.notes)


def test_an_export_refuses_a_place_that_is_taken(original, tmp_path):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine").write_bytes(b"1")
    with pytest.raises(ConfigError, match="something already"):
        exported_from(original, tmp_path / "taken")
    assert os.listdir(tmp_path / "taken") == ["mine"]
    assert os.listdir(tmp_path) == ["taken"]


def test_an_export_takes_an_empty_folder(original, tmp_path):
    (tmp_path / "empty").mkdir()
    exported_from(original, tmp_path / "empty")
    assert (tmp_path / "empty" / "verify.py").exists()


def test_an_export_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "source").write_bytes(b"other")
    with pytest.raises(Corrupt, match="changed while it was copied"):
        write_folder(tmp_path / "new", {"a": b"1"}, {"model/b": (tmp_path / "source", "0" * 64)})
    assert os.listdir(tmp_path) == ["source"]


def test_altered_bytes_are_not_exported(original, tmp_path):
    copy = shutil.copytree(original, tmp_path / "copy")
    weights = copy / "registry" / "test" / "digits" / "4" / "metrics.json"
    weights.chmod(0o644)
    weights.write_bytes(b"others")
    shutil.rmtree(copy / "home" / "keys" / "registries")
    with pytest.raises(Corrupt, match=r"metrics\.json"):
        exported_from(copy, tmp_path / "given")
    assert not (tmp_path / "given").exists()


def test_the_command_prints_how_to_check_it(original, tmp_path, capsys):
    args = type(
        "Args", (), {"what": "version", "model": "digits", "version": 4, "to": str(tmp_path / "new"), "json": False}
    )
    assert export_command.main(args, config_of(original)) == 0
    said = capsys.readouterr().out
    assert f"verify.py --key {fingerprint(tmp_path / 'new')}" in said


def test_the_command_in_json(original, tmp_path, capsys):
    args = type(
        "Args", (), {"what": "version", "model": "digits", "version": 4, "to": str(tmp_path / "new"), "json": True}
    )
    assert export_command.main(args, config_of(original)) == 0
    said = json.loads(capsys.readouterr().out)
    assert Path(said["folder"]) == tmp_path / "new"
    assert said["keys"]["signer"] == fingerprint(tmp_path / "new")


def test_a_version_that_is_not_there_is_named(original):
    with pytest.raises(ConfigError, match="no such version"):
        gather(open_registry(config_of(original)), "digits", 77)
