"""Writes small real datasets and runs the prepare worker's main function on them."""

import hashlib
import io
import json
import subprocess
import sys
from pathlib import Path

from PIL import Image

from registry import codec
from training.data import prepare
from training.data.spec import PrepareJob, Validation

PIXELS = 8


def png(seed=0, size=(PIXELS, PIXELS), mode="L", kind="PNG"):
    """The bytes of an image that differs with `seed`."""
    noise = hashlib.sha256(str(seed).encode()).digest()
    pixels = (noise * (size[0] * size[1] * 3 // len(noise) + 1))[: size[0] * size[1] * 3]
    buffer = io.BytesIO()
    image = Image.frombytes("RGB", size, pixels).convert(mode)
    image.save(buffer, kind)
    return buffer.getvalue()


def images(folder: Path, classes=("cat", "dog"), per_class=30, suffix=".png", **how):
    """Folders by class, each image different; returns the dataset's folder."""
    seed = 0
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(per_class):
            (folder / name / f"{i:03d}{suffix}").write_bytes(png(seed, **how))
            seed += 1
    return folder


def job_folder(tmp_path: Path, **job) -> Path:
    """A job folder with `inputs/dataset` to be filled; returns the dataset's folder."""
    dataset = tmp_path / "job" / "inputs" / "dataset"
    dataset.mkdir(parents=True)
    codec.save(PrepareJob(**job), tmp_path / "job" / "job.json")
    return dataset


def run(dataset: Path) -> Validation:
    """Prepare, in this process."""
    return prepare.main(dataset.parent.parent)


def run_worker(dataset: Path) -> subprocess.CompletedProcess[str]:
    """The prepare worker in a process of its own, as the product starts it."""
    command, folder = [sys.executable, "-P", "-m", "training.data.prepare"], dataset.parent.parent
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def packages_loaded(dataset: Path) -> set[str]:
    """What the prepare worker has imported when it is done."""
    code = "import sys; from training.data.prepare import main, work; work(main); print(*sys.modules, file=sys.stderr)"
    command, folder = [sys.executable, "-P", "-c", code], dataset.parent.parent
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stderr.split()}


def outputs(dataset: Path) -> Path:
    return dataset.parent.parent / "outputs"


def messages(validation: Validation) -> str:
    """All messages of the failed checks, in one text."""
    return json.dumps([[f.check, f.count, f.messages, f.hint] for f in validation.faults], ensure_ascii=False)
