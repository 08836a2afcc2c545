"""A registry with candidates, the settings of one team, and its API: what tests of promotion and rollback share."""

import hashlib
import http.client
import json
import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

from versions import (
    SOURCES,
    acceptance_draft,
    append_release,
    approval_draft,
    candidate,
    digests,
    image_signature,
    measured_beside,
)

from pipelines.approvals.tokens import approval_secret, make_token
from pipelines.config.schema import Config, Registry, Repositories, Serving
from pipelines.deploy import api_folder, open_deployment
from pipelines.promotion.promote import promote
from pipelines.promotion.request import Request
from pipelines.promotion.rollback import rollback
from pipelines.trust import open_registry
from registry import candidates, codec, releases
from registry.records import Policy, Served, Verdict
from serving.server import control, lockfile

MODEL = "thirds"
LEFT, RIGHT = ([[[light if side(x) else 0] for x in range(6)] for _ in range(6)] for light, side in (
    (255, lambda x: x < 2), (255, lambda x: x > 3),
))  # fmt: skip
"""Images of 6x6 pixels whose left, or right, third is white."""
BEFORE = object()
NO_MODEL = b"passes every hash and is no model"


def as_good(_candidate, live):
    """What the worker finds when a candidate is as good as what is live."""
    return measured_beside(live.version)


class Project:
    """One team: `folder` holds its registry and its home."""

    def __init__(self, folder, tiny_models=None, workers=2, registry=None, model=MODEL, timeout_seconds=5):
        self.folder, self.tiny_models, self.model = folder, tiny_models, model
        self.config = Config(
            model=self.model,
            repositories=Repositories("code", "dataset", "tests"),
            serving=Serving(port=0, workers=workers, threads=2, timeout_seconds=timeout_seconds),
            registry=registry or Registry(f"file://{folder / 'registry'}"),
            home=str(folder / "home"),
        )
        self.store = open_registry(self.config)

    def publish(
        self,
        kind="",
        *,
        gate=(),
        tests=((),),
        parent=BEFORE,
        engine="litert",
        reason="a test",
        data=b"",
        authors=(),
        sources=SOURCES,
        extra=(),
        run="",
        evaluation=None,
        policy=None,
    ):
        """A new version: a tiny model that works, or with `kind` "" one that cannot be loaded; gives its number.

        `engine` may be saved_model. `gate` are the gate's failed criteria, `tests` those of each acceptance test; `parent` was
        live when it was measured: the version before, unless another, or None, is given. `extra` is name → file of more
        files in the version.
        """
        number = len(candidates.versions(self.store, self.model))
        parent = (number or None) if parent is BEFORE else parent
        run = run or f"run{len(candidates.versions(self.store, self.model)) + 1}"
        source = self.folder / "made" / run
        source.mkdir(parents=True)
        signature = image_signature(6, ("left", "middle", "right"))
        codec.save(signature, source / "signature.json")
        for name, path in dict(extra).items():
            shutil.copy(path, source / name)
        if engine == "saved_model":
            shutil.copytree(self.tiny_models / kind / "saved_model", source / "saved_model")
        else:
            model = (self.tiny_models / kind / "model.tflite").read_bytes() if kind else data or NO_MODEL
            (source / "model.tflite").write_bytes(model)
        version = candidates.claim(self.store, self.model, run)
        card = candidate(
            self.model,
            version,
            run,
            digests(source),
            parent=parent,
            authors=authors,
            sources=sources,
            evaluation=evaluation or measured_beside(parent),
            signature=signature,
            served=Served(engine, "saved_model" if engine == "saved_model" else "model.tflite", reason),
            verdict=Verdict(not gate, tuple(gate), policy or Policy()),
        )
        candidates.publish(self.store, card, source)
        for reasons in tests:
            self.test_again(version, reasons)
        return version

    def release_by_hand(self, version):
        """A release that nobody waits for."""
        releases.copy_to_production(self.store, self.model, version)
        card = candidates.manifest_digest(self.store, self.model, version)
        given = approval_draft(self.model, version, card, f"token{version}")
        approval = releases.append_approval(self.store, given, releases.read_history(self.store, self.model))
        return append_release(self.store, self.model, version, by="a test", approval=approval.number)

    def test_again(self, version, reasons=(), tests="e" * 40):
        card = candidates.manifest_digest(self.store, self.model, version)
        candidates.append_acceptance(self.store, acceptance_draft(self.model, version, card, reasons, tests=tests))

    def token(self, version, **more):
        card = candidates.manifest_digest(self.store, self.model, version)
        return make_token(approval_secret(self.home, {}), self.model, version, card, **more)

    def promote(self, version, token="", store=None, by="ada", *, measure=as_good, **fields):
        """`measure` is in place of the worker that measures a version beside the live release, where that is needed."""
        request = Request(self.model, version, token or self.token(version), by, **{"seen": f"{by}@machine"} | fields)
        return promote(store or self.store, self.config, request, measure)

    def rollback(self, to=None, by="grace", reason="a test"):
        return rollback(self.store, self.config, self.model, to, by, reason)

    @property
    def home(self):
        return self.folder / "home"

    @property
    def history(self):
        """The version of each release, the oldest first."""
        return [each.version for each in releases.releases(self.store, self.model)]

    @property
    def url(self):
        return open_deployment(self.config).running()

    def tree(self):
        """Every file of the registry, with its bytes' hash."""
        root = self.folder / "registry"
        files = (path for path in root.rglob("*") if path.is_file())
        return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def ask(self, image=RIGHT):
        """What the API says about an image: status, body."""
        return ask(self.url, image)

    def stop(self):
        open_deployment(self.config).stop()


def ask(url, image=RIGHT):
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    try:
        body = json.dumps({"instances": [image]})
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


@contextmanager
def frozen(project):
    """The API does nothing and answers nothing until the end of the block."""
    folder = api_folder(project.config)
    group = lockfile.read(folder).pid
    os.killpg(group, signal.SIGSTOP)
    try:
        while control.status(folder)["workers"]:  # a process stops a moment after the signal
            time.sleep(0.01)
        yield
    finally:
        os.killpg(group, signal.SIGCONT)


@contextmanager
def clients(url, count):
    """So many clients that ask all the time until the end of the block; gives the list of all answers and failures."""
    answers, over = [], threading.Event()

    def client():
        while not over.is_set():
            try:
                answers.append(ask(url))
            except (OSError, http.client.HTTPException) as error:  # no connection, or half an answer
                answers.append((0, repr(error)))

    crowd = [threading.Thread(target=client) for _ in range(count)]
    for each in crowd:
        each.start()
    try:
        yield answers
    finally:
        over.set()
        for each in crowd:
            each.join()


class Interrupted:
    """A store that does something else before, or after, each file that it creates."""

    def __init__(self, store, before=lambda _name: None, after=lambda _name: None):
        self._store, self._before, self._after = store, before, after

    def __getattr__(self, name):
        return getattr(self._store, name)

    def create(self, name, *args):
        self._before(name)
        self._store.create(name, *args)
        self._after(name)
