"""Tiny workers for the contract of the runners: `python -P -m probe_job CASE WORDS…`, in a job folder."""

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from registry.errors import Corrupt
from training.worker.protocol import report_event, work


@dataclass(frozen=True)
class Said:
    text: str


def say(text):
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def result(_folder):
    say("at work")
    return Said("fine")


def fail(_folder):
    raise Corrupt("data.csv, line 3: no number", hint="repair the file")


def bug(_folder):
    raise ZeroDivisionError("a bug in model.py")


def want(_folder):
    """What this worker was not given: in both runners the whole file system is read-only but the job folder."""
    Path("/", sys.argv[2].strip("/").partition("/")[0]).mkdir()


def leave(_folder):
    say("I have better things to do")
    os._exit(0)


def crash(_folder):
    say("before the crash")
    os.kill(os.getpid(), signal.SIGSEGV)


def killed_in_training(_folder):
    """Ends as Jenkins ends all processes of an aborted build, here in the middle of a line."""
    say("before the training")
    report_event("epoch", epoch=3, of=9, metric="accuracy", value=0.5)
    os.write(1, b'@trainyard {"event": "epo')
    os.kill(os.getpid(), signal.SIGTERM)


def abort(_folder):
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n")
    os.abort()


def error_after_result(_folder):
    Path("result.json").write_text('{"schema": 1, "text": "too early"}')
    say("cannot close the file")
    os._exit(7)


def noise(_folder):
    out = sys.stdout.buffer
    for i in range(200):
        out.write(b"\r%d/200" % i)
    out.write(b"\nk\xf6nnte\n\x1b[31mred\x1b[0m\n" + b"x" * 100_000 + b"\nno end")
    out.flush()
    return Said("said")


def environment(_folder):
    return Said(json.dumps(dict(os.environ)))


def inputs(_folder):
    seen = {path.name: path.read_text() for path in sorted(Path("inputs").glob("*.txt"))}
    return Said(json.dumps(seen))


def outputs(_folder):
    Path("outputs/model.bin").write_bytes(b"weights")
    (Path.home() / "home.txt").write_text("x")
    (Path(os.environ["TMPDIR"]) / "tmp.txt").write_text("x")
    (Path(os.environ["KERAS_HOME"])).mkdir(exist_ok=True)
    (Path(os.environ["KERAS_HOME"]) / "keras.json").write_text("{}")
    return Said(str(Path.cwd()))


def memory(_folder):
    block = bytearray(1 << 30)
    return Said(str(len(block)))


def memory_together(_folder):
    """Each process stays under the limit; together they do not. Shared memory is not a way around it either."""
    shared = mmap.mmap(-1, 96 << 20)
    shared.write(b"x" * (96 << 20))
    for _ in range(3):
        if not os.fork():
            block = b"x" * (96 << 20)
            time.sleep(60)
            os._exit(len(block) & 0)
    time.sleep(60)


def share_memory(_folder):
    """Many processes share the same pages: that counts once."""
    block = b"x" * (96 << 20)
    children = []
    for _ in range(4):
        if not (pid := os.fork()):
            time.sleep(1.5)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return Said(str(len(block)))


def write_large(_folder):
    if sys.argv[2:]:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # as in programs that are not Python's
    with open("outputs/large", "wb") as file:
        file.writelines(b"x" * (1 << 20) for _ in range(64))


def write_much(_folder):
    """Many files, in a folder that nobody shall look into, or of no size."""
    how = sys.argv[2]
    folder = Path("outputs/below")
    folder.mkdir(exist_ok=True)
    for i in range(4096 if how == "empty" else 16):
        (folder / str(i)).write_bytes(b"" if how == "empty" else b"x" * (1 << 20))
    if how == "hidden":
        folder.chmod(0)
    time.sleep(600)


def nest(_folder):
    """Folders in one another, deeper than a path can name."""
    job = os.getcwd()
    os.chdir("outputs")
    for _ in range(3000):
        os.mkdir("d")
        os.chdir("d")
    os.chdir(job)
    return Said("deep")


def link_inputs(_folder):
    Path("outputs/link").symlink_to(Path("inputs/large").resolve())
    time.sleep(2.5)
    return Said("linked")


def disk_full(_folder):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "outputs/model.keras")


def resume(_folder):
    state = Path("checkpoints/state")
    state.parent.mkdir(exist_ok=True)
    state.write_text(str(int(state.read_text()) + 1 if state.exists() else 1))
    time.sleep(600)


def look_around(_folder):
    """What a container lets its worker see and do."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    targets = json.loads(os.environ["TARGETS"])
    written = ["/etc/x", "/usr/x", "/x", "/job/inputs/x", "/job/inputs/data/x", "/job/inputs/data/a.txt"]
    return Said(
        json.dumps(
            {
                "status": {key: status[key] for key in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")},
                "interfaces": sorted(os.listdir("/sys/class/net")),
                "reached": [target for target in targets if reached(*target)],
                "resolved": resolved("example.org"),
                "written": [path for path in written if can_write(path)],
                "read_only": [
                    path for path in ("/", "inputs", "inputs/data") if os.statvfs(path).f_flag & os.ST_RDONLY
                ],
                "seen": [path for path in json.loads(os.environ["PATHS"]) if Path(path).exists()],
                "inputs": sorted(os.listdir("inputs")),
                "home": os.environ["HOME"],
                "expanded": os.path.expanduser("~"),
                "environment": dict(os.environ),
                "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
                "devices": sorted(os.listdir("/dev")),
                "tmp": can_write("/tmp/x") and not can_run("/tmp/x"),
            }
        )
    )


def reached(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
        return True
    except OSError:
        return False


def resolved(name):
    try:
        return socket.gethostbyname(name)
    except OSError:
        return ""


def can_write(path):
    try:
        Path(path).write_text("#!/bin/sh\n")
        return True
    except OSError:
        return False


def can_run(path):
    Path(path).chmod(0o755)
    try:
        return os.spawnv(os.P_WAIT, path, [path]) == 0
    except OSError:
        return False


def fork_bomb(_folder):
    """As many processes as there may be; each of them tries to have more."""
    count = 0
    try:
        while count < 5000:
            if not os.fork():
                time.sleep(600)
                os._exit(0)
            count += 1
    except OSError as error:
        return Said(f"{count} {errno.errorcode[error.errno]}")
    return Said(str(count))


def memory_in_files(_folder):
    """Memory that no limit of a process counts, faster than anybody looks: the kernel kills."""
    shared = mmap.mmap(-1, 1 << 30)
    for i in range(0, 1 << 30, 1 << 20):
        shared[i : i + (1 << 20)] = b"x" * (1 << 20)
    return Said("too much")


def traps(_folder):
    """What must not be taken over when files come back through a tar."""
    out = Path("outputs")
    (out / "model.bin").write_bytes(b"weights")
    (out / "link").symlink_to("/etc/passwd")
    (out / "folder").symlink_to("/etc")
    os.mkfifo(out / "pipe")
    os.link(out / "model.bin", out / "same.bin")
    (out / "run.sh").write_text("#!/bin/sh\n")
    (out / "run.sh").chmod(0o4755)
    Path("inputs.txt").write_text("not an input")
    Path("job.json").write_text("changed")
    return Said("set")


def look_at_data(_folder):
    data = Path("inputs/data")
    large = (data / "link").read_bytes()
    assert large == bytes(range(256)) * (len(large) // 256)
    [deep] = [path.read_text() for path in data.rglob("*") if path.is_file() and path.parent != data]
    return Said(json.dumps([len(large), os.readlink(data / "link"), deep]))


def touch_supervisor(_folder):
    """What can be done to the supervisor, which is the parent and has the same user."""
    done = []
    for name in ("mem", "fd/0", "fd/2"):
        with contextlib.suppress(OSError), open(f"/proc/{os.getppid()}/{name}", "wb", buffering=0):
            done.append(name)
    seize = 0x4206
    if ctypes.CDLL(None).ptrace(seize, os.getppid(), 0, 0) == 0:
        done.append("ptrace")
    return Said(" ".join(done))


def stop_supervisor(_folder):
    """Without its supervisor a worker has all the time there is."""
    os.kill(os.getppid(), signal.SIGSTOP)
    for _ in range(6000):
        say("still here")
        time.sleep(0.01)


def hold(name):
    """A lock that is held as long as this process lives."""
    file = open(f"outputs/{name}.lock", "w")  # noqa: SIM115  (never closed: that is the point)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def family():
    """This process, a child, and a daemon with a session of its own; each holds a lock, and ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ready, started = os.pipe()
    for name in ("child", "daemon"):
        if not os.fork():
            if name == "daemon":
                os.setsid()
                if os.fork():
                    os._exit(0)
                os.setpgid(0, 0)
            lock = hold(name)
            os.write(started, b".")
            time.sleep(600)
            os._exit(lock.fileno() & 0)
    seen = 0
    while seen < 2:
        seen += len(os.read(ready, 2))
    return hold("worker")


def tree(_folder):
    lock = family()
    say("the family is there")
    time.sleep(600)
    lock.close()


def leave_family(_folder):
    family()
    say("the family is there")
    return Said("done")


def polite(_folder):
    """Ends well when asked to."""

    def leave(*_):
        Path("outputs/farewell").write_text("bye")
        os._exit(0)

    signal.signal(signal.SIGTERM, leave)
    say("waiting")
    time.sleep(600)


def serve(_folder):
    """A server that greets; its child serves, as gunicorn's do."""
    server = socket.create_server((os.environ["TRAINYARD_HOST"], int(os.environ["TRAINYARD_PORT"])))
    lock = hold("server")
    if not os.fork():
        lock = hold("server-child")
        while True:
            connection, _ = server.accept()
            word = connection.recv(16)
            if word == b"die":
                os.kill(os.getppid(), signal.SIGKILL)
            connection.sendall(b"hello")
            connection.close()
    say("serving")
    time.sleep(600)
    lock.close()


def talk(_folder):
    """Say words to a server, one by one, as soon as it listens."""
    host, _, port = sys.argv[2].removeprefix("http://").partition(":")
    answers = []
    for word in sys.argv[3:]:
        if word == "wait":
            time.sleep(600)
        answers.append(answer(host, int(port), word))
    return Said(json.dumps(answers))


def answer(host, port, word):
    until = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection((host, port), timeout=5) as connection:
                connection.sendall(word.encode())
                return connection.recv(16).decode()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


def serve_not(_folder):
    sys.exit("model.tflite: not a model")


if __name__ == "__main__":
    sys.exit(work(globals()[sys.argv[1]]))
