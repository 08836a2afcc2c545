"""Keys in the formats that people have, and signatures that hold for one text and one purpose only."""

import os
import pickle
import stat
import subprocess

import pytest

from registry import signatures
from registry.errors import ConfigError
from registry.files import TMP

DATA, PURPOSE = b'{"model": "digits"}', "a record"


@pytest.fixture(scope="module")
def signer():
    return signatures.make_key()


def test_a_signature_holds_for_its_data_and_its_purpose(signer):
    signature = signer.sign(DATA, PURPOSE)
    assert signer.public.verifies(signature, DATA, PURPOSE)
    assert signature == signer.sign(DATA, PURPOSE)


@pytest.mark.parametrize(
    ("data", "purpose"), [(DATA + b" ", PURPOSE), (DATA, "an approval"), (b"record\0" + DATA, "a "), (b"", PURPOSE)]
)
def test_it_holds_for_nothing_else(signer, data, purpose):
    assert not signer.public.verifies(signer.sign(DATA, PURPOSE), data, purpose)


def test_another_key_does_not_verify_it(signer):
    assert not signatures.make_key().public.verifies(signer.sign(DATA, PURPOSE), DATA, PURPOSE)


@pytest.mark.parametrize("position", range(88))
def test_any_altered_character_of_a_signature_is_found(signer, position):
    signature = signer.sign(DATA, PURPOSE)
    for other in ("A", "B", "=", "+", "\n", "é"):
        altered = signature[:position] + other + signature[position + 1 :]
        assert altered == signature or not signer.public.verifies(altered, DATA, PURPOSE)


@pytest.mark.parametrize("signature", ["", "AAAA", "no base64!", "A" * 87, " " * 88])
def test_what_is_no_signature_verifies_nothing(signer, signature):
    assert not signer.public.verifies(signature, DATA, PURPOSE)


def test_a_saved_key_is_its_owners_only_and_never_replaced(signer, tmp_path):
    path = tmp_path / "home" / "keys" / "a.pem"
    signatures.save_key(signer, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert signatures.load_key(path).public == signer.public
    with pytest.raises(FileExistsError):
        signatures.save_key(signatures.make_key(), path)
    assert signatures.load_key(path).public == signer.public
    assert [each.name for each in path.parent.iterdir()] == ["a.pem"]


def test_what_a_killed_writer_has_left_of_a_key_is_removed(signer, tmp_path):
    (tmp_path / f"{TMP}half").write_text("half a key")
    signatures.save_key(signer, tmp_path / "a.pem")
    assert [each.name for each in tmp_path.iterdir()] == ["a.pem"]


def test_a_key_that_cannot_be_written_is_an_error_that_names_the_file(signer, tmp_path):
    (tmp_path / "keys").write_text("a file in place of the folder")
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match=r"keys/a/b\.pem: Not a directory"):
        signatures.save_key(signer, tmp_path / "keys" / "a" / "b.pem")


def test_a_keys_file_has_16_kib_at_most(signer, tmp_path):
    path, pem = tmp_path / "a.pem", signer.pem().strip()
    for size, good in ((16 * 1024, True), (16 * 1024 + 1, False)):
        path.write_bytes(pem.rjust(size, b"\n"))
        path.chmod(0o600)
        if good:
            assert signatures.load_key(path).public == signer.public
        else:
            with pytest.raises(ConfigError, match="not a private key"):
                signatures.load_key(path)


@pytest.mark.parametrize("error", [TypeError("not given"), ValueError("Key is password-protected.")], ids=str)
def test_every_version_of_the_library_says_in_its_own_way_that_there_is_a_passphrase(signer, error, monkeypatch):
    from cryptography.hazmat.primitives import serialization

    def fails(_data, _password):
        raise error

    monkeypatch.setattr(serialization, "load_pem_private_key", fails)
    with pytest.raises(ConfigError, match="has a passphrase"):
        signatures.read_key(signer.pem(), "here")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o602, 0o660, 0o601])
def test_a_private_key_that_others_may_read_is_refused(signer, tmp_path, mode):
    path = tmp_path / "a.pem"
    signatures.save_key(signer, path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others may read or write this private key"):
        signatures.load_key(path)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "absent"])
def test_only_a_file_is_read_as_a_private_key(signer, tmp_path, kind):
    path = tmp_path / "a.pem"
    if kind == "link":
        signatures.save_key(signer, tmp_path / "b.pem")
        path.symlink_to("b.pem")
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "folder":
        path.mkdir(0o700)
    with pytest.raises(FileNotFoundError if kind == "absent" else ConfigError) as error:
        signatures.load_key(path)
    assert ("is not a file" in str(error.value)) == (kind == "pipe")


@pytest.mark.parametrize("pem", [[], ["-m", "PKCS8"]], ids=["openssh", "pkcs8"])
def test_keys_of_ssh_keygen_can_be_used(tmp_path, pem):
    path = tmp_path / "id_ed25519"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada@example.org", "-f", str(path)]
    try:
        subprocess.run(make, check=True)
        if pem:
            subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "", *pem, "-f", str(path)], check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("no ssh-keygen here that can do this")
    public = signatures.read_public_key((tmp_path / "id_ed25519.pub").read_text(), "ada")
    assert signatures.load_key(path).public == public
    assert (tmp_path / "id_ed25519.pub").read_text().startswith(public.text)


def serialized(signer, *, encryption=None, openssh=False):
    from cryptography.hazmat.primitives import serialization as to

    key = to.load_pem_private_key(signer.pem(), None)
    layout = to.PrivateFormat.OpenSSH if openssh else to.PrivateFormat.PKCS8
    public = key.public_key().public_bytes(to.Encoding.PEM, to.PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(to.Encoding.PEM, layout, encryption or to.NoEncryption()), public.decode()


@pytest.mark.parametrize("openssh", [False, True])
def test_both_private_formats_are_read(signer, openssh):
    private, public = serialized(signer, openssh=openssh)
    assert signatures.read_key(b"\n" + private.strip(), "here").public == signer.public
    assert signatures.read_public_key(public, "here") == signer.public
    assert signatures.read_public_key(signer.public.text, "here") == signer.public


def test_a_key_with_a_passphrase_is_refused_with_the_way_out(signer):
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption

    private, _ = serialized(signer, encryption=BestAvailableEncryption(b"secret"))
    with pytest.raises(ConfigError, match="here: the private key has a passphrase") as refused:
        signatures.read_key(private, "here")
    assert "ssh-keygen -p" in refused.value.hint


@pytest.mark.parametrize("text", ["", "hello", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "\0é"])
def test_what_is_no_private_key_is_refused_and_not_shown(text):
    with pytest.raises(ConfigError) as refused:
        signatures.read_key(text.encode(), "here")
    assert str(refused.value) == "here: not a private key in PEM or OpenSSH's format"


@pytest.mark.parametrize("text", ["", "hello", "ssh-ed25519", "ssh-ed25519 AAAA", "ssh-ed25519 é", "\ud800"])
def test_what_is_no_public_key_is_refused(text):
    with pytest.raises(ConfigError, match=r"approvers\.ada: not a public key"):
        signatures.read_public_key(text, "approvers.ada")


def test_a_private_key_in_place_of_a_public_one_is_refused(signer):
    with pytest.raises(ConfigError, match="here: this is a private key"):
        signatures.read_public_key(signer.pem().decode(), "here")


def test_keys_of_another_kind_are_refused():
    from cryptography.hazmat.primitives import serialization as to
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    key = generate_private_key(SECP256R1())
    private = key.private_bytes(to.Encoding.PEM, to.PrivateFormat.PKCS8, to.NoEncryption())
    public = key.public_key().public_bytes(to.Encoding.OpenSSH, to.PublicFormat.OpenSSH)
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        signatures.read_key(private, "here")
    with pytest.raises(ConfigError, match="not an Ed25519 key"):
        signatures.read_public_key(public.decode(), "here")


def test_a_private_key_is_neither_shown_nor_pickled(signer):
    assert repr(signer) == f"<Signer {signer.public.id[:16]}>"
    with pytest.raises(TypeError):
        pickle.dumps(signer)
