"""`trainyard keys`, `registry adopt` and `registry verify --head`: what a person decides about signatures, and sees of them."""

import argparse
import io
import json
import os
import shutil
import stat

import attacked_registry
import pytest
from attested import attested
from registry_parts import promote, publish, release
from signed_registry import build, config_of, signing_memory

from pipelines.commands import keys, registry
from pipelines.trust import first_key, open_registry
from registry import candidates, heads, releases
from registry.errors import ConfigError, Corrupt, Rejected
from registry.files import sha256_bytes
from registry.signatures import make_key, save_key
from registry.stores import open_store, signatures_of


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "team"


@pytest.fixture
def ask(folder, capsys):
    """Runs a command for the team; gives what it prints."""

    def ask(command, *arguments, code=0, config=None):
        parser = argparse.ArgumentParser()
        parser.add_argument("--json", action="store_true")
        command.add_arguments(parser)
        assert command.main(parser.parse_args([*arguments, "--by", "ada"]), config or config_of(folder)) == code
        said = capsys.readouterr().out
        return json.loads(said) if "--json" in arguments else said

    return ask


def states(rows):
    return [row["state"].partition(" at ")[0] for row in rows["keys"]]


# --- a new registry ----------------------------------------------------------------------------------------------------


def test_a_new_registry_gets_its_key_with_its_first_record(folder, ask):
    store = open_registry(config_of(folder))
    publish(store, folder, "one")
    (row,) = ask(keys, "list", "--json")["keys"]
    assert row["state"] == "counts"
    assert row["key"] == first_key(config_of(folder))
    assert stat.S_IMODE(os.stat(row["private key"]).st_mode) == 0o600
    assert "every record is signed" in ask(registry, "verify")


def test_looking_at_a_new_registry_makes_nothing(folder, ask):
    assert "its first run, or `trainyard keys make`, makes its key" in ask(keys, "list")
    assert "the registry is empty" in ask(registry, "verify")
    assert first_key(config_of(folder)) == ""
    assert not folder.exists()


def test_keys_make_begins_the_registry_once(ask):
    (made,) = ask(keys, "make", "--json")["keys"]
    assert ask(keys, "make", "--json")["keys"] == [made]


def test_the_key_for_public_tools_is_not_taken_for_one_of_the_registry(folder):
    (folder / "home" / "keys").mkdir(parents=True)
    (folder / "home" / "keys" / "model-signing.pem").write_text("a key of another kind")
    assert publish(open_registry(config_of(folder)), folder, "one") == 1


def test_the_key_for_public_tools_is_named_beside_those_of_the_registry(folder, ask):
    publish(open_registry(config_of(folder)), folder, "run")
    assert "P-256" not in ask(keys, "list")
    attested(open_registry(config_of(folder)), folder, "run", 1)
    public = (folder / "registry/test/digits/attestations/1/signer.pem").read_bytes()
    said = ask(keys, "list")
    assert f"key {sha256_bytes(public)} (P-256), {folder / 'home/keys/model-signing.pem'}" in said
    assert public.decode() in said
    found = ask(keys, "list", "--json")
    assert len(found["keys"]) == 1
    assert found["model signing"] == {
        "key": sha256_bytes(public),
        "private key": str(folder / "home/keys/model-signing.pem"),
        "public": public.decode(),
        "verify": "model_signing verify key --public_key signer.pem --signature model.sig FOLDER",
    }
    assert found["model signing"]["verify"] in said


@pytest.mark.parametrize("begun", [False, True])
def test_text_and_json_of_the_keys_have_the_same_facts(folder, ask, begun):
    if begun:
        attacked_registry.build(folder, open_store(f"file://{folder / 'registry'}"))
        ask(registry, "adopt", "--yes")
    said, found = ask(keys, "list"), ask(keys, "list", "--json")
    assert [len(found[name]) for name in ("keys", "adopted")] == [begun, begun]
    assert (found["model signing"] is not None) == begun
    listed = [*found["keys"], *found["adopted"], found["model signing"] or {}]
    assert all(str(value).strip() in said for each in listed for value in each.values())


def test_a_claim_alone_does_not_make_a_registry_old(folder):
    candidates.claim(open_registry(config_of(folder)), "digits", "killed")
    assert publish(open_registry(config_of(folder)), folder, "one") == 2


def test_the_key_of_the_environment_is_used_and_not_stored(folder, ask, monkeypatch):
    signer = make_key()
    monkeypatch.setenv("TRAINYARD_SIGNING_KEY", signer.pem().decode())
    publish(open_registry(config_of(folder)), folder, "one")
    assert [row["key"] for row in ask(keys, "list", "--json")["keys"]] == [signer.public.id]
    assert not list((folder / "home").rglob("*.pem"))
    save_key(signer, folder / "key.pem")
    monkeypatch.delenv("TRAINYARD_SIGNING_KEY")
    monkeypatch.setenv("TRAINYARD_SIGNING_KEY_FILE", str(folder / "key.pem"))
    assert publish(open_registry(config_of(folder)), folder, "two") == 2


# --- changes of keys ---------------------------------------------------------------------------------------------------


def test_rotate_then_revoke(folder, ask):
    build(folder)
    (first,) = ask(keys, "list", "--json")["keys"]
    assert states(ask(keys, "rotate", "--json")) == ["replaced", "counts"]
    release(open_registry(config_of(folder)), 2)
    assert states(ask(keys, "revoke", first["key"][:16], "--json")) == ["revoked", "counts"]
    assert ask(registry, "verify", "--json")["problems"] == []
    assert publish(open_registry(config_of(folder)), folder, "later") > 4
    assert not os.path.exists(first["private key"])


def test_a_key_cannot_revoke_itself(folder, ask):
    build(folder)
    (row,) = ask(keys, "list", "--json")["keys"]
    with pytest.raises(Rejected, match="it cannot end itself") as refused:
        ask(keys, "revoke", row["key"])
    assert "keys rotate" in refused.value.hint


def test_a_second_controller_is_refused_until_its_key_is_added(folder, tmp_path, ask):
    build(folder)
    second = config_of(folder, tmp_path / "second")
    with pytest.raises(ConfigError, match="which this machine does not know"):
        ask(keys, "list", config=second)
    ask(keys, "trust", first_key(config_of(folder)), config=second)
    mine = make_key()
    save_key(mine, tmp_path / "second" / "keys" / f"{mine.public.short}.pem")
    with pytest.raises(ConfigError, match=r"no key in .* counts in this registry") as refused:
        release(open_registry(second), 2)
    assert "trainyard keys add" in refused.value.hint
    (tmp_path / "mine.pub").write_text(mine.public.text)
    ask(keys, "add", str(tmp_path / "mine.pub"))
    assert release(open_registry(second), 2).number == 6
    assert ask(registry, "verify", "--json")["problems"] == []


def test_a_setting_can_say_whom_to_trust(folder, tmp_path, ask):
    import dataclasses

    build(folder)
    second = config_of(folder, tmp_path / "second")
    known = dataclasses.replace(second.registry, trusted_keys=(first_key(config_of(folder)),))
    assert ask(registry, "verify", "--json", config=dataclasses.replace(second, registry=known))["problems"] == []


def test_another_first_key_than_the_known_one_is_not_trusted_by_a_slip(folder, ask):
    build(folder)
    with pytest.raises(ConfigError, match="this machine knows the registry as one that begins with key"):
        ask(keys, "trust", "0" * 64)


@pytest.mark.parametrize(
    "arguments", [("trust",), ("add",), ("revoke",), ("list", "x"), ("make", "x"), ("rotate", "x")]
)
def test_a_missing_or_extra_key_is_named(ask, arguments):
    with pytest.raises(ConfigError, match=f"keys {arguments[0]}: "):
        ask(keys, *arguments)


def test_a_private_key_is_never_shown(folder, ask):
    build(folder)
    secret = next((folder / "home" / "keys").glob("*.pem")).read_text().splitlines()[1]
    for said in (ask(keys, "list"), ask(keys, "rotate"), ask(registry, "verify")):
        assert secret not in said


# --- a registry from before --------------------------------------------------------------------------------------------


@pytest.fixture
def old(folder):
    folder.mkdir()
    return attacked_registry.build(folder)


def test_an_old_registry_is_refused_with_the_way_out(old, folder):
    with pytest.raises(ConfigError, match="the registry was written before records were signed") as refused:
        open_registry(config_of(folder))
    assert "`trainyard registry adopt`" in refused.value.hint


def test_an_old_registry_can_be_looked_at(old, ask):
    assert "no record is signed" in ask(registry, "verify")
    assert len(ask(registry, "list", "--json")) == 4


def test_an_old_registry_works_on_without_signatures_when_the_config_says_so(old, folder):
    import dataclasses

    config = config_of(folder)
    config = dataclasses.replace(config, registry=dataclasses.replace(config.registry, require_signatures=False))
    assert signatures_of(open_registry(config)) is None
    assert release(open_registry(config), 2).number == 6


def test_adopting_says_what_it_vouches_for_and_signs_just_that(old, folder, ask):
    said = ask(registry, "adopt", "--yes")
    assert "digits: 4 versions" in said
    assert "5 releases, the last with SHA-256" in said
    assert ask(registry, "verify", "--json")["problems"] == []
    store = open_registry(config_of(folder))
    assert release(store, 2).number == 6
    assert [each.number for each in heads.head_chain(store, "digits").read_all()] == [1, 2]
    assert ask(registry, "verify", "--json")["problems"] == []


def test_adopting_needs_somebody_who_confirms_it(old, ask, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(ConfigError, match="nobody is here to confirm it"):
        ask(registry, "adopt")
    answers = io.StringIO("no\n")
    answers.isatty = lambda: True
    monkeypatch.setattr("sys.stdin", answers)
    with pytest.raises(Rejected, match="nothing was signed"):
        ask(registry, "adopt")
    assert not (old / "keys").exists()


def test_a_broken_registry_is_not_adopted(old, ask):
    (old / "production/digits/releases/000002.json").unlink()
    with pytest.raises(Corrupt, match=r"releases/000002\.json: is missing"):
        ask(registry, "adopt", "--yes")
    assert not (old / "keys").exists()


def test_a_signed_registry_whose_keys_were_removed_is_not_adopted_again(folder, ask):
    build(folder)
    shutil.rmtree(folder / "registry" / "keys")
    with pytest.raises(Corrupt, match="though it began with key"):
        ask(registry, "adopt", "--yes")
    with pytest.raises(Corrupt, match="though it began with key"):
        releases.latest(open_registry(config_of(folder)), "digits")


def test_what_came_without_a_signature_can_be_adopted_later(folder, ask):
    build(folder)
    release(open_store(f"file://{folder / 'registry'}"), 2)
    assert "it is not signed" in str(ask(registry, "verify", "--json", code=2)["problems"])
    ask(registry, "adopt", "--yes", "--reason", "written while the key was away")
    assert ask(registry, "verify", "--json")["problems"] == []


# --- heads -------------------------------------------------------------------------------------------------------------


def test_a_head_that_was_kept_shows_a_truncation(folder, tmp_path, ask, monkeypatch):
    build(folder)
    mail = tmp_path / "mail.eml"
    mail.write_text(f"Subject: x\n\n  {heads.newest(open_registry(config_of(folder)), 'digits').line}\n")
    assert ask(registry, "verify", "--head", str(mail), "--json")["problems"] == []
    second = config_of(folder, tmp_path / "second")  # one that has never seen the newest
    ask(keys, "trust", first_key(config_of(folder)), config=second)
    for chain in ("releases", "heads"):
        (folder / "registry/production/digits" / chain / "000005.json").unlink()
    assert ask(registry, "verify", "--json", config=second)["problems"] == []
    monkeypatch.setattr("sys.stdin", io.StringIO(mail.read_text()))
    found = ask(registry, "verify", "--head", "-", "--json", code=2, config=second)["problems"]
    assert found == ["production/digits/heads/000005.json: is missing, though it was seen: release 5 was the newest"]


def test_an_older_head_that_somebody_has_put_before_the_mails_own_hides_nothing(folder, tmp_path, ask):
    """As in the subject of a commit, which the mail quotes."""
    build(folder)
    store = open_registry(config_of(folder))
    chain, signer = heads.head_chain(store, "digits"), signatures_of(store)
    older, newest = (heads.seen(chain.read(number), store.get(chain.name(number))).line for number in (4, 5))
    mail = tmp_path / "mail.eml"
    mail.write_text(f"Subject: x\n\n  fix it {older}\n  {older.replace(':4:4:', ':4:9:')}\n  {newest}\n")
    assert signer.seen("digits").line == newest
    second = config_of(folder, tmp_path / "second")
    ask(keys, "trust", first_key(config_of(folder)), config=second)
    for each in ("releases", "heads"):
        (folder / "registry/production/digits" / each / "000005.json").unlink()
    found = ask(registry, "verify", "--head", str(mail), "--json", code=2, config=second)["problems"]
    assert "production/digits/heads/000005.json: is missing, though it was seen: release 5 was the newest" in found
    assert "production/digits/heads/000004.json: is not the head that was seen" in found, "its line was altered"


def test_a_head_of_another_registry_is_refused(folder, tmp_path, ask):
    build(folder)
    (tmp_path / "other").mkdir()
    build(tmp_path / "other")
    mail = tmp_path / "mail.eml"
    mail.write_text(heads.newest(open_registry(config_of(tmp_path / "other")), "digits").line)
    with pytest.raises(ConfigError, match="no key of this registry has signed this head"):
        ask(registry, "verify", "--head", str(mail))


def test_a_release_whose_head_is_missing_is_a_note(folder, ask):
    build(folder)
    (folder / "registry/production/digits/heads/000005.json").unlink()
    memory = signing_memory(config_of(folder))
    memory.path.unlink()  # a crash came before this machine saw the head
    found = ask(registry, "verify", "--json")
    assert found["problems"] == []
    assert any("releases/000005.json: no head has it yet" in each for each in found["notes"])
    heads.write_head(open_registry(config_of(folder)), "digits")
    assert not any(
        "no head has it yet" in each and "digits" in each for each in ask(registry, "verify", "--json")["notes"]
    )


def test_a_promotion_in_a_signed_registry_is_promoted_once_more_as_before(folder):
    store = open_registry(config_of(folder))
    version = publish(store, folder, "one")
    assert promote(store, version, "token").number == 1
    assert candidates.manifest_digest(store, "digits", version, "production") == candidates.manifest_digest(
        store, "digits", version
    )
