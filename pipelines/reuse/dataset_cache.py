"""What a dataset commit gives (its files, its prepared splits) is made once and kept for the runs that follow.

    <cache>/<key>-<8 digits>/content/…     the files, read-only
    <cache>/<key>-<8 digits>/state.json    their fingerprint, and the boot in which they were made
    <cache>/<key>-<8 digits>/users/…       which runs point here

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
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pipelines.reuse.fingerprint import fingerprint
from pipelines.runs import RunFolder
from registry.files import try_lock

KEPT_UNUSED = 3
"""Entries that stay although no unfinished run points to them."""
KEPT_IN_USE = 10
"""Entries that stay as unfinished runs point to them; one whose run is in a process right now always stays."""


class DatasetCache:
    """Entries by key. Those used last stay, and more of those that unfinished runs point to. A run whose entry was
    evicted makes it again."""

    def __init__(self, folder: Path, is_over: Callable[[Path], bool]) -> None:
        """`is_over` says of a run's folder whether the run has ended and needs its data no more."""
        self.folder = folder
        self._is_over = is_over

    def shares_disk_with(self, run: Path) -> bool:
        """Whether `run` lies on the same disk, so that names in one can be names in the other."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return run.stat().st_dev == self.folder.stat().st_dev

    def get(self, key: str, run: Path) -> Path | None:
        """The content kept under `key`, now held for `run`; None when there is none, or none that is as it was made."""
        with self._locked():
            found = sorted(_folders(self.folder.glob(f"{key}-*")), key=_last_use, reverse=True)
            for entry in found:
                _hold(entry, run)
            self._set_abandoned_aside()  # who finds an entry adds none, and so would not evict
        self._remove_what_is_set_aside()
        given = next((each for each in found if _is_intact(each)), None)
        with self._locked():
            for entry in found:
                if entry != given:
                    _release(entry, run)
        return given / "content" if given else None

    def add(self, key: str, run: Path, fill: Callable[[Path], None]) -> Path:
        """Keep what `fill(folder)` puts into the folder, under `key`, held for `run`; gives the content.

        Raises what `fill` raises. Of two who add the same at once both keep theirs, until one is evicted.
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
            state = fingerprint(unfinished / "content", protect=True)
            (unfinished / "state.json").write_text(json.dumps(state), encoding="ascii")
            _hold(unfinished, run)
            unfinished.rename(entry)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
        finally:
            os.close(held)
        self.evict()
        return entry / "content"

    def evict(self) -> None:
        """Remove what was not used for long, and what killed processes left."""
        with self._locked():
            entries = sorted(_folders(self.folder.glob("[!.]*")), key=_last_use, reverse=True)
            in_use = [each for each in entries if self._in_use(each)]
            unused = [each for each in entries if each not in in_use]
            old = [each for each in in_use[KEPT_IN_USE:] if not any(RunFolder(run).at_work for run in _runs(each))]
            for entry in old + unused[KEPT_UNUSED:]:
                self._set_aside(entry)
            self._set_abandoned_aside()
        self._remove_what_is_set_aside()

    def _set_abandoned_aside(self) -> None:
        for unfinished in self.folder.glob(".unfinished-*"):
            if _is_abandoned(unfinished):
                with contextlib.suppress(FileNotFoundError):  # it was just given its name, or given up by who filled it
                    self._set_aside(unfinished)

    def _set_aside(self, entry: Path) -> None:
        entry.rename(self.folder / f".gone-{entry.name}")

    def _remove_what_is_set_aside(self) -> None:
        for left in self.folder.glob(".gone-*"):
            shutil.rmtree(left, ignore_errors=True)

    def _in_use(self, entry: Path) -> bool:
        return any((run / "run.json").exists() and not self._is_over(run) for run in _runs(entry))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Between finding an entry and holding it nobody evicts. The kernel releases the lock when its holder dies."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def link_is_intact(link: Path) -> bool:
    """Whether a link into an entry leads to what was put there, made since the machine was started; True for no link."""
    if not link.is_symlink():
        return True
    content = next((each for each in link.resolve().parents if each.name == "content"), None)
    return content is not None and _is_intact(content.parent)


def _is_intact(entry: Path) -> bool:
    try:
        made = json.loads((entry / "state.json").read_bytes())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return False
    return made is not None and made == fingerprint(entry / "content")


def _folders(paths: Iterable[Path]) -> list[Path]:
    """The entries; other files in the cache's folder are left alone."""
    return [each for each in paths if each.is_dir()]


def _last_use(entry: Path) -> int:
    """When a run last asked for it."""
    try:
        return (entry / "users").stat().st_mtime_ns
    except OSError:  # half deleted
        return 0


def _runs(entry: Path) -> list[Path]:
    """The runs that point to an entry; none for one that is half deleted."""
    return [Path(each.read_text(encoding="utf-8")) for each in entry.glob("users/*") if each.stat().st_size]


def _hold(entry: Path, run: Path) -> None:
    (entry / "users").mkdir(exist_ok=True)
    _user(entry, run).write_text(str(run.resolve()), encoding="utf-8")
    os.utime(entry / "users")


def _release(entry: Path, run: Path) -> None:
    _user(entry, run).unlink(missing_ok=True)


def _user(entry: Path, run: Path) -> Path:
    return entry / "users" / hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]


def _is_abandoned(unfinished: Path) -> bool:
    """Whether nobody fills it any more: the kernel has released the lock of whoever did."""
    try:
        held = os.open(unfinished, os.O_RDONLY)
    except FileNotFoundError:  # filled, or removed, just now
        return False
    try:
        return try_lock(held)
    finally:
        os.close(held)
