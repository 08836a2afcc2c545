"""How a check reads a registry that may hold anything: what cannot be read becomes a line, and the rest is read."""

from datetime import UTC, datetime, timedelta

import pytest
from registry_parts import MemoryStore, promote, publish, release
from versions import release_draft

from registry import releases
from registry.checks.findings import SKEW, Findings
from registry.codec import OTHERWISE
from registry.errors import ConfigError, Corrupt, TryAgain

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
FOLDER = "production/digits/releases"


class Listed(MemoryStore):
    """A store with names that a name cannot be, in any folder."""

    def __init__(self, local, more=()):
        super().__init__(local)
        self.more = more

    def names(self, folder):
        return sorted([*super().names(folder), *self.more])


class Broken:
    """A store that cannot be listed."""

    def __init__(self, error):
        self._error = error

    def names(self, _folder):
        raise self._error


@pytest.fixture
def findings():
    return Findings()


@pytest.fixture
def store(tmp_path):
    """Two releases."""
    made = Listed(tmp_path / "local")
    promote(made, publish(made, tmp_path, "one"), "token")
    release(made, 1)
    return made


def test_a_problem_and_a_note_begin_with_what_they_are_about(findings):
    findings.wrong("a/b", "is wrong")
    findings.note("a/c", "was begun")
    assert (findings.problems, findings.notes) == (["a/b: is wrong"], ["a/c: was begun"])


@pytest.mark.parametrize("error", [Corrupt("a/b: is a link"), ConfigError("a/b: Permission denied")])
def test_what_cannot_be_read_is_a_problem(findings, error):
    with findings.collecting():
        raise error
    assert findings.problems == [str(error)]
    assert findings.names(Broken(error), "a") == findings.below(Broken(error), "a") == []
    assert findings.problems == [str(error)] * 3


@pytest.mark.parametrize("error", [TryAgain("later"), KeyError("a bug")])
def test_what_may_work_later_or_is_a_bug_is_raised(findings, error):
    with pytest.raises(type(error)), findings.collecting():
        raise error
    assert findings.problems == []


def test_what_cannot_be_a_name_is_a_problem_and_the_rest_is_listed(findings, store):
    store.more = ("a\nb", ".hidden/")
    assert findings.names(store, "test") == ["digits/"]
    assert findings.problems == [
        "test/.hidden: cannot be a name in the registry",
        "test/a\\nb: cannot be a name in the registry",
    ]


def test_all_files_below_a_folder_are_listed_and_what_cannot_be_a_name_is_a_problem(findings, store):
    assert findings.below(store, FOLDER) == ["000001.json", "000002.json"]
    assert findings.below(store, "production/digits")[0] == "1/card.json"
    store.more = ("a\nb",)
    assert findings.below(store, FOLDER) == ["000001.json", "000002.json"]
    assert findings.problems == [f"{FOLDER}/a\\nb: cannot be a name in the registry"]


def test_the_readable_records_of_a_chain_are_given_and_what_is_wrong_with_others_is_said(findings, store):
    chain = releases.release_chain(store, "digits")
    assert [each.number for each in findings.records(chain)] == [1, 2]
    assert findings.problems == []
    chain.append(release_draft("digits", None), 2)
    store._kept[chain.name(2)] += b" "
    assert [each.number for each in findings.records(chain)] == [1, 3]
    assert findings.problems == [f"{FOLDER}/000002.json: checksum mismatch"]


def test_what_is_no_record_of_a_chain_does_not_belong_there(findings, store):
    for name in ("1.json", "live", "old/000001.json"):
        store.create(f"{FOLDER}/{name}", b"1")
    assert len(findings.records(releases.release_chain(store, "digits"))) == 2
    assert findings.problems == [f"{FOLDER}/{name}: does not belong here" for name in ("1.json", "live", "old/")]


def test_a_chain_that_cannot_be_listed_is_a_problem_and_has_no_records(findings):
    assert findings.records(releases.release_chain(Broken(Corrupt("it: is a link")), "digits")) == []
    assert findings.problems == ["it: is a link"] * 2


def test_a_record_is_written_as_trainyard_writes_one_and_one_that_is_missing_is_another_matter(findings, store):
    findings.spelling(store, f"{FOLDER}/000001.json")
    findings.spelling(store, f"{FOLDER}/000009.json")
    assert findings.problems == []
    store._kept[f"{FOLDER}/000001.json"] += b"\n"
    findings.spelling(store, f"{FOLDER}/000001.json")
    assert findings.problems == [f"{FOLDER}/000001.json: {OTHERWISE}"]


@pytest.mark.parametrize("at", ["", "noon", "2026-11-29T12:00:00"], ids=["nothing", "no time", "without a zone"])
def test_what_is_not_a_time_is_a_problem(findings, at):
    assert findings.clock("a/b", at, NOW) is None
    assert findings.problems == [f"a/b: {at!r} is not a time"]


def test_a_time_is_given_as_one_in_utc(findings):
    assert findings.clock("a/b", "2026-11-29T14:30:00+02:00", NOW) == datetime(2026, 11, 29, 12, 30, tzinfo=UTC)
    assert findings.clock("a/b", "2026-11-29T12:30:00Z", NOW).tzinfo is UTC
    assert (findings.problems, findings.notes) == ([], [])


@pytest.mark.parametrize(("ahead", "noted"), [(0, False), (1, True)])
def test_a_time_that_is_ahead_by_more_than_clocks_may_differ_is_a_note(findings, ahead, noted):
    assert timedelta(days=1) == SKEW
    at = (NOW + SKEW + timedelta(seconds=ahead)).isoformat()
    assert findings.clock("a/b", at, NOW)
    assert findings.problems == []
    said = [f"a/b: says {at}, which is in the future by the clock of this machine"]
    assert findings.notes == (said if noted else [])
