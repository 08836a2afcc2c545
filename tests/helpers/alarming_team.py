"""A team whose live release has drifted, as its monitor finds."""

import argparse
import contextlib
import json

from monitor_parts import drift, health, looking

from pipelines.commands import monitor
from pipelines.config.load import load_config
from pipelines.monitor.store import MonitorStore


class Monitor:
    """The monitor of a team, which finds that a column has changed."""

    def __init__(self, team):
        text = team.config.read_text(encoding="utf-8")
        team.config.write_text(f'{text}[monitoring]\non_alarm = "retrain"\n', encoding="utf-8")
        self.team = team
        self.reread()
        self.look = looking(*(health(number, drift()) for number in (1, 2)))

    def reread(self):
        """The settings, which may have changed."""
        self.config = load_config(self.team.config, {})
        self.store = MonitorStore(self.config)

    def once(self, *words):
        parser = argparse.ArgumentParser()
        parser.set_defaults(json=False)
        monitor.add_arguments(parser)
        with self.looking():
            return monitor.main(parser.parse_args(["--once", *words]), self.config)

    @contextlib.contextmanager
    def looking(self):
        before, monitor.look = monitor.look, self.look
        try:
            yield
        finally:
            monitor.look = before

    def runs(self):
        return [json.loads((each / "run.json").read_bytes()) for each in self.team.runs("dataset")]
