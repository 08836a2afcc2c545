"""What the tests of a damaged, full or raced registry share: the registries and teams of the other tests."""

import os
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
KIB = 1024


def copy(original, target):
    """A registry as it is, links and all."""
    subprocess.run(["rm", "-rf", str(target)], check=True)
    if Path(original).exists():
        subprocess.run(["cp", "-a", str(original), str(target)], check=True)


@contextmanager
def small_disk(folder, **options):
    """A small file system in memory, mounted on `folder`; gives `remount(**options)`. Skips where we may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    done = _mount(folder, options)
    if done.returncode:
        pytest.skip(f"mounting a small disk is not allowed here: {done.stderr.strip()}")
    try:
        yield lambda **more: _remounted(folder, more)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def full(folder, kib=0):
    """Fill the disk of `folder` up, but for some KiB."""
    filler = folder / "filler"
    try:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 16)) == 1 << 16:
                pass
        state = os.statvfs(folder)
        while state.f_bavail:  # the last pages
            with filler.open("ab", buffering=0) as file, suppress(OSError):
                file.write(bytes(state.f_bavail * state.f_frsize))
            state = os.statvfs(folder)
        os.truncate(filler, filler.stat().st_size - kib * KIB)
        yield
    finally:
        filler.unlink()


def _mount(folder, options, *first):
    words = ",".join([*first, *(f"{key}={value}" if value != "" else key for key, value in options.items())])
    return subprocess.run(
        ["mount", "-t", "tmpfs", "-o", words, "tmpfs", str(folder)], capture_output=True, text=True, check=False
    )


def _remounted(folder, options):
    """The kernel refuses while mounts that a worker has left are still being removed, which takes a moment."""
    end = time.monotonic() + 10
    while (done := _mount(folder, options, "remount")).returncode and time.monotonic() < end:
        time.sleep(0.1)
    assert done.returncode == 0, done.stderr
