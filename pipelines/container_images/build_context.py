"""What goes into one of Trainyard's images: files, their hash, and the context that the engine builds from. No engine here."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.container_images import ImageKind
from registry.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
CODE = {
    "train": (
        "registry",
        "training",
        "retraining",
        "unit_tests",
        "serving",
        "pipelines/__init__.py",
        "pipelines/workers",
    ),
    "serve": (
        "registry",
        "training/__init__.py",
        "training/anomaly.py",
        "training/environment.py",
        "training/heavy.py",
        "training/multi_label.py",
        "training/data",
        "training/fence",
        "training/worker",
        "training/model/__init__.py",
        "training/model/flatbuffer.py",
        "training/model/onnx_file.py",
        "training/model/onnx_operators.py",
        "training/model/onnx_runtime.py",
        "training/model/operators.py",
        "training/model/protobuf.py",
        "training/model/saved_model_file.py",
        "training/model/tflite_file.py",
        "training/model/tflite_schema.py",
        "serving",
    ),
}
"""Trainyard's own code in an image: all that workers run, all that the API runs. What only the controller runs is in none."""
INDEX = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST")
PROXIES = ("http_proxy", "https_proxy", "no_proxy")
CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----\s+[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")


def own_files(kind: ImageKind, root: Path = ROOT) -> dict[str, bytes]:
    """The files of `trainyard-<kind>` by their names in the build context. Raises ConfigError outside a checkout."""
    folder = root / "docker"
    try:
        files = {
            "Dockerfile": (folder / "Dockerfile").read_bytes() + (folder / kind / "Dockerfile").read_bytes(),
            "build/install": (folder / "install").read_bytes(),
            "build/requirements.in": (folder / kind / "requirements.in").read_bytes(),
            "build/requirements.txt": _pins(root / "requirements.txt"),
        }
    except FileNotFoundError as error:
        raise ConfigError(
            f"{error.filename} is missing: Trainyard is not installed from a checkout, and does not know its own images",
            hint="name images in [runner] image and [serving] image, or install with `make setup` in a checkout",
        ) from None
    for name in CODE[kind]:
        for path in _python_files(root / name):
            files[f"code/{path.relative_to(root).as_posix()}"] = path.read_bytes()
    return files


def derived_files(requirements: str, root: Path = ROOT) -> dict[str, bytes]:
    """The files of an image with a team's packages on top of another. Raises ConfigError outside a checkout."""
    folder = root / "docker" / "derived"
    try:
        return {
            "Dockerfile": (folder / "Dockerfile").read_bytes(),
            "build/install": (folder / "install").read_bytes(),
            "build/requirements.txt": requirements.encode(),
        }
    except FileNotFoundError as error:
        raise ConfigError(
            f"{error.filename} is missing: Trainyard is not installed from a checkout, and adds no packages to images",
            hint="install with `make setup` in a checkout; or put the packages into the image of [runner] image, and "
            "remove requirements.txt",
        ) from None


def digest(files: Mapping[str, bytes]) -> str:
    """A hash of names and contents, 16 hexadecimal digits: the tag of an image."""
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(f"{name}\0{len(files[name])}\0".encode())
        whole.update(files[name])
    return whole.hexdigest()[:16]


def context(files: Mapping[str, bytes], trusted: bytes = b"") -> bytes:
    """A tar of these files and of the certificates that the build trusts; the same files make the same bytes.

    All belong to root and nobody else may write them; times are zero, scripts can be run.
    """
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, data in sorted(({**files, "build/certs/ca.crt": trusted} if trusted else files).items()):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o755 if data.startswith(b"#!") else 0o644
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def certificates(files: Sequence[Path] = (), root: Path = ROOT) -> bytes:
    """The certificates, as one PEM text, of these files, of docker/certs/*.crt and of the file named by PIP_CERT.

    Nothing else of a file is taken. Raises ConfigError for a file without a certificate, or with a private key in it.
    """
    named = [*sorted((root / "docker" / "certs").glob("*.crt")), *files]
    if own := os.environ.get("PIP_CERT"):
        named.append(Path(own))
    found: set[bytes] = set()
    for file in named:
        try:
            text = file.read_bytes()
        except OSError as error:
            raise ConfigError(f"{file}: {error.strerror}", hint="give a file with certificates in PEM") from None
        if b"PRIVATE KEY-----" in text:
            raise ConfigError(f"{file} holds a private key", hint="give the certificate only; keep the key to yourself")
        blocks = CERTIFICATE.findall(text)
        if not blocks:
            raise ConfigError(
                f"{file} holds no certificate in PEM", hint="convert it: openssl x509 -inform der -in FILE"
            )
        found |= {block.replace(b"\r", b"") for block in blocks}
    return b"".join(block + b"\n" for block in sorted(found))


def build_args(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Package index and proxies of this environment, for a build. Raises ConfigError for a password in an index's URL."""
    given = {name: environment[name] for name in INDEX if environment.get(name)}
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        if any(urlsplit(url).password or urlsplit(url).username for url in given.get(name, "").split()):
            raise ConfigError(
                f"{name} has a user name or password in it; the engine would keep that in its build cache",
                hint="use an index that needs none in this network, e.g. a mirror that logs in by itself",
            )
    for name in PROXIES:
        if value := environment.get(name) or environment.get(name.upper()):
            given |= {name: value, name.upper(): value}
    return given


def _python_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _python_files(Path(entry.path))
            elif entry.name.endswith(".py") and entry.is_file():
                yield Path(entry.path)


def _pins(path: Path) -> bytes:
    """Without comments, which say only who wanted what."""
    return b"".join(line for line in path.read_bytes().splitlines(keepends=True) if not line.lstrip().startswith(b"#"))
