"""A worker that means harm: `python -P -m hostile_job`, in a job folder with `targets.json`. Tries every attack, and says what
became of each: the reason why it failed, or what it got."""

import ctypes
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from training.worker.protocol import work

LIBC = ctypes.CDLL(None, use_errno=True)
ATTACKS = {}


@dataclass(frozen=True)
class Said:
    text: str


def attack(what):
    ATTACKS[what.__name__] = what
    return what


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return f"got {result}"


@attack
def read_the_approval_secret(target):
    return Path(target["home"], "approval.secret").read_text()


@attack
def read_the_holdout(target):
    return Path(target["home"], "runs/this/validate/outputs/data/holdout/y.npy").read_text()


@attack
def read_the_holdout_beside_an_input(_target):
    return Path("inputs/train/../holdout/y.npy").resolve().read_text()


@attack
def read_another_run(target):
    return Path(target["home"], "runs/other/result.json").read_text()


@attack
def list_the_home(target):
    return os.listdir(target["home"])


@attack
def list_the_home_of_the_user(target):
    return os.listdir(target["user"])


@attack
def read_the_key_of_the_user(target):
    return Path(target["user"], ".ssh/id_ed25519").read_text()


@attack
def write_to_the_registry(target):
    return Path(target["home"], "registry/production/forged.json").write_text("{}")


@attack
def alter_a_version(target):
    return os.truncate(Path(target["home"], "registry/test/model.keras"), 0)


@attack
def lock_everybody_out_of_the_registry(target):
    return os.chmod(Path(target["home"], "registry"), 0)


@attack
def show_the_secret_to_others(target):
    return os.chmod(Path(target["home"], "approval.secret"), 0o666)


@attack
def delete_the_registry(target):
    return os.rename(Path(target["home"], "registry"), Path(target["home"], "gone"))


@attack
def write_a_hook(target):
    return Path(target["home"], "git/code.git/hooks/post-receive").write_text("#!/bin/sh\n")


@attack
def write_into_the_virtual_environment(_target):
    return Path(sys.prefix, "lib", "sitecustomize.py").write_text("")


@attack
def write_into_trainyard(_target):
    import registry

    return Path(registry.__file__).with_name("planted.py").write_text("")


@attack
def write_to_an_input(_target):
    return Path("inputs/train/y.npy").write_text("mine")


@attack
def write_to_an_input_under_another_name(_target):
    os.link("inputs/train/y.npy", "outputs/y.npy")
    return Path("outputs/y.npy").write_text("mine")


@attack
def write_through_a_symbolic_link(target):
    Path("outputs/link").symlink_to(Path(target["home"], "approval.secret"))
    try:
        return Path("outputs/link").write_text("known")
    finally:
        Path("outputs/link").unlink()


@attack
def take_over_a_file_by_a_hard_link(target):
    return os.link(Path(target["home"], "approval.secret"), "outputs/secret")


@attack
def read_the_password_of_the_mail_in_the_environment_of_the_controller(target):
    return Path(f"/proc/{target['controller']}/environ").read_bytes().decode()


@attack
def read_the_command_line_of_the_controller(target):
    line = Path(f"/proc/{target['controller']}/cmdline").read_bytes().decode()
    return line if "sleep" in line else checked(-1)


@attack
def read_the_environment_of_the_parent(_target):
    found = Path(f"/proc/{os.getppid()}/environ").read_bytes()
    return found.decode()


@attack
def list_all_processes(target):
    return str(target["controller"]) if str(target["controller"]) in os.listdir("/proc") else checked(-1)


@attack
def kill_the_controller(target):
    return os.kill(target["controller"], signal.SIGKILL)


@attack
def kill_all_that_can_be_killed(target):
    return os.killpg(os.getpgid(target["controller"]), signal.SIGKILL)


@attack
def kill_the_parent(_target):
    if os.getppid() == 1:
        raise PermissionError(1, "process 1 takes no signal that it does not handle")
    return os.kill(os.getppid(), signal.SIGKILL)


@attack
def trace_the_controller(target):
    return checked(LIBC.ptrace(0x4206, target["controller"], 0, 0))  # PTRACE_SEIZE


@attack
def read_the_memory_of_the_controller(target):
    buffer = (ctypes.c_char * 8)()
    vector = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
    return checked(LIBC.process_vm_readv(target["controller"], vector, 1, vector, 1, 0))


@attack
def limit_the_controller(target):
    limit = (ctypes.c_uint64 * 2)(0, 0)
    return checked(LIBC.prlimit(target["controller"], 7, limit, None))


@attack
def talk_to_the_world(target):
    return met(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", target["port"]))


@attack
def send_a_datagram(target):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as away:
        return away.sendto(b"s3cret", (target["address"], target["udp"]))


@attack
def listen_on_a_port(target):
    with socket.create_server((target["address"], 0)) as server:
        return server.getsockname()


@attack
def talk_to_a_socket_of_the_controller(target):
    return met(socket.AF_UNIX, socket.SOCK_STREAM, target["socket"])


@attack
def talk_to_an_abstract_socket(target):
    return met(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + target["abstract"])


@attack
def send_to_a_socket_through_a_pair(target):
    one, _two = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    return one.sendto(b"x", target["datagrams"])


@attack
def read_the_shared_memory_of_others(target):
    return Path("/dev/shm", target["memory"]).read_text()


@attack
def attach_to_the_memory_of_others(target):
    return checked(LIBC.shmget(target["key"], 8, 0o600))


@attack
def become_root_by_a_program_of_root(_target):
    for program in ("/usr/bin/su", "/usr/bin/sudo", "/bin/su"):
        if os.path.exists(program):
            done = subprocess.run([program, "-c", "cat /etc/shadow"], capture_output=True, check=False, input=b"")
            if done.returncode == 0 and done.stdout:
                return done.stdout.decode()
    return checked(-1)


@attack
def have_all_capabilities(_target):
    status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    if int(status["CapEff"], 16) & ~2 or status["NoNewPrivs"] != "1":
        return status["CapEff"]
    return checked(-1)


@attack
def mount_something(_target):
    return checked(LIBC.mount(b"none", b"inputs", b"tmpfs", 0, None))


@attack
def make_a_namespace_to_be_root_in(_target):
    return checked(LIBC.unshare(0x1000_0000))


@attack
def leave_something_in_the_temporary_folder_of_all(target):
    return Path(target["temporary"], "planted").write_text("x")


@attack
def leave_something_for_the_next_worker(_target):
    names = ("XDG_CACHE_HOME", "KERAS_HOME", "MPLCONFIGDIR")
    for name in names:
        os.makedirs(os.environ[name], exist_ok=True)
        Path(os.environ[name], "planted").write_text("x")
    raise PermissionError(1, "only the next worker shows")


def met(family, kind, address):
    with socket.socket(family, kind) as there:
        there.settimeout(3)
        there.connect(address)
        return "met"


def leave_a_process():
    """One with a session of its own, which holds a lock as long as it lives."""
    ready, started = os.pipe()
    if not os.fork():
        os.setsid()
        if not os.fork():
            lock = open("outputs/daemon.lock", "w")  # noqa: SIM115  (never closed: that is the point)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.write(started, b".")
            time.sleep(600)
        os._exit(0)
    os.read(ready, 1)


def main(folder):
    target = json.loads((folder / "targets.json").read_text())
    if sys.argv[1:] == ["look"]:
        names = ("XDG_CACHE_HOME", "KERAS_HOME", "MPLCONFIGDIR")
        return Said(json.dumps([name for name in names if os.path.exists(os.environ[name] + "/planted")]))
    found = {}
    for name, what in ATTACKS.items():
        try:
            found[name] = f"SUCCEEDED: {what(target)!r}"[:300]
        except OSError as error:
            found[name] = f"failed: {error}"
        except Exception as error:  # noqa: BLE001  (the attack itself is wrong)
            found[name] = f"SUCCEEDED? {error!r}"
    leave_a_process()
    return Said(json.dumps(found))


if __name__ == "__main__":
    sys.exit(work(main))
