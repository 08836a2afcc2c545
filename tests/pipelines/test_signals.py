"""Interrupts reach their process wherever Python is when they arrive."""

import signal
import subprocess
import sys

import pytest

BUSY_IN_CALLBACKS = """
import sys, time, weakref
from pipelines.signals import Terminated, raise_on_sigterm

class Thing:
    pass

def callback(_gone):  # where Python ignores every exception
    print("ready", flush=True)
    until = time.monotonic() + 0.5
    while time.monotonic() < until:
        pass

def main():
    raise_on_sigterm()
    thing = Thing()
    gone = weakref.ref(thing, callback)
    del thing
    time.sleep(60)

try:
    main()
except KeyboardInterrupt:
    sys.exit(130)
except Terminated:
    sys.exit(143)
"""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "TERM"])
def test_an_interrupt_that_python_has_to_ignore_is_raised_again(sent, code):
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", BUSY_IN_CALLBACKS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(sent)
        assert process.wait(30) == code
        assert process.stderr.read() == ""


def test_other_ignored_exceptions_are_printed_as_ever():
    broken = (
        "from pipelines.signals import raise_on_sigterm; raise_on_sigterm()\nclass A:\n  def __del__(self): 1 / 0\nA()"
    )
    done = subprocess.run([sys.executable, "-P", "-c", broken], capture_output=True, text=True, check=True)
    assert "ZeroDivisionError" in done.stderr
