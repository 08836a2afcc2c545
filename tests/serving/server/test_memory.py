"""Memory of large requests that was freed belongs to the machine again, and not to the worker's heaps."""

import subprocess
import sys

GROWTH = """
import os, threading
from serving.server.memory import give_back_what_is_freed

{first}
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

def requests():
    for size in (1, 4, 15, 12, 15):
        large = b"x" * (size << 20)
        small.append(bytearray(2000))  # lies behind the large block, if that is part of a heap
        del large

small = []
before = resident()
for _ in range(5):
    threads = [threading.Thread(target=requests) for _ in range(4)]
    for each in threads: each.start()
    for each in threads: each.join()
print(resident() - before)
"""


def growth(first):
    done = subprocess.run(
        [sys.executable, "-c", GROWTH.format(first=first)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def test_freed_blocks_of_large_requests_are_given_back():
    kept = growth("give_back_what_is_freed()")
    assert kept < 25
    assert kept < growth("")
