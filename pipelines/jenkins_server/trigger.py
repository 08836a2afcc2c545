"""`trainyard jenkins trigger code|dataset|tests`: start a Jenkins job of this model, and with --wait follow its build."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from pipelines.config.schema import Config
from pipelines.jenkins_server.builds import model_job_path, start_build
from pipelines.jenkins_server.client import open_jenkins
from pipelines.jenkins_server.terminal import follow, how, summary
from registry.errors import ConfigError

SHORTEST, LONGEST = 0.01, 60.0 * 24 * 30  # minutes


def command(args: argparse.Namespace, config: Config) -> int:
    """Print the queue item, or with --wait how the build has ended; its exit code is the pipeline's."""
    if not args.pipeline:
        raise ConfigError("jenkins trigger: which pipeline?", hint="code, dataset or tests")
    if not SHORTEST <= args.timeout <= LONGEST:
        raise ConfigError(f"--timeout: {args.timeout:g} minutes is not between {SHORTEST} and {LONGEST:g}")
    parameters = {"FORCE": "true"} if args.force else {}
    parameters |= {name: value for name, value in (("REASON", args.reason), ("COMMIT", args.commit)) if value}
    queued = start_build(open_jenkins(config), model_job_path(config, args.pipeline), parameters)
    if not args.wait:
        _print(args, asdict(queued), f"{how(queued)} {queued.url}")
        return 0
    build = follow(config, queued, args.timeout * 60)
    _print(args, asdict(build), summary(build))
    return build.exit_code


def _print(args: argparse.Namespace, facts: dict[str, object], text: str) -> None:
    sys.stdout.write(f"{json.dumps(facts, ensure_ascii=False) if args.json else text}\n")
