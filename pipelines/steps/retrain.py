"""retrain: is the old model still good enough on the new data? If not, go on from it, else from nothing."""

from __future__ import annotations

from pipelines.context import Context
from pipelines.flows import Enough
from pipelines.gate import decide
from pipelines.runs import RunFolder
from pipelines.steps import evaluate, train
from pipelines.workers.jobs import EvaluateJob
from registry import codec
from registry.errors import ConfigError, WorkerFailed
from retraining.policy import starting_point, worth_it


def main(context: Context, folder: RunFolder) -> str:
    """Raises Enough when the old model still passes the gate; `train/result.json` is the TrainResult otherwise."""
    run = folder.run
    start = starting_point(run.parent, run.candidate)
    if start.version is None:
        context.progress.note(start.note)
        return train.work(context, folder, "training", {})
    assert start.area
    subject, files = evaluate.registered(context, folder, start.area, start.version)
    verdict = None
    job = EvaluateJob(context.config.gate.metric, subject)
    try:
        verdict = decide(evaluate.measure(context, folder, "before", job, {"candidate": files}), context.config.gate)
        codec.save(verdict, folder.job("before") / "verdict.json")
    except (ConfigError, WorkerFailed) as error:  # another kind of data than it was made for: all the more reason
        context.progress.note(f"version {start.version} on the new data: {error}")
    decision = worth_it(verdict, forced=run.forced)
    context.progress.note(f"{start.note}; {decision.note}")
    if not decision.retrain:
        raise Enough(f"version {start.version}: {decision.note}")
    return train.work(context, folder, "retraining", {"model": files})
