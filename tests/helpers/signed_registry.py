"""A registry whose records are signed, as a controller opens it, and the hands that alter a copy of it."""

import dataclasses
import re
import shutil
from pathlib import Path

import attacked_registry
from attacked_registry import Attacked, with_new_checksum

from pipelines.config.schema import Config, Registry, Repositories
from pipelines.key_changes import signing
from pipelines.trust import open_registry
from registry import codec
from registry.files import sha256_bytes
from registry.keyring import append_key, draft_key, sign_record
from registry.signatures import make_key
from registry.verify import inspect


def config_of(folder: Path, home: Path | None = None) -> Config:
    """The settings of a controller whose registry is in `folder`."""
    return Config(
        model="digits",
        repositories=Repositories("code", "dataset", "tests"),
        registry=Registry(f"file://{folder / 'registry'}"),
        home=str(home or folder / "home"),
    )


def build(folder: Path) -> Path:
    """As `attacked_registry.build`, signed; gives the folder of registry and home."""
    attacked_registry.build(folder, open_registry(config_of(folder)))
    return folder


class AttackedSigned(Attacked):
    """Who may write every file of the registry, and none of the controller's."""

    def __init__(self, original: Path, folder: Path, *, remembers: bool = True) -> None:
        """`remembers`: the controller has the heads that it has seen; else it only knows the first key."""
        super().__init__(original / "registry", folder)
        self.config = config_of(folder)
        shutil.copytree(original / "home", folder / "home")
        first = signing(config_of(original)).ring.first.id
        shutil.rmtree(folder / "home" / "keys" / "registries")
        memory = signing_memory(self.config)
        known = signing_memory(config_of(original)).read()
        memory.write(known if remembers else dataclasses.replace(known, keys=0, last="", heads={}))
        assert known.first == first

    @property
    def trusted(self):
        """The registry as the controller opens it."""
        return open_registry(self.config)

    def inspect(self):
        return inspect(self.trusted)

    def sign_with(self, signer, name: str) -> None:
        """Sign a record (anew), with a key that need not count."""
        data = re.sub(rb',\n "signed_by": "[^"]*"', b"", (self.root / name).read_bytes())  # the checksum is before it
        bare = re.sub(rb'(\n "seal": )"[^"]*"', rb'\1"",\n "signed_by": ""', data)
        registry = sha256_bytes((self.root / "keys/000001.json").read_bytes())
        new = sign_record(signer, registry, name, sha256_bytes(bare)).encode()
        self.write(name, with_new_checksum(bare.replace(b'"signed_by": ""', b'"signed_by": "%b"' % new)))

    def sign_with_the_controllers_key(self, name: str) -> None:
        """What only somebody who has the private key can do."""
        self.sign_with(signing(self.config).signer(), name)


def signing_memory(config: Config):
    """Where the controller keeps what it knows of the registry."""
    from pipelines.key_folder import KeyFolder

    return KeyFolder(Path(config.home)).memory(config.registry.url)


def all_signed_anew(registry: AttackedSigned) -> None:
    """Replace the registry's keys by one of the attacker's own, and sign everything with it."""
    mine = make_key()
    shutil.rmtree(registry / "keys")
    draft = draft_key("made", mine.public, {}, by="trainyard", at="2026-11-21T00:00:00Z", reason="the registry begins")
    append_key(registry.store, draft, mine, 0)
    for path in registry.root.rglob("*.json"):
        if codec.signature_in(path.read_bytes()) and "keys" not in path.parts:
            registry.sign_with(mine, str(path.relative_to(registry.root)))
