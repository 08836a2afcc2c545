"""A whole registry from one store to another: the same bytes under the same names, so chains and signatures hold.

The keys come last. A copy that was interrupted has none, and so counts as no registry; the same call completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from registry.candidates import OWN, is_version
from registry.dataclass import dataclass
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes, sha256_file
from registry.keyring import FOLDER as KEYS
from registry.stores import Store, get_all, present, walk

AT_ONCE = 8
BATCH = 500
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Copied:
    """What was done."""

    copied: int
    """Names that are new in the target."""
    there: int
    """Names that an earlier call had copied."""


def copy(source: Store, target: Store, progress: Callable[[int, int], None] = lambda _done, _of: None) -> Copied:
    """Copy all of `source`; `progress` gets how many names are done, of how many.

    Neither store may be one that signs: the bytes are not made anew. Records that are there are compared; the files of versions
    are for `registry verify` to read. Raises ConfigError when the source is empty, or the target holds anything else; Corrupt when a
    record differs.
    """
    names = _names(source)
    if not names:
        raise ConfigError("the registry to copy is empty", hint="check its address")
    if others := sorted(set(_names(target)) - set(names)):
        more = f" and {len(others) - SHOWN} more" if len(others) > SHOWN else ""
        raise ConfigError(
            f"the target holds what the registry to copy does not: {', '.join(others[:SHOWN])}{more}",
            hint="copy to an empty folder or prefix, or to one that an earlier copy of the same registry has begun",
        )
    target.probe()
    copied = there = 0
    for batch in _batches(names):
        known = present(target, batch)
        _must_be_equal(source, target, [each for each in batch if each in known and not is_file(each)])
        new = [each for each in batch if each not in known]
        if batch[0].startswith(f"{KEYS}/"):
            for each in new:  # in order: a key vouches for the next
                _copy(source, target, each)
        else:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda name: _copy(source, target, name), new))
        copied, there = copied + len(new), there + len(known)
        progress(copied + there, len(names))
    return Copied(copied, there)


def is_file(name: str) -> bool:
    """Whether a name is that of a version's file, and not of a record. In production the manifest is one of the files."""
    area, _, rest = name.partition("/")
    _, _, rest = rest.partition("/")
    version, _, rest = rest.partition("/")
    if not is_version(f"{version}/"):
        return False
    return area == "production" or (area == "test" and rest.split("/")[0] not in OWN)


def _names(store: Store) -> list[str]:
    """All names, the keys last."""
    found = walk(store, "")
    return sorted(found, key=lambda name: (name.startswith(f"{KEYS}/"), name))


def _batches(names: list[str]) -> Iterable[list[str]]:
    first_key = next((at for at, name in enumerate(names) if name.startswith(f"{KEYS}/")), len(names))
    for part in (names[:first_key], names[first_key:]):
        yield from (part[at : at + BATCH] for at in range(0, len(part), BATCH))


def _must_be_equal(source: Store, target: Store, names: list[str]) -> None:
    for name, one, other in zip(names, get_all(source, names), get_all(target, names), strict=True):
        if one != other:
            raise Corrupt(
                f"{name}: differs in the target", hint="copy to another folder or prefix: this one holds something else"
            )


def _copy(source: Store, target: Store, name: str) -> None:
    try:
        if is_file(name):
            path = source.path(name)
            target.create(name, path, sha256_file(path))
        else:
            target.create(name, source.get(name))
    except FileExistsError:  # a concurrent copy was first
        digest = sha256_file(target.path(name)) if is_file(name) else sha256_bytes(target.get(name))
        if digest != (sha256_file(source.path(name)) if is_file(name) else sha256_bytes(source.get(name))):
            raise Corrupt(f"{name}: differs in the target", hint="copy to another folder or prefix") from None
