"""The file of tokens: made, found, revoked, and read again while the API runs."""

import json
import logging
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry.errors import ConfigError
from serving.access import tokens
from serving.access.tokens import TokenFile, Tokens, digest_of, make, read, revoke


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "CHECK", 0.0)
    return tmp_path / "access" / "tokens.json"


def test_a_token_is_found_by_itself_and_by_nothing_else(path):
    token = make(path, "shop", ["predict"])
    known = read(path)
    assert known.find(token).name == "shop"
    for other in ("", token[:-1], token + "x", token.upper(), digest_of(token), "tyd_", "\udcff"):
        assert known.find(other) is None


def test_tokens_are_long_and_never_the_same(path):
    made = {make(path, "shop", ["predict"]) for _ in range(20)}
    assert len(made) == 20
    assert {(each[:4], len(each)) for each in made} == {("tyd_", 4 + 43)}  # 256 bits, six in a letter


def test_the_file_holds_no_token_and_only_its_owner_reads_it(path):
    token = make(path, "shop", ["predict", "feedback"])
    assert token not in path.read_text()
    assert token.removeprefix("tyd_") not in path.read_text()
    assert digest_of(token) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_suffix(".lock").stat().st_mode) == 0o600
    for mode in (0o640, 0o777):  # somebody wants the API's group to read it
        path.chmod(mode)
        make(path, "other", ["predict"])
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_file_is_never_open_to_others_and_is_on_the_disk_before_it_takes_its_place(path, monkeypatch):
    modes, sizes, fchmod, fsync = [], [], os.fchmod, os.fsync

    def with_mode(fd, mode):
        modes.append(stat.S_IMODE(os.fstat(fd).st_mode))
        fchmod(fd, mode)

    def with_size(fd):
        sizes.append(os.fstat(fd).st_size)
        fsync(fd)

    monkeypatch.setattr(os, "fchmod", with_mode)
    monkeypatch.setattr(os, "fsync", with_size)
    make(path, "shop", ["predict"])
    assert (modes, sizes) == ([0o600], [path.stat().st_size])


def test_folders_are_made_and_what_cannot_be_read_is_named(tmp_path):
    assert make(tmp_path / "a" / "b" / "tokens.json", "shop", ["predict"])
    with pytest.raises(ConfigError, match="a: Is a directory"):
        read(tmp_path / "a")


def test_a_token_that_has_expired_does_not_hold(path):
    token = make(path, "shop", ["predict"], days=1)
    known = read(path)
    assert known.find(token, lambda: known.tokens[0].created)
    assert known.find(token, lambda: known.tokens[0].expires) is None
    make(path, "for-ever", ["predict"])
    assert read(path).tokens[1].expires == ""


def test_revoking_takes_every_token_of_the_name_and_leaves_the_file(path):
    first, second, other = (
        make(path, "shop", ["predict"]),
        make(path, "shop", ["predict"]),
        make(path, "b", ["predict"]),
    )
    assert revoke(path, "shop") == 2
    known = read(path)
    assert [known.find(each) is not None for each in (first, second, other)] == [False, False, True]
    before = path.stat()
    assert revoke(path, "shop") == 0
    assert path.stat() == before  # not even written again
    assert revoke(path, "b") == 1
    assert read(path) == Tokens()
    assert path.exists()


def test_two_at_once_lose_no_token(path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: make(path, f"n{number}", ["predict"]), range(16)))
    assert all(read(path).find(each) for each in made)


@pytest.mark.parametrize("name", ["", "a b", "-a", "ä", "a/b", "a\nb", "x" * 65])
def test_a_name_must_be_one_that_fits_into_a_line_of_the_log(path, name):
    with pytest.raises(ConfigError, match="is not a name for a token"):
        make(path, name, ["predict"])


def test_roles_are_those_that_exist(path):
    with pytest.raises(ConfigError, match="root: no such role") as refused:
        make(path, "shop", ["predict", "root"])
    assert "predict, feedback, operate" in refused.value.hint


class TestWhileTheApiRuns:
    def test_new_tokens_hold_and_revoked_ones_do_not(self, path):
        api = TokenFile(path)
        assert api.find("tyd_x") is None  # no file yet: nobody
        token = make(path, "shop", ["predict"])
        assert api.find(token).name == "shop"
        revoke(path, "shop")
        assert api.find(token) is None

    @pytest.mark.parametrize("broken", [b"", b"{", b'{"schema": 1, "tokens": [{"name": 1}]}'])
    def test_a_file_that_breaks_keeps_the_last_good_one_and_says_so(self, path, caplog, broken):
        api = TokenFile(path)
        token = make(path, "shop", ["predict"])
        assert api.find(token)
        path.write_bytes(broken)
        assert api.find(token)
        assert "the tokens that were read before still hold" in caplog.text
        caplog.clear()
        assert api.find(token)
        assert caplog.text == ""  # once
        other = json.loads(tokens.codec.to_json(Tokens()))
        path.write_text(json.dumps(other))
        assert api.find(token) is None

    def test_the_file_is_looked_at_once_a_second(self, tmp_path, monkeypatch):
        path, now = tmp_path / "tokens.json", [0.0]
        monkeypatch.setattr(tokens.time, "monotonic", lambda: now[0])
        first = make(path, "shop", ["predict"])
        api = TokenFile(path)
        assert api.find(first)  # also right after the machine has started
        second = make(path, "shop", ["predict"])
        for now[0], found in ((0.9, False), (1.0, True)):
            assert (api.find(second) is not None) == found

    def test_how_many_tokens_hold_is_logged_when_they_change(self, path, caplog):
        token = make(path, "shop", ["predict"])
        api = TokenFile(path)
        with caplog.at_level(logging.INFO):
            assert api.find(token)
            assert f"{path}: 1 tokens hold" in caplog.text
            caplog.clear()
            assert api.find(token)
            assert caplog.text == ""  # nothing has changed

    def test_where_none_could_be_read_ever_no_token_holds_and_the_log_says_so(self, path, caplog):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{")
        assert TokenFile(path).find("anything") is None
        assert "no token holds" in caplog.text
        assert "not JSON" in caplog.text

    def test_a_disk_that_fails_ends_no_token(self, path, caplog):
        api = TokenFile(path)
        token = make(path, "shop", ["predict"])
        assert api.find(token)
        path.parent.rename(path.parent.with_name("moved"))
        path.parent.write_text("a file in place of the folder")
        assert api.find(token)
        assert "Not a directory; the tokens that were read before still hold" in caplog.text

    @pytest.mark.parametrize(
        ("known", "out_of_reach", "why"),
        [(True, True, "was replaced after this API had started"), (True, False, "not JSON"), (False, True, "not JSON")],
    )
    def test_a_folder_that_was_replaced_is_named_where_tokens_had_been_read(
        self, path, monkeypatch, caplog, known, out_of_reach, why
    ):
        api = TokenFile(path)
        if known:
            assert api.find(make(path, "shop", ["predict"]))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"{")
        monkeypatch.setattr(tokens, "is_out_of_reach", lambda _: out_of_reach)
        api.find("anything")
        assert why in caplog.text

    def test_a_file_that_is_gone_keeps_its_tokens_too(self, path, caplog):
        api = TokenFile(path)
        token = make(path, "shop", ["predict"])
        assert api.find(token)
        path.unlink()
        assert api.find(token)
        assert "still hold" in caplog.text

    def test_a_revocation_that_could_not_be_read_at_first_counts_all_the_same(self, path, monkeypatch):
        """As when clients hold every file descriptor for a moment."""
        api = TokenFile(path)
        token = make(path, "shop", ["predict"])
        assert api.find(token)
        revoke(path, "shop")

        def full(*_):
            raise OSError(24, "Too many open files")

        with monkeypatch.context() as now:
            now.setattr(tokens.codec, "read", full)
            assert api.find(token)
        assert api.find(token) is None
