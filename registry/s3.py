"""The registry in a bucket of an object store: `s3://bucket/prefix`.

A record is an object under its name. A file is kept once, whatever its names are: its bytes are the object
`.store/objects/ab/<sha256>`, and under each name lies a pointer, which is made when the bytes are there. So a promotion copies
pointers, and bytes that are known are not sent again.

A pointer is known by its first line, and nothing else can begin with it: a record that did would be kept as a file, behind a
pointer. Nothing depends on metadata: what a tool copies as files, to a folder and back, is the same registry.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt, PipelineError
from registry.files import sha256_bytes, sha256_file
from registry.s3_cache import Cache
from registry.s3_client import check_endpoint, parse_url
from registry.s3_objects import Objects, must_be
from registry.s3_packs import LONGEST_KEY, Packs, ends_pack
from registry.s3_probe import Probed, probe
from registry.s3_reads import CONNECTIONS, Facts
from registry.s3_structure import BLOB, BLOBS, inspect_objects
from registry.store_options import StoreOptions
from registry.stores import Structure, check_name

SECTION = "[registry]"
MAGIC = b"trainyard file\n"
POINTER = re.compile(MAGIC + rb"sha256 ([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,14})\n")
FILES_AT_ONCE = 4
LISTINGS_AT_ONCE = 8
SINGLE = 16
"""So many names of one folder are asked for one by one; more, by a listing."""
SCATTERED = 128
"""As `SINGLE`, of names in many folders: what else is in these would be listed, too."""
HINT = "`trainyard registry verify` lists every problem; restore the object from a backup"


@dataclass(frozen=True, slots=True)
class Pointer:
    """What is kept under the name of a file."""

    sha256: str
    size: int

    def to_bytes(self) -> bytes:
        return MAGIC + f"sha256 {self.sha256}\nsize {self.size}\n".encode()

    @property
    def blob(self) -> str:
        """What the object with the bytes is called."""
        return f"{BLOBS}/{self.sha256[:2]}/{self.sha256}"


class S3Store:
    """See the module, and `registry.stores.Store`. The bucket must be there; the prefix appears with the first object."""

    def __init__(self, url: str, options: StoreOptions | None = None) -> None:
        options = options or StoreOptions()
        self._place = parse_url(url, SECTION)
        check_endpoint(options.access.endpoint, SECTION)
        self._objects = Objects(self._place, options)
        self._id = sha256_bytes(f"{options.access.endpoint} {self._place.url}".encode())[:16]
        self._cache = Cache(options.cache, options.cache_mb << 20, self._id)
        self._probed = Probed(self._cache.root, options.access, self._place)
        self._packs = Packs(self._objects)
        self._probing = threading.Lock()

    def get(self, name: str) -> bytes:
        data = self._objects.get(self._checked(name))
        if (pointer := read_pointer(data, name)) is None:
            return data
        found = self._objects.get(pointer.blob)
        if sha256_bytes(found) != pointer.sha256:
            raise Corrupt(f"{name}: checksum mismatch: SHA-256 is not {pointer.sha256}", hint=HINT)
        return found

    def get_unless(self, name: str, tag: str) -> tuple[bytes, str] | None:
        return self._objects.get_unless(self._checked(name), tag)

    def path(self, name: str) -> Path:
        data = self._objects.get(self._checked(name))
        if pointer := read_pointer(data, name):
            return self._cache.path(name, pointer.sha256, partial(self._fetch, name, pointer))
        return self._cache.path(name, sha256_bytes(data), lambda path: _write(path, data))

    def create(self, name: str, data: bytes | Path, sha256: str = "") -> None:
        self._checked(name)
        self._must_be_probed()
        if isinstance(data, bytes) and not sha256 and not data.startswith(MAGIC):
            self._objects.create(name, data)
            if names := ends_pack(name):
                with contextlib.suppress(FileNotFoundError, PipelineError):
                    self._records_of(names)
            return
        if not sha256:
            sha256 = sha256_bytes(data) if isinstance(data, bytes) else sha256_file(data)
        pointer = self._keep(data, sha256)
        self._objects.create(name, pointer.to_bytes())
        if self._objects.head(pointer.blob) is None:  # the version that had the bytes was archived in this moment
            self._keep(data, sha256)

    def names(self, folder: str) -> list[str]:
        found = {name for name, _ in self._objects.listing(self._checked(folder) if folder else "")}
        return sorted(name for name in found if name and not name.startswith("."))

    def names_after(self, folder: str, name: str, most: int = 0) -> list[str]:
        listed = self._objects.listing(self._checked(folder) if folder else "", after=name, most=most)
        found = {each for each, _ in listed}
        return sorted(each for each in found if each > name and not each.startswith("."))

    def get_all(self, names: Iterable[str]) -> list[bytes]:
        wanted = [self._checked(name) for name in names]
        if are_many(wanted):
            found = self._records_of(wanted)
            return [found[name] for name in wanted]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(self.get, wanted))

    def present(self, names: Iterable[str]) -> set[str]:
        wanted = [self._checked(name) for name in names]
        if are_many(wanted):
            return self._listed(wanted).keys() & set(wanted)
        with ThreadPoolExecutor(max(1, min(CONNECTIONS, len(wanted)))) as pool:
            return {name for name, facts in zip(wanted, pool.map(self._objects.head, wanted), strict=True) if facts}

    def probe(self) -> None:
        probe(self._objects)
        self._probed.remember(self._objects.server())

    def digest(self, name: str) -> str:
        data = self._objects.get(self._checked(name))
        pointer = read_pointer(data, name)
        return pointer.sha256 if pointer else sha256_bytes(data)

    def copy(self, source: str, target: str, sha256: str) -> None:
        self._checked(target)
        self._must_be_probed()
        data = self._objects.get(self._checked(source))
        pointer = read_pointer(data, source)
        if (pointer.sha256 if pointer else sha256_bytes(data)) != sha256:
            raise Corrupt(f"{source}: checksum mismatch: SHA-256 is not {sha256}", hint=HINT)
        if pointer:
            self._must_be_kept(pointer)
        self._objects.create(target, data)

    def bring(self, names: Iterable[str]) -> None:
        def bring(name: str) -> None:
            with contextlib.suppress(FileNotFoundError, Corrupt):
                self.path(name)

        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            for each in [pool.submit(bring, name) for name in names]:
                each.result()

    def digests(self, names: Iterable[str]) -> dict[str, str | PipelineError]:
        wanted = list(names)
        with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
            blobs = dict(zip(wanted, pool.map(self._blob_of, wanted), strict=True))
            names_of = {each: name for name, each in blobs.items() if isinstance(each, str)}  # a file is read once
            found = dict(zip(names_of, pool.map(self._digest_of, names_of, names_of.values()), strict=True))
        return {name: found[each] if isinstance(each, str) else each for name, each in blobs.items()}

    def own_files(self) -> dict[str, tuple[Path | None, str]]:
        names = sorted(f"{BLOBS}/{name}" for name, _ in self._objects.listing(BLOBS, deep=True))
        return {name: (None, found[2]) for name in names if (found := BLOB.fullmatch(name))}

    def remove(self, files: Mapping[str, str], needed: Container[str]) -> None:
        names = [self._checked(name) for name in files]
        blobs = [Pointer(sha256, 0).blob for sha256 in sorted({*files.values()}) if sha256 not in needed]
        with ThreadPoolExecutor(CONNECTIONS) as pool:  # the names first: none is left without its bytes
            list(pool.map(self._objects.remove, names))
            list(pool.map(self._objects.remove, blobs))

    def keep(self, path: Path, sha256: str) -> None:
        self._keep(path, sha256)

    def structure(self, folders: Sequence[str] = ()) -> Structure:
        return inspect_objects(self._objects, folders)

    def _records_of(self, names: list[str]) -> dict[str, bytes]:
        """The bytes under each of many names, as they are listed now: what was read before, or is in packs, is not read again."""
        listed = self._listed(names)  # which may have missed one: then that is asked for
        found: dict[str, bytes] = {}
        for name in names:
            if (facts := listed.get(name)) and (data := self._cache.record(name, facts.etag, facts.size)) is not None:
                found[name] = data
        found |= self._packs.find([name for name in names if name not in found and name in listed], listed)
        alone = [name for name in dict.fromkeys(names) if name not in found]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            read = dict(zip(alone, pool.map(self.get, alone), strict=True))
        for name, data in read.items():
            if (facts := listed.get(name)) and len(data) == facts.size:
                self._cache.keep_record(name, facts.etag, data)
        found |= read
        if self._probed.is_fresh():  # who only reads here may not be allowed to write
            self._packs.keep(found, alone, listed)
        return found

    def _blob_of(self, name: str) -> str | PipelineError:
        """The object that holds the bytes under a name, or of a file of the store's own."""
        if BLOB.fullmatch(name):
            return name
        try:
            pointer = read_pointer(self._objects.get(self._checked(name)), name)
        except FileNotFoundError:
            return Corrupt(f"{name}: is missing", hint=HINT)
        except (ConfigError, Corrupt) as error:
            return error
        return pointer.blob if pointer else name

    def _digest_of(self, blob: str, name: str) -> str | PipelineError:
        try:
            return self._objects.digest(blob)
        except FileNotFoundError:
            return Corrupt(f"{name}: its bytes are missing, which are {blob}", hint=HINT)

    def _must_be_kept(self, pointer: Pointer) -> None:
        """Raise Corrupt unless the bytes are there, as far as the store can say without reading them."""
        kept = self._objects.head(pointer.blob)
        if kept is None or kept.size != pointer.size or kept.sha256 not in {"", pointer.sha256}:
            raise Corrupt(f"{pointer.blob}: is missing, or does not hold the bytes with this SHA-256", hint=HINT)

    def _keep(self, data: bytes | Path, sha256: str) -> Pointer:
        """Have these bytes in the store, once; raises Corrupt when they are not those of `sha256`."""
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        pointer = Pointer(sha256, size)
        if self._objects.head(pointer.blob) is None:
            with contextlib.suppress(FileExistsError):  # a concurrent writer stored the same bytes
                self._objects.create_file(pointer.blob, data, sha256)
                return pointer
        if isinstance(data, bytes):
            must_be(sha256_bytes(data), sha256, "the bytes")
        else:
            must_be(sha256_file(data), sha256, data)
        self._must_be_kept(pointer)
        return pointer

    def _fetch(self, name: str, pointer: Pointer, path: Path) -> None:
        try:
            self._objects.fetch(pointer.blob, pointer.size, path)
        except FileNotFoundError:
            raise Corrupt(f"{name}: its bytes are missing, which are {pointer.blob}", hint=HINT) from None

    def _listed(self, names: list[str]) -> dict[str, Facts]:
        """What is there of the folders that hold these names; of a single one, from the first of them on."""
        folders = {name.rpartition("/")[0] for name in names}
        if len(folders) == 1:
            return self._listed_in(folders.pop(), min(names), max(names))
        parts = [(folder, "") for folder in folders]
        if deep := len(folders) > SINGLE:
            above = _common(folders)
            start = len(above) + bool(above)  # in parts that can be listed at once: a page is waited for
            parts = [(above, first) for first in sorted({name[start] for name in names})]
        with ThreadPoolExecutor(LISTINGS_AT_ONCE) as pool:
            pages = pool.map(lambda part: list(self._objects.listing(part[0], deep=deep, begins=part[1])), parts)
            return {
                f"{folder}/{name}".removeprefix("/"): facts
                for (folder, _), page in zip(parts, pages, strict=True)
                for name, facts in page
                if facts
            }

    def _listed_in(self, folder: str, first: str, last: str) -> dict[str, Facts]:
        """What is there of a folder, from one name to another, and perhaps more: the folder may be much longer."""
        start, found = len(folder) + bool(folder), dict[str, Facts]()
        for name, facts in self._objects.listing(folder, after=first[start:-1]):
            if facts and name > last[start:]:
                break
            if facts:
                found[f"{folder}/{name}".removeprefix("/")] = facts
        return found

    def _must_be_probed(self) -> None:
        """Nothing is written into a store that this machine has not probed within a day."""
        with self._probing:
            if not self._probed.is_fresh():
                self.probe()

    def _checked(self, name: str) -> str:
        check_name(name)
        if len(self._place.key(name).encode()) > LONGEST_KEY:
            raise ConfigError(f"{name!r:.300} is too long for an object store", hint="use shorter names, or prefix")
        return name


def are_many(names: Sequence[str]) -> bool:
    """Whether a listing answers with fewer requests what is there of these."""
    return len(names) > (SINGLE if len({name.rpartition("/")[0] for name in names}) == 1 else SCATTERED)


def read_pointer(data: bytes, name: str) -> Pointer | None:
    """What an object says, if it is a pointer; raises Corrupt when it only begins like one."""
    if not data.startswith(MAGIC):
        return None
    found = POINTER.fullmatch(data)
    if found is None:
        raise Corrupt(f"{name}: is not written as a pointer is", hint=HINT)
    return Pointer(found[1].decode(), int(found[2]))


def _common(folders: Iterable[str]) -> str:
    """The folder that all of these are, or are in."""
    parts = [folder.split("/") for folder in folders]
    same = zip(min(parts), max(parts), strict=False)
    return "/".join(first for first, _ in itertools.takewhile(lambda pair: pair[0] == pair[1], same))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
