"""Tokens, certificate and key in the API's container, and what the engine says about its ports. Without an engine."""

import json
import os
from dataclasses import replace

import pytest

from pipelines.config.schema import Config, Repositories, Serving
from pipelines.deploy.container_facts import ADMIN_PORT, changes, url_of
from pipelines.deploy.mounts import access_mounts
from registry import codec
from registry.errors import ConfigError
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
    mounts, inside = access_mounts(config, job, ME)
    assert [(each["Source"], each["Target"], each["ReadOnly"]) for each in mounts] == [
        (str(tmp_path / "tokens"), "/access/tokens", True),
        (str(tmp_path / "cert"), "/access/certfile", True),
        (str(tmp_path / "key"), "/access/keyfile", True),
    ]
    assert inside.tokens == "/access/tokens/tokens.json"
    assert (inside.certfile, inside.keyfile) == ("/access/certfile/cert.pem", "/access/keyfile/key.pem")


def test_without_tokens_and_tls_there_is_nothing_to_mount(config):
    assert access_mounts(config, ServeJob("m"), ME) == ([], ServeJob("m"))


def test_the_first_token_may_be_made_later(config, tmp_path):
    job = ServeJob("m", auth="tokens", tokens=str(tmp_path / "later" / "tokens.json"))
    mounts, _ = access_mounts(config, job, ME)
    assert len(mounts) == 1
    assert (tmp_path / "later").is_dir()


def test_a_file_that_the_containers_user_may_not_read_is_named(config, job, tmp_path):
    (tmp_path / "tokens" / "tokens.json").chmod(0o600)
    with pytest.raises(
        ConfigError, match=r"tokens.json: the API's container runs as user 65532 and may not read it"
    ) as no:
        access_mounts(config, job, STRANGER)
    assert "setfacl" in no.value.hint


def test_a_link_into_another_folder_is_named_with_the_file_itself(config, job, tmp_path):
    link = tmp_path / "cert" / "live.pem"
    link.symlink_to(tmp_path / "key" / "key.pem")
    with pytest.raises(ConfigError, match="a link into another folder") as no:
        access_mounts(config, replace(job, certfile=str(link)), ME)
    assert str(tmp_path / "key" / "key.pem") in no.value.hint


def test_an_engine_that_sees_no_files_of_ours_is_refused(config, job):
    elsewhere = replace(config, serving=Serving(registry_volume="registry"))
    with pytest.raises(ConfigError, match="does not see the files of this machine"):
        access_mounts(elsewhere, job, ME)


class Container:
    def __init__(self, job, ports):
        text = codec.to_json(job).decode()
        self.labels = {"org.trainyard.settings": text}
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
