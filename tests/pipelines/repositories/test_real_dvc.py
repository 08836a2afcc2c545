"""Repositories that the real DVC has made, where it is installed: `DVC` names its program, or it is on the path."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from outside_git import put
from repositories_parts import git

PROGRAM = os.environ.get("DVC") or shutil.which("dvc")
FILES = {"data.csv": b"a,b\r\n1,2\r\n" * 99, "images/cat/1.png": b"\x89PNG" * 9, "images/dog/x.png": b"\x89PNG" * 8}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROGRAM, reason="DVC is not installed; DVC=/path/to/dvc names it"),
]


def dvc(*arguments, cwd):
    environment = os.environ | {"DVC_NO_ANALYTICS": "1", "DVC_SITE_CACHE_DIR": str(cwd / ".site")}
    subprocess.run([PROGRAM, *arguments, "--quiet"], cwd=cwd, env=environment, check=True)


def test_what_dvc_has_pushed_comes_into_a_run(tmp_path, repository, bring):
    data = repository("data")
    for name, content in FILES.items():
        put(data.work / name, content)
    put(
        data.work / "dvc.yaml",
        b"stages:\n  copy:\n    cmd: cp data.csv out.csv\n    deps: [data.csv]\n    outs: [out.csv]\n",
    )
    put(data.work / ".gitignore", b"/.site\n")
    dvc("init", cwd=data.work)
    dvc("remote", "add", "--default", "store", str(tmp_path / "remote"), cwd=data.work)
    dvc("add", "data.csv", "images", cwd=data.work)
    dvc("repro", cwd=data.work)
    dvc("push", cwd=data.work)
    commit = data.commit({})
    assert "data.csv" not in git("ls-files", cwd=data.work).split()
    got = bring(data.url, commit, trusted=(str(tmp_path / "remote"),))
    assert {name: (got / name).read_bytes() for name in FILES} == FILES
    assert (got / "out.csv").read_bytes() == FILES["data.csv"]
