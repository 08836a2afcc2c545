"""Where an export goes: written whole or not at all, and nothing that is there is touched."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from registry.errors import ConfigError, Corrupt, PipelineError
from registry.files import TMP, sha256_bytes, sha256_file, sync_folder
from registry.store_options import StoreOptions


def write_folder(target: Path, made: Mapping[str, bytes], copied: Mapping[str, tuple[Path, str]]) -> None:
    """Make the folder `target` with these files: name → bytes, and name → file, SHA-256, which is checked on the way.

    Raises ConfigError when there is something at `target`, Corrupt when a file changes meanwhile, OSError.
    """
    target = target.absolute()
    _must_be_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    new = target.with_name(f"{TMP}{target.name}-{os.getpid()}")
    new.mkdir()
    try:
        for name in sorted({str(Path(each).parent) for each in (*made, *copied)}):
            (new / name).mkdir(parents=True, exist_ok=True)
        for name, data in made.items():
            (new / name).write_bytes(data)
        for name, (source, sha256) in copied.items():
            shutil.copyfile(source, new / name)
            if sha256_file(new / name) != sha256:
                raise Corrupt(f"{source}: changed while it was copied", hint="`trainyard registry verify` says more")
        for root, _, files in os.walk(new, topdown=False):
            for name in files:
                _sync(Path(root, name))
            sync_folder(Path(root))
        _must_be_free(target)
        os.rename(new, target)  # takes the place of an empty folder, and of nothing else
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    sync_folder(target.parent)


def write_bucket(
    url: str, options: StoreOptions, made: Mapping[str, bytes], copied: Mapping[str, tuple[Path, str]], last: str
) -> None:
    """The same as objects below `s3://bucket/prefix`; the one called `last` is there when all others are.

    When one cannot be written, those that were are removed again. Raises PipelineError.
    """
    from registry.s3_client import parse_url
    from registry.s3_objects import Objects

    objects = Objects(parse_url(url, "--to"), options)
    taken = ConfigError(f"{url}: there is something already", hint="name a prefix below which there is nothing yet")
    if next(objects.listing("", deep=True), None):
        raise taken
    files: dict[str, tuple[bytes | Path, str]] = {name: (data, sha256_bytes(data)) for name, data in made.items()}
    files |= copied
    written: list[str] = []
    try:
        for name in sorted(files, key=lambda each: (each == last, each)):
            objects.create_file(name, *files[name])
            written.append(name)
    except BaseException as error:
        for name in written:
            with contextlib.suppress(PipelineError):
                objects.remove(name)
        if isinstance(error, FileExistsError):
            raise taken from None
        raise


def _must_be_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()) or (target.is_dir() and any(target.iterdir())):
        raise ConfigError(f"{target}: there is something already", hint="name a folder that is empty, or not there yet")


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
