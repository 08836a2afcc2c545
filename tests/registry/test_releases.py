"""The highest release is live; records are only appended, each after the one that its writer saw."""

from dataclasses import replace

import pytest
from registry_parts import FILES, MemoryStore, OneKey, promote, publish, release
from versions import approval_draft, release_draft

from registry import candidates, codec, heads, releases
from registry.errors import ConfigError, Corrupt, Rejected, TryAgain
from registry.files import sha256_bytes
from registry.records import Release
from registry.signed_store import SignedStore
from registry.verify import inspect


@pytest.fixture
def version(store, tmp_path):
    return publish(store, tmp_path, "run")


def test_nothing_is_live_at_first(store):
    assert releases.live(store, "digits") is None
    assert releases.latest(store, "digits") is None
    assert releases.releases(store, "digits") == releases.approvals(store, "digits") == []


def test_a_promotion_makes_a_version_live(store, version):
    done = promote(store, version, "token")
    assert releases.live(store, "digits") == done
    assert (done.number, done.version, done.approval, done.previous) == (1, 1, 1, "")
    assert done.card == candidates.manifest_digest(store, "digits", version)
    folder = candidates.local_folder(store, "production", "digits", version, done.card)
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES


def test_a_rollback_is_a_new_release_and_a_withdrawal_too(store, version, tmp_path):
    promote(store, version, "one")
    promote(store, publish(store, tmp_path, "second"), "two")
    back = release(store, version)
    assert releases.live(store, "digits") == back
    gone = release(store, None)
    assert releases.live(store, "digits") is None
    assert releases.latest(store, "digits") == gone
    assert [each.version for each in releases.releases(store, "digits")] == [1, 2, 1, None]
    again = release(store, version)
    assert releases.live(store, "digits") == again
    assert again.previous == sha256_bytes(store.get("production/digits/releases/000004.json"))


def test_who_saw_an_older_release_must_check_again(store, version):
    done = promote(store, version, "token")
    for after in (0, 2):
        with pytest.raises(TryAgain, match="digits was released by a concurrent writer"):
            release(store, version, after=after, by="bob")
    assert releases.releases(store, "digits") == [done]


def test_what_is_not_in_production_cannot_be_released(store, version):
    digest = candidates.manifest_digest(store, "digits", version)

    def act(card):
        release(store, version, card=card, after=0)

    with pytest.raises(ConfigError, match="production/digits/1"):
        act(digest)
    releases.copy_to_production(store, "digits", version)
    with pytest.raises(Corrupt, match="production/digits/1"):
        act("0" * 64)
    assert releases.releases(store, "digits") == []


def test_copying_again_does_no_harm_and_resumes(store, version):
    store.create("production/digits/1/model.keras", FILES["model.keras"])  # as a killed promotion leaves it
    for _ in range(2):
        releases.copy_to_production(store, "digits", version)
    assert candidates.manifest_digest(store, "digits", 1, "production") == candidates.manifest_digest(
        store, "digits", 1
    )


def test_other_bytes_in_production_are_reported(store, version):
    store.create("production/digits/1/model.keras", b"other")
    with pytest.raises(Corrupt, match=r"production/digits/1/model\.keras"):
        releases.copy_to_production(store, "digits", version)


def test_a_version_that_does_not_exist_is_not_copied(store):
    with pytest.raises(ConfigError, match="no such version"):
        releases.copy_to_production(store, "digits", 7)


def test_altered_or_missing_files_are_not_copied(folder_store, tmp_path):
    publish(folder_store, tmp_path, "run")
    path = folder_store.path("test/digits/1/model.tflite")
    path.chmod(0o644)
    path.write_bytes(b"altered")
    with pytest.raises(Corrupt, match=r"test/digits/1/model\.tflite"):
        releases.copy_to_production(folder_store, "digits", 1)
    path.unlink()
    with pytest.raises(Corrupt, match=r"test/digits/1/model\.tflite: is missing"):
        releases.copy_to_production(folder_store, "digits", 1)
    assert "card.json" not in folder_store.names("production/digits/1")


def test_one_token_is_one_approval(store, version, tmp_path):
    digest = candidates.manifest_digest(store, "digits", version)
    first = releases.append_approval(store, approval_draft("digits", version, digest, "t"))
    assert releases.append_approval(store, approval_draft("digits", version, digest, "t")) == first
    other = publish(store, tmp_path, "second")
    with pytest.raises(Rejected, match="version 1 already"):
        releases.append_approval(
            store, approval_draft("digits", other, candidates.manifest_digest(store, "digits", other), "t", by="eve")
        )
    assert releases.approvals(store, "digits") == [first]


def test_an_approval_makes_one_release_and_of_its_own_manifest_only(store, version, tmp_path):
    promote(store, version, "token")
    other = publish(store, tmp_path, "second")
    releases.copy_to_production(store, "digits", other)
    for each, approval in ((version, 1), (other, 1), (other, 2)):
        with pytest.raises(Rejected, match=f"approval {approval}"):
            release(store, each, approval=approval)
    assert releases.live(store, "digits").number == 1


@pytest.mark.parametrize("before", [False, True], ids=["withdrawn", "reverted"])
def test_an_approval_whose_release_failed_is_not_used_up(store, version, tmp_path, before):
    if before:
        promote(store, version, "of what is live")
        version = publish(store, tmp_path, "second")
    failed = promote(store, version, "token")
    assert releases.read_history(store, "digits").release_with(failed.approval) == failed
    for _ in range(2):  # it may fail again, and is still not used up
        release(store, 1 if before else None, kind="revert" if before else "withdrawal", by="trainyard")
        assert releases.read_history(store, "digits").release_with(failed.approval) is None
        again = promote(store, version, "token")
        assert (again.approval, again.version) == (failed.approval, version)
        assert releases.read_history(store, "digits").release_with(failed.approval) == again
    assert inspect(store).problems == ()
    with pytest.raises(Rejected, match=f"approval {failed.approval} of digits was used for release {again.number}"):
        promote(store, version, "token")


def test_a_later_revert_does_not_free_the_approval_of_what_has_served(store, version, tmp_path):
    served = promote(store, version, "one")
    promote(store, publish(store, tmp_path, "second"), "two")
    release(store, version, kind="revert", by="trainyard")
    with pytest.raises(Rejected, match=f"was used for release {served.number}"):
        promote(store, version, "one")
    release(store, None, kind="withdrawal", by="trainyard")
    with pytest.raises(Rejected, match=f"was used for release {served.number}"):
        promote(store, version, "one")


def test_a_rollback_after_a_release_does_not_free_its_approval(store, version, tmp_path):
    promote(store, version, "one")
    second = promote(store, publish(store, tmp_path, "second"), "two")
    release(store, version)
    with pytest.raises(Rejected, match="was used for release 2"):
        promote(store, second.version, "two")


def test_nothing_is_appended_to_an_altered_history(folder_store, tmp_path):
    promote(folder_store, publish(folder_store, tmp_path, "run"), "token")
    path = folder_store.path("production/digits/releases/000001.json")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"ada", b"eve"))
    for act in (release, releases.live, releases.releases):
        with pytest.raises(Corrupt, match=r"production/digits/releases/000001\.json"):
            act(folder_store, 1) if act is release else act(folder_store, "digits")


def test_an_altered_record_with_a_new_checksum_breaks_the_chain(folder_store, tmp_path):
    promote(folder_store, publish(folder_store, tmp_path, "run"), "token")
    release(folder_store, 1)
    path = folder_store.path("production/digits/releases/000001.json")
    forged = path.read_bytes().replace(b'"by": "ada"', b'"by": "eve"')
    path.chmod(0o644)
    raw = codec.json.loads(forged)
    del raw["seal"], raw["schema"]
    path.write_bytes(codec.with_checksum(Release(**raw)))
    assert releases.live(folder_store, "digits").number == 2  # what is live does not depend on old history
    with pytest.raises(Corrupt, match=r"000002\.json: does not follow"):
        releases.releases(folder_store, "digits")


def test_a_missing_record_is_reported(folder_store, tmp_path):
    promote(folder_store, publish(folder_store, tmp_path, "run"), "token")
    release(folder_store, 1)
    release(folder_store, 1)
    folder_store.path("production/digits/releases/000002.json").unlink()
    with pytest.raises(Corrupt, match=r"000002\.json: is missing"):
        releases.releases(folder_store, "digits")


def test_the_approval_of_the_first_release_is_checked_too(store, version, tmp_path):
    other = publish(store, tmp_path, "other", files={"model.keras": b"others"})
    for each in (version, other):
        releases.copy_to_production(store, "digits", each)
    digest = candidates.manifest_digest(store, "digits", other)
    releases.append_approval(store, approval_draft("digits", other, digest, "token"))
    with pytest.raises(Rejected, match=f"approval 1 of digits is not about version {version}"):
        release(store, version, approval=1, after=0)
    assert releases.latest(store, "digits") is None


def test_who_lost_the_race_is_not_said_to_have_used_an_approval(store, version):
    promote(store, version, "token")
    with pytest.raises(TryAgain, match="released by a concurrent writer"):
        release(store, version, approval=1, after=0)


def test_a_history_that_has_grown_since_is_read_again_to_check_an_approval(store, version):
    before = releases.read_history(store, "digits")
    promote(store, version, "token")
    draft = release_draft("digits", version, candidates.manifest_digest(store, "digits", version), approval=1)
    with pytest.raises(Rejected, match="was used for release 1"):
        releases.append_release(store, draft, 1, before)


def test_the_latest_of_a_history_is_its_last(store, version):
    assert releases.read_history(store, "digits").latest is None
    promote(store, version, "token")
    gone = release(store, None)
    assert releases.read_history(store, "digits").latest == gone


def test_one_token_may_serve_several_people_and_each_of_them_once(store, version):
    digest = candidates.manifest_digest(store, "digits", version)

    def approve(seen, way="token"):
        return releases.append_approval(store, approval_draft("digits", version, digest, "t", seen=seen, way=way))

    ada, eve, key = approve("ada@laptop"), approve("eve@laptop"), approve("ada@laptop", "jenkins")
    assert [ada.number, eve.number, key.number] == [1, 2, 3]
    assert [approve("ada@laptop"), approve("eve@laptop"), approve("ada@laptop", "jenkins")] == [ada, eve, key]


def test_what_is_unused_are_the_approvals_of_this_manifest_that_no_release_has_used_up(store, version, tmp_path):
    other = publish(store, tmp_path, "second")
    digests = {each: candidates.manifest_digest(store, "digits", each) for each in (version, other)}
    for each, token in ((version, "a"), (version, "b"), (other, "c")):
        releases.append_approval(store, approval_draft("digits", each, digests[each], token))

    def unused(each):
        return [approval.number for approval in releases.read_history(store, "digits").unused(digests[each])]

    assert (unused(version), unused(other)) == ([1, 2], [3])
    releases.copy_to_production(store, "digits", version)
    release(store, version, approval=1, also_approved=(2,), after=0)
    assert (unused(version), unused(other)) == ([], [3])
    release(store, None, kind="withdrawal", by="trainyard")
    assert (unused(version), unused(other)) == ([1, 2], [3])


def test_an_approval_beside_another_one_is_used_up_too(store, version):
    digest = candidates.manifest_digest(store, "digits", version)
    for token in ("a", "b", "c"):
        releases.append_approval(store, approval_draft("digits", version, digest, token))
    releases.copy_to_production(store, "digits", version)
    made = release(store, version, approval=1, also_approved=(3,), after=0)
    history = releases.read_history(store, "digits")
    assert [history.release_with(number) for number in (1, 2, 3, 4)] == [made, None, made, None]
    for number in (1, 3):
        with pytest.raises(Rejected, match=f"approval {number} of digits was used for release 1"):
            release(store, version, approval=2, also_approved=(number,))
    with pytest.raises(Rejected, match="approval 9 of digits is not about version 1"):
        release(store, version, approval=2, also_approved=(9,))


class TestWhetherAPersonHasApproved:
    def approved(self, store, version, **fields):
        """Whether a release of this version that claims so is believed."""
        digest = candidates.manifest_digest(store, "digits", version)
        draft = release_draft("digits", version, digest, **fields)
        made = releases.release_chain(store, "digits").append(draft, releases.release_chain(store, "digits").last())
        try:
            releases.must_be_approved(store, made)
        except Corrupt as error:
            assert str(error) == (
                f"production/digits/releases/{made.number:06d}.json: nobody has approved version {version}"
            )
            return False
        return True

    def test_is_said_by_the_approval_that_it_names(self, store, version, tmp_path):
        other = publish(store, tmp_path, "other", files={"model.keras": b"others"})
        for each in (version, other):
            digest = candidates.manifest_digest(store, "digits", each)
            releases.append_approval(store, approval_draft("digits", each, digest, f"token {each}"))
        assert self.approved(store, version, approval=1)
        assert self.approved(store, other, approval=2)
        assert not self.approved(store, version, approval=2)
        assert not self.approved(store, version, approval=1, also_approved=(2,))

    def test_is_said_by_an_earlier_release_of_the_same_manifest(self, store, version, tmp_path):
        other = publish(store, tmp_path, "other", files={"model.keras": b"others"})
        promote(store, version, "token")
        assert self.approved(store, version)
        assert self.approved(store, version, kind="revert")
        assert not self.approved(store, other)

    def test_is_not_said_by_a_later_one(self, store, version):
        assert not self.approved(store, version)
        digest = candidates.manifest_digest(store, "digits", version)
        releases.append_approval(store, approval_draft("digits", version, digest, "token"))
        assert self.approved(store, version, approval=1)
        first = releases.release_chain(store, "digits").read(1)
        with pytest.raises(Corrupt, match="nobody has approved version 1"):
            releases.must_be_approved(store, first)

    def test_is_not_said_by_one_that_names_the_approval_of_another(self, store, version, tmp_path):
        other = publish(store, tmp_path, "other", files={"model.keras": b"others"})
        digest = candidates.manifest_digest(store, "digits", other)
        releases.append_approval(store, approval_draft("digits", other, digest, "token"))
        assert not self.approved(store, version, approval=1)
        assert not self.approved(store, version)


class TestOnASignedStore:
    @pytest.fixture
    def store(self, tmp_path):
        return SignedStore(MemoryStore(tmp_path / "local"), OneKey())

    def test_each_release_leaves_a_head(self, store, tmp_path):
        version = publish(store, tmp_path, "run")
        promote(store, version, "token")
        assert heads.newest(store, "digits").release == 1
        release(store, None)
        assert heads.newest(store, "digits").release == 2

    def test_nothing_is_released_while_something_is_missing_that_a_head_names(self, store, tmp_path):
        version = publish(store, tmp_path, "run")
        promote(store, version, "token")
        release(store, None)
        del store.unsigned._kept["production/digits/releases/000002.json"]
        with pytest.raises(Corrupt, match="releases"):
            release(store, version, after=1)
        assert releases.release_chain(store, "digits").last() == 1


def test_only_a_release_with_approvals_of_just_its_version_was_approved(store, version, tmp_path):
    promote(store, version, "one")
    second = publish(store, tmp_path, "second")
    made = promote(store, second, "two")
    back = release(store, version)
    known = releases.read_history(store, "digits")
    assert [known.was_approved(each) for each in known.releases] == [True, True, False]
    assert known.was_approved(replace(made, also_approved=(2,)))
    assert not known.was_approved(replace(made, also_approved=(1,))), "one of them is of another version"
    assert not known.was_approved(replace(made, also_approved=(9,))), "one of them is not there"
    assert not known.was_approved(replace(back, approval=2))
