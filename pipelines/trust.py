"""The registry as the controller opens it: signed with this machine's key, verified by what this machine knows of it.

A registry that is new gets its first key by itself. One that is older than signatures is adopted once, by a person:
`trainyard registry adopt`.
"""

from __future__ import annotations

import os
from pathlib import Path

from pipelines.config.load import secret
from pipelines.config.schema import Config, Registry
from pipelines.key_folder import KeyFolder
from registry import candidates, codec
from registry.chain import LostRace
from registry.errors import ConfigError, TryAgain
from registry.keyring import Keyring, append_key, draft_key, key_chain, sign_record
from registry.records import utc_now
from registry.signatures import Signer, read_key
from registry.signed_store import SignedStore
from registry.store_options import Access, StoreOptions
from registry.stores import Store, open_store, signatures_of
from registry.trusted import Trusted

ADOPT = (
    "`trainyard registry adopt` signs what is there, after it has said what it vouches for; "
    "[registry] require_signatures = false works on without signatures"
)
OWN_KEY = "TRAINYARD_SIGNING_KEY"


class Signing(Trusted):
    """Verifies, and signs with a private key of this machine that counts."""

    def __init__(self, store: Store, config: Config) -> None:
        self.folder = KeyFolder(Path(config.home))
        super().__init__(store, self.folder.memory(config.registry.url), config.registry.trusted_keys)

    def verify_keys(self) -> None:
        if self.has_begun():
            super().verify_keys()

    def sign(self, name: str, digest: str) -> str:
        signer, ring = self.signer(), self.ring
        return sign_record(signer, ring.registry, name, digest)

    def signer(self) -> Signer:
        """The private key of this machine that counts; a new registry gets its first one."""
        if not self.has_begun():
            self._begin()
        if given := given_key():
            own = [given] if given.public in self.ring.valid else []
        else:
            own = [found for each in self.ring.valid if (found := self.folder.signer(each.id))]
        if own:
            return own[0]
        public = f"key {given.public.short} ({OWN_KEY})" if given else f"no key in {self.folder.root}"
        counted = ", ".join(each.short for each in self.ring.valid)
        raise ConfigError(
            f"{public} counts in this registry, which trusts {counted}",
            hint=f"on a machine with one of these keys, `trainyard keys add FILE.pub` lets another key sign, too; or "
            f"bring the private key here ({OWN_KEY}_FILE, or its file in {self.folder.root})",
        )

    @property
    def unsigned(self) -> Store:
        """The store below."""
        return self._store

    def has_begun(self) -> bool:
        """Whether the registry has a key, or had one when it was seen last."""
        return bool(key_chain(self._store).last()) or self._memory.read() is not None

    def must_be_unknown(self) -> None:
        """Raise Corrupt when this machine knows the registry as a signed one."""
        if anchor := self._memory.read():
            raise self._no_keys(anchor)

    def _begin(self) -> None:
        made = given_key() or self.folder.make()
        draft = draft_key("made", made.public, {}, by="trainyard", at=utc_now(), reason="the registry begins")
        try:
            append_key(self._store, draft, made, 0)
        except LostRace:
            return  # a concurrent controller was first: its key counts

    def _may_begin_with(self, first: str) -> bool:
        if super()._may_begin_with(first):
            return True
        given = given_key()
        return given.public.id == first if given else self.folder.signer(first) is not None


def open_registry(config: Config, *, only_look: bool = False) -> Store:
    """The registry that the config names; raises ConfigError when it holds records that nobody has signed.

    `only_look`: for commands that decide nothing by it.
    """
    store = open_unsigned(config)
    if key_chain(store).last() or KeyFolder(Path(config.home)).memory(config.registry.url).read() is not None:
        return SignedStore(store, Signing(store, config))
    if config.registry.require_signatures:
        if is_new(store):
            return SignedStore(store, Signing(store, config))
        if not only_look:
            raise ConfigError("the registry was written before records were signed: nothing proves it", hint=ADOPT)
    return store


def open_unsigned(config: Config) -> Store:
    """The store below the registry, of which nothing is verified."""
    return open_store(config.registry.url, store_options(config.registry, Path(config.home)))


def store_options(registry: Registry, home: Path) -> StoreOptions:
    """What the settings say of the store; local copies are below `home`."""
    return StoreOptions(
        Access(registry.endpoint, registry.region, registry.profile),
        registry.sse,
        registry.kms_key,
        registry.storage_class,
        str(home / "cache" / "s3"),
        registry.cache_mb,
    )


def is_new(store: Store) -> bool:
    """Whether there is no record yet that would have to be signed."""
    if any(store.names(f"production/{name[:-1]}") for name in store.names("production") if name.endswith("/")):
        return False
    return all(candidates.newest(store, model) is None for model in candidates.models(store))


def first_key(config: Config) -> str:
    """The id of the key that the registry began with, for those who verify it; empty when it is not signed.

    While the registry is out of reach: as this machine knows it. Raises TryAgain when it does not.
    """
    try:
        signatures = signatures_of(open_registry(config, only_look=True))
        if not isinstance(signatures, Signing) or not key_chain(open_unsigned(config)).last():
            return ""
        return signatures.ring.first.id
    except TryAgain:
        if known := KeyFolder(Path(config.home)).memory(config.registry.url).read():
            return known.first
        raise


def anchor_of(config: Config) -> bytes | None:
    """What this machine knows of the registry, as another machine's memory reads it; None when it knows nothing."""
    if not first_key(config):
        return None
    known = KeyFolder(Path(config.home)).memory(config.registry.url).read()
    return codec.to_json(known) if known else None


def keyring(store: Store) -> Keyring | None:
    """The keys of a registry that is signed."""
    signatures = signatures_of(store)
    return signatures.ring if isinstance(signatures, Trusted) else None


def given_key() -> Signer | None:
    """The private key of the environment."""
    text = secret("SIGNING_KEY", os.environ)
    return read_key(text.encode(), OWN_KEY) if text else None
