"""An empty Flask route behind the very gunicorn that serves models: same settings, same log. `empty_api.py` in a folder
with the job.json of the API."""

from __future__ import annotations

import os
from pathlib import Path

from flask import Flask

from registry.files import write_whole
from serving.server import Server, listen, read_job

PORT_FILE = "port"


class EmptyServer(Server):
    """Loads an app that does nothing instead of a model."""

    def load(self) -> Flask:
        """Called by gunicorn in each worker."""
        app = Flask("empty")

        @app.post("/predict")
        def predict() -> dict[str, str]:
            return {}

        return app

    def _worker_begins(self, worker: object) -> None:
        """There is no model to wait for."""

    def _worker_ended(self, _server: object, worker: object) -> None:
        """There is no status to forget."""


folder = Path.cwd()
job = read_job(folder, os.environ)
listener = listen(job)
write_whole(folder / PORT_FILE, str(listener.getsockname()[1]).encode())
EmptyServer(job, folder, listener).run()
