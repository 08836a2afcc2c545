"""git commands and the clones, with real repositories."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.repositories import git, processes
from pipelines.repositories.git_cache import GitCache
from registry.errors import ConfigError, TryAgain
from registry.files import try_lock


def run_git(*arguments, cwd):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {
        f"GIT_{who}_{what}": "dev@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def bare(tmp_path):
    run_git("init", "--quiet", "--bare", "--initial-branch=main", "code.git", cwd=tmp_path)
    return tmp_path / "code.git"


@pytest.fixture
def work(tmp_path, bare):
    run_git("clone", "--quiet", str(bare), "work", cwd=tmp_path)
    folder = tmp_path / "work"
    run_git("checkout", "--quiet", "-B", "main", cwd=folder)
    return folder


def commit(work, name, text, subject="change"):
    (work / name).parent.mkdir(parents=True, exist_ok=True)
    (work / name).write_text(text, encoding="utf-8")
    run_git("add", "-A", cwd=work)
    run_git("commit", "--quiet", "-m", subject, cwd=work)
    run_git("push", "--quiet", "--force", "origin", "HEAD:main", cwd=work)
    return run_git("rev-parse", "HEAD", cwd=work)


def test_the_head_of_a_branch(bare, work):
    sha = commit(work, "model.py", "1")
    assert git.head(str(bare), "main", "code") == sha


def test_an_empty_repository_is_refused(bare):
    with pytest.raises(ConfigError, match=r"\[repositories\] code: .* is empty") as error:
        git.head(str(bare), "main", "code")
    assert "push a first commit" in error.value.hint


def test_a_missing_branch_is_reported_with_those_that_exist(bare, work):
    commit(work, "model.py", "1")
    with pytest.raises(ConfigError, match=r"no branch 'release' \(it has main\)"):
        git.head(str(bare), "release", "code")


def test_a_missing_repository_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"\[repositories\] dataset: cannot read .*nowhere"):
        git.head(str(tmp_path / "nowhere"), "main", "dataset")


def test_a_server_that_is_down_may_be_tried_again():
    with pytest.raises(TryAgain, match=r"\[repositories\] code"):
        git.head("git://127.0.0.1:1/code.git", "main", "code")


def test_a_url_cannot_be_an_option():
    with pytest.raises((ConfigError, TryAgain)):
        git.head("--upload-pack=touch /tmp/owned", "main", "code")


def test_a_checkout_is_the_commit_and_nothing_else(tmp_path, bare, work):
    first = commit(work, "a/model.py", "one")
    second = commit(work, "a/model.py", "two")
    cache = GitCache(tmp_path / "cache")
    for sha, text in ((first, "one"), (second, "two")):
        cache.fetch(str(bare), sha, "code")
        cache.checkout(str(bare), sha, tmp_path / sha).write()
        assert (tmp_path / sha / "a" / "model.py").read_text(encoding="utf-8") == text
        assert not (tmp_path / sha / ".git").exists()


def test_a_checkout_gives_the_same_bytes_for_everybody(tmp_path, bare, work, monkeypatch):
    sha = commit(work, "a.csv", "x,y\n1,2\n")
    attributes, settings = tmp_path / "attributes", tmp_path / ".gitconfig"
    attributes.write_text("*.csv text filter=upper\n", encoding="utf-8")
    settings.write_text(
        f'[core]\nautocrlf = true\neol = crlf\nattributesFile = {attributes}\n[filter "upper"]\nsmudge = tr a-z A-Z\n',
        encoding="utf-8",
    )
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    cache = GitCache(tmp_path / "cache")
    cache.fetch(str(bare), sha, "dataset")
    cache.checkout(str(bare), sha, tmp_path / "tree").write()
    assert (tmp_path / "tree" / "a.csv").read_bytes() == b"x,y\n1,2\n"


class TestDiskErrors:
    """A `git` that does what the real one does, but for one command."""

    @pytest.fixture
    def hinder(self, tmp_path, monkeypatch):
        def hinder(command, instead):
            program = tmp_path / "bin" / "git"
            program.parent.mkdir()
            real = shutil.which("git")
            text = f'#!/bin/sh\ncase " $* " in *" {command} "*) {instead};; esac\nexec {real} "$@"\n'
            program.write_text(text, encoding="utf-8")
            program.chmod(0o755)
            monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

        return hinder

    @pytest.mark.parametrize("command", ["fetch", "read-tree"])
    @pytest.mark.parametrize(
        "said",
        [
            "error: unable to write file a: No space left on device",
            "fatal: sha1 file /x/pack_1 write error. Out of diskspace",
            "fatal: write error: Disk quota exceeded",
            "error: couldn't write a",
        ],
    )
    def test_a_full_disk_is_reported_with_its_folder(self, tmp_path, bare, work, hinder, command, said):
        sha = commit(work, "a", "1")
        hinder(command, f'echo "{said}" >&2; exit 128')
        cache = GitCache(tmp_path / "cache")

        def bring():
            cache.fetch(str(bare), sha, "code")
            cache.checkout(str(bare), sha, tmp_path / "tree").write()

        with pytest.raises(TryAgain, match=f"cannot write to {tmp_path}") as error:
            bring()
        assert "space" in error.value.hint
        assert not (tmp_path / "tree").exists()

    def test_a_disk_that_hangs_may_be_tried_again(self, tmp_path, bare, hinder):
        hinder("log", "sleep 60")
        with pytest.raises(TryAgain, match=f"is still running after 0 s in {bare}"):
            git.run(["log", "-1"], timeout=0.2, cwd=bare)


def test_a_symbolic_link_in_a_commit_reaches_nothing_outside(tmp_path, bare, work):
    (work / "passwd.png").symlink_to("/etc/passwd")
    sha = commit(work, "x", "1")
    cache = GitCache(tmp_path / "cache")
    cache.fetch(str(bare), sha, "dataset")
    cache.checkout(str(bare), sha, tmp_path / "tree").write()
    assert not (tmp_path / "tree" / "passwd.png").is_symlink()
    assert (tmp_path / "tree" / "passwd.png").read_text(encoding="utf-8") == "/etc/passwd"


def test_a_commit_lost_to_a_forced_push_is_reported(tmp_path, bare, work):
    commit(work, "a", "1")
    lost = "1234567890" * 4
    with pytest.raises(ConfigError, match="does not have commit 123456789012") as error:
        GitCache(tmp_path / "cache").fetch(str(bare), lost, "code")
    assert "forced push" in error.value.hint


def test_a_commit_once_fetched_is_kept_after_a_forced_push(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    old = commit(work, "a", "1")
    cache.fetch(str(bare), old, "code")
    run_git("commit", "--quiet", "--amend", "-m", "rewritten", cwd=work)
    new = commit(work, "a", "2")
    run_git("reflog", "expire", "--expire=now", "--all", cwd=bare)
    run_git("gc", "--quiet", "--prune=now", cwd=bare)
    cache.fetch(str(bare), new, "code")
    cache.fetch(str(bare), old, "code")
    cache.checkout(str(bare), old, tmp_path / "old").write()
    assert (tmp_path / "old" / "a").read_text(encoding="utf-8") == "1"


def test_a_commit_that_came_with_another_one_is_there_without_the_repository(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    old, middle, new = (commit(work, "a", each) for each in "123")
    cache.fetch(str(bare), new, "code")
    bare.rename(tmp_path / "gone")
    cache.fetch(str(bare), middle, "code")  # its object is a file of its own
    (clone,) = (tmp_path / "cache").glob("*.git")
    run_git("gc", "--quiet", cwd=clone)
    cache.fetch(str(bare), old, "code")
    for each in (old, middle, new):
        assert run_git("rev-parse", f"refs/trainyard/{each}", cwd=clone).strip() == each
    with pytest.raises(ConfigError, match="cannot read"):
        cache.fetch(str(bare), "0" * 40, "code")


def test_who_comes_first_has_begun_when_the_next_one_begins():
    begun = []

    def work(name):
        begun.append(name)
        if name == "slow":
            list(range(500_000))
            processes.run_program(["true"], env={})
            begun.append("program")

    with pytest.MonkeyPatch.context() as patched:
        real = processes.Program.finish
        patched.setattr(processes.Program, "finish", lambda self, *rest: begun.append("waits") or real(self, *rest))
        processes.in_parallel(work, ["slow", "next"])
    assert begun[:2] == ["slow", "waits"]
    assert sorted(begun[2:]) == ["next", "program"]


def test_locks_of_a_killed_git_are_removed(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    cache.fetch(str(bare), commit(work, "a", "1"), "code")
    sha = commit(work, "a", "2")
    (copy,) = (tmp_path / "cache").glob("*.git")
    for lock in ("config.lock", "packed-refs.lock", f"refs/trainyard/{sha}.lock", "refs/heads/main.lock"):
        (copy / lock).touch()
    cache.fetch(str(bare), sha, "code")
    cache.checkout(str(bare), sha, tmp_path / "tree").write()
    assert (tmp_path / "tree" / "a").read_text(encoding="utf-8") == "2"


def test_a_commit_that_is_there_is_read_while_another_process_fetches(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    sha = commit(work, "a", "1")
    cache.fetch(str(bare), sha, "code")
    (copy,) = (tmp_path / "cache").glob("*.git")
    with Path(f"{copy}.lock").open("w", encoding="utf-8") as lock:
        assert try_lock(lock)
        processes.in_parallel(
            lambda target: cache.fetch_files(str(bare), "code", cache.checkout(str(bare), sha, target)),
            [tmp_path / "tree"],
        )
    assert (tmp_path / "tree" / "a").read_text(encoding="utf-8") == "1"


def test_what_a_killed_process_left_goes_with_the_next_fetch_unless_one_is_at_work(tmp_path, bare, work):
    cache, sha = GitCache(tmp_path / "cache"), commit(work, "a", "1")
    cache.fetch(str(bare), sha, "code")
    (clone,) = (tmp_path / "cache").glob("*.git")
    left = tmp_path / "cache" / f".tmp-{clone.stem}-left"
    left.mkdir()
    with cache._locked(str(bare), sha):
        left.mkdir()  # now it is of the one at work
        cache.fetch(str(bare), sha, "code")
        assert left.exists()
    cache.fetch(str(bare), sha, "code")
    assert not left.exists()


def test_a_commit_that_came_along_with_another_is_kept_as_well_once_it_is_used(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    commit(work, "a", "1")
    old = commit(work, "a", "2")
    cache.fetch(str(bare), commit(work, "a", "3"), "code")
    cache.fetch(str(bare), old, "code")
    run_git("reset", "--quiet", "--hard", "HEAD~2", cwd=work)
    cache.fetch(str(bare), commit(work, "b", "rewritten"), "code")
    (copy,) = (tmp_path / "cache").glob("*.git")
    assert old in run_git("for-each-ref", "--format=%(objectname)", "refs/trainyard", cwd=copy)


def test_the_commits_since_the_last_release_in_words(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    old = commit(work, "a", "1", "first words")
    commit(work, "a", "2", "second words")
    new = commit(work, "a", "3", "third words")
    cache.fetch(str(bare), new, "code")

    def subjects(since, most=10):
        found = cache.history(str(bare), new).changes(since, new, "code", most)
        return [each.subject for each in found.commits], found.more

    assert subjects(old) == (["third words", "second words"], 0)
    assert subjects(old, most=1) == (["third words"], 1)
    assert subjects(None) == (["third words"], 0)
    assert subjects("f" * 40) == (["third words"], 0)
    assert subjects(new) == ([], 0)


def test_the_authors_of_new_commits_are_named_by_the_mailmap(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    old = commit(work, "a", "1")

    def person(name, address):
        return [f"--author={name} <{address}>"]

    (work / "a").write_text("2", encoding="utf-8")
    run_git("commit", "--quiet", "-am", "x", *person("Ada", "ada@home.example"), cwd=work)
    middle = commit(work, ".mailmap", "Ada Lovelace <ada@company.example> <ada@home.example>\n")
    (work / "a").write_text("3", encoding="utf-8")
    run_git("commit", "--quiet", "-am", "x", *person("Eve\x1b[31m", "eve@company.example"), cwd=work)
    new = commit(work, "a", "4")
    cache.fetch(str(bare), new, "code")

    def authors(since, until=new):
        return cache.history(str(bare), until).authors(since, until)

    dev = "dev@example.org <dev@example.org>"
    everybody = {dev, "Ada Lovelace <ada@company.example>", "Eve <eve@company.example>"}
    assert authors(old) == everybody
    assert authors(None) == everybody
    assert authors("f" * 40) == authors("not a commit") == authors(None)
    assert not any("Ada" in each for each in authors(middle))
    assert authors(new) == set()
    assert authors(None, old) == {dev}


def test_a_commit_that_is_kept_is_found_without_git(tmp_path, bare, work, monkeypatch):
    cache = GitCache(tmp_path / "cache")
    sha = commit(work, "a", "1")
    cache.fetch(str(bare), sha, "code")
    monkeypatch.setenv("PATH", "")
    cache.fetch(str(bare), sha, "code")


def test_a_name_that_was_half_written_keeps_nothing(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    sha = commit(work, "a", "1")
    cache.fetch(str(bare), sha, "code")
    (copy,) = (tmp_path / "cache").glob("*.git")
    (copy / "refs" / "trainyard" / sha).write_bytes(b"")
    cache.read(str(bare), sha, "code", lambda: None)
    assert (copy / "refs" / "trainyard" / sha).read_text(encoding="ascii") == f"{sha}\n"


@pytest.mark.parametrize("lost", ["{}", "{}^{{tree}}", "{}:a"], ids=["the commit", "its folder", "a file"])
@pytest.mark.parametrize("left", [None, b""], ids=["gone", "empty"])
def test_a_kept_commit_of_which_something_was_lost_is_fetched_again(tmp_path, bare, work, lost, left):
    cache = GitCache(tmp_path / "cache")
    sha = commit(work, "a", "1")
    cache.fetch(str(bare), sha, "code")
    (copy,) = (tmp_path / "cache").glob("*.git")
    name = run_git("rev-parse", lost.format(sha), cwd=work)
    (copy / "objects" / name[:2] / name[2:]).unlink()
    if left is not None:  # as a power cut leaves it
        (copy / "objects" / name[:2] / name[2:]).write_bytes(left)
    cache.fetch_and_checkout(str(bare), sha, "code", tmp_path / "tree")
    assert (tmp_path / "tree" / "a").read_text(encoding="utf-8") == "1"


def test_what_was_still_on_its_way_when_it_was_read_is_read_again(tmp_path, bare, work, monkeypatch):
    cache, sha = GitCache(tmp_path / "cache"), commit(work, "a", "1")
    cache.fetch(str(bare), sha, "code")
    (copy,) = (tmp_path / "cache").glob("*.git")
    name = run_git("rev-parse", f"{sha}:a", cwd=work)
    late, intact = copy / "objects" / name[:2] / name[2:], GitCache._intact
    late.rename(tmp_path / "late")

    def complete_by_then(*given):  # what git had started for a process that was killed writes on
        (tmp_path / "late").rename(late)
        return intact(*given)

    monkeypatch.setattr(GitCache, "_intact", complete_by_then)
    cache.fetch_and_checkout(str(bare), sha, "code", tmp_path / "tree")
    assert (tmp_path / "tree" / "a").read_text(encoding="utf-8") == "1"


def test_a_clone_is_maintained_before_another_may_use_it(tmp_path, bare, work):
    cache = GitCache(tmp_path / "cache")
    for number in range(3):
        for name in range(120):  # so many objects come as a pack
            (work / f"{number}-{name}").write_text(f"{number} {name}")
        cache.fetch(str(bare), commit(work, "a", str(number)), "code")
        (copy,) = (tmp_path / "cache").glob("*.git")
        run_git("config", "gc.autoPackLimit", "1", cwd=copy)
    assert len(list(copy.glob("objects/pack/*.pack"))) == 1
    assert not (copy / "gc.pid").exists()


def test_concurrent_readers_of_a_damaged_clone_repair_it_once(tmp_path, bare, work, monkeypatch):
    cache, sha = GitCache(tmp_path / "cache"), commit(work, "a", "1")
    cache.fetch(str(bare), sha, "code")
    fetched, fetch = [], GitCache._fetch
    monkeypatch.setattr(GitCache, "_fetch", lambda *given: (fetched.append(given), fetch(*given)))
    for _ in range(5):
        fetched.clear()
        shutil.rmtree(next((tmp_path / "cache").glob("*.git/objects")))
        targets = [tmp_path / secrets.token_hex(4) for _ in range(6)]
        processes.in_parallel(lambda target: cache.fetch_and_checkout(str(bare), sha, "code", target), targets)
        assert [(target / "a").read_text() for target in targets] == ["1"] * 6
        assert len(fetched) == 1


def test_it_works_inside_a_hook_where_git_sets_its_own_variables(tmp_path, bare, work, monkeypatch):
    sha = commit(work, "a", "1")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("GIT_QUARANTINE_PATH", str(tmp_path / "elsewhere"))
    cache = GitCache(tmp_path / "cache")
    cache.fetch(str(bare), sha, "code")
    cache.checkout(str(bare), sha, tmp_path / "tree").write()
    assert (tmp_path / "tree" / "a").exists()


class TestSsh:
    """Whichever ssh is asked for writes down how it was called."""

    @pytest.fixture
    def ssh(self, tmp_path, monkeypatch):
        for name in ("GIT_SSH", "GIT_SSH_COMMAND"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        (tmp_path / "bin").mkdir()
        for name in ("ssh", "own-ssh"):
            program = tmp_path / "bin" / name
            program.write_text(f'#!/bin/sh\necho {name} "$@" >> {tmp_path}/called\nexit 255\n', encoding="utf-8")
            program.chmod(0o755)

        def called():
            with pytest.raises((ConfigError, TryAgain)):
                git.head("ssh://git@localhost/x.git", "main", "code")
            return (tmp_path / "called").read_text(encoding="utf-8").splitlines()[-1]

        return called

    def test_it_asks_no_questions_when_nobody_has_chosen(self, ssh):
        assert ssh().startswith("ssh -o BatchMode=yes -o ConnectTimeout=20")

    def test_the_one_of_the_git_configuration_is_used(self, ssh, tmp_path):
        (tmp_path / "gitconfig").write_text("[core]\nsshCommand = own-ssh -i key\n", encoding="utf-8")
        assert ssh().startswith("own-ssh -i key")

    @pytest.mark.parametrize("name", ["GIT_SSH", "GIT_SSH_COMMAND"])
    def test_the_one_of_the_environment_is_used(self, ssh, monkeypatch, name):
        monkeypatch.setenv(name, "own-ssh")
        said = ssh()
        assert said.startswith("own-ssh")
        assert "BatchMode" not in said


def test_what_people_authenticate_with_reaches_git_and_what_a_hook_sets_does_not(monkeypatch):
    listed = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, text=True, check=True)
    of_a_hook = {*listed.stdout.split(), "GIT_QUARANTINE_PATH"} - {"GIT_CONFIG_COUNT"}
    own = {"GIT_ASKPASS", "GIT_SSH", "GIT_SSL_CAINFO", "GIT_SSL_CERT", "GIT_PROXY_COMMAND", "GIT_CONFIG_COUNT"}
    for name in of_a_hook | own:
        monkeypatch.setenv(name, "x")
    assert git.clean_environment().keys() & (of_a_hook | own) == own


@pytest.mark.parametrize(
    "url",
    [
        "https://me:secret@example.org/x.git",
        "https://ghp_secret@example.org/x.git",
        "https://me:sec/secret@example.org/x.git",
        "https://me:secret@secret/secret@example.org/x.git",
    ],
)
def test_a_password_never_shows(url):
    assert git.redact(url) == "https://example.org/x.git"
    assert git.redact(f"fatal: {url}: not found") == "fatal: https://example.org/x.git: not found"


def test_the_account_of_an_ssh_url_shows_and_its_password_does_not():
    assert git.redact("ssh://git@example.org:22/x.git") == "ssh://git@example.org:22/x.git"
    assert git.redact("ssh://git:secret@example.org:22/x.git") == "ssh://example.org:22/x.git"


def test_the_text_of_a_commit_cannot_rewrite_a_terminal(tmp_path, bare, work):
    subject = "good\x1b[2K\x1b]0;title\x07\u202e\x1f\x0cACCEPTED:\rtrained"
    sha = commit(work, "a", "1", subject)
    cache = GitCache(tmp_path / "cache")
    cache.fetch(str(bare), sha, "code")
    (found,) = cache.history(str(bare), sha).changes(None, sha, "code").commits
    assert (found.sha, found.author) == (sha, "dev@example.org")
    assert found.subject.isprintable()
    assert found.subject.startswith("good")
    assert found.subject.endswith("trained")
