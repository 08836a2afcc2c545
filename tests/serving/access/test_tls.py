"""Certificate and key: what is wrong with them is said before the API starts, and new ones are read while it runs."""

import ssl

import pytest
from certificates import write_certificate

from registry.errors import ConfigError
from serving.access import tls
from serving.access.tls import TlsContext, load, problems


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(tls, "CHECK", 0.0)
    write_certificate(tmp_path)
    return str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")


def test_older_than_tls_1_2_is_not_spoken(files):
    context = load(*files)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_a_key_of_another_certificate_is_named(files, tmp_path):
    write_certificate(tmp_path / "other")
    with pytest.raises(ConfigError, match="is not the key of the certificate"):
        load(files[0], str(tmp_path / "other" / "key.pem"))


def test_files_that_are_none_are_named(files, tmp_path):
    (tmp_path / "text.pem").write_text("hello")
    with pytest.raises(ConfigError, match="cannot be used"):
        load(str(tmp_path / "text.pem"), files[1])
    with pytest.raises(ConfigError, match=r"\[serving\] keyfile: .*No such file"):
        load(files[0], str(tmp_path / "nothing.pem"))


def test_a_key_with_a_password_is_refused_instead_of_asking_for_it(tmp_path):
    write_certificate(tmp_path, password=b"secret")
    with pytest.raises(ConfigError, match="protected by a password") as refused:
        load(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    assert "openssl pkey" in refused.value.hint


@pytest.mark.parametrize(("days", "said"), [(-1, "expired on"), (5, "expires on"), (100, "")])
def test_a_certificate_that_ends_soon_is_reported(tmp_path, days, said):
    write_certificate(tmp_path, days=days)
    found = problems(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem"))
    assert [said in each for each in found] == ([True] if said else [])


def test_a_key_that_others_can_read_is_reported(files, tmp_path):
    (tmp_path / "key.pem").chmod(0o644)
    assert ["can be read by others" in each for each in problems(*files)] == [True]


def test_new_files_are_used_and_broken_ones_are_not(files, tmp_path, caplog):
    context = TlsContext(*files)
    first = context.current()
    assert context.current() is first
    write_certificate(tmp_path)
    second = context.current()
    assert second is not first
    (tmp_path / "cert.pem").write_text("half of")
    assert context.current() is second
    assert "TLS keeps the certificate that was read before" in caplog.text
    write_certificate(tmp_path)
    assert context.current() not in {first, second}
