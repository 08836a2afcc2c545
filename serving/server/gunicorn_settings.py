"""The settings with which gunicorn runs the API, and those of GUNICORN_CMD_ARGS with which it does not."""

from __future__ import annotations

import tempfile
from typing import Any

from registry.errors import ConfigError
from serving.access.tls import TlsContext
from serving.job import ServeJob
from serving.server.gunicorn_adapter import LOGGER_CLASS, WORKER_CLASS, Effective
from serving.server.ports import BACKLOG

KEEPALIVE = 15  # seconds a connection may idle between two requests
SHARED_MEMORY = "/dev/shm"  # noqa: S108  (heartbeat files; a disk that hangs must not kill workers)


def refuse_unsupported(effective: Effective, bind: str) -> None:
    """Raise ConfigError for settings of GUNICORN_CMD_ARGS that would break the API."""
    if effective.preload:
        raise ConfigError(
            "GUNICORN_CMD_ARGS: --preload would load the model before the server processes are forked",
            hint="remove --preload: neither TensorFlow nor LiteRT works in a process that was forked after its import",
        )
    if effective.worker_class != WORKER_CLASS:
        raise ConfigError(
            f"GUNICORN_CMD_ARGS: worker class {effective.worker_class!r} is not supported",
            hint="remove --worker-class: the API needs its own",
        )
    if effective.tls:
        raise ConfigError(
            "GUNICORN_CMD_ARGS: --certfile and --keyfile are not supported",
            hint="remove them: [serving] certfile and keyfile are checked, and read again when they change",
        )
    if effective.bind != (bind,):
        raise ConfigError(
            f"GUNICORN_CMD_ARGS: --bind {' '.join(effective.bind)} is not supported",
            hint="remove --bind: [serving] host and port say where the API listens",
        )


def settings(job: ServeJob, bind: str) -> dict[str, Any]:
    """Settings for gunicorn. The model is loaded after the fork, so there is no preload."""
    return {
        "bind": bind,
        "worker_class": WORKER_CLASS,
        "workers": job.workers,
        "threads": job.threads,
        "timeout": max(30, job.timeout_seconds),
        "graceful_timeout": job.timeout_seconds,
        "keepalive": KEEPALIVE,
        "backlog": BACKLOG,
        "forwarded_allow_ips": "",  # serving.proxies reads what trusted proxies say
        "forwarder_headers": "",  # no header becomes SCRIPT_NAME or PATH_INFO
        "secure_scheme_headers": {},
        "http_parser": "python",  # gunicorn_h1c, where it is installed, is another parser: what is refused must not depend on it
        "limit_request_line": 4094,
        "limit_request_fields": 64,
        "limit_request_field_size": 8190,
        "worker_tmp_dir": SHARED_MEMORY if _can_write(SHARED_MEMORY) else None,
        "control_socket_disable": True,
        "logger_class": LOGGER_CLASS,
        "accesslog": "-",
        "errorlog": "-",
        "proc_name": f"trainyard-{job.model}",
    }


def tls_settings(tls: TlsContext, job: ServeJob) -> dict[str, Any]:
    """The context is asked for at each connection; serving.server.receiver makes the handshake."""
    return {
        "certfile": job.certfile,
        "keyfile": job.keyfile,
        "ssl_context": lambda _conf, _default: tls.current(),
    }


def _can_write(folder: str) -> bool:
    """Whether files can be made there; access() knows nothing of a fence."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
