"""A fenced process of this kernel: what it can do, and what it cannot. Real system calls."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from training.fence import ahead, confine
from training.fence.rules import around_python, in_words, lacks

NOBODY = 65534
NOT_PERMITTED = "Operation not permitted"
TRIED = """
import ctypes, json, os, socket, sys
def tried(what, *arguments):
    try:
        return repr(what(*arguments))
    except OSError as error:
        return error.strerror.split(' (while')[0]  # create_server says more
def read(path):
    with open(path, "rb") as file: return len(file.read())
def write(path):
    with open(path, "w") as file: return file.write("x")
def connect(port): return socket.create_connection(("127.0.0.1", port), timeout=2)
def listen(port): return socket.create_server(("127.0.0.1", port))
"""

pytestmark = pytest.mark.skipif(confine.abi() < confine.SCOPE_ABI, reason="needs Landlock of Linux 6.12")


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    return folder


@pytest.fixture
def in_memory():
    """A folder below /dev/shm, which a fenced process has a private one of."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("no /dev/shm")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="trainyard-test-") as folder:
        yield Path(folder)


@pytest.fixture
def tried(own):
    """Values of Python expressions in a fenced process that works in `own`."""

    def run(*expressions, abi=-1, **more):
        fence = dataclasses.replace(around_python(), write=(str(own),), **more)
        code = TRIED + "print(json.dumps([" + ",".join(expressions) + "]))"
        command = fence.command()
        command[-1:-1] = [f"abi={abi}"] if abi >= 0 else []
        done = subprocess.run(
            [*command, sys.executable, "-c", code], cwd=own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


REFUSED = {"Permission denied", "Operation not permitted", "Read-only file system"}
ABSENT = {"No such file or directory"}


class TestFiles:
    def test_its_own_folder_can_be_used_for_everything(self, tried, own):
        (own / "below").mkdir()
        found = tried(
            "tried(write, 'a')",
            "tried(os.rename, 'a', 'below/b')",
            "tried(os.link, 'below/b', 'c')",
            "tried(os.symlink, 'c', 'd')",
            "tried(os.truncate, 'c', 0)",
            "tried(os.chmod, 'c', 0o600)",
            "tried(os.mkfifo, 'e')",
            "tried(os.remove, 'below/b')",
        )
        assert found == ["1", "None", "None", "None", "None", "None", "None", "None"]

    def test_it_leaves_no_program_that_lends_this_users_rights_to_others(self, tried, own):
        (own / "shell").write_bytes(b"#!")
        found = tried(
            "tried(os.chmod, 'shell', 0o4755)",
            "tried(os.open, 'new', os.O_CREAT | os.O_WRONLY, 0o4755)",
            "tried(os.mknod, 'node', 0o104755)",
            "tried(os.chmod, 'shell', 0o755)",
        )
        assert found == ["Operation not permitted"] * 3 + ["None"]
        assert not [path for path in own.iterdir() if path.stat().st_mode & 0o4000]

    def test_others_cannot_be_read_listed_or_changed(self, tried, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("s3cret")
        path = repr(str(secret))
        found = tried(
            f"tried(read, {path})", f"tried(write, {path})", f"tried(os.truncate, {path}, 0)",
            f"tried(os.chmod, {path}, 0o666)", f"tried(os.utime, {path})", f"tried(os.remove, {path})",
            f"tried(os.rename, {path}, 'mine')", f"tried(os.listdir, {str(tmp_path)!r})", "tried(os.listdir, '/')",
            "tried(os.listdir, '/tmp')", "tried(read, '/etc/shadow')", f"tried(os.listdir, {os.path.expanduser('~')!r})",
        )  # fmt: skip
        assert {*found} - {"Invalid cross-device link"} <= REFUSED
        assert secret.read_text() == "s3cret"

    def test_what_may_be_read_can_be_neither_changed_nor_linked_into_its_folder(self, tried, tmp_path):
        given = tmp_path / "given"
        given.mkdir()
        (given / "a").write_text("text")
        path = repr(str(given / "a"))
        read, *found = tried(
            f"tried(read, {path})", f"tried(write, {path})", f"tried(os.link, {path}, 'mine')",
            f"tried(os.chmod, {path}, 0)", f"tried(os.remove, {path})", f"tried(write, {str(given / 'b')!r})",
            read=(*around_python().read, str(given)),
        )  # fmt: skip
        assert read == "4"
        assert {*found} - {"Invalid cross-device link"} <= REFUSED

    def test_a_link_out_of_its_folder_leads_nowhere(self, tried, own, tmp_path):
        (tmp_path / "secret").write_text("s3cret")
        (own / "link").symlink_to(tmp_path / "secret")
        assert {*tried("tried(read, 'link')", "tried(write, 'link')")} <= REFUSED

    def test_shared_memory_is_its_own(self, tried):
        with open("/dev/shm/trainyard-test-of-the-fence", "w") as file:
            file.write("of another process")
        try:
            found = tried("os.listdir('/dev/shm')", "repr(__import__('multiprocessing').Lock())")
            assert found == [[], "<Lock(owner=None)>"]
        finally:
            os.remove(file.name)

    def test_devices_are_the_harmless_ones(self, tried):
        assert tried("tried(read, '/dev/null')", "tried(os.listdir, '/dev')")[0] == "0"
        assert {*tried("tried(read, '/dev/kmsg')", "tried(os.listdir, '/dev')")} <= REFUSED


class TestBelowSharedMemory:
    @pytest.fixture
    def own(self, in_memory):
        folder = in_memory / "own"
        folder.mkdir()
        return folder

    def test_its_own_folder_is_there_and_what_it_leaves_remains(self, tried, own):
        found = tried("tried(write, 'a')", "tried(os.chmod, 'a', 0o600)", f"tried(write, {str(own / 'b')!r})")
        assert (found, (own / "a").read_text(), (own / "b").read_text()) == (["1", "None", "1"], "x", "x")

    def test_what_it_may_read_is_there_and_cannot_be_changed(self, tried, in_memory):
        (in_memory / "given").mkdir()
        for name in ("given/a", "file", "secret"):
            (in_memory / name).write_text("text")
        (in_memory / "link").symlink_to(in_memory / "given")
        more = [str(in_memory / name) for name in ("given", "file", "link", "missing")]
        paths = [repr(f"{in_memory}/{name}") for name in ("given/a", "file", "link/a", "secret", "missing")]
        found = tried(*(f"tried(read, {path})" for path in paths), read=(*around_python().read, *more))
        assert found == ["4", "4", "4", *ABSENT, *ABSENT]
        changes = ("tried(write, {})", "tried(os.chmod, {}, 0)", "tried(os.remove, {})", "tried(os.link, {}, 'mine')")
        found = tried(
            *(each.format(path) for each in changes for path in paths[:3]), read=(*around_python().read, *more)
        )
        assert {*found} - {"Invalid cross-device link", "Device or resource busy"} <= REFUSED

    def test_of_a_folder_whose_names_it_may_list_it_sees_what_it_was_given(self, tried, in_memory):
        for name in ("checkout/given/a", "checkout/secret/a"):
            (in_memory / name).parent.mkdir(parents=True)
            (in_memory / name).write_text("text")
        found = tried(
            f"os.listdir({str(in_memory / 'checkout')!r})", f"read({str(in_memory / 'checkout/given/a')!r})",
            read=(*around_python().read, str(in_memory / "checkout/given")), names=(str(in_memory / "checkout"),),
        )  # fmt: skip
        assert found == [["given"], 4]

    def test_the_rest_of_shared_memory_is_its_own_all_the_same(self, tried, in_memory):
        (in_memory / "of-another").write_text("of another process")
        found = tried(f"os.listdir({str(in_memory)!r})", "repr(__import__('multiprocessing').Lock())")
        assert found == [["own"], "<Lock(owner=None)>"]

    def test_who_may_read_all_of_it_has_the_real_one(self, tried, in_memory):
        (in_memory / "a").write_text("text")
        path = repr(str(in_memory / "a"))
        found = tried(f"tried(read, {path})", f"tried(write, {path})", read=(*around_python().read, "/dev/shm"))
        assert found[0] == "4"
        assert found[1] in REFUSED


class TestProcesses:
    def test_of_proc_it_sees_itself_and_the_machine(self, tried):
        parent = f"/proc/{os.getpid()}"
        found = tried(
            "'Name' in open('/proc/self/status').read()", "read('/proc/cpuinfo') > 0", "read('/proc/meminfo') > 0"
        )
        assert found == [True, True, True]
        secret = tried(*(f"tried(read, '{parent}/{name}')" for name in ("environ", "mem", "maps", "fd/0")))
        assert {*secret} <= REFUSED | ABSENT

    @pytest.mark.skipif(os.geteuid() != 0, reason="a user cannot mount a /proc of his own")
    def test_other_processes_are_not_in_proc(self, tried):
        found = tried(
            *(f"tried(read, '/proc/{os.getpid()}/{name}')" for name in ("cmdline", "status")),
            "[each for each in os.listdir('/proc') if each.isdigit()] == [str(os.getpid())]",
        )
        assert ({*found[:-1]}, found[-1]) == (ABSENT, True)

    def test_its_children_find_themselves_in_proc(self, tried):
        """TensorFlow reads this in every process that loads a model, and aborts when it cannot."""
        read = "__import__('subprocess').run(['cat', '/proc/self/cmdline'], capture_output=True).stdout"
        assert tried(f"repr({read})") == [repr(b"cat\0/proc/self/cmdline\0")]

    def test_it_sends_signals_to_its_children_only(self, tried):
        assert tried(f"tried(os.kill, {os.getpid()}, 0)", "tried(os.kill, 1, 0)") == ["Operation not permitted"] * 2
        child = "(lambda child: (child.kill(), child.wait())[1])(__import__('subprocess').Popen(['sleep', '60']))"
        assert tried(child) == [-9]

    def test_it_gains_nothing_by_programs_of_root(self, tried):
        status = (
            "[line.split() for line in open('/proc/self/status') if line.startswith(('NoNewPrivs', 'Seccomp:', 'Cap'))]"
        )
        found = dict(tried(status)[0])
        assert (found["NoNewPrivs:"], found["Seccomp:"]) == ("1", "2")
        allowed = 1 << confine.CAP_DAC_OVERRIDE if os.geteuid() == 0 else 0
        assert {int(found[name], 16) for name in ("CapEff:", "CapPrm:")} == {allowed}
        assert os.geteuid() or int(found["CapBnd:"], 16) == allowed

    def test_a_child_is_fenced_too(self, tried, tmp_path):
        (tmp_path / "secret").write_text("s3cret")
        run = f"__import__('subprocess').run(['cat', {str(tmp_path / 'secret')!r}], capture_output=True).returncode"
        assert tried(run) == [1]


class TestNetwork:
    @pytest.fixture
    def server(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield server.getsockname()[1]

    def test_without_ports_there_is_none(self, tried, server):
        assert {
            *tried(f"tried(connect, {server})", "tried(listen, 0)", "tried(socket.socket, socket.AF_UNIX)")
        } <= REFUSED

    def test_it_connects_to_the_ports_that_it_was_given_and_to_no_other(self, tried, server):
        met, other, listens = tried(
            f"tried(connect, {server})", "tried(connect, 22)", "tried(listen, 0)", connect=(server,)
        )
        assert "socket.socket" in met
        assert {other, listens} <= REFUSED

    def test_it_listens_on_the_ports_that_it_was_given_and_on_no_other(self, tried, server):
        with socket.create_server(("127.0.0.1", 0)) as closed:
            free = closed.getsockname()[1]
        mine, other, out = tried(
            f"tried(listen, {free})", "tried(listen, 0)", f"tried(connect, {server})", bind=(free,)
        )
        assert "socket.socket" in mine
        assert {other, out} <= REFUSED


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
class TestAUserWithoutPrivileges:
    def test_is_fenced_in_the_same_way(self, own, tmp_path):
        for folder in (*own.parents[:-2], own):
            folder.chmod(0o777)
        assert self.found_in(own) == ["Permission denied", "Read-only file system", "1", [], NOBODY, NOT_PERMITTED]

    def test_is_fenced_in_the_same_way_below_shared_memory(self, in_memory):
        own = in_memory / "own"
        own.mkdir()
        for folder in (in_memory, own):
            folder.chmod(0o777)
        secret, _private, *rest = self.found_in(own)
        assert (secret, *rest) == (*ABSENT, "1", [in_memory.name], NOBODY, NOT_PERMITTED)
        assert (own / "a").read_text() == "x"

    def found_in(self, own):
        (own.parent / "open").write_text("readable by all")
        fence = dataclasses.replace(around_python(), write=(str(own),))
        code = f"""
from training.fence import rules
fence = rules.{fence!r}
os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # a program that this user had started would be dumpable
fence.apply()
files = [tried(read, {str(own.parent / "open")!r}), tried(os.chmod, {str(own.parent)!r}, 0o700), tried(write, 'a')]
print(json.dumps([*files, os.listdir('/dev/shm'), os.getuid(), tried(os.kill, os.getppid(), 0)]))
"""
        done = subprocess.run(
            [sys.executable, "-c", TRIED + code], cwd=own, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.mark.parametrize("abi", [1, 2, 3, 4, 5])
def test_an_older_kernel_keeps_at_least_files(tried, tmp_path, abi):
    (tmp_path / "secret").write_text("s3cret")
    found = tried(f"tried(read, {str(tmp_path / 'secret')!r})", "tried(write, 'a')", abi=abi)
    assert found == ["Permission denied", "1"]


def test_what_a_kernel_lacks_is_said_in_words():
    assert in_words(abi=7, mounts=True, filter=True) == ()
    assert in_words(abi=0, mounts=True, filter=True) == ("files (Landlock)",)
    assert in_words(abi=4, mounts=False, filter=True) == ("signals", "modes of files")
    assert in_words(abi=2, mounts=True, filter=False) == ("emptying files", "TCP ports", "signals", "system calls")


def test_this_kernel_is_asked(monkeypatch):
    assert set(lacks()) <= {"modes of files", "system calls"}


class TestOneThatWaits:
    def test_becomes_the_command_when_a_byte_comes_which_gets_the_rest(self, own):
        command = dataclasses.replace(around_python(), write=(str(own),)).command(waits=True)
        script = "import sys; print(sys.stdin.read()); open('made', 'w').close()"
        with subprocess.Popen(
            [*command, sys.executable, "-c", script], cwd=own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as waiting:
            with pytest.raises(subprocess.TimeoutExpired):
                waiting.wait(0.2)
            assert not (own / "made").exists()
            assert waiting.communicate("\nrest") == ("rest\n", None)
        assert (waiting.returncode, (own / "made").exists()) == (0, True)

    def test_ends_without_the_command_when_none_comes(self, own):
        command = dataclasses.replace(around_python(), write=(str(own),)).command(waits=True)
        done = subprocess.run([*command, "touch", "made"], cwd=own, input=b"", capture_output=True, check=False)
        assert (done.returncode, done.stderr, os.listdir(own)) == (1, b"touch was not needed\n", [])


class TestOneThatWasStartedAhead:
    @pytest.fixture
    def command(self, own):
        return dataclasses.replace(around_python(), write=(str(own),)).command()

    def test_becomes_the_command_in_its_folder_with_its_environment(self, own, command):
        script = (
            "import os, sys; print(os.environ['A'], 'HOME' in os.environ, sys.argv[1:], os.getcwd(), sys.stdin.read())"
        )
        ahead.start(1)
        with ahead.take([*command, sys.executable, "-c", script, "", "b\n"], str(own), {"A": "x=1\ny"}) as process:
            out, err = process.communicate(b"in")
        assert (process.returncode, err) == (0, b"")
        assert out.decode() == f"x=1\ny False ['', 'b\\n'] {own} in\n"

    def test_is_fenced(self, own, command):
        (own.parent / "secret").write_text("s3cret")
        ahead.start(1)
        with ahead.take([*command, "cat", "../secret"], str(own), dict(os.environ)) as process:
            _, err = process.communicate()
        assert (process.returncode, b"Permission denied" in err) == (1, True)

    def test_is_taken_once_and_only_for_a_fence(self, own, command):
        ahead.start(1)
        assert ahead.take(["true"], str(own), {}) is None
        with ahead.take([*command, "true"], str(own), dict(os.environ)) as process:
            assert ahead.take([*command, "true"], str(own), {}) is None
        assert process.returncode == 0

    def test_that_somebody_has_ended_is_not_taken(self, own, command):
        ahead.start(1)
        (process,) = ahead._idle
        process.kill()
        process.wait()
        assert ahead.take([*command, "true"], str(own), {}) is None
        process.communicate()

    def test_ends_with_who_has_started_it(self):
        code = "from training.fence import ahead; ahead.start(1); print(ahead._idle[0].pid, flush=True)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert until(lambda: not Path(f"/proc/{done.stdout.strip()}").exists())


def test_one_that_is_to_end_with_us_does_so_when_we_are_killed(own):
    fence = dataclasses.replace(around_python(), write=(str(own),)).command(ends_with_us=True)
    code = f"""
import subprocess, time
process = subprocess.Popen({[*fence, sys.executable, "-c", "open('here', 'w').close(); import time; time.sleep(60)"]})
print(process.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], cwd=own, stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert until((own / "here").exists)
        parent.kill()
    assert until(lambda: not is_running(pid))


def is_running(pid: int) -> bool:
    """Not if it has ended, and nobody has asked how."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(true, seconds=10.0):
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def test_a_command_that_is_not_there_is_reported(own):
    done = subprocess.run([*around_python().command(), "no-such-program"], cwd=own, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"cannot start no-such-program: No such file or directory\n")
