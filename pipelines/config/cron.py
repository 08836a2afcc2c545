"""When a cron expression is due, and what is wrong with one.

Daylight saving is as in Debian's cron. Where minute and hour are both numbers, lists or ranges, a time that does not exist
on a day is due when the clock has jumped over it, and one that exists twice is due once, the first time. Where one of them
begins with `*`, the expression is about time that passes: every real quarter of an hour, whatever the clock says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo

from pipelines.config.monitoring_sections import Schedule

FIELDS = "five fields: minute, hour, day of the month, month, day of the week"
HASH = re.compile(r"(^|[\s,])H")
LONGEST_SHIFT = timedelta(hours=3)
"""More than any clock is set back by in autumn."""


def problems(schedule: Schedule) -> Iterator[str]:
    """What is wrong with the settings, each with its name."""
    names = [name for name in ("retrain", "monitor") if getattr(schedule, name)]
    for name, rule in (*((name, check) for name in names), ("timezone", zone)):
        try:
            rule(getattr(schedule, name))
        except ValueError as error:
            yield f"schedule.{name}: {error}"


def zone(name: str) -> tzinfo:
    """The time zone of that name in the IANA database; raises ValueError that says what is wrong."""
    if name == "UTC":
        return UTC  # also on a machine without a time zone database
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    try:
        return ZoneInfo(name)
    except (ValueError, OSError):  # `../x`, or a folder of the database
        pass
    except ZoneInfoNotFoundError:
        if not available_timezones():
            raise ValueError(
                f"{name!r:.100}: this machine has no time zone database; `apt install tzdata`, or write UTC"
            ) from None
    raise ValueError(f'{name!r:.100} is not in the IANA database; a name is written as "Europe/Berlin"')


def check(expression: str) -> datetime:
    """The first time in 2024 or later; raises ValueError that says what is wrong with a cron expression."""
    if HASH.search(expression):
        raise ValueError(f"{expression!r:.100} holds H, which only Jenkins knows; write a number")
    if len(expression.split()) != 5:
        raise ValueError(f"{expression!r:.100} does not have {FIELDS}; every Sunday at three is `0 3 * * 0`")
    first = next_after(expression, UTC, datetime(2024, 1, 1, tzinfo=UTC))
    if first is None:
        raise ValueError(f"{expression!r:.100} does not come true in 50 years; check its days")
    return first


def next_after(expression: str, where: tzinfo, moment: datetime) -> datetime | None:
    """The first time that is due after `moment`, in UTC; None when there is none in 50 years.

    `moment` has a time zone, any. Raises ValueError for an expression that is not one.
    """
    from cronsim import CronSim, CronSimError

    try:
        times = CronSim(expression, moment.astimezone(where) - LONGEST_SHIFT)
    except CronSimError as error:
        raise ValueError(f"{expression!r:.100}: {str(error).lower()}; it has {FIELDS}") from None
    for each in times:  # begun within the hour that comes twice, they would have its second time as a first one
        if (found := each.astimezone(UTC)) > moment:
            return found
    return None
