"""`trainyard.toml`: every problem is reported at once, and each source of a setting has its rank."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands import config
from pipelines.config.check import settings
from pipelines.config.load import find_config, load_config, mistyped, secret, secret_source
from pipelines.config.schema import RENAMED
from registry.errors import ConfigError

GOOD = """
model = "digits"
[repositories]
code = "repos/code.git"
dataset = "https://example.org/dataset.git"
tests = "git@example.org:tests.git"
"""


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "trainyard.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_paths_are_relative_to_the_file_and_urls_stay(written, tmp_path):
    config = load_config(written(GOOD), {})
    assert config.repositories.code == str(tmp_path / "repos/code.git")
    assert config.repositories.dataset == "https://example.org/dataset.git"
    assert config.repositories.tests == "git@example.org:tests.git"
    assert config.home == str(tmp_path / ".trainyard")
    assert config.registry.url == f"file://{tmp_path}/.trainyard/registry"


def test_the_registry_follows_the_home_until_it_is_given_a_place_of_its_own(written, tmp_path):
    text = 'home = "state"\n' + GOOD
    assert load_config(written(text), {}).registry.url == f"file://{tmp_path}/state/registry"
    text += '[registry]\nurl = "file://memory"\n'
    assert load_config(written(text), {}).registry.url == f"file://{tmp_path}/memory"


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(written):
    path = written(GOOD + "[gate]\nthreshold = 0.7\n")
    assert load_config(written(GOOD), {}).gate.threshold == 0.9
    assert load_config(written(GOOD + "[gate]\nthreshold = 0.7\n"), {}).gate.threshold == 0.7
    environment = {"TRAINYARD_GATE_THRESHOLD": "0.8"}
    assert load_config(path, environment).gate.threshold == 0.8
    assert load_config(path, environment, ["gate.threshold=0.85"]).gate.threshold == 0.85


def test_all_problems_are_reported_together(written):
    path = written(
        'model = "digits"\ncolour = 1\n[repositories]\ncode = "a"\ndataset = "b"\n'
        '[gate]\ntreshold = 0.9\nmin_samples = "x"\n[serving]\nport = 99999\n[mail]\nsecurity = "ssl"\n'
    )
    with pytest.raises(ConfigError) as error:
        load_config(path, {}, ["nonsense", "serving.prot=1"])
    said = str(error.value)
    for words in (
        str(path),
        "colour: unknown setting",
        "gate.treshold: unknown setting, did you mean gate.threshold?",
        "gate.min_samples: 'x' is not a whole number",
        "serving.port: 99999 is not between 0 and 65535",
        "mail.security: 'ssl' is not one of 'starttls', 'smtps', 'none'",
        "repositories.tests: missing",
        "--set nonsense: write --set section.key=value",
        "--set serving.prot: unknown setting, did you mean serving.port?",
    ):
        assert words in said
    assert error.value.exit_code == 2


def test_a_value_of_the_wrong_type_hides_nothing_that_is_wrong_elsewhere(written):
    path = written(
        GOOD + '[gate]\nrecent = true\n[training]\nepochs = "x"\n[mail]\nhost = "a.example.org:587"\n'
        "[prediction_log]\nenabeld = true\n"
    )
    with pytest.raises(ConfigError) as error:
        load_config(path, {})
    said = str(error.value)
    assert "training.epochs: 'x' is not a whole number" in said
    assert "its port is mail.port" in said
    assert "prediction_log.enabeld: unknown setting" in said
    assert "gate.recent" not in said, "it may come of the one before"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model = ", "not TOML"),
        (GOOD.replace('"digits"', '"../etc"'), "model: '../etc' may hold letters"),
        (GOOD.replace('"digits"', "3"), "model: 3 is not a text"),
        (GOOD + '[gate]\nmetric = "acuracy"\n', "gate.metric: 'acuracy' is not one of accuracy"),
        (GOOD + 'training = "fast"\n'.replace("training", "gate_"), "unknown setting"),
        ("gate = 3\n" + GOOD, "gate: 3 is not a section, write [gate]"),
        (GOOD + '[mail]\nhost = "mail.example.org"\nsecurity = "none"\n', "mail.security"),
        (
            GOOD + '[mail]\nhost = "smtp://mail.example.org"\n',
            "mail.host: 'smtp://mail.example.org' is not the name of a",
        ),
        (GOOD + '[mail]\nhost = "mail.example.org:587"\n', "its port is mail.port"),
        (GOOD + '[serving]\ncertfile = "cert.pem"\n', "TLS needs both"),
        (GOOD + '[serving]\ncors_origins = "*"\n', "is not an origin"),
        (GOOD + '[serving]\ncors_origins = ["https://shop.example/"]\n', "is not an origin"),
        (GOOD + '[serving]\nallowed_hosts = ["api.example:8500"]\n', "without a port"),
        (GOOD + '[serving]\nauth = "basic"\n', "serving.auth"),
        (GOOD + '[serving]\ntrusted_proxies = ["proxy.example.org"]\n', "serving.trusted_proxies"),
        (GOOD + '[serving]\ntrusted_proxies = ["10.0.0.7/8"]\n', "serving.trusted_proxies"),
        (GOOD.replace("https://", "https://me:secret@"), "repositories.dataset: holds a user name or a password"),
        (GOOD.replace("https://", "https://ghp_secret@"), "repositories.dataset: holds a user name or a password"),
        (GOOD.replace("https://", "HTTP://me:sec/ret@"), "repositories.dataset: holds a user name or a password"),
        (GOOD.replace("git@", "ssh://me:secret@"), "repositories.tests: holds a user name or a password"),
        (
            GOOD + '[training]\ncommand = "python train.py"\n',
            "training.command: 'python train.py' is not a list of texts",
        ),
        (GOOD + "[training]\nepochs = true\n", "training.epochs: True is not a whole number"),
        (GOOD + "[training]\nepochs = 0\n", "training.epochs: 0 is not between"),
    ],
)
def test_a_bad_setting_is_named(written, text, words):
    with pytest.raises(ConfigError, match=r"trainyard\.toml") as error:
        load_config(written(text), {})
    assert words in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.replace('"digits"', f'"{"a" * 65}"'), "at most 64"),
        (GOOD.replace('"digits"', '"-digits"'), "starts with a letter or a digit"),
        (GOOD.replace('"digits"', '""'), "model: ''"),
        (GOOD.replace('"digits"', '"a.b"'), "model: 'a.b'"),
        ('file = "x"\n' + GOOD, "file: unknown setting"),
        (GOOD + 'branch = ""\n', "repositories.branch: empty"),
        (GOOD.replace('"repos/code.git"', '""'), "repositories.code: empty"),
        (GOOD.replace("git@example.org", "ssh://git:pw@example.org"), "repositories.tests: holds a user name"),
        (GOOD + '[jenkins]\nurl = "https://me:secret@ci.example.org"\n', "jenkins.url: holds a user name"),
        (
            GOOD + '[jenkins]\nrepository = "https://secret@git.example.org/p"\n',
            "jenkins.repository: holds a user name",
        ),
        (GOOD + "[gate]\nmin_samples = 0\n", "gate.min_samples: 0 is not between 1 and 1e+09"),
        (GOOD + "[gate]\nmax_drop = -0.1\n", "gate.max_drop: -0.1 is not between 0 and inf"),
        (GOOD + "[gate]\nmin_samples = 1.0\n", "gate.min_samples: 1.0 is not a whole number"),
        (GOOD + "[gate]\nthreshold = true\n", "gate.threshold: True is not a number"),
        (GOOD + "[gate]\nthreshold = 1.5\n", "1.5 is impossible for accuracy, which is between 0 and 1"),
        (GOOD + "[gate]\nthreshold = -1\n", "gate.threshold: -1 is impossible"),
        (GOOD + "[gate]\nthreshold = nan\n", "gate.threshold: nan is not a number"),
        (GOOD + "[gate]\nthreshold = inf\n", "gate.threshold: inf is impossible"),
        (GOOD + '[gate]\nmetric = "rmse"\nthreshold = -0.1\n', "impossible for rmse, which is never under 0"),
        (GOOD + '[gate]\nmetric = "r2"\nthreshold = 1.1\n', "impossible for r2, which is at most 1"),
        (GOOD + "[gate]\nclass_floor = 90\n", "gate.class_floor: 90 is not between 0 and 1"),
        (GOOD + "[acceptance]\nmax_p95_ms = nan\n", "acceptance.max_p95_ms: nan is not a number"),
        (GOOD + "[mail]\nto = [1]\n", "mail.to: [1] is not a list of texts"),
        (GOOD + "[mail]\nsecurity = 1\n", "mail.security: 1 is not one of"),
        (GOOD + '[mail]\nhost = "mail.example.org"\nsecurity = "none"\n', "for a server on this machine only"),
    ],
)
def test_a_bad_value_is_named_with_what_is_wrong(written, text, words):
    with pytest.raises(ConfigError) as error:
        load_config(written(text), {})
    assert words in str(error.value)
    assert "secret" not in str(error.value)


def test_a_threshold_that_a_metric_can_have_is_taken(written):
    for metric, threshold in (("r2", -3.0), ("rmse", 4e9), ("brier", 2.0), ("accuracy", 0.0), ("loss", 0.0)):
        text = f'[gate]\nmetric = "{metric}"\nthreshold = {threshold}\n'
        assert load_config(written(GOOD + text), {}).gate.threshold == threshold


def test_a_mistyped_variable_is_named_with_the_one_that_was_meant():
    environment = {
        "TRAINYARD_GATE_TRESHOLD": "0.9",
        "TRAINYARD_SMTP_PASWORD": "x",
        "TRAINYARD_GATE_THRESHOLD": "0.9",
        "TRAINYARD_APPROVAL_SECRET_FILE": "x",
        "TRAINYARD_SERVE_IMAGE": "x",
        "TRAINYARD_TEST_DOCKER": "1",
        "TRAINYARD_JOBS": "1",
    }
    gate, mail = mistyped(environment)
    assert "TRAINYARD_GATE_TRESHOLD" in gate
    assert "did you mean TRAINYARD_GATE_THRESHOLD?" in gate
    assert "did you mean TRAINYARD_SMTP_PASSWORD?" in mail
    assert "x" not in mail.replace("TRAINYARD", "")


def test_values_on_their_bounds_are_taken(written):
    name = "a" * 64
    config = load_config(
        written(GOOD.replace('"digits"', f'"{name}"') + "[gate]\nmin_samples = 1\nmax_drop = 0\nthreshold = 1\n"), {}
    )
    assert (config.model, config.gate.min_samples) == (name, 1)
    assert type(config.gate.threshold) is float
    for host in ("", "localhost", "127.0.0.1", "::1"):
        text = f'[mail]\nhost = "{host}"\nsecurity = "none"\n'
        assert load_config(written(GOOD + text), {}).mail.security == "none"


def test_a_variable_is_read_as_its_setting_wants_it(written):
    path = written(GOOD)
    assert load_config(path, {"TRAINYARD_MODEL": "7"}).model == "7"
    assert load_config(path, {"TRAINYARD_MAIL_TO": '["a@b", "c@d"]'}).mail.to == ("a@b", "c@d")
    assert load_config(path, {"TRAINYARD_MAIL_TO": "a@b"}).mail.to == ("a@b",)
    with pytest.raises(ConfigError, match=r"gate\.threshold: 'high' is not a number"):
        load_config(path, {"TRAINYARD_GATE_THRESHOLD": "high"})


def test_a_file_that_is_not_utf_8_is_not_toml(tmp_path):
    path = tmp_path / "trainyard.toml"
    path.write_bytes(b'model = "gr\xf6\xdfe"\n')
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(path, {})


def test_a_byte_order_mark_is_passed_over_in_settings_and_secrets(tmp_path):
    path = tmp_path / "trainyard.toml"
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    assert load_config(path, {}).model == "digits"
    (tmp_path / "password").write_text("\ufeffsecret\n", encoding="utf-8")
    assert secret("X", {"TRAINYARD_X_FILE": str(tmp_path / "password")}) == "secret"


def test_problems_are_reported_in_the_order_of_their_names(written):
    with pytest.raises(ConfigError) as error:
        load_config(written(GOOD + "[training]\nepochs = 0\n[gate]\nmin_samples = 0\n"), {}, ["zzz=1", "a.b=1"])
    said = str(error.value)
    assert said.index("--set a.b") < said.index("--set zzz") < said.index("gate.min") < said.index("training.epochs")


def test_home_may_be_a_flag_and_certificates_lie_beside_the_file(written, tmp_path):
    text = GOOD + '[mail]\nca_file = "ca/mail.pem"\n[jenkins]\nca_file = "ca/jenkins.pem"\n'
    config = load_config(written(text), {}, ["home=state"])
    assert config.home == str(tmp_path / "state")
    assert (config.mail.ca_file, config.jenkins.ca_file) == (
        str(tmp_path / "ca/mail.pem"),
        str(tmp_path / "ca/jenkins.pem"),
    )
    assert load_config(written(GOOD), {}).mail.ca_file == load_config(written(GOOD), {}).jenkins.ca_file == ""


def test_a_certificate_of_the_api_lies_beside_the_file_and_a_link_stays_one(written, tmp_path):
    (tmp_path / "live.pem").symlink_to("renewed.pem")
    text = GOOD + '[serving]\ncertfile = "live.pem"\nkeyfile = "keys/key.pem"\n'
    serving = load_config(written(text), {}).serving
    assert (serving.certfile, serving.keyfile) == (str(tmp_path / "live.pem"), str(tmp_path / "keys/key.pem"))
    assert load_config(written(GOOD), {}).serving.certfile == ""


def test_a_registry_that_is_not_a_folder_keeps_its_url(written):
    text = GOOD + '[registry]\nurl = "s3://bucket/registry"\n'
    assert load_config(written(text), {}).registry.url == "s3://bucket/registry"


def test_a_hint_speaks_of_renamed_settings_only_when_one_was_given(written):
    with pytest.raises(ConfigError) as error:
        load_config(written(GOOD + "colour = 1\n"), {})
    assert error.value.hint == "docs/reference/configuration.md lists every setting"


def test_where_a_secret_comes_from_is_known(monkeypatch):
    monkeypatch.delenv("TRAINYARD_SMTP_PASSWORD", raising=False)
    monkeypatch.delenv("TRAINYARD_SMTP_PASSWORD_FILE", raising=False)
    assert secret_source("SMTP_PASSWORD") is None
    monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD", "xyz")
    assert secret_source("SMTP_PASSWORD") == ""
    monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD_FILE", "a-file")
    assert secret_source("SMTP_PASSWORD") == "_FILE"


def test_repositories_on_this_machine_are_paths_and_others_are_urls(written, tmp_path):
    for given, found in {
        "ssh://git@host/x": "ssh://git@host/x",
        "host:x.git": "host:x.git",
        "a/b:c": str(tmp_path / "a/b:c"),
        "/srv/x": "/srv/x",
    }.items():
        assert load_config(written(GOOD.replace("repos/code.git", given)), {}).repositories.code == found


def test_a_name_that_is_nearly_a_setting_is_suggested_in_its_section(written):
    for given, meant in {
        "hoem": "did you mean home?",
        "gat": "did you mean gate?",
        "gate.treshold": "gate.threshold?",
    }.items():
        with pytest.raises(ConfigError) as error:
            load_config(written(GOOD), {}, [f"{given}=1"])
        assert meant in str(error.value)
    with pytest.raises(ConfigError) as error:
        load_config(written(GOOD), {}, ["serving.qqqqqq=1"])
    assert "did you mean" not in str(error.value)


def test_the_first_secret_file_wins_over_the_variable_and_must_be_text(tmp_path):
    file = tmp_path / "secret"
    file.write_bytes(b"\xff\xfe")
    both = {"TRAINYARD_SMTP_PASSWORD_FILE": str(file), "TRAINYARD_SMTP_PASSWORD": "xyz"}
    with pytest.raises(ConfigError, match="TRAINYARD_SMTP_PASSWORD_FILE: cannot read"):
        secret("SMTP_PASSWORD", both)
    file.write_text("abc", encoding="utf-8")
    assert secret("SMTP_PASSWORD", both) == "abc"


def test_a_config_named_by_flag_or_variable_is_not_searched_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("other.toml", {"TRAINYARD_CONFIG": "third.toml"}) == tmp_path / "other.toml"
    assert find_config(None, {"TRAINYARD_CONFIG": "third.toml"}) == tmp_path / "third.toml"


RENAMED_ANYWHERE = {
    "file": ('[serving]\ngo_live = "docker"\n', {}, [], "serving.go_live: unknown setting"),
    "environment": ("", {"TRAINYARD_JENKINS_GO_LIVE": "docker"}, [], "TRAINYARD_JENKINS_GO_LIVE: unknown setting"),
    "flag": ("", {}, ["serving.go_live=docker"], "--set serving.go_live: unknown setting"),
}


@pytest.mark.parametrize(("text", "environment", "overrides", "said"), RENAMED_ANYWHERE.values(), ids=RENAMED_ANYWHERE)
def test_a_setting_under_its_old_name_is_refused_with_the_new_one_in_the_hint(
    written, text, environment, overrides, said
):
    with pytest.raises(ConfigError) as error:
        load_config(written(GOOD + text), environment, overrides)
    assert str(error.value).endswith(f"trainyard.toml: {said}")
    section = "jenkins" if environment else "serving"
    new = "TRAINYARD_JENKINS_DEPLOY" if environment else f"{section}.deploy"
    assert f"is called {new} now" in error.value.hint


def test_every_old_name_leads_to_a_setting():
    assert not RENAMED.keys() & settings().keys()
    assert set(RENAMED.values()) <= settings().keys()


def test_every_number_has_bounds_or_none_on_purpose():
    free = {"gate.threshold", "gate.slice_floor", "acceptance.min_requests_per_second", "acceptance.max_p95_ms"}
    assert {name for name, each in settings().items() if each.kind in {int, float} and not each.bounds} == free


def test_one_address_needs_no_list(written):
    assert load_config(written(GOOD + '[mail]\nto = "me@example.org"\n'), {}).mail.to == ("me@example.org",)


def test_a_missing_file_is_reported_with_the_next_action(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"no trainyard\.toml") as error:
        find_config(None, {})
    assert "--config" in error.value.hint
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load_config(tmp_path / "nowhere.toml", {})


def test_the_file_is_found_from_a_folder_below(written, tmp_path, monkeypatch):
    path = written(GOOD)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert find_config(None, {}) == path


def test_a_secret_comes_from_the_environment_or_from_a_file(tmp_path):
    file = tmp_path / "secret"
    file.write_text("abc\n", encoding="utf-8")
    assert secret("SMTP_PASSWORD", {}) == ""
    assert secret("SMTP_PASSWORD", {"TRAINYARD_SMTP_PASSWORD": "xyz"}) == "xyz"
    assert secret("SMTP_PASSWORD", {"TRAINYARD_SMTP_PASSWORD_FILE": str(file)}) == "abc"
    with pytest.raises(ConfigError, match="TRAINYARD_SMTP_PASSWORD_FILE"):
        secret("SMTP_PASSWORD", {"TRAINYARD_SMTP_PASSWORD_FILE": str(tmp_path / "none")})


def test_only_settings_that_change_the_outcome_make_another_run(written):
    base = load_config(written(GOOD), {}).outcome_settings
    assert load_config(written(GOOD), {}, ["serving.port=1", "mail.host=localhost"]).outcome_settings == base
    assert load_config(written(GOOD), {}, ["gate.threshold=0.1"]).outcome_settings != base


def test_the_name_of_an_ssh_account_is_not_a_secret(written):
    url = "ssh://git@example.org:22/tests.git"
    assert load_config(written(GOOD.replace("git@example.org:tests.git", url)), {}).repositories.tests == url


def test_config_show_hides_what_is_before_the_host(written, capsys):
    path = written(GOOD + '[registry]\nurl = "gs://key:secret@host/bucket"\n')
    for as_json in (True, False):
        config.main(argparse.Namespace(action="show", json=as_json), load_config(path, {}))
        shown = capsys.readouterr().out
        assert "gs://host/bucket" in shown
        assert "secret@" not in shown


def test_config_show_gives_every_setting_and_no_secret(written):
    path = written(GOOD)
    environment = os.environ | {"TRAINYARD_SMTP_PASSWORD": "hunter2hunter2"}
    command = [sys.executable, "-P", "-m", "pipelines", "config", "show", "--config", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "hunter2" not in done.stdout
    assert "TRAINYARD_SMTP_PASSWORD: set" in done.stdout
    as_json = subprocess.run([*command, "--json"], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(as_json.stdout)["settings"]["gate"]["threshold"] == 0.9
    again = path.with_name("again.toml")
    again.write_text(done.stdout, encoding="utf-8")  # what it shows is a file that it reads
    assert load_config(again, {}).gate == load_config(path, {}).gate


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("", ""), ("s3://bucket/data", "s3://bucket/data"), ("/srv/data", "/srv/data"), ("file:///srv/data", "/srv/data"),
        ("data", "{}/data"), ("file://data", "{}/data"),
    ],
)  # fmt: skip
def test_a_store_of_data_in_a_folder_is_relative_to_the_file(written, tmp_path, given, found):
    store = load_config(written(GOOD), {}, [f"repositories.data_store={given}"]).repositories.data_store
    assert store == found.format(tmp_path)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('url = "s3://key:secret@bucket/x"', r"\[registry\] url: holds a user name or a password"),
        ('url = "s3://b"', "is not s3://bucket/prefix"),
        (
            'url = "s3://bucket/x"\nendpoint = "https://a:b@host"',
            r"\[registry\] endpoint: holds a user name or a password",
        ),
        ('url = "s3://bucket/x"\nendpoint = "host:9000"', r"\[registry\] endpoint: 'host:9000' is not"),
        (
            'url = "s3://bucket/x"\n[serving]\nregistry_volume = "models"',
            "serving.registry_volume: is for a registry in a folder",
        ),
        ('url = "s3://bucket/x"\nkms_key = "k"', 'registry.kms_key: needs registry.sse = "aws:kms"'),
        ('url = "s3://bucket/x"\nstorage_class = "GLACIER"', "registry.storage_class"),
        ('endpoint = "http://127.0.0.1:9000"', "registry.endpoint: is for a registry in a bucket"),
    ],
)
def test_a_registry_in_a_bucket_has_settings_of_its_own_and_no_secret(written, lines, says):
    with pytest.raises(ConfigError, match=says) as error:
        load_config(written(f"{GOOD}[registry]\n{lines}\n"), {})
    assert "secret" not in str(error.value)


def test_the_file_for_events_is_relative_to_the_settings_and_a_server_stays_one(written):
    path = written(GOOD + '[tracking]\nopenlineage = "events.jsonl"\n')
    assert load_config(path, {}).tracking.openlineage == str(path.parent / "events.jsonl")
    path = written(GOOD + '[tracking]\nopenlineage = "https://lineage.example.org"\n')
    assert load_config(path, {}).tracking.openlineage == "https://lineage.example.org"
