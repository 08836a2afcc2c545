"""A version's card as Markdown with a YAML head, under the names that model cards usually have."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from pipelines.mail.compose import MailFacts
from pipelines.text.clean import clean
from pipelines.text.metrics import MAX_CLASSES, in_words, number
from registry.records import Candidate

MARKS = {ord(each): f"\\{each}" for each in "\\`*_[]{}|#~&$@^"} | {ord("<"): "&lt;", ord(">"): "&gt;"}
NOT_YAML = {0xFFFE: None, 0xFFFF: None}
"""What `clean` leaves and YAML does not know."""
HUB_TASK = {
    ("image", "classification"): "image-classification",
    ("table", "classification"): "tabular-classification",
    ("table", "regression"): "tabular-regression",
}


def card_markdown(card: Candidate, facts: MailFacts) -> str:
    """The whole card. `facts` are of the run that tells of it; what does not concern this version is not used."""
    parts = [_head(card), f"# {_text(card.model)}, version {card.version}"]
    for title, lines in (
        ("Model details", _details(card)),
        ("Intended use", _use()),
        ("Training data", _data(card)),
        ("Training procedure", _procedure(card)),
        ("Evaluation", _evaluation(card)),
        ("Metrics", _metrics(card)),
        ("Acceptance", _acceptance(card, facts)),
        ("Limitations", _limitations(card)),
    ):
        body = list(lines)
        if body:
            parts.append(f"## {title}\n\n" + "\n".join(body))
    return "\n\n".join(parts) + "\n"


def _head(card: Candidate) -> str:
    values = {name: each for name, each in card.evaluation.candidate.values.items() if math.isfinite(each)}
    task = HUB_TASK.get((card.signature.kind, card.signature.task), "other")
    lines = [
        f"model_name: {_yaml(card.model)}",
        f"version: {card.version}",
        "library_name: keras",
        *([f"pipeline_tag: {task}"] if task != "other" else []),
        "tags:",
        *(f"- {_yaml(each)}" for each in ("trainyard", card.signature.task, card.signature.kind)),
        *(["metrics:", *(f"- {_yaml(each)}" for each in values)] if values else []),
    ]
    if values:
        lines += [
            "model-index:",
            f"- name: {_yaml(card.model)}",
            "  results:",
            f"  - task: {{type: {_yaml(task)}}}",
            f"    dataset: {{name: {_yaml(f'holdout of dataset commit {card.sources.dataset}')}, type: holdout}}",
            "    metrics:",
            *(f"    - {{type: {_yaml(name)}, value: {_float(value)}}}" for name, value in values.items()),
        ]
    return "\n".join(["---", *lines, "---"])


def _details(card: Candidate) -> Iterator[str]:
    signature = card.signature
    yield from _table(
        ("", ""),
        [
            ("task", f"{signature.task} of {signature.kind} data"),
            ("how it was made", f"{card.how}. {card.note}" if card.note else card.how),
            ("made", card.created_at),
            ("run", card.run),
            ("parent", f"version {card.parent}" if card.parent is not None else "none"),
            ("code commit", card.sources.code),
            ("dataset commit", card.sources.dataset),
            ("tests commit", card.sources.tests),
            ("seed", str(card.seed)),
            ("image", card.image or "none, trained in a plain process"),
            ("served as", f"{card.served.path} by {card.served.engine}: {card.served.reason}"),
            ("packages", ", ".join(f"{name} {version}" for name, version in sorted(card.packages.items()))),
        ],
    )
    yield ""
    ends = [("input", each) for each in signature.inputs] + [("output", each) for each in signature.outputs]
    rows = [
        (kind, each.name, str([size if size is not None else "any" for size in each.shape]), each.dtype)
        for kind, each in ends
    ]
    yield from _table(("", "name", "shape", "type"), rows)


def _use() -> Iterator[str]:
    yield "Not stated here: what the model is meant for, and what it must not be used for, is the team's to say."


def _data(card: Candidate) -> Iterator[str]:
    yield f"Commit `{_code(card.sources.dataset)}` of the dataset repository. The model has learned from its train split;"
    yield "the validation split has decided when to stop; the holdout was out of its reach."
    if card.signature.classes:
        names = [_text(each) for each in card.signature.classes[:MAX_CLASSES]]
        more = len(card.signature.classes) - len(names)
        yield ""
        yield f"Classes: {', '.join(names)}{f' and {more} more' if more else ''}."
    if card.signature.target:
        yield ""
        yield f"Predicted column: {_text(card.signature.target)}."


def _procedure(card: Candidate) -> Iterator[str]:
    yield f"{_text(card.how).capitalize()} with seed {card.seed}. The same commits, settings and seed give the same run."


def _evaluation(card: Candidate) -> Iterator[str]:
    metric, live = card.verdict.policy.metric, card.evaluation.comparison
    name = f"version {live.live_version}" if live else "the live version"
    yield _text(in_words(card.evaluation, metric, f"version {card.version}", name), 2000)
    yield ""
    policy = card.verdict.policy
    yield f"Gate: {_text(policy.metric)} with threshold {policy.threshold:g}, at least {policy.min_samples} samples, at most"
    yield f"{policy.max_drop:g} worse than the live release: {'accepted' if card.verdict.accepted else 'not accepted'}."
    yield from (f"- {_text(each)}" for each in card.verdict.reasons[:MAX_CLASSES])


def _metrics(card: Candidate) -> Iterator[str]:
    new, old = card.evaluation.candidate, card.evaluation.live
    yield f"On {new.samples:,} samples of the holdout, measured with the very file that is served."
    yield ""
    rows = [
        (name, number(value), number(old.values.get(name, math.nan)) if old else "")
        for name, value in new.values.items()
    ]
    yield from _table(("metric", f"version {card.version}", "live release then" if old else ""), rows)
    if new.classes:
        weakest = sorted(new.classes.items(), key=lambda item: (not math.isnan(item[1].f1), item[1].f1))
        yield ""
        found = [
            (name, number(each.precision), number(each.recall), number(each.f1), f"{each.support:,}")
            for name, each in weakest[:MAX_CLASSES]
        ]
        yield from _table(("class, weakest first", "precision", "recall", "F1", "samples"), found)


def _acceptance(card: Candidate, facts: MailFacts) -> Iterator[str]:
    for each in (facts.acceptance, facts.live_acceptance):
        if each and each.version == card.version:
            cases = [case for report in each.reports for case in report.cases]
            passed = sum(case.outcome == "passed" for case in cases)
            yield f"{'Accepted' if each.accepted else 'Not accepted'} with tests commit `{_code(each.tests)}`: {passed} of"
            yield f"{len(cases)} checks passed."
            return


def _limitations(card: Candidate) -> Iterator[str]:
    yield "- The numbers hold for data like the holdout's; nothing is known about other data."
    unknown = [name for name, each in card.evaluation.candidate.classes.items() if not each.support]
    if unknown:
        names = ", ".join(map(_text, unknown[:MAX_CLASSES]))
        yield f"- No sample of these classes was in the holdout: {names}."
    if card.evaluation.candidate.samples < 1000:
        yield f"- {card.evaluation.candidate.samples:,} samples were measured: small differences may be chance."
    yield "- Known weaknesses, fairness and misuse are the team's to describe."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    yield from ("| " + " | ".join(_text(each) for each in row) + " |" for row in rows if row[-1] or len(row) > 2)


def _text(words: str, limit: int = 500) -> str:
    """Foreign words as Markdown that shows just them, in one line: no HTML, no link, no emphasis, no cell of a table."""
    return clean(words, limit).translate(MARKS).replace("://", ":\\/\\/").replace("www.", "www\\.")


def _float(value: float) -> str:
    """A number that YAML 1.1 takes for one, too: it wants a point."""
    mantissa, e, exponent = repr(value).partition("e")
    return f"{mantissa}{'' if '.' in mantissa else '.0'}{e}{exponent}"


def _code(words: str) -> str:
    """For between backticks."""
    return clean(words, 100).replace("`", "'").replace("|", "/")


def _yaml(words: str) -> str:
    """A double-quoted scalar; of JSON's escapes YAML knows all that are left."""
    return json.dumps(clean(words).translate(NOT_YAML), ensure_ascii=False)
