"""gate: accepted, or every failed criterion."""

from __future__ import annotations

from pipelines.context import Context
from pipelines.gate import decide, gate_report, recent_note
from pipelines.runs import RunFolder
from pipelines.text import metrics
from registry import codec
from registry.errors import Rejected
from registry.records import Evaluation
from training.junit import write_junit


def main(context: Context, folder: RunFolder) -> str:
    """Write `gate/verdict.json` and `gate/junit.xml`; raises Rejected with every failed criterion."""
    evaluation = codec.read(Evaluation, folder.job("evaluate") / "result.json")
    policy = context.config.gate
    verdict = decide(evaluation, policy)
    write_junit(folder.job("gate") / "junit.xml", [gate_report(evaluation, policy)])
    codec.save(verdict, folder.job("gate") / "verdict.json")
    if not verdict.accepted:
        raise Rejected(
            "; ".join(verdict.reasons),
            hint="nothing was registered: the report shows what is missing; improve the model or its data, then push",
        )
    measured = (
        f"{policy.measure} {evaluation.candidate.values[policy.measure]:.4f} on {evaluation.candidate.samples} samples"
    )
    asked = list(metrics.rules(policy))
    more = f"{len(asked)} more rule{'s' if len(asked) > 1 else ''} hold{'' if len(asked) > 1 else 's'}" if asked else ""
    notes = (more, evaluation.live_note, recent_note(evaluation, policy))
    return f"accepted: {measured}" + "".join(f"; {each}" for each in notes if each)
