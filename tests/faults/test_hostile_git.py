"""A repository that means harm: whatever git could be brought to run, nothing runs, and nothing is written outside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from team import clean_environment

from pipelines.repositories import git
from pipelines.repositories.git_cache import GitCache
from registry.errors import ConfigError, PipelineError
from training.fence.confine import SCOPE_ABI, abi

PERSON = {f"GIT_{role}_{what}": "m@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def run(*arguments, cwd, given=""):
    return subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env=clean_environment() | PERSON | {"GIT_CONFIG_NOSYSTEM": "1"},  # git-lfs, once installed, is set there
        input=given,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


@pytest.fixture
def canary(tmp_path):
    """A command that leaves a trace; nothing may, by the end of the test."""
    trace = tmp_path / "trace"
    program = tmp_path / "canary"
    program.write_text(f"#!/bin/sh\necho \"$0 $@\" >> '{trace}'\ncat 2>/dev/null\nexit 0\n")
    program.chmod(0o755)
    yield str(program)
    assert not trace.exists(), trace.read_text()


@pytest.fixture
def repository(tmp_path):
    """A work tree whose `.git` is what is fetched from."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    run("init", "--quiet", "--initial-branch=main", cwd=folder)
    return folder


def commit(repository, files):
    for name, text in files.items():
        path = repository / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run("add", "--all", cwd=repository)
    run("commit", "--quiet", "--allow-empty", "-m", "harm", cwd=repository)
    return run("rev-parse", "HEAD", cwd=repository)


def use(tmp_path, url, sha):
    """All that a run asks of git."""
    assert git.head(url, "main", "code") == sha
    cache = GitCache(tmp_path / "cache")
    cache.fetch(url, sha, "code")
    cache.checkout(url, sha, tmp_path / "tree").write()
    return cache.history(url, sha).changes(None, sha, "code")


def test_settings_attributes_and_submodules_in_the_tree_do_nothing(tmp_path, repository, canary):
    """Not even when the user of this machine has such a filter: only git-lfs is meant to run."""
    sha = commit(
        repository,
        {
            ".gitattributes": f"* filter=evil diff=evil merge=evil text eol=crlf ident export-subst\n{canary}\n",
            ".gitmodules": f'[submodule "x"]\n\tpath = x\n\turl = ext::{canary}\n\tupdate = !{canary}\n',
            ".gitconfig": f'[core]\n\tfsmonitor = {canary}\n\tsshCommand = {canary}\n[filter "evil"]\n\tsmudge = {canary}\n',
            ".lfsconfig": "[lfs]\n\turl = http://127.0.0.1:9/\n",
            "model.py": "x = 1  # $Id$\n",
            # a bare repository inside: git that works here would take its settings
            "HEAD": "ref: refs/heads/main\n", "objects/x": "", "refs/x": "",
            "config": f"[core]\n\trepositoryformatversion = 0\n\tbare = true\n\tfsmonitor = {canary}\n\tpager = {canary}\n",
            "hooks/post-checkout": f"#!/bin/sh\n{canary}\n",
        },
    )  # fmt: skip
    assert use(tmp_path, str(repository), sha).commits[0].subject == "harm"
    assert not (tmp_path / "tree" / ".git").exists()
    assert not (tmp_path / "tree" / "x").exists()


def test_settings_and_hooks_of_the_repository_itself_are_not_ours(tmp_path, repository, canary):
    sha = commit(repository, {"model.py": "x = 1\n"})
    for key in (
        "core.fsmonitor", "core.sshCommand", "core.pager", "core.editor", "core.hooksPath", "core.gitProxy", "core.askPass",
        "core.alternateRefsCommand", "uploadpack.packObjectsHook", "credential.helper", "gpg.program", "diff.external",
        "alias.upload-pack", "filter.evil.smudge", "protocol.ext.allow", "remote.origin.uploadpack", "gc.recentObjectsHook",
    ):  # fmt: skip
        run("config", key, canary, cwd=repository)
    for hook in (
        "post-checkout",
        "post-update",
        "reference-transaction",
        "pre-auto-gc",
        "post-index-change",
        "fsmonitor-watchman",
    ):
        path = repository / ".git" / "hooks" / hook
        path.write_text(f"#!/bin/sh\n{canary}\n")
        path.chmod(0o755)
    use(tmp_path, str(repository), sha)


@pytest.mark.parametrize(
    "url",
    [
        "ext::{canary}",
        "ext::sh -c {canary}%20x",
        "--upload-pack={canary}",
        "--upload-pack={canary} .",
        "-c core.fsmonitor={canary}",
        "ssh://-oProxyCommand={canary}/x",
        "ssh://x/$({canary})",
        "-oProxyCommand={canary}:x",
        "fd::{canary}",
        "file:///nowhere;{canary}",
        "$({canary})",
        "testgit::{canary}",
        "\n{canary}",
    ],
)
def test_a_url_runs_nothing(tmp_path, repository, canary, url, monkeypatch):
    url = url.format(canary=canary)
    run("remote", "add", "origin", str(repository), cwd=repository)
    monkeypatch.chdir(repository)  # with a remote at hand, an option would be enough
    with pytest.raises(PipelineError) as raised:
        git.head(url, "main", "code", timeout=10)
    assert raised.value.exit_code in {2, 75}
    assert str(raised.value).isprintable()
    cache = GitCache(tmp_path / "cache")
    with pytest.raises(PipelineError):
        cache.fetch(url, "1" * 40, "code")


@pytest.mark.parametrize(
    "name", ["--upload-pack={canary}", "-x", "$({canary})", "a;{canary}", "a`{canary}`", "<b>", "-c"]
)
def test_branches_that_look_like_options_or_commands_are_names(tmp_path, repository, canary, name):
    name = name.format(canary=canary)
    sha = commit(repository, {"model.py": "x = 1\n"})
    run("update-ref", "--stdin", cwd=repository, given=f"create refs/heads/{name} {sha}\n")
    assert git.head(str(repository), name, "code") == sha
    use(tmp_path, str(repository), sha)
    with pytest.raises(ConfigError, match="has no branch"):
        git.head(str(repository), f"{name}-not", "code")


@pytest.mark.parametrize(
    "commit_id", ["--upload-pack=x", "HEAD", "-", "1" * 39, "main", "../x", "1" * 40 + "\n", "g" * 40]
)
def test_only_a_whole_commit_id_is_one(tmp_path, repository, commit_id):
    commit(repository, {"model.py": ""})
    with pytest.raises(ConfigError, match="not a full commit id"):
        GitCache(tmp_path / "cache").fetch(str(repository), commit_id, "code")


def tree_of(repository, entries):
    """A commit of a tree that git itself would not write."""
    blob = run("hash-object", "-w", "--stdin", cwd=repository, given="harm")
    tree = b"".join(b"%s %s\0%s" % (mode, name, bytes.fromhex(blob)) for mode, name in entries)
    sha = subprocess.run(
        ["git", "hash-object", "-w", "--literally", "-t", "tree", "--stdin"], cwd=repository, input=tree, capture_output=True,
        check=True, env=clean_environment(),
    ).stdout.decode().strip()  # fmt: skip
    made = run("commit-tree", sha, "-m", "harm", cwd=repository)
    run("update-ref", "refs/heads/main", made, cwd=repository)
    return made


@pytest.mark.parametrize(
    "name",
    [
        b"../outside",
        b"..",
        b".git",
        b".GIT",
        b".git/hooks/post-checkout",
        b"/etc/outside",
        b"git~1",
        b".g\xe2\x80\x8cit",
        b".",
    ],
    ids=["up", "dots", "git", "GIT", "hook", "absolute", "git~1", "invisible", "dot"],
)
def test_names_that_lead_out_of_a_tree_are_refused_or_stay_inside(tmp_path, repository, name):
    sha = tree_of(repository, [(b"100755", name)])
    cache = GitCache(tmp_path / "cache")
    before = set(os.listdir("/etc"))
    try:
        cache.fetch(str(repository), sha, "code")
        cache.checkout(str(repository), sha, tmp_path / "tree").write()
    except PipelineError as error:
        assert error.exit_code == 2
        assert str(error).isprintable()
        assert not (tmp_path / "tree").exists()
    harm = [
        path
        for path in tmp_path.rglob("*")
        if path.is_file() and path.stat().st_size == 4 and path.read_text() == "harm"
    ]
    assert all(path.is_relative_to(tmp_path / "tree") for path in harm)
    assert set(os.listdir("/etc")) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("outside")] == []


def test_links_become_text_and_their_targets_are_not_written(tmp_path, repository):
    """A link, and a file below a folder of the same name: the way out that git had to close several times."""
    (tmp_path / "victim").mkdir()
    (repository / "a").symlink_to(tmp_path / "victim")
    (repository / "b").symlink_to("/etc/passwd")
    sha = commit(repository, {})
    use(tmp_path, str(repository), sha)
    for name, target in (("a", str(tmp_path / "victim")), ("b", "/etc/passwd")):
        path = tmp_path / "tree" / name
        assert not path.is_symlink()
        assert path.read_text() == target


def test_a_huge_file_of_zeros_travels_small_and_is_checked_out_whole(tmp_path, repository):
    with (repository / "zeros.bin").open("wb") as file:
        file.truncate(96 << 20)
    sha = commit(repository, {})
    use(tmp_path, str(repository), sha)
    assert (tmp_path / "tree" / "zeros.bin").stat().st_size == 96 << 20
    assert sum(path.stat().st_size for path in Path(tmp_path / "cache").rglob("*") if path.is_file()) < 4 << 20


def test_an_object_that_is_not_what_its_name_says_is_refused(tmp_path, repository):
    sha = commit(repository, {"model.py": "x = 1\n"})
    other = run("hash-object", "-w", "--stdin", cwd=repository, given="other")
    blob = run("rev-parse", "HEAD:model.py", cwd=repository)
    objects = repository / ".git" / "objects"
    target = objects / blob[:2] / blob[2:]
    target.chmod(0o644)
    target.write_bytes((objects / other[:2] / other[2:]).read_bytes())
    with pytest.raises(PipelineError):
        use(tmp_path, str(repository), sha)
    assert not (tmp_path / "tree").exists()


def test_a_filter_of_this_user_does_not_run_for_a_tree_of_strangers(tmp_path, repository, canary, monkeypatch):
    """git-lfs is one: it would ask a server that the tree names, with this user's credentials."""
    pointer = "version https://git-lfs.github.com/spec/v1\n"
    sha = commit(repository, {".gitattributes": "*.npz filter=lfs\n", "data.npz": pointer})
    filters = f'[filter "lfs"]\n\tsmudge = {canary}\n\tprocess = {canary}\n\trequired = true\n'
    (tmp_path / ".gitconfig").write_text(filters)
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    use(tmp_path, str(repository), sha)
    assert (tmp_path / "tree" / "data.npz").read_text() == pointer


@pytest.mark.skipif(abi() < SCOPE_ABI, reason="needs Landlock of Linux 6.12")
def test_what_writes_the_files_reaches_neither_the_network_nor_other_files(tmp_path, repository):
    """As if git could be brought to run what the tree wants: a filter in the settings of the clone itself."""
    sha = commit(repository, {".gitattributes": "* filter=evil\n", "model.py": "x = 1\n"})
    cache = GitCache(tmp_path / "cache")
    cache.fetch(str(repository), sha, "code")
    (clone,) = (tmp_path / "cache").glob("*.git")
    (tmp_path / "secret").write_text("s3cret")
    attack = (
        f"cat {tmp_path}/secret; echo x > {tmp_path}/planted; echo x > {clone}/hooks/post-checkout;"
        f" chmod 777 {tmp_path}/secret; kill -0 {os.getpid()} && echo killable; cat /proc/{os.getpid()}/environ; echo ran"
    )
    run("config", "filter.evil.smudge", f"{{ {attack}; }} 2>/dev/null", cwd=clone)
    mode = (tmp_path / "secret").stat().st_mode
    cache.checkout(str(repository), sha, tmp_path / "tree").write()
    assert (tmp_path / "tree" / "model.py").read_text() == "ran\n"
    assert not (tmp_path / "planted").exists()
    assert not (clone / "hooks/post-checkout").exists()
    assert (tmp_path / "secret").stat().st_mode == mode
