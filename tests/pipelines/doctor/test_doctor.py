import argparse
import grp
import itertools
import json
import os
import pwd
import socket
import ssl
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from registry_parts import promote as promote_records
from s3_server import S3Server
from versions import acceptance_draft, candidate, digests

from pipelines.__main__ import main
from pipelines.approvals.tokens import SECRET_FILE, approval_secret
from pipelines.commands import doctor
from pipelines.config.load import load_config
from pipelines.deploy import api_folder
from pipelines.deploy.serve_job import serve_job
from pipelines.doctor import docker, machine, services
from pipelines.doctor.finding import GIB, Finding, disk_space
from pipelines.trust import open_registry
from registry import candidates
from registry.errors import ConfigError, TryAgain
from serving.server import control

GIT = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
HEAVY = {
    "tensorflow",
    "keras",
    "numpy",
    "pandas",
    "pyarrow",
    "great_expectations",
    "matplotlib",
    "PIL",
    "boto3",
    "docker",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A pipeline's repository, with three repositories beside it."""
    for name in list(os.environ):
        if name.startswith("TRAINYARD_") or name == "DOCKER_HOST":
            monkeypatch.delenv(name)
    for name in ("code", "dataset", "tests"):
        subprocess.run([*GIT, "init", "-q", tmp_path / name], check=True)
        subprocess.run([*GIT, "-C", tmp_path / name, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    write(tmp_path)
    return tmp_path


def write(place, model="digits", home=".trainyard", branch="main", **sections):
    sections.setdefault("serving", {"port": free_port()})
    lines = [f'model = "{model}"', f'home = "{home}"', "[repositories]", f'branch = "{branch}"']
    lines += [f'{name} = "{name}"' for name in ("code", "dataset", "tests")]
    for section, settings in sections.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    (place / "trainyard.toml").write_text("\n".join(lines))


@pytest.fixture
def ask(place, capsys):
    """Run `trainyard doctor --json`; gives exit code and check → (state, what, next)."""

    def ask(*arguments):
        code = main(["doctor", "--json", "--config", str(place / "trainyard.toml"), *arguments])
        said = json.loads(capsys.readouterr().out)
        assert said["ok"] == (code == 0)
        return code, {each["check"]: (each["state"], each["what"], each["next"]) for each in said["checks"]}

    return ask


def test_a_machine_that_has_everything_passes(ask, place):
    code, found = ask()
    assert code == 0, found
    assert {name for name, (state, _, _) in found.items() if state == "fail"} == set()
    assert {"config", "python", "packages", "git", "home", "disk", "memory", "registry", "mail"} <= found.keys()
    assert {"repository code", "repository dataset", "repository tests", "serving", "docker"} <= found.keys()
    assert "hard links" in found["registry"][1]
    assert "outbox" in found["mail"][1]


def test_each_line_for_people_has_a_state_and_a_problem_has_a_next_action(place, capsys):
    write(place, branch="release")
    assert main(["doctor", "--config", str(place / "trainyard.toml")]) == 2
    lines = capsys.readouterr().out.splitlines()
    checks = [line for line in lines[:-1] if not line.lstrip().startswith("→")]
    assert all(line.startswith(("ok ", "warn ", "fail ")) for line in checks)
    for line, follower in itertools.pairwise(lines):
        if not line.startswith(("ok", " ")):
            assert follower.lstrip().startswith("→"), line
    assert "3 failed" in lines[-1]


class TestConfig:
    def test_a_file_with_errors_is_reported_and_the_machine_is_checked_all_the_same(self, ask, place):
        write(place, training={"epoch": 3})
        code, found = ask()
        assert code == 2
        assert "training.epoch: unknown setting, did you mean training.epochs?" in found["config"][1]
        assert found["python"][0] == found["git"][0] == "ok"
        assert "registry" not in found

    def test_a_missing_file_is_reported(self, ask, place):
        (place / "trainyard.toml").unlink()
        code, found = ask()
        assert code == 2
        assert "--config" in found["config"][2]

    def test_a_config_that_was_read_before_is_used(self, place, capsys):
        args = argparse.Namespace(json=True, config=None, set=[])
        assert doctor.main(args, load_config(place / "trainyard.toml", {})) == 0
        assert json.loads(capsys.readouterr().out)["ok"]


class TestRepositories:
    def test_a_branch_that_is_not_there(self, ask, place):
        write(place, branch="release")
        code, found = ask()
        assert code == 2
        assert "has no branch 'release' (it has main)" in found["repository code"][1]

    def test_a_repository_that_is_not_there(self, ask, place):
        os.rename(place / "dataset", place / "elsewhere")
        code, found = ask()
        assert code == 2
        assert found["repository dataset"][0] == "fail"
        assert found["repository code"][0] == "ok"

    def test_a_repository_without_commits(self, ask, place):
        os.rename(place / "tests", place / "elsewhere")
        subprocess.run([*GIT, "init", "-q", "--bare", place / "tests"], check=True)
        _, found = ask()
        assert found["repository tests"][0] == "fail"
        assert "is empty" in found["repository tests"][1]


class Login:
    """A mail server's user list."""

    def __call__(self, server, session, envelope, mechanism, auth_data):
        return AuthResult(success=auth_data.password == b"right", handled=False)


@pytest.fixture
def mail_server():
    servers = []

    def start(**options):
        servers.append(Controller(object(), hostname="127.0.0.1", port=free_port(), **options))
        servers[-1].start()
        return servers[-1].port

    yield start
    for each in servers:
        each.stop()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class TestMail:
    def settings(self, port, **more):
        return {"host": "127.0.0.1", "port": port, "security": "none", "timeout_seconds": 5, **more}

    def test_a_server_that_answers(self, ask, place, mail_server):
        write(place, mail=self.settings(mail_server()))
        _, found = ask()
        assert found["mail"][0] == "ok"

    def test_a_server_that_refuses_the_connection(self, ask, place):
        write(place, mail=self.settings(free_port()))
        code, found = ask()
        assert code == 2
        assert found["mail"][0] == "fail"
        assert "refused" in found["mail"][1]

    def test_a_server_without_encryption_is_not_used_in_the_clear(self, ask, place, mail_server):
        write(place, mail=self.settings(mail_server(), security="starttls"))
        _, found = ask()
        assert found["mail"][0] == "fail"
        assert "[mail] security" in found["mail"][1]

    @pytest.mark.parametrize(("password", "state"), [("", "warn"), ("right", "ok"), ("wrong", "fail")])
    def test_a_login_is_tried_when_there_is_a_password(self, ask, place, mail_server, monkeypatch, password, state):
        port = mail_server(authenticator=Login(), auth_require_tls=False)
        write(place, mail=self.settings(port, username="trainyard"))
        monkeypatch.setenv("TRAINYARD_SMTP_PASSWORD", password)
        _, found = ask()
        assert found["mail"][0] == state, found["mail"]
        assert password == "right" or "TRAINYARD_SMTP_PASSWORD" in "".join(found["mail"])


class TestServing:
    def test_a_port_that_is_taken(self, ask, place):
        with socket.create_server(("127.0.0.1", 0)) as other:
            write(place, serving={"port": free_port(), "grpc_port": other.getsockname()[1]})
            assert "[serving] grpc_port" in ask()[1]["serving"][2]
            write(place, serving={"port": other.getsockname()[1]})
            code, found = ask()
        assert code == 2
        assert "in use" in found["serving"][1]
        assert "[serving] port" in found["serving"][2]

    def test_an_address_of_another_machine(self, ask, place):
        write(place, serving={"host": "192.0.2.1"})
        _, found = ask()
        assert found["serving"][0] == "fail"

    def test_an_api_that_would_be_started_otherwise_now_and_what_to_do(self, ask, place, monkeypatch):
        runs = SimpleNamespace(
            running=lambda: "http://127.0.0.1:1",
            version=lambda: {"release": 3},
            changed=lambda job: {"formats": f"started by another version of Trainyard ({job.model})"},
            remedy="start it again",
        )
        monkeypatch.setattr(services, "open_deployment", lambda _: runs)
        state, what, then = ask()[1]["serving"]
        assert (state, then) == ("warn", "start it again")
        assert "release 3" in what
        assert "started by another version of Trainyard (digits)" in what
        runs.changed = lambda _: {}
        assert ask()[1]["serving"][0] == "ok"


class TestFence:
    def test_what_the_kernel_lacks_is_named(self):
        found = machine.fence(required=False, missing=("signals", "modes of files"))
        assert found.state == "warn"
        assert found.what.endswith("cannot keep a worker or the API from signals, modes of files")
        assert "docker" in found.next
        assert machine.fence(required=False, missing=()).state == "ok"

    def test_it_fails_where_fences_are_required(self):
        assert machine.fence(required=True, missing=("signals",)).state == "fail"
        assert machine.fence(required=True, missing=()).state == "ok"

    def test_it_is_asked_for_workers_that_are_processes(self, ask, place):
        _, found = ask()
        assert "fence" in found


class TestSecret:
    def test_one_from_the_environment(self, ask, monkeypatch):
        monkeypatch.setenv("TRAINYARD_APPROVAL_SECRET", "x" * 40)
        _, found = ask()
        assert found["approval secret"][:2] == ("ok", "from TRAINYARD_APPROVAL_SECRET")

    def test_one_that_can_be_guessed(self, ask, monkeypatch):
        monkeypatch.setenv("TRAINYARD_APPROVAL_SECRET", "guess")
        code, found = ask()
        assert (code, found["approval secret"][0]) == (2, "fail")
        assert "guess" not in found["approval secret"][1]

    def test_a_file_that_is_not_there(self, ask, monkeypatch, tmp_path):
        monkeypatch.setenv("TRAINYARD_APPROVAL_SECRET_FILE", str(tmp_path / "nowhere"))
        _, found = ask()
        assert found["approval secret"][0] == "fail"

    def test_asking_makes_none(self, ask, place):
        _, found = ask()
        assert "will be created" in found["approval secret"][1]
        assert not (place / ".trainyard" / SECRET_FILE).exists()

    def test_our_own_that_others_can_read(self, ask, place):
        approval_secret(place / ".trainyard", {})
        (place / ".trainyard" / SECRET_FILE).chmod(0o644)
        _, found = ask()
        assert found["approval secret"][0] == "fail"


class TestFolders:
    def test_a_home_that_others_may_write(self, tmp_path):
        home = tmp_path / "home"
        home.mkdir()
        for mode, state in ((0o700, "ok"), (0o755, "ok"), (0o777, "warn")):
            home.chmod(mode)
            assert machine.home_folder(home).state == state
        assert "can be written by everybody on this machine" in machine.home_folder(home).what

    def test_a_home_of_a_group_is_fine_while_the_group_has_nobody_else(self, tmp_path, monkeypatch):
        home = tmp_path / "home"
        home.mkdir()
        home.chmod(0o775)
        own = pwd.getpwuid(os.geteuid()).pw_name
        for members, state in (([own], "ok"), ([own, "bo"], "warn")):
            monkeypatch.setattr(
                grp, "getgrgid", lambda gid, members=members: grp.struct_group(("ml", "x", gid, members))
            )
            assert machine.home_folder(home).state == state
        assert "by the group ml (bo)" in machine.home_folder(home).what

    def test_a_home_that_cannot_be_written(self, ask, place):
        (place / "file").touch()
        write(place, home="file/home")
        code, found = ask()
        assert code == 2
        assert found["home"][0] == found["registry"][0] == "fail"

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_files_of_another_user(self, ask, place):
        (place / ".trainyard" / "runs" / "1a2b").mkdir(parents=True)
        os.chown(place / ".trainyard" / "runs" / "1a2b", 12345, 12345)
        _, found = ask()
        assert found["home"][0] == "warn"
        assert "chown" in found["home"][2]

    @pytest.mark.parametrize(("gib", "state"), [(100, "ok"), (3, "warn"), (0.5, "fail")])
    def test_free_space_on_the_disk(self, gib, state):
        assert disk_space(int(gib * GIB), Path("/srv"), "free some").state == state


class TestMachine:
    @pytest.mark.parametrize(
        ("version", "state"), [((3, 10), "fail"), ((3, 11), "ok"), ((3, 13), "ok"), ((3, 15), "warn")]
    )
    def test_python(self, version, state):
        assert machine.python(version).state == state

    def test_a_package_that_is_missing(self):
        found = machine.packages({"json": ("json",), "no_such_package": ("no-such-package",)})
        assert found.state == "fail"
        assert "no_such_package is missing" in found.what
        assert "pip install" in found.next

    def test_a_package_that_a_folder_hides(self, tmp_path, monkeypatch):
        (tmp_path / "some_sdk").mkdir()
        monkeypatch.syspath_prepend(tmp_path)
        found = machine.packages({"some_sdk": ("some-sdk",)})
        assert found.what == f"some_sdk is hidden by the folder {tmp_path / 'some_sdk'}"

    @pytest.mark.parametrize(
        ("script", "state", "what"),
        [
            ("echo git version 2.29.1", "fail", "older than 2.30"),
            ("echo git version 2.30.0.windows.1", "ok", "2.30.0"),
            ("echo git version 3.0", "ok", "3.0"),
            ("echo what", "fail", "what"),
            (None, "fail", "missing"),
        ],
    )
    def test_git(self, tmp_path, monkeypatch, script, state, what):
        if script:
            (tmp_path / "git").write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / "git").chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        found = machine.git_version()
        assert found.state == state
        assert what in found.what

    @pytest.mark.parametrize(("limit", "state"), [(0, "ok"), (2000, "ok"), (3000, "warn"), (9000, "warn")])
    def test_memory(self, tmp_path, limit, state):
        (tmp_path / "meminfo").write_text(f"MemTotal: {4096 << 10} kB\nMemFree: 1 kB\nMemAvailable: {2048 << 10} kB\n")
        assert machine.memory(limit, tmp_path / "meminfo").state == state


class TestDocker:
    @pytest.fixture
    def engine(self, tmp_path):
        class Engine(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200 if self.path == "/_ping" else 404)
                self.send_header("Api-Version", "1.47")
                self.end_headers()

            def log_message(self, *_):
                """Log nothing."""

            def address_string(self):
                return "somebody"

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_UNIX

            def server_bind(self):
                self.socket.bind(self.server_address)

        with Server(str(tmp_path / "docker.sock"), Engine) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            yield f"unix://{tmp_path}/docker.sock"
            server.shutdown()
            thread.join()

    def test_an_engine_that_answers(self, engine, monkeypatch):
        monkeypatch.setenv("DOCKER_HOST", engine)
        found = docker.engine(needed=True)
        assert (found.state, found.what) == ("ok", f"the engine at {engine} answers, API 1.47")

    @pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "ssh://host", "nonsense"])
    def test_an_engine_that_does_not(self, host, monkeypatch):
        monkeypatch.setenv("DOCKER_HOST", host)
        needed, unneeded = (docker.engine(needed=each) for each in (True, False))
        assert (needed.state, unneeded.state) == ("fail", "ok")
        assert "DOCKER_HOST" in needed.next
        assert "not needed" in unneeded.what

    def test_a_rootless_engine_is_found(self, engine, tmp_path, monkeypatch):
        monkeypatch.delenv("DOCKER_HOST", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        assert docker.engine(needed=True).state == "ok"

    def test_an_engine_behind_tls_is_asked_with_our_certificate(self, tmp_path, monkeypatch):
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # the SDK would believe those instead
            monkeypatch.delenv(name, raising=False)
        with tls_engine(tmp_path) as port:
            monkeypatch.setenv("DOCKER_HOST", f"tcp://localhost:{port}")
            monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
            monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
            found = docker.engine(needed=True)
        assert (found.state, found.what) == ("ok", f"the engine at tcp://localhost:{port} answers, API 1.41")

    @pytest.mark.parametrize("section", ["runner", "serving"])
    def test_an_engine_is_needed_by_workers_and_by_the_api(self, ask, place, monkeypatch, section):
        monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
        write(place, **{section: {"kind": "docker"} if section == "runner" else {"deploy": "docker"}})
        _, found = ask()
        assert found["docker"][0] == "fail"


@contextmanager
def tls_engine(folder):
    """The port of an engine that lets in only who has the key in `folder`."""
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    new = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *subject]
    subprocess.run([*new, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], check=True, capture_output=True)
    (folder / "ca.pem").write_bytes((folder / "cert.pem").read_bytes())

    class Engine(BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps({"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "0.1"}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Log nothing."""

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with ThreadingHTTPServer(("localhost", 0), Engine) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.mark.docker
class TestDockerRunner:
    def test_images_files_and_disk_space_are_checked(self, ask, place, worker_image):
        image = {"image": worker_image}
        write(place, runner={"kind": "docker", **image}, serving={"port": free_port(), **image})
        code, found = ask()
        assert code == 0, found
        assert found["docker images"][1].endswith("are available")
        assert f"the engine sees {place}" in found["docker files"][1] or "copied" in found["docker files"][1]
        assert "GiB free" in found["docker disk"][1] or "elsewhere" in found["docker disk"][1]

    def test_images_that_are_missing_are_named_with_the_command_that_builds_them(self, ask, place, engine):
        write(place, runner={"kind": "docker", "image": "no-such:1"}, serving={"port": free_port(), "image": "nor:2"})
        code, found = ask()
        assert code == 2
        state, what, action = found["docker images"]
        assert (state, what) == ("fail", "the engine has no image nor:2 and no image no-such:1")
        assert "trainyard images build" in action
        assert found["docker files"][0] == "warn"


def test_a_check_that_hangs_is_reported_and_delays_no_other():
    go = threading.Event()
    found = doctor.run_all({"slow": lambda: go.wait(60) and None, "quick": lambda: Finding("ok", "")}, 0.1)
    go.set()
    assert list(found) == ["slow", "quick"]
    assert "no answer" in found["slow"].what
    assert found["quick"].state == "ok"


def test_an_error_is_a_finding_but_a_bug_is_not_hidden():
    def down():
        raise TryAgain("the server is down", hint="wait")

    assert doctor.run_all({"it": down}, 5)["it"] == Finding("fail", "the server is down", "wait", temporary=True)
    with pytest.raises(ZeroDivisionError):
        doctor.run_all({"it": lambda: 1 / 0}, 5)


@pytest.mark.slow
@pytest.mark.usefixtures("s3_place")  # the credentials
def test_a_bucket_that_is_away_is_one_line_and_ends_with_try_again(place, tmp_path, capsys):
    server = S3Server(tmp_path / "weed")
    server.kill()
    registry = {"url": "s3://models/x", "endpoint": server.endpoint, "region": "us-east-1"}
    write(place, registry=registry)
    words = ["doctor", "--config", str(place / "trainyard.toml")]
    assert main(words) == 75
    said = capsys.readouterr().out
    (line,) = [each for each in said.splitlines() if each.startswith("fail")]
    assert line.endswith(f'[registry] url: s3://models/x: Could not connect to the endpoint URL: "{server.endpoint}"')
    assert "the same: signatures, versions, access" in said
    assert "4 failed" in said
    assert main([*words, "--json"]) == 75
    checks = {each["check"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert all(checks[name]["temporary"] for name in ("registry", "signatures", "versions", "access"))
    assert "[registry] endpoint" in checks["access"]["next"]
    write(place, branch="release", registry=registry)
    assert main(words) == 2, "one of them is for a person to correct"


def test_nothing_heavy_is_loaded(place):
    code = f"""
import sys
from pipelines.__main__ import main
main(["doctor", "--config", {str(place / "trainyard.toml")!r}])
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
def test_a_terminal_of_another_alphabet_shows_what_it_can(place, encoding):
    command = [sys.executable, "-P", "-m", "pipelines", "doctor", "--config", str(place / "trainyard.toml")]
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(services.__file__).parents[2])}
    write(place, branch="release")  # what fails has a next action, behind an arrow
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 2
    assert b"? " in done.stdout
    assert b"Traceback" not in done.stderr


def test_the_version_that_waits_for_a_person_is_named(ask, place):
    assert ask()[1]["versions"][1] == "no version yet: the first push makes one"
    store = open_registry(load_config(place / "trainyard.toml", {}))
    source = place / "made"
    source.mkdir()
    (source / "model.tflite").write_bytes(b"a model")
    for number, run in enumerate(("r1", "r2"), 1):
        candidates.publish(
            store, candidate("digits", candidates.claim(store, "digits", run), run, digests(source)), source
        )
        assert ask()[1]["versions"][1].endswith(f"version {number} has had no acceptance test yet")
        digest = candidates.manifest_digest(store, "digits", number)
        candidates.append_acceptance(store, acceptance_draft("digits", number, digest, ("too slow",)))
        assert ask()[1]["versions"][1].endswith(f"version {number} failed its acceptance tests")
        candidates.append_acceptance(store, acceptance_draft("digits", number, digest))
        state, what, next_action = ask()[1]["versions"]
        assert (state, what) == (
            "ok",
            f"{'version 1' if number == 2 else 'nothing'} is live; version {number} waits for an approval",
        )
        assert f"the mail about run {run} has the command" in next_action
        promote_records(store, number, f"token {number}")
        assert ask()[1]["versions"][1] == f"version {number} is live, no version waits for an approval"


@pytest.mark.parametrize(
    ("verified", "state"),
    [("verified from key 01 on", "ok"), ("", "ok"), ("not verified: the registry is not signed", "warn")],
)
def test_an_api_that_verifies_nothing_is_a_warning(verified, state):
    found = services.api_that_runs(
        "http://here", {"release": 3, "workers": [{"verified": verified}, {"pid": 1}]}, {}, ""
    )
    assert found.state == state
    assert ("it verifies nothing" in found.what) == (state == "warn")
    assert found.what.startswith("the API runs at http://here, release 3")


def test_our_own_api_at_the_port_passes(ask, place):
    config = load_config(place / "trainyard.toml", {})
    url = control.start(serve_job(config), api_folder(config))
    try:
        _, found = ask()
    finally:
        control.stop(api_folder(config))
    assert found["serving"] == ("ok", f"the API runs at {url}, release none yet", "")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("ok", "everybody on this machine; no TLS")),
        ({"host": "0.0.0.0"}, ("ConfigError", "0.0.0.0 can be reached from other machines")),
        ({"admin_host": "0.0.0.0"}, ("ConfigError", "admin_host: 0.0.0.0 can be reached")),
        ({"host": "0.0.0.0", "open": True}, ("ok", "everybody who reaches it: open = true; no TLS")),
        ({"host": "0.0.0.0", "auth": "tokens"}, ("warn", "no token exists, so nobody may ask")),
        ({"certfile": "/nowhere/cert.pem", "keyfile": "/nowhere/key.pem"}, ("ConfigError", "certfile: /nowhere")),
    ],
)
def test_who_may_ask_the_api_is_shown_and_what_would_not_start_is_an_error(place, settings, expected):
    config = load_config(place / "trainyard.toml", {})
    config = replace(config, serving=replace(config.serving, **settings))
    try:
        found = services.access(config)
        state, what = found.state, found.what
    except ConfigError as error:
        state, what = "ConfigError", str(error)
    assert (state, expected[1] in what) == (expected[0], True), what
