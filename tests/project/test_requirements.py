"""The pins are complete: an installation today and one next year are the same, on every Python that we support."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11.7", "3.12.1", "3.13.0")
MACHINES = {
    "Linux on x86-64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "Linux on ARM": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macOS on ARM": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}


def requirements(name: str) -> list[Requirement]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    lines = [re.sub(r"(^|\s)#.*", "", line).strip() for line in lines]
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def environment(python: str, machine: str) -> dict[str, str]:
    return {
        **MACHINES[machine],
        "python_full_version": python,
        "python_version": python.rpartition(".")[0],
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "extra": "",
    }


def chosen(name: str, python: str, machine: str) -> dict[str, Requirement]:
    """The requirements of a file that count on one machine, by name; two for one name are a problem."""
    found: dict[str, Requirement] = {}
    for each in requirements(name):
        if each.marker is None or each.marker.evaluate(environment(python, machine)):
            key = canonicalize_name(each.name)
            assert key not in found, f"{name}: {each.name} twice on Python {python}"
            found[key] = each
    return found


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned(file):
    for each in requirements(file):
        operators = [specifier.operator for specifier in each.specifier]
        assert operators == ["=="], f"{file}: {each}"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_pins_are_in_step_with_what_is_asked_for(name, python, machine):
    pins = chosen(f"{name}.txt", python, machine)
    for key, wanted in chosen(f"{name}.in", python, machine).items():
        assert key in pins, f"{name}.in asks for {wanted.name}, {name}.txt has no pin: make lock"
        version = str(pins[key].specifier).removeprefix("==")
        assert wanted.specifier.contains(version, prereleases=True), f"{wanted} but {pins[key]}: make lock"


@pytest.mark.parametrize("python", PYTHONS)
def test_the_main_install_has_the_small_tensorflow(python):
    linux = chosen("requirements.txt", python, "Linux on x86-64")
    assert "tensorflow-cpu" in linux
    assert "tensorflow" not in linux
    assert not [name for name in linux if name.startswith("nvidia-")]
    assert "tensorflow" in chosen("requirements.txt", python, "Linux on ARM")


def test_both_files_agree_where_they_overlap():
    runtime = {
        (canonicalize_name(each.name), str(each.marker)): each.specifier for each in requirements("requirements.txt")
    }
    for each in requirements("requirements-dev.txt"):
        pin = runtime.get((canonicalize_name(each.name), str(each.marker)), each.specifier)
        assert pin == each.specifier, each
