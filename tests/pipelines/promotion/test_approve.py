"""How many people have approved, counted in a registry: who is missing, what is recorded, what is used up."""

from dataclasses import replace

import pytest
from promotion_parts import MODEL, Project
from versions import append_release, approval_draft

from pipelines.approvals import signed
from pipelines.approvals.people import approvers
from pipelines.approvals.policy import seen_on_console
from pipelines.config.schema import ApprovalPolicy
from pipelines.promotion.approve import must_be_approved, must_be_unused, read_approval, recorded_approval
from pipelines.promotion.request import Request
from registry import candidates, releases
from registry.errors import Rejected
from registry.records import Approval, utc_now
from registry.signatures import make_key

ADA, GRACE = make_key(), make_key()
BUILD = "https://jenkins.example/job/thirds/job/promotion/12/"


class Team(Project):
    """A project whose approvals are counted and appended as `promote` does it, without an API."""

    def rule(self, *people, needed=1, authors=True):
        self.config = replace(self.config, approval=ApprovalPolicy(7.0, people, needed, authors))

    def approve(self, version, text="", seen="ada@laptop", by="", way="token"):
        """The numbers of the approvals that make a release."""
        candidate, digest = candidates.read_manifest(self.store, MODEL, version)
        request = Request(MODEL, version, text or self.token(version), by or seen, seen, way)
        approval, history = read_approval(self.config, request, digest), releases.read_history(self.store, MODEL)
        must_be_unused(approval, history)
        return must_be_approved(self.store, self.config, candidate, approval, history).append(self.store, history)

    def release(self, version, numbers, **fields):
        releases.copy_to_production(self.store, MODEL, version)
        return append_release(self.store, MODEL, version, approval=numbers[0], also_approved=numbers[1:], **fields)

    def sign(self, signer, version, by="Ada", days=7.0):
        return signed.sign(signer, MODEL, version, candidates.manifest_digest(self.store, MODEL, version), by, days)

    @property
    def approvals(self):
        return releases.approvals(self.store, MODEL)


@pytest.fixture
def team(tmp_path):
    made = Team(tmp_path)
    made.publish(authors=("Edith <edith@company.example>",))
    return made


def test_the_record_says_who_was_seen_beside_what_was_said_and_in_which_way(team):
    team.rule()
    assert team.approve(1, seen="ada@laptop", by="Grace") == (1,)
    (given,) = team.approvals
    assert (given.by, given.seen, given.way, given.signed) == ("Grace", "ada@laptop", "token", "")


def test_a_signed_approval_is_recorded_with_its_text_and_its_key(team):
    team.rule(f"{ADA.public.text} ada")
    text = team.sign(ADA, 1, by="Ada L")
    assert team.approve(1, text, seen="grace@laptop", by="Grace") == (1,)
    (given,) = team.approvals
    assert (given.by, given.seen, given.way, given.signed) == ("Ada L", ADA.public.id, "key", text)


def test_two_people_approve_and_the_second_one_makes_the_release(team):
    team.rule(needed=2)
    token = team.token(1)
    with pytest.raises(
        Rejected, match="of ada@laptop is recorded as number 1; 1 more person must approve thirds"
    ) as no:
        team.approve(1, token, "ada@laptop")
    assert no.value.exit_code == 3
    assert "by another login, or a key" in no.value.hint
    with pytest.raises(
        Rejected, match=r"^ada@laptop has approved before; 1 more person must approve thirds version 1$"
    ):
        team.approve(1, token, "ada@laptop")
    twice = r"must approve thirds version 1 \(ada@laptop is the same person as ada@laptop, and counts once\)$"
    with pytest.raises(Rejected, match=twice):
        team.approve(1, team.token(1), "ada@laptop")  # by another token
    with pytest.raises(Rejected, match="1 more person"):
        team.approve(1, seen="ADA@server")
    assert [each.number for each in team.approvals] == [1]
    assert team.approve(1, token, "grace@laptop") == (2, 1)  # one mail with one token goes to both of them
    made = team.release(1, (2, 1))
    assert made.approvals == (2, 1)
    with pytest.raises(Rejected, match="was used for release 1"):
        team.approve(1, token, "edith@laptop")
    assert releases.read_history(team.store, MODEL).unused(made.card) == []


def test_who_is_still_asked_is_named(team):
    team.rule("ada", "grace", f"{ADA.public.text} edith@company.example", needed=2)
    with pytest.raises(Rejected, match="1 more person") as no:
        team.approve(1, seen=f"ada, {BUILD}", way="jenkins")
    assert "by one of grace, edith@company.example, makes the release" in no.value.hint
    team.rule("ada", "grace", "edith", needed=3)
    with pytest.raises(Rejected, match="2 more people"):
        team.approve(1, seen=f"ada, {BUILD}", way="jenkins")
    assert len(team.approvals) == 1


def test_who_may_not_approve_leaves_no_record(team):
    team.rule("ada", authors=False)
    with pytest.raises(Rejected, match="does not count: eve@laptop is not among") as no:
        team.approve(1, seen="eve@laptop")
    assert no.value.exit_code == 3
    team.rule(authors=False)
    with pytest.raises(Rejected, match=r"edith@laptop is an author of this version: Edith <edith@company.example>"):
        team.approve(1, seen="edith@laptop")
    assert team.approvals == []


def test_a_version_whose_authors_are_not_known_is_not_approved_where_authors_may_not(team):
    team.publish(authors=None)
    team.rule(authors=False)
    with pytest.raises(Rejected, match="not known who made the commits") as no:
        team.approve(2)
    assert "run code --force" in no.value.hint
    team.rule()
    assert team.approve(2) == (1,)


def test_approvals_of_a_release_that_failed_count_again(team):
    team.rule(needed=2)
    with pytest.raises(Rejected, match="recorded as number 1"):
        team.approve(1, seen="ada@laptop")
    token = team.token(1)
    numbers = team.approve(1, token, seen="grace@laptop")
    team.release(1, numbers)
    append_release(team.store, MODEL, None, kind="withdrawal", by="trainyard")
    assert team.approve(1, token, seen="grace@laptop") == numbers == (2, 1)
    team.release(1, numbers)
    with pytest.raises(Rejected, match="was used for release 3"):
        team.approve(1, token, seen="grace@laptop")
    with pytest.raises(Rejected, match="recorded as number 3; 1 more person"):  # that of ada is used up, too
        team.approve(1, seen="grace@laptop")


def test_a_record_that_claims_a_signature_it_does_not_have_does_not_count(team):
    team.rule(f"{ADA.public.text} ada", f"{GRACE.public.text} grace", needed=2)
    text = team.sign(ADA, 1)
    with pytest.raises(Rejected, match="recorded as number 1; 1 more person"):
        team.approve(1, text)
    (real,) = team.approvals
    other = team.sign(GRACE, 1, by="Grace")
    for number, forged in enumerate((real, replace(real, signed=other), replace(real, signed=""))):
        releases.append_approval(team.store, replace(forged, token=f"token {number}", seen=GRACE.public.id))
    assert len(team.approvals) == 4
    with pytest.raises(Rejected, match="1 more person"):
        team.approve(1, text)
    assert team.approve(1, other)[1:] == (1,)


def test_a_signed_approval_that_has_expired_does_not_count_any_more(team):
    team.rule(f"{ADA.public.text} ada", f"{GRACE.public.text} grace", needed=2)
    old = team.sign(ADA, 1, days=-0.1)
    with pytest.raises(Rejected, match="expired at"):
        team.approve(1, old)
    assert team.approvals == []


def test_a_signed_approval_that_was_recorded_and_has_expired_since_does_not_count(team):
    team.rule(f"{ADA.public.text} ada", f"{GRACE.public.text} grace", needed=2)
    digest = candidates.manifest_digest(team.store, MODEL, 1)
    text = team.sign(ADA, 1, days=-0.1)
    said, key = signed.check(text, approvers(team.config.approval.approvers), MODEL, 1, digest)
    old = Approval(0, MODEL, 1, digest, said.id, said.by, said.at, "", "key", seen=key.id, signed=text)
    releases.append_approval(team.store, old)
    with pytest.raises(Rejected, match="recorded as number 2; 1 more person must approve"):
        team.approve(1, team.sign(GRACE, 1))


def test_the_caller_comes_first_also_when_others_have_approved_before(team):
    """An approval that was recorded by a promotion that was stopped must not replace that of the caller."""
    team.rule()
    assert team.approve(1, seen="ada@laptop") == (1,)
    assert team.approve(1, seen="grace@laptop") == (2,)
    assert [each.seen for each in team.approvals] == ["ada@laptop", "grace@laptop"]


def recorded(team, version):
    candidate, digest = candidates.read_manifest(team.store, MODEL, version)
    history = releases.read_history(team.store, MODEL)
    approval = recorded_approval(team.config, candidate, digest, history)
    must_be_unused(approval, history)
    return must_be_approved(team.store, team.config, candidate, approval, history).append(team.store, history)


def on_console(team, version, login, token="once"):
    digest = candidates.manifest_digest(team.store, MODEL, version)
    seen = seen_on_console(login, "password")
    draft = approval_draft(MODEL, version, digest, token, login, at=utc_now(), way="token", seen=seen)
    return releases.append_approval(team.store, draft)


def test_an_approval_that_the_registry_has_makes_the_release_without_a_token(team):
    team.rule("ada")
    with pytest.raises(Rejected, match="nobody has approved thirds version 1 yet"):
        recorded(team, 1)
    on_console(team, 1, "ada")
    assert recorded(team, 1) == (1,)
    assert len(team.approvals) == 1
    team.release(1, (1,))
    team.publish()
    team.release(2, team.approve(2))
    with pytest.raises(Rejected, match="was used for release 1"):
        recorded(team, 1)


def test_a_recorded_approval_that_does_not_count_is_passed_over(team):
    team.rule("ada")
    on_console(team, 1, "ada", "one")
    on_console(team, 1, "eve", "two")
    assert recorded(team, 1) == (1,)
    team.rule("grace")
    with pytest.raises(Rejected, match=r"eve .* is not among"):
        recorded(team, 1)


def test_recorded_approvals_are_counted_as_any_others(team):
    team.rule(needed=2)
    on_console(team, 1, "ada", "one")
    with pytest.raises(Rejected, match="1 more person must approve"):
        recorded(team, 1)
    on_console(team, 1, "grace", "two")
    assert set(recorded(team, 1)) == {1, 2}
