"""Which models a command is about, where one repository holds several; and one command for each of them."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from pipelines.config.load import find_config, load_config
from pipelines.config.models import Asked, Chosen, choose, must_be_one
from pipelines.config.schema import Config
from registry.errors import ConfigError, PipelineError, TryAgain

Command = Callable[[argparse.Namespace, Config], int]
WORST = (1, 2, 3, TryAgain.exit_code)
"""Exit codes, the one first that must be acted upon first."""


def chosen_by(args: argparse.Namespace, argument: str = "", *, others: bool = False) -> Chosen:
    """The files of the models that a command line is about; `argument` is the MODEL of its command, and with `others` it may name
    one that only the registry has."""
    found = find_config(args.config, os.environ)
    return choose(found, os.environ, Asked(args.only_model or "", args.config or "", argument), others=others)


def configs_of(args: argparse.Namespace, command: ModuleType) -> list[Config]:
    """The settings of each model that the command is about. More than one only for a command with `main_of_all`.

    Raises ConfigError, with every problem of all models.
    """
    argument = getattr(command, "model_in", lambda found: getattr(found, "model", None))(args) or ""
    chosen = chosen_by(args, argument, others=getattr(command, "OF_REGISTRY", False))
    files = chosen.files if hasattr(command, "main_of_all") else (must_be_one(chosen),)
    configs = load_all(files, args.set)
    if chosen.shared is None and args.only_model and args.only_model != configs[0].model:
        raise ConfigError(
            f"--model {args.only_model}: {configs[0].file} is about model {configs[0].model!r}",
            hint="omit --model, or name another file with --config",
        )
    if chosen.by_environment and "JOB_NAME" in os.environ:
        _must_be_of_its_folder(configs[0], os.environ["JOB_NAME"])
    return configs


def load_all(files: Sequence[Path], overrides: Sequence[str]) -> list[Config]:
    """The settings of each file; raises ConfigError with the problems of all."""
    configs, errors = [], []
    for file in files:
        try:
            configs.append(load_config(file, os.environ, overrides))
        except ConfigError as error:
            errors.append(error)
    if errors:
        raise ConfigError("; ".join(dict.fromkeys(map(str, errors))), hint=errors[0].hint)
    return configs


def must_name(configs: Sequence[Config]) -> Config:
    """The only one; raises ConfigError, which lists them, when there are several."""
    if len(configs) == 1:
        return configs[0]
    raise ConfigError(
        f"which model? There are {', '.join(each.model for each in configs)}", hint="--model NAME chooses one"
    )


def of_one_registry(configs: Sequence[Config]) -> Config:
    """One of them, for what is about the registry and its keys; raises ConfigError when they do not share both."""
    shared = all((each.registry, each.home) == (configs[0].registry, configs[0].home) for each in configs)
    return configs[0] if shared else must_name(configs)


def for_each(main: Command, args: argparse.Namespace, configs: Sequence[Config]) -> int:
    """Run a command for one model after the other. What fails for one is shown, and the next has its turn; with --json the result
    is a table of theirs. The exit code is the worst."""
    codes, found = [], {}
    for config in configs:
        if not args.json:
            print(f"{config.model}:")
        with contextlib.redirect_stdout(io.StringIO()) if args.json else contextlib.nullcontext() as caught:
            codes.append(attempt(config.model, lambda one=config: main(args, one)))  # type: ignore[misc]
        if caught is not None and (text := caught.getvalue().strip()):
            found[config.model] = json.loads(text)
    if args.json:
        print(json.dumps(found))
    return worst(codes)


def attempt(model: str, run: Callable[[], int]) -> int:
    """The exit code of a command for one of several models; an error is shown, and becomes one."""
    try:
        return run()
    except PipelineError as error:
        from training.worker.protocol import one_line

        print(f"{model}: {one_line(error)}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {one_line(error.hint)}", file=sys.stderr)
        return error.exit_code


def worst(codes: Sequence[int]) -> int:
    """Of several exit codes the one that must be acted upon first."""
    return next((each for each in WORST if each in codes), max(codes, default=0))


def _must_be_of_its_folder(config: Config, job: str) -> None:
    """Who may build the jobs of one model may change their parameters, but get at no other model with them."""
    from pipelines.jenkins_server.jobs import folder_of

    if job.rpartition("/")[0] != folder_of(config):
        raise ConfigError(
            f"TRAINYARD_MODEL is {config.model}, whose Jenkins jobs are in the folder {folder_of(config)}, and this is {job}",
            hint="the jobs of `trainyard jenkins apply` set it; in a job of your own name the model with --model",
        )
