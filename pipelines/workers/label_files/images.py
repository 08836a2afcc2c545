"""Images by class: a file for each answer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipelines.workers.label_files.sample import MARK, NO_IMAGE, Labelled, Part, Parts, no_class
from pipelines.workers.label_files.split import said_parts
from training.data.dataset_toml import DatasetFile, Images


def add(repository: Path, settings: DatasetFile, rows: Sequence[Labelled], made: Parts) -> None:
    """Put the images that were kept into the folders of their classes."""
    images = settings.source
    assert isinstance(images, Images)
    classes = settings.classes or _folders(repository, images)
    named = []
    for each in rows:
        if each.image is None:
            reason = NO_IMAGE
        elif each.label not in classes:
            reason = no_class(each.label)
        else:
            name = f"{MARK}-{hashlib.sha256(each.key.encode(errors='replace')).hexdigest()[:16]}.png"
            made.files.append(Part(str(PurePosixPath(images.folder) / each.label / name), each.image, (each,)))
            named.append((f"{each.label}/{name}", each))
            continue
        made.left_out.append((each, reason))
    made.files += said_parts(repository, settings.rule, named, images=True)


def _folders(repository: Path, images: Images) -> tuple[str, ...]:
    folder = repository / images.folder
    return tuple(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
