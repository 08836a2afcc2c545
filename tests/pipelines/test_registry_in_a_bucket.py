"""The settings alone put the registry into a bucket: the same commands, records and signatures."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from registry_parts import promote, publish
from signed_registry import config_of

from pipelines.commands import serve
from pipelines.config.schema import Registry
from pipelines.deploy.serve_job import serve_job
from pipelines.doctor import services
from pipelines.trust import first_key, open_registry, store_options
from registry.errors import ConfigError, TryAgain
from registry.mirror import Mirror
from registry.s3_client import Place
from registry.s3_probe import Probed
from registry.stores import open_store, signatures_of
from registry.verify import verify

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(s3_place, tmp_path):
    url, options = s3_place
    registry = Registry(url, endpoint=options.access.endpoint, region=options.access.region)
    cache = Path(store_options(registry, tmp_path / "home").cache)
    Probed(cache, options.access, Place("models", "", "")).remember("a test's server")
    return replace(config_of(tmp_path), registry=registry)


@pytest.mark.slow
def test_records_are_signed_and_verified_there_too(config, tmp_path):
    promote(open_registry(config), publish(open_registry(config), tmp_path, "one"), "token")
    store = open_registry(config)
    assert signatures_of(store) is not None
    assert b'"signed_by": "' in store.get("production/digits/releases/000001.json")
    assert verify(store) == []
    stranger = replace(config, home=str(tmp_path / "another machine"))
    with pytest.raises(ConfigError, match="which this machine does not know"):
        publish(open_registry(stranger), tmp_path, "two")


def test_a_command_of_its_own_process_reads_it(config, tmp_path):
    promote(open_registry(config), publish(open_registry(config), tmp_path, "one"), "token")
    (tmp_path / "trainyard.toml").write_text(
        f'model = "digits"\nhome = "home"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n'
        f'[registry]\nurl = "{config.registry.url}"\nendpoint = "{config.registry.endpoint}"\nregion = "us-east-1"\n'
    )
    for words, says in ((["list"], "accuracy"), (["verify"], "")):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pipelines", "registry", *words], cwd=tmp_path, capture_output=True, text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert says in done.stdout


def test_while_the_bucket_is_away_an_api_starts_from_its_copy_with_the_key_that_is_known(config, tmp_path):
    promote(open_registry(config), publish(open_registry(config), tmp_path, "one"), "token")
    job = serve_job(config)
    away = replace(config, registry=replace(config.registry, endpoint="http://127.0.0.1:9"))
    with pytest.raises(TryAgain):
        serve.what_is_live(away, job)
    Mirror(open_store(job.registry, job.store), "digits", Path(job.copied)).update()
    job = serve_job(away)
    assert job.first_key == first_key(config) != ""
    assert serve.what_is_live(away, job)[1].number == 1
    with pytest.raises(TryAgain):
        first_key(replace(away, home=str(tmp_path / "another machine")))


def test_doctor_says_that_the_store_keeps_its_promise(config):
    assert "just one succeeds" in services.registry(config).what
