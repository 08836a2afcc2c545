"""A version's model card: Markdown with a YAML head, under the titles that model cards usually have."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence

from pipelines.gate import recent_in_words
from pipelines.text import images, importance, reference
from pipelines.text.clean import clean
from pipelines.text.metrics import (
    MAX_CLASSES,
    REPORTED,
    in_words,
    named,
    number,
    reported,
    rules,
    sentence_of_means,
    weakest_classes,
    weakest_targets,
)
from registry.records import Acceptance, Candidate, Metrics
from registry.records.measure import SCRIPT, name_after

MARKS = {ord(each): f"\\{each}" for each in "\\`*_[]{}|#~&$@^"} | {ord("<"): "&lt;", ord(">"): "&gt;"}
HUB_TASK = {
    ("image", "classification"): "image-classification",
    ("table", "classification"): "tabular-classification",
    ("table", "regression"): "tabular-regression",
}


def card_markdown(
    manifest: Candidate, tested: Acceptance | None, read_as: Sequence[str] = (), kept: Sequence[str] = ()
) -> str:
    """The model card of a version, from its manifest and an acceptance test of it, if there was one.

    `read_as`: how the files of its dataset were read, where that is known. `kept`: what the API keeps of requests, where the
    settings are known."""
    parts = [_head(manifest), f"# {_text(manifest.model)}, version {manifest.version}"]
    for title, lines in (
        ("Model details", _details(manifest)),
        ("Intended use", _use()),
        ("Training data", _data(manifest, read_as)),
        ("Training procedure", _procedure(manifest)),
        ("Evaluation", _evaluation(manifest)),
        ("Metrics", _metrics(manifest)),
        ("Reported by the script", _reported(manifest)),
        ("What it looks at", _importance(manifest)),
        ("Acceptance", _acceptance(tested)),
        ("What is kept of requests", kept),
        ("Limitations", _limitations(manifest)),
    ):
        body = list(lines)
        if body:
            parts.append(f"## {title}\n\n" + "\n".join(body))
    return "\n\n".join(parts) + "\n"


def _head(manifest: Candidate) -> str:
    values = {name: each for name, each in manifest.evaluation.candidate.values.items() if math.isfinite(each)}
    task = HUB_TASK.get((manifest.signature.kind, manifest.signature.task), "other")
    lines = [
        f"model_name: {_yaml(manifest.model)}",
        f"version: {manifest.version}",
        f"library_name: {'onnx' if manifest.served.engine == 'onnx' else 'keras'}",
        *([f"pipeline_tag: {task}"] if task != "other" else []),
        "tags:",
        *(f"- {_yaml(each)}" for each in ("trainyard", manifest.signature.task, manifest.signature.kind)),
        *(["metrics:", *(f"- {_yaml(each)}" for each in values)] if values else []),
    ]
    if values:
        lines += [
            "model-index:",
            f"- name: {_yaml(manifest.model)}",
            "  results:",
            f"  - task: {{type: {_yaml(task)}}}",
            f"    dataset: {{name: {_yaml(f'holdout of dataset commit {manifest.sources.dataset}')}, type: holdout}}",
            "    metrics:",
            *(f"    - {{type: {_yaml(name)}, value: {_float(value)}}}" for name, value in values.items()),
        ]
    return "\n".join(["---", *lines, "---"])


def _details(manifest: Candidate) -> Iterator[str]:
    signature = manifest.signature
    yield from _table(
        ("", ""),
        [
            ("task", f"{signature.task} of {signature.kind} data"),
            ("how it was made", f"{manifest.how}. {manifest.note}" if manifest.note else manifest.how),
            ("made", manifest.created_at),
            ("run", manifest.run),
            ("parent", f"version {manifest.parent}" if manifest.parent is not None else "none"),
            ("code commit", manifest.sources.code),
            ("dataset commit", manifest.sources.dataset),
            ("tests commit", manifest.sources.tests),
            ("seed", str(manifest.seed)),
            ("container image", manifest.image or "none, trained in a process"),
            *(() if manifest.image else (("fence", _fence(manifest.unfenced)),)),
            ("served as", f"{manifest.served.path} by {manifest.served.engine}: {manifest.served.reason}"),
            ("packages", ", ".join(f"{name} {version}" for name, version in sorted(manifest.packages.items()))),
        ],
    )
    yield ""
    ends = [("input", each) for each in signature.inputs] + [("output", each) for each in signature.outputs]
    rows = [
        (kind, each.name, str([size if size is not None else "any" for size in each.shape]), each.dtype)
        for kind, each in ends
    ]
    yield from _table(("", "name", "shape", "type"), rows)


def _fence(unfenced: tuple[str, ...] | None) -> str:
    if unfenced is None:
        return "none: the training code could reach what its user could"
    return (
        f"incomplete: the kernel could not keep the training code from {', '.join(unfenced)}"
        if unfenced
        else "complete"
    )


def _use() -> Iterator[str]:
    yield "Not stated here: what the model is meant for, and what it must not be used for, is the team's to say."


def _data(manifest: Candidate, read_as: Sequence[str]) -> Iterator[str]:
    yield f"Commit `{_code(manifest.sources.dataset)}` of the dataset repository. The model was trained on its train split;"
    yield "the validation split decided when to stop; the holdout was never in its reach."
    if tree := manifest.dataset:
        yield ""
        yield f"{tree.files:,} files, {tree.bytes:,} bytes; SHA-256 of the list of files: `{_code(tree.digest)}`."
    if manifest.signature.classes:
        names = [_text(each) for each in manifest.signature.classes[:MAX_CLASSES]]
        more = len(manifest.signature.classes) - len(names)
        yield ""
        order = ", in their order" if manifest.signature.ordered else ""
        called = named(manifest.signature.task, 2).capitalize()
        yield f"{called}{order}: {', '.join(names)}{f' and {more} more' if more else ''}."
        if manifest.signature.task == "multi-label":
            yield f"A sample may have several of them, or none; one applies from a probability of {manifest.signature.threshold:g} on."
    if manifest.signature.task == "anomaly":
        yield ""
        yield "It learned what is usual: samples that are marked as anomalous were in the holdout alone."
        yield f"A sample with a score over {number(manifest.signature.threshold)}, a quantile of those of the train split, is answered as anomalous."
    for each in read_as[:MAX_CLASSES]:
        yield ""
        yield f"Read as: {_text(each)}."
    if how := manifest.signature.preparation:
        yield ""
        yield f"Images, in training and in every request: {_text(images.in_words(how, manifest.signature.image_mode))}."
    for date in manifest.signature.dates:
        written = f"as {date.written!r}" if date.written else "in ISO 8601"
        yield ""
        yield f"Dates: {_text(date.name)}, written {_text(written)}, in UTC where they have an offset; the model gets: {', '.join(date.parts)}."
    if targets := manifest.signature.targets:
        others = f" and {len(targets) - MAX_CLASSES} more" if len(targets) > MAX_CLASSES else ""
        yield ""
        yield f"Predicted, a number each: {', '.join(map(_text, targets[:MAX_CLASSES]))}{others}."
    elif manifest.signature.target:
        yield ""
        called = "Column with the marks" if manifest.signature.task == "anomaly" else "Predicted column"
        yield f"{called}: {_text(manifest.signature.target)}."


def _procedure(manifest: Candidate) -> Iterator[str]:
    yield f"{_text(manifest.how).capitalize()} with seed {manifest.seed}. The same commits, config and seed give the same run."


def _evaluation(manifest: Candidate) -> Iterator[str]:
    metric, live = manifest.verdict.policy.measure, manifest.evaluation.comparison
    name = f"version {live.live_version}" if live else "the live version"
    yield _text(in_words(manifest.evaluation, metric, f"version {manifest.version}", name), 2000)
    if recent := recent_in_words(manifest.evaluation, manifest.verdict.policy):
        yield ""
        yield _text(recent, 2000)
    yield ""
    policy = manifest.verdict.policy
    yield f"Gate: {_text(policy.measure)} with threshold {policy.threshold:g}, at least {policy.min_samples} samples, at most"
    yield f"{policy.max_drop:g} worse than the live release: {'accepted' if manifest.verdict.accepted else 'rejected'}."
    yield from (f"- {_text(each)}" for each in manifest.verdict.reasons[:MAX_CLASSES])
    if asked := list(rules(policy)):
        yield from ("", "Also asked for:", "")
        yield from (f"- {_text(each)}" for each in asked[:MAX_CLASSES])


def _metrics(manifest: Candidate) -> Iterator[str]:
    new, old = manifest.evaluation.candidate, manifest.evaluation.live
    yield f"On {new.samples:,} samples of the holdout, measured with the file that is served."
    yield ""
    rows = [
        (name, number(value), number(old.values.get(name, math.nan)) if old else "")
        for name, value in new.values.items()
    ]
    yield from _table(("metric", f"version {manifest.version}", "live release then" if old else ""), rows)
    if new.classes:
        yield ""
        found = [
            (name, number(each.precision), number(each.recall), number(each.f1), f"{each.support:,}")
            for name, each in weakest_classes(new)[:MAX_CLASSES]
        ]
        yield from _table((f"{named(new.task)}, weakest first", "precision", "recall", "F1", "samples"), found)
    if new.targets:
        yield from _targets(new)
    if slices := manifest.evaluation.slices[:MAX_CLASSES]:
        yield ""
        of_slices = [
            (each.name, number(each.candidate), "" if each.live is None else number(each.live), f"{each.samples:,}")
            for each in slices
        ]
        head = (
            f"slice: {manifest.verdict.policy.measure}",
            f"version {manifest.version}",
            "live release then",
            "samples",
        )
        yield from _table(head, of_slices)


def _targets(new: Metrics) -> Iterator[str]:
    shown = weakest_targets(new)
    yield ""
    found = [(name, number(each.r2), number(each.mae), number(each.rmse)) for name, each in shown]
    yield from _table(("target", "R2", "mean absolute error", "root mean square error"), found)
    yield ""
    yield sentence_of_means(new)
    if len(shown) < len(new.targets):
        yield f"The table has the {len(shown)} with the lowest R2."


def _reported(manifest: Candidate) -> Iterator[str]:
    if rows := list(reported(manifest.evaluation)):
        named = ", ".join(_text(name_after(SCRIPT, each)) for each in manifest.verdict.policy.said)
        yield f"{REPORTED.capitalize()}; {f'a rule of the gate goes by {named}' if named else 'the gate does not go by it'}."
        yield ""
        yield from _table(("name", f"version {manifest.version}", "live release then"), rows)


def _importance(manifest: Candidate) -> Iterator[str]:
    found = manifest.evaluation.importance
    if found is None:
        return
    yield _text(importance.in_words(found).replace("`", ""))
    times = "once" if found.repeats == 1 else f"{found.repeats} times"
    yield f"Permutation importance on {found.samples:,} samples of the holdout, each input shuffled {times}."
    yield importance.CAUTION
    yield ""
    rows = [(each.name, number(each.loss), importance.interval(each)) for each in found.inputs[:MAX_CLASSES]]
    yield from _table(("shuffled", importance.LOST[found.metric], "95 % interval"), rows)
    if more := importance.remainder(found, MAX_CLASSES):
        yield ""
        yield more


def _acceptance(tested: Acceptance | None) -> Iterator[str]:
    if tested:
        cases = [case for report in tested.reports for case in report.cases]
        passed = sum(case.outcome == "passed" for case in cases)
        yield f"{'Accepted' if tested.accepted else 'Rejected'} with tests commit `{_code(tested.tests)}`: {passed} of"
        yield f"{len(cases)} checks passed."


def _limitations(manifest: Candidate) -> Iterator[str]:
    yield "- The numbers hold for data like the holdout's; nothing is known about other data."
    if compared := reference.in_words(manifest):
        yield f"- Monitoring notices other data by its reference ({compared})."
    unknown = [name for name, each in manifest.evaluation.candidate.classes.items() if not each.support]
    if unknown:
        names = ", ".join(map(_text, unknown[:MAX_CLASSES]))
        yield f"- No sample of these {named(manifest.signature.task, 2)} was in the holdout: {names}."
    if manifest.evaluation.candidate.samples < 1000:
        yield f"- {manifest.evaluation.candidate.samples:,} samples were measured: small differences may be chance."
    yield "- Known weaknesses, fairness and misuse are the team's to describe."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    yield from ("| " + " | ".join(_text(each) for each in row) + " |" for row in rows if row[-1] or len(row) > 2)


def _text(words: str, limit: int = 500) -> str:
    """Foreign text as one line of Markdown that shows as it is: no HTML, no link, no emphasis, no table cell."""
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
    return json.dumps(clean(words), ensure_ascii=False)
