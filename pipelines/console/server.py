"""The console as a program: gunicorn with one process and threads, so that what is counted is counted once."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication

from pipelines.config.console_sections import Console
from registry.errors import ConfigError

log = logging.getLogger(__name__)
PATIENCE = 30
"""Seconds that requests have to end when the console stops."""


def listen(settings: Console) -> socket.socket:
    """The socket on which the console answers; raises ConfigError when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((settings.host, settings.port))
        found.listen(256)
    except OSError as error:
        found.close()
        raise ConfigError(
            f"[console] host {settings.host}, port {settings.port}: {error.strerror}",
            hint="choose another with --set console.port=PORT, or end what listens there (`ss -ltnp` shows it)",
        ) from None
    return found


def address(settings: Console, listener: socket.socket) -> str:
    """Where people reach it."""
    if settings.url:
        return settings.url.rstrip("/")
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def serve(make: Callable[[], Flask], settings: Console, listener: socket.socket) -> None:
    """Answer until SIGTERM or Ctrl-C; the process ends here."""
    _Program(make, settings, listener).run()


class _Program(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(self, make: Callable[[], Flask], settings: Console, listener: socket.socket) -> None:
        self._make, self._settings, self._listener = make, settings, listener
        super().__init__()

    def load_config(self) -> None:
        """Gunicorn's settings; nothing of its environment variables or files counts."""
        values: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": self._settings.threads,
            "timeout": 120,
            "graceful_timeout": PATIENCE,
            "keepalive": 5,
            "limit_request_line": 4094,
            "limit_request_fields": 60,
            "limit_request_field_size": 8190,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": "warning",
            "proc_name": "trainyard-console",
            "forwarded_allow_ips": "",
            "worker_tmp_dir": "/dev/shm",  # noqa: S108  (a heartbeat's file, which must not wait for a disk)
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Flask:
        """Called in the process that answers."""
        return self._make()
