"""The API verifies what it is about to load: signature, approval, and that nothing which it has seen was removed."""

import shutil
from types import SimpleNamespace

import attacked_registry
import pytest
from signed_registry import AttackedSigned, all_signed_anew, build, config_of
from versions import release_draft

from pipelines import key_changes
from pipelines.trust import first_key
from registry import candidates
from registry.errors import ConfigError, Corrupt
from serving import model_source
from serving.job import ServeJob

RELEASES = "production/digits/releases"


@pytest.fixture(scope="module")
def signed(tmp_path_factory):
    return build(tmp_path_factory.mktemp("signed"))


@pytest.fixture
def registry(signed, tmp_path):
    return AttackedSigned(signed, tmp_path)


@pytest.fixture
def source(registry, monkeypatch):
    """Makes a source as one start of the API does; a model that gets as far as being loaded is its release's number."""
    monkeypatch.setattr(model_source, "load", lambda _folder, release, *_, **__: release)

    def start(first=""):
        return Source(registry, first or first_key(registry.config))

    return start


class Source:
    """A source, and the number of the release that it has loaded."""

    def __init__(self, registry, first, state=""):
        job = ServeJob("digits", registry=f"file://{registry.root}", first_key=first, state=state)
        self.source = model_source.open_source(job, registry.root.parent / "api" / "models")
        self.newest = self.source.newest

    def load(self, number):
        return self.source.load(self.source.find(number))


def test_a_signed_and_approved_release_is_loaded(source):
    assert source().load(5) == 5


def test_an_altered_release_is_refused(registry, source):
    registry.edit(f"{RELEASES}/000005.json", '"trainyard"', '"mallory"')
    with pytest.raises(Corrupt, match=r"releases/000005\.json: its signature does not match|is not what it was"):
        source().load(5)


def test_an_unsigned_release_is_refused(registry, source):
    digest = candidates.manifest_digest(registry.store, "digits", 2)
    registry.append(RELEASES, release_draft("digits", 2, digest, approval=4))
    with pytest.raises(Corrupt, match=r"releases/000006\.json: it is not signed"):
        source().load(6)


def test_an_altered_manifest_is_refused(registry, source):
    registry.edit("production/digits/1/card.json", '"the first version"', '"another version"')
    with pytest.raises(Corrupt, match=r"production/digits/1/card\.json: |is not the manifest"):
        source().load(5)


def test_a_release_of_a_version_that_nobody_approved_is_refused(registry, source):
    shutil.copytree(registry / "test/digits/3", registry / "production/digits/3")
    digest = candidates.manifest_digest(registry.store, "digits", 3)
    registry.append(RELEASES, release_draft("digits", 3, digest, kind="rollback"))
    registry.sign_with_the_controllers_key(f"{RELEASES}/000006.json")
    with pytest.raises(Corrupt, match=r"releases/000006\.json: nobody has approved version 3"):
        source().load(6)


def test_what_was_live_before_is_verified_too(registry, source):
    api = source().source
    before = api.before(4)
    assert (before.release, before.version) == (3, 1)
    assert api.load(before) == 3
    registry.edit(f"{RELEASES}/000003.json", '"bob"', '"eve"')
    with pytest.raises(Corrupt, match=r"releases/000003\.json: its signature does not match"):
        api.load(before)


def test_a_registry_with_other_keys_is_refused(source):
    with pytest.raises(ConfigError, match="begins with key"):
        source(first="0" * 64).load(5)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_registry_that_is_older_than_what_was_served_is_refused(registry, source, restarted):
    api = source()
    assert api.load(5) == 5
    for chain in ("releases", "heads"):
        (registry / f"production/digits/{chain}/000005.json").unlink()
    api = source() if restarted else api
    with pytest.raises(Corrupt, match=r"heads/000005\.json: is missing, though it was seen: release 5 was the newest"):
        api.load(api.newest())


@pytest.mark.usefixtures("source")
def test_without_a_first_key_the_one_that_is_there_first_counts_from_then_on(registry):
    assert Source(registry, first="").load(5) == 5
    registry.edit(f"{RELEASES}/000005.json", '"trainyard"', '"mallory"')
    with pytest.raises(Corrupt, match=r"releases/000005\.json: "):
        Source(registry, first="").load(5)


@pytest.mark.usefixtures("source")
def test_all_signed_anew_with_a_key_of_ones_own_is_refused_by_who_has_seen_the_registry(registry):
    api = Source(registry, first="")
    assert api.load(5) == 5
    assert "verified from key " in api.source.verified()
    all_signed_anew(registry)
    with pytest.raises(Corrupt, match="the registry begins with key"):
        Source(registry, first="").load(5)
    shutil.rmtree(registry / "keys")
    with pytest.raises(Corrupt, match="no keys"):
        Source(registry, first="").load(5)


@pytest.mark.usefixtures("source")
def test_a_registry_that_is_not_signed_is_served_and_said_not_to_be_verified_until_it_is_adopted(tmp_path):
    folder = tmp_path / "old"
    old = SimpleNamespace(root=attacked_registry.build(folder))
    api = Source(old, first="")
    assert api.load(5) == 5
    assert api.source.verified() == "not verified: the registry is not signed"
    config = config_of(folder)
    key_changes.adopt(config, key_changes.vouched_for(config), "ada", "")
    assert api.load(5) == 5
    assert api.source.verified().startswith(f"verified from key {first_key(config):.16} on")
    last = old.root / RELEASES / "000005.json"
    last.chmod(0o644)
    last.write_bytes(last.read_bytes().replace(b'"trainyard"', b'"mallory"'))
    with pytest.raises(Corrupt, match=r"releases/000005\.json: "):
        api.load(5)


@pytest.mark.usefixtures("source")
def test_what_is_remembered_is_where_the_job_says(registry, tmp_path):
    folder = tmp_path / "state"
    assert Source(registry, first="", state=str(folder)).load(5) == 5
    assert (folder / "registry.json").is_file()
    assert not (registry.root.parent / "api" / "registry.json").exists()
