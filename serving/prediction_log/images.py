"""Images as they came to the model, with `images = "file"`: a tar file beside each segment, with a PNG per instance."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from registry.files import new_file, sync_folder
from serving.engines.base import Array
from serving.prediction_log.lines import Answered
from serving.prediction_log.segments import IMAGES

MOST_BYTES = 256 << 20
"""Of the images of one segment; further ones are not kept."""


def member_name(request_id: str, row: int) -> str:
    """In the tar file: the id and the row of the line."""
    return f"{request_id.replace('/', '_')}.{row}.png"


class ImageFile:
    """The images of an open segment. It appears, whole, when it is closed; a killed writer's is lost. Raises OSError."""

    def __init__(self, folder: Path, name: str) -> None:
        """`name`: the segment's, without its ending."""
        self._target = folder / IMAGES / f"{name}.tar"
        self._target.parent.mkdir(parents=True, exist_ok=True)
        fd, self._tmp = new_file(self._target.parent)
        self._file = open(fd, "wb")  # noqa: SIM115  (closed in `close`)
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def add(self, answered: Answered, name: str) -> None:
        """The images of a request, which are the rows of its input `name`."""
        for row, pixels in enumerate((answered.inputs or {})[name]):
            if self._file.tell() < MOST_BYTES:
                _add(self._tar, member_name(answered.request_id, row), _png(pixels), answered.at)

    def close(self) -> None:
        """Have it appear."""
        self._tar.close()
        self._file.close()
        Path(self._tmp).replace(self._target)
        sync_folder(self._target.parent)

    def leave(self) -> None:
        """Close it where it is; it never appears."""
        self._tar.close()
        self._file.close()


def stored_images(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of each image in a closed file."""
    with tarfile.open(path) as tar:
        for entry in tar:
            if entry.isfile() and (file := tar.extractfile(entry)):
                yield entry.name, file.read()


def remove_images(path: Path, is_gone: Callable[[str], bool]) -> int:
    """Write the file again without the images whose names `is_gone`; how many those were."""
    if not any(is_gone(name) for name, _ in stored_images(path)):
        return 0
    fd, tmp = new_file(path.parent)
    gone = 0
    try:
        with open(fd, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, data in stored_images(path):
                if is_gone(name):
                    gone += 1
                else:
                    _add(tar, name, data, path.stat().st_mtime)
        Path(tmp).replace(path)
    except BaseException:
        Path(tmp).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return gone


def _add(tar: tarfile.TarFile, name: str, data: bytes, at: float) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), 0o640, at
    tar.addfile(entry, io.BytesIO(data))


def _png(pixels: Array) -> bytes:
    from PIL import Image

    array = np.nan_to_num(pixels).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array[..., :4]).save(file, "PNG")
    return file.getvalue()
