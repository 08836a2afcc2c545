"""Files that Git LFS keeps elsewhere, over HTTP and from a folder; nothing here needs git-lfs."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import time

import pytest
from certificates import write_certificate
from lfs_http import LfsServer, keep, pointer
from repositories_parts import git
from ssh_server import SSHD, ssh_server

from pipelines.repositories import addresses
from pipelines.repositories.lfs import Lfs, Server
from pipelines.repositories.lfs_store import ObjectStore
from pipelines.repositories.tree import Extras, Pointer
from registry.errors import ConfigError, TryAgain
from training.fence.confine import SCOPE_ABI, abi

CONTENT = b"a,b,label\n" + b"1,2,yes\n" * 50_000


@pytest.fixture
def data(repository):
    """A repository whose table is in Git LFS."""
    data = repository("data")
    keep(data.url, CONTENT)
    data.head = data.commit({"data.csv": pointer(CONTENT), "dataset.toml": b"", "copy.csv": pointer(CONTENT)})
    return data


@pytest.fixture
def server(data):
    with LfsServer(data.url.parent) as server:
        server.data = f"{server.url}/data.git"
        yield server


class TestOverHttp:
    def test_files_come_whole_and_each_once(self, data, server, bring):
        got = bring(server.data, data.head, lfs=True)
        assert (got / "data.csv").read_bytes() == (got / "copy.csv").read_bytes() == CONTENT
        assert [method for method, *_ in server.asked] == ["POST", "GET"]

    def test_what_was_fetched_is_kept_by_its_hash(self, data, server, bring):
        got = bring(server.data, data.head, lfs=True)
        commit = data.commit({"more.csv": b"x"})
        server.asked.clear()
        again = bring(server.data, commit, lfs=True)
        assert server.asked == []
        assert os.path.samefile(got / "data.csv", again / "data.csv")

    def test_a_kept_file_that_was_altered_is_fetched_again(self, tmp_path, data, server, bring):
        bring(server.data, data.head, lfs=True)
        (kept,) = (tmp_path / "home/lfs").glob("*/*")
        kept.chmod(0o644)
        kept.write_bytes(CONTENT[::-1])
        commit = data.commit({"more.csv": b"x"})
        assert (bring(server.data, commit, lfs=True) / "data.csv").read_bytes() == CONTENT
        assert hashlib.sha256(next((tmp_path / "home/lfs").glob("*/*")).read_bytes()).hexdigest() == kept.name

    def test_a_program_stays_one(self, data, server, bring):
        commit = data.commit({"run.sh": pointer(CONTENT)}, f"100755,{_blob(data, pointer(CONTENT))},run.sh")
        assert os.access(bring(server.data, commit, lfs=True) / "run.sh", os.X_OK)

    def test_files_that_change_no_model_are_not_fetched(self, data, server, bring):
        got = bring(server.data, data.head, lfs=True, unimportant=("*.csv",))
        assert (got / "data.csv").read_bytes() == pointer(CONTENT)
        assert server.asked == []

    def test_the_users_login_is_for_the_repositorys_own_server(self, tmp_path, data, server, bring, monkeypatch):
        helper = f"!f() {{ cat >> {tmp_path}/asked; echo username=me; echo password=s3cret; }}; f"
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", "credential.helper")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", helper)
        server.login = "me:s3cret"
        assert (bring(server.data, data.head, lfs=True) / "data.csv").read_bytes() == CONTENT
        assert f"host={server.url.removeprefix('http://')}" in (tmp_path / "asked").read_text()

    def test_the_header_that_git_is_set_to_send(self, data, server, bring, monkeypatch):
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", f"http.{server.url}/.extraHeader")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Authorization: Basic bWU6czNjcmV0")
        server.login = "me:s3cret"
        assert (bring(server.data, data.head, lfs=True) / "data.csv").read_bytes() == CONTENT

    def test_no_login_goes_to_another_server(self, data, server, bring, monkeypatch):
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", f"http.{server.url}/.extraHeader")
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", "Authorization: Basic bWU6czNjcmV0")
        with LfsServer(data.url.parent) as other:
            server.href = other.url + "/objects{path}/{oid}"
            bring(server.data, data.head, lfs=True)
            assert [login for *_, login in other.asked] == [""]

    @pytest.mark.parametrize(
        ("wrong", "error", "said"),
        [
            ({"damage": True}, ConfigError, "for copy.csv is not what its pointer names"),
            ({"status": 404}, ConfigError, "status 404"),
            ({"status": 403}, ConfigError, "status 403"),
            ({"status": 503}, TryAgain, "status 503"),
            ({"login": "some:body"}, ConfigError, "status 401"),
            ({"href": "file:///etc/passwd"}, ConfigError, "gives no usable address"),
            ({"href": "http://127.0.0.2/{oid}"}, ConfigError, r"private network \(127.0.0.2\)"),
            ({"href": "http://169.254.169.254/latest"}, ConfigError, "private network"),
            ({"redirect": "http://[::1]/x"}, ConfigError, "private network"),
            ({"redirect": "http://127.0.0.1.example.invalid/x"}, TryAgain, "example.invalid"),
            ({"redirect": "ftp://127.0.0.1/x"}, ConfigError, "status 302"),
            ({"href": "http://127.0.0.1:1/{oid}"}, TryAgain, "refused"),
        ],
        ids=lambda value: str(value) if isinstance(value, dict) else "",
    )
    def test_a_server_that_is_wrong(self, tmp_path, data, server, bring, wrong, error, said):
        for name, value in wrong.items():
            setattr(server, name, value)
        with pytest.raises(error, match=rf"\[repositories\] dataset: .*{said}") as raised:
            bring(server.data, data.head, lfs=True)
        assert raised.value.hint
        assert list((tmp_path / "home/lfs").glob("*/*")) == []
        assert not list(tmp_path.glob("got*"))

    def test_an_object_that_was_never_pushed(self, data, server, bring):
        commit = data.commit({"new.csv": pointer(b"never pushed")})
        with pytest.raises(ConfigError, match="does not have an LFS file: Object does not exist") as error:
            bring(server.data, commit, lfs=True)
        assert "git lfs push" in error.value.hint

    def test_more_than_is_allowed_is_refused_before_anything_is_fetched(self, data, server, bring):
        with pytest.raises(ConfigError, match="come to 0 MB, and 0 MB are allowed") as error:
            bring(server.data, data.head, lfs=True, lfs_bytes=1000)
        assert "lfs_mb" in error.value.hint
        assert server.asked == []

    def test_an_object_that_is_longer_than_its_pointer_says_is_cut_off(self, data, server, bring):
        short = pointer(CONTENT).replace(f"size {len(CONTENT)}".encode(), b"size 1000")
        commit = data.commit({"data.csv": short, "copy.csv": b"x"})
        with pytest.raises(ConfigError, match="more than the 1000 bytes"):
            bring(server.data, commit, lfs=True)


class TestHttps:
    @pytest.fixture
    def server(self, data, tmp_path):
        write_certificate(tmp_path / "tls")
        with LfsServer(data.url.parent, tmp_path / "tls") as server:
            server.data = f"{server.url}/data.git"
            yield server

    @pytest.mark.parametrize("scope", ["http.sslCAInfo", "http.{url}.sslCAInfo"])
    def test_a_certificate_that_git_is_set_to_trust(self, data, server, bring, tmp_path, monkeypatch, scope):
        monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
        monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
        monkeypatch.setenv("GIT_CONFIG_KEY_0", scope.format(url=server.url))
        monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(tmp_path / "tls/cert.pem"))
        assert (bring(server.data, data.head, lfs=True) / "data.csv").read_bytes() == CONTENT

    def test_a_certificate_that_the_environment_trusts(self, data, server, bring, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_SSL_CAINFO", str(tmp_path / "tls/cert.pem"))
        assert (bring(server.data, data.head, lfs=True) / "data.csv").read_bytes() == CONTENT

    def test_a_certificate_that_nobody_trusts(self, data, server, tmp_path, monkeypatch):
        monkeypatch.delenv("GIT_SSL_CAINFO", raising=False)
        lfs = Lfs(ObjectStore(tmp_path / "lfs"), Extras(lfs=True), "dataset", server.data)
        with pytest.raises(ConfigError, match="its certificate is not accepted"):
            lfs.find(Pointer("0" * 64, 1), {})


class TestLfsconfig:
    @pytest.mark.parametrize("key", ["url", "URL"])
    def test_may_name_the_same_server(self, data, server, bring, key):
        commit = data.commit({".lfsconfig": f"[lfs]\n\t{key} = {server.data}/info/lfs\n".encode()})
        assert (bring(server.data, commit, lfs=True) / "data.csv").read_bytes() == CONTENT

    @pytest.mark.parametrize(
        "url", ["http://127.0.0.2/x", "https://evil.example/x", "http://localhost/x", "file:///x", "ext::sh", "x:y"]
    )
    def test_may_not_name_another_one(self, data, server, bring, url):
        commit = data.commit({".lfsconfig": f"[lfs]\n\turl = {url}\n".encode()})
        with pytest.raises(ConfigError, match=r".lfsconfig names "):
            bring(server.data, commit, lfs=True)
        assert server.asked == []

    def test_names_another_one_that_the_settings_trust(self, data, server, bring):
        with LfsServer(data.url.parent) as other:
            commit = data.commit({".lfsconfig": f"[lfs]\n\turl = {other.url}/data.git/info/lfs\n".encode()})
            place = other.url.removeprefix("http://")
            with pytest.raises(ConfigError) as error:
                bring(server.data, commit, lfs=True)
            assert f'add "{place}" to [repositories] trusted' in error.value.hint
            assert (bring(server.data, commit, lfs=True, trusted=(place,)) / "data.csv").read_bytes() == CONTENT


class TestFromAFolder:
    def test_files_come_from_where_git_lfs_pushes_them(self, data, bring):
        assert (bring(data.url, data.head, lfs=True) / "data.csv").read_bytes() == CONTENT
        assert (bring(f"file://{data.url}", data.head, lfs=True) / "data.csv").read_bytes() == CONTENT

    def test_an_object_that_is_not_there(self, data, bring):
        commit = data.commit({"new.csv": pointer(b"never pushed")})
        with pytest.raises(ConfigError, match="does not have the LFS object") as error:
            bring(data.url, commit, lfs=True)
        assert "git lfs push" in error.value.hint

    def test_a_link_among_the_objects_is_not_followed(self, tmp_path, data, bring):
        secret = b"s3cret\n"
        (tmp_path / "secret").write_bytes(secret)
        oid = hashlib.sha256(secret).hexdigest()
        place = data.url / "lfs/objects" / oid[:2] / oid[2:4] / oid
        place.parent.mkdir(parents=True)
        place.symlink_to(tmp_path / "secret")
        commit = data.commit({"new.csv": pointer(secret)})
        with pytest.raises(ConfigError, match="does not have the LFS object"):
            bring(data.url, commit, lfs=True)


class TestOverSsh:
    @pytest.mark.slow
    @pytest.mark.skipif(not SSHD, reason="needs sshd")
    def test_a_real_ssh_server_that_lets_into_its_lfs_server(self, tmp_path, data, bring, monkeypatch):
        write_certificate(tmp_path / "tls")
        with LfsServer(data.url.parent, tmp_path / "tls") as server, ssh_server(tmp_path / "ssh") as (address, command):
            server.login = "me:s3cret"
            answer = {"href": f"{server.url}/data.git/info/lfs", "header": {"Authorization": "Basic bWU6czNjcmV0"}}
            authenticate = tmp_path / "ssh/bin/git-lfs-authenticate"
            authenticate.write_text(
                f"#!/bin/sh\n[ \"$*\" = '{data.url} download' ] || exit 1\necho '{json.dumps(answer)}'\n"
            )
            authenticate.chmod(0o755)
            monkeypatch.setenv("GIT_SSH_COMMAND", command)
            monkeypatch.setenv("GIT_SSL_CAINFO", str(tmp_path / "tls/cert.pem"))
            got = bring(f"{address}{data.url}", data.head, lfs=True)
            assert (got / "data.csv").read_bytes() == CONTENT
            assert [method for method, *_ in server.asked] == ["POST", "GET"]
            assert {login for *_, login in server.asked} == {"Basic bWU6czNjcmV0"}
            authenticate.unlink()
            commit = data.commit({"new.csv": pointer(b"new")})
            with pytest.raises(ConfigError, match="git-lfs-authenticate: not found"):
                bring(f"{address}{data.url}", commit, lfs=True)

    def test_the_git_server_says_where_and_lets_in(self, tmp_path, data, server, bring, monkeypatch):
        ssh = tmp_path / "ssh"
        answer = json.dumps({"href": f"{server.data}/info/lfs", "header": {"Authorization": "Basic bWU6czNjcmV0"}})
        ssh.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\necho '{answer}'\n")
        ssh.chmod(0o755)
        monkeypatch.setenv("GIT_SSH_COMMAND", str(ssh))
        lfs = Lfs(ObjectStore(tmp_path / "lfs"), Extras(lfs=True), "dataset", "git@127.0.0.1:team/data.git")
        with pytest.raises(ConfigError, match="without encryption"):
            lfs._own_server(addresses.parse("git@127.0.0.1:team/data.git"))
        assert (
            tmp_path / "asked"
        ).read_text() == "-p 22 -- git@127.0.0.1 git-lfs-authenticate team/data.git download\n"

    def test_a_server_without_lfs(self, tmp_path, monkeypatch):
        monkeypatch.setenv("GIT_SSH_COMMAND", "sh -c 'echo no such command >&2; exit 1'")
        lfs = Lfs(ObjectStore(tmp_path), Extras(lfs=True), "dataset", "ssh://git@host/data.git")
        with pytest.raises(ConfigError, match="does not say where its LFS server is: no such command"):
            lfs._own_server(addresses.parse("ssh://git@host/data.git"))


@pytest.mark.skipif(abi() < SCOPE_ABI, reason="needs Landlock of Linux 6.12")
def test_what_fetches_reaches_the_servers_port_and_no_other(tmp_path):
    address = addresses.parse("http://127.0.0.1:8/x")
    lfs = Lfs(ObjectStore(tmp_path / "lfs"), Extras(lfs=True), "dataset", str(address))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        request = lfs._request(Server(address, address), address, str(address), {})
        # as if what runs there could be brought to connect elsewhere
        program = f"import socket, sys; sys.stdin.read(); socket.create_connection(('127.0.0.1', {port}))"
        probe = tmp_path / "probe.py"
        probe.write_text(program)
        import pipelines.repositories.transfers as module

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "PROGRAM", probe)
            patch.setattr(module, "around_python", _with(probe))
            with pytest.raises(TryAgain, match="PermissionError"):
                lfs._ask(Server(address, address), [request], None)


def _with(path):
    from dataclasses import replace

    from training.fence.rules import around_python

    fence = around_python()
    return lambda: replace(fence, read=(*fence.read, str(path)))


class TestTheStore:
    def test_evicts_what_was_not_used_for_longest(self, tmp_path):
        store, pointers = ObjectStore(tmp_path / "lfs"), []
        for number in range(3):
            content = bytes([number]) * 100
            (tmp_path / "new").write_bytes(content)
            pointers.append(Pointer(hashlib.sha256(content).hexdigest(), 100))
            store.add(pointers[-1], tmp_path / "new")
            time.sleep(0.02)
        (tmp_path / "used").touch()
        assert store.place(pointers[0], tmp_path / "used")
        store.evict(200)
        kept = {path.name for path in (tmp_path / "lfs").glob("*/*")}
        assert kept == {pointers[0].oid, pointers[2].oid}
        assert (tmp_path / "used").read_bytes() == b"\0" * 100


def _blob(data, content):
    return git("hash-object", "-w", "--stdin", cwd=data.work, given=content)
