"""What gunicorn's master imports for its workers."""

import subprocess
import sys

CODE = """
import gc, os, sys
from serving.server.for_workers import MODULES, import_for_workers, keep_pages_shared
import_for_workers()
keep_pages_shared()
print(len(os.listdir("/proc/self/task")), gc.get_freeze_count() > 10_000, *(set(MODULES) - sys.modules.keys()))
print(*{"tensorflow", "keras", "pandas", "pyarrow", "grpc", "boto3"} & sys.modules.keys())
"""


def test_it_has_one_thread_and_the_modules_that_workers_share_and_no_heavy_ones():
    done = subprocess.run([sys.executable, "-P", "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == "1 True\n\n"
