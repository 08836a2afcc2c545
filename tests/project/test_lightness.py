"""The controller is light: a step starts in the time of a small script, because nothing heavy is ever imported there."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import flows
from training.data.spec import SPLITS

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "tensorflow", "keras", "ai_edge_litert", "numpy", "scipy", "pandas", "pyarrow", "sklearn", "palmerpenguins",
    "great_expectations", "matplotlib", "h5py", "PIL", "boto3", "botocore", "s3transfer",
}  # fmt: skip
LIGHT_PACKAGES = ("pipelines", "registry")
LIGHT_MODULES = ("serving.server.control", "retraining.policy")


def modules_of(package: str) -> list[str]:
    files = [each.relative_to(ROOT) for each in sorted((ROOT / package).rglob("*.py"))]
    heavy = [each for each in files if each.is_relative_to("pipelines/workers") and each.stem != "jobs"]
    heavy += [each for each in files if each.is_relative_to("pipelines/exports/given")]  # runs elsewhere
    return [
        ".".join(each.with_suffix("").parts)
        for each in files
        if each not in heavy and each.stem not in {"__init__", "__main__"}
    ]


CONTROLLER = [module for package in LIGHT_PACKAGES for module in modules_of(package)]
CONTROLLER += [module for module in LIGHT_MODULES if (ROOT / f"{module.replace('.', '/')}.py").exists()]


def python(code: str) -> list[str]:
    """What a fresh Python prints in its last line, as words."""
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


@pytest.fixture(scope="module")
def brought() -> dict[str, set[str]]:
    """Module → the packages that came with it, all in one process: the first that needs a package brings it."""
    code = f"""
import importlib, json, sys
brought = {{}}
for module in {CONTROLLER}:
    before = set(sys.modules)
    importlib.import_module(module)
    brought[module] = sorted({{name.partition(".")[0] for name in set(sys.modules) - before}})
print(json.dumps(brought, separators=(",", ":")))
"""
    return {module: set(packages) for module, packages in json.loads(python(code)[0]).items()}


@pytest.mark.parametrize("module", CONTROLLER)
def test_a_module_of_the_controller_loads_nothing_heavy(brought, module):
    assert not HEAVY & brought[module]


def packages_after(arguments: list[str]) -> set[str]:
    """What `trainyard` has loaded when it ends; it may say no, but must not break."""
    code = f"""
import runpy, sys
sys.argv = ["trainyard", *{arguments}]
try:
    runpy.run_module("pipelines", run_name="__main__")
except SystemExit as end:
    assert end.code != 1, "a bug"
print()
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    return set(python(code))


@pytest.mark.parametrize("command", ["", "run", "step", "registry", "promote", "demo"])
def test_help_loads_nothing_heavy(command):
    assert not HEAVY & packages_after([*command.split(), "--help"])


@pytest.mark.parametrize(
    "command",
    [
        "config show",
        "doctor",
        "registry list",
        "registry verify",
        "rollback digits",
        "demote digits",
        "monitor show",
        "monitor --once",
        "clean --dry-run",
    ],
)
def test_a_command_loads_nothing_heavy_while_it_runs(command, tmp_path):
    settings = tmp_path / "trainyard.toml"
    shutil.copy(ROOT / "examples" / "digits" / "trainyard.toml", settings)
    assert not HEAVY & packages_after([*command.split(), "--config", str(settings)])


@pytest.mark.parametrize(
    "command",
    [
        "--help",
        "config show",
        "doctor",
        "registry list",
        "registry verify",
        "rollback digits",
        "keys list",
        "run --help",
    ],
)
def test_a_command_that_neither_signs_nor_verifies_loads_no_cryptography(command, tmp_path):
    """The registry is new: nothing in it is signed."""
    settings = tmp_path / "trainyard.toml"
    shutil.copy(ROOT / "examples" / "digits" / "trainyard.toml", settings)
    given = [] if "--help" in command else ["--config", str(settings)]
    assert "cryptography" not in packages_after([*command.split(), *given])


def test_every_step_and_command_is_looked_at():
    """A step in a folder of its own would slip through the list above."""
    for package in ("pipelines/steps", "pipelines/commands"):
        packages = [path.parent for path in (ROOT / package).rglob("__init__.py")]
        assert packages == [ROOT / package]


@pytest.fixture(scope="module")
def light_step() -> dict[str, bool]:
    """The modules that the start of a light step loads → whether the standard library's `dataclass` is used there."""
    code = """
import json, sys, pipelines.__main__, registry.dataclass, pipelines.commands.step, pipelines.execute, pipelines.steps.fetch
import dataclasses
used = {name: getattr(module, "dataclass", None) is dataclasses.dataclass for name, module in sys.modules.items()}
print(json.dumps(used | {"dataclasses": False}, separators=(",", ":")))
"""
    return dict(json.loads(python(code)[0]))


def test_a_light_step_loads_nothing_of_reports_and_tensors(light_step):
    """What no step needs is time that every step takes."""
    assert not {
        "pipelines.text.markup",
        "pipelines.mail.compose",
        "pipelines.mail.facts",
        "pipelines.steps.resolve",
        "training.data.spec",
    } & set(light_step)


def test_a_light_step_loads_nothing_of_mails_and_sockets(light_step):
    assert not {"email", "socket", "http"} & set(light_step)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="later versions of `dataclasses` use `inspect` for each class")
def test_a_light_step_loads_no_disassembler(light_step):
    """It comes with `inspect`: see `registry.dataclass`."""
    assert not {"inspect", "dis", "ast"} & set(light_step)


def test_a_light_step_compiles_no_methods_that_nobody_calls(light_step):
    """Each dataclass of the standard library costs half a millisecond of every step: see `registry.dataclass`."""
    assert [name for name, used in light_step.items() if used] == []


def test_the_controller_expects_the_splits_that_a_worker_makes():
    assert [path.rpartition("/")[2] for path in flows.validate.outputs[1:]] == list(SPLITS)
