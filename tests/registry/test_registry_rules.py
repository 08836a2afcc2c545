"""Whatever people and pipelines do in whatever order: what the registry says agrees with a few plain lists."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from registry_parts import MemoryStore, acceptance, promote, publish, release
from versions import approval_draft

from registry import candidates, releases
from registry.errors import ConfigError, Rejected, TryAgain
from registry.stores import open_store
from registry.verify import inspect

RUNS = st.sampled_from([f"run-{number}" for number in range(8)])
ANY = st.integers(0, 1000)


class Registry(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="registry-rules-"))
        self.store = self.open()
        self.claimed = {}  # run → version
        self.published = []
        self.tests = {}  # version → outcomes
        self.tokens = {}  # token → version
        self.released = []

    def open(self):
        return MemoryStore(self.folder / "local")

    def teardown(self):
        shutil.rmtree(self.folder)

    def pick(self, versions, any_number):
        return sorted(versions)[any_number % len(versions)]

    def tested_and_promoted(self, version, token):
        if True not in self.tests.get(version, []):
            self.tests.setdefault(version, []).append(True)
        promote(self.store, version, token)

    @rule(run=RUNS)
    def claim(self, run):
        version = candidates.claim(self.store, "digits", run)
        assert version == self.claimed.setdefault(run, len(self.claimed) + 1)

    @rule(run=RUNS)
    def publish(self, run):
        version = publish(self.store, self.folder, run)
        assert version == self.claimed.setdefault(run, len(self.claimed) + 1)
        self.published = sorted({*self.published, version})

    @precondition(lambda self: self.published)
    @rule(which=ANY, accepted=st.booleans())
    def accept(self, which, accepted):
        version = self.pick(self.published, which)
        candidates.append_acceptance(self.store, acceptance(self.store, version, accepted=accepted))
        self.tests.setdefault(version, []).append(accepted)

    @precondition(lambda self: self.published)
    @rule(which=ANY, token=st.sampled_from("abcd"))
    def promote(self, which, token):
        version = self.pick(self.published, which)
        if self.tokens.setdefault(token, version) != version:
            with pytest.raises(Rejected):
                self.tested_and_promoted(version, token)
        elif any(each.token == token for each in releases.approvals(self.store, "digits")):
            digest = candidates.manifest_digest(self.store, "digits", version)
            promote_again = releases.append_approval(self.store, approval_draft("digits", version, digest, token))
            assert promote_again.version == version
        else:
            self.tested_and_promoted(version, token)
            self.released.append(version)

    @precondition(lambda self: self.published)
    @rule(which=ANY, times=st.integers(1, 3))
    def promote_what_fails_to_deploy(self, which, times):
        """Each time it is reverted, or withdrawn, and its approval is still good for the next try."""
        version, token = self.pick(self.published, which), f"token {len(self.released)}"
        before = next((each for each in reversed(self.released) if each not in {None, version}), None)
        for _ in range(times):
            self.tested_and_promoted(version, token)
            release(self.store, before, kind="revert" if before else "withdrawal")
            self.released += [version, before]

    @precondition(lambda self: any(self.released))
    @rule(which=ANY)
    def roll_back(self, which):
        version = self.pick([each for each in self.released if each], which)
        release(self.store, version)
        self.released.append(version)

    @precondition(lambda self: self.released)
    @rule()
    def withdraw(self):
        release(self.store, None)
        self.released.append(None)

    @precondition(lambda self: self.published)
    @rule(which=ANY, after=st.integers(0, 30))
    def release_blindly(self, which, after):
        version = self.pick(self.published, which)
        if after == len(self.released):
            return
        digest = candidates.manifest_digest(self.store, "digits", version)
        with pytest.raises((TryAgain, ConfigError)):
            release(self.store, version, card=digest, by="eve", after=after)

    @invariant()
    def the_lists_agree(self):
        assert candidates.versions(self.store, "digits") == self.published
        assert candidates.newest(self.store, "digits") == max(self.published, default=None)
        assert [each.version for each in releases.releases(self.store, "digits")] == self.released
        live = releases.live(self.store, "digits")
        assert (live.version if live else None) == (self.released[-1] if self.released else None)
        for version in self.published:
            tried = candidates.acceptances(self.store, "digits", version)
            assert [each.accepted for each in tried] == self.tests.get(version, [])

    @invariant()
    def nothing_is_wrong(self):
        report = inspect(self.store)
        assert report.problems == ()
        unfinished = [each for each in report.notes if "was begun" in each and each.startswith("test/")]
        assert len(unfinished) == len(self.claimed) - len(self.published)


class FolderRegistry(Registry):
    def open(self):
        return open_store(f"file://{self.folder / 'registry'}")


class TestRulesInMemory(Registry.TestCase):
    settings = settings(max_examples=30, stateful_step_count=20)


class TestRulesOnDisk(FolderRegistry.TestCase):
    settings = settings(max_examples=5, stateful_step_count=20)
