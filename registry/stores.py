"""Bytes under names: what the registry asks of a backend. No rule about models lives here."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt, PipelineError
from registry.files import sha256_bytes, sha256_file
from registry.records import HeadFold, SeenHead
from registry.store_options import StoreOptions

PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{,199}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{,199})*")
"""Most names: they are in order without a closer look."""
DEEPEST = 40  # folders; a version's files may lie 20 deep
LONGEST = 200  # bytes of a part of a name
STORES = {"file": "registry.folder:FolderStore", "s3": "registry.s3:S3Store"}


class Store(Protocol):
    """Bytes under names, with three verbs: get, create, names. Nothing is overwritten; see `Removes` for what can be deleted.

    A name is `part/part/…`; see `check_name`. A file is whole or absent at every moment, and once `create` has
    returned it is on disk, also after a power cut. All verbs raise TryAgain when the store is out of reach or full,
    and ConfigError when it may not be used like this.
    """

    def get(self, name: str) -> bytes:
        """The bytes under `name`; raises FileNotFoundError."""

    def path(self, name: str) -> Path:
        """A local file, for reading only, with the bytes under `name`; raises FileNotFoundError.

        The paths of `a/b` and `a/c/d` lie in one folder, as `b` and `c/d`.
        """

    def create(self, name: str, data: bytes | Path, sha256: str = "") -> None:
        """Store `data` (a Path is streamed) under a free name; raises FileExistsError when it is taken.

        With `sha256`, bytes that differ from it are refused with Corrupt, and equal bytes may be kept only once.
        """

    def names(self, folder: str) -> list[str]:
        """What lies directly in `folder` ("" is the top), sorted; folders end with "/". Unknown folders are empty."""

    def probe(self) -> None:
        """Try whether `create` can keep its promise here; raises ConfigError or TryAgain."""


@runtime_checkable
class KeepsOnce(Protocol):
    """A store that keeps equal bytes once, in files of its own beside the names."""

    def own_files(self) -> dict[str, tuple[Path | None, str]]:
        """What to call each of these files → where it is, if on this machine; and its SHA-256 if it is as it was written."""


@dataclass(slots=True)
class Structure:
    """What was found. Each line begins with the file or folder that it is about."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    """Folders without anything in them: a writer that was killed may have left them, or somebody has emptied them."""


@runtime_checkable
class HasStructure(Protocol):
    """A store whose names lie among things that are not names: links, hidden files, permissions."""

    def structure(self, folders: Sequence[str] = ()) -> Structure:
        """Check all of it, or only what is in some of its folders."""


@runtime_checkable
class TakesMany(Protocol):
    """A store to which thousands of names can be given at once, which is much faster than one by one."""

    def get_all(self, names: Iterable[str]) -> list[bytes]:
        """As `get`, of each."""

    def present(self, names: Iterable[str]) -> set[str]:
        """Which of these names have bytes."""


@runtime_checkable
class ListsOnwards(Protocol):
    """A store whose listings come in pages, each of which costs a request: what is known need not be listed again."""

    def names_after(self, folder: str, name: str, most: int = 0) -> list[str]:
        """As `names`, of what comes after this name in the order of texts; with `most`, up to 1000, only the first so many."""


@runtime_checkable
class GetsChanges(Protocol):
    """A store that can be asked for a record only if it is not the one that was read before."""

    def get_unless(self, name: str, tag: str) -> tuple[bytes, str] | None:
        """The bytes of a record (not of a version's file), and a tag of them; None when the tag is this one; raises as `get`."""


@runtime_checkable
class FarAway(Protocol):
    """A store that is reached over a network, and knows the SHA-256 of its files: bytes travel only when they must."""

    def digest(self, name: str) -> str:
        """The SHA-256 of what is under `name`, as the store has it in its books; raises FileNotFoundError."""

    def copy(self, source: str, target: str, sha256: str) -> None:
        """As `create` of `target` with the bytes under `source`, which stay where they are.

        Raises Corrupt when they do not have this SHA-256, or are not there.
        """

    def bring(self, names: Iterable[str]) -> None:
        """Have local copies of these, many at once; what cannot be had is left for `path` to report."""

    def digests(self, names: Iterable[str]) -> dict[str, str | PipelineError]:
        """The SHA-256 of the bytes under each name, or of the store's own file, as they are in the store now.

        What cannot be read has the error that says why.
        """


@runtime_checkable
class Removes(Protocol):
    """A store that files can be taken out of again: those of a version that was moved to another store. Never records."""

    def remove(self, files: Mapping[str, str], needed: Container[str]) -> None:
        """Remove the files with these names (name → SHA-256), those that are there; and the bytes that the store keeps
        once, unless other names have them, or their SHA-256 is in `needed`."""

    def keep(self, path: Path, sha256: str) -> None:
        """Have the bytes of a file, with this SHA-256, for names that need them and may have lost them."""


class Signatures(Protocol):
    """Signs and verifies the records of a store; see `registry.keyring`."""

    def sign(self, name: str, digest: str) -> str:
        """The signature for the record under `name`, as `<key id>:<base64>`; `digest` as in `codec.SignedBytes`."""

    def check(self, name: str, data: bytes) -> None:
        """Raise Corrupt unless a key that counts vouches for these bytes under this name."""

    def verify_keys(self) -> None:
        """Raise Corrupt, or ConfigError, when the registry's keys are not those that this machine knows."""

    def seen(self, model: str) -> SeenHead | None:
        """The newest head of a model that this machine knows."""

    def seen_models(self) -> Iterable[str]:
        """The models of which this machine knows a head."""

    def saw(self, head: SeenHead) -> None:
        """Remember a head that is in the registry, unless a newer one is known."""

    def folded(self, model: str) -> HeadFold | None:
        """What this machine has made of a model's first heads, if it has."""

    def fold(self, model: str, fold: HeadFold) -> None:
        """Keep it, so that the next head need not read them again."""

    def kept(self, folder: str) -> list[bytes]:
        """The first records of a chain, as this machine has kept them; nothing vouches for them but the next record."""

    def keep(self, folder: str, records: Sequence[bytes]) -> None:
        """Keep them, so that they need not be read again."""


def signatures_of(store: Store) -> Signatures | None:
    """What signs and verifies the records of this store; None: nothing does."""
    return cast("Signatures | None", getattr(store, "signatures", None))


def open_store(url: str, options: StoreOptions | None = None) -> Store:
    """The store at `url`, e.g. `file:///srv/registry` or `s3://bucket/prefix`; raises ConfigError."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in STORES:
        known = ", ".join(f"{each}://" for each in STORES)
        raise ConfigError(f"[registry] url: {url!r} is not known", hint=f"it begins with one of: {known}")
    module, _, name = STORES[scheme].partition(":")
    return cast("Store", getattr(import_module(module), name)(url, options))


def url_of(text: str) -> str:
    """The URL of a store that a person names, by a URL or a folder; raises ConfigError for a URL that lacks its slashes."""
    if not text or "://" in text:
        return text
    if text.startswith(tuple(f"{scheme}:" for scheme in STORES)):
        hint = "write s3://bucket/prefix or file:///folder; a folder of such a name is ./NAME"
        raise ConfigError(f"{text!r:.200} is not a URL", hint=hint)
    return f"file://{Path(text).absolute()}"


def check_name(name: str) -> str:
    """Give back `name`, or raise ConfigError.

    Its parts, separated by single slashes, are printable, do not begin with a dot (`.` and `..` with them), hold no
    backslash and have at most 200 bytes, so that every backend can keep them and none can be led elsewhere.
    """
    for part in () if PLAIN.fullmatch(name) else name.split("/"):
        if not is_part(part):
            raise ConfigError(
                f"{name!r:.300} cannot be a name in the registry",
                hint="parts are printable, not empty, do not begin with a dot and have at most 200 bytes",
            )
    return name


def is_part(part: str) -> bool:
    """Whether `part` can be one of the parts of a name; see `check_name`."""
    plain = part and not part.startswith(".") and part.isprintable() and "\\" not in part
    return bool(plain) and len(part.encode()) <= LONGEST


def get_all(store: Store, names: Iterable[str]) -> list[bytes]:
    """The bytes under each of these names; raises FileNotFoundError."""
    below = getattr(store, "unsigned", store)
    return below.get_all(names) if isinstance(below, TakesMany) else [store.get(name) for name in names]


def present(store: Store, names: Sequence[str]) -> set[str]:
    """Which of these names have bytes."""
    below = getattr(store, "unsigned", store)
    if isinstance(below, TakesMany):
        return below.present(names)
    found = set()
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            store.path(name)
            found.add(name)
    return found


def missing(store: Store, names: Sequence[str]) -> list[str]:
    """Which of these names, that should have bytes, have none, in order. What a listing does not show is asked for by itself."""
    found = present(store, names)
    return [name for name in names if name not in found and not present(store, [name])]


def create_or_same(store: Store, name: str, data: bytes | Path, sha256: str = "") -> bool:
    """Create `name`, or find the same bytes there already; False when there are others."""
    try:
        store.create(name, data, sha256)
    except FileExistsError:
        wanted = sha256 or (sha256_file(data) if isinstance(data, Path) else sha256_bytes(data))
        far = far_away(store)
        return (far.digest(name) if far else sha256_file(store.path(name))) == wanted
    return True


def copy_or_same(store: Store, source: str, target: str, sha256: str) -> bool:
    """As `create_or_same` of `target` with the bytes that the store has under `source`; raises Corrupt when they are missing."""
    far = far_away(store)
    try:
        if far is None:
            return create_or_same(store, target, store.path(source), sha256)
        far.copy(source, target, sha256)
    except FileNotFoundError:
        raise Corrupt(f"{source}: is missing", hint="`trainyard registry verify` lists every problem") from None
    except FileExistsError:
        return far is not None and far.digest(target) == sha256
    return True


def far_away(store: Store) -> FarAway | None:
    """The store below its signatures, if it is one."""
    below = getattr(store, "unsigned", store)
    return below if isinstance(below, FarAway) else None


def lists_onwards(store: Store) -> ListsOnwards | None:
    """The store below its signatures, if it is one."""
    below = getattr(store, "unsigned", store)
    return below if isinstance(below, ListsOnwards) else None


def walk(store: Store, folder: str, refused: Callable[[str, str], None] | None = None) -> list[str]:
    """All names below `folder`, without the folder itself.

    What cannot be a name, or is nested too deep to be one, is given to `refused` with the reason; without it, Corrupt is
    raised.
    """
    found: list[str] = []
    waiting = [""]
    while waiting:
        above = waiting.pop()
        for name in store.names(f"{folder}/{above}".strip("/")):
            wrong = "" if is_part(name.removesuffix("/")) else "cannot be a name in the registry"
            if above.count("/") > DEEPEST:
                wrong = f"is nested deeper than {DEEPEST} folders"
            if not wrong:
                (waiting if name.endswith("/") else found).append(above + name)
            elif refused:
                refused(shown(f"{folder}/{above}{name}".removesuffix("/")), wrong)
            else:
                raise Corrupt(
                    f"{shown(f'{folder}/{above}{name}')}: {wrong}",
                    hint="Trainyard did not write it: move it out of the registry",
                )
    return sorted(found)


def shown(name: str) -> str:
    """A file's name in one line, also when it was chosen to look like something else."""
    return name if name.isprintable() else ascii(name)[1:-1]
