"""`trainyard monitor`: check how the live release does, and write to people when something fails; `monitor show|silence`."""

from __future__ import annotations

import argparse
import json
import shutil
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.command_line import command_line
from pipelines.commands.monitor_show import plain, show
from pipelines.commands.of_models import for_each, must_name
from pipelines.commands.promote import who
from pipelines.commands.run import say
from pipelines.config.schema import Config
from pipelines.monitor import words
from pipelines.monitor.causes import KNOWN, OF_EVERY_MODEL, known_causes, meant
from pipelines.monitor.decide import stamp
from pipelines.monitor.outcome import Outcome
from pipelines.monitor.service import call
from pipelines.monitor.state import moment, text_of
from pipelines.monitor.store import MonitorStore
from pipelines.signals import Terminated
from pipelines.text import metrics
from pipelines.text.clean import clean
from registry.errors import ConfigError, PipelineError, TryAgain, WorkerFailed, from_os_error
from registry.records import utc_now
from registry.records.monitoring import Health, Looked, Silence

LAST = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action", nargs="?", choices=("show", "silence"), metavar="show|silence",
        help="show: the newest window, open alarms, silences; silence: no more mails about a cause until a time. Without it:"
        " check every window that is complete, again and again",
    )  # fmt: skip
    parser.add_argument("cause", nargs="?", default="", metavar="CAUSE", help="silence: e.g. 'drift inputs.mass'")
    parser.add_argument(
        "--once", action="store_true", help="check what is complete now, and end: 3 while an alarm is open"
    )
    parser.add_argument("--since", metavar="TIME", default="", help="leave out what is older")
    parser.add_argument(
        "--interval", type=float, metavar="SECONDS", help="between two checks; default: [monitoring] window_minutes"
    )
    parser.add_argument("--junit", metavar="FILE", default="", help="write the newest window's checks as JUnit XML")
    parser.add_argument(
        "--build",
        type=Path,
        metavar="DIR",
        help="--once, for Jenkins: write into DIR what a build shows, and which retraining it is to start",
    )
    parser.add_argument("--window", metavar="ID", default="", help="show: this window, by the beginning of its name")
    parser.add_argument("--last", metavar="N", type=int, default=LAST, help=f"show: so many windows, default {LAST}")
    parser.add_argument(
        "--until", metavar="TIME", default="", help="silence: e.g. 2026-12-24 or 2026-12-24T12:00+01:00"
    )
    parser.add_argument("--off", action="store_true", help="silence: write about it again")
    parser.add_argument("--reason", metavar="TEXT", default="", help="silence: why")
    parser.add_argument("--by", metavar="NAME", default="", help="silence: who; default: the login name")


def main(args: argparse.Namespace, config: Config) -> int:
    """Look, show or silence."""
    if args.action == "show":
        return show(args, config)
    if args.action == "silence":
        return _silence(args, config)
    return _monitor(args, [config])


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """Look at one model after the other, each at its own interval; those without a prediction log are left out."""
    if args.action == "silence" or args.build or args.junit:
        must_name(configs)
    if args.action == "show":
        return for_each(main, args, configs)
    kept = [each for each in configs if each.prediction_log.enabled]
    if kept and len(kept) < len(configs):
        without = ", ".join(each.model for each in configs if each not in kept)
        say(f"not monitored, as [prediction_log] enabled is false: {without}")
    return for_each(main, args, kept or configs) if args.once else _monitor(args, kept or configs)


def look(config: Config, positions: dict[str, str], until: str, since: str) -> Looked:
    """Every complete window after the positions, read in a worker."""
    from pipelines.monitor.windows import look as read

    return read(config, positions, until, since)


def _monitor(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    config = configs[0]
    if args.interval is not None and not args.interval > 0:
        raise ConfigError(f"--interval: {args.interval:g} is not a time", hint="seconds, e.g. 60")
    since = _time("since", args.since) if args.since else ""
    if since and moment(since) > datetime.now(UTC):
        raise ConfigError(f"--since: {args.since} is in the future", hint=f"it is {utc_now()} now")
    if args.build and config.monitoring.auto_promote:
        raise ConfigError(
            "--build: Jenkins does the retraining, and [monitoring] auto_promote promotes what a monitor's own has made",
            hint="remove auto_promote, or run `trainyard monitor` as a service",
        )
    if args.once:
        return _once(args, config, since)
    if args.build:
        raise ConfigError("--build: is for one check", hint="trainyard monitor --once --build DIR")
    try:
        with ExitStack() as locks:
            watched = [_Watched(args, each, since, f"{each.model}: " * (len(configs) > 1)) for each in configs]
            for each in watched:
                locks.enter_context(each.store.alone())
            _loop(watched)
    except Terminated:  # how a service is stopped; what it has decided is kept
        say("stopped monitoring")
    return 0


def _once(args: argparse.Namespace, config: Config, since: str) -> int:
    store = MonitorStore(config)
    with store.alone():
        outcome = call(config, store, look, since)
        _report(args, config, outcome)
        if args.build:
            _show_on_jenkins(args.build, config, store, outcome)
        _follow(config, store, args.build)
    return outcome.exit_code


def _loop(watched: Sequence[_Watched]) -> None:
    for each in watched:
        say(f"monitoring {each.config.model} every {each.interval:g} s; stop with Ctrl-C")
    while True:
        due = min(watched, key=lambda each: each.due)
        threading.Event().wait(max(0.0, due.due - time.monotonic()))
        due.look()
        due.due = time.monotonic() + due.interval


class _Watched:
    """A model that is looked at again and again, and when next."""

    def __init__(self, args: argparse.Namespace, config: Config, since: str, each_line: str) -> None:
        self.config = config
        self.store = MonitorStore(config)
        self.interval = config.monitoring.window_minutes * 60 if args.interval is None else args.interval
        self.due = 0.0
        self._args = args
        self._since = since
        self._each_line = each_line
        self._before: object = None

    def look(self) -> None:
        """Report what is new; each problem is shown once, and again when it has changed."""
        try:
            outcome = _call(self.config, self.store, self._since)
        except PipelineError as error:
            if not (self._each_line or isinstance(error, (TryAgain, WorkerFailed))):
                raise  # where others are monitored beside it, they are
            if str(error) != self._before:
                say(f"{self._each_line}still monitoring, but: {error}")
            self._before = str(error)
            return
        if outcome.found or outcome.problems != self._before:
            _report(self._args, self.config, outcome)
        self._before, self._since = outcome.problems, ""
        _follow(self.config, self.store, None)


def _call(config: Config, store: MonitorStore, since: str) -> Outcome:
    """Its outcome; a full disk as TryAgain, which a service outlasts."""
    try:
        return call(config, store, look, since)
    except OSError as error:
        raise from_os_error(error) or error from None


def check_once(config: Config) -> int:
    """What `trainyard monitor --once` does, for `trainyard watch`; its exit code."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return _monitor(parser.parse_args(["--once"], argparse.Namespace(json=False)), [config])


def _follow(config: Config, store: MonitorStore, build: Path | None) -> None:
    """What an alarm leads to, beside words; most monitors have nothing to start, and load nothing for it."""
    if config.monitoring.on_alarm == "retrain":
        from pipelines.commands.monitor_retrain import follow

        follow(config, store, build)


def _show_on_jenkins(build: Path, config: Config, store: MonitorStore, outcome: Outcome) -> None:
    """Name, description and report of a build."""
    from pipelines.build_status import write_status

    count = len(outcome.heard)
    state = f"{count} alarm{'' if count == 1 else 's'} open" if count else "no alarm"
    lines = [f"{config.model}: {state}", *(words.headline(each.alarm.check) for each in outcome.heard)]
    write_status(build, f"{config.model}, {state}", lines)
    if (report := store.folder / "report").is_dir():
        shutil.copytree(report, build / "report", dirs_exist_ok=True, copy_function=shutil.copyfile)


def _report(args: argparse.Namespace, config: Config, outcome: Outcome) -> None:
    if args.junit:
        from pipelines.monitor.junit import write

        write(Path(args.junit), outcome.newest)
    for each in outcome.problems:
        say(each)
    if args.json:
        print(json.dumps(_as_json(outcome)), flush=True)
        return
    for health in outcome.found:
        print(_line(health), flush=True)
    if not outcome.found:
        print(f"{config.model}: no window is complete yet that was not checked before", flush=True)
    for alarm in (each.alarm for each in outcome.raised):
        print(f"  ALARM: {words.headline(alarm.check)}: {words.in_a_sentence(alarm.check)}", flush=True)
    for alarm in (each.alarm for each in outcome.over):
        print(f"  over: {words.headline(alarm.check)}", flush=True)
    if outcome.open:
        silenced = len(outcome.open) - len(outcome.heard)
        more = f", {silenced} of them silenced" if silenced else ""
        print(f"{len(outcome.open)} open{more}: {command_line(config, 'monitor', 'show')}", flush=True)


def _line(health: Health) -> str:
    window, failed = health.window, health.failed
    unknown = sum(each.outcome == "unknown" for each in health.checks)
    said = f"{stamp(window.until, window.release)}  {window.rows:,} rows, {window.labelled:,} labelled: "
    said += (
        f"{len(failed)} of {len(health.checks)} checks failed"
        if failed
        else f"{len(health.checks)} checks, none failed"
    )
    said += f", {unknown} unknown" if unknown else ""
    return said + "".join(f"\n  {words.headline(each)}" for each in failed[:5])


def _as_json(outcome: Outcome) -> dict[str, Any]:
    return {
        "exit_code": outcome.exit_code,
        "windows": [stamp(each.window.until, each.window.release) for each in outcome.found],
        "newest": plain(outcome.newest),
        "raised": [plain(each) for each in outcome.raised],
        "over": [plain(each) for each in outcome.over],
        "open": [plain(each) for each in outcome.open],
        "silenced": [each.alarm.cause for each in outcome.open if each not in outcome.heard],
        "problems": list(outcome.problems),
    }


def _silence(args: argparse.Namespace, config: Config) -> int:
    store = MonitorStore(config)
    if not args.cause:
        raise ConfigError("monitor silence: CAUSE is missing", hint=_hint(known_causes(store)))
    if args.off:
        silenced = [each.cause for each in store.silences()]
        if not store.unsilence(meant(args.cause, silenced)):
            raise ConfigError(f"{args.cause!r} is not silenced", hint=f"silenced: {', '.join(silenced) or 'nothing'}")
        print(json.dumps({"cause": args.cause, "until": None}) if args.json else f"{args.cause}: not silenced any more")
        return 0
    if not args.until:
        raise ConfigError("monitor silence: --until is missing", hint="e.g. --until 2026-12-24")
    until, now = _time("until", args.until), utc_now()
    if moment(until) <= moment(now):
        raise ConfigError(f"--until: {args.until} is over", hint=f"it is {now} now")
    cause = meant(args.cause, known := known_causes(store))
    if cause not in known and cause not in OF_EVERY_MODEL:
        raise ConfigError(f"{args.cause!r:.200} is not a cause that is known here", hint=_hint(known))
    silence = Silence(cause, until, args.by or who(), args.reason, now)
    store.silence(silence)
    print(json.dumps(plain(silence)) if args.json else f"{clean(cause)}: no mails until {metrics.moment(until)}")
    return 0


def _hint(known: list[str]) -> str:
    if not known:
        return f"before the first window: {', '.join(map(repr, OF_EVERY_MODEL))}"
    more = f" and {len(known) - KNOWN} more: `trainyard monitor show --json`" if len(known) > KNOWN else ""
    return "known: " + ", ".join(map(repr, known[:KNOWN])) + more


def _time(name: str, text: str) -> str:
    try:
        found = datetime.fromisoformat(text)
        return text_of(found if found.tzinfo else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError):  # the latter: in UTC it has no year from 1 to 9999
        raise ConfigError(f"--{name}: {text!r} is not a time", hint="e.g. 2026-11-30T12:00+01:00") from None
