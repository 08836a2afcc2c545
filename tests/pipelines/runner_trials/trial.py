"""Tiny workers for the contract of the runners: `python -P -m trial CASE`, in a job folder."""

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
from training.worker import work


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


def leave(_folder):
    say("I have better things to do")
    os._exit(0)


def crash(_folder):
    say("before the crash")
    os.kill(os.getpid(), signal.SIGSEGV)


def abort(_folder):
    os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n")
    os.abort()


def error_after_result(_folder):
    Path("result.json").write_text('{"schema": 1, "text": "too early"}')
    say("cannot close the file")
    os._exit(7)


def stream(_folder):
    """Waits for the controller to answer its first line."""
    say("first")
    while not Path("answer").exists():
        time.sleep(0.01)
    say("second")
    return Said("streamed")


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
    """Each process stays under the limit; together they do not. Shared memory is no way around it either."""
    shared = mmap.mmap(-1, 96 << 20)
    shared.write(b"x" * (96 << 20))
    for _ in range(3):
        if not os.fork():
            block = b"x" * (96 << 20)
            time.sleep(60)
            os._exit(len(block) & 0)
    time.sleep(60)


def share_memory(_folder):
    """Many processes look at the same pages: that counts once."""
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


def hold(name):
    """A lock that is held as long as this process lives."""
    file = open(f"outputs/{name}.lock", "w")  # noqa: SIM115  (never closed: that is the point)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def family():
    """This process, a child, and a daemon with a session of its own; each holds a lock, and minds no SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ready, told = os.pipe()
    for name in ("child", "daemon"):
        if not os.fork():
            if name == "daemon":
                os.setsid()
                if os.fork():
                    os._exit(0)
                os.setpgid(0, 0)
            lock = hold(name)
            os.write(told, b".")
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


def serve_not(_folder):
    sys.exit("model.tflite: not a model")


if __name__ == "__main__":
    sys.exit(work(globals()[sys.argv[1]]))
