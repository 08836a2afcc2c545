"""`trainyard reproduce MODEL VERSION`: is a version what its manifest says that it was made of?"""

from __future__ import annotations

import argparse
import json

from pipelines.commands.promote import check_model
from pipelines.config.schema import Config
from pipelines.context import Context
from pipelines.progress.view import open_progress
from pipelines.reproduction.again import reproduce
from pipelines.reproduction.rules import Reproduction
from pipelines.text.duration import duration
from pipelines.text.markup import Block, Bullets, Paragraph, Section, to_text
from registry import codec
from registry.errors import ConfigError

TOLERANCE = 1e-5
SAID = {
    "bit-identical": "reproduced, bit by bit",
    "equal": "reproduced, within the tolerance",
    "different": "not reproduced: it differs",
    "impossible": "cannot be reproduced",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("model", help="the model of trainyard.toml")
    parser.add_argument("version", type=int)
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="NUMBER",
        help=f"the largest difference of a weight or a prediction that counts as equal; default: {TOLERANCE:g}",
    )


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what came of it; 0 when it was reproduced, 3 when it differs, 2 when it cannot be trained again."""
    check_model(args.model, config)
    if not 0 <= args.tolerance < float("inf"):
        raise ConfigError(f"--tolerance {args.tolerance} is not a distance", hint="0, or a small number such as 1e-5")
    found = reproduce(Context(config, open_progress()), args.version, args.tolerance)
    if args.json:
        print(json.dumps(json.loads(codec.to_json(found)) | {"exit_code": found.exit_code}, ensure_ascii=False))
    else:
        print(to_text(f"{found.model} version {found.version}: {SAID[found.outcome]}", _sections(found)), end="")
    return found.exit_code


def _sections(found: Reproduction) -> list[Section]:
    blocks: list[Block] = [Bullets(found.reasons)]
    if found.circumstances:
        blocks += [Paragraph("What was not the same around it:"), Bullets(found.circumstances)]
    elif found.outcome != "impossible":
        blocks.append(Paragraph("Packages, processor and code of Trainyard were the same."))
    return [Section("", (*blocks, Paragraph(f"It took {duration(found.seconds)}. Nothing was registered.")))]
