"""The table of metrics: what each is for, what it can be, what it needs, and how it is called for people.

Whatever knows metrics reads this: settings, training, evaluation, gate, report, mail, monitoring and documentation. The
functions are imported when a metric is measured; the controller loads none of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from registry.dataclass import dataclass
from registry.records import Task
from registry.records.measure import OWN, SCRIPT, Argument, read_measure

INF = math.inf
Need = Literal["", "probabilities", "rank", "scores", "cost"]
"""What a metric needs beside the class that is answered; `rank`, `scores` and `cost` are kept for those that need them."""
LIMITS: Mapping[str, tuple[float, float]] = {"beta": (0.01, 100), "k": (1, 1_000_000), "quantile": (0.001, 0.999)}
"""Of the arguments that are numbers."""
MORE, LESS = "more", "less"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric."""

    tasks: tuple[Task, ...]
    better: Literal[1, -1]
    """1 when more is better, -1 when less is."""
    low: float
    high: float
    """What it can be: a limit outside holds for every model, or for none."""
    title: str
    """For people, with arguments in braces."""
    function: str
    """In `training.metric_functions`; it takes the answers, and the arguments by name."""
    title_of: str = ""
    """The same for one class (`positive`), or for one of several targets (`target`); empty: it does not take one."""
    arguments: tuple[str, ...] = ()
    """Those that must be given."""
    needs: Need = ""
    undefined: str = ""
    """When it is not a number, although the answers are."""
    always: bool = False
    """Whether it is measured without being asked for."""
    title_of_anomalies: str = ""
    """The same as `title`, of anomalies."""
    ordered: bool = False
    """It is about classes that have an order, and `always` means of those."""
    source: Literal["", "own", "script"] = ""
    """Who gives the number: Trainyard, the team's `metrics.py`, or its training script."""

    @property
    def about(self) -> str:
        """The argument that says what one of several things it is about; empty: it takes none."""
        return ("target" if self.tasks == R else "positive") if self.title_of else ""


C: tuple[Task, ...] = ("classification",)
R: tuple[Task, ...] = ("regression",)
M: tuple[Task, ...] = ("multi-label",)
A: tuple[Task, ...] = ("anomaly",)
CM = (*C, *M)
CMA = (*CM, *A)
OF_LABELLED = ("roc_auc", "average_precision", "precision", "recall")
"""Of anomalies: what is measured without being asked for where the holdout says which samples are some."""
NO_SAMPLE = "the holdout has no sample of a class that it is about"
METRICS: Mapping[str, MetricRow] = {
    "accuracy": MetricRow(CM, 1, 0, 1, "accuracy (share of right answers)", "accuracy", always=True),
    "loss": MetricRow((*C, *R, *M), -1, 0, INF, "loss", "loss", needs="probabilities", always=True),
    "macro_f1": MetricRow(CM, 1, 0, 1, "macro F1 (every class counts equally)", "macro_f1", always=True),
    "micro_f1": MetricRow(M, 1, 0, 1, "micro F1 (every label given counts equally)", "micro_f1", always=True),
    "hamming_loss": MetricRow(M, -1, 0, 1, "Hamming loss (share of wrong labels)", "hamming_loss", always=True),
    "brier": MetricRow(C, -1, 0, 2, "Brier score (error of the probabilities)", "brier", needs="probabilities", always=True),
    "ece": MetricRow(C, -1, 0, 1, "calibration error", "ece", always=True),
    "mae": MetricRow(
        R, -1, 0, INF, "mean absolute error", "mae", title_of="mean absolute error of {target}", always=True
    ),
    "rmse": MetricRow(
        R, -1, 0, INF, "root mean square error", "rmse", title_of="root mean square error of {target}", always=True
    ),
    "r2": MetricRow(
        R, 1, -INF, 1, "R2 (share of the variation explained)", "r2",
        title_of="R2 of {target} (share of the variation explained)", always=True,
    ),
    "roc_auc": MetricRow(
        CMA, 1, 0, 1, "ROC-AUC (how well the probabilities rank, mean over the classes)", "roc_auc",
        title_of="ROC-AUC of {positive} (how well its probability ranks)", needs="scores", undefined=NO_SAMPLE,
        title_of_anomalies="ROC-AUC (how well the scores separate anomalies from the rest)",
    ),
    "average_precision": MetricRow(
        CMA, 1, 0, 1, "average precision (mean over the classes)", "average_precision",
        title_of="average precision of {positive}", needs="scores", undefined=NO_SAMPLE,
        title_of_anomalies="average precision of the anomalies",
    ),
    "precision": MetricRow(
        CMA, 1, 0, 1, "precision (right when said, mean over the classes)", "precision",
        title_of="precision of {positive} (right when said)", undefined=NO_SAMPLE,
        title_of_anomalies="precision (right when an anomaly is reported)",
    ),
    "recall": MetricRow(
        CMA, 1, 0, 1, "recall (share that is found, mean over the classes)", "recall",
        title_of="recall of {positive} (share that is found)", undefined=NO_SAMPLE,
        title_of_anomalies="recall (share of the anomalies that is found)",
    ),
    "f_beta": MetricRow(
        CMA, 1, 0, 1, "F-{beta} (mean over the classes)", "f_beta",
        title_of="F-{beta} of {positive}", arguments=("beta",), undefined=NO_SAMPLE,
        title_of_anomalies="F-{beta} of the anomalies",
    ),
    "top_k": MetricRow(
        C, 1, 0, 1, "top-{k} accuracy (right within the first {k})", "top_k", arguments=("k",), needs="rank"
    ),
    "mcc": MetricRow(C, 1, -1, 1, "Matthews correlation coefficient (0: no better than chance)", "mcc"),
    "rank_mae": MetricRow(
        C, -1, 0, INF, "mean error in ranks (how many classes off)", "rank_mae", always=True, ordered=True
    ),
    "quadratic_kappa": MetricRow(
        C, 1, -1, 1, "quadratic weighted kappa (0: no better than chance)", "quadratic_kappa", always=True, ordered=True
    ),
    "within_one": MetricRow(
        C, 1, 0, 1, "accuracy within one (right, or one class off)", "within_one", always=True, ordered=True
    ),
    "cost": MetricRow(C, -1, -INF, INF, "mean cost of an answer", "cost", needs="cost"),
    "mape": MetricRow(
        R, -1, 0, INF, "mean absolute error as a share of the true value", "mape",
        title_of="mean absolute error of {target} as a share of the true value", undefined="a true value is 0",
    ),
    "pinball": MetricRow(
        R, -1, 0, INF, "pinball loss at quantile {quantile}", "pinball",
        title_of="pinball loss of {target} at quantile {quantile}", arguments=("quantile",),
    ),
    "mean_score": MetricRow(
        A, -1, -INF, INF, "mean score of what is not marked as anomalous", "mean_score", always=True
    ),
    "false_alarms": MetricRow(
        A, -1, 0, 1, "false alarms (share of what is not marked as anomalous, and is answered so)", "false_alarms",
        always=True,
    ),
}  # fmt: skip


def row_of(measure: str) -> MetricRow | None:
    """The row of a metric, with or without arguments; None when there is no such metric."""
    try:
        metric, arguments = read_measure(measure)
    except ValueError:
        return None
    return METRICS.get(metric) or _of_the_team(metric, arguments)


def _of_the_team(metric: str, arguments: Mapping[str, Argument]) -> MetricRow | None:
    """Of a number that the team gives: Trainyard knows of it which way is better, and no bounds."""
    better: Literal[1, -1] = -1 if arguments.get("better") == LESS else 1
    kind, _, name = metric.partition(":")
    if kind + ":" == OWN:
        title, undefined = f"{name} (by metrics.py of the tests repository)", f"{name} of metrics.py has returned that"
        return MetricRow(
            (*C, *R), better, -INF, INF, title, "", arguments=("better",), undefined=undefined, source="own"
        )
    if kind + ":" == SCRIPT:
        title = f"{name} (as the training script says)"
        return MetricRow((*C, *R), better, -INF, INF, title, "", arguments=("better",), source="script")
    return None


def better(measure: str) -> int:
    """1 when more of it is better, -1 when less is; raises KeyError when it is not known."""
    row = row_of(measure)
    if row is None:
        raise KeyError(measure)
    return row.better


def needs_probabilities(measure: str) -> bool:
    """Whether the answered class, and its probability, are not enough."""
    row = row_of(measure)
    return row is not None and row.needs in {"probabilities", "rank", "scores"}


def title(measure: str, task: Task | None = None) -> str:
    """How it is called for people; its own name when it is not known. `task`: None: any."""
    row = row_of(measure)
    if row is None:
        return measure
    if row.source:
        return row.title
    arguments = read_measure(measure)[1]
    shown = {name: f"{each:g}" if isinstance(each, float) else str(each) for name, each in arguments.items()}
    of_task = row.title_of_anomalies if task == "anomaly" and row.title_of_anomalies else row.title
    try:
        return (row.title_of if row.about in arguments else of_task).format(**shown)
    except (KeyError, IndexError):  # a name that somebody has made up
        return measure


def always_measured(task: Task, *, ordered: bool = False) -> tuple[str, ...]:
    """The metrics of a task that are measured without being asked for; `ordered`: of classes that have an order."""
    return tuple(
        name for name, row in METRICS.items() if row.always and task in row.tasks and (ordered or not row.ordered)
    )


def problems(measure: str) -> Iterator[str]:
    """What is wrong with a metric and its arguments, whatever the data are."""
    row = row_of(measure)
    if row is None:
        yield f"{measure!r:.200} is not one of {', '.join(METRICS)}, own:FUNCTION and script:NUMBER"
        return
    metric, arguments = read_measure(measure)
    if row.source == "own" and not (name := metric.removeprefix(OWN)).isidentifier():
        yield f"{name!r:.100} is not the name of a function of metrics.py"
    yield from (f"{metric} needs {name}" for name in row.arguments if name not in arguments)
    for name, each in arguments.items():
        if name == "better" and row.source and each not in {MORE, LESS}:
            yield f'{metric}: better is "{MORE}" or "{LESS}", not {each!r:.100}'
        elif name not in row.arguments and name != row.about:
            yield f"{metric} takes no {name}"
        elif name in LIMITS and not LIMITS[name][0] <= float(each) <= LIMITS[name][1]:
            yield f"{name} {each} is not between {LIMITS[name][0]:g} and {LIMITS[name][1]:g}"


def unsuitable(
    measure: str, task: Task, classes: Sequence[str], targets: Sequence[str] = (), *, ordered: bool = True
) -> str:
    """Why it cannot be measured on such data; empty when it can. `targets`: the names of several numbers per sample; `ordered`: the
    classes have an order, or it is not known."""
    row = row_of(measure)
    if row is None:
        return f"{measure} is not known"
    if task not in row.tasks:
        return f"{measure} is not measured for {task}"
    if row.ordered and not ordered:
        return f"{measure} is about classes that have an order: list them in it, with ordered = true in dataset.toml"
    arguments = read_measure(measure)[1]
    if task == "anomaly" and "positive" in arguments:
        return f"{measure}: it is about the anomalies: leave positive out"
    if "positive" in arguments and arguments["positive"] not in classes:
        return f"{measure}: the dataset has no class {arguments['positive']!r:.100}; it has {_some(classes)}"
    if "target" in arguments and arguments["target"] not in targets:
        have = f"the dataset has {_some(targets)}" if targets else "the dataset has one number per sample: leave it out"
        return f"{measure}: there is no target {arguments['target']!r:.100}; {have}"
    if int(arguments.get("k", 1)) >= max(len(classes), 2):
        return f"{measure}: there are {len(classes)} classes, so that it is 1 for every model"
    return ""


def unknown_costs(costs: Mapping[str, Mapping[str, float]], classes: Sequence[str]) -> tuple[str, ...]:
    """The names in a cost matrix that are not those of a class."""
    named = [*costs, *(answer for each in costs.values() for answer in each)]
    return tuple(dict.fromkeys(each for each in named if each not in classes))


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
