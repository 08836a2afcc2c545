"""What a dataset commit gives (its files, its prepared splits) is made once and kept for the runs that follow.

    <shelf>/<key>-<8 digits>/content/…     the files, read-only
    <shelf>/<key>-<8 digits>/state.json    the boot in which they were made, and a digest of all names, sizes and times
    <shelf>/<key>-<8 digits>/users/…       which runs point here

An entry is filled under a hidden name and then renamed: it is whole or absent. Before it is given to a run it is
compared with its `state.json`; one that was changed, or made before the machine was last started (a power cut may have
taken bytes that were not on disk yet), is passed over and made again. That finds carelessness, not malice: a worker
that runs as a process of our own user may write wherever we may.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from registry.files import try_lock

FREE, HELD = 3, 10  # entries that stay: of those that no unfinished run points to, and of the others, unless at work
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Shelf:
    """Entries by key. Those used last stay, and more of those that unfinished runs point to. A run whose entry was
    swept makes it again."""

    def __init__(self, folder: Path, decided: Callable[[Path], bool]) -> None:
        """`decided` says of a run's folder whether the run has ended and needs its data no more."""
        self.folder = folder
        self._decided = decided

    def serves(self, run: Path) -> bool:
        """Whether `run` lies on the same disk, so that names in one can be names in the other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return run.stat().st_dev == self.folder.stat().st_dev

    def find(self, key: str, run: Path) -> Path | None:
        """The content kept under `key`, now held for `run`; None when there is none, or none that is as it was made."""
        with self._locked():
            found = sorted(_folders(self.folder.glob(f"{key}-*")), key=_used, reverse=True)
            for entry in found:
                _hold(entry, run)
            self._set_aside_abandoned()  # who finds an entry fills none, and so would not sweep
        self._remove_what_is_set_aside()
        given = next((each for each in found if _is_as_made(each)), None)
        with self._locked():
            for entry in found:
                if entry != given:
                    _let_go(entry, run)
        return given / "content" if given else None

    def put(self, key: str, run: Path, fill: Callable[[Path], None]) -> Path:
        """Keep what `fill(folder)` puts into the folder, under `key`, held for `run`; gives the content.

        Raises what `fill` raises. Of two who put the same at once both keep theirs, until one is swept.
        """
        entry = self.folder / f"{key}-{secrets.token_hex(4)}"
        unfinished = self.folder / f".unfinished-{entry.name}"
        with self._locked():
            unfinished.mkdir()
            held = os.open(unfinished, os.O_RDONLY)
            fcntl.flock(held, fcntl.LOCK_EX)  # as long as we live it is not abandoned
        try:
            (unfinished / "content").mkdir()
            fill(unfinished / "content")
            state = _state(unfinished / "content", protect=True)
            (unfinished / "state.json").write_text(json.dumps(state), encoding="ascii")
            _hold(unfinished, run)
            unfinished.rename(entry)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        finally:
            os.close(held)
        self.sweep()
        return entry / "content"

    def sweep(self) -> None:
        """Remove what was not used for long, and what killed processes left."""
        with self._locked():
            entries = sorted(_folders(self.folder.glob("[!.]*")), key=_used, reverse=True)
            held = [each for each in entries if self._in_use(each)]
            free = [each for each in entries if each not in held]
            old = [each for each in held[HELD:] if not any(map(_at_work, _runs(each)))]
            for entry in old + free[FREE:]:
                self._set_aside(entry)
            self._set_aside_abandoned()
        self._remove_what_is_set_aside()

    def _set_aside_abandoned(self) -> None:
        for unfinished in self.folder.glob(".unfinished-*"):
            if _abandoned(unfinished):
                with contextlib.suppress(FileNotFoundError):  # it was just given its name, or given up by who filled it
                    self._set_aside(unfinished)

    def _set_aside(self, entry: Path) -> None:
        entry.rename(self.folder / f".gone-{entry.name}")

    def _remove_what_is_set_aside(self) -> None:
        for left in self.folder.glob(".gone-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _in_use(self, entry: Path) -> bool:
        return any((run / "run.json").exists() and not self._decided(run) for run in _runs(entry))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Between finding an entry and holding it nobody sweeps. The kernel lets go when the holder dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _folders(paths: Iterable[Path]) -> list[Path]:
    """The entries; what else somebody has put there is left alone."""
    return [each for each in paths if each.is_dir()]


def _runs(entry: Path) -> list[Path]:
    """The runs that point to an entry; none for one that somebody has half deleted."""
    return [Path(each.read_text(encoding="utf-8")) for each in entry.glob("users/*") if each.stat().st_size]


def _at_work(run: Path) -> bool:
    """Whether a process has the run's lock, see `RunFolder.locked`."""
    try:
        lock = os.open(run / ".lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _abandoned(unfinished: Path) -> bool:
    """Whether nobody fills it any more: the kernel has taken back the lock of whoever did."""
    try:
        held = os.open(unfinished, os.O_RDONLY)
    except FileNotFoundError:  # filled, or removed, just now
        return False
    try:
        return try_lock(held)
    finally:
        os.close(held)


def point(link: Path, target: Path) -> None:
    """Make `link` a symbolic link to `target`, in place of what a killed try has left there."""
    if link.is_dir() and not link.is_symlink():
        shutil.rmtree(link)
    link.parent.mkdir(parents=True, exist_ok=True)
    new = link.with_name(f".new-{link.name}")
    new.unlink(missing_ok=True)
    new.symlink_to(target.resolve())
    new.rename(link)


def as_made(link: Path) -> bool:
    """Whether a link into an entry leads to what was put there, made since the machine was started; True for no link."""
    if not link.is_symlink():
        return True
    content = next((each for each in link.resolve().parents if each.name == "content"), None)
    return content is not None and _is_as_made(content.parent)


def _is_as_made(entry: Path) -> bool:
    kept = _kept_state(entry)
    return kept is not None and kept == _state(entry / "content")


def _hold(entry: Path, run: Path) -> None:
    (entry / "users").mkdir(exist_ok=True)
    _user(entry, run).write_text(str(run.resolve()), encoding="utf-8")
    os.utime(entry / "users")


def _let_go(entry: Path, run: Path) -> None:
    _user(entry, run).unlink(missing_ok=True)


def _user(entry: Path, run: Path) -> Path:
    return entry / "users" / hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]


def _used(entry: Path) -> int:
    """When a run last asked for it."""
    try:
        return (entry / "users").stat().st_mtime_ns
    except OSError:  # half deleted
        return 0


def _kept_state(entry: Path) -> object:
    try:
        return json.loads((entry / "state.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None


def _state(folder: Path, *, protect: bool = False) -> dict[str, str] | None:
    """What must not have changed: the boot, and all names, inodes, sizes and times of change below `folder`.

    With `protect` nobody writes to these files by mistake from now on; folders stay writable, so that `rm -r` is enough
    to remove them. None when the folder is gone, wholly or just now in part.
    """
    digest = hashlib.sha256()
    try:
        for name, status in _walk(folder):
            mode = status.st_mode
            if protect and mode & 0o222 and stat.S_ISREG(mode):  # of a link, what it leads to would change
                mode &= ~0o7222
                os.chmod(f"{folder}/{name}", stat.S_IMODE(mode))
            said = f"{name}\0{status.st_ino} {status.st_size} {status.st_mtime_ns} {mode}\n"
            digest.update(said.encode(errors="surrogateescape"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    boot = BOOT.read_text(encoding="ascii").strip() if BOOT.exists() else ""
    return {"boot": boot, "files": digest.hexdigest()}


def _walk(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every name below `folder`, folders with a slash at the end, in a fixed order."""
    todo = [""]
    while todo:
        inside = todo.pop()
        with os.scandir(f"{folder}/{inside}") as found:
            entries = sorted(found, key=lambda each: each.name)
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            name = inside + entry.name
            if stat.S_ISDIR(status.st_mode):
                name += "/"
                todo.append(name)
            yield name, status
