"""`[serving] deploy = "jenkins"`: promotion and rollback by the Jenkins job `promotion`, which starts the API on its agent."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping

from pipelines.config.schema import Config
from pipelines.jenkins_server.builds import FinishedBuild, Queued, model_job_path, start_build
from pipelines.jenkins_server.client import JenkinsClient, NotFound, open_jenkins
from pipelines.jenkins_server.terminal import follow, say, summary
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry import codec, releases
from registry.errors import ConfigError, PipelineError
from registry.records import Release

JOB = "promotion"
QUESTION = "Approve"
"""The id of the Jenkins job's `input`."""
WORK_SECONDS = 3600.0
"""Limit for getting an executor, copying, and the start of the API."""


def promote(config: Config, version: int, token: str, although: str) -> dict[str, str]:
    """Parameters of the Jenkins job. Without a token it asks its submitters, and waits for one of them."""
    asked = {"ACTION": "promote", "MODEL": config.model, "VERSION": str(version), "APPROVAL": token}
    return asked | {"ALTHOUGH": although} if although else asked


def rollback(config: Config, to: int | None, reason: str) -> dict[str, str]:
    """Parameters of the Jenkins job; without `to` it rolls back to the previous release."""
    return {"ACTION": "rollback", "MODEL": config.model, "VERSION": "" if to is None else str(to), "REASON": reason}


def check_by(name: str) -> None:
    """Raise ConfigError for `--by NAME`: Jenkins itself knows who has started or approved a build."""
    if name:
        raise ConfigError(
            f"--by {clean(name, 100)}: Jenkins records who has started its job, or has approved there",
            hint="omit --by: [jenkins] user is recorded as who starts the Jenkins job",
        )


def command(args: argparse.Namespace, config: Config, parameters: Mapping[str, str], *, decided: bool = False) -> int:
    """Start the Jenkins job, wait for its end, print the release; the exit code is that of the build.

    `decided`: people have approved already, and the registry has it; a build that asks for that version gets its answer.
    """
    seconds = WORK_SECONDS
    if parameters["ACTION"] == "promote" and not parameters["APPROVAL"]:
        say("no approval token is given: Jenkins asks for the approval, on the page of the build")
        seconds += config.approval.valid_days * 86400
    client, job, queued = open_jenkins(config), model_job_path(config, JOB), None
    if decided:
        queued = answer_waiting(client, job, parameters)
    build = follow(config, queued or start_build(client, job, parameters), seconds)
    if build.exit_code:
        say(summary(build))
        facts = {"build": build.url, "result": build.result, "exit_code": build.exit_code}
        if args.json:
            sys.stdout.write(json.dumps(facts | {"description": build.description}, ensure_ascii=False) + "\n")
        return build.exit_code
    _print(build, _released(config, parameters["VERSION"]), as_json=args.json)
    return 0


def answer_waiting(client: JenkinsClient, job: str, parameters: Mapping[str, str]) -> Queued | None:
    """Answer the question of a build that waits for the approval of this version with yes; None when there is none."""
    about = "builds[number,queueId,building,url,actions[parameters[name,value]]]{0,100}"
    for build in client.get(f"{job}/api/json", about).get("builds", ()):
        given = {
            each.get("name"): str(each.get("value", ""))
            for action in build.get("actions", ())
            for each in action.get("parameters", ())
        }
        if not build.get("building") or any(
            given.get(name) != parameters[name] for name in ("ACTION", "MODEL", "VERSION")
        ):
            continue
        with contextlib.suppress(NotFound):  # it does not ask, or not any more
            client.post(f"{job}/{build['number']}/input/{QUESTION}/proceed", {"json": '{"parameter": []}'})
            return Queued(job, int(build["queueId"]), str(build["url"]), joined=True)
    return None


def _released(config: Config, version: str) -> Release | None:
    """The release, from the registry; None when it cannot be read from here, or has another version released."""
    try:
        release = releases.live(open_registry(config), config.model)
    except (PipelineError, OSError):  # on another machine: the build's description names it
        return None
    return release if release and (not version or release.version == int(version)) else None


def _print(build: FinishedBuild, release: Release | None, *, as_json: bool) -> None:
    if as_json:
        known = json.loads(codec.to_json(release)) if release else {"description": build.description}
        text = json.dumps({**known, "build": build.url}, ensure_ascii=False)
    elif release:
        what = f"{release.model} version {release.version} is live: release {release.number}"
        text = f"{what}, by {release.by}, {release.reason}\n  Jenkins build  {build.url}"
    else:
        text = summary(build)
    sys.stdout.write(f"{text}\n")
