"""Tokens, certificate and key in the API's container, and what the engine says about its ports. Without an engine."""

import io
import json
import os
import tarfile
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from registry_parts import promote, publish
from signed_registry import config_of

from pipelines.config.schema import Config, Repositories
from pipelines.deploy.container_facts import ADMIN_PORT, changes, url_of
from pipelines.deploy.mounts import access_mounts
from pipelines.deploy.volumes import ApiVolumes
from pipelines.trust import first_key, open_registry
from registry import codec
from registry.errors import ConfigError
from registry.formats import formats
from registry.trusted import Anchor
from serving.job import ServeJob

ME = (os.geteuid(), os.getegid())
STRANGER = (65532, 65532)


@pytest.fixture
def config(tmp_path):
    return Config("m", Repositories("c", "d", "t"), home=str(tmp_path))


@pytest.fixture
def job(tmp_path):
    for name in ("cert.pem", "key.pem", "tokens.json"):
        folder = tmp_path / name.partition(".")[0]
        folder.mkdir()
        (folder / name).write_text("x")
    return ServeJob(
        "m",
        auth="tokens",
        tokens=str(tmp_path / "tokens" / "tokens.json"),
        certfile=str(tmp_path / "cert" / "cert.pem"),
        keyfile=str(tmp_path / "key" / "key.pem"),
    )


def test_folders_are_mounted_read_only_so_that_replaced_files_are_seen(config, job, tmp_path):
    mounts, inside = access_mounts(job, ME)
    assert [(each["Source"], each["Target"], each["ReadOnly"]) for each in mounts] == [
        (str(tmp_path / "tokens"), "/access/tokens", True),
        (str(tmp_path / "cert"), "/access/certfile", True),
        (str(tmp_path / "key"), "/access/keyfile", True),
    ]
    assert inside.tokens == "/access/tokens/tokens.json"
    assert (inside.certfile, inside.keyfile) == ("/access/certfile/cert.pem", "/access/keyfile/key.pem")


def test_without_tokens_and_tls_there_is_nothing_to_mount(config):
    assert access_mounts(ServeJob("m"), ME) == ([], ServeJob("m"))


def test_the_first_token_may_be_made_later(config, tmp_path):
    job = ServeJob("m", auth="tokens", tokens=str(tmp_path / "later" / "tokens.json"))
    mounts, _ = access_mounts(job, ME)
    assert len(mounts) == 1
    assert (tmp_path / "later").is_dir()


def test_a_file_that_the_containers_user_may_not_read_is_named(config, job, tmp_path):
    (tmp_path / "tokens" / "tokens.json").chmod(0o600)
    with pytest.raises(
        ConfigError, match=r"tokens.json: the API's container runs as user 65532 and may not read it"
    ) as no:
        access_mounts(job, STRANGER)
    assert "setfacl" in no.value.hint


def test_a_link_into_another_folder_is_named_with_the_file_itself(config, job, tmp_path):
    link = tmp_path / "cert" / "live.pem"
    link.symlink_to(tmp_path / "key" / "key.pem")
    with pytest.raises(ConfigError, match="a link into another folder") as no:
        access_mounts(replace(job, certfile=str(link)), ME)
    assert str(tmp_path / "key" / "key.pem") in no.value.hint


class Engine:
    """Keeps what is put into volumes: name → owner, mode and bytes."""

    def __init__(self):
        self.labels, self.files, self.api, self.volumes, self.containers = {}, {}, self, self, 0
        self.groups, self.written = {}, 0

    def create(self, name, labels, **_more):
        self.labels.setdefault(name, labels)
        return SimpleNamespace(attrs={"Labels": self.labels[name]})

    def list(self, filters):
        wanted = set(filters["label"])
        return [name for name, known in self.labels.items() if wanted <= {f"{key}={known[key]}" for key in known}]

    def create_host_config(self, mounts, **_more):
        self.mounted = {each["Target"]: each["Source"] for each in mounts}

    def create_container(self, *_arguments, **_more):
        self.containers += 1
        return {"Id": "1"}

    def put_archive(self, _container, path, data):
        assert path == "/"
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for each in tar:
                folder, _, name = each.name.partition("/")
                content = tar.extractfile(each).read() if each.isfile() else None
                assert each.mtime > 1e9, "its time says to who reads it that it has changed"
                self.files[self.mounted[f"/{folder}"], name] = (each.uid, each.mode, content)
                self.groups[self.mounted[f"/{folder}"], name] = each.gid
        self.written += 1

    def get_archive(self, _container, path):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for (volume, name), (uid, mode, content) in self.files.items():
                if volume == self.mounted[path]:
                    entry = tarfile.TarInfo(f"{path[1:]}/{name}".rstrip("/"))
                    entry.uid, entry.gid, entry.mode, entry.mtime = uid, self.groups[volume, name], mode, time.time()
                    entry.type, entry.size = tarfile.REGTYPE if name else tarfile.DIRTYPE, len(content or b"")
                    tar.addfile(entry, io.BytesIO(content or b""))
        return [stream.getvalue()], {}

    def remove_container(self, *_arguments, **_more):
        self.containers -= 1


def test_an_engine_that_sees_no_files_of_ours_gets_copies_that_only_the_apis_user_may_read(config, job):
    engine = Engine()
    (mount,), inside = ApiVolumes(config, engine, "m").access(job, "image", STRANGER)
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == ("m-access", "/access", True)
    assert (inside.tokens, inside.certfile, inside.keyfile) == ("/access/tokens", "/access/certfile", "/access/keyfile")
    assert engine.files == {
        ("m-access", ""): (65532, 0o700, None),
        **{("m-access", name): (65532, 0o600, b"x") for name in ("tokens", "certfile", "keyfile")},
    }
    assert engine.containers == 0


def test_copies_follow_the_files_and_a_first_token_may_be_made_later(config, job, tmp_path):
    engine = Engine()
    volumes = ApiVolumes(config, engine, "m")
    (tmp_path / "tokens" / "tokens.json").unlink()
    volumes.refresh_access(job, "image", ME)
    assert engine.files == {}, "it was given nothing before"
    volumes.access(job, "image", ME)
    assert ("m-access", "tokens") not in engine.files
    (tmp_path / "tokens" / "tokens.json").write_text("made")
    volumes.refresh_access(job, "image", ME)
    assert engine.files["m-access", "tokens"][2] == b"made"


def test_an_api_begins_with_what_this_machine_knows_of_the_registry_and_keeps_what_it_has_seen_since(tmp_path):
    config, engine = config_of(tmp_path), Engine()
    store = open_registry(config)
    publish(store, tmp_path, "one")
    promote(store, 1, "token-1")
    volumes = ApiVolumes(config, engine, "m")
    mount = volumes.state("image", ME)
    assert (mount["Source"], mount["Target"], mount["ReadOnly"]) == ("m-state", "/state", False)
    known = codec.from_json(Anchor, engine.files["m-state", "registry.json"][2], "what it was given")
    assert known.first == first_key(config)
    assert known.heads["digits"].release == 1
    before, written = dict(engine.files), engine.written
    volumes.state("image", ME)
    assert (engine.files, engine.written) == (before, written)
    volumes.state("image", STRANGER)
    assert engine.files == {name: (STRANGER[0], mode, content) for name, (_, mode, content) in before.items()}
    assert set(engine.groups.values()) == {STRANGER[1]}


def test_an_api_of_a_registry_that_is_not_signed_begins_with_nothing(tmp_path):
    engine = Engine()
    ApiVolumes(config_of(tmp_path), engine, "m").state("image", ME)
    assert engine.files == {("m-state", ""): (ME[0], 0o700, None)}


class Container:
    def __init__(self, job, ports):
        text = codec.to_json(job).decode()
        self.labels = {"org.trainyard.settings": text, "org.trainyard.formats": formats()}
        listed = {f"{inside}/tcp": [{"HostIp": host, "HostPort": str(port)}] for inside, (host, port) in ports.items()}
        self.attrs = {"NetworkSettings": {"Ports": listed}}


def test_the_operators_port_is_found_beside_the_clients_and_both_may_be_any_free_one():
    job = ServeJob("m", port=0, trusted_proxies=("10.0.0.1",))
    listener = Container(job, {8500: ("127.0.0.1", 40001), ADMIN_PORT: ("127.0.0.1", 40002)})
    assert (url_of(listener), url_of(listener, ADMIN_PORT)) == ("http://127.0.0.1:40001", "http://127.0.0.1:40002")
    assert changes(job, listener, listener) == {}
    wanted = replace(job, admin_port=8501, trusted_proxies=())
    assert changes(wanted, listener, listener).keys() == {"admin_port", "trusted_proxies"}


def test_with_a_certificate_clients_speak_tls_and_operators_on_loopback_do_not():
    job = ServeJob("m", certfile="/c", keyfile="/k", admin_host="127.0.0.1")
    listener = Container(job, {8500: ("0.0.0.0", 8500), ADMIN_PORT: ("127.0.0.1", 8501)})
    assert url_of(listener).startswith("https://")
    assert url_of(listener, ADMIN_PORT) == "http://127.0.0.1:8501"
    everywhere = Container(replace(job, admin_host="0.0.0.0"), {ADMIN_PORT: ("0.0.0.0", 8501)})
    assert url_of(everywhere, ADMIN_PORT).startswith("https://")


def test_a_listener_of_an_earlier_version_has_no_operators_port():
    job = ServeJob("m")
    old = Container(job, {8500: ("127.0.0.1", 8500)})
    settings = json.loads(old.labels["org.trainyard.settings"])
    kept = {name: value for name, value in settings.items() if not name.startswith("admin")}
    old.labels = {"org.trainyard.settings": json.dumps(kept)}
    assert url_of(old, ADMIN_PORT) is None
    assert "admin_host" in changes(job, old, old)
