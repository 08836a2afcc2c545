"""Submodules: each at its commit, from where it may be fetched."""

from __future__ import annotations

import pytest
from git_http import GitServer
from lfs_http import LfsServer, keep, pointer

from registry.errors import ConfigError


def modules(**urls: str) -> bytes:
    return "".join(f'[submodule "{name}"]\n\tpath = {name}\n\turl = {url}\n' for name, url in urls.items()).encode()


@pytest.fixture
def with_submodule(repository):
    """A repository `code` with the submodule `shared`, whose address is the test's, and its commit."""

    def make(url: str, name: str = "shared", content: bytes = b"UNITS = 8\n"):
        shared, code = repository("shared"), repository("code")
        inside = shared.commit({"layers.py": content})
        commit = code.commit({"model.py": b"", ".gitmodules": modules(**{name: url})}, f"160000,{inside},{name}")
        return code, shared, commit

    return make


class TestFetched:
    @pytest.mark.parametrize("url", ["../shared.git", "../shared.git/", "./../shared.git", "../../served/shared.git"])
    def test_beside_the_repository(self, with_submodule, bring, url):
        code, _, commit = with_submodule(url)
        got = bring(code.url, commit, "code", submodules=True)
        assert (got / "shared/layers.py").read_bytes() == b"UNITS = 8\n"
        assert not (got / "shared/.git").exists()

    @pytest.mark.parametrize("url", ["../shared.git", "{server}/shared.git"])
    def test_from_the_same_server(self, with_submodule, bring, url, tmp_path):
        (tmp_path / "served").mkdir()
        with GitServer(tmp_path / "served") as server:
            _, _, commit = with_submodule(url.format(server=server.url))
            got = bring(f"{server.url}/code.git", commit, "code", submodules=True)
        assert (got / "shared/layers.py").read_bytes() == b"UNITS = 8\n"

    def test_at_the_commit_that_the_repository_names(self, with_submodule, bring):
        code, shared, commit = with_submodule("../shared.git")
        shared.commit({"layers.py": b"UNITS = 16\n"})
        assert (bring(code.url, commit, "code", submodules=True) / "shared/layers.py").read_bytes() == b"UNITS = 8\n"

    def test_within_each_other_with_files_in_lfs(self, repository, tmp_path, bring):
        keep_in, middle, outer = repository("inner"), repository("middle"), repository("outer")
        keep(keep_in.url, b"large")
        inner = keep_in.commit({"data.bin": pointer(b"large")})
        second = middle.commit({".gitmodules": modules(inner="../inner.git")}, f"160000,{inner},inner")
        commit = outer.commit({".gitmodules": modules(middle="../middle.git")}, f"160000,{second},middle")
        with LfsServer(tmp_path / "served") as server:
            got = bring(f"{server.url}/outer.git", commit, "code", submodules=True, lfs=True)
        assert (got / "middle/inner/data.bin").read_bytes() == b"large"
        with pytest.raises(ConfigError, match=r"code, submodule middle, submodule inner: .* data.bin: in Git LFS"):
            bring(outer.url, commit, "code", submodules=True)

    def test_from_elsewhere_when_the_settings_name_that(self, with_submodule, bring, tmp_path):
        code, shared, commit = with_submodule(str(tmp_path / "elsewhere/shared.git"))
        (tmp_path / "elsewhere").mkdir()
        shared.url.rename(tmp_path / "elsewhere/shared.git")
        with pytest.raises(ConfigError, match="which is not beside the repository itself") as error:
            bring(code.url, commit, "code", submodules=True)
        place = str(tmp_path / "elsewhere/shared.git")
        assert f'add "{place}" to [repositories] trusted' in error.value.hint
        got = bring(code.url, commit, "code", submodules=True, trusted=(place,))
        assert (got / "shared/layers.py").exists()


class TestRefused:
    @pytest.mark.parametrize(
        "url",
        [
            "ext::sh -c touch%20/tmp/owned", "file:///etc", "/etc", "../../etc", "../../../../../../../../etc/x.git",
            "https://evil.example/x.git", "git@evil.example:x.git", "http://127.0.0.1:1/x", "http://169.254.169.254/x",
            "-oProxyCommand=x:y", "--upload-pack=x", "ssh://-oProxyCommand=x/y", "fd::17", "https://u:p@evil.example/x",
        ],
    )  # fmt: skip
    def test_what_is_elsewhere(self, with_submodule, bring, tmp_path, url):
        code, _, commit = with_submodule(url)
        with pytest.raises(ConfigError, match=r"\[repositories\] code, submodule shared: .gitmodules names ") as error:
            bring(code.url, commit, "code", submodules=True)
        assert error.value.hint
        assert len(list((tmp_path / "home/git").glob("*.git"))) == 1

    def test_a_repository_that_was_added_as_if_it_were_a_folder(self, repository, bring):
        code = repository("code")
        commit = code.commit({"model.py": b""}, f"160000,{'1' * 40},shared")
        with pytest.raises(ConfigError, match=r"submodule shared: .gitmodules does not say where it is") as error:
            bring(code.url, commit, "code", submodules=True)
        assert "git submodule add" in error.value.hint

    def test_a_commit_that_was_not_pushed(self, with_submodule, repository, bring):
        code, _, _ = with_submodule("../shared.git")
        commit = code.commit({}, f"160000,{'1' * 40},shared")
        with pytest.raises(
            ConfigError, match=r"submodule shared: .*shared.git does not have commit 111111111111"
        ) as error:
            bring(code.url, commit, "code", submodules=True)
        assert "--recurse-submodules" in error.value.hint

    def test_one_that_is_gone(self, with_submodule, bring, tmp_path):
        code, shared, commit = with_submodule("../shared.git")
        shared.url.rename(tmp_path / "away")
        with pytest.raises(ConfigError, match="submodule shared: cannot read") as error:
            bring(code.url, commit, "code", submodules=True)
        assert error.value.hint == "check its address: .gitmodules"

    def test_more_within_each_other_than_anybody_needs(self, repository, bring):
        names = [f"r{number}" for number in range(7)]
        inside = previous = ""
        for name in names:
            each = repository(name)
            entries = [f"160000,{inside},down"] if inside else []
            files = {".gitmodules": modules(down=f"../{previous}.git")} if inside else {"a": b"x"}
            inside, previous = each.commit(files, *entries), name
        with pytest.raises(ConfigError, match="more than 5 submodules in each other"):
            bring(each.url, inside, "code", submodules=True)
