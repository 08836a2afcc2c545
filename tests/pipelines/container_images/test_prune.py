"""Which images may go, and which are found: by name, by hash, or not at all."""

import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from pipelines.container_images import catalog, prune
from pipelines.container_images.build import Build, run_build
from pipelines.container_images.prune import Image
from pipelines.docker_engine import labels
from registry.errors import ConfigError, TryAgain

ROOT = Path(__file__).resolve().parents[3]
OLD = f"trainyard-serve:test{os.getpid()}"


def image(kind, name, *, base="", current=False, made="2026-01-01T00:00:00Z"):
    names = tuple(name.split())
    return Image(kind, names, f"sha256:{kind}/{name}/{made}", 1, made, base, current)


NOW = image("train", "trainyard-train:now", current=True)
BEFORE = image("train", "trainyard-train:before")
NAMED = image("train", "trainyard-train:older registry.example/train:1")
TAKEN = image("serve", "")
ON_TAKEN = image("derived", "", base=TAKEN.id)
STAGES = [image("stage of train", "", made=f"2026-01-0{day}T00:00:00Z") for day in (3, 1, 2)]
BASE = image("base", "trainyard-base:bookworm")
ON_NOW = image("derived", "trainyard-derived:1", base=NOW.id)
ON_BEFORE = image("derived", "trainyard-derived:2", base=BEFORE.id)
ON_NAMED = image("derived", "trainyard-derived:3", base=NAMED.id)
ON_FOREIGN = image("derived", "trainyard-derived:4", base="sha256:foreign")
ON_NOTHING = image("derived", "trainyard-derived:5", base="sha256:gone")
ALL = [NOW, BEFORE, NAMED, TAKEN, ON_TAKEN, *STAGES, BASE, ON_NOW, ON_BEFORE, ON_NAMED, ON_FOREIGN, ON_NOTHING]


def test_what_nothing_needs_may_go_and_what_was_built_on_it_before_it():
    gone = prune.unneeded(ALL, {each.id for each in ALL} | {"sha256:foreign"})
    assert gone == [ON_BEFORE, ON_NOTHING, ON_TAKEN, BEFORE, TAKEN, *STAGES[1:]]


def test_with_the_current_images_alone_nothing_goes():
    assert prune.unneeded([NOW, BASE, ON_NOW, STAGES[0]], {NOW.id}) == []


def build(engine, dockerfile, **own_labels):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile.encode()))
    return run_build(engine, Build("tiny", packed.getvalue(), {}, labels(**own_labels)), lambda _: None)


@pytest.fixture
def old(engine):
    """An image of another version of Trainyard: empty, but with all the labels."""
    made = build(engine, f"FROM scratch\nCOPY Dockerfile /\nENV MADE_BY={os.getpid()}\n", image="serve", base="")
    engine.api.tag(made, *OLD.split(":"))
    yield made
    if catalog.lookup(engine, made):
        engine.api.remove_image(made, force=True)


@pytest.mark.docker
def test_an_old_image_is_listed_and_removed_and_the_current_one_is_not(engine, old, serve_image):
    there = {each.id: each for each in prune.own_images(engine)}
    assert (there[old].kind, there[old].names, there[old].current) == ("serve", (OLD,), False)
    assert there[serve_image].current

    said = []
    would_go = prune.prune(engine, said.append, dry_run=True)
    assert there[old] in would_go
    assert serve_image not in {each.id for each in would_go}
    assert catalog.lookup(engine, OLD) == old

    container = engine.api.create_container(OLD, ["none"])
    try:
        assert there[old] not in prune.prune(engine, said.append, dry_run=True)
        assert f"{OLD} is used by a container: left alone" in said
        assert not prune.remove(engine, there[old], said.append)
    finally:
        engine.api.remove_container(container)
    if not catalog.lookup(engine, OLD):  # the name went before the engine saw the container
        engine.api.tag(old, *OLD.split(":"))
    assert prune.remove(engine, there[old], said.append)
    assert catalog.lookup(engine, old) == ""


@pytest.mark.docker
def test_images_are_found_by_their_name_and_their_id(engine, old):
    assert catalog.find(engine, "serve", OLD) == old
    assert catalog.find(engine, "train", old) == old


@pytest.mark.docker
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sha256:" + "0" * 64, ConfigError),
        ("127.0.0.1:1/nothing:1", TryAgain),
        ("127.0.0.1:1/nothing@sha256:" + "0" * 64, TryAgain),
    ],
)
def test_an_image_that_is_nowhere_is_reported_with_its_name(engine, name, kind):
    with pytest.raises(kind) as caught:
        catalog.find(engine, "train", name)
    assert name in str(caught.value)
    assert caught.value.hint


class HalfRegistry(http.server.BaseHTTPRequestHandler):
    """Knows one image, and has lost what is in it."""

    def do_GET(self):
        manifests = self.path.startswith("/v2/half/manifests/")
        body = json.dumps(MANIFEST if manifests else {}).encode()
        self.send_response(200 if manifests or self.path == "/v2/" else 403)
        self.send_header("Content-Type", MANIFEST["mediaType"] if manifests else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


MANIFEST = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
    "config": {
        "mediaType": "application/vnd.docker.container.image.v1+json", "size": 10, "digest": "sha256:" + "1" * 64,
    },
    "layers": [],
}  # fmt: skip


@pytest.mark.docker
def test_a_pull_that_is_cut_off_may_work_later_and_says_why(engine):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HalfRegistry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        name = f"127.0.0.1:{server.server_address[1]}/half:1"
        try:
            with pytest.raises(TryAgain, match=name) as caught:
                catalog.find(engine, "train", name)
        finally:
            server.shutdown()
            thread.join()
    assert "cannot be pulled" in str(caught.value)


@pytest.mark.docker
def test_code_that_no_image_was_built_of_is_reported_with_the_command(engine, monkeypatch):
    monkeypatch.setattr(
        "pipelines.container_images.build_context.CODE", {"train": ("registry",), "serve": ("training",)}
    )
    with pytest.raises(ConfigError, match=r"no image trainyard-train:[0-9a-f]{16}$") as caught:
        catalog.find(engine, "train")
    assert "`trainyard images build`" in caught.value.hint


@pytest.mark.docker
def test_images_that_are_there_are_not_built_again(engine, worker_image, serve_image):
    image_labels = engine.api.inspect_image(worker_image)["Config"]["Labels"]
    lines = []
    made = catalog.build(engine, catalog.KINDS, image_labels["org.trainyard.base"], [], lines.append)
    assert made == {"train": worker_image, "serve": serve_image}
    assert [line.rpartition(" is ")[2] for line in lines] == ["up to date"] * 2


@pytest.mark.docker
def test_the_command_lists_images_for_people_and_for_programs(worker_image):
    command = [sys.executable, "-P", "-m", "pipelines", "images", "list"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    plain, as_json = (
        subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=True).stdout
        for more in ([], ["--json"])
    )
    assert worker_image in plain
    (current,) = (each for each in json.loads(as_json) if each["id"] == worker_image)
    assert current["current"]
    assert current["names"] == [catalog.own_name("train")]
