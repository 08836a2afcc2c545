"""Versions with a model signature and provenance, as the step `register` leaves them."""

from versions import CREATED_AT, SOURCES

from pipelines.attest import attest
from pipelines.runs import RunFolder
from registry import codec
from registry.records import Run

REPOSITORIES = {"code": "https://example.org/code.git", "dataset": "file:///srv/data.git", "tests": "git@example.org:t"}


def run_folder(folder, run, model="digits"):
    """The folder of a run that has trained a version."""
    (folder / run).mkdir(parents=True, exist_ok=True)
    about = Run(run, model, "code", SOURCES, "f" * 64, None, None, CREATED_AT)
    (folder / run / "run.json").write_bytes(codec.to_json(about))
    return RunFolder(folder / run)


def attested(store, folder, run, version, model="digits"):
    """Attest a version that `registry_parts.publish` has made for this run; the key is in `folder/home`."""
    attest(store, run_folder(folder / "runs", run, model), version, folder / "home", REPOSITORIES)
