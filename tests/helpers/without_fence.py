"""`python -m pipelines` with workers that are not fenced, for tests whose workers leave marks outside of their job folders."""

import sys

from pipelines.__main__ import main
from training.fence.rules import Fence

Fence.command = lambda _self: []

if __name__ == "__main__":
    sys.exit(main())
