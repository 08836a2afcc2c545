"""`python -P counted_requests.py FILE WORD…`: a command of `trainyard`; how many requests it sends to an object store goes into FILE."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

import botocore.endpoint

from pipelines.__main__ import main

asked = count()
send = botocore.endpoint.Endpoint.make_request


def counted(self: object, *arguments: object) -> object:
    """One request, whatever comes of it."""
    next(asked)
    return send(self, *arguments)


botocore.endpoint.Endpoint.make_request = counted
code = main(sys.argv[2:])
Path(sys.argv[1]).write_text(str(next(asked)), encoding="ascii")
sys.exit(code)
