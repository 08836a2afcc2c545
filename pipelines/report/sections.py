"""The sections of the report's page, in order: the verdict first, then why, then all that an engineer wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from pipelines.mail.compose import commits, summary
from pipelines.mail.statements import MAX_ITEMS, started_by, statement
from pipelines.report.checks import checks
from pipelines.report.facts import ReportFacts
from pipelines.report.files import Collected
from pipelines.report.page import Html, figures, links, table, tiles, whole_page, written
from pipelines.runs import RunFolder
from pipelines.text import importance, metrics, reference
from pipelines.text.clean import clean
from pipelines.text.duration import duration
from pipelines.text.markup import Box, Bullets, Code, Paragraph, Table

SPLITS = ("train", "validation", "holdout")


def page(folder: RunFolder, known: ReportFacts, files: Collected, drawn: Mapping[str, list[Html]], most: int) -> bytes:
    """`index.html`, with what was drawn (`plots`, `importance`, `lineage`) and at most `most` checks per suite."""
    facts, run = known.facts, known.facts.run
    sections = [
        ("log", f"Log of {facts.failed_step}", [written(Code(files.log))] if files.log else []),
        ("changes", "What changed", list(_changes(known))),
        ("metrics", "How good it is", list(_metrics(known, drawn["plots"]))),
        ("importance", "What it looks at", list(_importance(known, drawn["importance"]))),
        ("checks", "Checks", list(checks(known, most))),
        ("data", "Data", list(_data(known))),
        ("lineage", "Where it comes from", [figures(drawn["lineage"])] if drawn["lineage"] else []),
        ("times", "How long it took", [_times(known)]),
        ("files", "Files and record", list(_files(folder, known, files))),
    ]
    started = f"Run {run.id} of {run.model}, started {metrics.moment(run.created_at)} by {started_by(run)}"
    top = [written(each) for each in summary(facts)]
    top.append(tiles(_tiles(known)))
    return whole_page(
        statement(facts).headline, f"{started}{', forced' if run.forced else ''}.", top, [s for s in sections if s[2]]
    )


def _tiles(known: ReportFacts) -> Iterator[tuple[str, str]]:
    facts = known.facts
    if found := facts.evaluation:
        name = clean(facts.metric, 30).replace("_", " ")
        if facts.metric in found.candidate.values:
            yield f"{name}, {facts.candidate}", metrics.number(found.candidate.values[facts.metric])
        if found.live and facts.metric in found.live.values:
            yield f"{name}, live {facts.live}", metrics.number(found.live.values[facts.metric])
        if facts.verdict:
            yield f"{name}, threshold", metrics.number(facts.verdict.policy.threshold)
        yield "holdout samples", f"{found.candidate.samples:,}"
    yield "time, all steps", duration(known.seconds)


def _changes(known: ReportFacts) -> Iterator[Html]:
    facts, run, sources = known.facts, known.facts.run, known.facts.run.sources
    fetched = any((each.step, each.final) == ("fetch", True) for each in known.records)
    news = {each.repository: each for each in facts.changes}
    since = run.parent or run.candidate
    rows = []
    for name in ("code", "dataset", "tests"):
        count = len(news[name].commits) + news[name].more if name in news else 0
        said = (
            f"{count} new commit{'s' if count != 1 else ''}"
            if count
            else "no new commit"
            if since and fetched
            else "not known"
        )
        rows.append((name + (" (pushed)" if name == run.trigger else ""), getattr(sources, name)[:12], said))
    yield table(("repository", "commit", f"since version {since}" if since else "since the start"), rows)
    yield from (written(each) for each in commits(facts, 120, 60))


def _metrics(known: ReportFacts, plots: list[Html]) -> Iterator[Html]:
    facts, tables = known.facts, list[Html]()
    if facts.evaluation:
        blocks = metrics.blocks(facts.evaluation, facts.metric, facts.candidate, facts.live)
        tables = [written(each) for each in blocks]
    yield from tables[:1]
    if plots:
        yield figures(plots)
    yield from tables[1:]


def _importance(known: ReportFacts, drawing: list[Html]) -> Iterator[Html]:
    found = known.facts.evaluation.importance if known.facts.evaluation else None
    if found is None:
        return
    first, table, *more = (written(each) for each in importance.blocks(found, MAX_ITEMS))
    yield first
    if drawing:
        yield figures(drawing)
    yield from (table, *more)
    yield written(Paragraph(importance.CAUTION))


def _data(known: ReportFacts) -> Iterator[Html]:
    found = known.validation
    if not found:
        return
    if found.samples:
        rows = [(split, f"{found.samples[split]:,}") for split in _in_order(found.samples)]
        yield table(("split", "samples"), rows, numbers=True)
    if found.classes:
        splits = _in_order(found.classes)
        names = list(dict.fromkeys(name for each in found.classes.values() for name in each))
        counts = [(name, *(f"{found.classes[split].get(name, 0):,}" for split in splits)) for name in names[:MAX_ITEMS]]
        yield table((metrics.named(found.task), *splits), counts, numbers=True)
        if len(names) > MAX_ITEMS:
            yield written(Paragraph(f"... and {len(names) - MAX_ITEMS} more {metrics.named(found.task, 2)}"))
    if found.read_as:
        yield written(Bullets(tuple(f"read as: {each}" for each in found.read_as[:MAX_ITEMS])))
    for failed in found.faults[:MAX_ITEMS]:
        helps = (f"What helps: {failed.hint}",) if failed.hint else ()
        yield written(
            Box("bad", f"Failed, {failed.count:,} times: {failed.check}", (*failed.messages[:MAX_ITEMS], *helps))
        )
    if found.notes:
        yield written(Bullets(found.notes[:MAX_ITEMS]))


def _in_order(splits: Iterable[str]) -> list[str]:
    return sorted(splits, key=lambda each: SPLITS.index(each) if each in SPLITS else len(SPLITS))[: len(SPLITS)]


def _times(known: ReportFacts) -> Html:
    rows = [
        (each.step, duration(each.seconds), each.started_at.partition("T")[2].rstrip("Z"), each.note)
        for each in known.records
    ]
    head = ("step", "time", "from (UTC)", "result")
    return table(head, [*rows, ("total", duration(known.seconds), "", "")])


def _files(folder: RunFolder, known: ReportFacts, files: Collected) -> Iterator[Html]:
    yield links(sorted(files.about.items()))
    run = folder.run
    rows = [("run", run.id), ("folder", str(folder.root)), ("config, SHA-256", run.config)]
    rows += [(name, getattr(run.sources, name)) for name in ("code", "dataset", "tests")]
    rows += [("reason given", run.reason)] if run.reason else []
    compared = reference.in_words(known.manifest) if known.manifest else ""
    rows += [("for monitoring", compared)] if compared else []
    yield written(Table(("for the record", ""), tuple(rows)))
    if files.notes:
        yield written(Box("plain", "Left out of this report:", tuple(files.notes[:MAX_ITEMS])))
