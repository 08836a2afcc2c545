"""An API that keeps what it is asked for, and fails where a test wants it to; no process runs.

A deployment as any other, by a row in the table of deployments. What the real ones do is held by `deploy_contract`.
"""

from dataclasses import replace

from promotion_parts import MODEL, Project

from pipelines.deploy import DEPLOYMENTS, api_folder
from registry.errors import PipelineError

APIS = {}


class RecordedApi:
    """`asked` is (verb, image) or (verb, image, release) of each call; `fails` is verb, or release, → error."""

    def __init__(self):
        self.asked, self.fails, self.meanwhile = [], {}, {}
        self.url = "http://127.0.0.1:8500"

    def running(self):
        return self.url

    def start(self, job, image):
        self._act("start", image, job)

    def follow(self, job, image, number, seconds=None):
        del seconds
        self._act("follow", image, job, number)

    def update(self, job, image):
        self._act("update", image, job)

    def _act(self, verb, image, job, *number):
        assert job.model == MODEL
        self.asked.append((verb, image, *number))
        for each in (verb, *number):
            self.meanwhile.pop(each, lambda: None)()
            if isinstance(error := self.fails.get(each), PipelineError):
                raise error

    @property
    def followed(self):
        """The releases that it was asked to serve, the first one first."""
        return [number for verb, _, *number in self.asked if verb == "follow" for number in number]


def open_recorded(_config, folder):
    """As `[serving] deploy = "recorded"` opens it: the same one for the same folder."""
    return APIS.setdefault(folder, RecordedApi())


def project_with_recorded_api(folder, monkeypatch):
    """A team whose API is a recorded one, its `api`."""
    monkeypatch.setitem(DEPLOYMENTS, "recorded", "recorded_api:open_recorded")
    made = Project(folder)
    made.config = replace(made.config, serving=replace(made.config.serving, deploy="recorded"))
    made.api = open_recorded(made.config, api_folder(made.config))
    return made
