"""From where the files of a repository may have something fetched."""

from __future__ import annotations

import pytest

from pipelines.repositories.addresses import is_allowed, parse, resolved


@pytest.mark.parametrize(
    ("written", "repository", "meant"),
    [
        ("../b.git", "https://h/org/a.git", "https://h/org/b.git"),
        ("../../x/b.git", "git@h:org/a.git", "ssh://git@h/x/b.git"),
        ("./b", "/srv/a.git", "/srv/a.git/b"),
        ("git@h:org/b.git", "https://h/org/a.git", "ssh://git@h/org/b.git"),
        ("../../../b", "https://h/org/a", None),
        ("file://other/srv/b", "/srv/a", None),
        ("https://h/b?x=1", "https://h/a", None),
        ("https://h\n/b", "https://h/a", None),
        ("x::y", "https://h/a", None),
        ("b.git", "https://h/a", None),
    ],
)
def test_an_address_in_a_file_is_read_as_git_reads_it_or_not_at_all(written, repository, meant):
    address = resolved(written, parse(repository))
    assert (str(address) if address else None) == meant


@pytest.mark.parametrize(
    ("written", "repository", "trusted", "allowed"),
    [
        ("https://h/b", "https://h/a", (), True),
        ("https://h:8443/b", "https://h/a", (), False),
        ("https://h:8443/b", "https://h/a", ("h:8443",), True),
        ("http://h/b", "https://h/a", (), False),
        ("http://h/b", "git@h:a", ("h",), False),
        ("https://h/b", "git@h:a", (), True),
        ("git@h:b", "https://h/a", (), True),
        ("https://h.evil/b", "https://h/a", (), False),
        ("https://H/b", "https://h/a", (), True),
        ("https://other/b", "https://h/a", ("other",), True),
        ("/srv/git/b.git", "/srv/git/a.git", (), True),
        ("/srv/git/b.git", "https://h/a", (), False),
        ("/srv/b.git", "/srv/git/a.git", (), False),
        ("/srv/b.git", "/srv/git/a.git", ("/srv/b.git",), True),
        ("/srv/git-other/b.git", "/srv/git/a.git", ("/srv/git",), False),
        ("https://h/b", "/srv/git/a.git", (), False),
    ],
)
def test_the_own_host_and_folder_and_what_is_trusted_are_allowed(written, repository, trusted, allowed):
    assert is_allowed(parse(written), parse(repository), trusted) is allowed


def test_a_link_beside_the_repository_leads_nowhere_else(tmp_path):
    (tmp_path / "git").mkdir()
    (tmp_path / "git/b.git").symlink_to("/etc")
    assert not is_allowed(parse(f"{tmp_path}/git/b.git"), parse(f"{tmp_path}/git/a.git"), ())
