"""`trainyard notify --test`: one test mail to each owner, and what the mail server answers."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from pipelines.config.load import secret
from pipelines.config.schema import Config
from registry.errors import ConfigError, TryAgain


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--test", action="store_true", required=True, help="send a test mail to everybody in [mail] to")


def main(args: argparse.Namespace, config: Config) -> int:
    """Print a line per recipient. Exit code 0: the server took all; 2: it refuses one for good; 75: it may take them later."""
    if not config.mail.host:
        raise ConfigError(
            "[mail] host is not set: mails are written to files, and nobody gets one",
            hint="set [mail] host, port, security and username, and TRAINYARD_SMTP_PASSWORD",
        )
    from pipelines.mail.try_mail import try_mail

    answers = try_mail(config, secret("SMTP_PASSWORD"))
    if args.json:
        print(json.dumps({"sender": config.mail.sender, "recipients": [asdict(each) for each in answers]}))
    else:
        for each in answers:
            print(
                f"{'sent   ' if each.taken else 'refused' if each.final else 'not now'}  {each.recipient}: {each.reply}"
            )
    if all(each.taken for each in answers):
        return 0
    return ConfigError.exit_code if any(each.final for each in answers) else TryAgain.exit_code
