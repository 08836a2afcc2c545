"""The git server of the tests on a real Jenkins works like one."""

from __future__ import annotations

import subprocess

from git_http import GitServer


def git(*arguments, cwd=None):
    person = [part for name in ("user.name", "user.email") for part in ("-c", f"{name}=dev@example.org")]
    done = subprocess.run(["git", *person, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_is_pushed_to_the_folder_is_fetched_over_http(tmp_path):
    git("init", "--quiet", "--bare", "--initial-branch=main", "served/code.git", cwd=tmp_path)
    git("clone", "--quiet", "served/code.git", "work", cwd=tmp_path)
    (tmp_path / "work/model.py").write_text("# a model\n" * 20_000, encoding="utf-8")
    git("add", ".", cwd=tmp_path / "work")
    git("commit", "--quiet", "-m", "first", cwd=tmp_path / "work")
    git("push", "--quiet", "origin", "HEAD:main", cwd=tmp_path / "work")
    with GitServer(tmp_path / "served") as server:
        url = f"{server.url}/code.git"
        assert git("ls-remote", url, "refs/heads/main").split()[0] == git("rev-parse", "HEAD", cwd=tmp_path / "work")
        git("clone", "--quiet", "--depth=1", url, "shallow", cwd=tmp_path)
        git("clone", "--quiet", url, "whole", cwd=tmp_path)
    for copy in ("shallow", "whole"):
        assert (tmp_path / copy / "model.py").read_bytes() == (tmp_path / "work/model.py").read_bytes()
