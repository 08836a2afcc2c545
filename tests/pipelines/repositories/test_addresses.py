"""From where the files of a repository may have something fetched."""

from __future__ import annotations

import socket

import pytest

from pipelines.repositories.addresses import (
    Address,
    ips,
    is_allowed,
    is_same_host,
    parse,
    parse_href,
    resolved,
)
from registry.errors import ConfigError, TryAgain


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


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("/srv//a/../b", Address("", "", 0, "/srv/b")),
        ("file:///srv/a%20b", Address("", "", 0, "/srv/a b")),
        ("file://localhost/srv/a", Address("", "", 0, "/srv/a")),
        ("https://H/a.git", Address("https", "h", 443, "/a.git")),
        ("https://h", Address("https", "h", 443, "/")),
        ("http://h/a", Address("http", "h", 80, "/a")),
        ("git://h/a", Address("git", "h", 9418, "/a")),
        ("https://h:8443/a", Address("https", "h", 8443, "/a")),
        ("https://[::1]:8443/a", Address("https", "::1", 8443, "/a")),
        ("ssh://git@h/a", Address("ssh", "h", 22, "/a", "git")),
        ("git@H:org/a", Address("ssh", "h", 22, "/org/a", "git")),
        ("h:/org/a", Address("ssh", "h", 22, "/org/a")),
    ],
)
def test_a_url_has_a_scheme_a_host_a_port_and_a_path_and_without_a_scheme_it_is_a_folder(url, address):
    assert parse(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "", "-oProxyCommand=x", "folder/a", "https://h/\n", "/srv/\x1b[2J", "https://h:port/a", "https://[::1/a",
        "file://other/srv/a", "ftp://h/a", "ext::sh -c x", "https:///a", "ssh://-oProxyCommand=x/a", "https://user@h/a",
        "https://user:secret@h/a", "ssh://git:secret@h/a", "ssh://git:@h/a", "https://h/a#b", "https://h/a?b", "h::a", "-h:a",
    ],
)  # fmt: skip
def test_what_is_no_plain_url_of_a_known_kind_is_none(url):
    assert parse(url) is None


@pytest.mark.parametrize(
    ("url", "place", "text"),
    [
        ("https://h/a", "h", "https://h/a"),
        ("https://h:8443/a", "h:8443", "https://h:8443/a"),
        ("https://[::1]:8443/a", "[::1]:8443", "https://[::1]:8443/a"),
        ("ssh://git@h:22/a", "h", "ssh://git@h/a"),
        ("/srv/a", "/srv/a", "/srv/a"),
    ],
)
def test_a_place_is_what_the_setting_trusted_names(url, place, text):
    assert (parse(url).place, str(parse(url))) == (place, text)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("https://h/a?x=1#y", ("https://h/a", "https://h/a?x=1")),
        ("http://h/a", ("http://h/a", "http://h/a")),
        ("https://h/a#y", ("https://h/a", "https://h/a")),
        ("https://user@h/a", None), ("ssh://h/a", None), ("/srv/a", None), ("https://h/a b", None), ("https://h/\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_an_address_that_a_server_gives_is_of_http_and_may_have_a_query(url, found):
    address = parse_href(url)
    assert (address and (str(address[0]), address[1])) == found


def test_a_relative_address_with_what_nobody_sees_is_none():
    assert resolved("../b\n", parse("https://h/a")) is None
    assert str(resolved("../b//./c", parse("https://h:8443/org/a"))) == "https://h:8443/org/b/c"
    assert resolved("..", parse("/srv/a")) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a", "https://h/b", True),
        ("https://h/a", "https://i/a", False),
        ("https://h:8443/a", "https://h:8443/b", True),
        ("https://h:8443/a", "https://h/a", False),
        ("https://h/a", "https://h:8443/a", False),
        ("https://h/a", "ssh://git@h:2222/a", True),
        ("https://h:8443/a", "git@h:a", False),
        ("https://h/a", "git@h:a", True),
        ("/srv/a", "/srv/b", False),
    ],
)
def test_a_server_is_the_same_by_host_and_port_or_by_the_usual_port_of_another_scheme(one, other, same):
    assert is_same_host(parse(one), parse(other)) is same


def test_what_is_trusted_as_a_folder_is_absolute_and_followed_to_where_it_leads(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    shared, named_by = parse(f"{tmp_path}/real/b"), parse("https://h/a")
    assert is_allowed(shared, named_by, (f"{tmp_path}/link",))
    assert not is_allowed(shared, named_by, ("real",))
    assert not is_allowed(shared, named_by, ("h",))


class TestNumbers:
    @pytest.fixture
    def names(self, monkeypatch):
        """Sets what the machine's resolver answers."""
        asked = []

        def give(*numbers):
            def getaddrinfo(host, port, *, type):  # noqa: A002
                asked.append((host, port, type))
                return [(None, None, None, None, (each, port)) for each in numbers]

            monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
            return asked

        return give

    def test_of_a_host_are_each_there_once_without_a_zone(self, names):
        asked = names("8.8.8.8", "8.8.8.8", "2001:4860::8%eth0")
        assert ips(parse("https://h:8443/a"), "from", public=True) == ["8.8.8.8", "2001:4860::8"]
        assert asked == [("h", 8443, socket.SOCK_STREAM)]

    @pytest.mark.parametrize(
        "inside", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fe80::1", "0.0.0.0"]
    )
    def test_of_this_machine_or_its_networks_are_refused_where_the_host_has_to_be_public(self, names, inside):
        names("8.8.8.8", inside)
        with pytest.raises(
            ConfigError, match=r"from h:8443, an address of this machine or of a private network"
        ) as error:
            ips(parse("https://h:8443/a"), "from", public=True)
        assert f"({inside})" in str(error.value)
        assert error.value.hint.endswith('add "h:8443" to [repositories] trusted')
        assert ips(parse("https://h:8443/a"), "from", public=False) == ["8.8.8.8", inside]

    def test_of_a_name_that_is_not_known_may_come_later(self, monkeypatch):
        def fails(*_, **__):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fails)
        with pytest.raises(TryAgain, match="from h: Name or service not known"):
            ips(parse("https://h/a"), "from", public=True)
