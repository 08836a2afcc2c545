"""`[serving] deploy = "jenkins"`: promotion and rollback by the promotion job, which starts the API where it runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping

from pipelines.config.schema import Config
from pipelines.jenkins_server.client import open_jenkins
from pipelines.jenkins_server.follow import Build, ask_for, path_of
from pipelines.jenkins_server.trigger import say, summary, to_its_end
from pipelines.text.clean import clean
from registry import codec, releases
from registry.errors import ConfigError, PipelineError
from registry.records import Release
from registry.stores import open_store

JOB = "promotion"
WORK_SECONDS = 3600.0
"""For an executor, copying, and the API's start."""


def promote(config: Config, version: int, token: str) -> dict[str, str]:
    """The job's parameters. Without a token the job asks its submitters, and waits for one of them."""
    return {"ACTION": "promote", "MODEL": config.model, "VERSION": str(version), "APPROVAL": token}


def rollback(config: Config, to: int | None, reason: str) -> dict[str, str]:
    """The job's parameters; without `to` it goes back to what was live before."""
    return {"ACTION": "rollback", "MODEL": config.model, "VERSION": "" if to is None else str(to), "REASON": reason}


def check_by(name: str) -> None:
    """Raise ConfigError for `--by NAME`: Jenkins knows who has started a build, and does not take another's word."""
    if name:
        raise ConfigError(
            f"--by {clean(name, 100)}: Jenkins records who has started its job, or has said yes there",
            hint="leave --by away; [jenkins] user and its token are who starts the job",
        )


def command(args: argparse.Namespace, config: Config, parameters: Mapping[str, str]) -> int:
    """Start the job, wait for its end, print the release; the exit code is that of what ran in it."""
    seconds = WORK_SECONDS
    if parameters["ACTION"] == "promote" and not parameters["APPROVAL"]:
        say("no approval token is given: Jenkins asks for the approval, on the page of the build")
        seconds += config.approval.valid_days * 86400
    build = to_its_end(config, ask_for(open_jenkins(config), path_of(config, JOB), parameters), seconds)
    if build.exit_code:
        say(summary(build))
        facts = {"build": build.url, "result": build.result, "exit_code": build.exit_code}
        if args.json:
            sys.stdout.write(json.dumps(facts | {"description": build.description}, ensure_ascii=False) + "\n")
        return build.exit_code
    _tell(build, _live(config, parameters["VERSION"]), as_json=args.json)
    return 0


def _live(config: Config, version: str) -> Release | None:
    """The release, where the registry can be read from here; None when it cannot, or tells of something else."""
    try:
        release = releases.live(open_store(config.registry.url), config.model)
    except (PipelineError, OSError):  # on another machine: the build has told it
        return None
    return release if release and (not version or release.version == int(version)) else None


def _tell(build: Build, release: Release | None, *, as_json: bool) -> None:
    if as_json:
        known = json.loads(codec.to_json(release)) if release else {"description": build.description}
        text = json.dumps({**known, "build": build.url}, ensure_ascii=False)
    elif release:
        what = f"{release.model} version {release.version} is live: release {release.number}"
        text = f"{what}, by {release.by}, {release.reason}\n  Jenkins' build  {build.url}"
    else:
        text = summary(build)
    sys.stdout.write(f"{text}\n")
