"""The base image's packages come from the mirror that the machine's own apt uses, or from one that a person names."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

BASE = Path(__file__).resolve().parents[2] / "docker" / "base"
DEB822 = """\
Types: deb deb-src
URIs: https://mirror.example.org/debian/
Suites: trixie trixie-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://disabled.example.org/debian
Suites: trixie-updates
Components: main

Types: deb
URIs: https://mirror.example.org/security
Suites: trixie-security
Components: main
"""
DEBIAN = (
    "deb http://debian.example.org/debian bookworm main\ndeb http://debian.example.org/debian bookworm-updates main\n"
)
SECURITY = "deb http://security.example.org/debian-security bookworm-security main\n"
THIRD = "deb [arch=amd64] https://tools.example.org/apt bookworm main\ndeb https://flat.example.org/ ./\n"
UBUNTU = "deb http://ubuntu.example.org/ubuntu noble main\ndeb http://ubuntu.example.org/ubuntu noble-updates main\n"

pytestmark = pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt on this machine")


@pytest.fixture
def environment(tmp_path):
    """An environment whose apt reads these sources, as in a slim image without the lists that it has downloaded."""

    def environment(one_line="", deb822=""):
        parts = tmp_path / "sources.list.d"
        parts.mkdir()
        (tmp_path / "lists").mkdir()
        (parts / "one.list").write_text(one_line)
        (parts / "two.sources").write_text(deb822)
        config = tmp_path / "apt.conf"
        config.write_text(
            f'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "{parts}";\nDir::State::lists "{tmp_path}/lists";\n'
        )
        return os.environ | {"APT_CONFIG": str(config)}

    return environment


@pytest.mark.parametrize(
    ("one_line", "deb822", "found"),
    [
        (DEBIAN, "", ["http://debian.example.org/debian", "http://debian.example.org/debian-security"]),
        (DEBIAN + SECURITY, "", ["http://debian.example.org/debian", "http://security.example.org/debian-security"]),
        (THIRD + DEBIAN, "", ["http://debian.example.org/debian", "http://debian.example.org/debian-security"]),
        (THIRD, DEB822, ["https://mirror.example.org/debian", "https://mirror.example.org/security"]),
        (
            "deb cdrom:[Debian GNU/Linux 13 _Trixie_]/ sid main\ndeb http://debian.example.org/debian sid main\n", "",
            ["http://debian.example.org/debian", "http://debian.example.org/debian-security"],
        ),
    ],
    ids=["one mirror", "a mirror for security", "beside a third party", "deb822", "sid, and a disc"],
)  # fmt: skip
def test_the_mirrors_are_those_of_apt(environment, one_line, deb822, found):
    done = subprocess.run(
        [BASE / "mirrors"], env=environment(one_line, deb822), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == found


def test_a_list_of_mirrors_gives_its_first(environment, tmp_path):
    (tmp_path / "mirrors").write_text(
        "# fast\nhttps://near.example.org/debian/\tpriority:1\nhttps://far.example.org/debian\n"
    )
    sources = f"deb mirror+file:{tmp_path}/mirrors bookworm-updates main\n"
    done = subprocess.run([BASE / "mirrors"], env=environment(sources), capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["https://near.example.org/debian", "https://near.example.org/debian-security"]


@pytest.mark.parametrize("sources", ["", UBUNTU, "deb https://flat.example.org/ ./\n"], ids=["none", "Ubuntu", "flat"])
def test_without_a_mirror_of_debian_one_is_asked_for(environment, sources):
    done = subprocess.run([BASE / "make"], env=environment(sources), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "names no mirror with Debian's packages" in done.stderr
    assert "hint: name the address of one: docker/base/make MIRROR" in done.stderr
    assert done.stdout == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="docker/base/make runs as root")
@pytest.mark.parametrize(
    ("arguments", "used"),
    [
        ([], ["http://debian.example.org/debian", "http://debian.example.org/debian-security"]),
        (["http://given.example.org/debian"], ["http://given.example.org/debian", "http://given.example.org/debian-security"]),
        (["http://a.example.org/x", "http://b.example.org/y"], ["http://a.example.org/x", "http://b.example.org/y"]),
    ],
    ids=["apt's", "given", "both given"],
)  # fmt: skip
def test_the_base_image_is_made_from_these_mirrors(environment, tmp_path, arguments, used):
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    if not keyring.exists():
        pytest.skip(f"no {keyring}")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, script in {"docker": "exit 0", "mmdebstrap": f'printf "%s\\n" "$@" >{tmp_path}/asked; exit 1'}.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    given = environment(DEBIAN)
    given["PATH"] = f"{programs}:{given['PATH']}"
    done = subprocess.run([BASE / "make", *arguments], env=given, capture_output=True, text=True, check=False)
    assert (done.returncode, "mmdebstrap failed" in done.stderr) == (2, True)
    mirror, security = used
    assert (tmp_path / "asked").read_text().splitlines()[-3:] == [
        f"deb {mirror} bookworm main",
        f"deb {mirror} bookworm-updates main",
        f"deb {security} bookworm-security main",
    ]
