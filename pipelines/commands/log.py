"""`trainyard log show|export|compact|send|purge`: what the API has kept of what it answered."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.commands.promote import add_who, check_model, who
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.deploy.serve_job import log_folder, log_key
from pipelines.small_workers import ask
from pipelines.text.clean import clean
from pipelines.text.markup import Section, Table, to_text
from registry.errors import ConfigError
from registry.label_store import label_file

NEWEST = 20
SHOWN = 60  # characters of inputs in a row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=("show", "export", "compact", "send", "purge"),
        help="the newest lines; lines into a file; closed segments into Parquet, by day and release; closed segments to "
        "[prediction_log] url; remove all that is kept of a request or a caller, and record that",
    )
    parser.add_argument("model", nargs="?", default="", help="default: the model of trainyard.toml")
    parser.add_argument("--request", metavar="ID", default="", help="lines of this request")
    parser.add_argument("--caller", metavar="NAME", default="", help="lines of this caller, by the name of the token")
    parser.add_argument("--since", metavar="TIME", default="", help="e.g. 2026-11-30 or 2026-11-30T12:00+01:00")
    parser.add_argument("--until", metavar="TIME", default="", help="before this time")
    parser.add_argument("--release", metavar="N", type=int, help="lines of this release")
    parser.add_argument("--last", metavar="N", type=int, default=NEWEST, help=f"show: how many; default: {NEWEST}")
    parser.add_argument("--to", metavar="FILE", default="", help="export: a .jsonl, .jsonl.gz or .parquet file")
    add_who(parser)


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was found or done."""
    if args.model:
        check_model(args.model, config)
    return {"show": _show, "export": _export, "compact": _compact, "send": _send, "purge": _purge}[args.action](
        args, config
    )


def _show(args: argparse.Namespace, config: Config) -> int:
    if args.last < 1:
        raise ConfigError(f"--last: {args.last} is too few", hint="1 or more")
    rows = [json.loads(line) for line in _worker(config, "read", _choice(args) | {"last": args.last}).splitlines()]
    if args.json:
        print(json.dumps(rows))
        return 0
    head = ("time", "request", "row", "release", "caller", "status", "ms", "class", "confidence", "inputs")
    table = Table(head, tuple(_row(each) for each in rows))
    if not rows:
        state = "" if config.prediction_log.enabled else "; [prediction_log] enabled is false, so nothing is written"
        print(f"{config.model}: no such line{state}")
        return 0
    print(to_text(f"{config.model}: the newest {len(rows)} lines", [Section("", (table,))]), end="")
    return 0


def _row(line: dict[str, Any]) -> tuple[str, ...]:
    inputs = json.dumps(line.get("inputs") or {}, ensure_ascii=False)
    names = ("time", "id", "row", "release", "caller", "status", "ms", "class", "confidence")
    cells = ["" if line.get(name) is None else str(line[name]) for name in names]
    return tuple(clean(each, SHOWN) for each in [*cells, inputs])


def _export(args: argparse.Namespace, config: Config) -> int:
    if not args.to.endswith((".jsonl", ".jsonl.gz", ".parquet")):
        raise ConfigError(f"--to: {args.to or 'no file'!r}", hint="name a .jsonl, .jsonl.gz or .parquet file")
    found = _result(config, "export", _choice(args) | {"to": str(Path(args.to).absolute())})
    print(json.dumps(found) if args.json else f"{config.model}: {found['lines']} lines in {found['file']}")
    return 0


def _compact(args: argparse.Namespace, config: Config) -> int:
    if config.prediction_log.sink == "http":
        raise ConfigError(
            'the segments are sent elsewhere: [prediction_log] sink = "http"', hint="`trainyard log send` sends them"
        )
    bounds = {"keep_days": config.prediction_log.keep_days, "max_mb": config.prediction_log.max_mb}
    found = _result(config, "compact", bounds)
    unreadable = f"; {found['unreadable']} segments cannot be read, and stay" if found["unreadable"] else ""
    left_out = f"; {found['left_out']} lines cannot be read, and were left out" if found["left_out"] else ""
    text = f"{found['segments']} segments with {found['lines']} lines in {found['parts']} Parquet files{left_out}{unreadable}"
    print(json.dumps(found) if args.json else f"{config.model}: {text}; {found['removed']} files too old or too much")
    return 0


def _send(args: argparse.Namespace, config: Config) -> int:
    from pipelines.exports.prediction_sink import send

    log = config.prediction_log
    if log.sink != "http":
        raise ConfigError('[prediction_log] sink is "file"', hint='set sink = "http" and url')
    found = send(log_folder(config), log.url, secret("PREDICTION_LOG_TOKEN"))
    facts = {"lines": found.lines, "segments": found.segments, "dropped": found.dropped}
    dropped = f"; {found.dropped} lines were refused for good, and are dropped" if found.dropped else ""
    print(json.dumps(facts) if args.json else f"{config.model}: {found.lines} lines sent{dropped}")
    return 0


def _purge(args: argparse.Namespace, config: Config) -> int:
    if bool(args.request) == bool(args.caller):
        raise ConfigError("log purge: name a request or a caller", hint="--request ID, or --caller NAME")
    kind, value = ("request", args.request) if args.request else ("caller", args.caller)
    labels = label_file(Path(config.home).absolute(), config.model)
    job = {"kind": kind, "value": value, "who": args.by or who(), "key": str(log_key(config)), "labels": str(labels)}
    found = _result(config, "purge", job)
    text = (
        f"{found['lines']} lines and {found['labels']} labels of this {kind} removed, and that recorded; "
        "what was exported or sent before is elsewhere"
    )
    print(json.dumps(found) if args.json else f"{config.model}: {text}")
    return 0


def _choice(args: argparse.Namespace) -> dict[str, Any]:
    times = {name: _time(name, getattr(args, name)) for name in ("since", "until")}
    return {**times, "release": args.release, "request": args.request, "caller": args.caller}


def _time(name: str, text: str) -> str:
    if not text:
        return ""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--{name}: {text!r} is not a time", hint="e.g. 2026-11-30T12:00+01:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def _result(config: Config, action: str, more: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(_worker(config, action, more).splitlines()[-1]))


def _worker(config: Config, action: str, more: dict[str, Any]) -> str:
    """What a worker prints; raises what it reports. It runs in a process of its own, as it loads pyarrow."""
    job = {"action": action, "folder": str(log_folder(config)), **more}
    return ask("pipelines.workers.prediction_log", job, "the worker that reads the prediction log")
