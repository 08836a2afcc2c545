"""A real S3 server for tests and benchmarks: SeaweedFS on free ports of 127.0.0.1."""

import json
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from pipelines.commands.seaweedfs import SeaweedFS, find_program
from registry.errors import ConfigError
from registry.s3_client import Place, connect

BUCKET = "models"
KEY, SECRET = "trainyard-test", "not-a-secret"
READER, READER_SECRET = "who-only-reads", "not-a-secret-either"
IDENTITIES = [
    {"name": "all", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]},
    {
        "name": "reader",
        "credentials": [{"accessKey": READER, "secretKey": READER_SECRET}],
        "actions": [f"Read:{BUCKET}", f"List:{BUCKET}"],
    },
]


def find_weed():
    """The program; None where the package is not installed."""
    try:
        return find_program()
    except ConfigError:
        return None


class S3Server:
    """Runs until `stop`; `environment` has the credentials."""

    def __init__(self, folder: Path, megabytes: int = 64 * 200, options: Sequence[str] = ()) -> None:
        """`megabytes`: so much it takes, about. `options`: more of them for the program."""
        self.folder = folder
        self._server = SeaweedFS(folder, [f"-s3.config={folder / 'identities'}", *options], megabytes)
        (folder / "identities").write_text(json.dumps({"identities": IDENTITIES}))
        self.endpoint, self.access = self._server.endpoint, self._server.access
        self.bucket, self.filer_port = BUCKET, self._server.filer_port
        self.environment = {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._process = None
        self.start()

    def start(self):
        # A test process that is killed leaves no server behind.
        with_parent = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        self._process = self._server.start(self.environment, with_parent)
        before = {name: os.environ.get(name) for name in self.environment}
        os.environ.update(self.environment)
        try:
            self._server.make_bucket(BUCKET, self._process)
        finally:
            for name, value in before.items():
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
