"""What a monitor has kept of a model that the console shows."""

from __future__ import annotations

from monitor_parts import at
from promotion_parts import MODEL

from pipelines.monitor.state import MonitorState, Numbered
from pipelines.monitor.store import MonitorStore
from pipelines.monitor.trend import Charts, extended
from registry.records.monitoring import Health, Window


def watch(project, *checks, alarm=None):
    """Twenty windows of release 2 with these checks, and perhaps an alarm that lasts."""
    store = MonitorStore(project.config)
    with store.alone():
        found = [
            Health(Window(MODEL, 2, 2, at(number), at(number + 1), 400, 40), checks, at(number + 1))
            for number in range(20)
        ]
        for each in found:
            store.put_health(each)
        store.save_charts(Charts((), extended((), found)))
        alarms = (Numbered(1, alarm),) if alarm else ()
        store.save(MonitorState({"2": at(20)}, {}, alarms, 2, (), at(20)))
        for each in alarms:
            store.put_alarm(each)
