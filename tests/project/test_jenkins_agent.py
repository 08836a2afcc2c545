"""jenkins/prepare and jenkins/trainyard, as a Jenkins agent runs them: real bash, real pip, a small requirements.txt."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CONFIG = 'model = "digits"\n[repositories]\ncode = "a"\ndataset = "b"\ntests = "c"\n'
BACKEND = """
# Builds a package without anything in it, once the file GATE is there.
import base64, hashlib, os, time, zipfile
def build_wheel(folder, settings=None, metadata=None):
    gate = os.environ["GATE"]
    open(gate + ".waiting", "a").write("x")
    while not os.path.exists(gate): time.sleep(0.05)
    name = "tiny-1.0-py3-none-any.whl"
    info = "tiny-1.0.dist-info/"
    files = {"tiny.py": "", info + "METADATA": "Metadata-Version: 2.1\\nName: tiny\\nVersion: 1.0\\n",
             info + "WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items(): wheel.writestr(path, text)
        wheel.writestr(info + "RECORD", "".join(f"{each},,\\n" for each in (*files, info + "RECORD")))
    return name
"""


class Agent:
    """An agent with one workspace, in which this repository is checked out with a small requirements.txt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "shared by jobs"
        self.package = folder / "tiny package"
        self.gate = folder / "gate"
        self.package.mkdir(parents=True)
        (self.package / "backend.py").write_text(BACKEND, encoding="utf-8")
        (self.package / "pyproject.toml").write_text(
            '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n', encoding="utf-8"
        )
        self.requirements = f"tiny @ {self.package.as_uri()}\n"
        self.gate.touch()

    def workspace(self, name: str = "a job") -> Workspace:
        return Workspace(self, self.folder / "workspaces" / name)

    def environment(self, **more: str) -> dict[str, str]:
        """What the agent's process has, with settings of its user that must not reach ours."""
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG"}}
        return kept | {
            "HOME": str(self.folder), "TRAINYARD_ENVIRONMENTS": str(self.shared), "GATE": str(self.gate),
            "PIP_NO_INDEX": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": "/nowhere", "PIP_USER": "1", **more,
        }  # fmt: skip

    @property
    def kinds(self) -> list[str]:
        return sorted(path.name.partition("-")[0] for path in self.shared.iterdir() if path.is_dir())


class Workspace:
    """The folder of one job."""

    def __init__(self, agent: Agent, root: Path) -> None:
        self.agent, self.root, self.pipeline = agent, root, root / "pipeline"
        ours = subprocess.check_output(["git", "ls-files", "-z", "*.py", "jenkins"], cwd=ROOT, text=True).split("\0")
        for name in filter(lambda each: each and each.split("/")[0] not in {"tests", "benchmarks", "examples"}, ours):
            if (ROOT / name).exists():
                (self.pipeline / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.pipeline / name)
        self.git("init", "--quiet")
        self.commit(requirements=agent.requirements)

    def git(self, *words: str) -> str:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        return subprocess.check_output(["git", *who, *words], cwd=self.pipeline, text=True).strip()

    def commit(self, requirements: str) -> str:
        (self.pipeline / "requirements.txt").write_text(requirements, encoding="utf-8")
        (self.pipeline / "trainyard.toml").write_text(CONFIG, encoding="utf-8")
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", str(self.root))
        return self.git("rev-parse", "HEAD")

    def start(self, name: str, *words: str, **more: str) -> subprocess.Popen[str]:
        """As a step `sh` starts it: in the workspace, in a process group of its own."""
        return subprocess.Popen(
            [f"pipeline/jenkins/{name}", *words], cwd=self.root, text=True, start_new_session=True,
            env=self.agent.environment(WORKSPACE=str(self.root), **more),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, name: str, *words: str, code: int = 0, **more: str) -> str:
        process = self.start(name, *words, **more)
        output = "".join(process.communicate(timeout=200))
        assert process.returncode == code, output
        return output


@pytest.fixture
def agent(tmp_path):
    return Agent(tmp_path / "an agent")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """An agent that is prepared, for tests that leave it so."""
    agent = Agent(tmp_path_factory.mktemp("prepared") / "an agent")
    workspace = agent.workspace()
    assert "Setting up the packages" in workspace.run("prepare")
    return workspace


def until(condition):
    for _ in range(1200):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


def test_what_exists_is_not_made_again(prepared):
    made = {path: path.stat().st_mtime_ns for path in prepared.agent.shared.iterdir()}
    assert prepared.run("prepare") == ""
    assert {path: path.stat().st_mtime_ns for path in prepared.agent.shared.iterdir()} == made
    assert prepared.agent.kinds == ["code", "venv"]


def test_all_jobs_of_an_agent_share_the_packages_and_each_commit_has_its_code(prepared):
    other = prepared.agent.workspace("another job")
    assert "Setting up" not in other.run("prepare")
    assert prepared.agent.kinds.count("venv") == 1
    first, second = (each.root.joinpath("environment", "code").resolve() for each in (prepared, other))
    assert first.name != second.name
    assert list(first.glob("pipelines/__pycache__/*.pyc")), "compiled, whatever the agent's user has set"


def test_the_command_line_runs_on_the_code_of_the_commit_from_any_folder_with_blanks(prepared):
    assert 'model = "digits"' in prepared.run("trainyard", "config", "show")
    code = (prepared.root / "environment" / "code").resolve()
    (prepared.pipeline / "pipelines" / "__main__.py").write_text(
        "raise SystemExit('a workspace holds no code')", "utf-8"
    )
    assert "usage: trainyard step" in prepared.run("trainyard", "step", "--help")
    prepared.git("checkout", "--quiet", ".")
    assert not [path for path in code.rglob("*") if str(prepared.root).encode() in path.name.encode()]
    command = (prepared.root / "environment" / "venv" / "bin" / "trainyard").resolve()
    output = subprocess.check_output([command, "--help"], text=True, env={"PATH": "/usr/bin:/bin"})
    assert "CI/CD for machine-learning models" in output


def test_the_job_of_one_of_several_models_knows_it_by_its_parameter(prepared):
    (prepared.pipeline / "trainyard.toml").write_text(CONFIG.partition("\n")[2], encoding="utf-8")
    for name in ("cats", "dogs"):
        (prepared.pipeline / "models" / name).mkdir(parents=True)
        (prepared.pipeline / "models" / name / "trainyard.toml").touch()
    job = {
        "TRAINYARD_MODEL": "dogs",
        "JOB_NAME": "dogs/code",
    }  # Jenkins puts the parameters of a build into its environment
    assert 'model = "dogs"' in prepared.run("trainyard", "config", "show", **job)
    assert "whose Jenkins jobs are in the folder dogs" in prepared.run(
        "trainyard", "config", "show", code=2, **job | {"JOB_NAME": "cats/code"}
    )
    output = prepared.run("trainyard", "step", "fetch", "--build", "build", code=2, **job)
    assert 'e.g. home = "/var/lib/trainyard", or' in output
    assert "which model? There are cats, dogs" in prepared.run("trainyard", "config", "show", code=2)
    shutil.rmtree(prepared.pipeline / "models")
    prepared.git("checkout", "--quiet", ".")


def test_its_exit_code_is_that_of_the_step(prepared):
    output = prepared.run("trainyard", "step", "fetch", "--build", "build", code=2)
    assert "home is" in output, "in the workspace of one job"
    output = prepared.run(
        "trainyard", "step", "fetch", "--build", "build", code=2, TRAINYARD_HOME=str(prepared.agent.folder / "h")
    )
    assert "leads to no run" in output


def test_an_agent_that_is_not_prepared_for_this_commit_is_refused(prepared, agent):
    assert "this agent is not prepared" in agent.workspace().run("trainyard", "--help", code=2)
    before = prepared.git("rev-parse", "HEAD")
    prepared.commit(prepared.agent.requirements)
    output = prepared.run("trainyard", "--help", code=2)
    assert "prepared for another commit" in output
    assert "hint: " in output
    prepared.git("reset", "--quiet", "--hard", before)
    prepared.run("trainyard", "--help")


def test_other_packages_are_another_environment(prepared):
    before = prepared.git("rev-parse", "HEAD")
    old = (prepared.root / "environment" / "venv").resolve()
    prepared.commit(prepared.agent.requirements + "# changed\n")
    assert "Setting up the packages" in prepared.run("prepare")
    assert (prepared.root / "environment" / "venv").resolve() != old
    assert old.exists(), "a running API may still need it"
    prepared.git("reset", "--quiet", "--hard", before)
    assert prepared.run("prepare") == ""
    assert (prepared.root / "environment" / "venv").resolve() == old


def test_of_two_at_once_one_prepares_and_the_other_waits(agent):
    workspaces = [agent.workspace(name) for name in ("one", "two")]
    agent.gate.unlink()
    waiting = Path(f"{agent.gate}.waiting")
    first = workspaces[0].start("prepare")
    until(waiting.exists)
    second = workspaces[1].start("prepare")
    assert "another build is setting up this agent" in second.stderr.readline()
    agent.gate.touch()
    assert (first.wait(200), second.wait(200)) == (0, 0)
    first.communicate(), second.communicate()
    assert waiting.read_text() == "x", "pip ran once"
    assert agent.kinds == ["code", "code", "venv"]
    for each in workspaces:
        each.run("trainyard", "--help")


@pytest.mark.parametrize("whole_group", [True, False], ids=["with its children", "alone"])
def test_one_that_was_killed_half_way_is_begun_anew(agent, whole_group):
    workspace = agent.workspace()
    agent.gate.unlink()
    waiting = Path(f"{agent.gate}.waiting")
    killed = workspace.start("prepare")
    until(waiting.exists)
    (os.killpg if whole_group else os.kill)(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdout.close(), killed.stderr.close()
    assert "not prepared" in workspace.run("trainyard", "--help", code=2)
    again = workspace.start("prepare")
    if not whole_group:  # pip lives on, and writes: who comes waits for it
        assert "another build is setting up this agent" in again.stderr.readline()
    agent.gate.touch()
    output = again.communicate(timeout=200)[1]
    assert again.returncode == 0, output
    assert "Setting up the packages" in output
    workspace.run("trainyard", "--help")


def test_half_a_copy_of_the_code_is_not_taken_for_whole(prepared):
    head = prepared.commit(prepared.agent.requirements)
    (prepared.agent.shared / f"code-{head}.half" / "pipelines").mkdir(parents=True)
    prepared.run("prepare")
    assert not list(prepared.agent.shared.glob("*.half"))
    prepared.run("trainyard", "--help")


def test_without_network_it_may_succeed_later(agent):
    agent.requirements = "a-package-that-no-index-has==1.0\n"
    workspace = agent.workspace()
    output = workspace.run("prepare", code=75)
    assert "No matching distribution" in output, "what pip said"
    assert "without network or behind a proxy" in output
    assert "not prepared" in workspace.run("trainyard", "--help", code=2)


def test_what_pip_refuses_needs_a_person(agent):
    agent.requirements = "this is not a requirement !\n"
    assert "pip refuses requirements.txt" in agent.workspace().run("prepare", code=2)


def test_a_missing_part_of_python_is_named_with_its_package(agent, tmp_path):
    venv.create(tmp_path / "lame", symlinks=True)
    python = tmp_path / "without venv"
    python.write_text(
        f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec {tmp_path}/lame/bin/python "$@"\n', encoding="utf-8"
    )
    python.chmod(0o755)
    workspace = agent.workspace()
    assert "sudo apt-get install python3-venv" in workspace.run("prepare", code=2, PYTHON=str(python))
    assert "Python 3.11, 3.12 or 3.13" in workspace.run("prepare", code=2, PYTHON="/bin/false")


def test_a_missing_program_is_named_with_its_package(agent, tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("bash", "env", "dirname", "git", "tar", "sha256sum", "python3"):
        (programs / name).symlink_to(shutil.which(name))
    assert "sudo apt-get install util-linux" in agent.workspace().run("prepare", code=2, PATH=str(programs))
