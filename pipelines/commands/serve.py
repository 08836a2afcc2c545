"""`trainyard serve MODEL`: start, stop or inspect the prediction API of the live release."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipelines.commands.promote import add_here, check_model, placed, try_line, warn_of_settings
from pipelines.config.schema import Config
from pipelines.deploy import Deployment, api_folder, open_deployment
from pipelines.deploy.process import refuse_unfenced
from pipelines.deploy.serve_job import image_of, serve_job
from pipelines.trust import open_registry
from registry import candidates, codec, releases
from registry.errors import ConfigError, TryAgain
from registry.records import Release
from registry.stores import Store, open_store
from serving.access.checks import check
from serving.job import ServeJob
from serving.server import control, lockfile
from serving.server.control import start_again

NOT_RUNNING = 3
"""The exit code of `--status` when no API runs, as `systemctl status` has it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", help="the model whose live release answers")
    parser.add_argument("--host", help="address to listen on; default: [serving] host")
    parser.add_argument("--port", type=int, help="port to listen on, 0: any free one; default: [serving] port")
    parser.add_argument("--workers", type=int, help="server processes; default: [serving] workers")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--background", action="store_true", help="start it and come back when it is ready")
    what.add_argument("--stop", action="store_true", help="stop it; requests in flight are answered")
    what.add_argument(
        "--status",
        action="store_true",
        help="where it runs and what each server process serves; exit code 3: it does not run",
    )
    add_here(parser)


def main(args: argparse.Namespace, config: Config) -> int:
    """Print the URL and a line for curl, or what was asked for."""
    check_model(args.model, config)
    config = placed(args, config)
    api = open_deployment(config)
    if args.stop:
        stopped = api.stop()
        _print(args, {"stopped": stopped}, f"{args.model}: {'stopped' if stopped else 'no API is running'}")
        return 0
    if args.status:
        return _status(args, config, api)
    job = overridden(config, args)
    for note in check(job):
        print(f"note: {note}", file=sys.stderr)
    store, release = what_is_live(config, job)
    if args.background:
        image = image_of(store, release)
        url = api.start(job, image)
        api.follow(job, image, release.number)
        api.update(job, image)
        warn_of_settings(job, api)
        text = f"{args.model}: release {release.number} at {url}\ntry: {try_line(url, job)}"
        _print(args, {"url": url, "release": release.number}, text)
        return 0
    if config.serving.deploy != "process":
        raise ConfigError(
            f'with [serving] deploy = "{config.serving.deploy}" the API runs in the background only',
            hint=f"`trainyard serve {args.model} --background` starts it; `--status` shows where its log is",
        )
    if running := api.running():
        raise ConfigError(
            f"the API of {args.model} is already running at {running}",
            hint=f"`trainyard serve {args.model} --stop` stops it",
        )
    refuse_unfenced(config)
    _become_the_server(job, api_folder(config))
    return 0


def overridden(config: Config, args: argparse.Namespace) -> ServeJob:
    """The API's job, the flags on top of the settings; raises ConfigError for a value that cannot be."""
    job = serve_job(config)
    job = replace(
        job,
        host=args.host or job.host,
        port=job.port if args.port is None else args.port,
        workers=job.workers if args.workers is None else args.workers,
    )
    if not 0 <= job.port <= 65535:
        raise ConfigError(f"--port: {job.port} is not a port", hint="0 to 65535; 0: any free one")
    if job.workers < 1:
        raise ConfigError(f"--workers: {job.workers} is too few", hint="1 or more")
    return job


def what_is_live(config: Config, job: ServeJob) -> tuple[Store, Release]:
    """The registry and its live release; those of the API's local copy while a bucket is out of reach.

    Raises TryAgain when there is no such copy, ConfigError when nothing is live.
    """
    try:
        store = open_registry(config)
        return store, live_release(store, job.model)
    except TryAgain as error:
        copy = open_store(job.followed)
        if not job.mirror or not (release := releases.live(copy, job.model)):
            raise
        print(f"note: {error}; release {release.number} is the last one in the local copy", file=sys.stderr)
        return copy, release


def live_release(store: Store, model: str) -> Release:
    """The live release; raises ConfigError, naming the next action, when there is none."""
    if release := releases.live(store, model):
        return release
    if candidates.newest(store, model) is None:
        hint = "`trainyard run code` trains a first candidate; the mail about it holds the command that promotes it"
    else:
        hint = f"promote a candidate first: `trainyard registry list {model}` shows them"
    raise ConfigError(f"no version of {model} is live", hint=hint)


def _status(args: argparse.Namespace, config: Config, api: Deployment) -> int:
    facts = _facts(config, api)
    _print(args, facts, "\n".join(_in_words(args.model, facts)))
    if facts["changed"]:
        warn_of_settings(serve_job(config), api)
    return 0 if facts["url"] else NOT_RUNNING


def _facts(config: Config, api: Deployment) -> dict[str, Any]:
    """What there is to say about the API, for both forms: the words show nothing else."""
    url, parts = api.running(), api.parts()
    if url is None:
        rest = [each for each in parts if each.startswith("container")]  # stopped by hand, or broken
        return {"url": None, "parts": rest, "changed": {}}
    found = api.version()
    newest, unreachable = None, ""
    try:
        newest = releases.latest(open_registry(config, only_look=True), config.model)
    except TryAgain as error:  # the API answers all the same, and somebody wants to know how
        unreachable = str(error)
    return {
        "url": url,
        "admin": api.admin(),
        "grpc": api.grpc(),
        **found,
        "registry_error": unreachable,
        "newest": newest.number if newest else None,
        "newest_version": newest.version if newest else None,
        "behind": control.behind(found, newest.number) if newest else [],
        "cut_off": bool(control.cut_off(found)),
        "changed": api.changed(serve_job(config)),
        "unfenced": api.unfenced(),
        "parts": parts,
    }


def _in_words(model: str, facts: dict[str, Any]) -> list[str]:
    parts = facts["parts"]
    if facts["url"] is None:
        return [f"{model}: no API is running", *(f"  {each}" for each in parts)]
    lines = [f"{model}: {facts['url']}, release {facts['release']}, version {facts['version']}; {parts[-1]}"]
    if admin := facts["admin"]:
        lines.append(f"  for operators: {admin}/status, {admin}/metrics")
    if facts["grpc"]:
        lines.append(f"  over gRPC: {facts['grpc']}")
    lines += [f"  {each}" for each in parts[:-1]]
    lines += [f"  the registry's records are {each}" for each in _verified(facts["workers"])]
    for worker in facts["workers"]:
        error = f": {worker['error']}" if worker["error"] else ""
        lines.append(f"  server process {worker['pid']}: {worker['state']}, release {worker['release']}{error}")
        lines += [f"    {worker['batching']}"] if worker.get("batching") else []  # an older API does not say
    if facts["registry_error"]:
        lines.append(f"  whether there is a newer release is not known: {facts['registry_error']}")
    if len(facts["workers"]) < facts["expected"]:
        lines.append(f"  {len(facts['workers'])} of {facts['expected']} server processes are up")
    if facts["cut_off"]:
        lines.append(f"  {start_again(model)}: until then it follows no release")
    elif behind := facts["behind"]:
        version = facts["newest_version"]
        what = f"makes version {version} live" if version else "withdraws the model"
        lines.append(
            f"  but release {facts['newest']} {what}: {len(behind)} of {len(facts['workers'])} server processes do not follow"
        )
    return lines


def _verified(workers: list[dict[str, Any]]) -> list[str]:
    """By what the API verifies the registry, each once; an API of an earlier version of Trainyard does not say."""
    return sorted({each["verified"] for each in workers if each.get("verified")})


def _become_the_server(job: ServeJob, folder: Path) -> None:
    """Replace this process by the server, so that the terminal's signals reach it."""
    folder.mkdir(parents=True, exist_ok=True)
    codec.save(job, folder / "job.json")
    if job.port:
        url = lockfile.url(job.host, job.port, tls=bool(job.certfile))
        print(f"{job.model}: {url}   (Ctrl-C stops it)\ntry: {try_line(url, job)}", flush=True)
    os.chdir(folder)
    os.execve(sys.executable, control.command(job, folder), control.environment(job))  # noqa: S606


def _print(args: argparse.Namespace, facts: dict[str, object], text: str) -> None:
    print(json.dumps(facts) if args.json else text)
