"""A registry in memory with keys of its own, and what its controllers do; `test_keyring` and `test_key_records` use it."""

import dataclasses
import functools
import re

from attacked_registry import with_new_checksum
from registry_parts import MemoryStore, publish

from registry import codec
from registry.keyring import append_key, draft_key, read_keyring, sign_record
from registry.marks import everything
from registry.signatures import make_key
from registry.signed_store import SignedStore
from registry.trusted import Anchor, Memory, Trusted

AT = "2026-11-21T00:00:00Z"


class Controller(Trusted):
    """Signs with the key that it is given, whether it counts or not."""

    def __init__(self, store, signer, memory):
        super().__init__(store, memory, (signer.public.id,))
        self.signer = signer

    def sign(self, name, digest):
        return sign_record(self.signer, self.ring.registry, name, digest)


class Registry:
    """A registry in memory with its first key, and what its controllers do."""

    def __init__(self, folder):
        self.folder, self.below = folder, MemoryStore(folder / "local")
        self.keys = [make_key()]
        self.key("made", self.keys[0].public, signer=self.keys[0])

    def controller(self, key=0, known=True):
        memory = Memory(self.folder / f"{key}-{known}.json")
        if known and memory.read() is None:
            memory.write(Anchor(self.keys[0].public.id))
        return SignedStore(self.below, Controller(self.below, self.keys[key], memory))

    def key(self, kind, new=None, *, signer, marks=None, ends=""):
        draft = draft_key(kind, new, marks or {}, by="ada", at=AT, reason="")
        after = len(self.ring.records) if self.below.names("keys") else 0
        append_key(self.below, dataclasses.replace(draft, key=ends) if ends else draft, signer, after)

    @functools.cached_property
    def first_ring(self):
        return self.ring

    @property
    def ring(self):
        return read_keyring(self.below)

    def add(self):
        self.keys.append(make_key())
        self.key("added", self.keys[-1].public, signer=self.keys[0])

    def rotate(self):
        self.keys.append(make_key())
        self.key("rotated", self.keys[-1].public, signer=self.keys[0], marks=everything(self.below))

    def revoke(self, key=0):
        self.key("revoked", signer=self.keys[-1], marks=everything(self.below), ends=self.keys[key].public.id)

    def publish(self, run, key=0):
        return publish(self.controller(key), self.folder, run)

    def replace(self, name, data):
        self.below._kept[name] = data

    def sign_again(self, name, signer):
        """A record as it would be, had this key signed it."""
        data = self.below.get(name)
        bare = re.sub(rb'(\n "seal": )"[^"]*",', rb'\1"",', re.sub(rb'(\n "signed_by": )"[^"]*"', rb'\1""', data))
        signed = codec.signature_in(data)
        assert signed
        new = sign_record(signer, self.ring.registry, name, signed.digest)
        self.replace(name, with_new_checksum(bare.replace(b'"signed_by": ""', f'"signed_by": "{new}"'.encode())))
