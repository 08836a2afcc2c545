"""`trainyard promote MODEL VERSION --approval TEXT`: release an approved version. It is the command in the mail."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from pipelines.approvals.tokens import approval_secret, make_token
from pipelines.config.load import secret
from pipelines.config.schema import Config
from pipelines.context import Context
from pipelines.deploy import Deployment, config_here, open_deployment
from pipelines.deploy.serve_job import serve_job
from pipelines.progress.view import open_progress
from pipelines.promotion import status
from pipelines.promotion.mail import mail_although
from pipelines.promotion.measure import measure_by_worker
from pipelines.promotion.promote import promote
from pipelines.promotion.request import RECORDED, Request
from pipelines.text.clean import clean
from pipelines.trust import open_registry
from registry import candidates, codec, decisions
from registry.errors import ConfigError
from registry.records import Release
from registry.stores import Store
from serving.job import ServeJob

MAX_WHY = 500  # characters
TOKEN = "TRAINYARD_APPROVAL"  # noqa: S105  (the name of a variable)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", metavar="MODEL", help="as in trainyard.toml")
    parser.add_argument("version", metavar="VERSION", type=int, help="the candidate's number")
    parser.add_argument(
        "--approval",
        metavar="TEXT",
        default="",
        help=f"the token from the mail, or what `trainyard approve` has signed; - reads it from standard input; {RECORDED}: the "
        f"approvals that the registry has, e.g. from the console; default: the environment's {TOKEN}, or the file that "
        f"{TOKEN}_FILE names",
    )
    add_over(parser)
    parser.add_argument(
        "--approved-by",
        metavar="NAME",
        default="",
        help="instead of a token, for the promotion job: Jenkins has asked NAME. Needs the secret that approvals are "
        "signed with",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what is known of the version; release nothing")
    parser.add_argument(
        "--jenkins-user",
        metavar="NAME",
        default="",
        help="beside a token, for the promotion job: the login by which Jenkins knows who has started the build",
    )
    parser.add_argument(
        "--although",
        metavar="WHY",
        default="",
        help="release it even if it was not compared with what is live, or is worse: recorded, and mailed",
    )
    add_who(parser)
    add_here(parser)


def main(args: argparse.Namespace, config: Config) -> int:
    """Release it, or show what would be released; a CI server's build gets to know how it has ended."""
    if args.dry_run:
        check_model(args.model, config)
        print("\n".join(status.ask(args.build, config, args.version)))
        return 0
    return status.shown(args.build, config, "promotion", args.version, lambda: _promote(args, config))


def _promote(args: argparse.Namespace, config: Config) -> int:
    """Print the release and where it answers."""
    check_model(args.model, config)
    config = placed(args, config)
    if config.serving.deploy == "jenkins":
        from pipelines.jenkins_server import promotion_job

        asked = _asked_of_jenkins(args, config)
        return promotion_job.command(args, config, asked, decided=asked["APPROVAL"] == RECORDED)
    store = open_registry(config)
    release = promote(store, config, _request(args, store, config), measure_by_worker(lambda: _context(config)))
    print_release(release, config, as_json=args.json)
    track(store, config)
    out = sys.stderr if args.json else sys.stdout
    if release.although:
        print(f"  although       {'; '.join(release.failed)}: {release.although}", file=out)
        print(f"  mail           {mail_although(config, store, release)}", file=out)
    elif args.although:
        print("  note           nothing spoke against it: --although is not recorded", file=out)
    return 0


def _request(args: argparse.Namespace, store: Store, config: Config) -> Request:
    although = clean(args.although, MAX_WHY)
    if args.approved_by:
        by = approver(args, os.environ)
        token = _mint(store, config, args.model, args.version)
        return Request(args.model, args.version, token, by, by, "jenkins", although, over=args.over)
    token, by = read_token(args.approval, os.environ, sys.stdin), args.by or who()
    if args.jenkins_user:
        seen = _in_build(clean(args.jenkins_user), os.environ)
        return Request(args.model, args.version, token, by, seen, "jenkins", although, over=args.over)
    return Request(args.model, args.version, token, by, login(), "token", although, over=args.over)


def _context(config: Config) -> Context:
    return Context(config, open_progress())


def read_token(given: str, environment: Mapping[str, str], stdin: TextIO) -> str:
    """The approval token from flag, standard input or environment; raises ConfigError when there is none."""
    token = stdin.readline(4096) if given == "-" else given or secret("APPROVAL", environment)
    if not token.strip():
        raise ConfigError(
            "no approval token is given", hint=f"copy the command from the mail, or set {TOKEN}, or use --approval -"
        )
    return token.strip()


def approver(args: argparse.Namespace, environment: Mapping[str, str]) -> str:
    """Who approved in Jenkins, and in which build; raises ConfigError when a token, or another name, is given, too."""
    others = {"--approval": args.approval, "--by": args.by, "--jenkins-user": args.jenkins_user}
    given = [flag for flag, value in others.items() if value]
    if not args.approval and secret("APPROVAL", environment):
        given.append(TOKEN)
    if given:
        raise ConfigError(f"--approved-by is used instead of {', '.join(given)}", hint="remove one of the two")
    name = clean(args.approved_by)
    if not name:
        raise ConfigError("--approved-by: nobody is named", hint="give the name of the user who approved in Jenkins")
    return _in_build(name, environment)


def _in_build(name: str, environment: Mapping[str, str]) -> str:
    build = clean(environment.get("BUILD_URL", ""))
    return name if build in name else f"{name}, {build}"


def _mint(store: Store, config: Config, model: str, version: int) -> str:
    """An approval of exactly the manifest as it is now. Whoever can read the home's secret can make one: that is what
    the secret means, and the record names who is said to have decided. What was approved on the console needs none: it was the
    console that has answered Jenkins' question."""
    digest = candidates.manifest_digest(store, model, version)
    if any(each.kind == "approved" for each in decisions.about(store, model, digest)):
        return RECORDED
    return make_token(approval_secret(Path(config.home)), model, version, digest)


def _asked_of_jenkins(args: argparse.Namespace, config: Config) -> dict[str, str]:
    from pipelines.jenkins_server import promotion_job

    if args.approved_by or args.jenkins_user:
        flag = "--approved-by" if args.approved_by else "--jenkins-user"
        raise ConfigError(
            f"{flag} is for Jenkins' promotion job, which has asked somebody",
            hint="the job adds --here; give the token from the mail, or none: then Jenkins asks for the approval",
        )
    promotion_job.check_by(args.by)
    given = args.approval or secret("APPROVAL", os.environ)
    token = read_token(args.approval, os.environ, sys.stdin) if given else ""
    return promotion_job.promote(config, args.version, token, args.although)


def add_over(parser: argparse.ArgumentParser) -> None:
    """`--over`, for who has looked at what is live before."""
    parser.add_argument(
        "--over",
        metavar="RELEASE",
        type=int,
        default=0,
        help="the number of the release that is live: with another one by then, nothing is done",
    )


def add_here(parser: argparse.ArgumentParser) -> None:
    """`--here`, for the machine on which the promotion job runs."""
    parser.add_argument(
        "--here",
        action="store_true",
        help='with [serving] deploy = "jenkins": do it on this machine, as [jenkins] deploy says. What the promotion '
        "job itself calls",
    )
    parser.add_argument(
        "--build", metavar="DIR", type=Path, help="a CI server's folder for this build: gets its name and description"
    )


def placed(args: argparse.Namespace, config: Config) -> Config:
    """The config for where it is to be done: here, or as [serving] deploy says."""
    if not args.here:
        return config
    from pipelines.build_status import check_home

    check_home(config)
    return config_here(config)


def check_model(model: str, config: Config) -> None:
    """Config, registry and API are about one model; raises ConfigError for another."""
    if model != config.model:
        import difflib  # hardly anybody mistypes

        near = difflib.get_close_matches(model, [config.model], 1, cutoff=0.75)
        raise ConfigError(
            f"{config.file or 'trainyard.toml'} is about model {config.model!r}, not {model!r}",
            hint=f"did you mean {near[0]}?" if near else "name the trainyard.toml of that model with --config",
        )


def track(store: Store, config: Config) -> None:
    """Have MLflow know what is live now; what prevents it is reported on stderr, and changes nothing."""
    if config.tracking.mlflow:
        from pipelines.exports.tracking import catch_up

        for problem in catch_up(config, store):
            print(f"  MLflow         {problem}", file=sys.stderr)


def add_who(parser: argparse.ArgumentParser) -> None:
    """`--by`, for the record."""
    parser.add_argument("--by", metavar="NAME", default="", help="who decided, for the record; default: you")


def who() -> str:
    """Who runs this: git's `user.email`, else user@machine."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # no git here: the user's name will do
        done = subprocess.run(
            ["git", "config", "user.email"], capture_output=True, text=True, check=False, errors="replace", timeout=10
        )
        if email := done.stdout.strip():
            return email
    return login()


def login() -> str:
    """As whom the system sees who runs this: user@machine, whatever the environment says."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without a name
        name = f"uid {os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def try_line(url: str, job: ServeJob) -> str:
    """A line for a shell that asks the API for a prediction, whatever the model; TOKEN is to be set before, if need be."""
    curl = 'curl -s -H "Authorization: Bearer $TOKEN"' if job.auth == "tokens" else "curl -s"
    return f"{curl} {url}/example | {curl} --data-binary @- {url}/predict"


def warn_of_settings(job: ServeJob, api: Deployment) -> None:
    """Report on stderr that the running API does not have the config in `job`: it reads it at its start."""
    if others := api.changed(job):
        print(f"the API runs with other settings ({'; '.join(others.values())}): {api.remedy}", file=sys.stderr)


def print_release(release: Release, config: Config, *, as_json: bool) -> None:
    """Print what answers now, where, and how to send a request."""
    api = open_deployment(config)
    warn_of_settings(serve_job(config), api)
    url = api.running() or ""
    if as_json:
        print(json.dumps({**json.loads(codec.to_json(release)), "url": url}, ensure_ascii=False))
        return
    print(
        f"{release.model} version {release.version} is live: release {release.number}, by {release.by}, {release.reason}"
    )
    print(f"  it answers at  {url}/")
    print(f"  try it         {try_line(url, serve_job(config))}")
