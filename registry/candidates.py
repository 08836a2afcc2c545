"""Candidates: `test/<model>/<version>/`, numbered 1, 2, 3, …, each with its card and the records of its trials.

    test/<model>/runs/<run>/1.json          which number a run wants (2.json: its second try, when it lost the race)
    test/<model>/<version>/claim.json       which run has the number
    test/<model>/<version>/…                the files
    test/<model>/<version>/card.json        last: a version exists when its card does
    test/<model>/<version>/acceptances/     the trials, a chain that begins with the card

Nothing here holds a lock, and every function can be repeated after a kill: what stands is found, what is missing is made.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

from registry import codec
from registry.chain import Chain, LostRace
from registry.errors import ConfigError, Corrupt
from registry.files import sha256_bytes, sha256_file
from registry.nouns import Acceptance, Candidate, Claim
from registry.stores import Store, create_or_same, walk

Area = Literal["test", "production"]
T = TypeVar("T")


def models(store: Store) -> list[str]:
    """The models that have candidates."""
    return [name[:-1] for name in store.names("test") if name.endswith("/")]


def claim(store: Store, model: str, run: str) -> int:
    """The number of `run`'s version: the same at every call, and no other run's.

    Each try asks for a number that is written down first, so a killed run, or two processes of one run, ask for the
    same number again; who gets it is decided by `claim.json`.
    """
    for attempt in itertools.count(1):
        wish = _wish(store, model, run, attempt)
        with contextlib.suppress(FileExistsError):
            store.create(f"{folder('test', model, wish.version)}/claim.json", codec.seal(wish))
        if claimed_by(store, model, wish.version) == run:
            return wish.version
    raise AssertionError


def find_run(store: Store, model: str, run: str) -> int | None:
    """The number that `run` has claimed, published or not."""
    for attempt in itertools.count(1):
        try:
            wish = _read(store, Claim, _wish_name(model, run, attempt))
            if claimed_by(store, model, wish.version) == run:
                return wish.version
        except FileNotFoundError:
            return None
    raise AssertionError


def claimed_by(store: Store, model: str, version: int) -> str:
    """The run that has the number; raises FileNotFoundError or Corrupt."""
    name = f"{folder('test', model, version)}/claim.json"
    found = _read(store, Claim, name)
    if (found.model, found.version) != (model, version):
        raise Corrupt(f"{name}: is about {found.model} {found.version}", hint="restore this file from a backup")
    return found.run


def publish(store: Store, card: Candidate, files: Path) -> None:
    """Store the files of a claimed version from the folder `files`, each checked against the card, then the card.

    Repeating it goes on where it was stopped. Raises Corrupt when a file differs from the card, or when the version
    holds something else already.
    """
    target = folder("test", card.model, card.version)
    if claimed_by(store, card.model, card.version) != card.run:
        raise Corrupt(f"{target}/claim.json: the number belongs to another run than {card.run}")
    for name in card.files:
        if name in {"claim.json", "card.json"} or name.startswith("acceptances/"):
            raise ConfigError(f"{files / name}: this name is the registry's own", hint="give the file another name")
        if not (files / name).is_file():
            raise Corrupt(f"{files / name}: is missing, though the card names it", hint="run the step before again")
    for name, sha256 in sorted(card.files.items()):
        create_or_same(store, f"{target}/{name}", files / name, sha256)
    if extra := _files(store, target) - card.files.keys():
        raise Corrupt(
            f"{target}/{min(extra)}: is not in the card: this run was registered halfway with other files before",
            hint="start the run again with --force: it gets a new number",
        )
    try:
        store.create(f"{target}/card.json", codec.seal(card))
    except FileExistsError:
        there = globals()["card"](store, card.model, card.version)
        if codec.seal(replace(there, created_at=card.created_at)) != codec.seal(card):
            raise Corrupt(f"{target}/card.json: another card stands there already") from None


def card(store: Store, model: str, version: int, area: Area = "test") -> Candidate:
    """The card of a version; raises ConfigError when there is no such version, Corrupt when it was altered."""
    return _decode_card(_card_bytes(store, area, model, version), area, model, version)


def card_digest(store: Store, model: str, version: int, area: Area = "test") -> str:
    """The SHA-256 of the card's bytes, which stands for the whole version; raises as `card` does."""
    data = _card_bytes(store, area, model, version)
    _decode_card(data, area, model, version)
    return sha256_bytes(data)


def newest_first(store: Store, model: str, area: Area = "test") -> Iterator[int]:
    """The versions, highest number first; each is looked at only when it is asked for."""
    for number in reversed(numbers(store, model, area)):
        if "card.json" in store.names(folder(area, model, number)):
            yield number


def versions(store: Store, model: str) -> list[int]:
    """All versions, lowest number first."""
    return sorted(newest_first(store, model))


def newest(store: Store, model: str) -> int | None:
    """The version with the highest number."""
    return next(newest_first(store, model), None)


def local_folder(store: Store, area: Area, model: str, version: int, digest: str = "") -> Path:
    """A local folder with the files of a version, for reading only, every file checked against the card.

    With `digest`, the card must have it. Raises Corrupt naming the file, or ConfigError when there is no such version.
    """
    where = folder(area, model, version)
    data = _card_bytes(store, area, model, version)
    found = _decode_card(data, area, model, version)
    if digest and digest != sha256_bytes(data):
        raise Corrupt(f"{where}/card.json: is not the card with the SHA-256 {digest}", hint=VERIFY)
    if wrong := altered(store, {f"{where}/{name}": sha256 for name, sha256 in found.files.items()}):
        raise Corrupt(wrong[0], hint=VERIFY)
    return store.path(f"{where}/card.json").parent


def acceptances(store: Store, model: str, version: int) -> list[Acceptance]:
    """All trials of a version, the oldest first."""
    return _acceptances(store, model, version).read_all()


def append_acceptance(store: Store, draft: Acceptance) -> Acceptance:
    """Append a trial; number and `previous` of the draft are filled in. Raises Corrupt when it tried another card."""
    chain = _acceptances(store, draft.model, draft.version)
    if draft.card != chain.first:
        raise Corrupt(f"{chain.folder}: the trial was of a card that is not this version's", hint="try it again")
    while True:
        with contextlib.suppress(LostRace):  # the order of trials does not matter: take the next number
            return chain.append(lambda number, previous: replace(draft, number=number, previous=previous), chain.last())


VERIFY = "`trainyard registry verify` tells all; restore the file from a backup, or promote another version"


def folder(area: Area, model: str, version: int) -> str:
    """Where a version lies in the store."""
    return f"{area}/{model}/{version}"


def numbers(store: Store, model: str, area: Area = "test") -> list[int]:
    """The numbers of all version folders, unfinished ones too, in order, by one listing."""
    return sorted(int(name[:-1]) for name in store.names(f"{area}/{model}") if is_version(name))


def is_version(name: str) -> bool:
    """Whether `name`, from a listing, is a version's folder."""
    number = name.removesuffix("/")
    return number != name and number.isdecimal() and number.isascii() and not number.startswith("0")


def altered(store: Store, wanted: Mapping[str, str]) -> list[str]:
    """What is wrong with the files in `wanted` (name → SHA-256); they are hashed on all cores."""

    def look(name: str) -> str:
        try:
            found = sha256_file(store.path(name))
        except FileNotFoundError:
            return f"{name}: is missing"
        return "" if found == wanted[name] else f"{name}: was altered: SHA-256 is {found}, the card says {wanted[name]}"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return [problem for problem in pool.map(look, wanted) if problem]


def _wish(store: Store, model: str, run: str, attempt: int) -> Claim:
    """The number of this try: chosen once, the first free one at that moment."""
    name = _wish_name(model, run, attempt)
    with contextlib.suppress(FileNotFoundError):
        return _read(store, Claim, name)
    free = max(numbers(store, model), default=0) + 1
    with contextlib.suppress(FileExistsError):
        store.create(name, codec.seal(Claim(model, free, run)))
    return _read(store, Claim, name)


def _wish_name(model: str, run: str, attempt: int) -> str:
    return f"test/{model}/runs/{run}/{attempt}.json"


def _read(store: Store, kind: type[T], name: str) -> T:
    return codec.from_json(kind, store.get(name), name, sealed=True)


def _card_bytes(store: Store, area: Area, model: str, version: int) -> bytes:
    try:
        return store.get(f"{folder(area, model, version)}/card.json")
    except FileNotFoundError:
        raise ConfigError(
            f"{folder(area, model, version)}/card.json: there is no such version",
            hint=f"`trainyard registry list {model}` shows the versions",
        ) from None


def _decode_card(data: bytes, area: Area, model: str, version: int) -> Candidate:
    where = f"{folder(area, model, version)}/card.json"
    found = codec.from_json(Candidate, data, where, sealed=True)
    if (found.model, found.version) != (model, version):
        raise Corrupt(f"{where}: is the card of {found.model} {found.version}", hint=VERIFY)
    return found


def _files(store: Store, target: str) -> set[str]:
    own = {"claim.json", "card.json"}
    return {name for name in walk(store, target) if name not in own and not name.startswith("acceptances/")}


def _acceptances(store: Store, model: str, version: int) -> Chain[Acceptance]:
    where = f"{folder('test', model, version)}/acceptances"
    return Chain(store, Acceptance, where, first=card_digest(store, model, version))
