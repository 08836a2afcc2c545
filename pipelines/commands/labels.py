"""`trainyard labels`: what was right, of answers that the API gave; which answers people are asked about; labels into the dataset."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.commands import label_files
from pipelines.commands.promote import add_who, check_model, who
from pipelines.config.schema import Config
from pipelines.text.clean import clean
from pipelines.text.markup import Paragraph, Section, Table, to_text
from registry.errors import ConfigError

if TYPE_CHECKING:
    from pipelines.labels.review import Filled, Review

SHOWN = 20
WIDTH = 60  # characters of inputs in a row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument(
        "action",
        choices=tuple(ACTIONS),
        help="how many labels there are, of whom, and how often the model was right; labels from a file; labels into one; fill the "
        "review queue and show it; write its open items as tasks for Label Studio; commit accepted labels to the dataset repository",
    )
    parser.add_argument(
        "given", nargs="?", default="", metavar="FILE|MODEL",
        help="import: a .csv, .jsonl or .json file; else the model; default: that of trainyard.toml",
    )  # fmt: skip
    parser.add_argument("--last", metavar="N", type=int, default=SHOWN, help=f"queue: rows; default: {SHOWN}")
    parser.add_argument("--to", metavar="FILE", default="", help="tasks: a .json file; export: a .csv or .jsonl file")
    label_files.add_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="commit: say what would be committed; push nothing")
    parser.add_argument("--retry", action="store_true", help="commit: also what could not be a sample before")
    add_who(parser)


def model_in(args: argparse.Namespace) -> str:
    """The model that is named; for `import` it is a file."""
    return "" if args.action == "import" else args.given


def main(args: argparse.Namespace, config: Config) -> int:
    """Print what was found or done."""
    if args.given and args.action != "import":
        check_model(args.given, config)
    return int(ACTIONS[args.action](args, config))


def _queue(args: argparse.Namespace, config: Config) -> int:
    from pipelines.labels.review import details, fill, review

    if args.last < 1:
        raise ConfigError(f"--last: {args.last} is too few", hint="1 or more")
    filled = fill(config)
    found = review(config)
    shown = found.open[: args.last]
    lines = details(config, shown)
    if args.json:
        print(json.dumps(_as_json(found, filled, lines)))
        return 0
    head = ("request", "row", "answered", "confidence", "asked because", "inputs")
    rows = []
    for each in shown:
        line = lines.get((each.request, each.row), {})
        inputs = json.dumps(line.get("inputs") or {}, ensure_ascii=False)
        confidence = "" if line.get("confidence") is None else f"{line['confidence']:.3f}"
        why = "drawn at random" if each.why == "random" else f"doubt {each.score:.2f}"
        number = "" if line.get("number") is None else f"{line['number']:g}"
        cells = (each.request, each.row, each.answered or number, confidence, why, inputs)
        rows.append(tuple(clean(str(cell), WIDTH) for cell in cells))
    parts = [Paragraph(text) for text in (*filled.notes, *_said(found, config.labels.per_day))]
    title = f"{config.model}: {len(found.open)} answers wait for a label, {filled.new} of them new"
    print(to_text(title, [Section("", (*parts, *([Table(head, tuple(rows))] if rows else [])))]), end="")
    return 0


def _said(found: Review, per_day: int) -> list[str]:
    """What the queue says of the model, and of the people."""
    counts = Counter(each.state for each in found.states.values())
    unclear = f"; of which nobody was sure: {counts['unclear']}" if counts["unclear"] else ""
    said = [
        f"Of those that people were asked about, labelled: {counts['accepted']}; tied: {counts['tied']}{unclear}. At most {per_day} come in a day."
    ]
    if found.accuracy:
        share, low, high = found.accuracy
        said.append(
            f"Of {found.drawn} drawn at random, {share:.1%} were right (95 % interval {low:.1%} to {high:.1%})."
        )
    for each in found.agreements:
        kappa = "" if each.kappa is None else f", Cohen's kappa {each.kappa:.2f}"
        off = "" if each.difference is None else f", and differ by {each.difference:.4g} on average"
        said.append(f"{each.one} and {each.other} agree on {each.share:.0%} of {each.items}{kappa}{off}.")
    return said


def _as_json(found: Review, filled: Filled, lines: dict[tuple[str, int], dict[str, Any]]) -> dict[str, Any]:
    accuracy = dict(zip(("share", "low", "high"), found.accuracy, strict=True)) if found.accuracy else None
    return {
        "new": filled.new,
        "notes": filled.notes,
        "open": [
            {"request": each.request, "row": each.row, "why": each.why, "score": each.score, "answered": each.answered,
             "version": each.version, **{key: lines.get((each.request, each.row), {}).get(key) for key in ("inputs", "confidence")}}
            for each in found.open
        ],
        "states": dict(Counter(each.state for each in found.states.values())),
        "accuracy": accuracy,
        "drawn": found.drawn,
        "agreement": [
            {"one": each.one, "other": each.other, "items": each.items, "share": each.share, "kappa": each.kappa,
             "difference": each.difference}
            for each in found.agreements
        ],
    }  # fmt: skip


def _tasks(args: argparse.Namespace, config: Config) -> int:
    from pipelines.labels.review import details, fill, review
    from pipelines.labels.tasks import labelling_config, tasks
    from registry.files import write_whole

    if not args.to.endswith(".json"):
        raise ConfigError(f"--to: {args.to or 'no file'!r}", hint="name a .json file")
    for note in fill(config).notes:
        _show(note)
    items = review(config).open
    lines = details(config, items, images=True)
    target = Path(args.to)
    write_whole(target, tasks(items, lines, config.model))
    classes = _classes(config, max((each.version for each in items), default=0))
    images = any(each.get("image") for each in lines.values())
    interface = target.with_suffix(".xml")
    write_whole(interface, labelling_config(classes, images=images).encode())
    gone = len(items) - len(lines)
    if args.json:
        print(json.dumps({"tasks": len(lines), "gone": gone, "file": str(target), "interface": str(interface)}))
        return 0
    more = f"; {gone} are not in the prediction log any more" if gone else ""
    print(f"{config.model}: {len(lines)} tasks in {target}, the labelling interface in {interface}{more}")
    return 0


def _classes(config: Config, version: int) -> tuple[str, ...]:
    """Those of the version that has answered."""
    from pipelines.trust import open_registry
    from registry import candidates

    return candidates.manifest(open_registry(config), config.model, version).signature.classes if version else ()


def _commit(args: argparse.Namespace, config: Config) -> int:
    from pipelines.labels.commit import commit_labels

    made = commit_labels(config, args.by or who(), _show, rehearse=args.dry_run, retry=args.retry)
    if args.json:
        facts = {
            "commit": made.commit,
            "samples": [{"request": each.request, "row": each.row, "label": each.label, "file": each.file} for each in made.taken],
            "left_out": [{"request": each.request, "row": each.row, "reason": each.reason} for each in made.left_out],
            "before": [{"request": each.request, "row": each.row, "reason": each.reason} for each in made.before],
            "corrected": [{"request": each.request, "row": each.row, "file": each.file, "commit": each.commit} for each in made.corrected],
        }  # fmt: skip
        print(json.dumps(facts))
        return 0
    what = f"{len(made.taken)} samples"
    if made.commit:
        print(f"{config.model}: {what} in commit {made.commit[:12]} of the dataset repository, which is pushed")
    elif made.taken:
        print(f"{config.model}: {what} would be committed to {', '.join(made.files[:5])}")
    else:
        print(f"{config.model}: no accepted label that the dataset does not have")
    for line in label_files.by_reason([each.reason for each in made.left_out]):
        print(f"  left out: {line}")
    if made.before:
        print(
            f"  left out before, and not tried again: {len(made.before)}; `trainyard labels show` says why, --retry tries them"
        )
    for each in made.corrected[:SHOWN]:
        print(
            f"  corrected since: {each.file} has {each.label!r} of request {each.request}: correct it in the repository"
        )
    return 0


def _show(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


ACTIONS = {
    "show": label_files.show,
    "import": label_files.import_file,
    "export": label_files.export,
    "queue": _queue,
    "tasks": _tasks,
    "commit": _commit,
}
