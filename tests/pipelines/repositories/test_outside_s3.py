"""A dataset's files in a bucket: a manifest's and DVC's, against a real S3 server; and that a server is not believed."""

from __future__ import annotations

import json
import os
import shutil
import socketserver
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
from outside_git import DvcRemote, manifest, md5, put, sha256
from s3_server import BUCKET

from pipelines.__main__ import main
from pipelines.repositories import object_transfer, processes, transfers
from pipelines.repositories.outside import s3
from pipelines.repositories.outside.place import Place
from pipelines.repositories.outside.source import Found, Sent, Wanted, key_of, open_objects
from registry.errors import ConfigError, TryAgain

TABLE = b"a,b,label\n" + b"1,2,yes\n" * 9_000  # too large for a pack
FILES = {"t.csv": TABLE, **{f"images/ä {number}.png": bytes([number]) * 99 for number in range(5)}}


@pytest.fixture
def place(s3_place, s3_server):
    return Place(bucket=BUCKET, prefix=s3_place[0].rpartition("/")[2], endpoint=s3_server.endpoint, region="us-east-1")


@pytest.fixture
def objects(place):
    return open_objects(place, "dataset.lock")


@pytest.fixture
def dataset(repository, place, monkeypatch):
    """A dataset repository that names the bucket; its clone is the current folder."""
    data = repository("data")
    settings = f'format = "images"\n[data]\nstore = "{place}"\nendpoint = "{place.endpoint}"\nregion = "us-east-1"\n'
    data.commit({"dataset.toml": settings.encode()})
    monkeypatch.chdir(data.work)
    return data


def trusted(place):
    return (str(place), place.endpoint.removeprefix("http://"))


def sent(folder, data):
    path = put(folder / sha256(data), data)
    return Sent(key_of(sha256(data)), path, len(data), sha256(data))


class TestObjects:
    def test_what_is_sent_is_there_once_and_comes_back(self, tmp_path, objects):
        files = [sent(tmp_path, data) for data in FILES.values()]
        assert objects.send(files) == files
        assert objects.send(files) == []
        assert objects.present([files[0].key, key_of("0" * 64)]) == {files[0].key}
        wanted = [Wanted(each.key, tmp_path / f"got-{each.sha256}", each.size) for each in files]
        lacking = Wanted(key_of("0" * 64), tmp_path / "none", 10)
        assert objects.fetch([*wanted, lacking]) == [lacking]
        assert {sha256(each.into.read_bytes()) for each in wanted} == {each.sha256 for each in files}

    def test_they_are_listed_and_removed(self, tmp_path, objects):
        one, other = (sent(tmp_path, data) for data in (b"1", b"22"))
        objects.send([one, other])
        found = list(objects.listed("sha256"))
        assert {(each.key, each.size) for each in found} == {(one.key, 1), (other.key, 2)}
        assert all(isinstance(each, Found) and each.written > 1e9 for each in found)
        objects.remove([one.key, key_of("0" * 64)])
        assert [each.key for each in objects.listed("sha256")] == [other.key]

    @pytest.mark.parametrize("data", [b"1", b"12345"], ids=["shorter", "longer"])
    def test_a_file_that_has_changed_is_not_sent(self, tmp_path, objects, data):
        file = sent(tmp_path, b"123")
        file.path.write_bytes(data)
        with pytest.raises(ConfigError, match="changed while it was pushed"):
            objects.send([file])
        assert not list(objects.listed("sha256"))

    def test_a_large_file_goes_in_parts_and_appears_whole(self, tmp_path, objects, monkeypatch):
        monkeypatch.setattr(s3, "LARGE", 5 << 20)
        monkeypatch.setattr(s3, "PART", 5 << 20)
        file = sent(tmp_path, os.urandom(12 << 20))
        assert objects.send([file]) == [file]
        assert objects.send([file]) == []
        objects.fetch([Wanted(file.key, tmp_path / "got", file.size)])
        assert sha256((tmp_path / "got").read_bytes()) == file.sha256

    def test_a_large_file_that_has_changed_does_not_appear(self, tmp_path, objects, monkeypatch):
        monkeypatch.setattr(s3, "LARGE", 5 << 20)
        monkeypatch.setattr(s3, "PART", 5 << 20)
        file = sent(tmp_path, os.urandom(6 << 20))
        with file.path.open("r+b") as open_file:
            open_file.write(b"other")
        with pytest.raises(ConfigError, match="changed while it was pushed"):
            objects.send([file])
        assert not list(objects.listed("sha256"))
        assert not objects.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads")

    @pytest.mark.parametrize(
        ("change", "kind", "said"),
        [
            ({"bucket": "no-such-bucket"}, ConfigError, "NoSuchBucket"),
            ({"endpoint": "http://127.0.0.1:1"}, TryAgain, "onnection refused"),
            ({"profile": "nobody"}, ConfigError, "nobody"),
        ],
        ids=["bucket", "address", "profile"],
    )
    def test_what_is_wrong_with_the_place_is_named(self, tmp_path, place, monkeypatch, change, kind, said):
        monkeypatch.setattr(s3, "FIRST_PAUSE", 0.01)
        wrong = Place(**{name: getattr(place, name) for name in Place.__slots__} | change)
        with pytest.raises(kind) as error:
            open_objects(wrong, "dataset.lock").fetch([Wanted(key_of("0" * 64), tmp_path / "x", 10)])
        assert str(wrong) in str(error.value)
        assert said in str(error.value)
        assert error.value.hint

    def test_a_proxy_of_the_environment_is_not_used(self, tmp_path, objects, monkeypatch):
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        file = sent(tmp_path, b"123")
        assert objects.send([file]) == [file]
        assert [each.key for each in objects.listed("sha256")] == [file.key]
        assert objects.fetch([Wanted(file.key, tmp_path / "got", 3)]) == []

    def test_wrong_credentials_are_named(self, tmp_path, objects, monkeypatch):
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
        with pytest.raises(ConfigError, match="SignatureDoesNotMatch") as error:
            objects.fetch([Wanted(key_of("0" * 64), tmp_path / "x", 10)])
        assert ": the data store's url: s3://" in str(error.value)
        assert "from dataset.lock: the data store's profile and ~/.aws" in error.value.hint
        assert "AWS_SECRET_ACCESS_KEY" in error.value.hint
        assert "wrong-secret" not in str(error.value)


class TestCommand:
    def test_another_clone_and_a_run_get_the_same_files(self, dataset, place, bring, capsys):
        for name, data in FILES.items():
            put(dataset.work / name, data)
        assert main(["data", "add", "t.csv", "images"]) == 0
        assert main(["data", "push"]) == 0
        commit = dataset.commit({})
        assert f"sent 6 objects, 73 kB ({place})" in capsys.readouterr().out
        for name in FILES:
            (dataset.work / name).unlink()
        assert main(["data", "pull"]) == 0
        got = bring(dataset.url, commit, trusted=trusted(place))
        for folder in (dataset.work, got):
            assert {name: (folder / name).read_bytes() for name in FILES} == FILES

    def test_gc_asks_the_bucket(self, dataset, objects, capsys):
        put(dataset.work / "t.csv", TABLE)
        main(["data", "add", "t.csv"])
        main(["data", "push"])
        dataset.commit({})
        put(dataset.work / "t.csv", b"other")
        main(["data", "add", "t.csv"])
        main(["data", "push"])
        dataset.commit({})
        capsys.readouterr()
        assert main(["data", "gc", "--store", "--commits", "HEAD", "--days", "0", "--yes", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["removed"] == 1
        assert [each.key for each in objects.listed("sha256")] == [key_of(sha256(b"other"))]

    def test_small_files_travel_in_packs_which_gc_takes_as_a_whole(self, dataset, place, objects, bring, capsys):
        files = {f"many/{number}": b"%d" % number * 999 for number in range(40)}
        for name, data in files.items():
            put(dataset.work / name, data)
        main(["data", "add", "many"])
        assert main(["data", "push"]) == 0
        first = dataset.commit({})
        assert f"sent 40 objects, 70 kB ({place})" in capsys.readouterr().out
        (pack,) = objects.listed("packs")
        assert pack.size == sum(map(len, files.values()))
        assert [each.key.rpartition("/")[2] for each in objects.listed("sha256")] == [pack.key.rpartition("/")[2]]
        assert main(["data", "push", "--all"]) == 0
        assert "sent 0 objects" in capsys.readouterr().out
        shutil.rmtree(dataset.work / "many")
        assert main(["data", "pull"]) == 0
        got = bring(dataset.url, first, trusted=trusted(place))
        for folder in (dataset.work, got):
            assert {name: (folder / name).read_bytes() for name in files} == files
        for kept, removed in (("1", 0), ("other", 2)):
            shutil.rmtree(dataset.work / "many")
            put(dataset.work / "many/1", files["many/1"] if kept == "1" else b"other")
            main(["data", "add", "many"])
            main(["data", "push"])
            dataset.commit({})
            capsys.readouterr()
            assert main(["data", "gc", "--store", "--commits", "HEAD", "--days", "0", "--yes", "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["removed"] == removed
            assert len(list(objects.listed("packs"))) == (kept == "1")
        assert [each.key for each in objects.listed("sha256")] == [key_of(sha256(b"other"))]


class TestDvc:
    @pytest.mark.parametrize("legacy", [False, True], ids=["dvc 3", "dvc 2"])
    def test_a_remote_in_a_bucket(self, tmp_path, repository, bring, place, objects, legacy):
        remote = DvcRemote(tmp_path / "remote", legacy=legacy)
        pointers = {
            "t.csv.dvc": remote.file("t.csv", TABLE),
            "images.dvc": remote.directory("images", {"a/1.png": b"1"}),
        }
        files = [each for each in remote.folder.rglob("*") if each.is_file()]
        objects.send(
            [
                Sent(each.relative_to(remote.folder).as_posix(), each, each.stat().st_size, sha256(each.read_bytes()))
                for each in files
            ]
        )
        config = (
            f"[core]\nremote = r\n['remote \"r\"']\nurl = {place}\nendpointurl = {place.endpoint}\nregion = us-east-1\n"
        )
        data = repository("data")
        commit = data.commit({".dvc/config": config.encode(), **pointers})
        got = bring(data.url, commit, trusted=trusted(place))
        assert (got / "t.csv").read_bytes() == TABLE
        assert (got / "images/a/1.png").read_bytes() == b"1"
        assert len(files) == 3
        with pytest.raises(ConfigError, match=rf"{place} at {place.endpoint}, which the settings do not name"):
            bring(data.url, commit)
        assert md5(TABLE) in pointers["t.csv.dvc"].decode()


@contextmanager
def server(answer):
    """An S3 server that answers GET with what `answer(handler)` writes; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            answer(self)

        def log_message(self, *arguments):
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}"
        finally:
            running.shutdown()  # a server that waits on a closed socket takes a whole core


def respond(handler, data, status=200, length=None):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.end_headers()
    handler.wfile.write(data)
    if length is not None:
        handler.close_connection = True


@pytest.fixture
def fetched_from(repository, bring, monkeypatch):
    """A run's files, when a server gives this answer for TABLE."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(s3, "FIRST_PAUSE", 0.01)

    def fetched_from(answer):
        with server(answer) as address:
            settings = f'[data]\nstore = "s3://bucket/x"\nendpoint = "{address}"\nregion = "r"\n'
            data = repository("data")
            commit = data.commit({"dataset.toml": settings.encode(), "dataset.lock": manifest({"t.csv": TABLE})})
            return bring(data.url, commit, trusted=("s3://bucket", address.removeprefix("http://")))

    return fetched_from


class TestServersThatAreWrong:
    @pytest.mark.parametrize(
        ("answer", "kind", "said"),
        [
            (lambda to: respond(to, TABLE[:-9], length=len(TABLE)), TryAgain, "ended 9 bytes early"),
            (lambda to: respond(to, TABLE[::-1]), ConfigError, "t.csv: s3://bucket/x gives other bytes than it names"),
            (lambda to: respond(to, TABLE + b"x"), ConfigError, "more than the"),
            (lambda to: respond(to, b"", 503), TryAgain, "503"),
            (lambda to: respond(to, b"<Error><Code>SlowDown</Code></Error>", 503), TryAgain, "SlowDown"),
            (lambda to: respond(to, b"<Error><Code>AccessDenied</Code></Error>", 403), ConfigError, "AccessDenied"),
            (lambda to: respond(to, b"<Error><Code>NoSuchKey</Code></Error>", 404), ConfigError, "does not have it"),
            (lambda to: respond(to, b"", 302), ConfigError, "302"),
            (lambda to: to.close_connection.__class__ and setattr(to, "close_connection", True), TryAgain, ""),
        ],
        ids=["cut", "altered", "longer", "down", "slow", "denied", "missing", "redirect", "silent"],
    )
    def test_is_refused_or_tried_again(self, fetched_from, answer, kind, said):
        with pytest.raises(kind) as error:
            fetched_from(answer)
        assert said in str(error.value)
        assert error.value.hint
        assert "secret" not in str(error.value)

    def test_one_that_fails_for_a_moment_is_asked_again(self, fetched_from):
        asked = []

        def answer(handler):
            asked.append(handler.path)
            respond(handler, TABLE, 503 if len(asked) < 3 else 200)

        assert (fetched_from(answer) / "t.csv").read_bytes() == TABLE
        assert len(asked) == 3

    def test_a_disk_that_is_full_is_to_be_freed(self, monkeypatch):
        with server(lambda handler: respond(handler, TABLE)) as address:
            request = {
                "url": f"{address}/x",
                "ips": ["127.0.0.1"],
                "headers": {},
                "into": "/dev/full",
                "size": len(TABLE),
            }
            answer = object_transfer.Client(None).answer(request)
        assert answer["full"]
        monkeypatch.setattr(processes, "run_program", lambda *words, **options: (0, json.dumps([answer]).encode(), b""))
        with pytest.raises(TryAgain, match="No space left") as error:
            transfers.ask([request], "moving objects")
        assert "free some space" in error.value.hint
