"""An approval is valid for one model, one version, one manifest, and for a time."""

import hashlib
import os
import stat
import subprocess
import sys
import time

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from pipelines.approvals import tokens
from pipelines.approvals.tokens import MIN_SECRET, PURPOSE, approval_secret, check_token, expires_at, make_token
from registry.errors import ConfigError, Rejected

SECRET = "correct horse battery staple, and then some"
CARD = "c" * 64
DAY = 86400


def check(token, *, secret=SECRET, model="digits", version=3, card=CARD, valid_days=7):
    return check_token(secret, token, model, version, card, valid_days)


def test_a_token_approves_what_it_was_made_for():
    assert check(make_token(SECRET, "digits", 3, CARD))


def test_each_token_has_an_id_of_its_own_that_stays_the_same():
    first, second = (make_token(SECRET, "digits", 3, CARD) for _ in range(2))
    assert check(first) == check(first) != check(second)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"model": "letters"}, "is for digits version 3, not for letters version 3"),
        ({"version": 4}, "is for digits version 3, not for digits version 4"),
        ({"card": "d" * 64}, "another manifest of digits version 3: cccccccccccc…, not dddddddddddd…"),
        ({"secret": SECRET + "!"}, "altered, or signed with another secret"),
    ],
    ids=["model", "version", "card", "secret"],
)
def test_a_foreign_token_is_rejected_with_the_reason(other, said):
    with pytest.raises(Rejected, match=said) as no:
        check(make_token(SECRET, "digits", 3, CARD), **other)
    assert no.value.exit_code == 3
    assert no.value.hint


def test_a_token_is_valid_until_its_last_minute_and_then_says_when_it_expired():
    now = time.time()
    check(make_token(SECRET, "digits", 3, CARD, at=now - 7 * DAY + 60))
    made_at = now - 7 * DAY - 60
    with pytest.raises(Rejected) as no:
        check(make_token(SECRET, "digits", 3, CARD, at=made_at))
    assert f"expired at {expires_at(7, at=made_at)}" in str(no.value)


def test_a_token_is_valid_for_its_days_to_the_second(monkeypatch):
    now = int(time.time())
    monkeypatch.setattr(time, "time", lambda: now)
    assert len(check(make_token(SECRET, "digits", 3, CARD, at=now - 7 * DAY))) * 6 == 96  # random bits of its id
    with pytest.raises(Rejected, match="expired at"):
        check(make_token(SECRET, "digits", 3, CARD, at=now - 7 * DAY - 1))
    assert expires_at(7) == expires_at(7, at=now)
    assert expires_at(7, at=0) == "1970-01-08T00:00:00Z"


def test_what_was_signed_and_is_no_token_is_rejected():
    signed = tokens._serializer(SECRET).make_signer(PURPOSE).sign(b"bm90IEpTT04")
    with pytest.raises(Rejected, match="altered"):
        check(signed.decode())


def test_of_a_secrets_file_4096_characters_count(tmp_path):
    approval_secret(tmp_path, {})
    (tmp_path / "approval.secret").write_text("x" * 5000)
    assert approval_secret(tmp_path, {}) == "x" * 4096


def test_a_token_from_the_future_blames_the_clocks():
    with pytest.raises(Rejected, match="in the future"):
        check(make_token(SECRET, "digits", 3, CARD, at=time.time() + 3600))


TOKEN = make_token(SECRET, "digits", 3, CARD)


@given(st.integers(0, len(TOKEN) - 1), st.characters())
@settings(max_examples=500)
def test_any_changed_character_is_rejected(position, character):
    assume(character != TOKEN[position])
    with pytest.raises(Rejected):
        check(TOKEN[:position] + character + TOKEN[position + 1 :])


def test_the_last_character_has_no_twin():
    """Six bits are sent and four are used: 15 other letters mean the same signature to a decoder."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for letter in letters.replace(TOKEN[-1], ""):
        with pytest.raises(Rejected, match="altered"):
            check(TOKEN[:-1] + letter)


@given(st.one_of(st.text(max_size=200), st.text("abcXYZ019-_.", max_size=300), st.just("a" * 3000)))
def test_nonsense_is_rejected_and_never_a_traceback(text):
    with pytest.raises(Rejected):
        check(text)


def test_a_token_signed_for_another_purpose_or_with_a_weaker_digest_is_rejected():
    content = {"id": "x", "model": "digits", "version": 3, "card": CARD}
    for serializer in (URLSafeTimedSerializer(SECRET), URLSafeTimedSerializer(SECRET, salt=PURPOSE)):
        with pytest.raises(Rejected):
            check(serializer.dumps(content))


def test_the_environment_gives_the_secret(tmp_path):
    assert approval_secret(tmp_path, {"TRAINYARD_APPROVAL_SECRET": SECRET}) == SECRET
    (tmp_path / "mounted").write_text(SECRET + "\n")
    assert approval_secret(tmp_path, {"TRAINYARD_APPROVAL_SECRET_FILE": str(tmp_path / "mounted")}) == SECRET
    assert [each.name for each in tmp_path.iterdir()] == ["mounted"]


def test_without_one_a_secret_is_made_once_and_only_its_owner_may_read_it(tmp_path):
    home = tmp_path / "home"
    secret = approval_secret(home, {})
    assert len(secret) == 43  # 256 random bits, six in a letter
    assert approval_secret(home, {}) == secret
    assert [each.name for each in home.iterdir()] == ["approval.secret"]
    assert stat.S_IMODE((home / "approval.secret").stat().st_mode) == 0o600


def test_processes_that_need_the_first_secret_at_once_agree(tmp_path):
    code = (
        "import sys; from pathlib import Path; from pipelines.approvals.tokens import approval_secret; sys.stdin.read(1);"
        f"print(approval_secret(Path({str(tmp_path)!r}), {{}}))"
    )
    # One pipe as everyone's stdin: closing it starts them together.
    reader, writer = os.pipe()
    crowd = [
        subprocess.Popen([sys.executable, "-P", "-c", code], stdin=reader, stdout=subprocess.PIPE) for _ in range(6)
    ]
    os.close(reader)
    os.close(writer)
    assert len({process.communicate()[0] for process in crowd}) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601], ids=oct)
def test_a_secret_that_others_can_reach_is_refused(tmp_path, mode):
    approval_secret(tmp_path, {})
    (tmp_path / "approval.secret").chmod(mode)
    with pytest.raises(ConfigError, match=r"approval\.secret: others may read or write"):
        approval_secret(tmp_path, {})


def test_a_link_in_place_of_the_secret_is_refused(tmp_path):
    (tmp_path / "elsewhere").write_text(SECRET)
    (tmp_path / "elsewhere").chmod(0o600)  # so that nothing but the link is wrong with it
    (tmp_path / "approval.secret").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=r"approval\.secret: cannot read it: .*symbolic links"):
        approval_secret(tmp_path, {})


def test_a_secret_that_can_be_guessed_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=f"TRAINYARD_APPROVAL_SECRET: 8 characters, at least {MIN_SECRET}") as error:
        approval_secret(tmp_path, {"TRAINYARD_APPROVAL_SECRET": "hunter22"})
    assert "hunter22" not in f"{error.value}{error.value.hint}"
    (tmp_path / "approval.secret").touch(0o600)
    with pytest.raises(ConfigError, match="0 characters"):
        approval_secret(tmp_path, {})


def test_a_secret_of_32_characters_is_long_enough_and_one_of_31_is_not(tmp_path):
    assert approval_secret(tmp_path, {"TRAINYARD_APPROVAL_SECRET": "x" * 32}) == "x" * 32
    with pytest.raises(ConfigError, match="31 characters, at least 32 are wanted"):
        approval_secret(tmp_path, {"TRAINYARD_APPROVAL_SECRET": "x" * 31})


@pytest.mark.parametrize(
    ("home", "why"),
    [("file/home", "Not a directory"), ("x" * 300, "File name too long"), (f"{'y' * 200}/{'x' * 300}", "File name too long")],
    ids=["below a file", "a name that is too long", "below a good name"],
)  # fmt: skip
def test_a_home_that_cannot_be_made_is_named(tmp_path, home, why):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError) as error:
        approval_secret(tmp_path / home, {})
    assert str(error.value) == f"{tmp_path / home / 'approval.secret'}: {why}"
    assert "[home]" in error.value.hint


def test_a_secret_that_is_not_a_text_is_reported(tmp_path):
    (tmp_path / "approval.secret").write_bytes(b"\xff" * 40)
    (tmp_path / "approval.secret").chmod(0o600)
    with pytest.raises(ConfigError, match=r"approval\.secret: cannot read it: .*utf-8") as error:
        approval_secret(tmp_path, {})
    assert error.value.hint == "run as the user who made it"


def test_a_folder_in_place_of_the_secret_is_refused(tmp_path):
    (tmp_path / "approval.secret").mkdir(mode=0o700)
    with pytest.raises(ConfigError, match=r"approval\.secret"):
        approval_secret(tmp_path, {})


def test_what_a_killed_process_has_left_is_removed(tmp_path):
    old = tmp_path / ".tmp-left"
    old.write_text("half a secret")
    os.utime(old, (1, 1))
    approval_secret(tmp_path, {})
    assert [each.name for each in tmp_path.iterdir()] == ["approval.secret"]


def test_a_token_is_read_as_it_was_mailed_by_the_first_release_of_trainyard():
    """Purpose, digest and layout are part of every token that is on its way: another layout needs another purpose."""
    content = {"id": "x", "model": "digits", "version": 3, "card": CARD}
    serializer = URLSafeTimedSerializer(
        SECRET, salt=b"trainyard.promote.1", signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"}
    )
    assert check(serializer.dumps(content)) == "x"


def test_a_text_of_2048_characters_is_looked_into_and_a_longer_one_is_not():
    for length, said in ((2048, "altered"), (2049, "malformed")):
        with pytest.raises(Rejected, match=said):
            check(f"{'a' * (length - 51)}.aaaaaa.{'a' * 43}")
