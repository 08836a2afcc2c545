"""Which files make up the report of a run."""

from __future__ import annotations

from pipelines.config.schema import PredictionLog
from pipelines.context import Context
from pipelines.mail.facts import MailFacts
from pipelines.report.facts import ReportFacts, gather
from pipelines.report.files import MAX_FILE, Collected
from pipelines.report.page import Html, figure
from pipelines.report.sections import page
from pipelines.report.style import CSS
from pipelines.runs import RunFolder
from registry import candidates, codec
from registry.errors import PipelineError
from serving.prediction_log.rules import said_of_settings

PLOTS = {
    "confusion.png": ("Confusion matrix of the holdout: truth by row, prediction by column.", "confusion matrix"),
    "scatter.png": ("Predicted against true values of the holdout.", "prediction against truth"),
    "labels.png": ("How well each label is found on the holdout, the weakest first.", "labels"),
    "scores.png": ("The scores of the holdout; what is right of the dashed line is answered as anomalous.", "scores"),
    "calibration.png": ("How often the model is right at each confidence, on the holdout.", "calibration"),
}
"""What the evaluation draws: caption, and what the file is."""
LOGS = {"retrain": "train"}
"""Step → its job folder, when that has another name."""
SHOWN = 0.75
"""CSS pixels per pixel of a plot: they are drawn for screens that have more."""
BY_CASES = (200, 40, 5)
"""Checks per suite on the page; fewer when it gets too large."""


def build(context: Context, folder: RunFolder, facts: MailFacts) -> Collected:
    """All files of the report; raises PipelineError or OSError."""
    files = Collected()
    known = gather(context, folder, facts, files)
    _records(context, folder, known, files)
    plots = [*_drawings(known, files), *_plots(folder, known, files)]
    drawn = {"plots": plots, "importance": _importance(known, files), "lineage": _lineage(context, known, files)}
    _junit(folder, known, files)
    if facts.failed_step:
        files.tail(folder.root / LOGS.get(facts.failed_step, facts.failed_step))
    for most in BY_CASES:
        index = page(folder, known, files, drawn, most)
        if len(index) <= MAX_FILE:
            break
    files.files |= {"index.html": index, "report.css": CSS.encode()}
    return files


def _records(context: Context, folder: RunFolder, known: ReportFacts, files: Collected) -> None:
    files.copy(folder.root / "run.json", "run.json", "what went into this run")
    if known.facts.verdict:
        files.add("verdict.json", codec.to_json(known.facts.verdict), "the gate's verdict, with the policy")
    if manifest := known.manifest:
        from pipelines.report.model_card import card_markdown

        data = context.store.get(f"{candidates.version_folder('test', manifest.model, manifest.version)}/card.json")
        files.add("card.json", data, f"the manifest of version {manifest.version}, as the registry has it")
        checked = known.validation if manifest.sources.dataset == known.facts.run.sources.dataset else None
        tests = (known.facts.acceptance, known.facts.live_acceptance)
        tested = next((each for each in tests if each and each.version == manifest.version), None)
        card = card_markdown(manifest, tested, checked.read_as if checked else (), _kept(context.config.prediction_log))
        files.add("card.md", card.encode(), f"the model card of version {manifest.version}")


def _kept(log: PredictionLog) -> tuple[str, ...]:
    """What the API will keep of requests, as the settings are now."""
    if not log.enabled:
        return ("As the settings were when this was written, nothing.",)
    return tuple(said_of_settings(log.columns, log.images, log.fraction))


def _drawings(known: ReportFacts, files: Collected) -> list[Html]:
    """`comparison.svg` and `curves.svg`."""
    facts, found = known.facts, []
    if facts.evaluation and facts.evaluation.live:
        from pipelines.report.comparison import draw_comparison

        policy = facts.verdict.policy if facts.verdict else None
        drawing = draw_comparison(facts.evaluation, policy, (facts.candidate, facts.live))
        about = f"{facts.candidate} against {facts.live}, which is live, on the same samples"
        found += _drawing(files, drawing, "comparison.svg", "Both models as dots, on one scale per metric", about)
    if known.history:
        from pipelines.report.curves import draw_curves

        curves = draw_curves(known.history)
        about = "the training, epoch by epoch"
        found += _drawing(files, curves, "curves.svg", "Curves of loss and metric by epoch", about)
    return found


def _importance(known: ReportFacts, files: Collected) -> list[Html]:
    """`importance.svg`."""
    if not (known.facts.evaluation and known.facts.evaluation.importance):
        return []
    from pipelines.report.importance import draw_importance

    drawing = draw_importance(known.facts.evaluation.importance)
    about = f"what {known.facts.candidate} looks at"
    return _drawing(files, drawing, "importance.svg", "A bar per input with its interval", about)


def _lineage(context: Context, known: ReportFacts, files: Collected) -> list[Html]:
    """`lineage.svg`, of the version that the run is about."""
    if not (manifest := known.manifest):
        return []
    from pipelines.lineage import trace
    from pipelines.report.lineage import draw_lineage

    try:
        found = trace(context.store, context.config, manifest.model, manifest.version)
    except PipelineError as error:  # another version's record may be damaged: this report is not about it
        files.notes.append(str(error))
        return []
    about = f"the lineage of version {manifest.version}, as it was when this report was written"
    return _drawing(files, draw_lineage(found), "lineage.svg", "Sources, the version, and what became of it", about)


def _drawing(files: Collected, drawing: bytes, name: str, alt: str, about: str) -> list[Html]:
    if not drawing or not files.add(name, drawing, about):
        return []
    width, height = (int(drawing.split(mark, 1)[1].split(b'"', 1)[0]) for mark in (b' width="', b' height="'))
    return [figure(name, alt, f"{about[:1].upper()}{about[1:]}.", (width, height))]


def _plots(folder: RunFolder, known: ReportFacts, files: Collected) -> list[Html]:
    found = []
    for name, (words, about) in PLOTS.items() if known.measured else ():
        if size := files.plot(folder.outputs(known.measured) / name, name, about):
            width, height = (max(1, round(each * SHOWN)) for each in size)
            found.append(figure(name, words, words, (width, height)))
    return found


def _junit(folder: RunFolder, known: ReportFacts, files: Collected) -> None:
    if known.prepared:
        files.junit(folder.outputs("validate") / "junit.xml", "junit/data.xml", "checks of the data")
        expected = folder.outputs("expectations") / "junit.xml"
        files.junit(expected, "junit/expectations.xml", "what the team expects of the data")
    if known.facts.verdict:
        files.junit(folder.root / "gate" / "junit.xml", "junit/gate.xml", "checks of the gate")
    if known.tested:
        results = (known.facts.acceptance, known.facts.live_acceptance)
        versions = {known.made, folder.run.candidate, folder.run.parent, *(each.version for each in results if each)}
        for version in sorted(each for each in versions if each is not None):
            path = folder.root / "accept" / f"version-{version}" / "outputs" / "junit.xml"
            files.junit(path, f"junit/acceptance-{version}.xml", f"checks and model tests of version {version}")
