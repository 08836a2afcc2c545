"""The pipelines as lists of steps, and what each step leaves for those after it.

A step's module is imported when the step runs, so that a command loads only what the requested step needs.
`pipelines.execute` runs these lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pipelines.context import Context
from pipelines.runs import RunFolder
from registry.dataclass import dataclass
from registry.records import Trigger

StepFunction = Callable[[Context, RunFolder], str]


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a run. `run` gives a line that says what it found, or raises NothingToDo or a PipelineError."""

    name: str
    run: StepFunction
    outputs: tuple[str, ...]
    """What it leaves in the run's folder; when a step to come needs it and it is gone, the step runs again."""
    shared: str
    """What may be a link to files that other runs use, too, so that it can be changed from outside."""
    unread_after: str
    """The step after which nobody reads `shared` any more."""
    repeatable: bool
    """Whether it makes the same bytes every time, so that the steps after it need not run again with it."""


def step(
    *outputs: str, shared: str = "", unread_after: str = "", repeatable: bool = False
) -> Callable[[StepFunction], Step]:
    """Make a function a step of its name that leaves `outputs`."""
    return lambda run: Step(run.__name__, run, outputs, shared, unread_after, repeatable)


@step()
def resolve(context: Context, folder: RunFolder) -> str:
    """Which commits, settings and live version the run is about."""
    from pipelines.steps import resolve

    return resolve.main(context, folder)


@step(
    "fetched.json", "sources/code", "sources/dataset", "sources/tests",
    shared="sources/dataset", unread_after="validate", repeatable=True,
)  # fmt: skip
def fetch(context: Context, folder: RunFolder) -> str:
    """The files of the three commits; nothing to do when an earlier run had the same."""
    from pipelines.steps import fetch

    return fetch.main(context, folder)


@step(
    "validate/result.json", "validate/outputs/data/train", "validate/outputs/data/validation", "validate/outputs/data/holdout",
    shared="validate/outputs/data", repeatable=True,
)  # fmt: skip
def validate(context: Context, folder: RunFolder) -> str:
    """Whether the data are fit to learn from; splits them."""
    from pipelines.steps import validate

    return validate.main(context, folder)


@step("train/result.json", "train/outputs")
def train(context: Context, folder: RunFolder) -> str:
    """A model from scratch."""
    from pipelines.steps import train

    return train.main(context, folder)


@step("train/result.json", "train/outputs")
def retrain(context: Context, folder: RunFolder) -> str:
    """A fine-tuned model; nothing to do when the present one passes the gate on the new data."""
    from pipelines.steps import retrain

    return retrain.main(context, folder)


@step("evaluate/result.json", "evaluate/outputs")
def evaluate(context: Context, folder: RunFolder) -> str:
    """The candidate and the live release, measured on the holdout."""
    from pipelines.steps import evaluate

    return evaluate.main(context, folder)


@step("gate/verdict.json")
def gate(context: Context, folder: RunFolder) -> str:
    """Whether the candidate is good enough."""
    from pipelines.steps import gate

    return gate.main(context, folder)


@step()
def register(context: Context, folder: RunFolder) -> str:
    """The candidate becomes a version in the test registry."""
    from pipelines.steps import register

    return register.main(context, folder)


@step()
def accept(context: Context, folder: RunFolder) -> str:
    """The acceptance test, in a staging instance."""
    from pipelines.steps import accept

    return accept.main(context, folder)


@step()
def notify(context: Context, folder: RunFolder) -> str:
    """The report and the mail, whatever the outcome."""
    from pipelines.steps import notify

    return notify.main(context, folder)


FLOWS: Mapping[Trigger, tuple[Step, ...]] = {
    "code": (resolve, fetch, validate, train, evaluate, gate, register, accept, notify),
    "dataset": (resolve, fetch, validate, retrain, evaluate, gate, register, accept, notify),
    "tests": (resolve, fetch, accept, notify),
}
STEPS: Mapping[str, Step] = {each.name: each for flow in FLOWS.values() for each in flow}


def names(trigger: Trigger) -> tuple[str, ...]:
    """The names of the steps that a push to this repository starts."""
    return tuple(each.name for each in FLOWS[trigger])
