"""No file names the host of a package registry: which one is reached is known where Trainyard is installed."""

import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {  # in pieces, so that this file does not name them either
    "Python": [("pypi", "org"), ("files", "pythonhosted", "org"), ("conda", "anaconda", "org")],
    "Debian": [("deb", "debian", "org"), ("security", "debian", "org"), ("snapshot", "debian", "org"), ("ftp", "debian", "org")],
    "Ubuntu": [("archive", "ubuntu", "com"), ("security", "ubuntu", "com")],
    "Node": [("registry", "npmjs", "org"), ("registry", "yarnpkg", "com"), ("deb", "nodesource", "com")],
    "containers": [
        ("registry-1", "docker", "io"), ("index", "docker", "io"), ("auth", "docker", "io"), ("hub", "docker", "com"),
        ("ghcr", "io"), ("gcr", "io"), ("quay", "io"), ("nvcr", "io"), ("mcr", "microsoft", "com"),
    ],
    "Java": [("repo", "maven", "apache", "org"), ("repo1", "maven", "org"), ("repo", "jenkins-ci", "org"), ("updates", "jenkins", "io")],
    "others": [("proxy", "golang", "org"), ("crates", "io"), ("rubygems", "org")],
}  # fmt: skip


@pytest.fixture(scope="module")
def texts():
    """Path → text of each tracked file."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    files = [ROOT / name for name in names.split("\0") if name]
    return {file: file.read_text(encoding="utf-8", errors="replace").lower() for file in files if file.is_file()}


@pytest.mark.parametrize("kind", HOSTS)
def test_no_file_names_a_registry(texts, kind):
    hosts = [".".join(pieces) for pieces in HOSTS[kind]]
    found = [f"{file.relative_to(ROOT)}: {host}" for file, text in texts.items() for host in hosts if host in text]
    assert found == []


def test_the_lock_file_of_node_has_checksums_and_no_addresses():
    lock = json.loads((ROOT / "tests" / "jenkinsfiles" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: each for name, each in lock["packages"].items() if name}
    assert packages
    assert [name for name, each in packages.items() if "resolved" in each or "integrity" not in each] == []
