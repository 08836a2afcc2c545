"""What a store in the bucket's place refuses, and what a person then reads: the setting, and what to do."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import write_certificate
from s3_proxy import proxy_before
from s3_server import READER, READER_SECRET, S3Server

from pipelines.commands.seaweedfs import free_ports
from registry import s3_objects
from registry.errors import ConfigError, TryAgain
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.store_options import Access
from registry.stores import open_store

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_retries")]
ONE = hashlib.sha256(b"1").hexdigest()


@pytest.mark.parametrize(
    ("answer", "kind", "hint"),
    [
        ((403, "RequestTimeTooSkewed"), ConfigError, "clock"),
        ((403, "AccessDenied"), ConfigError, "s3:PutObject"),
        ((404, "NoSuchBucket"), ConfigError, "create the bucket"),
        ((400, "ExpiredToken"), ConfigError, "renew"),
        ((507, "InsufficientStorage"), TryAgain, "full"),
        ((503, "SlowDown"), TryAgain, "nothing was lost"),
        ((409, "ConditionalRequestConflict"), TryAgain, "nothing was lost"),
    ],
    ids=lambda each: each[1] if isinstance(each, tuple) else "",
)
def test_an_answer_that_does_not_go_away_names_the_setting_and_what_to_do(
    open_through, s3_server, monkeypatch, answer, kind, hint
):
    monkeypatch.setattr(s3_objects, "CONFLICTS", 2)
    with proxy_before(s3_server.endpoint, lambda _, method, __: answer if method == "PUT" else None) as (url, _):
        store = open_through(url)
        with pytest.raises(kind, match=r"\[registry\] url: s3://models/") as error:
            store.create("a/b", b"1")
        assert hint in error.value.hint
        assert store.names("a") == []


WRONG_REGION = "<Error><Code>{}</Code><Message>the region is wrong</Message><Region>eu-central-1</Region></Error>"


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, "AuthorizationHeaderMalformed"), (301, "PermanentRedirect"), (400, "IllegalLocationConstraintException")],
)
def test_a_wrong_region_is_answered_with_the_setting_and_the_right_one(open_through, s3_server, status, code):
    """As AWS answers; HEAD has no body, and the region in a header."""

    def elsewhere(*_):
        return status, {"x-amz-bucket-region": "eu-central-1"}, WRONG_REGION.format(code).encode()

    with proxy_before(s3_server.endpoint, lambda *_: elsewhere) as (url, _):
        store = open_through(url)
        for act in (
            lambda: store.names(""),
            lambda: store.get("a"),
            lambda: store.present(["a"]),
            lambda: store.create("a", b"1"),
        ):
            with pytest.raises(ConfigError, match=r"\[registry\] url: s3://models/") as error:
                act()
            assert error.value.hint == "set [registry] region to eu-central-1"


def test_who_may_only_read_reads_and_is_refused_the_rest_with_what_it_needs(s3_place, s3_store, monkeypatch):
    s3_store.create("a/b", b"1", ONE)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", READER_SECRET)
    reader = open_store(*s3_place)
    assert (reader.get("a/b"), reader.names("a"), reader.path("a/b").read_bytes()) == (b"1", ["b"], b"1")
    for act in (lambda: reader.create("a/c", b"1"), lambda: reader.create("a/c", b"2" * 100, ""), reader.probe):
        with pytest.raises(ConfigError, match=r"\[registry\] url: .* answered AccessDenied") as error:
            act()
        assert "s3:PutObject" in error.value.hint
    assert s3_store.names("a") == ["b"]


def test_a_store_that_is_full_is_to_be_tried_again_and_keeps_what_it_has(tmp_path, s3_place):
    _, options = s3_place
    server = S3Server(tmp_path / "weed", megabytes=2)
    try:
        Probed(Path(options.cache), server.access, Place("models", "", "")).remember("a test's server")
        store = open_store("s3://models/x", replace(options, access=server.access))
        taken = []

        def fill():
            while len(taken) < 40:
                store.create(f"a/{len(taken)}", data := os.urandom(1 << 20), hashlib.sha256(data).hexdigest())
                taken.append(data)

        with pytest.raises(TryAgain, match=r"\[registry\] url: s3://models/x: SeaweedFS") as error:
            fill()
        assert error.value.exit_code == 75
        assert "the store may be full" in error.value.hint
        assert [store.get(f"a/{number}") for number in range(len(taken))] == taken
        assert len(store.names("a")) == len(taken)
    finally:
        server.stop()


def test_a_store_behind_tls_of_an_own_authority_is_used_when_its_certificate_is_named(tmp_path, s3_place, monkeypatch):
    _, options = s3_place
    write_certificate(tmp_path)
    (port,) = free_ports(1)
    server = S3Server(tmp_path / "weed", options=[f"-s3.port.https={port}", f"-s3.cert.file={tmp_path / 'cert.pem'}",
                                                  f"-s3.key.file={tmp_path / 'key.pem'}"])  # fmt: skip

    def names(endpoint):
        return open_store("s3://models/x", replace(options, access=Access(endpoint, "us-east-1"))).names("")

    def refused(endpoint, says):
        with pytest.raises(
            ConfigError, match=rf"\[registry\] url: s3://models/x: SSL validation failed .*{says}"
        ) as error:
            names(endpoint)
        return error.value.hint

    try:
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
        assert "AWS_CA_BUNDLE" in refused(f"https://127.0.0.1:{port}", "self-signed")
        for bundle, said in (("none.pem", "No such file"), ("key.pem", "NO_CERTIFICATE")):
            monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / bundle))
            assert "AWS_CA_BUNDLE" in refused(f"https://127.0.0.1:{port}", said)
        monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "cert.pem"))
        assert names(f"https://127.0.0.1:{port}") == []
        assert "http://" in refused(server.endpoint.replace("http://", "https://"), "WRONG_VERSION")
    finally:
        server.stop()


def test_a_clock_that_is_off_is_named_by_a_command(s3_place, tmp_path):
    url, options = s3_place
    (tmp_path / "offset").write_text("7200")
    (tmp_path / "trainyard.toml").write_text(
        f'model = "digits"\nhome = "home"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n'
        f'[registry]\nurl = "{url}"\nendpoint = "{options.access.endpoint}"\nregion = "us-east-1"\n'
    )
    helper = Path(__file__).parents[1] / "helpers" / "shifted_clock.py"
    done = subprocess.run(
        [sys.executable, "-P", helper, "offset", "registry", "list"], cwd=tmp_path, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "answered RequestTimeTooSkewed" in done.stderr
    assert "hint: set this machine's clock" in done.stderr
