"""What one machine has prepared of a dataset commit, for the others: `[cache] url`.

    prepared/<job>/<key>-<16 digits>.zip    the outputs and the result of a job, as `prepared_data` keeps them
    prepared/<job>/<key>.json               says which archive, with its SHA-256; signed, and written last

The key is a digest of all that decides the outputs: the commit, the job, the code that prepares, the packages or the image. An
entry counts only if a key of the registry has signed it under just this name: who can write there, but not sign, can have
something prepared again, and no more. It is not in the registry, which never deletes. Nothing here can fail a run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pipelines.context import Context
from pipelines.reuse.bound import AREA, entries_over, folder_of, remove_entry
from pipelines.trust import store_options
from registry import codec
from registry.dataclass import dataclass
from registry.errors import Corrupt, PipelineError
from registry.files import TMP, copy_hashed, sha256_file, sweep, try_lock
from registry.records import utc_now
from registry.stores import Signatures, Store, open_store, signatures_of

LONG_AGO = (1980, 1, 1, 0, 0, 0)
QUICK = 1
"""Of zlib's levels: arrays of small numbers become a quarter, at 50 MB/s."""
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class SharedEntry:
    """What was prepared, and in which archive it lies."""

    job: str
    key: str
    sha256: str
    """Of the archive."""
    bytes: int
    at: str

    @property
    def archive(self) -> str:
        """The name of the archive."""
        return f"{AREA}/{self.job}/{self.key}-{self.sha256[:16]}.zip"


class SharedPreparations:
    """Entries in a store of their own."""

    def __init__(self, store: Store, signatures: Signatures | None, folder: Path | None, max_bytes: int) -> None:
        """`signatures` are those of the registry, None when it is not signed; `folder` is where the store keeps its names,
        None for one in which we do not delete (a bucket: its own lifecycle does)."""
        self._store, self._signatures, self._folder, self._max = store, signatures, folder, max_bytes

    def fetch(self, job: str, key: str, into: Path) -> bool:
        """Unpack an entry into the folder `into`; False when there is none. Raises Corrupt for one that cannot be trusted."""
        name = f"{AREA}/{job}/{key}.json"
        try:
            data = self._store.get(name)
            entry = codec.from_json(SharedEntry, data, name, checksum_required=True)
            if self._signatures:
                self._signatures.check(_signed_as(name), data)
            if (entry.job, entry.key) != (job, key):
                raise Corrupt(f"{name}: is about {entry.job} {entry.key}", hint="delete it")
            copy = into / ".archive"  # unpacked from here: in the store it could change after it was hashed
            source = self._store.path(entry.archive)
            with source.open("rb", buffering=0) as there, copy.open("xb", buffering=0) as here:
                found = copy_hashed(there, here)
            if found != entry.sha256:
                raise Corrupt(f"{entry.archive}: checksum mismatch", hint="delete it")
            with zipfile.ZipFile(copy) as archive:
                archive.extractall(into)
            copy.unlink()
        except FileNotFoundError:
            return False
        if self._folder:
            with contextlib.suppress(OSError):  # another user's: its age counts from when it was made
                os.utime(self._folder / name)
        return True

    def offer(self, job: str, key: str, content: Path, scratch: Path) -> bool:
        """Store what is in the folder `content`, unless an entry is there or it is larger than the bound; whether it was stored.

        The archive is made in the folder `scratch`.
        """
        name = f"{AREA}/{job}/{key}.json"
        with contextlib.suppress(FileNotFoundError):
            self._store.get(name)
            return False
        if _size(content) > self._max:
            return False
        scratch.mkdir(parents=True, exist_ok=True)
        sweep(scratch)  # what killed processes have left
        with tempfile.NamedTemporaryFile(dir=scratch, prefix=TMP) as file:
            try_lock(file.fileno())
            packed = Path(file.name)
            _pack(content, packed)
            entry = SharedEntry(job, key, sha256_file(packed), packed.stat().st_size, utc_now())
            with contextlib.suppress(FileExistsError):  # it is called by its digest; a reader checks
                self._store.create(entry.archive, packed)
        signatures = self._signatures
        sign = (lambda digest: signatures.sign(_signed_as(name), digest)) if signatures else None
        with contextlib.suppress(FileExistsError):
            self._store.create(name, codec.with_checksum(entry, sign))
        for each in entries_over(self._folder, self._max) if self._folder else ():
            remove_entry(each)
        return True


def open_shared(context: Context) -> SharedPreparations | None:
    """What the settings name; None: nothing is shared. Raises ConfigError for a store that cannot be opened."""
    config = context.config
    if not config.cache.url:
        return None
    options = replace(store_options(config.registry, context.home), cache="")  # an archive is needed once
    folder = folder_of(config.cache)
    store = open_store(config.cache.url, options)
    return SharedPreparations(store, signatures_of(context.store), folder, config.cache.max_mb << 20)


def if_possible(context: Context, what: str, act: Callable[[SharedPreparations], bool]) -> bool:
    """What `act` gives; False, with a note, where nothing is shared or something prevents it: it only saves time."""
    try:
        shared = open_shared(context)
        return shared is not None and act(shared)
    except (PipelineError, OSError, zipfile.BadZipFile) as error:
        hint = f" (hint: {error.hint})" if isinstance(error, PipelineError) and error.hint else ""
        context.progress.note(f"{what} [cache] {context.config.cache.url}: {error}{hint}")
        return False


def _signed_as(name: str) -> str:
    """No record of the registry has such a name."""
    return f"cache/{name}"


def _pack(content: Path, target: Path) -> None:
    """All files and folders below `content`, the same bytes for the same ones."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(content.rglob("*")):
            name = path.relative_to(content).as_posix()
            if path.is_dir():
                archive.writestr(zipfile.ZipInfo(f"{name}/", LONG_AGO), b"")
                continue
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type, entry._compresslevel = zipfile.ZIP_DEFLATED, QUICK  # type: ignore[attr-defined]  # noqa: SLF001
            with path.open("rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
                shutil.copyfileobj(source, packed, MB)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
