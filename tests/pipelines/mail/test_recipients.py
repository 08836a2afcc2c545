"""Who gets the mail about a run that failed."""

from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.config.addresses import is_address
from pipelines.config.schema import Mail
from pipelines.mail.recipients import for_failure
from pipelines.repositories.changes import Changes, Commit

OWNER = Mail(to=("Olga <olga@company.example>",))


def changes(**addresses):
    return [Changes(name, tuple(Commit("a" * 40, "x", "y", each) for each in some)) for name, some in addresses.items()]


def test_it_is_the_authors_of_what_was_pushed():
    new = changes(
        code=["ada@company.example", "bo@company.example", "ada@company.example"], tests=["cy@company.example"]
    )
    assert for_failure(OWNER, "code", new) == ("ada@company.example", "bo@company.example")
    assert for_failure(OWNER, "tests", new) == ("cy@company.example",)


def test_of_a_push_without_a_new_commit_it_is_the_authors_of_whatever_else_is_new():
    assert for_failure(OWNER, "dataset", changes(code=["ada@company.example"])) == ("ada@company.example",)


@pytest.mark.parametrize(
    "address",
    ["", "ada", "ada@laptop", "ada@other.example", "ada@company.example, all@other.example", "a b@company.example"],
)
def test_without_an_author_that_may_be_written_to_it_is_the_owners(address):
    assert for_failure(OWNER, "code", changes(code=[address])) == OWNER.to
    assert for_failure(OWNER, "code", []) == OWNER.to


def test_domains_are_compared_without_case_and_can_be_set():
    new = changes(code=["ada@Team.Example"])
    assert for_failure(OWNER, "code", new) == OWNER.to
    settings = Mail(to=OWNER.to, author_domains=("team.example",))
    assert for_failure(settings, "code", new) == ("ada@Team.Example",)


def test_the_settings_can_send_it_to_the_owners_or_to_both():
    new = changes(code=["ada@company.example"])
    assert for_failure(Mail(to=OWNER.to, failures_to="owners"), "code", new) == OWNER.to
    assert for_failure(Mail(to=OWNER.to, failures_to="both"), "code", new) == (*OWNER.to, "ada@company.example")


def test_a_push_of_many_authors_goes_to_ten_of_them():
    new = changes(code=[f"a{number}@company.example" for number in range(50)])
    assert len(for_failure(OWNER, "code", new)) == 10


def test_an_address_that_no_server_takes_for_its_length_is_not_written_to():
    longest = "a" * 64 + "@company.example"
    assert for_failure(OWNER, "code", changes(code=[longest])) == (longest,)
    assert for_failure(OWNER, "code", changes(code=["a" + longest])) == OWNER.to
    domain = ".".join(["d" * 60] * 4) + ".example"
    far = Mail(to=OWNER.to, author_domains=(domain,))
    assert for_failure(far, "code", changes(code=[f"ada@{domain}"])) == OWNER.to


@given(st.from_regex(r"[ -~äöü]{0,12}<?[a-z.\"+-]{1,6}@[a-z.-]{1,9}>?", fullmatch=True))
def test_what_passes_as_an_address_is_exactly_one_for_a_mail(text):
    if is_address(text):
        message = EmailMessage()
        message["To"] = text
        (found,) = message["To"].addresses
        assert not message["To"].defects
        assert found.username
        assert found.domain
