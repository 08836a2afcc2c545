"""The log is rotated by whichever process finds it full, and no process loses a line by that."""

import os
import subprocess
import sys
import time

import pytest
from serving_parts import Client, ask

from registry import codec
from serving.job import ServeJob
from serving.server import control

WRITER = """
import os, sys, time
from pathlib import Path
from serving.server.log_file import LogFile

log = LogFile(Path("api.log"), int(sys.argv[2]), int(sys.argv[3]))
Path(f"ready-{sys.argv[1]}").touch()
while not Path("go").exists():
    time.sleep(0.001)
for i in range(int(sys.argv[4])):
    os.write(1 + i % 2, f"{sys.argv[1]} {i} {'x' * 80}\\n".encode())
    if i % 5 == 0:
        log.look()
        time.sleep(0.001)
"""


def run_writers(folder, count, size, files, lines):
    writers = []
    for name in range(count):
        with (folder / "api.log").open("ab") as log:
            arguments = [str(each) for each in (name, size, files, lines)]
            writers.append(
                subprocess.Popen([sys.executable, "-c", WRITER, *arguments], cwd=folder, stdout=log, stderr=log)
            )
    while len(list(folder.glob("ready-*"))) < count:
        time.sleep(0.01)
    (folder / "go").touch()
    assert [each.wait() for each in writers] == [0] * count
    for each in (*folder.glob("ready-*"), folder / "go"):
        each.unlink()


def test_no_line_is_lost_and_none_is_cut_when_four_processes_rotate(tmp_path):
    run_writers(tmp_path, 4, size=20_000, files=60, lines=1000)
    files = [each for each in tmp_path.iterdir() if each.suffix != ".lock"]
    assert len(files) > 10
    found = [tuple(line.split()[:2]) for each in files for line in each.read_text(encoding="utf-8").splitlines()]
    assert sorted(found) == sorted((str(name), str(i)) for name in range(4) for i in range(1000))


@pytest.mark.parametrize("files", [1, 3])
def test_only_so_many_files_are_kept_the_newest_lines_first(tmp_path, files):
    run_writers(tmp_path, 1, size=5_000, files=files, lines=1000)
    names = ["api.log", *(f"api.log.{number}" for number in range(1, files))]
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([*names, "api.log.lock"])
    numbers = [
        int(line.split()[1])
        for name in reversed(names)
        for line in (tmp_path / name).read_text(encoding="utf-8").splitlines()
    ]
    assert numbers == list(range(numbers[0], 1000))
    assert max((tmp_path / name).stat().st_size for name in names) < 6_000


def test_a_file_that_somebody_else_has_moved_is_begun_anew(tmp_path):
    (tmp_path / "go").touch()
    moved = WRITER.replace("for i in", "os.rename('api.log', 'moved')\nlog.look()\nfor i in", 1)
    with (tmp_path / "api.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-c", moved, "0", "9999", "2", "3"], cwd=tmp_path, stdout=log, stderr=log, check=True
        )
    assert len((tmp_path / "api.log").read_text(encoding="utf-8").splitlines()) == 3
    assert (tmp_path / "moved").read_bytes() == b""


def test_output_that_goes_elsewhere_is_left_alone(tmp_path):
    (tmp_path / "go").touch()
    (tmp_path / "api.log").write_bytes(b"x" * 10_000)
    done = subprocess.run(
        [sys.executable, "-c", WRITER, "0", "100", "2", "20"], cwd=tmp_path, capture_output=True, check=True
    )
    assert done.stdout.count(b"\n") == 10
    assert (tmp_path / "api.log").stat().st_size == 10_000
    assert not (tmp_path / "api.log.1").exists()


def test_the_api_keeps_its_log_within_the_settings(registry, start, until):
    registry.release(registry.put("digits"))
    url, folder = start(registry, workers=2, log_mb=1, log_files=2)
    with (folder / "api.log").open("ab") as log:
        log.write(b"\n" * (1 << 20))
    until((folder / "api.log.1").exists)
    until(lambda: ask(url, "GET", "/health/live")[0] == 200 and b"/health/live" in (folder / "api.log").read_bytes())
    assert (folder / "api.log.1").stat().st_size >= 1 << 20
    inode = (folder / "api.log").stat().st_ino
    workers = [each["pid"] for each in control.status(folder)["workers"]]
    until(lambda: all(os.stat(f"/proc/{pid}/fd/{fd}").st_ino == inode for pid in workers for fd in (1, 2)))


def test_a_log_that_cannot_be_written_is_counted_and_costs_no_request(registry, tmp_path, until):
    registry.release(registry.put("digits"))
    folder = tmp_path / "api"
    folder.mkdir()
    codec.save(ServeJob("m", registry=registry.url, port=0, workers=1), folder / "job.json")
    with (
        open("/dev/full", "wb") as full,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "serving"],
            cwd=folder,
            stdout=full,
            stderr=full,
            env=control.clean_environment(),
        ) as process,
    ):
        try:
            url = until(lambda: control.running(folder))
            control.await_release(folder, 1, 20)
            with Client(url) as client:
                assert {client.ask("GET", "/health/live")[0] for _ in range(20)} == {200}
            time.sleep(0.1)
            admin = control.admin(folder)
            text = ask(admin, "GET", "/metrics")[2].decode()
            dropped = float(text.partition("\ntrainyard_log_lines_dropped_total ")[2].split()[0])
            assert dropped >= 20
        finally:
            process.terminate()
