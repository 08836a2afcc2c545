"""The Makefile: `make` lists every target, and set-up is careful with what it finds."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from _pytest.mark.expression import Expression

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def phony_targets() -> list[str]:
    return re.findall(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[0].split()


PYTHON = """#!/bin/bash
# A Python that makes believe: it writes down what it is asked to do.
echo "$*" >>"$CALLS"
case "$*" in
    *"-m venv "*) mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python"; echo "#!${@: -1}/bin/python" >"${@: -1}/bin/pip" ;;
    *"pip install"*) if [[ -e $CALLS.fail ]]; then echo no network; exit 1; fi ;;
    *version_info*) ! [[ -e $CALLS.old ]] ;;
    *ensurepip*) ! [[ -e $CALLS.bare ]] ;;
    *sys.version*) echo 3.11.7 ;;
esac
"""


class Checkout:
    """A checkout without a .venv, and a Python that is not one: only what set-up looks at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "trainyard"
        shutil.copytree(ROOT / ".ci", self.folder / ".ci")
        for name in ("Makefile", "requirements.txt", "requirements-dev.txt", "pyproject.toml"):
            shutil.copy(ROOT / name, self.folder)
        self.python = folder / "python3"
        self.python.write_text(PYTHON)
        self.python.chmod(0o755)
        self.calls = folder / "calls"

    def start(self, target: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.folder),
            "CALLS": str(self.calls),
            "PYTHON": str(self.python),
        }
        command = ["make", "--no-print-directory", target]
        return subprocess.Popen(command, cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True)

    def make(self, target: str) -> tuple[int, str]:
        started = self.start(target)
        output = started.communicate()[1]
        return started.returncode, output

    def count(self, what: str) -> int:
        """How often Python was asked for something, since the last time."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.write_text("")
        return sum(what in line for line in lines)

    def inject(self, what: str) -> Path:
        (mark := self.calls.with_name(f"calls.{what}")).touch()
        return mark


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.mark.parametrize("target", phony_targets())
def test_help_lists_every_target(target):
    help_text = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^  make {target} +\S", help_text, re.MULTILINE), help_text


def test_every_target_is_declared():
    assert set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) == set(phony_targets())


MARKS = [set(each) for count in range(4) for each in itertools.combinations(("slow", "docker", "long"), count)]


@pytest.mark.parametrize("marks", MARKS, ids=lambda marks: "-".join(sorted(marks)) or "none")
def test_every_test_is_run_by_ci_or_by_one_opt_in_target(marks):
    chosen = re.findall(
        r'^([a-z-]+): .*\n.*pytest \$\(PYTEST\)(?: --timeout \d+)? -m "?([^"\n]*)"?$', MAKEFILE, re.MULTILINE
    )
    running = {name for name, words in chosen if Expression.compile(words).evaluate(lambda mark, **_: mark in marks)}
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert len(running & {"test-ci", "test-slow", "fuzz"}) == 1
    assert ("test" in running) == (not marks)
    assert re.search(r"^make test-ci$", ci, re.MULTILINE)
    assert "make fuzz" not in ci
    assert "make test-slow" not in ci


def test_the_environment_lies_in_the_checkout():
    assert ".venv/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert re.search(r"^VENV +:= \.venv$", MAKEFILE, re.MULTILINE)


def test_set_up_is_done_once(checkout):
    assert checkout.make("setup")[0] == 0
    assert checkout.count("pip install") == 2  # the pins, and Trainyard itself
    assert checkout.make("setup") == (0, "")
    assert checkout.count("-m pip") == 0


def test_a_changed_pin_is_installed_into_the_environment_that_exists(checkout):
    checkout.make("setup")
    checkout.count("")
    with (checkout.folder / "requirements.txt").open("a") as file:
        file.write("another==1.0\n")
    assert checkout.make("setup")[0] == 0
    assert "-m venv" not in checkout.calls.read_text()
    assert checkout.count("pip install") == 2


def test_the_tests_need_more_than_the_demo(checkout):
    checkout.make("setup")
    checkout.count("")
    checkout.make("setup-dev")
    assert checkout.count("requirements-dev.txt") == 1
    assert checkout.make("setup") == (0, "")


def test_a_set_up_that_broke_off_is_begun_anew(checkout):
    mark = checkout.inject("fail")
    code, output = checkout.make("setup")
    assert code == 2  # make's own; .ci/setup gives 75
    assert "no network" in output
    assert "hint: " in output
    mark.unlink()
    checkout.count("")
    assert checkout.make("setup")[0] == 0
    assert "-m venv" in checkout.calls.read_text()


def test_two_at_once_install_once(checkout):
    both = [checkout.start("setup") for _ in range(2)]
    for each in both:
        each.communicate()
    assert [each.returncode for each in both] == [0, 0]
    assert checkout.count("pip install") == 2


def test_an_environment_that_was_moved_is_built_anew(checkout, tmp_path):
    checkout.make("setup")
    checkout.folder = checkout.folder.rename(tmp_path / "elsewhere")
    checkout.count("")
    assert checkout.make("setup")[0] == 0
    assert checkout.count("-m venv") == 1


def test_a_python_that_is_too_old_is_reported(checkout):
    checkout.inject("old")
    code, output = checkout.make("setup")
    assert code == 2
    assert "needs Python 3.11, 3.12 or 3.13" in output
    assert not (checkout.folder / ".venv").exists()


def test_a_python_without_venv_is_reported_with_the_line_for_apt(checkout):
    checkout.inject("bare")
    code, output = checkout.make("setup")
    assert code == 2
    assert "apt-get install python3-venv" in output
