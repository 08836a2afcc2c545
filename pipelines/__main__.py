"""The entry point: `trainyard COMMAND …`. Only here are errors printed and exit codes chosen; only the requested command is
imported."""

from __future__ import annotations

import argparse
import atexit
import gc
import io
import json
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from pipelines.config.held import take as take_secrets
from pipelines.signals import Terminated, raise_on_sigterm
from registry.errors import PipelineError, from_os_error

COMMANDS = {
    "demo": "everything once, on this machine: push, train, approve, predict, drift, labels, retrain, roll back",
    "run": "run a pipeline by hand: code, dataset or tests",
    "step": "run one step of a run; what Jenkins calls",
    "notify": "--test: one test mail to each owner, and what the mail server answers",
    "runs": "list, show, log, prune: what earlier runs did, and what they have left",
    "clean": "remove what [keep], [cache] and [prediction_log] do not keep: runs, data, weights, mails, predictions",
    "watch": "poll the three repositories and run a pipeline for each new commit",
    "service": "install, show, remove: have systemd keep watch, monitor, serve or console running",
    "console": "web pages over everything, for people with a browser; users add, list, remove, passwd",
    "hooks": "install: make `git push` to a bare repository start its pipeline",
    "approve": "sign an approval with your own key",
    "promote": "put an approved version into production",
    "rollback": "go back to an earlier version",
    "demote": "take a model out of production: nothing is live any more",
    "data": "add, push, pull, status, gc: files of a dataset that do not lie in git",
    "serve": "start, stop or inspect the prediction API",
    "predict": "ask the prediction API with files",
    "batch": "predictions for all rows of files, in a folder or a bucket",
    "log": "show, export, compact, send, purge: what the prediction API has kept of its answers",
    "monitor": "check how the live release does, mail what fails; show, silence",
    "labels": "show, import, export, queue, tasks, commit: which answers were right, and their labels into the dataset repository",
    "token": "make, list, revoke: who may ask the prediction API",
    "export": "version: for somebody who has no Trainyard, with a script that checks it; prometheus, grafana: to watch the API",
    "registry": "list, show, history, verify, adopt, copy, archive, restore",
    "lineage": "where a version comes from; which versions a file or a row of data went into",
    "reproduce": "train a version again from its manifest, and compare; nothing is registered",
    "keys": "make, list, trust, add, rotate, revoke: the keys that sign the registry's records",
    "jenkins": "apply, trigger, status, export: this model's jobs on your Jenkins",
    "images": "build, list, prune: the container images of workers and the API",
    "config": "show every setting with its value",
    "doctor": "what is there, what is missing, what to do",
}
HIDDEN = {"hook": "what the post-receive hook calls"}
CHECKOUTS = 2
"""How many fences `fetch` needs mostly: the files of a dataset that has not changed are there."""
BEFORE = ("--config", "--model", "--set")
"""Options that may come before the command, with their values."""
EXIT_CODES = (
    "exit codes: 0 done · 1 a bug · 2 a person must fix something · 3 rejected, or an alarm is open · 75 try again"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # a process of its own: what its environment holds is nobody else's from now on
        take_secrets()
        sys.setswitchinterval(0.0005)  # seconds: a thread that only starts git does not wait for one that computes
        gc.set_threshold(
            50_000
        )  # imports make many objects and hardly any garbage: 4% of a light step was looking for it
        if arguments[:2] == ["step", "fetch"]:
            import_module("training.fence.ahead").start(CHECKOUTS)  # the other core has nothing to do while we import
        for stream in (sys.stdout, sys.stderr):  # a terminal of another alphabet shows `?`, and nothing fails
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
    raise_on_sigterm()
    atexit.register(gc.freeze)  # all memory goes at the end: a last look for what is unreachable only takes time
    at = command_at(arguments)
    name = arguments[at] if at < len(arguments) else ""
    try:
        return _dispatch(name, arguments, arguments[:at] + arguments[at + 1 :])
    except PipelineError as error:
        return report(error, name, as_json="--json" in arguments)
    except BrokenPipeError:  # the reader of our stdout has gone, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        known = from_os_error(error)
        if known is None:
            raise
        return report(known, name, as_json="--json" in arguments)
    except KeyboardInterrupt:
        print("interrupted; the same command resumes here", file=sys.stderr)
        return 130
    except Terminated:
        return 143


def report(error: PipelineError, command: str, *, as_json: bool = False) -> int:
    """Print the error in one line and its hint; returns its exit code."""
    from training.worker.protocol import one_line

    if as_json:
        print(json.dumps({"error": str(error), "hint": error.hint, "exit_code": error.exit_code}))
    print(f"trainyard {command}: {one_line(error)}", file=sys.stderr)
    if error.hint:
        print(f"  hint: {one_line(error.hint)}", file=sys.stderr)
    return error.exit_code


def command_at(arguments: Sequence[str]) -> int:
    """Where the first word is that is neither an option nor the value of one."""
    at = 0
    while at < len(arguments) and arguments[at].startswith("-"):
        at += 2 if arguments[at] in BEFORE else 1
    return at


def _dispatch(name: str, arguments: list[str], others: list[str]) -> int:
    """`others`: the arguments without the command."""
    if name not in COMMANDS and name not in HIDDEN:
        _overview().parse_args(arguments)  # prints what is wrong, or the help, and exits
        return 2
    import_module("registry.dataclass")  # before `dataclasses` is imported without it
    command = import_module(f"pipelines.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"trainyard {name}",
        description=(COMMANDS | HIDDEN)[name],
        epilog=EXIT_CODES,
    )
    parser.add_argument("--config", metavar="FILE", help="trainyard.toml; default: here or in a folder above")
    parser.add_argument("--model", dest="only_model", metavar="NAME", help="which one, where models/ has several")
    parser.add_argument("--set", metavar="SECTION.KEY=VALUE", action="append", default=[], help="override one setting")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")
    command.add_arguments(parser)
    args = parser.parse_args(others)
    if not getattr(command, "NEEDS_CONFIG", True):
        return int(command.main(args))
    from pipelines.commands.of_models import configs_of
    from pipelines.config.load import mistyped

    configs = configs_of(args, command)
    for warning in mistyped(os.environ):
        print(f"trainyard: {warning}", file=sys.stderr)
    return int(command.main(args, configs[0]) if len(configs) == 1 else command.main_of_all(args, configs))


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="trainyard",
        description="CI/CD for machine-learning models: from git push to a running prediction API.",
        epilog=f"commands:\n{lines}\n\n`trainyard COMMAND --help` has more.\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="trainyard COMMAND [OPTIONS]",
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    return parser


if __name__ == "__main__":
    sys.exit(main())
