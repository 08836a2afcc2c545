"""`registry verify` beside a controller that registers, promotes and rolls back: what is just being written is not a problem."""

import os
import subprocess
import sys
import time
from collections import Counter

import pytest
from faults_parts import HERE
from signed_registry import config_of

from pipelines.trust import open_registry
from registry.verify import inspect

pytestmark = pytest.mark.slow

LOOKS = 20  # in a new registry each, so that a look stays short and meets many moments
KINDS = 6  # of steps: what `work` writes of a version
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parents[1])))}
WRITER = '''
import sys, time
from itertools import count
from pathlib import Path
from random import Random
from attested import attested
from registry_parts import acceptance, promote, publish, release
from signed_registry import config_of
from pipelines.trust import open_registry
from registry import candidates, heads

folder, moments = Path(sys.argv[1]), Random(Path(sys.argv[1]).name)

def work(store, number):
    """All that is written of a version, record by record."""
    files = {"model.keras": b"weights %d" % number, "saved_model/data": b"variables"}
    yield (version := publish(store, folder, f"run-{number}", files=files))
    yield attested(store, folder, f"run-{number}", version)
    yield candidates.append_acceptance(store, acceptance(store, version))
    yield heads.write_head(store, "digits")
    yield promote(store, version, f"token-{number}")
    yield release(store, max(1, version - 1))

def steps():
    for number in count(1):
        yield from work(open_registry(config_of(folder)), number)  # each command opens it anew

written = steps()
for _ in range(KINDS):
    next(written)
print("ready", flush=True)
for line in sys.stdin:
    print("go", flush=True)
    time.sleep(moments.uniform(0, float(line)))  # not always at the same moment of a look, which takes so long
    begun = time.monotonic()
    next(written)
    print(begun, time.monotonic(), flush=True)
'''


@pytest.mark.parametrize("rounds", [6, pytest.param(30, marks=pytest.mark.long)])
def test_of_many_looks_none_takes_for_a_problem_what_is_just_being_written(tmp_path, rounds):
    said, met, taken = [], Counter(), 0.05
    for number in range(rounds):
        folder = tmp_path / str(number)
        config = config_of(folder)
        with subprocess.Popen(
            [sys.executable, "-P", "-c", f"KINDS = {KINDS}\n{WRITER}", folder],
            env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        ) as writer:  # fmt: skip
            try:
                assert writer.stdout.readline() == "ready\n"
                for look in range(LOOKS):
                    writer.stdin.write(f"{taken}\n")  # one more step, while we look
                    writer.stdin.flush()
                    assert writer.stdout.readline() == "go\n"
                    start = time.monotonic()
                    said += inspect(open_registry(config)).problems
                    end = time.monotonic()
                    begun, done = map(float, writer.stdout.readline().split())
                    met[look % KINDS] += begun < end and start < done
                    taken = end - start
                assert writer.poll() is None
            finally:
                writer.kill()
        assert inspect(open_registry(config)).problems == ()  # nor what a killed one has left
    assert said == []
    assert min(met[kind] for kind in range(KINDS)) >= rounds, f"the writer hardly wrote while we looked: {met}"
