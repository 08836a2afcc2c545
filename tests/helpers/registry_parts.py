"""What the tests of the registry share: a store in memory, and small versions that are real in every field."""

import base64
import hashlib
import threading
from pathlib import Path

from versions import CREATED_AT, acceptance_draft, append_release, approval_draft, candidate

from registry import candidates, releases
from registry.errors import Corrupt
from registry.files import sha256_file
from registry.records import Evaluation, LoadReport, Metrics, Served, TestCase, TestReport
from registry.stores import check_name

FILES = {
    "model.keras": b"weights",
    "model.tflite": b"served",
    "saved_model/variables/data": b"variables",
    "saved_model/same": b"variables",
}


class Keys:
    """Signatures that anybody could make: a record's name, in the place of a key."""

    def __init__(self):
        self.checked = []

    def sign(self, name, digest):
        return f"{name}@{digest}"

    def check(self, name, data):
        self.checked.append(name)
        if f'"signed_by": "{name}@'.encode() not in data:
            raise Corrupt(f"{name}: is not signed")

    def kept(self, folder):
        return []


class OneKey:
    """Signatures that only look like ones, and the heads that this machine has seen."""

    def __init__(self):
        self.heads, self.folds, self.records = {}, {}, {}

    def sign(self, name, digest):
        signature = hashlib.sha512(f"{name} {digest}".encode()).digest()
        return f"{'a' * 64}:{base64.b64encode(signature).decode()}"

    def check(self, name, data):
        if b'"signed_by": "' not in data:
            raise Corrupt(f"{name}: is not signed")

    def seen(self, model):
        return self.heads.get(model)

    def saw(self, head):
        self.heads[head.model] = head

    def folded(self, model):
        return self.folds.get(model)

    def fold(self, model, fold):
        self.folds[model] = fold

    def kept(self, folder):
        return self.records.get(folder, [])

    def keep(self, folder, records):
        self.records[folder] = list(records)


class MemoryStore:
    """A second backend, as unlike a folder as an object store is: there are no folders, only names."""

    def __init__(self, local):
        self._lock = threading.Lock()
        self._kept = {}
        self._local = local

    def get(self, name):
        try:
            return self._kept[check_name(name)]
        except KeyError:
            raise FileNotFoundError(name) from None

    def path(self, name):
        data = self.get(name)
        path = self._local / name
        with self._lock:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        return path

    def create(self, name, data, sha256=""):
        data = data.read_bytes() if isinstance(data, Path) else data
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise Corrupt(f"{name}: the bytes differ")
        with self._lock:
            if check_name(name) in self._kept:
                raise FileExistsError(name)
            self._kept[name] = data

    def names(self, folder):
        start = f"{check_name(folder)}/" if folder else ""
        below = [name[len(start) :] for name in self._kept if name.startswith(start)]
        return sorted({name.partition("/")[0] + "/" * ("/" in name) for name in below})

    def probe(self):
        pass

    def remove(self, files, needed):
        with self._lock:
            for name in files:
                self._kept.pop(check_name(name), None)
                (self._local / name).unlink(missing_ok=True)

    def keep(self, path, sha256):
        pass


def write_files(folder, files=FILES):
    """Files as a run leaves them; gives name → SHA-256."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {name: sha256_file(folder / name) for name in files}


def make_card(version, run, files, model="digits", accuracy=0.97, created_at=CREATED_AT):
    return candidate(
        model,
        version,
        run,
        files,
        created_at=created_at,
        note="the first version",
        packages={"keras": "3.15.1"},
        served=Served("litert", "model.tflite", "it gives the same answers as Keras", (1, 8)),
        evaluation=Evaluation(Metrics("classification", 100, {"accuracy": accuracy, "loss": 0.1})),
    )


def publish(store, folder, run, model="digits", files=FILES):
    """Register a version as the step does; gives its number."""
    version = candidates.claim(store, model, run)
    candidates.publish(store, make_card(version, run, write_files(folder / run, files), model), folder / run)
    return version


def acceptance(store, version, model="digits", accepted=True):
    """An acceptance test of a version that is not in the registry yet."""
    return acceptance_draft(
        model,
        version,
        candidates.manifest_digest(store, model, version),
        () if accepted else ("one test failed",),
        reports=(TestReport("tests", (TestCase("test_zero", "passed" if accepted else "failed", 0.1),)),),
        load=LoadReport(100, 0, 1.0, 100.0, 5.0, 9.0, 12.0),
    )


def release(store, version, model="digits", **fields):
    """Make a version live that is in production, after whatever is the latest release."""
    return append_release(store, model, version, **fields)


def promote(store, version, token, model="digits"):
    """All that a promotion writes, of a version that was tested, or is now."""
    if not any(each.accepted for each in candidates.acceptances(store, model, version)):
        candidates.append_acceptance(store, acceptance(store, version, model))
    releases.copy_to_production(store, model, version)
    digest = candidates.manifest_digest(store, model, version)
    approval = releases.append_approval(store, approval_draft(model, version, digest, token))
    return release(store, version, model, approval=approval.number)
