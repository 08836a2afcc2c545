"""What gunicorn's master imports for its workers, so that they share the memory of it, and a new one is there sooner.

Only modules: none of them has threads, connections or a model when it has been imported, which a fork would copy.
"""

from __future__ import annotations

import gc
import os
from importlib import import_module

MODULES = (
    *("serving.access.control", "serving.admin", "serving.app", "serving.earlier_versions", "serving.engines.litert"),
    *("serving.model_source", "serving.model_swap", "serving.prediction_log.writer", "serving.spans", "PIL.Image"),
)
"""A server process needs them before its first answer, or for it."""


def import_for_workers() -> None:
    """Import them here, before the first fork."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # NumPy's, which would start threads; an engine has its own
    for name in MODULES:
        import_module(name)
    gc.collect()


def keep_pages_shared() -> None:
    """Before a fork: the garbage collector of a worker writes to all that it looks through; it leaves out what is here now."""
    gc.freeze()
