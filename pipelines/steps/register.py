"""register: the candidate and all that is known about it become a version in the test registry, with what other tools
load and read, signed for them by the controller."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from pipelines.attest import attest
from pipelines.context import Context
from pipelines.exports import version_files
from pipelines.repositories.changes import Fetched
from pipelines.repositories.git import redact
from pipelines.runs import RunFolder
from registry import candidates, codec, dataset_lists
from registry.errors import Corrupt, Rejected
from registry.files import sha256_bytes, sha256_file, write_whole
from registry.label_manifest import MANIFEST, MOST_BYTES, labels_in
from registry.records import Candidate, Evaluation, TrainJob, TrainResult, Verdict, utc_now
from registry.records.data import DatasetLabels
from retraining.policy import choose_base
from training.data.learned import LEARNED
from training.data.spec import Validation
from training.model.served_file import check_served

MAX_FILES = 10_000  # of one version; TensorFlow's own format needs a handful
MAX_DEPTH = 20


def main(context: Context, folder: RunFolder) -> str:
    """Publish `test/<model>/<version>/`; refuses without an accepted verdict, whatever the caller thinks."""
    verdict = codec.read(Verdict, folder.root / "gate" / "verdict.json")
    if not verdict.accepted:
        raise Rejected("the gate did not accept this candidate: " + "; ".join(verdict.reasons))
    version = candidates.claim(context.store, folder.run.model, folder.run.id)
    version_folder = _gather(folder)
    manifest = _manifest(folder, version, verdict, version_folder)
    check_served(version_folder, manifest.served)
    repositories = {name: redact(context.config.repositories.address_of(name)) for name in ("code", "dataset", "tests")}
    made = version_files.build(folder.run, manifest, repositories)
    digests = _write(version_folder, made.files)
    manifest = replace(manifest, files=dict(sorted({**manifest.files, **digests}.items())))
    candidates.publish(context.store, manifest, version_folder)
    attest(context.store, folder, version, context.home, repositories)
    return "; ".join((f"{manifest.model} version {version}", *made.notes))


def _gather(folder: RunFolder) -> Path:
    """All files of the version in one folder, by hard links."""
    target = folder.job("register") / "version"
    shutil.rmtree(target, ignore_errors=True)  # of a try that was stopped
    target.mkdir()
    trained, measured = (_left_in(folder.outputs(name)) for name in ("train", "evaluate"))
    if taken := {name for _, name in trained} & {name for _, name in measured}:
        raise Corrupt(
            f"train/outputs/{min(taken)}: evaluate leaves a file of this name, too",
            hint="have the training write it under another name",
        )
    sources = [*trained, *measured]
    sources += [
        (folder.root / "evaluate" / "result.json", Path("metrics.json")),
        (folder.root / "gate" / "verdict.json", Path("verdict.json")),
        (folder.split("train") / "data.json", Path("data.json")),
    ]
    lists = [folder.outputs("validate") / name for name in (dataset_lists.FILES, dataset_lists.KEYS)]
    lists.append(folder.split("train") / LEARNED)
    sources += [(each, Path(each.name)) for each in lists if each.is_file()]
    for path, name in sources:
        try:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            (target / name).unlink(missing_ok=True)
            os.link(path, target / name)
        except (FileExistsError, IsADirectoryError, NotADirectoryError):
            raise Corrupt(
                f"{path}: a file and a folder have one name, {name}", hint="give them different names"
            ) from None
    return target


def _write(folder: Path, files: Mapping[str, bytes]) -> dict[str, str]:
    """Write more files into the version's folder; gives the SHA-256 of each."""
    for name, data in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        write_whole(folder / name, data)
    return {name: sha256_bytes(data) for name, data in files.items()}


def _left_in(outputs: Path) -> list[tuple[Path, Path]]:
    """The files that a worker has left, with their names in the version; raises Corrupt for what is not a file, or too much."""
    found: list[tuple[Path, Path]] = []
    waiting = [outputs]
    seen = 0
    while waiting:
        folder = waiting.pop()
        _check_kind(folder, folder.lstat().st_mode, stat.S_IFDIR)
        with os.scandir(folder) as listed:
            entries = list(islice(listed, MAX_FILES + 1))
        for entry in entries:
            seen += 1
            path = Path(entry.path)
            name = path.relative_to(outputs)
            if seen > MAX_FILES:
                raise Corrupt(f"{outputs}: more than {MAX_FILES:,} files", hint="pack them into one, or leave them out")
            if not entry.name.isprintable() or "\\" in entry.name:
                raise Corrupt(f"{str(path)!a}: a file name that cannot be shown", hint="rename it")
            if len(name.parts) > MAX_DEPTH:
                raise Corrupt(f"{outputs / name.parts[0]}: nested deeper than {MAX_DEPTH} folders", hint="nest less")
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path)
            else:
                _check_kind(path, entry.stat(follow_symlinks=False).st_mode, stat.S_IFREG)
                found.append((path, name))
    return sorted(found)


def _check_kind(path: Path, mode: int, wanted: int) -> None:
    if stat.S_ISLNK(mode):  # it would publish a file that is not the worker's
        raise Corrupt(f"{path}: a symbolic link cannot be registered", hint="write the files themselves to the outputs")
    if stat.S_IFMT(mode) != wanted:
        raise Corrupt(f"{path}: neither a file nor a folder: it cannot be registered", hint="delete it")


def _manifest(folder: RunFolder, version: int, verdict: Verdict, files: Path) -> Candidate:
    run, result = folder.run, codec.read(TrainResult, folder.root / "train" / "result.json")
    fetched = codec.read(Fetched, folder.root / "fetched.json")
    digests = {str(path.relative_to(files)): sha256_file(path) for path in sorted(files.rglob("*")) if path.is_file()}
    for name, digest in result.files.items():
        if digests.get(name) != digest:
            raise Corrupt(f"train/outputs/{name} is not what training left", hint="run the pipeline again with --force")
    base = choose_base(run.parent, run.candidate) if run.trigger == "dataset" else None
    return Candidate(
        model=run.model,
        version=version,
        run=run.id,
        sources=run.sources,
        created_at=utc_now(),
        how=result.how,
        note=result.note,
        seed=result.seed,
        parent=base.version if base and result.how == "fine-tuned" else None,
        image=folder.image,
        packages=result.packages,
        files=digests,
        signature=result.signature,
        served=result.served,
        evaluation=codec.read(Evaluation, folder.root / "evaluate" / "result.json"),
        verdict=verdict,
        unfenced=folder.unfenced,
        authors=fetched.authors,
        dataset=codec.read(Validation, folder.root / "validate" / "result.json").tree,
        training=codec.read(TrainJob, folder.root / "train" / "job.json"),
        base=base.version if base else None,
        machine=result.machine,
        dataset_manifest=fetched.manifest,
        labels=_labels(folder.sources / "dataset" / MANIFEST),
    )


def _labels(listed: Path) -> DatasetLabels | None:
    """What of the dataset came from labelled answers."""
    if not listed.is_file() or listed.stat().st_size > MOST_BYTES:
        return None
    return labels_in(listed.read_bytes())
