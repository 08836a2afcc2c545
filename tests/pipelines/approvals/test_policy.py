"""Who may approve, how many must, and that one person counts once, however that person approves."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from versions import approval_draft

from pipelines.approvals.people import approvers, is_same_login, names
from pipelines.approvals.policy import decide, in_words, login_on_console, seen_on_console, still_asked, who, why_not
from pipelines.config.schema import ApprovalPolicy
from registry.signatures import make_key

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADA, GRACE, EDITH = (make_key().public for _ in range(3))
BUILD = "https://jenkins.example/job/digits/job/promotion/12/"


def token(seen, by="", days=1.0, number=0):
    at = (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    draft = approval_draft("digits", 1, "c" * 64, "t", by or seen, at=at, way="token", seen=seen)
    return replace(draft, number=number)


def jenkins(login, **fields):
    return replace(token(f"{login}, {BUILD}", **fields), way="jenkins")


def key(public, by="ada", **fields):
    return replace(token(public.id, by, **fields), way="key")


def console(login, address="", how="password", by="", **fields):
    return token(seen_on_console(login_on_console(login, address), how), by, **fields)


def policy(*people, needed=1, authors=True):
    return ApprovalPolicy(7.0, people, needed, authors)


def objection(approval, rule, authors=()):
    found = why_not(approval, rule, authors, NOW)
    assert found is None or found.hint
    return found and found.reason


def test_without_approvers_whoever_holds_the_token_approves():
    for each in (token("ada@laptop"), jenkins("ada"), token("", "anybody")):
        assert decide([each], policy(), None, NOW).approved


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        ("ada", token("ada@laptop")),
        ("Ada@Laptop", token("ada@laptop")),
        ("ada", jenkins("ada")),
        ("ada@company.example", jenkins("Ada@company.example")),
        ("Ada Lovelace <ada@company.example>", jenkins("ada@company.example")),
        (f"{ADA.text} ada@company.example", key(ADA)),
        (ADA.text, key(ADA)),
    ],
    ids=["account", "account@machine", "Jenkins", "address", "name and address", "key", "key without a comment"],
)
def test_who_is_listed_may_approve(listed, given):
    assert objection(given, policy("edith", listed)) is None


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        ("ada", token("eve@laptop", by="ada")),
        ("ada", jenkins("eve", by="ada")),
        ("ada@company.example", token("ada@laptop")),
        ("ada@company.example", jenkins("ada")),
        ("ada@company.example", jenkins("ada@evil.example")),
        ("ada", token("ada.evil@laptop")),
        (f"{ADA.text} ada", token("ada@laptop")),
        (f"{ADA.text} ada", key(GRACE, by="ada")),
        ("ada", key(ADA, by="ada")),
        ("ada", token("", by="ada")),
        ("ada", replace(token("", by="ada"), way="unknown")),
    ],
    ids=[
        "says to be ada", "says so in Jenkins", "another machine's account", "a login that is not the address",
        "another company's ada", "a longer name", "a key's owner by login", "another key", "a key that is not listed",
        "nobody was seen", "a record from before",
    ],
)  # fmt: skip
def test_who_is_not_listed_may_not_whatever_the_caller_says(listed, given):
    assert objection(given, policy(listed)) == "is not among [approval] approvers"


def test_a_key_that_nobody_lists_approves_nothing_also_without_approvers():
    assert objection(key(ADA), policy()) == "is not among [approval] approvers"


def test_a_key_and_a_login_are_two_entries_of_one_person():
    rule = policy(f"{ADA.text} ada@company.example", "ada", "grace", needed=2)
    both = [key(ADA, by="somebody"), jenkins("ada")]
    decision = decide(both, rule, (), NOW)
    assert (decision.approved, decision.missing, decision.counted) == (False, 1, (both[0],))
    assert "is the same person as somebody (key" in decision.reasons[0]
    assert still_asked(decision, rule, ()) == ("grace",)
    assert decide([*both, token("grace@server")], rule, (), NOW).approved


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (token("ada@laptop"), token("ada@server")),
        (token("ci@server", by="ada@company.example"), token("ci@server", by="grace@company.example")),
        (token("ada@laptop"), jenkins("ada")),
        (token("x@laptop", by="ada@company.example"), jenkins("ada@company.example")),
        (jenkins("ADA"), jenkins("ada")),
    ],
    ids=["two machines", "one account that says two names", "token and Jenkins", "by git's address", "two cases"],
)
def test_one_person_counts_once(one, other):
    decision = decide([one, other], policy(needed=2), None, NOW)
    assert decision.counted == (one,)
    assert decision.reasons == (f"{who(other)} is the same person as {who(one)}, and counts once",)


def test_two_people_are_two():
    two = [token("ada@laptop"), jenkins("grace")]
    assert decide(two, policy(needed=2), None, NOW).counted == tuple(two)
    assert not decide(two, policy(needed=3), None, NOW).approved


def test_two_keys_are_two_people_unless_they_have_one_owner():
    said = [key(ADA, by="x"), key(GRACE, by="x")]  # what a statement says of its author is not proof
    assert decide(said, policy(f"{ADA.text} ada", f"{GRACE.text} grace", needed=2), (), NOW).approved
    assert not decide(said, policy(f"{ADA.text} ada", f"{GRACE.text} ada", "edith", needed=2), (), NOW).approved
    assert not decide([said[0], said[0]], policy(ADA.text, GRACE.text, needed=2), (), NOW).approved


@pytest.mark.parametrize(
    ("given", "author"),
    [
        (token("ada@laptop"), "Ada Lovelace <ada@company.example>"),
        (token("x@laptop", by="ADA@company.example"), "Ada Lovelace <ada@company.example>"),
        (jenkins("ada.lovelace"), "Ada <ada.lovelace@company.example>"),
        (jenkins("Ada Lovelace"), "ada  lovelace <al@company.example>"),
        (jenkins("ada"), "ada <1234+ada@users.noreply.example>"),
        (key(ADA, by="x"), "Ada Lovelace <ada@company.example>"),
    ],
    ids=["account", "address of git", "login", "full name", "address with a number", "owner of a key"],
)
def test_an_author_may_approve_only_where_the_policy_says_so(given, author):
    people = ("ada@company.example", f"{ADA.text} ada@company.example") if given.way == "key" else ()
    authors = ("Grace <grace@company.example>", author)
    assert objection(given, policy(*people), authors) is None
    assert objection(given, policy(*people, authors=False), authors) == f"is an author of this version: {author}"
    assert objection(given, policy(*people, authors=False), authors[:1]) is None


def test_where_authors_may_not_and_are_not_known_nobody_is_approved():
    strict = policy(ADA.text, authors=False)
    assert "it is not known who made the commits" in objection(key(ADA), strict, None)
    assert "the key has no name" in objection(key(ADA), strict, ("grace <g@x>",))
    assert objection(key(ADA), policy(f"{ADA.text} ada", authors=False), ()) is None


def test_authors_are_not_asked_for_an_approval():
    rule = policy("ada", "grace", f"{EDITH.text} edith", needed=2, authors=False)
    decision = decide([jenkins("grace")], rule, ("Ada <ada@x>",), NOW)
    assert still_asked(decision, rule, ("Ada <ada@x>",)) == ("edith",)
    assert still_asked(decide([], policy(), (), NOW), policy(), ()) == ()


def test_authors_who_may_approve_are_still_asked():
    for authors, asked in ((True, ("ada", "grace")), (False, ("grace",))):
        rule = policy("ada", "grace", authors=authors)
        assert still_asked(decide([], rule, (), NOW), rule, ("Ada <ada@x>",)) == asked


def test_only_of_what_jenkins_says_the_first_part_is_a_login():
    assert objection(jenkins("ada"), policy("ada")) is None
    assert objection(token("ada, on her laptop"), policy("ada")) == "is not among [approval] approvers"


def test_an_approval_counts_for_the_days_of_the_policy():
    assert objection(token("ada@laptop", days=7), policy()) is None
    assert objection(token("ada@laptop", days=6.99), policy()) is None
    assert "more than 7 days ago" in objection(token("ada@laptop", days=7.01), policy())
    assert objection(token("ada@laptop", days=7.01), replace(policy(), valid_days=8.0)) is None


PEOPLE = [make(name) for name in ("ada", "grace", "edith") for make in (jenkins, lambda name: token(f"{name}@laptop"))]


@given(st.lists(st.sampled_from(PEOPLE), max_size=8), st.integers(1, 4), st.sets(st.sampled_from(["ada", "grace"])))
def test_so_many_different_people_who_may_are_counted_in_whatever_order(approvals, needed, authors):
    rule = policy("ada", "grace", needed=needed, authors=False)
    decision = decide(approvals, rule, [f"{each} <{each}@company.example>" for each in authors], NOW)
    people = {who(each).partition("@")[0].partition(",")[0] for each in approvals}
    assert len(decision.counted) == len(people & {"ada", "grace"} - authors)
    assert decision.approved == (len(decision.counted) >= needed)
    assert decision.missing == max(0, needed - len(decision.counted))
    assert len(decision.counted) + len(decision.reasons) == len(approvals)
    backwards = decide(approvals[::-1], rule, [f"{each} <{each}@company.example>" for each in authors], NOW)
    assert len(backwards.counted) == len(decision.counted)


def test_a_person_is_shown_as_the_system_saw_beside_what_was_said():
    assert who(token("ada@laptop")) == "ada@laptop"
    assert who(token("ada@laptop", by="ada@company.example")) == "ada@company.example (seen as ada@laptop)"
    assert who(jenkins("ada", by="ada")) == f"ada, {BUILD}"
    assert who(key(ADA, by="Ada")) == f"Ada (key {ADA.short})"
    assert who(replace(token("", by="ada"), way="unknown")) == "ada"


def test_the_names_of_a_person():
    assert names("Ada Lovelace <Ada+work@Company.example>") == {
        "ada lovelace <ada+work@company.example>", "ada lovelace", "ada+work@company.example", "ada+work", "ada", "work",
    }  # fmt: skip
    assert names("", " ") == frozenset()
    assert not is_same_login("", "")
    assert [(each.name, each.key == ADA.text, each.key_id) for each in approvers((f"{ADA.text} ada x", "grace "))] == [
        ("ada x", True, ADA.id),
        ("grace", False, ""),
    ]


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (policy(), ""),
        (policy("ada", f"{ADA.text} ada", "grace"), "Only ada, grace may approve it."),
        (policy(needed=2), "2 different people must approve it: each one runs this command."),
        (
            policy("ada", "grace", needed=2, authors=False),
            "2 different people, of ada, grace, must approve it: each one runs this command. Those who made its commits may not.",
        ),
    ],
    ids=["anybody", "listed people", "two people", "two who are listed, and no author"],
)
def test_the_mail_says_who_must_approve(rule, said):
    assert in_words(rule) == said


MONITOR = "the monitor, by [monitoring] auto_promote: run 0123456789ab after alarm 4, drift inputs.mass; ada@gpu1"


def test_the_monitor_approves_only_where_no_setting_demands_people():
    assert objection(token(MONITOR), policy()) is None
    for rule, setting in (
        (policy("ada"), "[approval] approvers"),
        (policy(needed=2), "[approval] needed = 2"),
        (policy(authors=False), "[approval] author_may_approve = false"),
    ):
        assert objection(token(MONITOR), rule) == f"is not a person, as {setting} demands"
    assert objection(token(MONITOR), policy("ada", needed=2)).endswith("approvers and [approval] needed = 2 demands")


def test_who_only_says_so_is_not_the_monitor():
    assert objection(token("ada@laptop", MONITOR), policy(needed=2)) is None
    assert objection(jenkins("the monitor"), policy(needed=2)) is None
    assert objection(token("the monitor"), policy(needed=2)) is None


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        ("ada", console("ada")),
        ("Ada", console("ada", "ada@elsewhere.example")),
        ("ada@company.example", console("lovelace", "Ada@company.example", "oidc")),
        ("Ada Lovelace <ada@company.example>", console("x", "ada@company.example")),
        ("ada, by the sea", console("ada, by the sea")),
    ],
    ids=["login", "login beside an address", "address", "name and address", "a login with our own words"],
)
def test_who_is_listed_may_approve_on_the_console(listed, given):
    assert objection(given, policy("edith", listed)) is None


@pytest.mark.parametrize(
    ("listed", "given"),
    [
        ("ada", console("eve", by="ada")),
        ("ada", console("eve", "ada@elsewhere.example", "oidc")),
        ("ada", console("ada@elsewhere.example", how="oidc")),
        ("ada@company.example", console("eve <ada@company.example>", how="oidc")),
        ("ada@company.example", console("eve", "eve@x.example> <ada@company.example", "oidc")),
        ("ada", replace(console("ada"), way="jenkins")),
        ("ada", token("the console, ada", by="ada")),
    ],
    ids=[
        "only said",
        "account elsewhere",
        "login elsewhere",
        "address in a login",
        "two addresses",
        "Jenkins",
        "no way",
    ],
)
def test_who_is_not_listed_may_not_approve_on_the_console(listed, given):
    assert "not among" in objection(given, policy(listed))


def test_on_the_console_an_author_is_known_by_login_and_address():
    rule = policy(authors=False)
    for approval in (
        console("ada"),
        console("x", "ada@elsewhere.example"),
        console("ada+work@company.example", how="oidc"),
    ):
        assert "is an author" in objection(approval, rule, ("Ada Lovelace <ada@company.example>",))
    assert objection(console("grace", "grace@company.example"), rule, ("Ada <ada@company.example>",)) is None


def test_two_sign_ins_of_one_person_count_once():
    given = (console("ada", "ada@company.example"), console("ada@company.example", how="oidc"), token("ada@laptop"))
    assert len(decide(given, policy(needed=3), (), NOW).counted) == 1


def test_messages_say_how_somebody_has_signed_in():
    assert who(console("ada", "ada@company.example", "oidc")) == (
        "ada <ada@company.example> (on the console, signed in by oidc)"
    )


@given(st.text(max_size=30), st.text(max_size=30), st.sampled_from(["edith", "edith@company.example"]))
def test_no_login_and_no_address_make_somebody_else_an_approver(login, address, listed):
    if listed in {" ".join(each.replace("<", "").replace(">", "").casefold().split()) for each in (login, address)}:
        return
    assert "not among" in objection(console(login, address, "oidc"), policy(listed))
