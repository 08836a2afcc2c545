"""The steps fetch and validate on 20,000 small images (20 classes, 32×32 grey, about 1 kB each).

First time: nothing of the dataset is on this machine yet. Both commands, `trainyard step fetch` and `… validate`, each a
process of its own: git brings and writes the files, a worker reads, hashes and decodes every one, and the splits are
prepared. Against `dvc add` of the same files in a fresh DVC project, which hashes every file and puts it into its cache.

Both sides start with files that were written just before, and nothing of them is waiting to be written to the disk. What
a round leaves is put aside, not deleted: where ext4 has no journal (many virtual machines), making a file after 20,000
were deleted takes five times as long, for minutes, and the next round, or the other side, would pay for that.

Unchanged: the same two commands for a push to the code repository. The dataset commit is the same, so its files and splits
are those of the first run, compared with how they were left. A fixed promise.
"""

from __future__ import annotations

import os
import random
import shutil
import struct
import sys
import zlib
from itertools import count
from pathlib import Path

from bench_run import BenchRun, Cost, cost, done, median, raw
from rows import Row, Skipped

FILES, QUICK_FILES, CLASSES, SIDE = 20_000, 2_000, 20, 32
ROUNDS = 3
TRAINYARD = [sys.executable, "-P", "-m", "pipelines"]
NAMES = ("code", "dataset", "tests")
CONFIG = "\n".join(['model = "images"', "[repositories]", *(f'{name} = "{name}.git"' for name in NAMES), ""])


def measure(run: BenchRun) -> list[Row]:
    """Two rows: the first time against `dvc add` (only with `--neighbours`), and unchanged."""
    files = QUICK_FILES if run.quick else FILES
    project = Project(run.space("data_speed"), files)
    taken: dict[str, list[Cost]] = {"first": [], "unchanged": [], "dvc": []}
    try:
        dvc, missing = run.neighbour("dvc"), ""
    except Skipped as skipped:
        dvc, missing = None, str(skipped)
        run.say(f"  without dvc: {skipped}")
    for number in range(run.rounds(ROUNDS)):
        project.forget()
        taken["first"].append(project.fetch_and_validate())
        taken["unchanged"].append(project.fetch_and_validate())
        if dvc:
            taken["dvc"].append(dvc_add(dvc, project.work / "dataset", run.folder / f"dvc-{number}"))
    first, unchanged = files / median(taken["first"]), files / median(taken["unchanged"])
    theirs = files / median(taken["dvc"]) if dvc else 0.0
    return [
        Row(f"fetch and validate {files:,} small images, the first time" + (f" ({missing})" if missing else ""),
            first, "files/s", "`dvc add` of the same files" if dvc else "", theirs, 3.0 if dvc else None, "more",
            raw=raw(taken)),
        Row(f"fetch and validate {files:,} small images, unchanged", unchanged, "files/s", "", 0.0,
            None if run.quick else 20_000.0, "more", rule="value"),
    ]  # fmt: skip


class Project:
    """Three repositories, one of them with many images, and a `trainyard.toml`."""

    def __init__(self, folder: Path, files: int) -> None:
        self.folder, self.work, self.numbers = folder, folder / "work", count(1)
        (folder / "trainyard.toml").write_text(CONFIG, encoding="utf-8")
        write_images(self.work / "dataset", files)
        for name in ("code", "tests"):
            (self.work / name).mkdir()
        (self.work / "code" / "model.py").write_text("# round 0\n", encoding="utf-8")
        (self.work / "tests" / "test_model.py").write_text("def test_nothing(): pass\n", encoding="utf-8")
        for name in NAMES:
            done(["git", "init", "-q", "--bare", "-b", "main", str(folder / f"{name}.git")])
            done(["git", "init", "-q", "-b", "main", "."], cwd=self.work / name)
            self._push(name)

    def forget(self) -> None:
        """As on a machine that has seen nothing of it yet."""
        home = self.folder / ".trainyard"
        if home.exists():
            home.rename(self.folder / f"forgotten-{next(self.numbers)}")

    def fetch_and_validate(self) -> Cost:
        """A new commit of the code; what both steps take, each in a process of its own, as Jenkins runs them."""
        number = next(self.numbers)
        (self.work / "code" / "model.py").write_text(f"# round {number}\n", encoding="utf-8")
        self._push("code")
        folder = str(self.folder / "runs" / str(number))
        self._step("resolve", folder, "--trigger", "code")

        def steps() -> None:
            self._step("fetch", folder)
            self._step("validate", folder)

        os.sync()
        return cost(steps)

    def _step(self, name: str, folder: str, *more: str) -> None:
        done([*TRAINYARD, "step", name, "--run", folder, *more], cwd=self.folder)

    def _push(self, name: str) -> None:
        author = ["-c", "user.name=Bench", "-c", "user.email=bench@localhost"]
        done(["git", "add", "-A"], cwd=self.work / name)
        done(["git", *author, "commit", "-q", "-m", "Another round"], cwd=self.work / name)
        done(["git", "push", "-q", str(self.folder / f"{name}.git"), "main"], cwd=self.work / name)


def dvc_add(python: Path, images: Path, folder: Path) -> Cost:
    """What `dvc add` takes for a copy of the images in a project that has seen none of them."""
    from neighbours import quiet

    shutil.copytree(images, folder / "images", ignore=shutil.ignore_patterns(".git"))
    dvc, environment = [str(python), "-m", "dvc"], quiet() | {"DVC_SITE_CACHE_DIR": str(folder / "site")}
    done([*dvc, "init", "--no-scm", "-q"], cwd=folder, env=environment)
    os.sync()
    return cost(lambda: done([*dvc, "add", "-q", "images"], cwd=folder, env=environment))


def write_images(folder: Path, files: int) -> None:
    """Noise, so that no two images are the same; the same noise every time."""
    noise = random.Random(1)
    for number in range(files):
        path = folder / f"class-{number % CLASSES:02}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(noise.randbytes(SIDE * SIDE)))
    (folder / "dataset.toml").write_text('format = "images"\n', encoding="utf-8")


def _png(pixels: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[at : at + SIDE] for at in range(0, len(pixels), SIDE))
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")
