"""Accepted labels become a commit in the dataset repository, which starts the dataset's pipeline by itself.

Nothing is lost and nothing is committed twice, wherever this is killed: the commit holds, in `trainyard-labels.jsonl`, which answers
it is made of, and what the branch holds counts as committed, whether or not somebody lived to note it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.config.monitoring_sections import Labelling
from pipelines.config.schema import Config
from pipelines.context import clones
from pipelines.deploy.serve_job import log_folder
from pipelines.labels.documents import Sample, message, people_of, samples_in, with_lines
from pipelines.labels.push import Author, NewCommit, author_of
from pipelines.labels.scratch import alone, scratch
from pipelines.repositories import git
from pipelines.small_workers import ask
from registry.dataclass import dataclass
from registry.errors import ConfigError, TryAgain
from registry.label_manifest import MANIFEST
from registry.label_queue import Committed, LabelQueue, Unusable
from registry.label_store import LabelStore, label_file
from registry.records.run import utc_now
from retraining.labels.accepted import Accepted, accepted, asked
from serving.prediction_log.segments import ask_to_close
from training.fence.rules import Fence, around_python

DATASET_FILE = "dataset.toml"
TRIES = 5
"""When others push meanwhile."""
WHAT = "the worker that writes the dataset's files"


@dataclass(frozen=True, slots=True)
class Made:
    """What became of the accepted labels."""

    commit: str
    """Empty: there was nothing to commit, or it was a rehearsal."""
    taken: tuple[Sample, ...] = ()
    left_out: tuple[Unusable, ...] = ()
    """No sample could be made of them."""
    before: tuple[Unusable, ...] = ()
    """Nor could it when it was tried last, and nothing that their reasons go by has changed since: they were not tried again."""
    files: tuple[str, ...] = ()
    corrected: tuple[Committed, ...] = ()
    """What the dataset holds with a label that was corrected since."""


def commit_labels(
    config: Config, who: str, show: Callable[[str], None], *, rehearse: bool = False, retry: bool = False
) -> Made:
    """Make samples of what was accepted and is not in the dataset yet, check the dataset with them, commit and push.

    `show` gets what the repository says meanwhile: its hook may run the pipeline. `retry`: also of what could not be a sample before.

    Raises ConfigError, also when the checks of the dataset fail with them, and TryAgain; nothing was pushed then.
    """
    path = label_file(Path(config.home), config.model)
    if not path.exists():
        return Made("")
    with alone(path.with_suffix(".lock"), "commits labels"), LabelStore(path) as store, LabelQueue(path) as queue:
        labels = _Labels(store, queue, config.labels, retry=retry)
        for _ in range(TRIES):
            if made := _one_try(config, labels, (who, show), rehearse=rehearse):
                return made
    raise TryAgain(
        f"[repositories] dataset: others have pushed {TRIES} times meanwhile", hint="retry when it is quieter"
    )


def _one_try(config: Config, labels: _Labels, by: tuple[str, Callable[[str], None]], *, rehearse: bool) -> Made | None:
    """None: another push came in between. `by`: who commits, and `show`."""
    who, show = by
    if not labels.wanted():
        return Made("", corrected=labels.corrected())  # before anything is fetched
    url, branch, folder_inside = config.repositories.place_of("dataset")
    cache = clones(config)
    head = git.head(url, branch, "dataset")
    ask_to_close(log_folder(config))  # the images of a segment appear when it is closed
    with scratch(config, "commit") as folder:

        def read() -> tuple[NewCommit, bytes, bytes]:
            new = NewCommit(cache.clone_of(url, head), head, folder, folder_inside)
            return new, new.show(MANIFEST) or b"", new.show(DATASET_FILE) or b""

        new, listed, declaration = cache.read(url, head, "dataset", read)
        labels.note([each for each in samples_in(listed) if each.model == config.model], head)
        bases = _bases(config, declaration, head)
        before, corrected = labels.unusable(bases), labels.corrected()
        wanted = labels.wanted(before)
        if not wanted:
            return Made("", before=before, corrected=corrected)
        cache.fetch_and_checkout(url, head, "dataset", folder / "dataset")
        result = _make_files(config, folder, wanted)
        left_out = _left_out(result["left_out"], wanted, bases)
        if not rehearse:
            labels.note_unusable(left_out)
        people = {(each.request, each.row): each.by for each in wanted}
        samples = [Sample(config.model, *each, by=people[each[0], each[1]]) for each in map(_taken, result["taken"])]
        commit = ""
        if samples:
            _refuse(new, result)
            if not rehearse:
                beside = sorted({*map(str, result["files"])} - {each.file for each in samples})
                commit = _commit(new, folder, (samples, beside), listed, author_of(who))
                if not new.push(commit, url, branch, show):
                    return None
                labels.note(samples, commit)
                labels.now_at(head, commit)
        return Made(commit, tuple(samples), left_out, before, tuple(map(str, result["files"])), corrected)


def _bases(config: Config, declaration: bytes, head: str) -> dict[str, str]:
    """What the reasons go by for which answers are left out, as it is now."""
    log = log_folder(config)
    return {
        "declaration": f"{DATASET_FILE} {hashlib.sha256(declaration).hexdigest()}",
        "dataset": _at(head),
        "log": f"log {log.stat().st_ino if log.exists() else 0}",
    }


def _at(commit: str) -> str:
    return f"commit {commit}"


def _left_out(
    rows: Sequence[Sequence[Any]], wanted: Sequence[Accepted], bases: Mapping[str, str]
) -> tuple[Unusable, ...]:
    labels = {(each.request, each.row): each.label for each in wanted}
    return tuple(
        Unusable(str(request), int(row), labels[request, row], str(reason), bases[basis])
        for request, row, reason, basis in rows
    )


class _Labels:
    """What was accepted, and what of it is in the dataset."""

    def __init__(self, store: LabelStore, queue: LabelQueue, labelling: Labelling, *, retry: bool) -> None:
        self._store, self._queue, self._labelling, self._retry = store, queue, labelling, retry

    def wanted(self, unusable: Sequence[Unusable] = ()) -> list[Accepted]:
        """Accepted, not in the dataset yet, and not among these."""
        there = self._there().keys() | {(each.request, each.row) for each in unusable}
        return [each for each in self._accepted() if (each.request, each.row) not in there]

    def unusable(self, bases: Mapping[str, str]) -> tuple[Unusable, ...]:
        """What is accepted, and could not be a sample when it was tried last; and nothing that the reason goes by has changed since."""
        if self._retry:
            return ()
        labels = {(each.request, each.row): each.label for each in self._accepted()}
        return tuple(
            each
            for each in self._queue.unusable()
            if each.basis in bases.values() and labels.get((each.request, each.row)) == each.label
        )

    def note_unusable(self, rows: Sequence[Unusable]) -> None:
        """No sample can be made of them."""
        self._queue.add_unusable(rows)

    def now_at(self, head: str, commit: str) -> None:
        """The dataset has new samples of this command on top of that head, for which nothing has to be tried again."""
        self._queue.move_basis(_at(head), _at(commit))

    def corrected(self) -> tuple[Committed, ...]:
        """In the dataset, with another label than the one that is accepted now."""
        there = self._there()
        found = [(there.get((each.request, each.row)), each.label) for each in self._accepted()]
        return tuple(known for known, label in found if known and label and known.label != label)

    def note(self, samples: Sequence[Sample], commit: str) -> None:
        """They are in the dataset."""
        rows = [(each.request, each.row, each.label, each.file, commit, utc_now()) for each in samples]
        self._queue.add_committed([Committed(*each) for each in rows])

    def _there(self) -> dict[tuple[str, int], Committed]:
        return {(each.request, each.row): each for each in self._queue.committed()}

    def _accepted(self) -> Iterator[Accepted]:
        items = asked(self._queue.items(), self._labelling.numbers)
        return accepted(self._store.all(), items, self._labelling.labellers)


def _taken(row: Sequence[Any]) -> tuple[str, int, str, str]:
    request, number, label, file = row
    return str(request), int(number), str(label), str(file)


def _make_files(config: Config, folder: Path, wanted: Sequence[Accepted]) -> dict[str, Any]:
    """What the worker makes; it may read the log, and write to the checkout."""
    log = str(log_folder(config))
    job = {
        "log": log,
        "dataset": str(folder / "dataset"),
        "scratch": str(folder),
        "stamp": f"{datetime.now(UTC):%Y%m%dT%H%M%S}",
        "rows": [{"request": each.request, "row": each.row, "label": each.label} for each in wanted],
    }
    system = around_python()
    fence = Fence(read=(*system.read, log), names=system.names, write=(str(folder.resolve()),), devices=system.devices)
    printed = ask(
        "pipelines.workers.label_files", job, WHAT, fence=fence.command()
    )  # the checks report their progress, too
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    if found["failed"]:
        raise ConfigError(
            "the dataset does not pass its checks with the new samples: " + "; ".join(found["failed"])[:2000],
            hint="correct the dataset, commit and push; then the same command continues. Nothing was pushed",
        )
    return found


def _refuse(new: NewCommit, result: dict[str, Any]) -> None:
    """A file that does not lie in git itself cannot be changed by a commit alone."""
    files, changed = list(map(str, result["files"])), list(map(str, result["changed"]))
    if outside := new.elsewhere(files):
        raise ConfigError(
            f"[repositories] dataset: {outside[0]} belongs into Git LFS, as .gitattributes says",
            hint="name the new files otherwise there, or add them by hand: `trainyard labels export` has the labels",
        )
    for file in changed:
        if new.show(file) is None:
            raise ConfigError(
                f"[repositories] dataset: {file} does not lie in git, so a commit cannot add rows to it",
                hint='have new files taken in: file = "part-*.csv" in dataset.toml'
                if any(file == row[3] for row in result["taken"])
                else f"keep {file} in git itself: new samples need a line in it",
            )


def _commit(
    new: NewCommit, folder: Path, made: tuple[Sequence[Sample], Sequence[str]], listed: bytes, committer: Author
) -> str:
    """Its id; the samples' files are in the checkout, and others that say something about them."""
    samples, beside = made
    files = {file: folder / "dataset" / file for file in (*(each.file for each in samples), *beside)}
    (folder / MANIFEST).write_bytes(with_lines(listed, samples))
    authors = [author_of(person) for person in people_of(samples)]
    others = [f"{each.name} <{each.email}>" for each in authors[1:]]
    return new.commit(files | {MANIFEST: folder / MANIFEST}, message(samples, others), authors[0], committer)
