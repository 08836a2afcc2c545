"""What a person decides about keys: another one may sign, one is replaced or revoked, an old registry is adopted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pipelines.config.schema import Config
from pipelines.key_folder import KeyFolder
from pipelines.trust import Signing, given_key, open_registry, open_unsigned
from registry import candidates
from registry.errors import ConfigError, Corrupt, Rejected
from registry.heads import write_head
from registry.keyring import Key, append_key, draft_key, key_chain
from registry.marks import everything
from registry.records import KeyRecord, Mark, utc_now
from registry.signatures import PublicKey
from registry.signed_store import SignedStore
from registry.stores import signatures_of
from registry.trusted import Anchor
from registry.verify import verify


def signing(config: Config) -> Signing:
    """What signs this registry; raises ConfigError for one that is not signed."""
    found = signatures_of(open_registry(config))
    if not isinstance(found, Signing):
        raise ConfigError(
            "the registry is not signed", hint="`trainyard registry adopt` signs what is there and what will be written"
        )
    return found


def add(config: Config, public: PublicKey, by: str, reason: str) -> KeyRecord:
    """Let another key sign, too."""
    own = signing(config)
    signer = own.signer()
    if public.id in own.ring.keys:
        raise ConfigError(f"key {public.short} is known already", hint="`trainyard keys list` shows whether it counts")
    draft = draft_key("added", public, {}, by=by, at=utc_now(), reason=reason)
    return append_key(own.unsigned, draft, signer, len(own.ring.records))


def rotate(config: Config, by: str, reason: str) -> KeyRecord:
    """Replace the key of this machine by a new one, which the old one signs."""
    own = signing(config)
    old, new = own.signer(), own.folder.new()
    if given_key():
        raise ConfigError(
            f"the key comes from the environment; the new one is in {own.folder.path(new.public.id)}, and does not count yet",
            hint="`trainyard keys add` with its public key lets it sign; then set TRAINYARD_SIGNING_KEY_FILE to its file, "
            "and revoke the old key",
        )
    draft = draft_key("rotated", new.public, everything(own.unsigned), by=by, at=utc_now(), reason=reason)
    made = append_key(own.unsigned, draft, old, len(own.ring.records))
    own.folder.retire(old.public.id)
    return made


def revoke(config: Config, key: str, by: str, reason: str) -> KeyRecord:
    """End a key: what it has signed until now counts, and nothing more. Raises Rejected for the one that signs this."""
    own = signing(config)
    found = find(own, key)
    if found.revoked:
        raise ConfigError(f"key {found.public.short} is revoked already", hint="`trainyard keys list` shows since when")
    signer = own.signer()
    if signer.public == found.public:
        raise Rejected(
            f"key {found.public.short} is the one that this machine signs with: it cannot end itself",
            hint="`trainyard keys rotate` replaces it; then revoke it",
        )
    draft = KeyRecord(
        0, "revoked", found.public.id, "", everything(own.unsigned), by, at=utc_now(), reason=reason, previous=""
    )
    return append_key(own.unsigned, draft, signer, len(own.ring.records))


def find(own: Signing, key: str) -> Key:
    """The key whose id begins like this; raises ConfigError unless there is just one."""
    found = [each for name, each in own.ring.keys.items() if name.startswith(key)] if len(key) >= 8 else []
    if len(found) != 1:
        raise ConfigError(
            f"{key!r:.80} is not the beginning (8 digits or more) of the id of one key",
            hint="see `trainyard keys list`",
        )
    return found[0]


def trust(config: Config, first: str) -> None:
    """Remember that the registry begins with this key, which somebody has compared."""
    memory = KeyFolder(Path(config.home)).memory(config.registry.url)
    known = memory.read()
    if known and known.first != first:
        raise ConfigError(
            f"{memory.path}: this machine knows the registry as one that begins with key {known.first:.16}",
            hint="if it was replaced on purpose, delete this file first",
        )
    if known is None:
        memory.write(Anchor(first))
    signing(config).verify_keys()


def vouched_for(config: Config) -> Mapping[str, Mark]:
    """What an adoption would vouch for; raises Corrupt when it is not even whole."""
    store = open_unsigned(config)
    if not key_chain(store).last():
        Signing(store, config).must_be_unknown()
    if problems := verify(store):
        raise Corrupt(
            problems[0], hint="`trainyard registry verify` lists every problem: only what is whole is adopted"
        )
    found = everything(store)
    if not found:
        raise ConfigError("the registry holds no records: there is nothing to adopt", hint="is it the right one?")
    return found


def adopt(config: Config, marks: Mapping[str, Mark], by: str, reason: str) -> KeyRecord:
    """Vouch for all records as they are: from now on they count as if they were signed."""
    store = open_unsigned(config)
    own = Signing(store, config)
    if key_chain(store).last():
        signer, after, new = own.signer(), len(own.ring.records), None
    else:
        signer, after = given_key() or own.folder.make(), 0
        new = signer.public
    draft = draft_key("adopted", new, dict(marks), by=by, at=utc_now(), reason=reason)
    made = append_key(store, draft, signer, after)
    for model in candidates.models(store):
        write_head(SignedStore(store, own), model)
    return made
