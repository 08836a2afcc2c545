"""How far the accuracy that monitoring estimates without labels is from the true one, when other cases come than the holdout had.

Real data that scikit-learn ships: handwritten digits and breast cancer. A part of the data trains a model, another one is the
holdout (its curve is all that is kept of it), and windows come from the rest, drawn with a preference for one end of a
feature: rank u of 0 to 1 has the weight exp(±2 u), which shifts the feature by half a standard deviation; for *clear cases*, where
the nearest class centre is much nearer than the next one, exp(±4 u), as they move the accuracy most. So other cases come, and what is
right for each stays. Windows have 1,000 rows, with repetitions: the rest is all there is to draw from, and its
share of right answers is a fact about 200 (cancer) or 629 (digits) samples, which alone is off by 1.3 to 2 % by chance. So
a window, or a split, proves nothing; the promise is about the mean of many splits, for every shift. Whether intervals hold the
true accuracy is asked of windows of 100 rows without repetitions, as production would send them.

The last rows show where the method fails, as any without labels must: the cases stay, and what is right changes.
With --neighbours NannyML's CBPE estimates the same windows from the same holdouts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from bench_run import BenchRun
from rows import Row, Skipped

from retraining.monitoring.calibration import Estimate, calibrate, estimated_accuracy

ROWS, FEW = 1000, 100
STRENGTH, CLEAR_STRENGTH = 2.0, 4.0
CLEAR = "clear cases"
SPLITS = 40
LIMIT = 2.0
HERE = Path(__file__).resolve().parent
CHANGED = "half of the classes (or both) swap their names"


@dataclass(frozen=True)
class Split:
    """One model, its holdout, and windows of what comes later. Answers are by row of the data set."""

    probabilities: np.ndarray
    """Shape (rows, classes)."""
    truth: np.ndarray
    holdout: np.ndarray
    """Indices of rows."""
    windows: dict[str, np.ndarray]
    """Shift → indices of ROWS rows, with repetitions."""
    small: dict[str, np.ndarray]
    """Shift → indices of FEW rows, each another one."""

    @property
    def right(self) -> np.ndarray:
        """Of every row, whether the model's answer is."""
        return np.asarray(self.probabilities.argmax(axis=1) == self.truth)

    def estimate(self, window: np.ndarray) -> Estimate:
        """Ours, for the rows of a window."""
        confidence = self.probabilities.max(axis=1)
        curve = calibrate(confidence[self.holdout], self.right[self.holdout])
        found = estimated_accuracy(curve, confidence[window])
        assert found is not None
        return found

    def accuracy(self, window: np.ndarray) -> float:
        """The true one, of the rows of a window."""
        return float(self.right[window].mean())

    def held(self, window: np.ndarray) -> bool:
        """Whether the interval holds it."""
        found = self.estimate(window)
        return found.low <= self.accuracy(window) <= found.high


@dataclass(frozen=True)
class Result:
    """Of one shift, over all splits."""

    data: str
    model: str
    shift: str
    estimated: list[float]
    true: list[float]
    held: list[bool]
    """Whether the interval holds the true accuracy."""
    holdout: list[float]
    """The accuracy on the holdout: an estimate for who takes nothing to have changed."""

    @property
    def unchanged(self) -> float:
        """As `difference`, of the holdout's accuracy."""
        return 100 * float(np.mean(np.subtract(self.holdout, self.true)))

    @property
    def difference(self) -> float:
        """Mean of estimate minus truth, in percent."""
        return 100 * float(np.mean(np.subtract(self.estimated, self.true)))

    @property
    def typical(self) -> float:
        """Mean of the absolute differences, in percent: with what chance adds."""
        return 100 * float(np.abs(np.subtract(self.estimated, self.true)).mean())


def measure(run: BenchRun) -> list[Row]:
    """For each data set and model the worst shift, the typical difference, and concept drift."""
    splits = 3 if run.quick else SPLITS
    folder, rows, found = run.space("cbpe"), list[Row](), list[Result]()
    for data in DATA:
        for model in MODELS:
            made = list(splits_of(data, model, splits))
            results = results_of(data, model, made)
            theirs = _nannyml(run, folder / f"{data}-{model}", made)
            rows += _rows(data, model, results, theirs, quick=run.quick)
            found += results
            if model == "network":
                rows.append(_concept(data, made))
    run.say(table(found))
    return rows


def results_of(data: str, model: str, made: list[Split]) -> list[Result]:
    """One per shift."""
    return [
        Result(
            data,
            model,
            shift,
            [each.estimate(each.windows[shift]).value for each in made],
            [each.accuracy(each.windows[shift]) for each in made],
            [each.held(each.small[shift]) for each in made],
            [each.accuracy(each.holdout) for each in made],
        )
        for shift in made[0].windows
    ]


def changed(split: Split, share: float = 0.5) -> float:
    """The true accuracy of the window without a shift when this share of the classes swap their names: confidence and
    estimate are what they were."""
    classes = split.probabilities.shape[1]
    swapped = np.arange(classes)
    count = max(2, int(classes * share))
    swapped[:count] = np.roll(swapped[:count], 1)
    window = split.windows["none"]
    return float((split.probabilities[window].argmax(axis=1) == swapped[split.truth[window]]).mean())


def splits_of(data: str, model: str, count: int) -> Iterator[Split]:
    """`count` of them: 40 % train, 25 % are the holdout, of the rest come the windows."""
    x, y, features = DATA[data]()
    ranks = {name: np.argsort(np.argsort(values, kind="stable")) / (len(y) - 1) for name, values in features.items()}
    for seed in range(count):
        random = np.random.default_rng(seed)
        order = random.permutation(len(y))
        first, second = int(0.4 * len(y)), int(0.65 * len(y))
        train, holdout, rest = order[:first], order[first:second], order[second:]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a network that has not converged is as good a subject
            fitted = MODELS[model](seed).fit(x[train], y[train])
        weights = {"none": np.ones(len(rest))}
        for name, rank in ranks.items():
            strength = CLEAR_STRENGTH if name == CLEAR else STRENGTH
            weights |= {
                f"{word} {name}": np.exp(k * rank[rest]) for word, k in (("less", -strength), ("more", strength))
            }
        shares = {shift: each / each.sum() for shift, each in weights.items()}
        windows = {shift: random.choice(rest, ROWS, p=each) for shift, each in shares.items()}
        small = {shift: random.choice(rest, FEW, replace=False, p=each) for shift, each in shares.items()}
        yield Split(fitted.predict_proba(x), y, holdout, windows, small)


def digits() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """1,797 images of 8 × 8 pixels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    image = found.images
    features = {
        "ink": image.mean(axis=(1, 2)),
        "ink on the left": image[:, :, :4].mean(axis=(1, 2)) - image[:, :, 4:].mean(axis=(1, 2)),
        "ink at the top": image[:, :4].mean(axis=(1, 2)) - image[:, 4:].mean(axis=(1, 2)),
        "ink in the middle": image[:, 2:6, 2:6].mean(axis=(1, 2)) - image.mean(axis=(1, 2)),
        "contrast": image.std(axis=(1, 2)),
    }
    return found.data, found.target, features | {CLEAR: clearness(found.data, found.target)}


def cancer() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """569 tumours with 30 measurements."""
    from sklearn.datasets import load_breast_cancer

    found = load_breast_cancer()
    names = ("mean radius", "mean texture", "mean smoothness", "mean compactness", "mean symmetry")
    places = {name: list(found.feature_names).index(name) for name in names}
    features = {name.removeprefix("mean "): found.data[:, at] for name, at in places.items()}
    return found.data, found.target, features | {CLEAR: clearness(found.data, found.target)}


def clearness(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each row, how much nearer the nearest centre of a class is than the next one."""
    scaled = (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9)
    centres = np.array([scaled[y == each].mean(axis=0) for each in np.unique(y)])
    distances = np.sort(np.linalg.norm(scaled[:, None] - centres, axis=2), axis=1)
    return np.asarray(distances[:, 1] - distances[:, 0])


def logistic(seed: int) -> Any:
    """Strongly regularised, so not sure enough of itself: a tenth to a third off."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=200, random_state=seed))


def network(seed: int) -> Any:
    """One hidden layer, trained until it stops to improve."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=200, random_state=seed))


def hasty(seed: int) -> Any:
    """A small network, stopped long before: it has learnt the clear cases only. Reported, as naive Bayes."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=40, random_state=seed))


def forest(seed: int) -> Any:
    """30 shallow trees."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(30, max_depth=6, random_state=seed)


def bayes(seed: int) -> Any:
    """Too sure of itself, and wrong in the same places: its confidence does not say where. Only reported."""
    from sklearn.naive_bayes import GaussianNB

    del seed
    return GaussianNB(var_smoothing=1e-2)


DATA: dict[str, Callable[[], tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]]] = {
    "digits": digits,
    "breast cancer": cancer,
}
MODELS: dict[str, Callable[[int], Any]] = {
    "logistic regression": logistic,
    "network": network,
    "forest": forest,
    "network, stopped early": hasty,
    "naive Bayes": bayes,
}
REPORTED = ("network, stopped early", "naive Bayes")
"""Whose confidence says too little of where they are wrong; without a promise."""


def table(found: list[Result]) -> str:
    """Markdown: a line per data set, model and shift."""
    lines = ["| data | model | shift | true | estimated | difference | typical | intervals that hold it |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for each in found:
        held = f"{np.mean(each.held):.0%}"
        numbers = f"{np.mean(each.true):.3f} | {np.mean(each.estimated):.3f} | {each.difference:+.1f} % | {each.typical:.1f} %"
        lines.append(f"| {each.data} | {each.model} | {each.shift} | {numbers} | {held} |")
    return "\n".join(lines)


def _rows(data: str, model: str, results: list[Result], theirs: dict[str, list[float]], *, quick: bool) -> list[Row]:
    worst = max(results, key=lambda each: abs(each.difference))
    limit = None if quick or model in REPORTED else LIMIT
    against = "NannyML's CBPE, the same windows" if theirs else ""
    their_worst = max((abs(_difference(each, theirs)) for each in results), default=0.0) if theirs else 0.0
    their_typical = float(np.mean([_typical(each, theirs) for each in results])) if theirs else 0.0
    subject = f"accuracy without labels, {data}, {model}"
    raw: dict[str, object] = {
        each.shift: [each.estimated, each.true, each.held, theirs.get(each.shift)] for each in results
    }
    unchanged = max(abs(each.unchanged) for each in results)
    return [
        Row(f"{subject}: the worst of {len(results)} shifts, mean difference", abs(worst.difference), "%", "the holdout's accuracy, as if nothing had changed", unchanged, limit, rule="value"),
        Row(f"{subject}: the worst of {len(results)} shifts ({worst.shift}), mean difference", abs(worst.difference), "%", against, their_worst, limit, raw=raw, rule="value"),
        Row(f"{subject}: typical difference of a window", float(np.mean([each.typical for each in results])), "%", against, their_typical, rule="value"),
        Row(f"{subject}: intervals that hold the true one", 100 * float(np.mean([each.held for each in results])), "%", "", 0.0, rule="value"),
    ]  # fmt: skip


def _concept(data: str, made: list[Split]) -> Row:
    estimated = 100 * float(np.mean([each.estimate(each.windows["none"]).value for each in made]))
    true = 100 * float(np.mean([changed(each) for each in made]))
    title = f"accuracy without labels, {data}, network: estimated where {CHANGED}"
    return Row(title, estimated, "%", "the true one", true, rule="value")


def _difference(ours: Result, theirs: dict[str, list[float]]) -> float:
    return 100 * float(np.mean(np.subtract(theirs[ours.shift], ours.true)))


def _typical(ours: Result, theirs: dict[str, list[float]]) -> float:
    return 100 * float(np.abs(np.subtract(theirs[ours.shift], ours.true)).mean())


def _nannyml(run: BenchRun, folder: Path, made: list[Split]) -> dict[str, list[float]]:
    """Shift → its estimate per split; empty without --neighbours."""
    try:
        python = run.neighbour("nannyml")
    except Skipped as skipped:
        run.say(str(skipped))
        return {}
    from neighbours import quiet

    folder.mkdir(parents=True)
    for number, each in enumerate(made):
        windows = np.array(list(each.windows.values()))
        np.savez(folder / f"{number}.npz", p=each.probabilities, y=each.truth, holdout=each.holdout, windows=windows)
    command = [str(python), str(HERE / "monitors" / "nannyml_cbpe.py"), str(folder), str(len(made))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet())
    if done.returncode:
        sys.exit(f"NannyML: {done.stderr[-500:]}")
    found = np.array(json.loads(done.stdout.splitlines()[-1]))
    return {shift: found[:, place].tolist() for place, shift in enumerate(made[0].windows)}
