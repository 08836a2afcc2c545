"""The folders are as the design has them, and the traps of this layout stay disarmed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = ("registry", "training", "retraining", "unit_tests", "serving", "pipelines")
FOLDERS = (*PACKAGES, "jenkins", "docker", "examples", "benchmarks", "tests", "docs", "docs/adr")
FILES = (
    "Jenkinsfile",
    "README.md",
    "LICENSE",
    "Makefile",
    "pyproject.toml",
    "requirements.txt",
    ".ci/run",
    ".gitignore",
)


def tracked_files() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [Path(name) for name in done.stdout.decode().split("\0") if name]


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_project_has_this_folder(folder):
    assert (ROOT / folder).is_dir()


@pytest.mark.parametrize("file", FILES)
def test_the_project_has_this_file(file):
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("folder", ["docker", "jenkins"])
def test_no_python_where_a_folder_bears_the_name_of_a_package(folder):
    """`import docker` must find the SDK, not one of these folders."""
    assert not list((ROOT / folder).rglob("*.py"))
    assert folder not in PROJECT["tool"]["setuptools"]["packages"]


def test_docker_and_jenkins_are_the_packages_also_at_the_root_of_the_checkout():
    code = "import docker, jenkins; docker.DockerClient, jenkins.Jenkins"
    subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, check=True)


def test_every_package_is_installed():
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for package in PACKAGES
        for path in (ROOT / package).rglob("__init__.py")
    }
    assert found == set(PROJECT["tool"]["setuptools"]["packages"])


def test_pytest_collects_our_tests_only():
    assert PROJECT["tool"]["pytest"]["ini_options"]["testpaths"] == ["tests"]


def test_every_tests_folder_mirrors_a_package():
    allowed = {*PACKAGES, "examples", "project", "benchmarks", "loop", "faults", "jenkins", "helpers"}
    assert {path.parent.name for path in (ROOT / "tests").glob("*/test_*.py")} <= allowed


def test_nothing_large_or_made_by_a_machine_is_committed():
    for path in tracked_files():
        assert path.suffix not in {".pyc", ".keras", ".h5", ".tflite", ".npy", ".npz"}, path
        if (ROOT / path).is_file():
            assert (ROOT / path).stat().st_size < 1_000_000, path
