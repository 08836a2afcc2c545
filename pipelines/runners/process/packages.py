"""The packages of a team's requirements.txt, for workers that are processes.

They are installed once, beside Trainyard's own and in versions that fit those, under a name that is a hash of what is wanted,
of Python and of our own packages:

    <home>/cache/packages/<hash>/         what was installed; whole, or not there
    <home>/cache/packages/<hash>.lock     shared by those who use it, held by who installs or removes it

As wheels only, so none of their code runs here. Workers import from there, and may only read it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TextIO

from pipelines.container_images.pip_errors import pip_error
from pipelines.container_images.requirements import read_requirements
from pipelines.runners import OnLine
from registry.dataclass import dataclass
from registry.errors import ConfigError, TryAgain
from registry.files import sha256_bytes, try_lock
from training.environment import CHECKOUT
from training.fence.rules import PACKAGES

FOLDER = "packages"
"""In the home's cache."""
NEW = ".new-"
KEPT = 40  # lines of pip's that are looked at when it has failed
MB = 1 << 20


@dataclass(frozen=True, slots=True)
class Installed:
    """One environment that is there."""

    place: Path
    bytes: int
    used: float
    """When it was used last, in seconds of the epoch."""


class Packages:
    """Environments in `root`, which is a folder of this user's alone."""

    def __init__(self, root: Path, most_mb: int, seconds: float) -> None:
        """`most_mb`: of all together, and of each; `seconds`: for one installation."""
        self._root, self._most, self._seconds = root, most_mb * MB, seconds

    @contextlib.contextmanager
    def ready(self, requirements: Path, on_line: OnLine) -> Iterator[Path | None]:
        """The folder with these packages, which stays while the block runs; None when the file names none.

        Raises ConfigError with pip's last lines when they cannot be installed, TryAgain for an error of the network.
        """
        wanted = read_requirements(requirements)
        if not wanted:
            yield None
            return
        pins = own_pins()
        place = self.place(wanted, pins)
        self._root.mkdir(parents=True, exist_ok=True)
        with _held(place) as lock:
            assert lock  # it was waited for
            while not place.is_dir():
                fcntl.flock(lock, fcntl.LOCK_EX)  # one installs, the others wait
                if not place.is_dir():
                    on_line(f"installing the packages of {requirements.name}: {', '.join(wanted.splitlines())}")
                    self._install(place, lock, requirements.name, (wanted, pins), on_line)
                os.utime(lock.fileno())
                fcntl.flock(lock, fcntl.LOCK_SH)
            os.utime(lock.fileno())
            for each in self.over():
                remove(each)
            yield place

    def place(self, wanted: str, pins: str) -> Path:
        """Where the environment with these packages is, or will be."""
        about = (wanted, pins, sys.implementation.cache_tag or "", platform.machine(), platform.libc_ver()[0])
        return self._root / sha256_bytes("\0".join(about).encode())[:32]

    def over(self) -> list[Installed]:
        """The environments that were not used for longest, as far as all together are more than the bound."""
        found, total = list[Installed](), 0
        for each in sorted(_installed(self._root), key=lambda each: each.used, reverse=True):
            total += each.bytes
            found += [each] if total > self._most else []
        return found

    def _install(self, place: Path, lock: TextIO, name: str, texts: tuple[str, str], on_line: OnLine) -> None:
        """Have `place`; the caller holds its lock."""
        new = place.with_name(f"{NEW}{place.name}")
        shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
        try:
            site = _empty_environment(new)
            for file, text in zip(("requirements.txt", "constraints.txt"), texts, strict=True):
                (new / file).write_text(text, encoding="utf-8")
            self._run(_pip(new), lock, name, on_line)
            (site / OURS).unlink()
            must_fit(site, name)
            if (size := _size(site)) > self._most:
                raise ConfigError(
                    f"{name}: its packages take {size // MB} MB",
                    hint=f"[runner] packages_mb is {self._most // MB}: name fewer packages, or raise it",
                )
            # Without site, which would run the lines of .pth files that have just come.
            compiles = ["-I", "-S", "-m", "compileall", "-q", "-f", "--invalidation-mode", "unchecked-hash", str(site)]
            subprocess.run([sys.executable, *compiles], check=False, capture_output=True)
            site.rename(place)
        except OSError as error:
            raise TryAgain(f"{new}: {error.strerror}", hint="is its disk full, or mounted read-only?") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)

    def _run(self, command: Sequence[str], lock: TextIO, name: str, on_line: OnLine) -> None:
        """Run pip to the end. It reads its own settings: PIP_INDEX_URL, PIP_CONFIG_FILE and their kin.

        It has the lock, too: when we are killed, nobody begins before it has ended.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TRAINYARD_", "PYTHON"))}
        environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "LC_ALL": "C.UTF-8"}
        environment.pop("PIP_NO_BINARY", None)
        last: deque[str] = deque(maxlen=KEPT)
        late = threading.Event()
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment,
            cwd=self._root, text=True, errors="replace", start_new_session=True, pass_fds=(lock.fileno(),),
        ) as pip:  # fmt: skip

            def end() -> None:
                late.set()
                _kill(pip.pid)

            timer = threading.Timer(self._seconds, end)
            timer.start()
            try:
                assert pip.stdout
                for line in pip.stdout:
                    last.append(line.rstrip())
                    if not line.lstrip().startswith("Requirement already satisfied"):
                        on_line(line.rstrip())
                code = pip.wait()
            finally:
                timer.cancel()
                _kill(pip.pid)
        if late.is_set():
            raise ConfigError(
                f"{name}: pip was still running after {self._seconds:g} s",
                hint="is the package index reached? [runner] timeout_minutes is the limit",
            )
        output = "\n".join(last)
        if "no space left on device" in output.lower():
            raise TryAgain(f"{name}: no space left on device", hint=f"free some on the disk of {self._root}")
        if code:
            raise pip_error(
                name,
                output,
                certificate="a proxy with a certificate of its own? PIP_CERT names the file that has it",
                versions="versions must go together with Trainyard's own packages (`pip list` shows them), and each package "
                "needs a wheel; pip must be installed beside Trainyard",
            )


def remove(environment: Installed) -> None:
    """Delete an environment, unless a worker uses it, or another process installs it."""
    with _held(environment.place, wait=False) as lock:
        if lock is None:
            return
        gone = environment.place.with_name(f"{NEW}{environment.place.name}")
        with contextlib.suppress(FileNotFoundError):
            environment.place.rename(gone)  # whole or absent, whatever ends us
        shutil.rmtree(gone, ignore_errors=True)
        _lock_of(environment.place).unlink(missing_ok=True)


OURS = "trainyard-own.pth"
"""Shows pip what is installed already."""


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # pip starts itself again, as a child
        os.killpg(group, signal.SIGKILL)


def _pip(new: Path) -> list[str]:
    files = ["--requirement", str(new / "requirements.txt"), "--constraint", str(new / "constraints.txt")]
    options = [
        "--only-binary",
        ":all:",
        "--no-compile",
        "--no-cache-dir",
        "--no-input",
        "--progress-bar",
        "off",
        *files,
    ]
    python = str(new / "bin" / "python")
    return [sys.executable, "-P", "-m", "pip", "--python", python, "install", *options]


def _empty_environment(new: Path) -> Path:
    """A virtual environment to which Trainyard's own packages belong, so that they are neither replaced nor doubled; gives its
    folder of packages."""
    import venv  # who finds the packages does without

    venv.EnvBuilder(symlinks=True).create(new)
    (site,) = new.glob("lib/python*/site-packages")
    (site / OURS).write_text("".join(f"{each}\n" for each in _own_places()), encoding="utf-8")
    return site


def _own_places() -> list[str]:
    return [each for each in sys.path if os.path.isabs(each) and os.path.isdir(each) and each != CHECKOUT]


@functools.cache
def own_pins() -> str:
    """What is installed, as constraints."""
    found = {each.metadata["Name"]: each.version for each in metadata.distributions() if each.metadata["Name"]}
    return "".join(f"{name}=={found[name]}\n" for name in sorted(found))


def must_fit(site: Path, name: str) -> None:
    """Raise ConfigError when a file hides a module of Python's or of Trainyard's, or of what is installed with it: workers would
    run that in its place."""
    tops = {each.name.partition(".")[0] for each in site.iterdir() if not each.name.endswith(".dist-info")}
    hidden = sorted(tops & (sys.stdlib_module_names | {*PACKAGES, "sitecustomize", "usercustomize"}))
    files = (each.relative_to(site) for each in sorted(site.rglob("*")) if each.is_file())
    hidden += [str(each) for each in files if any(os.path.exists(os.path.join(own, each)) for own in _own_places())]
    if hidden:
        raise ConfigError(
            f"{name}: these packages bring {', '.join(hidden[:5])}, which hides what is there already",
            hint="name another package, or another version of it",
        )


def _installed(root: Path) -> Iterator[Installed]:
    for place in root.glob("[!.]*"):
        with contextlib.suppress(FileNotFoundError):
            if place.is_dir():
                yield Installed(place, _size(place), _lock_of(place).stat().st_mtime)


def _size(folder: Path) -> int:
    return sum(each.lstat().st_blocks * 512 for each in folder.rglob("*"))


def _lock_of(place: Path) -> Path:
    return place.with_name(f"{place.name}.lock")


@contextlib.contextmanager
def _held(place: Path, *, wait: bool = True) -> Iterator[TextIO | None]:
    """Its lock, shared; or, without waiting, exclusive, and None when others have it. One that was removed meanwhile is made anew."""
    path = _lock_of(place)
    while True:
        with path.open("a", encoding="utf-8") as lock:
            if wait:
                fcntl.flock(lock, fcntl.LOCK_SH)
            elif not try_lock(lock):
                yield None
                return
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                    yield lock
                    return
