"""`<home>/monitor/<model>/`: what the monitor has found, decided and been asked for. One monitor writes there at a time.

    state.json                 what decides about the next window: positions, causes, alarms that last, what is to be reported
    health/<end>-r<release>.json    one record per window, the newest `[monitoring] keep`
    alarms/<number>.json       every alarm, with what was done about it
    silences/<hash>.json       causes that somebody does not want to be written to about
    asked.json                 the newest retraining that a person has asked for here
    charts.json                the newest window's histograms, and quality over time
    report/, metrics.prom      made anew after each window
    webhook/                   notices that wait to be sent

All records have a checksum. `state.json` alone decides: what is written before it is written again after a kill, what is
written after it is made from it. A health record beyond the position of `state.json` has led to nothing yet, and is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipelines.config.schema import Config
from pipelines.monitor.decide import stamp, with_done
from pipelines.monitor.retrain import asked_before
from pipelines.monitor.state import AskedByPerson, MonitorState, Numbered, moment, remade
from pipelines.monitor.trend import Charts
from registry import codec
from registry.errors import ConfigError, Corrupt, TryAgain
from registry.files import sha256_bytes, sweep, try_lock, write_whole
from registry.records import utc_now
from registry.records.monitoring import Alarm, Health, Silence

MOST_ALARMS = 1000
"""Files; of more, the newest. Those that last are always kept."""
MOST_CHECKS = 500
"""In a kept health record: all that failed, and of the others the first. The report and the metrics have all of them."""
T = TypeVar("T")


class MonitorStore:
    """The folder of one model."""

    def __init__(self, config: Config) -> None:
        self.folder = Path(config.home).absolute() / "monitor" / config.model
        self.keep = config.monitoring.keep
        self._windows = config.monitoring.windows

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Whoever is in this block is the only monitor of this model. Raises TryAgain when there is one already."""
        self.folder.mkdir(
            mode=0o750, parents=True, exist_ok=True
        )  # as the prediction log: reasons and charts have values
        with (self.folder / "lock").open("a", encoding="utf-8") as lock:
            if not try_lock(lock):
                raise TryAgain(
                    f"another monitor of this model is running ({self.folder / 'lock'})",
                    hint="one is enough: `trainyard monitor show` has what it finds; or stop it first",
                )
            for folder in (self.folder, self.folder / "health", self.folder / "alarms"):
                sweep(folder)
            yield

    # what decides

    def state(self) -> MonitorState:
        """What is remembered. Without `state.json`, as much as health records and alarms say. Raises Corrupt."""
        try:
            return self._read(MonitorState, self.folder / "state.json", "it is made again from the others")
        except FileNotFoundError:
            pass
        alarms = [Numbered(number, self.alarm(number)) for number in self.alarm_numbers()]
        windows = [(record.window.release, record.window.until) for record in self._newest_of_each_release()]
        following = max((each.number for each in alarms), default=0) + 1
        return replace(remade(windows, alarms, following, self._windows), asked=asked_before(alarms))

    def begun(self) -> MonitorState:
        """As `state`, and kept from now on: without a state, health records count as decided, and later ones would not be."""
        state = self.state()
        if not (self.folder / "state.json").exists():
            self.save(state)
        return state

    def save(self, state: MonitorState) -> None:
        """From here on it counts."""
        self._write(self.folder / "state.json", state)

    # windows

    def health_ids(self) -> list[str]:
        """The names of all kept windows, the oldest first."""
        return sorted(each.stem for each in (self.folder / "health").glob("*-r*.json"))

    def health(self, name: str) -> Health:
        """One window, by its whole name. Raises Corrupt, FileNotFoundError."""
        return self._read(Health, self.folder / "health" / f"{name}.json", "this window's record is lost, no other is")

    def find(self, start: str) -> Health:
        """The newest window whose name begins so. Raises ConfigError."""
        found = [each for each in self.health_ids() if each.startswith(start)]
        if not found:
            known = ", ".join(self.health_ids()[-3:][::-1])
            raise ConfigError(
                f"no window {start!r} in {self.folder / 'health'}",
                hint=f"the newest: {known}" if known else "`trainyard monitor --once` makes the first",
            )
        return self.health(found[-1])

    def newest(self) -> Health | None:
        """The newest window that was kept."""
        names = self.health_ids()
        return self.health(names[-1]) if names else None

    def put_health(self, health: Health) -> str:
        """Keep it, in place of an older one of the same window; gives its name."""
        name = stamp(health.window.until, health.window.release)
        self._write(self.folder / "health" / f"{name}.json", _bounded(health))
        return name

    def remove_undecided(self, state: MonitorState) -> None:
        """Remove what a killed monitor has kept of windows that it had not decided about."""
        for name in self.health_ids():
            release = name.rpartition("-r")[2]
            position = state.positions.get(release, "")
            if not position or name > stamp(position, int(release)):
                (self.folder / "health" / f"{name}.json").unlink(missing_ok=True)

    def over_bound(self) -> list[Path]:
        """Files of windows and alarms beyond their bounds, the oldest first."""
        windows = [self.folder / "health" / f"{name}.json" for name in self.health_ids()[: -self.keep]]
        alarms = [self._alarm_file(number) for number in self.alarm_numbers()[:-MOST_ALARMS]]
        return windows + alarms

    def bound(self) -> None:
        """Remove them."""
        for each in self.over_bound():
            each.unlink(missing_ok=True)

    # alarms

    def alarm_numbers(self) -> list[int]:
        """The numbers of all kept alarms, the oldest first."""
        return sorted(int(each.stem) for each in (self.folder / "alarms").glob("*.json") if each.stem.isdecimal())

    def alarm(self, number: int) -> Alarm:
        """Raises Corrupt, FileNotFoundError."""
        return self._read(
            Alarm, self._alarm_file(number), "this alarm's history is lost; one that lasts is in state.json"
        )

    def put_alarm(self, each: Numbered) -> None:
        """Write it whole."""
        self._write(self._alarm_file(each.number), each.alarm)

    def record(self, number: int, sentence: str, run: str = "") -> Alarm:
        """Add what was done about an alarm, e.g. that a run was started, or what prevented it. Inside of `alone` only."""
        state = self.state()
        lasting = next((each for each in state.alarms if each.number == number), None)
        alarm = with_done(lasting.alarm if lasting else self.alarm(number), utc_now(), sentence)
        alarm = replace(alarm, run=run or alarm.run)
        if lasting:
            alarms = tuple(replace(each, alarm=alarm) if each.number == number else each for each in state.alarms)
            self.save(replace(state, alarms=alarms))
        self.put_alarm(Numbered(number, alarm))
        return alarm

    # silences: written by people while a monitor runs, one file each

    def silences(self) -> list[Silence]:
        """Those that are not over. Raises Corrupt."""
        folder, now = self.folder / "silences", moment(utc_now())
        found = []
        for path in sorted(folder.glob("*.json")):
            with contextlib.suppress(FileNotFoundError):  # somebody has just taken it back
                found.append(self._read(Silence, path, "set the silence again"))
        return [each for each in found if moment(each.until) > now]

    def silence(self, silence: Silence) -> None:
        """In place of an older one of that cause."""
        self._write(self._silence_file(silence.cause), silence)

    def unsilence(self, cause: str) -> bool:
        """Whether there was one."""
        there = any(each.cause == cause for each in self.silences())
        self._silence_file(cause).unlink(missing_ok=True)
        return there

    # retrainings: one at a time, whoever asks for them

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """Whoever is in this block is the only one that decides on a retraining: the monitor, or a person. Others wait a moment."""
        self.folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        with (self.folder / "asked.lock").open("a", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def asked_by_person(self) -> AskedByPerson | None:
        """The newest retraining that somebody has asked for. Raises Corrupt."""
        with contextlib.suppress(FileNotFoundError):
            return self._read(AskedByPerson, self.folder / "asked.json", "then nothing is known of it")
        return None

    def save_asked_by_person(self, asked: AskedByPerson) -> None:
        """Inside of `asking` only."""
        self._write(self.folder / "asked.json", asked)

    # for charts

    def charts(self) -> Charts:
        """Empty when there are none, or an unreadable file: the next window begins them anew."""
        try:
            return codec.read(Charts, self.folder / "charts.json")
        except (FileNotFoundError, Corrupt):
            return Charts()

    def save_charts(self, charts: Charts) -> None:
        """Of the newest window."""
        self._write(self.folder / "charts.json", charts)

    def _newest_of_each_release(self) -> Iterator[Health]:
        newest = {name.rpartition("-r")[2]: name for name in self.health_ids()}
        yield from map(self.health, newest.values())

    def _alarm_file(self, number: int) -> Path:
        return self.folder / "alarms" / f"{number:06d}.json"

    def _silence_file(self, cause: str) -> Path:
        return self.folder / "silences" / f"{sha256_bytes(cause.encode())[:16]}.json"

    def _write(self, path: Path, record: object) -> None:
        write_whole(path, codec.with_checksum(record))

    def _read(self, kind: type[T], path: Path, lost: str) -> T:
        try:
            return codec.from_json(kind, path.read_bytes(), str(path), checksum_required=True)
        except IsADirectoryError:
            raise Corrupt(f"{path}: it is a folder, and should be a file", hint=f"move it away: {lost}") from None
        except Corrupt as error:
            raise Corrupt(str(error), hint=f"restore the file from a backup, or remove it: {lost}") from None


def _bounded(health: Health) -> Health:
    if len(health.checks) <= MOST_CHECKS:
        return health
    failed = health.failed
    others = [each for each in health.checks if each.outcome != "failed"][: max(0, MOST_CHECKS - len(failed))]
    left_out = len(health.checks) - len(failed) - len(others)
    return replace(
        health, checks=(*failed, *others), notes=(*health.notes, f"{left_out} checks that did not fail are not kept")
    )
