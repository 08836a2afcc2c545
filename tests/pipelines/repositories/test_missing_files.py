"""What a commit names without having it is refused, with what to do: nobody trains on what is in its place."""

from __future__ import annotations

import os

import pytest
from repositories_parts import git

from registry.errors import ConfigError

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n"


class TestRefused:
    @pytest.mark.parametrize(
        ("files", "said", "hint"),
        [
            ({"a.csv": POINTER}, "a.csv: in Git LFS", r"set \[repositories\] lfs = true"),
            ({"a.csv": POINTER.replace(b"git-lfs", b"hawser")}, "a.csv: in Git LFS", "lfs = true"),
            ({"a.csv": POINTER.replace(b"\n", b"\r\n")}, "a.csv: in Git LFS", "lfs = true"),
            (
                {
                    "a.csv": POINTER.replace(b"oid", b"ext-0-x sha256:%s\noid" % (b"1" * 90)),
                    ".gitattributes": b"*.csv filter=lfs\n",
                },
                "a.csv: a Git LFS pointer that is damaged, or of a kind that is not supported",
                "add the file again",
            ),
            ({"a.csv": POINTER[:70]}, "a.csv: a Git LFS pointer that is damaged", "add the file again"),
            ({"a.csv": b"/annex/objects/SHA256E-s12--0.csv\n"}, "a.csv: in git-annex", "or in Git LFS"),
            (
                {".gitattributes": b"*.csv filter=git-crypt\n", "a.csv": b"\0GITCRYPT"},
                "a.csv: kept as the filter 'git-crypt'",
                "without a filter",
            ),
        ],
        ids=["lfs", "lfs of old", "lfs of Windows", "lfs with extensions", "damaged lfs", "annex", "filter"],
    )
    def test_a_file_that_names_another_one(self, repository, bring, files, said, hint):
        data = repository("data")
        commit = data.commit({"dataset.toml": b"", **files})
        with pytest.raises(ConfigError, match=rf"\[repositories\] dataset: commit {commit[:12]} .*{said}") as error:
            bring(data.url, commit)
        assert hint.replace("\\", "") in error.value.hint
        assert "docs/reference/limits.md" in error.value.hint

    def test_a_symbolic_link_also_to_a_file_beside_it(self, repository, bring):
        data = repository("data")
        (data.work / "latest").symlink_to("v1")
        commit = data.commit({"v1/a.csv": b"x"})
        with pytest.raises(ConfigError, match="latest: a symbolic link, which is not followed") as error:
            bring(data.url, commit)
        assert "put the file itself there" in error.value.hint

    def test_a_link_of_git_annex(self, repository, bring):
        data = repository("data")
        (data.work / "a.csv").symlink_to(".git/annex/objects/0/0/SHA256E-s12--0.csv")
        with pytest.raises(ConfigError, match=r"a.csv: in git-annex, which is not supported"):
            bring(data.url, data.commit({}))

    def test_a_submodule(self, repository, bring):
        code, other = repository("code"), repository("shared")
        commit = code.commit({"model.py": b""}, f"160000,{other.commit({'x': b''})},shared")
        with pytest.raises(ConfigError, match="shared: a submodule, another repository") as error:
            bring(code.url, commit, "code")
        assert "submodules = true" in error.value.hint

    def test_a_name_that_is_not_utf_8(self, repository, bring):
        data = repository("data")
        data.commit({"a": b"x"})
        blob = git("rev-parse", "HEAD:a", cwd=data.work)
        tree = git("mktree", "-z", cwd=data.work, given=b"100644 blob %s\tgr\xf6sse.png\0" % blob.encode())
        commit = git("commit-tree", tree, "-m", "x", cwd=data.work)
        git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/main", cwd=data.work)
        with pytest.raises(ConfigError, match="a name that is not UTF-8") as error:
            bring(data.url, commit)
        assert str(error.value).isprintable()

    def test_everything_at_once_a_few_names_of_each_kind(self, repository, bring):
        data = repository("data")
        (data.work / "link").symlink_to("b")
        commit = data.commit({f"{number}.png": POINTER for number in range(9)})
        with pytest.raises(ConfigError, match=r"0.png, 1.png, 2.png and 6 more: in Git LFS") as error:
            bring(data.url, commit)
        assert "link: a symbolic link" in str(error.value)


class TestAccepted:
    def test_what_the_model_does_not_need(self, repository, bring):
        data = repository("data")
        (data.work / "docs").mkdir()
        (data.work / "docs/latest").symlink_to("v1")
        commit = data.commit({"docs/plot.png": POINTER, "a.csv": b"x"}, f"160000,{'1' * 40},docs/theme")
        assert (bring(data.url, commit, unimportant=("docs/*",)) / "a.csv").read_bytes() == b"x"

    @pytest.mark.parametrize(
        ("what", "files"),
        [
            ("dataset", {"a.csv.dvc": b"outs:\n- path: a.csv\n", "a.csv": b"1"}),
            ("dataset", {"cats.dvc": b"outs:\n- path: cats\n", "cats/1.png": b"1"}),
            ("code", {"data.csv.dvc": b"outs:\n- path: data.csv\n"}),
            ("code", {".gitattributes": b"*.ipynb filter=nbstripout\n", "look.ipynb": b"{}"}),
            ("code", {".gitattributes": b"*.py -filter\n*.txt !filter\n", "a.py": b"", "b.txt": b""}),
            ("dataset", {".gitattributes": b"*.csv filter=lfs -text\n", "a.csv": b"never in LFS"}),
        ],
        ids=["dvc and data", "dvc and folder", "dvc in code", "notebook", "no filter", "lfs only announced"],
    )
    def test_what_is_there(self, repository, bring, what, files):
        team = repository("team")
        got = bring(team.url, team.commit(files), what)
        assert {name: (got / name).read_bytes() for name in files} == files

    def test_the_bytes_are_those_of_a_fresh_clone(self, tmp_path, repository, bring):
        data = repository("data")
        files = {"a.csv": "größe\n1\n".encode("utf-16"), "b.txt": b"1\n2\n", "c.txt": b"$Id$\n", "d.csv": b"3\n"}
        attributes = b"a.csv working-tree-encoding=UTF-16 text\nb.txt eol=crlf\nc.txt ident\nd.csv export-ignore\n"
        commit = data.commit({".gitattributes": attributes, **files})
        git("clone", "--quiet", str(data.url), "clone", cwd=tmp_path)
        got = bring(data.url, commit)
        assert {name: (got / name).read_bytes() for name in files} == {
            name: (tmp_path / "clone" / name).read_bytes() for name in files
        }
        assert (got / "b.txt").read_bytes() == b"1\r\n2\r\n"

    def test_names_that_differ_in_upper_case_only(self, repository, bring):
        data = repository("data")
        got = bring(data.url, data.commit({"A.csv": b"1", "a.csv": b"2"}))
        assert (got / "A.csv").read_bytes() + (got / "a.csv").read_bytes() == b"12"

    def test_names_that_a_disk_takes_for_one_are_refused(self, repository, bring, monkeypatch):
        data = repository("data")
        commit = data.commit({"A.csv": b"1", "a.csv": b"2"})
        monkeypatch.setattr(os.path, "samefile", lambda one, other: True)
        with pytest.raises(ConfigError, match=r"A.csv and a.csv are one file on this disk"):
            bring(data.url, commit)


class TestKindsOfRepositories:
    def test_one_with_sha_256(self, repository, bring):
        data = repository("data", "--object-format=sha256")
        commit = data.commit({"a.csv": b"x"})
        assert len(commit) == 64
        assert (bring(data.url, commit) / "a.csv").read_bytes() == b"x"

    def test_one_that_was_made_anew_with_sha_256(self, tmp_path, repository, bring):
        data = repository("data")
        old = data.commit({"a.csv": b"old"})
        bring(data.url, old)
        data.url.rename(tmp_path / "away")
        data.work.rename(tmp_path / "work away")
        new = repository("data", "--object-format=sha256").commit({"a.csv": b"new"})
        assert (bring(data.url, new) / "a.csv").read_bytes() == b"new"
        assert (bring(data.url, old) / "a.csv").read_bytes() == b"old"

    def test_a_shallow_one_and_its_next_commits(self, tmp_path, repository, bring):
        data = repository("data")
        for number in range(3):
            data.commit({"a.csv": b"%d" % number})
        shallow = tmp_path / "shallow"
        git("clone", "--quiet", "--depth", "1", f"file://{data.url}", str(shallow), cwd=tmp_path)
        head = git("rev-parse", "HEAD", cwd=shallow)
        assert (bring(shallow, head) / "a.csv").read_bytes() == b"2"
        newer = data.commit({"a.csv": b"3"})
        git("pull", "--quiet", "--unshallow", cwd=shallow)
        assert (bring(shallow, newer) / "a.csv").read_bytes() == b"3"

    def test_a_partial_clone_is_refused_with_what_to_name_instead(self, tmp_path, repository, bring):
        data = repository("data")
        commit = data.commit({"a.csv": b"x"})
        git("config", "uploadpack.allowFilter", "true", cwd=data.url)
        git("clone", "--quiet", "--bare", "--filter=blob:none", f"file://{data.url}", "partial", cwd=tmp_path)
        data.url.rename(tmp_path / "away")
        with pytest.raises(ConfigError, match=r"\[repositories\] dataset: cannot read .*partial"):
            bring(tmp_path / "partial", commit)


class TestWhatGitRefuses:
    def test_is_named_with_repository_commit_and_what_to_do(self, repository, bring):
        data = repository("data")
        data.commit({"a": b"x"})
        blob = git("rev-parse", "HEAD:a", cwd=data.work)
        tree = git("mktree", cwd=data.work, given=b"100644 blob %s\t%s\n" % (blob.encode(), b"x" * 300))
        commit = git("commit-tree", tree, "-m", "x", cwd=data.work)
        git("push", "--quiet", "--force", "origin", f"{commit}:refs/heads/main", cwd=data.work)
        with pytest.raises(Exception, match=rf"\[repositories\] dataset: git cannot use commit {commit[:12]}") as error:
            bring(data.url, commit)
        assert error.value.hint.startswith("shorten that name")
