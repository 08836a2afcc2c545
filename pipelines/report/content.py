"""What stands in the report, in which order: the answer first, then why, then all that an engineer wants."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines import measures
from pipelines.context import Context
from pipelines.markup import Box, Bullets, Paragraph, Table
from pipelines.message import MAX_ITEMS, MailFacts, headline, summary
from pipelines.report.card import card_markdown
from pipelines.report.checks import checks
from pipelines.report.comparison import draw_comparison
from pipelines.report.curves import draw_curves
from pipelines.report.files import MAX_FILE, Collected
from pipelines.report.known import Known, look
from pipelines.report.page import Block, Figure, Figures, Files, Section, Tiles, to_page
from pipelines.report.style import CSS
from pipelines.runs import RunFolder
from pipelines.words import clean
from registry import candidates, codec
from registry.nouns import utc_now
from training.spec import SPLITS

PICTURES = {
    "confusion.png": ("Confusion matrix of the holdout: truth by row, prediction by column.", "confusion matrix"),
    "scatter.png": ("Predicted against true values of the holdout.", "prediction against truth"),
    "calibration.png": ("How often the model is right at each confidence, on the holdout.", "calibration"),
}
"""What the evaluation draws: caption, and what it is."""
RETINA = 0.75
"""How large a picture of the evaluation is shown: it has more pixels than it needs."""
BY_CASES = (200, 40, 5)
"""Checks shown per suite; fewer when the page gets too large."""


def build(context: Context, folder: RunFolder, facts: MailFacts) -> Collected:
    """All files of the report; raises PipelineError or OSError."""
    files = Collected()
    known = look(context, folder, facts, files)
    _records(context, folder, known, files)
    figures = _drawn(known, files)
    pictures = _pictures(folder, known, files)
    _junit(folder, known, files)
    for most in BY_CASES:
        page = _page(folder, known, files, (figures, pictures), most)
        if len(page) <= MAX_FILE:
            break
    files.add("report.css", CSS.encode(), "")
    files.add("index.html", page, "")
    return files


def _records(context: Context, folder: RunFolder, known: Known, files: Collected) -> None:
    files.copy(folder.root / "run.json", "run.json", "what went into this run")
    if known.facts.verdict:
        files.add("verdict.json", codec.to_json(known.facts.verdict), "the gate's answer, with the policy")
    if card := known.card:
        data = context.store.get(f"{candidates.version_folder('test', card.model, card.version)}/card.json")
        files.add("card.json", data, f"the card of version {card.version}, as the registry has it")
        files.add("card.md", card_markdown(card, known.facts).encode(), f"the model card of version {card.version}")


def _junit(folder: RunFolder, known: Known, files: Collected) -> None:
    steps, run = {each.step for each in known.records}, folder.run
    if known.prepared:
        files.junit(folder.outputs("validate") / "junit.xml", "junit/data.xml", "checks of the data")
        expected = folder.outputs("expectations") / "junit.xml"
        files.junit(expected, "junit/expectations.xml", "what the team expects of the data")
    if "gate" in steps:
        files.junit(folder.root / "gate" / "junit.xml", "junit/gate.xml", "checks of the gate")
    if known.tried:
        tried = (known.facts.acceptance, known.facts.live_acceptance)
        versions = {run.candidate, run.parent, known.facts.version, *(each.version for each in tried if each)}
        for version in sorted(each for each in versions if each is not None):
            path = folder.root / "accept" / f"version-{version}" / "outputs" / "junit.xml"
            files.junit(path, f"junit/acceptance-{version}.xml", f"checks and model tests of version {version}")


def _drawn(known: Known, files: Collected) -> list[Figure]:
    """`comparison.svg` and `curves.svg`."""
    facts, found = known.facts, []
    names = facts.candidate, facts.live
    drawings = {}
    if facts.evaluation:
        what = f"{facts.candidate} against {facts.live}, which is live, on the same samples"
        drawings["comparison.svg"] = (
            draw_comparison(facts.evaluation, facts.verdict.policy if facts.verdict else None, names),
            what,
        )
    if known.history:
        drawings["curves.svg"] = draw_curves(known.history), "the training, epoch by epoch"
    for name, (data, about) in drawings.items():
        if data and files.add(name, data, about):
            width, height = (int(data.split(mark, 1)[1].split(b'"', 1)[0]) for mark in (b' width="', b' height="'))
            alt = (
                "Curves of loss and metric by epoch"
                if name == "curves.svg"
                else "The metrics of both as dots on scales"
            )
            found.append(Figure(name, alt, about, width, height))
    return found


def _pictures(folder: RunFolder, known: Known, files: Collected) -> list[Figure]:
    found = []
    for name, (caption, about) in PICTURES.items():
        size = files.picture(folder.outputs(known.measured) / name, name, about) if known.measured else None
        if size:
            width, height = (max(1, round(each * RETINA)) for each in size)
            found.append(Figure(name, caption, caption, width, height))
    return found


def _page(
    folder: RunFolder, known: Known, files: Collected, figures: tuple[list[Figure], list[Figure]], most: int
) -> bytes:
    facts, run = known.facts, known.facts.run
    sections = [
        Section("What changed", "changes", tuple(_changes(facts))),
        Section("How good it is", "metrics", tuple(_metrics(facts, *figures))),
        Section("Checks", "checks", tuple(checks(known, most))),
        Section("Data", "data", tuple(_data(known))),
        Section("How long it took", "times", tuple(_times(known))),
        Section("Files and record", "files", tuple(_files(folder, files))),
    ]
    started = f"Run {run.id} of {run.model}, started {measures.moment(run.created_at)} by a push to {run.trigger}"
    started += f"{', forced' if run.forced else ''}. What the product owner reads is in the mail; this is the record."
    top: list[Block] = [each for each in summary(facts) if isinstance(each, Box | Paragraph | Bullets)]
    if tiles := tuple(_tiles(known)):
        top.append(Tiles(tiles))
    made = f"Written by Trainyard, {measures.moment(utc_now())}."
    return to_page(headline(facts), started, top, [each for each in sections if each.blocks], made)


def _tiles(known: Known) -> Iterator[tuple[str, str]]:
    facts = known.facts
    if found := facts.evaluation:
        metric = facts.verdict.policy.metric if facts.verdict else next(iter(found.candidate.values), "")
        name = clean(metric, 30).replace("_", " ")
        if metric in found.candidate.values:
            yield f"{name}, {facts.candidate}", measures.number(found.candidate.values[metric])
        if found.live and metric in found.live.values:
            yield f"{name}, live {facts.live}", measures.number(found.live.values[metric])
        if facts.verdict:
            yield f"{name}, threshold", measures.number(facts.verdict.policy.threshold)
        yield "holdout samples", f"{found.candidate.samples:,}"
    yield "time, all steps", measures.duration(sum(each.seconds for each in known.records))


def _changes(facts: MailFacts) -> Iterator[Block]:
    sources, run = facts.run.sources, facts.run
    news = {each.repository: each for each in facts.changes}
    since = run.parent or run.candidate
    rows = []
    for name in ("code", "dataset", "tests"):
        count = len(news[name].commits) + news[name].more if name in news else 0
        said = f"{count} new commit{'s' if count != 1 else ''}" if count else "no new commit" if since else "not known"
        rows.append((name + (" (pushed)" if name == run.trigger else ""), getattr(sources, name)[:12], said))
    yield Table(("repository", "commit", f"since version {since}" if since else "since the start"), tuple(rows))
    for changes in facts.changes:
        shown = changes.commits[:MAX_ITEMS]
        commits = tuple((each.sha[:8], clean(each.subject, 120), clean(each.author, 60)) for each in shown)
        yield Table((f"new in {changes.repository}", "subject", "author"), commits)
        if more := changes.more + len(changes.commits) - len(shown):
            yield Paragraph(f"... and {more} more commits in {changes.repository}")


def _metrics(facts: MailFacts, drawn: list[Figure], pictures: list[Figure]) -> Iterator[Block]:
    tables: list[Paragraph | Table] = []
    if facts.evaluation:
        metric = facts.verdict.policy.metric if facts.verdict else next(iter(facts.evaluation.candidate.values), "")
        written = measures.blocks(facts.evaluation, metric, facts.candidate, facts.live)
        tables = [each for each in written if isinstance(each, Paragraph | Table)]
    yield from tables[:1]
    if drawn or pictures:
        yield Figures((*drawn, *pictures))
    yield from tables[1:]


def _data(known: Known) -> Iterator[Block]:
    found = known.validation
    if not found:
        return
    if found.samples:
        rows = tuple((split, f"{found.samples[split]:,}") for split in _in_order(found.samples))
        yield Table(("split", "samples"), rows, numbers=True)
    if found.classes:
        splits = _in_order(found.classes)
        names = list(dict.fromkeys(name for each in found.classes.values() for name in each))
        counts = tuple(
            (name, *(f"{found.classes[split].get(name, 0):,}" for split in splits)) for name in names[:MAX_ITEMS]
        )
        yield Table(("class", *splits), counts, numbers=True)
        if len(names) > MAX_ITEMS:
            yield Paragraph(f"... and {len(names) - MAX_ITEMS} more classes")
    for fault in found.faults[:MAX_ITEMS]:
        helps = (f"What helps: {fault.hint}",) if fault.hint else ()
        yield Box("bad", f"{fault.check}: {fault.count:,} times", (*fault.messages[:MAX_ITEMS], *helps))
    if found.notes:
        yield Bullets(found.notes[:MAX_ITEMS])


def _in_order(splits: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(splits, key=lambda each: SPLITS.index(each) if each in SPLITS else len(SPLITS)))  # type: ignore[arg-type]


def _times(known: Known) -> Iterator[Block]:
    rows = [
        (each.step, measures.duration(each.seconds), each.started_at.partition("T")[2].rstrip("Z"), each.note)
        for each in known.records
    ]
    total = measures.duration(sum(each.seconds for each in known.records))
    yield Table(("step", "time", "from (UTC)", "what it said"), (*rows, ("together", total, "", "")))


def _files(folder: RunFolder, files: Collected) -> Iterator[Block]:
    yield Files(tuple((name, about) for name, about in sorted(files.about.items()) if about))
    run = folder.run
    rows = [("run", run.id), ("folder", str(folder.root)), ("settings, SHA-256", run.config)]
    rows += [(name, getattr(run.sources, name)) for name in ("code", "dataset", "tests")]
    rows += [("reason given", run.reason)] if run.reason else []
    yield Table(("for the record", "value"), tuple(rows))
    if files.notes:
        yield Box("plain", "What this report had to leave out:", tuple(files.notes[:MAX_ITEMS]))
