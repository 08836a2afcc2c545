"""A registry with a bit of everything, and the hands that alter it, for the tests of `registry verify`.

digits   versions 1 to 4 and a number that was only claimed; the newest acceptance test of 3 rejected it
         releases: 1 promotes version 1, 2 promotes version 2, 3 rolls back to 1, 4 promotes 4, 5 reverts to 1
         approvals: 1, 2 and 3 were used, 4 (of version 2) was not
flowers  one version, promoted and then withdrawn
"""

import dataclasses
import os
import re
import subprocess
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

from attested import attested
from registry_parts import FILES, acceptance, promote, publish, release
from versions import approval_draft

from registry import candidates, codec, releases
from registry.stores import Store, open_store
from registry.verify import inspect


class Attacks(dict):
    """A table of attacks: name → what is done, the pattern of a line that verify must then say, and whatever else a test needs
    to know. As a decorator it adds a row: the function's name says what is done."""

    def __init__(self, before=""):
        """`before`: a pattern that comes before each row's own."""
        super().__init__()
        self._before = before

    def __call__(self, says, **more):
        def add(act):
            assert act.__name__ not in self
            self[act.__name__] = SimpleNamespace(act=act, says=f"{self._before}{says}", **more)
            return act

        return add

    def must_find(self, name, registry):
        """Do it, and have verify say so."""
        self[name].act(registry)
        problems = registry.inspect().problems
        assert any(re.match(self[name].says, each) for each in problems), problems


EMPTY = f'\n "{codec.CHECKSUM}": ""'.encode()


def build(folder: Path, store: Store | None = None) -> Path:
    """Make the registry in `folder`, through `store`; gives its root."""
    root = folder / "registry"
    store = store or open_store(f"file://{root}")
    for number, outcomes in enumerate(([False, True], [True], [True, False], [True]), 1):
        run = f"run-{number}"
        attested(store, folder, run, publish(store, folder, run, files=FILES | {"metrics.json": run.encode()}))
        for accepted in outcomes:
            candidates.append_acceptance(store, acceptance(store, number, accepted=accepted))
    candidates.claim(store, "digits", "begun")
    promote(store, 1, "token-1")
    promote(store, 2, "token-2")
    release(store, 1, by="bob")
    promote(store, 4, "token-3")
    release(store, 1, by="trainyard", kind="revert", reason="release 4 failed")
    digest = candidates.manifest_digest(store, "digits", 2)
    releases.append_approval(store, approval_draft("digits", 2, digest, "token-4"))

    attested(store, folder, "petals", publish(store, folder, "petals", model="flowers"), model="flowers")
    candidates.append_acceptance(store, acceptance(store, 1, "flowers"))
    promote(store, 1, "token-5", model="flowers")
    release(store, None, "flowers")
    return root


class Attacked:
    """A copy of the registry, to be altered by somebody who may write every file of it."""

    def __init__(self, original: Path, folder: Path) -> None:
        subprocess.run(["cp", "-a", str(original), str(folder)], check=True)
        self.root = folder / original.name
        self.outside = folder / "outside"
        """A folder that does not belong to the registry."""
        self.outside.mkdir()

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    @property
    def store(self):
        return open_store(f"file://{self.root}")

    def inspect(self):
        return inspect(self.store)

    def write(self, name: str, data: bytes = b"by hand") -> Path:
        """Put a file there, in place of one that may be there; other names of that one keep its bytes."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(0o444)
        return path

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace `old` in a record, and give it the checksum of its new bytes."""
        data = (self.root / name).read_bytes()
        assert data.count(old.encode()) == 1, (name, old, data)
        self.write(name, with_new_checksum(data.replace(old.encode(), new.encode())))

    def rewrite_without(self, chain: str, dropped: int) -> None:
        """Take one record out of a chain, and write those after it anew, as if it had never been there."""
        names = sorted(path.name for path in (self.root / chain).iterdir())
        contents = [(self.root / chain / name).read_bytes() for name in names]
        previous = re.search(rb'\n "previous": "(.*)"', contents[0])[1]
        del contents[dropped - 1]
        (self.root / chain / names[-1]).unlink()
        for number, data in enumerate(contents, 1):
            moved = re.sub(rb'\n "number": \d+', b'\n "number": %d' % number, data)
            linked = with_new_checksum(re.sub(rb'\n "previous": ".*"', b'\n "previous": "%s"' % previous, moved))
            self.write(f"{chain}/{number:06d}.json", linked)
            previous = sha256(linked).hexdigest().encode()

    def append(self, chain: str, record: object) -> None:
        """Add a record to a chain that no command of Trainyard would have written."""
        names = sorted(path.name for path in (self.root / chain).iterdir())
        previous = sha256((self.root / chain / names[-1]).read_bytes()).hexdigest() if names else ""
        data = codec.with_checksum(dataclasses.replace(record, number=len(names) + 1, previous=previous))
        self.write(f"{chain}/{len(names) + 1:06d}.json", data)

    def moved_out(self, name: str) -> Path:
        """Move a file or folder out of the registry, and leave a symbolic link to it."""
        path, target = self.root / name, self.outside / name.replace("/", "-")
        os.rename(path, target)
        path.symlink_to(target)
        return target


def claims(registry, text: str, encoding="utf-8") -> None:
    """Have the claim of version 2 hold this text, with the right checksum: nothing signs a claim."""
    data = text.encode(encoding, "surrogatepass")
    assert EMPTY.decode().encode(encoding) in data
    digest = f'\n "{codec.CHECKSUM}": "{sha256(data).hexdigest()}"'
    registry.write("test/digits/2/claim.json", data.replace(EMPTY.decode().encode(encoding), digest.encode(encoding)))


def with_new_checksum(data: bytes) -> bytes:
    """A record with the checksum of its bytes, as anybody can compute it."""
    empty = re.sub(re.escape(EMPTY[:-1]) + rb'[0-9a-f]{64}"', EMPTY, data)
    return empty.replace(EMPTY, EMPTY[:-1] + sha256(empty).hexdigest().encode() + b'"')
