"""An OpenSSH server on loopback, with a key, a config and a list of commands of its own; no PAM, no other login."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


@contextmanager
def ssh_server(folder: Path):
    """Gives the address, `ssh://USER@HOST:PORT`, and the ssh command that logs in there. Programs in `folder/bin` are
    found by the commands that it is asked to run."""
    folder.mkdir()
    (folder / "bin").mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    _program(folder / "login", f'PATH={folder}/bin:$PATH exec sh -c "$SSH_ORIGINAL_COMMAND"')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    config = {
        "ListenAddress": "127.0.0.1", "Port": port, "HostKey": folder / "host", "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none", "UsePAM": "no", "PasswordAuthentication": "no", "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "prohibit-password", "StrictModes": "no", "ForceCommand": folder / "login",
    }  # fmt: skip
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # which it demands of root
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stdin=subprocess.DEVNULL, stderr=log)
    try:
        _await(port, server, folder / "log")
        options = (
            f"-F none -i {folder}/user -o UserKnownHostsFile={folder}/known -o IdentitiesOnly=yes -o BatchMode=yes"
        )
        yield f"ssh://{getpass.getuser()}@127.0.0.1:{port}", f"ssh {options}"
    finally:
        server.terminate()
        server.wait(10)


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _await(port: int, server: subprocess.Popen, log: Path) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.05)
        else:
            return
    raise AssertionError(log.read_text())
