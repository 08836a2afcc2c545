"""What a script has printed becomes an error that begins with the exception."""

import pytest

from registry.errors import WorkerFailed
from training.script_output import failure

NOISE = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795986037.000434   26817 port.cc:153] oneDNN custom operations are on.",
    "Epoch 1/40",
    "120/120 - 2s - 14ms/step - accuracy: 0.9 - loss: 0.3",
    " 60/120 ━━━━━━━━━━ 0s 3ms/step - loss: 0.2",
    "",
]
TRACEBACK = [
    "Traceback (most recent call last):",
    '  File "{code}/train.py", line 57, in <module>',
    '    plt.plot(H.history["acc"])',
    '  File "/usr/lib/python3/site-packages/other.py", line 3, in get',
    "    ~~~~^^^",
    "KeyError: 'acc'",
]


@pytest.fixture
def failed(tmp_path):
    def of(code, *lines):
        return failure("python train.py", code, [line.format(code=tmp_path) for line in lines], tmp_path)

    return of


def test_the_exception_comes_first_with_its_line_in_the_teams_code(failed):
    error = failed(1, *NOISE * 40, *TRACEBACK)
    assert str(error).startswith(
        "python train.py failed with exit code 1: KeyError: 'acc', in train.py, line 57; its last"
    )
    assert not any(line in str(error) for line in NOISE if line)
    assert error.exception == "KeyError"


def test_an_exception_stays_the_first_word_when_something_was_printed_after_it(failed):
    error = failed(1, *TRACEBACK, *[f"cleaning up {i}" for i in range(50)])
    assert "KeyError: 'acc', in train.py, line 57" in str(error).partition("\n")[0]
    assert "cleaning up 49" in str(error)


def test_a_script_without_an_exception_gives_its_last_lines(failed):
    assert "cannot open the data" in str(failed(3, *NOISE, "cannot open the data"))
    assert "without any output" in str(failed(3, *NOISE))


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        (-6, ["terminate called after throwing an instance of 'std::bad_alloc'", "  what():  std::bad_alloc"]),
        (134, ["terminate called after throwing an instance of 'std::bad_alloc'", "Aborted"]),
        (1, ["Traceback (most recent call last):", '  File "{code}/train.py", line 3, in <module>', "MemoryError"]),
        (1, ["numpy._core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB for an array"]),
        (1, ["tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor"]),
        (-9, []),
        (137, ["train.sh: line 2:  7 Killed   python train.py"]),
    ],
    ids=["bad_alloc", "bad_alloc-in-a-shell", "MemoryError", "numpy", "tensorflow", "SIGKILL", "SIGKILL-in-a-shell"],
)
def test_a_script_that_ran_out_of_memory_is_reported_as_that(failed, code, lines):
    assert "out of memory" in str(failed(code, *NOISE, *lines))


def test_the_reason_of_a_crash_is_what_was_said_before_the_stacks(failed):
    stacks = ["Fatal Python error: Aborted", "", *[f'  File "x.py", line {i} in f' for i in range(300)]]
    assert "ran out of memory (failed with signal 6 (SIGABRT)): " in str(
        failed(-6, "  what():  std::bad_alloc", *stacks)
    )


def test_another_crash_is_named_by_its_signal(failed):
    assert "signal 11 (SIGSEGV)" in str(failed(-11, "loading"))
    assert "memory" not in str(failed(-11, "loading"))
    assert isinstance(failed(-11), WorkerFailed)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("ModuleNotFoundError: No module named 'cv2'", "cv2 is not installed where the worker runs"),
        ("train.py: error: the following arguments are required: -d/--dataset", "[training] command"),
        ("ValueError: bad", "by hand"),
    ],
)
def test_the_hint_is_about_the_error(failed, line, hint):
    assert hint in failed(1, line).hint
