"""`trainyard` with a clock of its own: python -P shifted_clock.py FILE ARGUMENTS…

The time of day is off by as many seconds as FILE says from moment to moment. The monotonic clock is left alone, as it is when
a person sets a machine's clock.
"""

import datetime as dt
import sys
import time
from pathlib import Path

offset, real = Path(sys.argv[1]), time.time


def shifted() -> float:
    return real() + float(offset.read_text(encoding="ascii") or 0)


class Shifted(dt.datetime):
    """Takes the time from that clock."""

    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(shifted(), tz)


if __name__ == "__main__":
    time.time, time.time_ns = shifted, lambda: int(shifted() * 1e9)
    dt.datetime = Shifted
    from pipelines.__main__ import main  # now: it takes these names along

    sys.exit(main(sys.argv[2:]))
