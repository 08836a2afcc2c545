"""Which environment variables the started processes may see: an allow-list, for workers and for the API. Light."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

# Everything else stays here: passwords, cloud credentials, tokens and cookies of the build server.
PASSED = re.compile(
    r"PATH|LANG|LANGUAGE|LC_\w+|TZ|LD_LIBRARY_PATH|TF_\w+|XLA_FLAGS|CUDA\w*|NVIDIA_\w+"
    r"|(OMP|OPENBLAS|MKL)_NUM_THREADS|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE"
)
# Terraform shares TensorFlow's prefix, and keeps secrets under it.
NOT_PASSED = re.compile(r"TF_(VAR|TOKEN|HTTP|CLI|CLOUD)_\w+|\w*(SECRET|PASSW|TOKEN|CREDENTIAL)\w*", re.IGNORECASE)


CHECKOUT = str(Path(__file__).parents[1])
"""The folder that holds the packages."""


def allowed(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process needs on this machine and that hold no secret.

    `PYTHONPATH` is one when Trainyard itself was found by it: then it names its folder, and nothing else.
    """
    passed = {
        name: value for name, value in environment.items() if PASSED.fullmatch(name) and not NOT_PASSED.fullmatch(name)
    }
    if CHECKOUT in environment.get("PYTHONPATH", "").split(os.pathsep):
        passed["PYTHONPATH"] = CHECKOUT
    return passed
