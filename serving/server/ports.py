"""The ports of the API, as sockets that the master makes. Light: the doctor looks, too."""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from importlib.util import find_spec

from registry.errors import ConfigError
from serving.job import ServeJob
from serving.server import admin_listener

BACKLOG = 2048
GIVEN = "TRAINYARD_SOCKETS"
"""The variable that names to the API the listening sockets that its parent holds: of clients, and of operators."""
GRPC_PACKAGES = {"grpc": "grpcio", "google.protobuf": "protobuf"}
"""Module → what is to be installed."""


def listen(job: ServeJob) -> socket.socket:
    """The listening socket; raises ConfigError naming host and port when it cannot be had."""
    family = socket.AF_INET6 if ":" in job.host else socket.AF_INET
    try:
        listener = socket.create_server((job.host, job.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise _no_port("port", job.host, job.port, error) from None
    return listener


def listen_for_operators(job: ServeJob) -> socket.socket:
    """The listening socket of the operator's port; raises ConfigError as `listen` does."""
    try:
        return admin_listener.listen(job.admin_host, job.admin_port)
    except OSError as error:
        raise _no_port("admin_port", job.admin_host, job.admin_port, error) from None


def listen_for_all(job: ServeJob) -> tuple[socket.socket, socket.socket]:
    """The listening sockets for clients and for operators; raises ConfigError as `listen` does."""
    operators = listen_for_operators(job)
    try:
        return listen(job), operators
    except ConfigError:
        operators.close()
        raise


def given(environ: Mapping[str, str]) -> tuple[socket.socket, socket.socket] | None:
    """The same, of a parent that holds them; None: it does not."""
    fds = environ.get(GIVEN, "").split()
    if not fds:
        return None
    listener, operators = (socket.socket(fileno=int(each)) for each in fds)
    return listener, operators


def keep_for_grpc(job: ServeJob) -> socket.socket:
    """A socket that keeps the port of gRPC, and listens to nobody: server processes may share it (SO_REUSEPORT), and no other
    program. Raises ConfigError as `listen` does."""
    family = socket.AF_INET6 if ":" in job.host else socket.AF_INET
    kept = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            kept.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        kept.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # an API that has just ended may have left connections
        kept.bind((job.host, job.grpc_port))
        # Only now: another API with the same port has failed to bind it, and does not share it unseen.
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    except OSError as error:
        kept.close()
        raise _no_port("grpc_port", job.host, job.grpc_port, error) from None
    return kept


def refuse_without_grpc() -> None:
    """Raise ConfigError where what gRPC needs is not installed; imports none of it."""
    if missing := [package for module, package in GRPC_PACKAGES.items() if not _is_installed(module)]:
        raise ConfigError(
            f"[serving] grpc_port: {' and '.join(missing)} not installed",
            hint='`pip install "trainyard[grpc]"` installs it; grpc_port = 0 does without',
        )


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False


def _no_port(setting: str, host: str, port: int, error: OSError) -> ConfigError:
    where = f"{host}:{port}"
    if error.errno == errno.EADDRINUSE:
        flag = " (or --port)" if setting == "port" else ""
        hint = f"stop what listens there, or set [serving] {setting}{flag} to a free one"
        return ConfigError(f"port {port} is in use ({where})", hint=hint)
    if error.errno == errno.EACCES:
        hint = f"set [serving] {setting} to one above 1023"
        return ConfigError(f"port {port} may not be used ({where})", hint=hint)
    host_setting = "admin_host" if setting == "admin_port" else "host"
    hint = f"set [serving] {host_setting} and {setting}"
    return ConfigError(f"cannot listen on {where}: {error.strerror or error}", hint=hint)
