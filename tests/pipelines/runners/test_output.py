import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.runners import Job, Limits
from pipelines.runners.supervisor.exit import ExitRecord, explain
from pipelines.runners.supervisor.output import LINE_BYTES, Line, LineSplitter, Output, WorkerLog, plain
from registry.errors import Corrupt, TryAgain

BYTES = st.lists(
    st.sampled_from([b"a", b"\xc3\xbc", b"\r", b"\n", b"\x1b[1m", b"x" * 5000, b" ", b"\xff"]), max_size=30
)


def lines_of(pieces):
    splitter = LineSplitter()
    return [line for piece in pieces for line in splitter.feed(piece)] + splitter.end()


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\ntwo\n", [Line("one"), Line("two")]),
        (b"one\r\ntwo", [Line("one"), Line("two")]),
        (b"one\r\r\ntwo\n", [Line("one"), Line("two")]),
        (b"a\n\nb\n", [Line("a"), Line(""), Line("b")]),
        (b"\r10%\r20%\r\n", [Line("10%", redraw=True), Line("20%")]),
        (b"10%\r20%", [Line("10%", redraw=True), Line("20%")]),
        (b"\r\r\r", []),
        (b"", []),
    ],
    ids=repr,
)
def test_bytes_become_lines(data, lines):
    assert lines_of([data]) == lines


@given(BYTES, st.integers(1, 7))
def test_lines_do_not_depend_on_how_the_stream_is_cut(parts, size):
    data = b"".join(parts)
    assert lines_of([data[i : i + size] for i in range(0, len(data), size)]) == lines_of([data])


@given(st.binary(max_size=300))
def test_whatever_comes_out_is_plain_text(data):
    for line in lines_of([data]):
        assert "\x1b" not in line.text
        assert not set(line.text) & {chr(i) for i in range(32)} - {"\t"}
        line.text.encode()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;a new title\x07hello", "hello"),
        (b"a\tb", "a\tb"),
        ("fünf 5 €".encode(), "fünf 5 €"),
        ("safe\u202etxt.exe".encode(), "safetxt.exe"),
        (b"50%\x08\x08\x0860%", "50%60%"),
    ],
)
def test_what_could_rewrite_a_terminal_is_taken_out(data, text):
    assert plain(data) == text


def test_a_line_without_end_uses_little_memory_and_is_cut():
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"y" * 65536) == []
    (line,) = splitter.feed(b"\n")
    assert line.text == "y" * LINE_BYTES + f" … ({6553600 - LINE_BYTES} more bytes)"


def test_a_full_log_keeps_its_beginning_and_its_end(tmp_path):
    log = WorkerLog(tmp_path / "worker.log", limit=1000, tail=200)
    for i in range(10_000):
        log.write([f"line {i}"])
    log.close()
    lines = (tmp_path / "worker.log").read_text().splitlines()
    assert lines[0] == "line 0"
    assert lines[-1] == "line 9999"
    assert sum("left out" in line for line in lines) == 1
    assert (tmp_path / "worker.log").stat().st_size < 1300


def test_the_next_try_still_finds_room_for_its_end(tmp_path):
    for attempt in ("first", "second"):
        log = WorkerLog(tmp_path / "worker.log", limit=1000, tail=200)
        log.write(f"{attempt} {i}" for i in range(1000))
        log.close()
    text = (tmp_path / "worker.log").read_text()
    assert text.startswith("first 0\n")
    assert text.endswith("second 999\n")
    assert len(text) < 1600


def test_a_log_that_fits_is_kept_whole(tmp_path):
    log = WorkerLog(tmp_path / "worker.log", limit=1000, tail=200)
    log.write(f"line {i}" for i in range(130))
    log.close()
    assert (tmp_path / "worker.log").read_text() == "".join(f"line {i}\n" for i in range(130))


def test_a_link_where_the_log_belongs_leads_to_no_other_file(tmp_path):
    (tmp_path / "other").write_text("as it was")
    (tmp_path / "worker.log").symlink_to("other")
    with pytest.raises(Corrupt, match=r"worker\.log: a symbolic link"):
        WorkerLog(tmp_path / "worker.log")
    assert (tmp_path / "other").read_text() == "as it was"


def test_a_full_disk_is_reported(tmp_path):
    log = WorkerLog(tmp_path / "worker.log")
    log._file.close()
    log._file = open("/dev/full", "ab", buffering=0)  # noqa: SIM115
    with pytest.raises(TryAgain, match=r"worker\.log: No space left"):
        log.write(["a line"])
    log._file.close()


def test_a_quiet_output_still_fills_the_log(tmp_path):
    seen = []
    output = Output(WorkerLog(tmp_path / "worker.log"), seen.append)
    output.feed(b"one\n")
    output.quiet = True
    output.feed(b"two\n")
    output.log.close()
    assert seen == ["one"]
    assert (tmp_path / "worker.log").read_text() == "one\ntwo\n"


def test_what_tensorflow_says_at_each_start_stays_in_the_log(tmp_path):
    seen = []
    output = Output(WorkerLog(tmp_path / "worker.log"), seen.append)
    output.feed(b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n")
    output.feed(b"I0000 00:00:1795224 1350 port.cc:153] oneDNN custom operations are on. You may see\nepoch 1\n")
    output.log.close()
    assert seen == ["epoch 1"]
    assert "oneDNN" in (tmp_path / "worker.log").read_text()


def test_an_event_behind_a_progress_bar_that_does_not_end_its_line_is_a_line_of_its_own(tmp_path):
    seen = []
    output = Output(WorkerLog(tmp_path / "worker.log"), seen.append)
    event = '@trainyard {"event": "epoch", "epoch": 1}'
    output.feed(f"\r1/9 - loss: 0.1\r9/9 - loss: 0.0{event}\n".encode())
    output.feed(b'3/9@trainyard {"event": "epo\n')
    output.feed(b"mail to me@trainyard {not an event\n")
    output.log.close()
    assert seen[-1:] == ["mail to me@trainyard {not an event"]
    assert event in seen
    assert not any('@trainyard {"event"' in line for line in seen if not line.startswith("@trainyard"))


@pytest.mark.parametrize("said", ["  what():  std::bad_alloc", "numpy: Unable to allocate 3 GiB"])
def test_a_crash_for_want_of_memory_is_found_before_the_stacks_of_many_threads(tmp_path, said):
    log = WorkerLog(tmp_path / "worker.log")
    log.write([said, "Fatal Python error: Aborted", *[f'  File "x.py", line {i} in f' for i in range(300)]])
    log.close()
    error = explain(Job("train", ("training",), tmp_path, Limits(0, 512)), ExitRecord("exited", signal.SIGABRT), log)
    assert "ran out of memory: the limit is 512 MiB" in str(error)
    assert "raise [runner] memory_mb" in error.hint
