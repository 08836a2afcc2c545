"""The object store of `trainyard demo --store s3`: a real S3 server of the demo's own, SeaweedFS, on this machine only."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from pathlib import Path

from pipelines.commands.seaweedfs import PROGRAM, SeaweedFS

BUCKET = "demo"
CREDENTIALS = """[default]
aws_access_key_id = demo
aws_secret_access_key = {secret}
"""


class DemoStore:
    """Runs until `stop`, also after the demo has ended: the API follows it."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._pid = folder, folder / "pid"
        self._process: subprocess.Popen[bytes] | None = None
        self.endpoint = ""

    @property
    def environment(self) -> dict[str, str]:
        """What a shell needs to reach it: where the key is, which is in no setting."""
        return {"AWS_SHARED_CREDENTIALS_FILE": str(self._folder / "credentials"), "AWS_EC2_METADATA_DISABLED": "true"}

    def start(self) -> None:
        """Start it with a new key and an empty bucket. Raises ConfigError where it is not installed, TryAgain when it does not
        answer in time; it does not run then."""
        server, secret = SeaweedFS(self._folder), secrets.token_urlsafe(24)
        self.endpoint = server.endpoint
        fd = os.open(self._folder / "credentials", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(CREDENTIALS.format(secret=secret))
        os.environ.update(self.environment)
        self._process = server.start({"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": secret})
        try:
            self._pid.write_text(f"{self._process.pid}", encoding="ascii")
            server.make_bucket(BUCKET, self._process)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> bool:
        """Stop it, also one that an earlier demo has started; False when it does not run."""
        if self._process:
            self._process.kill()  # asked to stop, it waits ten seconds for its own parts; the data are on disk
            self._process.wait()
            self._process = None
            self._pid.unlink(missing_ok=True)
            return True
        try:
            pid = int(self._pid.read_text(encoding="ascii"))
            if Path(os.readlink(f"/proc/{pid}/exe")).name != PROGRAM:
                return False
            os.kill(pid, signal.SIGKILL)
        except (OSError, ValueError):
            return False
        finally:
            self._pid.unlink(missing_ok=True)
        return True
