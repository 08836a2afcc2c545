"""A model whose answers are labelled, and its dataset repository: for commits of labels."""

from pathlib import Path

from prediction_log_files import write_segment
from repositories_parts import Repository, git

from pipelines.config.load import load_config
from pipelines.deploy.serve_job import log_folder
from pipelines.labels.commit import commit_labels
from registry.label_queue import LabelQueue
from registry.label_store import LabelStore, label_file
from registry.records.labels import Label

ROWS = "kind,mass\n" + "".join(f"{'a' if n % 2 else 'b'},{n}.5\n" for n in range(60))
DATASET = 'format = "table"\n[table]\nfile = "data.csv"\ntarget = "kind"\n'
KEPT = {"mass": ("value", "float")}


def label(request, value="a", by="ada", at="2026-11-30T10:00:00Z", correct=None):
    return Label(request, 0, value, correct, by, at, "feedback")


class Team:
    """A dataset repository, a model's settings, and what the API has answered."""

    def __init__(self, folder, repository=None):
        self.folder, self.shown = folder, []
        self.repository = repository or Repository(folder, "dataset")
        if repository is None:
            self.repository.commit({"dataset.toml": DATASET.encode(), "data.csv": ROWS.encode()})
        text = f'model = "m"\n[repositories]\ncode = "c"\ndataset = "{self.repository.url}"\ntests = "t"\n'
        (folder / "trainyard.toml").write_text(text)
        self.config = load_config(folder / "trainyard.toml", {})
        lines = [{"id": f"r-{n}", "class": "b", "inputs": {"mass": 1000.0 + n}} for n in range(9)]
        write_segment(log_folder(self.config), KEPT, lines)

    def label(self, *labels):
        with LabelStore(label_file(Path(self.config.home), "m")) as store:
            store.add(labels)

    @property
    def queue(self):
        return LabelQueue(label_file(Path(self.config.home), "m"))

    def commit(self, **options):
        return commit_labels(self.config, "ops@example.org", self.shown.append, **options)

    def show(self, words, *more):
        return git(*words.split(), *more, cwd=self.repository.url)

    def rows(self):
        return self.show("show main:data.csv").splitlines()[61:]
