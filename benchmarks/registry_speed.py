"""The registry: publishing a version, and whether a long history slows anything down.

Publish: 500 MB in 20 files, and 100 files of 1 kB, into an empty registry: every byte is hashed and copied, every file and
folder is on the disk at the end. Against a SHA-256 of the same files by as many threads as there are cores, which writes
nothing. What a round has written stays until the end: a disk is slower just after files were deleted.

A long history: `trainyard registry list`, `promote` and `rollback` as a person types them, each a process of its own, with
the API running and taking the release up, in a signed registry of 5,000 versions that were all attested and released, each
with its head. Against the same commands in a registry of 10. The versions are copies of the playground's.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench_run import BenchRun, Cost, cost, done, in_turns, median, raw
from cryptography.hazmat.primitives.asymmetric import ec
from rows import Row

from pipelines.approvals.tokens import approval_secret, make_token
from pipelines.config.load import load_config
from pipelines.config.schema import Config
from pipelines.trust import open_registry
from registry import attestations, candidates, codec, heads, releases
from registry.chain import signed_bytes
from registry.files import sha256_bytes, sha256_file
from registry.marks import mark_of
from registry.records import Acceptance, Approval, Candidate, Claim, Comparison, Head, Mark, Release, VersionMark
from registry.stores import Store, open_store

ROUNDS = 5
FEW, MANY, QUICK_MANY = 10, 5_000, 200
LIMIT = 2.0
MODEL = "digits"
TRAINYARD = [sys.executable, "-P", "-m", "pipelines"]
AT = "2026-01-01T00:00:00Z"


def measure(run: BenchRun) -> list[Row]:
    """Five rows: publish large and small files; list, promote and rollback at 5,000 versions against 10."""
    space = run.space("registry_speed")
    real = template(run)
    rows = [_publish(run, space, real, "large", 20, (2 if run.quick else 25) << 20)]
    rows.append(_publish(run, space, real, "small", 100, 1 << 10))
    many = QUICK_MANY if run.quick else MANY
    towns = {count: Town(space / f"of-{count}", real, count) for count in (FEW, many)}
    try:
        work: dict[str, Callable[[], object]] = {}
        for name in ("list", "promote", "rollback"):
            for count, town in towns.items():
                work[f"{name} {count}"] = getattr(town, name)
        in_turns(work, 1)  # the API starts, the disk's cache is warm
        taken = in_turns(work, run.rounds(ROUNDS))
    finally:
        for town in towns.values():
            town.stop()
    rows += [
        Row(f"`trainyard {words}` with {many:,} versions", median(taken[f"{name} {many}"]) * 1000, "ms",
            f"with {FEW}", median(taken[f"{name} {FEW}"]) * 1000, LIMIT, raw=raw(taken))
        for name, words in (("list", "registry list"), ("promote", "promote"), ("rollback", "rollback"))
    ]  # fmt: skip
    return rows


def template(run: BenchRun) -> tuple[Candidate, Path]:
    """A real version: its card, and its files."""
    store = open_store(f"file://{run.playground.home / 'registry'}")
    version = candidates.newest(store, MODEL)
    assert version
    return candidates.manifest(store, MODEL, version), candidates.local_folder(store, "test", MODEL, version)


def _publish(run: BenchRun, space: Path, template: tuple[Candidate, Path], kind: str, count: int, size: int) -> Row:
    source = space / kind
    source.mkdir()
    noise = random.Random(1)
    paths = [source / f"file-{number:03}" for number in range(count)]
    for path in paths:
        path.write_bytes(noise.randbytes(size))
    os.sync()  # else the disk is still busy with what we wrote just now
    card = replace(template[0], version=1, run="bench", files={path.name: sha256_file(path) for path in paths})
    taken: dict[str, list[Cost]] = {"publish": [], "sha256": []}
    for number in range(run.rounds(ROUNDS)):
        os.sync()
        store = open_store(f"file://{space / f'{kind}-registry-{number}'}")
        candidates.claim(store, MODEL, "bench")
        taken["publish"].append(cost(lambda store=store: candidates.publish(store, card, source)))  # type: ignore[misc]
        taken["sha256"].append(cost(lambda: _parallel_sha256(paths)))
    title = f"publish {count} files of {f'{size >> 20} MB' if size >> 20 else f'{size >> 10} kB'}"
    limit = LIMIT if kind == "large" else None  # for small files it is the disk that is waited for, file by file
    return Row(title, median(taken["publish"]) * 1000, "ms", "a parallel SHA-256 of them",
               median(taken["sha256"]) * 1000, limit, raw=raw(taken))  # fmt: skip


def _parallel_sha256(paths: list[Path]) -> None:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(sha256_file, paths):
            pass


class Town:
    """A team with its own registry of so many versions, all tried and released, and an API on the newest."""

    def __init__(self, folder: Path, real: tuple[Candidate, Path], count: int) -> None:
        self.folder, self.count = folder, count
        folder.mkdir()
        self.home = folder / ".trainyard"
        self.store = open_registry(self.config())
        with _without_waiting():
            fill(self.store, lambda _: real, count)

    def config(self, registry: str = "", serving: str = "") -> Config:
        """The settings, with these lines in their sections, too."""
        names = "".join(f'{name} = "{name}.git"\n' for name in ("code", "dataset", "tests"))
        text = f'model = "{MODEL}"\n[repositories]\n{names}{registry}[serving]\nport = 0\nworkers = 1\n{serving}'
        (self.folder / "trainyard.toml").write_text(text, encoding="utf-8")
        return load_config(self.folder / "trainyard.toml", {})

    def list(self) -> None:
        """The newest 20 versions."""
        self.do("registry", "list")

    def promote(self) -> None:
        """Promote the newest version, with an approval of its own."""
        self._must_not_be_live(self.count)
        card = candidates.manifest_digest(self.store, MODEL, self.count)
        token = make_token(approval_secret(self.home, {}), MODEL, self.count, card)
        self.do("promote", MODEL, str(self.count), "--approval", token)

    def rollback(self) -> None:
        """The version before it is live again."""
        self.do("rollback", MODEL, "--reason", "a benchmark")

    def do(self, *words: str) -> None:
        """A command, as a person types it."""
        done([*TRAINYARD, *words], cwd=self.folder)

    def stop(self) -> None:
        """Stop the API."""
        done([*TRAINYARD, "serve", MODEL, "--stop"], cwd=self.folder)

    def _must_not_be_live(self, version: int) -> None:
        release = releases.live(self.store, MODEL)
        if release and release.version == version:
            sys.exit(f"version {version} is live already: there is nothing to promote")


def fill(store: Store, template_of: Callable[[int], tuple[Candidate, Path]], count: int) -> None:
    """Versions 1 to `count`, each tried and attested; all but the newest released, one after the other, each with its head."""
    approval = release = head = ""
    key, keys = ec.generate_private_key(ec.SECP256R1()), Mark(0, "")
    for version in range(1, count + 1):
        model, files = template_of(version)
        before = Comparison(version - 1, "accuracy", 0.0, -0.01, 0.01, 500) if version > 1 else None
        measured = replace(model.evaluation, comparison=before)
        card = replace(model, version=version, run=f"run-{version}", parent=None, created_at=AT, evaluation=measured)
        claim = codec.with_checksum(Claim(MODEL, version, card.run))
        store.create(f"test/{MODEL}/runs/{card.run}/1.json", claim)
        store.create(f"test/{MODEL}/{version}/claim.json", claim)
        candidates.publish(store, card, files)
        digest = candidates.manifest_digest(store, MODEL, version)
        acceptance = Acceptance(MODEL, version, 0, digest, "e" * 40, card.run, "process", True, (), (), None, AT, "")
        candidates.append_acceptance(store, acceptance)
        _attest(store, version, {**card.files, "card.json": digest}, key)
        if version == count:
            return
        releases.copy_to_production(store, MODEL, version)
        # As `append_approval`, `append_release` and `write_head` write them, without reading the whole history each time.
        given = Approval(version, MODEL, version, digest, f"token-{version}", "bench", AT, approval)
        approval = _create(store, releases.approval_chain(store, MODEL).name(version), given)
        draft = Release(version, MODEL, "promotion", version, digest, "bench", AT, "a benchmark", version, release)
        release = _create(store, releases.release_chain(store, MODEL).name(version), draft)
        keys = mark_of(store, "keys") if version == 1 else keys
        tested = mark_of(store, f"test/{MODEL}/{version}/acceptances")
        mark = VersionMark(digest, tested.count, tested.digest, attestations.record_digest(store, MODEL, version))
        marks = Mark(version, release), Mark(version, approval), keys
        head = _create(
            store,
            heads.head_chain(store, MODEL).name(version),
            Head(MODEL, version, *marks, AT, head, {f"{version}": mark}),
        )


def _create(store: Store, name: str, record: object) -> str:
    """Create a record, signed; its SHA-256."""
    data = signed_bytes(store, name, record)
    store.create(name, data)
    return sha256_bytes(data)


def _attest(store: Store, version: int, files: dict[str, str], key: ec.EllipticCurvePrivateKey) -> None:
    """What the step `register` leaves beside a version."""
    where, made = attestations.folder(MODEL, version), attestations.make(key, f"{MODEL}-{version}", files, {})
    for name, data in made.items():
        store.create(f"{where}/{name}", data)
    attestations.record(store, MODEL, version, files, made[attestations.PUBLIC_KEY])


@contextmanager
def _without_waiting() -> Iterator[None]:
    """Without flushing: what is set up here need not outlast a power cut."""
    real, os.fsync = os.fsync, lambda _fd: None
    try:
        yield
    finally:
        os.fsync = real
