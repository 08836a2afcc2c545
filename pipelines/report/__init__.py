"""The report of a run: a folder that a CI server keeps and shows as it is.

    index.html, report.css          what happened and why; no script, no inline style, nothing from elsewhere
    curves.svg, comparison.svg      of the training, and against the live release
    lineage.svg                     from what the version was made, and what became of it
    confusion.png, calibration.png | scatter.png | labels.png | scores.png
    junit/*.xml                     data, expectations, gate, acceptance-<version>
    card.md, card.json              of the version that the run is about
    run.json, verdict.json

What is not known is not there. Much of it was said or written by repositories and by workers that ran their code: words are
escaped, files are copied only when they are what they should be, no file has more than 2 MiB, and all together not more
than 16 MiB; usually it is a tenth of a megabyte.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.context import Context
from pipelines.mail.facts import MailFacts
from pipelines.runs import RunFolder


def write_report(context: Context, folder: RunFolder, facts: MailFacts | None = None) -> Path:
    """Write `<run>/report/`, whole or not at all, in place of an older one; gives the folder.

    `facts` are those of `pipelines.mail_facts`, when the caller has them. Raises ConfigError when no step has run yet, and
    PipelineError or OSError when the report cannot be made; then there is none.
    """
    from pipelines.mail_facts import collect_facts
    from pipelines.report.content import build
    from pipelines.report.files import discard

    target = folder.root / "report"
    discard(target)
    build(context, folder, facts or collect_facts(context, folder)).write(target)
    return target
