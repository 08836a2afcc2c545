"""`trainyard watch`: polls the three repositories, and runs a pipeline for what is new. For remotes without hooks.
It does what `[schedule]` wants, too, when nothing is new.

What has been seen is kept in `watch.json` after the run has ended. A watcher that was killed finds its run
unfinished and resumes it, so that each commit is acted upon once, over restarts too.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pipelines.commands.of_models import attempt, worst
from pipelines.commands.run import run_pipeline, say, send_waiting
from pipelines.config.schema import Config
from pipelines.context import clones
from pipelines.old_runs import known
from pipelines.repositories import git, processes
from pipelines.repositories.folders import is_touched
from pipelines.schedule import Clock, Due
from pipelines.signals import Terminated
from pipelines.steps.resolve import Request
from registry.errors import ConfigError, PipelineError, TryAgain
from registry.files import write_whole
from registry.records import Trigger
from training.worker.protocol import one_line

TRIGGERS: tuple[Trigger, ...] = ("code", "dataset", "tests")  # a new code commit takes the newest data and tests along
TAKEN_BY: dict[Trigger, tuple[Trigger, ...]] = {"code": ("code",), "dataset": ("code", "dataset"), "tests": ("tests",)}
"""Which runs a new commit has had its effect in: one of tests trains nothing. Tests that had no run of their own were met by candidates."""
OPEN = ("at work", "begun", "unfinished")
LONGEST_WAIT = 300.0  # seconds between two tries at a remote that is down


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "--interval", type=float, default=15.0, metavar="SECONDS", help="between two polls (default 15)"
    )
    parser.add_argument("--once", action="store_true", help="poll once, act on what is new, and end")


def main(args: argparse.Namespace, config: Config) -> int:
    """Poll until SIGTERM, which ends it with 0, or Ctrl-C; with --once the exit code is that of the run."""
    return _until_stopped(args, [Watcher(config)])


def main_of_all(args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """The same for several models, one after the other in each round; with --once the exit code is the worst."""
    return _until_stopped(args, [Watcher(config, each_line=f"{config.model}: ") for config in configs])


def _until_stopped(args: argparse.Namespace, watchers: Sequence[Watcher]) -> int:
    try:
        with ExitStack() as locks:
            for each in watchers:
                locks.enter_context(_alone(each.file.with_suffix(".lock")))
            return _watch(watchers, args)
    except Terminated:  # how a service is stopped; an unfinished run resumes at the next start
        say("stopped watching")
        return 0


def _watch(watchers: Sequence[Watcher], args: argparse.Namespace) -> int:
    for watcher in watchers:
        branches = _branches(watcher.config)
        how_long = "once" if args.once else f"every {args.interval:g} s; stop with Ctrl-C"
        watcher.say(f"watching {branches} of code, dataset and tests {how_long}")
        for each in watcher.clock.entries:
            watcher.say(f"{each.what} by the clock: {each.cron} ({each.timezone})")
    while True:
        several = len(watchers) > 1
        code = worst([attempt(each.config.model, each.look) if several else each.look() for each in watchers])
        if args.once:
            return code
        threading.Event().wait(args.interval if code != TryAgain.exit_code else min(args.interval * 4, LONGEST_WAIT))


def _branches(config: Config) -> str:
    return ", ".join(dict.fromkeys(config.repositories.branch_of(name) for name in TRIGGERS))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TryAgain(
                f"another watcher is running ({path})",
                hint="one is enough; stop it first, if this one is to replace it",
            ) from None
        yield


class Watcher:
    """Remembers the heads it has acted upon, in `watch.json`."""

    def __init__(self, config: Config, each_line: str = "") -> None:
        """`each_line` is put before what is said, where others are watched beside it."""
        self.config = config
        self._each_line = each_line
        self.file = config.own_folder / "watch.json"
        self.problems: dict[str, str] = {}
        self.clock = Clock(config)

    def say(self, text: str) -> None:
        """A line for the person who watches."""
        say(f"{self._each_line}{text}")

    def look(self) -> int:
        """Do what was pushed, and what is due; the exit code of the former, else of the latter."""
        pushed, timed = self.poll(), self.keep_time(datetime.now(UTC))
        return pushed or timed

    def poll(self) -> int:
        """Act upon what is new; gives the exit code of the run, 0 without one, 75 when the run could not be started."""
        seen, heads = self._seen(), self._heads()
        new = [name for name in TRIGGERS if name in heads and heads[name] != seen.get(name)]
        new, passed_over = self._touched(new, seen, heads)
        if passed_over and not new:
            write_whole(self.file, json.dumps({"schema": 1, "seen": seen | passed_over}).encode())
        if not new or len(heads | seen) < len(TRIGGERS):
            send_waiting(self.config)
            return 0  # nothing new, or a repository that nobody has seen yet
        trigger = new[0]
        self.say(f"new in {', '.join(f'{name} {heads[name][:7]}' for name in new)}")
        code = self._run(Request(trigger, {**seen, **heads}, reason="seen by trainyard watch"))
        if code != TryAgain.exit_code:
            if self._has_tests_of_its_own(trigger) and "tests" in seen:
                heads["tests"] = seen["tests"]  # the live release must meet new tests, too: the next poll runs them
            write_whole(self.file, json.dumps({"schema": 1, "seen": seen | heads}).encode())
        return code

    def keep_time(self, now: datetime) -> int:
        """Do what `[schedule]` makes due; gives the last exit code that is not 0. What may succeed later stays due."""
        code = 0
        for due in self.clock.due(now):
            self.say(f"{due.entry.what}: due since {due.words}")
            found = self._retrain(due) if due.entry.what == "retrain" else self._monitor()
            if found != TryAgain.exit_code:
                self.clock.done(due)
            code = found or code
        return code

    def _retrain(self, due: Due) -> int:
        request = Request(
            "dataset",
            forced=True,
            reason=f"scheduled for {due.words}",
            started_by="the schedule",
            occasion=due.occasion,
        )
        return self._run(request)

    def _monitor(self) -> int:
        from pipelines.commands.monitor import check_once

        try:
            return check_once(self.config)
        except PipelineError as error:
            self.say(f"cannot monitor now: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
            return error.exit_code

    def _run(self, request: Request) -> int:
        """The exit code of the run; what cannot be started is shown."""
        try:
            return run_pipeline(self.config, request)[2]
        except TryAgain as error:
            self.say(f"cannot start a run now: {error}")
            return error.exit_code
        except PipelineError as error:  # a person must act; the next commit may be what they do
            what = request.occasion or f"push to {request.trigger}"
            self.say(f"FAILED: {what}: {error}" + (f"\n  hint: {error.hint}" if error.hint else ""))
            return error.exit_code

    def _has_tests_of_its_own(self, trigger: str) -> bool:
        """Whether the tests are in another repository; those of the same one are the commit that has just been run."""
        chosen = self.config.repositories
        return trigger != "tests" and chosen.place_of(trigger) != chosen.place_of("tests")

    def _touched(
        self, new: Sequence[Trigger], seen: dict[str, str], heads: dict[str, str]
    ) -> tuple[list[Trigger], dict[str, str]]:
        """Those of what is new in which something changed, and the heads of the others: with a folder of a repository as a role, most
        pushes are about something else."""
        chosen, cache, passed_over = self.config.repositories, clones(self.config), dict[str, str]()
        for name in new:
            url, _, folder = chosen.place_of(name)
            try:
                if not is_touched(cache, url, name, folder, (seen.get(name, ""), heads[name])):
                    passed_over[name] = heads[name]
            except PipelineError:
                continue  # the run meets it, too, and says what to do
        return [name for name in new if name not in passed_over], passed_over

    def _heads(self) -> dict[str, str]:
        """The heads that can be read now; each problem is shown once, and again when it has changed."""
        heads: dict[str, str] = {}
        for name, head in zip(TRIGGERS, processes.in_parallel(self._head, TRIGGERS), strict=True):
            if isinstance(head, str):
                heads[name] = head
                if self.problems.pop(name, None):
                    self.say(f"{name} can be read again")
            else:
                if self.problems.get(name) != str(head):
                    self.say(f"still watching, but: {one_line(head)}")
                self.problems[name] = str(head)
        return heads

    def _head(self, name: str) -> str | PipelineError:
        try:
            return git.head(getattr(self.config.repositories, name), self.config.repositories.branch_of(name), name)
        except PipelineError as error:
            return error

    def _seen(self) -> dict[str, str]:
        try:
            seen = json.loads(self.file.read_bytes())["seen"]
            return {name: str(seen[name]) for name in TRIGGERS if name in seen}
        except FileNotFoundError:
            return self._run_before()
        except (ValueError, KeyError, TypeError):
            raise ConfigError(
                f"{self.file} is not readable", hint="delete it: then what no run was about counts as new"
            ) from None

    def _run_before(self) -> dict[str, str]:
        """For the first start: what runs that are over were about, failed ones too, which hooks or people may have started."""
        runs = [each.run for each in known(self.config.runs) if each.state not in OPEN]
        seen: dict[str, str] = {}
        for name, triggers in TAKEN_BY.items():
            of_it = [each for each in runs if each.trigger in triggers]
            if found := of_it or (runs if name == "tests" else []):
                seen[name] = str(getattr(found[0].sources, name))
        return seen
