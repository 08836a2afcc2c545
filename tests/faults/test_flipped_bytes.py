"""One damaged file in the registry, any of them: `registry verify` names it, promotion and serving refuse it, and what was
live before keeps answering."""

import json
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from promotion_parts import LEFT, MODEL, Project
from registry_faults_parts import copy
from versions import append_release, approval_draft

from pipelines.deploy import api_folder, open_deployment
from pipelines.promotion.rollback import release_before
from pipelines.trust import open_registry
from registry import candidates, releases
from registry.errors import Corrupt, PipelineError
from registry.verify import verify
from serving.model import load
from serving.model_source import Releases

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
ROOT = ("test", "production", ".store/objects")


def flipped(path):
    """One bit, in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    rewritten(path, bytes(data))


def truncated(path):
    rewritten(path, path.read_bytes()[:-1])


def emptied(path):
    rewritten(path, b"")


def rewritten(path, data):
    """In place, as a bad disk does: all names of the file see it."""
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(0o444)


DAMAGE = {"one bit flipped": flipped, "truncated": truncated, "emptied": emptied}


class Played:
    """A registry in which version 1 and 2 were released and 3 is accepted; it is damaged in copies."""

    def __init__(self, project):
        self.project = project
        self.root = project.folder / "registry"
        self.original = project.folder / "original"
        for kind in ("thirds", "dull", "thirds"):
            project.publish(kind)
        project.promote(1)
        project.promote(2)
        self.token = project.token(3)
        copy(self.root, self.original)
        self.anchors = Path(project.config.home) / "keys" / "registries"
        shutil.copytree(self.anchors, project.folder / "anchors")

    @property
    def store(self):
        return open_registry(self.project.config)

    def files(self):
        """Every file of the registry, relative to its root, and which of them are one file."""
        found = {}
        for top in ROOT:
            for path in sorted((self.original / top).rglob("*")):
                if path.is_file():
                    found.setdefault(path.stat().st_ino, []).append(str(path.relative_to(self.original)))
        return list(found.values())

    def damaged(self, name, damage):
        copy(self.original, self.root)
        damage(self.root / name)

    def restore(self):
        copy(self.original, self.root)

    def restore_older(self):
        """From a backup, after newer releases were seen: a person has to say so, by what the machine and the API remember."""
        self.project.stop()
        self.restore()
        shutil.copytree(self.project.folder / "anchors", self.anchors, dirs_exist_ok=True)
        (api_folder(self.project.config) / "registry.json").unlink(missing_ok=True)

    def serve(self):
        """What an API that starts now does with the registry."""
        source = Releases(self.store, MODEL, lambda *found: load(*found, 1, self.project.folder / "copies"))
        return source.load(source.find(1))


@pytest.fixture(scope="module")
def played(tmp_path_factory, tiny_models):
    project = Project(tmp_path_factory.mktemp("flipped"), tiny_models)
    yield Played(project)
    project.stop()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_verify_names_any_file_that_is_damaged(played, damage):
    groups = played.files()
    assert len(groups) > 20
    for names in groups:
        played.damaged(names[0], damage)
        problems = verify(played.store)
        assert any(each.startswith(f"{name}:") for name in names for each in problems), (names, problems)
    played.restore()
    assert verify(played.store) == []


def test_verify_names_any_file_whose_bytes_are_those_of_another(played):
    """Of each folder, two files that differ are exchanged: both are whole, and both in the wrong place."""
    pairs = {}
    for names in played.files():
        for name in names:
            pairs.setdefault(name.rpartition("/")[0] if not name.startswith(".") else ".store", []).append(name)
    exchanged = 0
    for names in pairs.values():
        for one, other in pairwise(names):
            if (played.original / one).read_bytes() == (played.original / other).read_bytes():
                continue
            copy(played.original, played.root)
            spare = played.root / "spare"
            (played.root / one).rename(spare)
            (played.root / other).rename(played.root / one)
            spare.rename(played.root / other)
            problems = verify(played.store)
            assert any(each.startswith((one, other)) for each in problems), (one, other, problems)
            exchanged += 1
    played.restore()
    assert exchanged > 15


def test_verify_names_any_file_that_is_missing_and_none_that_is_not(played):
    for names in played.files():
        for name in names:
            if name.startswith(".store") or "/runs/" in name:
                continue  # nothing needs them: a byte may be kept twice, a run may ask for a number again
            copy(played.original, played.root)
            (played.root / name).unlink()
            last = name.endswith(
                ("releases/000002.json", "approvals/000002.json", "acceptances/000001.json", "heads/000002.json")
            )
            if not last or "approvals" in name:  # that a chain's last record is gone shows in nothing else
                assert verify(played.store), name
    played.restore()


def refuses(act):
    """The error that it refuses with, before it has changed anything."""
    try:
        act()
    except PipelineError as error:
        return error
    return None


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_promotion_rollback_and_serving_refuse_what_is_damaged(played, damage):
    """Each refuses what it would build on; none is stopped by damage that it has nothing to do with."""
    project = played.project
    promoted = ("test/thirds/3/", "production/thirds/approvals/", "production/thirds/releases/")
    served = ("production/thirds/2/", "production/thirds/releases/000002.json")
    back = ("production/thirds/1/", "production/thirds/releases/")
    seen = {"promotion": 0, "serving": 0, "rollback": 0}
    for names in played.files():
        used = {kind for kind, places in (("promotion", promoted), ("serving", served), ("rollback", back))
                if any(name.startswith(places) and not name.endswith("claim.json") for name in names)}  # fmt: skip
        for kind in used:
            played.damaged(names[0], damage)
            before = project.tree()
            error = refuses({
                "promotion": lambda: project.promote(3, played.token, played.store),
                "serving": played.serve,
                "rollback": lambda: project.rollback(1),
            }[kind])  # fmt: skip
            assert isinstance(error, Corrupt), (kind, names, error)
            assert project.tree() == before, (kind, names)
            seen[kind] += 1
    played.restore()
    assert min(seen.values()) >= 4, seen
    status, body = project.ask(LEFT)
    assert (status, body["version"]) == (200, 2)  # all the time the API has answered


def test_damage_that_a_promotion_does_not_meet_does_not_hinder_it(played):
    """A damaged file of version 1 does not keep anybody on version 2."""
    played.project.stop()  # the folder is another one now, and a fenced API reads the one that was there when it started
    played.damaged("test/thirds/1/model.tflite", lambda path: (path.unlink(), path.write_bytes(b"damaged")))
    assert played.project.promote(3, played.token, played.store).version == 3
    assert played.project.rollback(2).version == 2
    played.restore_older()


def test_a_release_whose_bytes_are_corrupted_after_it_was_written_is_not_served_and_the_one_before_is(played):
    """The API sees a newer release, finds that its bytes are not those of the manifest, says so, and keeps the old one."""
    project, store = played.project, played.store
    played.restore_older()
    project.promote(2, store=store) if releases.live(store, MODEL).version != 2 else project.rollback(2)
    before = project.ask(LEFT)[1]["release"]
    releases.copy_to_production(store, MODEL, 3)
    model = played.root / "production/thirds/3/model.tflite"
    data = model.read_bytes()
    model.unlink()
    model.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    latest = releases.latest(store, MODEL).number
    digest = candidates.manifest_digest(store, MODEL, 3)
    approval = releases.append_approval(store, approval_draft(MODEL, 3, digest, "token of 3"))
    append_release(store, MODEL, 3, approval=approval.number)
    assert "model.tflite" in why_not_served(project, latest + 1)
    status, body = project.ask(LEFT)
    assert (status, body["release"], body["version"]) == (200, before, 2)
    assert any("production/thirds/3/model.tflite" in each for each in verify(store))
    model.unlink()
    shutil.copyfile(played.root / "test/thirds/3/model.tflite", model)  # from a backup
    assert verify(store) == []
    end = time.monotonic() + 60
    while project.ask(LEFT)[1]["version"] != 3:  # the API tries it again by itself
        assert time.monotonic() < end
        time.sleep(0.2)


def why_not_served(project, release):
    """What the workers say about a release, once all of them have refused it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        workers = open_deployment(project.config).version()["workers"]
        if workers and all(each["state"] == "failed" for each in workers):
            return workers[0]["error"]
        time.sleep(0.1)
    raise AssertionError(f"no worker has refused release {release}")


def test_the_command_names_the_file_and_ends_with_2(played):
    played.damaged("production/thirds/1/card.json", flipped)
    config = played.project.folder / "trainyard.toml"
    config.write_text(
        f'model = "{MODEL}"\nhome = "{played.project.config.home}"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n'
        f'[registry]\nurl = "file://{played.root}"\n', encoding="utf-8"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-m", "pipelines", "registry", "verify", "--json", "--config", str(config)],
        capture_output=True, text=True, check=False, cwd=played.project.folder,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert any("production/thirds/1/card.json" in each for each in json.loads(done.stdout)["problems"])
    played.restore()
    assert release_before(releases.releases(played.store, MODEL)).version == 1
