"""A worker that tries to reach what this user can reach, in both runners: one suite of attacks, real system calls."""

import os
import tempfile
from pathlib import Path

import pytest
from hostile_contract import HostileContract, victims

from pipelines.config.schema import RunnerConfig
from pipelines.runners.docker.runner import ContainerRunner
from pipelines.runners.process.runner import ProcessRunner
from training.fence.rules import lacks

__all__ = ["victims"]  # a fixture


class TestProcesses(HostileContract):
    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, tmp_path_factory):
        if missing := lacks():
            pytest.skip(f"this kernel cannot fence {', '.join(missing)}")
        return ProcessRunner(RunnerConfig(), tmp_path_factory.mktemp("cache"), grace=0.5)


class TestProcessesBelowSharedMemory(TestProcesses):
    """Of which a worker has a private one, in which its job folder and its inputs are all the same."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls):
        if not os.access("/dev/shm", os.W_OK):
            pytest.skip("no /dev/shm")
        with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="trainyard-test-") as folder:
            yield Path(folder)


@pytest.mark.docker
class TestContainers(HostileContract):
    # its loopback interface, its processes and its files are its own
    harmless = frozenset({"listen_on_a_port", "send_a_datagram"})

    @pytest.fixture(scope="class")
    @classmethod
    def runner(cls, engine, worker_image, tmp_path_factory):
        config = RunnerConfig(kind="docker", image=worker_image)
        runner = ContainerRunner(config, tmp_path_factory.mktemp("cache"), grace=0.5)
        yield runner
        runner.close()
