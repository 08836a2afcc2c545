"""`kill -9` of the Docker engine while a worker trains in a container. On an engine of the test's own: nobody else's is touched.

The training is one without TensorFlow, in the API's small image: what counts is what becomes of the worker and its checkpoints.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from faults_parts import alive, clean_environment, follow, wait_for

pytestmark = pytest.mark.docker
TRAINING = """
import json, sys, time
from pathlib import Path

done = Path("checkpoints/epochs")
done.parent.mkdir(exist_ok=True)
first = int(done.read_text()) + 1 if done.exists() else 1
for epoch in range(first, 7):
    print("epoch", epoch, flush=True)
    time.sleep(0.3)
    done.with_name("new").write_text(str(epoch))
    done.with_name("new").replace(done)
Path("result.json").write_text(json.dumps({"schema": 1}))
"""


class OwnEngine:
    """A dockerd with folders, a socket and a containerd of its own, and no network."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.host = folder, f"unix://{folder / 'docker.sock'}"

    def start(self) -> None:
        paths = ["--data-root", "data", "--exec-root", "exec", "--pidfile", "pid"]
        paths = [self.folder / each if not each.startswith("--") else each for each in paths]
        left = self.folder / "exec" / "containerd" / "containerd.pid"
        if left.exists() and not alive(int(left.read_text())):  # dockerd takes one that was not reaped for alive
            left.unlink()
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # In a network of its own: `--bridge=none` deletes docker0, which on this machine is another engine's.
                ["unshare", "--net", "dockerd", *paths, "-H", self.host, "--bridge=none", "--iptables=false", "--ip6tables=false"],
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        wait_for(self.answers, pause=0.1)

    def answers(self) -> bool:
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        return self.docker("version", check=False).returncode == 0

    def docker(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["docker", "-H", self.host, *arguments], capture_output=True, text=True, check=check)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """The engine with its containers, and whatever a killed one has left: all that names its folder."""
        if containers := self.docker("ps", "-aq", check=False).stdout.split():
            self.docker("rm", "-f", *containers, check=False)
        self._process.terminate()
        self._process.wait()
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if os.fsencode(self.folder / "exec") in command.read_bytes():
                    os.kill(int(command.parent.name), signal.SIGKILL)
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
        for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
            if line.split()[1].startswith((str(self.folder), str((self.folder / "data").resolve()))):
                subprocess.run(["umount", "--lazy", line.split()[1]], check=False, capture_output=True)


@pytest.fixture(scope="module")
def own_engine(engine, serve_image, tmp_path_factory):
    """An engine that holds the API's image; gives it and the image."""
    if os.geteuid() != 0 or not shutil.which("dockerd"):
        pytest.skip("an engine of the test's own needs root and dockerd")
    folder = Path(f"/run/trainyard-test-{os.getpid()}")  # a socket's path is short; an overlay needs a real disk
    folder.mkdir()
    data = tmp_path_factory.mktemp("engine")
    (folder / "data").symlink_to(data)
    own = OwnEngine(folder)
    try:
        own.start()
        saved = subprocess.Popen(["docker", "save", serve_image], stdout=subprocess.PIPE)
        subprocess.run(["docker", "-H", own.host, "load"], stdin=saved.stdout, check=True, capture_output=True)
        saved.stdout.close()
        assert saved.wait() == 0
        yield own, serve_image
    finally:
        own.end()
        subprocess.run(["rm", "-rf", str(folder), str(data)], check=False)


CONTROLLER = """
import sys
from pathlib import Path
from pipelines.config.schema import RunnerConfig
from pipelines.runners import Job, Limits
from pipelines.runners.docker.runner import ContainerRunner
from registry.errors import PipelineError

image, transport, jobs, folder = sys.argv[1:]
folder = Path(folder)
environment, inputs = {"PYTHONPATH": "inputs/jobs"}, {"jobs": Path(jobs)}
job = Job("train", ("fake_training",), folder / "job", Limits(120, 0), inputs, environment, image="serve")
runner = ContainerRunner(RunnerConfig(kind="docker"), folder / "cache", image, grace=0.5, transport=transport)
try:
    runner.run(job, lambda line: print(line, flush=True))
except PipelineError as error:
    print(f"{error} (hint: {error.hint})", flush=True)
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize("transport", ["bind", "copy"])
def test_a_killed_engine_may_be_tried_again_and_the_training_resumes_from_its_checkpoint(
    own_engine, tmp_path, transport
):
    own, image = own_engine
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "fake_training.py").write_text(TRAINING)
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "job.json").write_text("{}")

    def train(on_line=lambda line: None):
        """As `trainyard` does; gives the exit code, and what was said."""
        command = [sys.executable, "-P", "-c", CONTROLLER, image, transport, tmp_path / "jobs", tmp_path]
        environment = clean_environment() | {"DOCKER_HOST": own.host}
        pipe = subprocess.PIPE
        return follow(subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True), on_line)

    code, said = train(lambda line: "epoch 3" in line and own.kill())
    assert code == 75, said
    assert "(hint: )" not in said
    assert train()[0] == 75  # it is still away
    own.start()
    code, said = train()
    assert code == 0, said
    epochs = [int(number) for number in re.findall(r"epoch (\d)", said)]
    assert epochs[-1] == 6
    assert epochs[0] >= 3, "it did not resume from its checkpoint"  # the worker may outlive its engine for a while
    assert (tmp_path / "job" / "result.json").is_file()
    assert own.docker("ps", "-aq").stdout == own.docker("volume", "ls", "-q").stdout == ""
