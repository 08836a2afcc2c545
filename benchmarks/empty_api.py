"""A Flask route that parses its JSON and does nothing else, behind gunicorn: `empty_api.py WHICH` in a folder with the
job.json of the API.

same    all of the API's own settings: its worker class, log and garbage collector
plain   what a Flask user has with the same numbers of workers and threads and the same keep-alive: gunicorn's own thread
        worker and access log, Python's garbage collector
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from flask import Flask, request

from registry.files import write_whole
from serving.server.api_server import GC_THRESHOLD, Server
from serving.server.ports import listen
from serving.server.program import read_job

PORT_FILE = "port"


class EmptyServer(Server):
    """Loads an app that does nothing instead of a model."""

    def load(self) -> Flask:
        """Called by gunicorn in each worker."""
        app = Flask("empty")

        @app.post("/predict")
        def predict() -> dict[str, str]:
            request.get_json()
            return {}

        return app

    def worker_loaded(self, worker: object) -> None:
        """There is no model to wait for."""
        del worker
        gc.set_threshold(GC_THRESHOLD)


class PlainServer(EmptyServer):
    """Without what is ours in gunicorn."""

    def load_config(self) -> None:
        """Called by gunicorn."""
        super().load_config()
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("logger_class", "gunicorn.glogging.Logger")

    def worker_loaded(self, worker: object) -> None:
        """The garbage collector stays Python's."""


if __name__ == "__main__":
    folder = Path.cwd()
    job = read_job(folder, os.environ)
    listener = listen(job)
    write_whole(folder / PORT_FILE, str(listener.getsockname()[1]).encode())
    {"same": EmptyServer, "plain": PlainServer}[sys.argv[1]](job, folder, f"fd://{listener.detach()}").run()
