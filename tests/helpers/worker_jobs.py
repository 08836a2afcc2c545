"""Runs many job folders through their workers' mains, in one process: `python -P tests/helpers/worker_jobs.py training:FOLDER…`.

TensorFlow takes seconds to import, a tiny job takes one. Each folder gets `exit_code`, `stdout.txt` and `stderr.txt`.
"""

import contextlib
import importlib
import os
import sys
import tempfile
from pathlib import Path

from training.worker.protocol import work


def forget():
    """What one job has registered with Keras and Python must not help the next one."""
    if "keras" in sys.modules:
        import keras

        keras.saving.get_custom_objects().clear()
        keras.config.set_dtype_policy("float32")
    sys.modules.pop("model", None)
    sys.path[:] = before


before = list(sys.path)
for job in sys.argv[1:]:
    module, _, folder = job.partition(":")
    main = importlib.import_module(f"{module}.__main__").main
    os.chdir(folder)
    tempfile.tempdir = str(Path(folder, "scratch"))  # as the runners have it
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open("stdout.txt", "w"))))
        stack.enter_context(contextlib.redirect_stderr(stack.enter_context(open("stderr.txt", "w"))))
        code = work(main)
    Path(folder, "exit_code").write_text(str(code))
    forget()
