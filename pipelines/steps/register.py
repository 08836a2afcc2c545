"""register: the candidate and all that is known about it become a version in the test registry."""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.context import Context
from pipelines.runs import RunFolder
from registry import candidates, codec
from registry.errors import Corrupt, Rejected
from registry.files import sha256_file
from registry.nouns import Candidate, Evaluation, TrainResult, Verdict, utc_now


def main(context: Context, folder: RunFolder) -> str:
    """Publish `test/<model>/<version>/`; refuses without an accepted verdict, whatever the caller thinks."""
    verdict = codec.read(Verdict, folder.root / "gate" / "verdict.json")
    if not verdict.accepted:
        raise Rejected("the gate did not accept this candidate: " + "; ".join(verdict.reasons))
    version = candidates.claim(context.store, folder.run.model, folder.run.id)
    version_folder = _gather(folder)
    card = _card(folder, version, verdict, version_folder)
    candidates.publish(context.store, card, version_folder)
    return f"{card.model} version {version}"


def _gather(folder: RunFolder) -> Path:
    """All files of the version in one folder, by hard links."""
    target = folder.job("register") / "version"
    target.mkdir(exist_ok=True)
    left = [
        (path, path.relative_to(outputs))
        for outputs in (folder.outputs("train"), folder.outputs("evaluate"))
        for path in [outputs, *sorted(outputs.rglob("*"))]
    ]
    sources = [(path, name) for path, name in left if path.is_symlink() or path.is_file()]
    sources += [
        (folder.root / "evaluate" / "result.json", Path("metrics.json")),
        (folder.root / "gate" / "verdict.json", Path("verdict.json")),
        (folder.split("train") / "data.json", Path("data.json")),
    ]
    for path, name in sources:
        if path.is_symlink():  # it would publish a file that is none of the worker's
            raise Corrupt(
                f"{path}: a symbolic link cannot be registered", hint="write the files themselves to the outputs"
            )
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).unlink(missing_ok=True)
        os.link(path, target / name)
    return target


def _card(folder: RunFolder, version: int, verdict: Verdict, files: Path) -> Candidate:
    run, result = folder.run, codec.read(TrainResult, folder.root / "train" / "result.json")
    digests = {str(path.relative_to(files)): sha256_file(path) for path in sorted(files.rglob("*")) if path.is_file()}
    for name, digest in result.files.items():
        if digests.get(name) != digest:
            raise Corrupt(f"train/outputs/{name} is not what training left", hint="run the pipeline again with --force")
    return Candidate(
        model=run.model,
        version=version,
        run=run.id,
        sources=run.sources,
        created_at=utc_now(),
        how=result.how,
        note=result.note,
        seed=result.seed,
        parent=(run.parent or run.candidate) if result.how == "fine-tuned" else None,
        image=folder.image,
        packages=result.packages,
        files=digests,
        signature=result.signature,
        served=result.served,
        evaluation=codec.read(Evaluation, folder.root / "evaluate" / "result.json"),
        verdict=verdict,
    )
