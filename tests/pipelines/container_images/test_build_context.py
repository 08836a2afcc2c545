"""Trainyard's own images are named by what is in them, and built from just that."""

import ast
import io
import re
import shutil
import tarfile
from pathlib import Path

import pytest

from pipelines.container_images import build_context, catalog
from registry.errors import ConfigError

ROOT = Path(__file__).resolve().parents[3]
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----\n"
MODULE = re.compile(r"(?:registry|training|serving)(?:\.\w+)+(?::\w+)?")
KEY = "-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n"


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of what goes into images."""
    root = tmp_path / "checkout"
    for name in ("docker", "registry", "training", "retraining", "unit_tests", "serving", "pipelines"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "*.crt"))
    shutil.copy(ROOT / "requirements.txt", root)
    return root


def tag(root, kind):
    return build_context.digest(build_context.own_files(kind, root))


def test_the_same_files_give_the_same_tag(checkout):
    assert tag(checkout, "train") == tag(checkout, "train") == tag(ROOT, "train")
    assert catalog.own_name("train") == f"trainyard-train:{tag(ROOT, 'train')}"


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("training/worker/protocol.py", {"train", "serve"}),
        ("serving/app.py", {"train", "serve"}),
        ("unit_tests/load_test.py", {"train"}),
        ("pipelines/workers/evaluate.py", {"train"}),
        ("pipelines/promotion/promote.py", set()),
        ("docker/Dockerfile", {"train", "serve"}),
        ("docker/train/Dockerfile", {"train"}),
        ("docker/serve/requirements.in", {"serve"}),
        ("docker/install", {"train", "serve"}),
        ("docker/README.md", set()),
        ("registry/new.py", {"train", "serve"}),
        ("registry/__pycache__/new.py", set()),
        ("registry/notes.txt", set()),
    ],
)
def test_the_tag_changes_with_what_goes_in_and_with_nothing_else(checkout, file, changed):
    before = {kind: tag(checkout, kind) for kind in catalog.KINDS}
    (checkout / file).parent.mkdir(exist_ok=True)
    with (checkout / file).open("a") as end:
        end.write("\n# changed\n")
    assert {kind for kind in catalog.KINDS if tag(checkout, kind) != before[kind]} == changed


def test_a_pin_changes_the_tag_and_a_comment_does_not(checkout):
    pins, before = checkout / "requirements.txt", tag(checkout, "serve")
    pins.write_text(pins.read_text() + "    # via nobody\n")
    assert tag(checkout, "serve") == before
    pins.write_text(re.sub(r"flask==\S+", "flask==9.9.9", pins.read_text()))
    assert tag(checkout, "serve") != before


def test_a_file_that_moves_changes_the_tag():
    assert build_context.digest({"a": b"1", "b": b"2"}) != build_context.digest({"a": b"2", "b": b"1"})
    assert build_context.digest({"a": b"12"}) != build_context.digest({"a": b"1", "2": b""})


def test_outside_a_checkout_there_are_no_own_images(tmp_path):
    with pytest.raises(ConfigError, match="not installed from a checkout") as caught:
        build_context.own_files("train", tmp_path)
    assert "[runner] image" in caught.value.hint
    with pytest.raises(ConfigError, match="not installed from a checkout") as caught:
        build_context.derived_files("numpy\n", tmp_path)
    assert "requirements.txt" in caught.value.hint


def test_the_context_is_exact_and_says_nothing_about_this_machine():
    files = build_context.own_files("serve")
    packed = build_context.context(files, CERTIFICATE.encode())
    assert packed == build_context.context(dict(reversed(files.items())), CERTIFICATE.encode())
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        entries = tar.getmembers()
        assert {each.name for each in entries} == {*files, "build/certs/ca.crt"}
        assert all((each.uid, each.gid, each.mtime, each.uname) == (0, 0, 0, "") for each in entries)
        assert {each.name for each in entries if each.mode & 0o111} == {"build/install"}
        assert not any(each.mode & 0o022 for each in entries)
    assert len(packed) < 2_200_000  # our own code, and nothing else: 2.06 MB


def named_in(file):
    """What a Python file imports, or names as a module in a text: `serving.engines.onnx:OnnxEngine`."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and MODULE.fullmatch(node.value):
            yield node.value.partition(":")[0]


def test_the_image_of_the_api_has_every_module_that_serving_can_import_and_nothing_that_trains():
    packed = {name.removeprefix("code/") for name in build_context.own_files("serve")}
    needed = [each.relative_to(ROOT) for each in (ROOT / "serving").rglob("*.py")]
    seen = set(needed)
    for path in needed:
        for name in named_in(ROOT / path):
            parts = name.split(".")
            for i in range(1, len(parts) + 1):
                stem = Path(*parts[:i])
                for found in (stem / "__init__.py", stem.with_suffix(".py")):
                    if found not in seen and (ROOT / found).is_file() and found.parts[0] in {"training", "registry"}:
                        seen.add(found)
                        needed.append(found)
    assert {each.as_posix() for each in seen} <= packed
    assert not [name for name in packed if name.startswith("training/loop/")]


def test_images_hold_no_code_that_only_the_controller_runs():
    for kind in catalog.KINDS:
        code = {name for name in build_context.own_files(kind) if name.startswith("code/pipelines/")}
        assert all(name.startswith(("code/pipelines/workers/", "code/pipelines/__init__.py")) for name in code)


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_the_dockerfile_of_an_image_begins_with_what_both_have_and_ends_with_its_own_program(kind):
    lines = build_context.own_files(kind)["Dockerfile"].decode().splitlines()
    stages = [line.split()[1:] for line in lines if line.startswith("FROM ")]
    assert stages == [["${BASE_IMAGE}", "AS", "packages"], ["${BASE_IMAGE}", "AS", "trainyard"], ["trainyard"]]
    program = {"train": "training", "serve": "serving"}[kind]
    assert lines[-1] == f'CMD ["python", "-P", "-m", "{program}"]'


def test_certificates_are_found_once_each_and_without_anything_else(tmp_path, monkeypatch):
    (tmp_path / "docker" / "certs").mkdir(parents=True)
    (tmp_path / "docker" / "certs" / "proxy.crt").write_text(f"Issuer: us\n{CERTIFICATE}")
    given = tmp_path / "given.pem"
    given.write_text(CERTIFICATE.replace("\n", "\r\n") + CERTIFICATE.replace("AAAA", "BBBB"))
    monkeypatch.setenv("PIP_CERT", str(given))
    found = build_context.certificates([given], tmp_path).decode()
    assert found == CERTIFICATE + CERTIFICATE.replace("AAAA", "BBBB")
    monkeypatch.delenv("PIP_CERT")
    assert build_context.certificates((), tmp_path).decode() == CERTIFICATE


@pytest.mark.parametrize(
    ("text", "said"), [(KEY + CERTIFICATE, "private key"), ("hello", "no certificate"), (None, "No such file")]
)
def test_a_file_that_is_not_just_certificates_is_refused(tmp_path, monkeypatch, text, said):
    monkeypatch.delenv("PIP_CERT", raising=False)
    if text:
        (tmp_path / "given.pem").write_text(text)
    with pytest.raises(ConfigError, match=said):
        build_context.certificates([tmp_path / "given.pem"], tmp_path)


def test_builds_get_index_and_proxies_and_no_other_setting():
    given = build_context.build_args(
        {
            "PIP_INDEX_URL": "https://index.example/simple",
            "PIP_CONFIG_FILE": "/etc/pip.conf",
            "HTTPS_PROXY": "http://proxy.example:3128",
            "AWS_SECRET_ACCESS_KEY": "hidden",
        }
    )
    assert given == {
        "PIP_INDEX_URL": "https://index.example/simple",
        "https_proxy": "http://proxy.example:3128",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }


@pytest.mark.parametrize("url", ["https://u:hidden@index.example/simple", "https://a.example https://hidden@b.example"])
@pytest.mark.parametrize("name", ["PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"])
def test_a_password_in_the_address_of_an_index_is_refused_and_not_shown(name, url):
    with pytest.raises(ConfigError, match=name) as caught:
        build_context.build_args({name: url})
    assert "hidden" not in f"{caught.value} {caught.value.hint}"
