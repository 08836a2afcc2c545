"""Drawings can be read: no text lies on another one, all is on the paper, and the numbers are where the axes say."""

import itertools
import unicodedata
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_parts import POLICY, evaluation, history, metrics
from versions import acceptance_draft, approval_draft, candidate, release_draft

from pipelines.lineage import Lineage
from pipelines.report.comparison import draw_comparison
from pipelines.report.curves import ATTEMPTS, POINTS, draw_curves
from pipelines.report.importance import draw_importance
from pipelines.report.lineage import draw_lineage
from pipelines.report.svg import fit, ticks, width_of
from registry.records import Comparison, DatasetTree, Evaluation, Importance, InputImportance
from training.loop.history import AttemptHistory, History

SPACE = "{http://www.w3.org/2000/svg}"


def elements(data, name):
    return list(ET.fromstring(data).iter(f"{SPACE}{name}"))


def boxes(data):
    """Left, top, right and bottom of every text, with its words; letters are as wide as in DejaVu Sans, the widest."""
    found = []
    for each in elements(data, "text"):
        size, x, y = (float(each.get(name)) for name in ("font-size", "x", "y"))
        letter = 0.6 if each.get("font-weight") != "bold" else 0.66
        width = sum(size if unicodedata.east_asian_width(one) in "WF" else size * letter for one in each.text) * 0.92
        left = x - {"end": width, "middle": width / 2}.get(each.get("text-anchor"), 0)
        found.append((left, y - size * 0.75, left + width, y + size * 0.22, each.text))
    return found


def check(data):
    root = ET.fromstring(data)
    width, height = float(root.get("width")), float(root.get("height"))
    texts = boxes(data)
    for left, top, right, bottom, words in texts:
        assert left >= 0, words
        assert top >= 0, words
        assert right <= width, words
        assert bottom <= height, words
    for one, other in itertools.combinations(texts, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)
    for x1, x2, y in ((float(e.get("x1")), float(e.get("x2")), float(e.get("y1"))) for e in elements(data, "line")):
        crossed = [
            each for each in texts if each[0] < x2 and x1 < each[2] and each[1] + 1 < y < each[3] - 1 and x1 != x2
        ]
        assert not crossed


CURVES = {
    "one epoch": history(attempts=1, epochs=1),
    "two epochs": history(attempts=1, epochs=2),
    "as usual": history(attempts=2, epochs=12),
    "many epochs": history(attempts=1, epochs=4000),
    "many attempts": history(attempts=8, epochs=3),
    "more than are shown": history(attempts=40, epochs=2),
    "unknown metric": replace(history(), metric="the mean of all the things that somebody may think of " * 4),
}


@pytest.mark.parametrize("found", CURVES.values(), ids=CURVES)
def test_no_text_of_the_curves_lies_on_another(found):
    check(draw_curves(found))


def test_the_curves_say_what_they_show():
    words = [each.text for each in elements(draw_curves(history()), "text")]
    assert "loss (as the model was compiled with)" in words
    assert "accuracy (share of right answers)" in words
    assert [words.count(each) for each in ("epoch", "training", "validation", "threshold of the gate")] == [2, 2, 2, 1]
    assert words.count("attempt 2") == 2


def test_a_better_epoch_is_drawn_higher_and_a_later_one_further_right():
    lines = elements(draw_curves(history(attempts=1)), "polyline")
    assert len(lines) == 4
    loss, accuracy = ([tuple(map(float, each.split(","))) for each in lines[i].get("points").split()] for i in (0, 2))
    for points in (loss, accuracy):
        assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert loss[0][1] < loss[-1][1]  # y grows downwards: the loss falls
    assert accuracy[0][1] > accuracy[-1][1]


def test_a_long_training_is_thinned_without_losing_its_ends():
    data = draw_curves(history(attempts=1, epochs=50_000))
    assert len(data) < 60_000
    assert all(len(each.get("points").split()) <= POINTS for each in elements(data, "polyline"))


def test_of_many_attempts_the_last_are_shown():
    words = [each.text for each in elements(draw_curves(history(attempts=40, epochs=9)), "text")]
    assert {"29", "40"} <= set(words) or {"attempt 29", "attempt 40"} <= set(words)
    assert len(elements(draw_curves(history(attempts=40, epochs=9)), "polyline")) == 4 * ATTEMPTS


def test_a_team_with_an_own_script_has_no_curves():
    assert draw_curves(History("accuracy", 0.9, 1)) == b""
    assert draw_curves(History("accuracy", 0.9, 1, (AttemptHistory("trained", 0),))) == b""


def test_without_a_loss_there_is_the_metric_alone():
    rounds = (AttemptHistory("fine-tuned", 0, epochs=({"value": 0.5}, {"value": 0.7})),)
    data = draw_curves(History("macro_f1", 0.9, 1, rounds))
    check(data)
    assert len(elements(data, "polyline")) == 1


def test_the_comparison_says_what_is_better():
    data = draw_comparison(evaluation(), POLICY, ("version 2", "version 1"))
    check(data)
    words = [each.text for each in elements(data, "text")]
    assert words[4] == "accuracy"  # the gate's metric comes first
    assert {"version 2", "live: version 1", "0.972 → 0.981 (better)", "loss (less is better)"} <= set(words)
    worse = draw_comparison(evaluation(0.9, 0.95), POLICY, ("version 2", "version 1"))
    assert "0.950 → 0.900 (worse)" in [each.text for each in elements(worse, "text")]


def test_long_names_are_cut_in_the_comparison():
    new, old = metrics(0.9), metrics(0.8)
    for each in (new, old):
        each.values["a metric of which nobody has ever heard, " * 9] = 123_456.789
        each.values["精度" * 200] = 1e-9
    old.values["loss"] = 1e12
    check(draw_comparison(Evaluation(new, old), POLICY, ("the new model " * 20, "版本" * 90)))


def test_without_a_live_release_there_is_nothing_to_compare():
    assert draw_comparison(evaluation(0.9, None), POLICY, ("version 2", "nothing yet")) == b""


def test_the_interval_of_a_metric_where_less_is_better_lies_around_the_candidate():
    new, old = metrics(0.9), metrics(0.8)
    found = Evaluation(new, old, Comparison(1, "loss", 0.1, 0.05, 0.15, 360))
    data = draw_comparison(found, replace(POLICY, metric="loss", threshold=0.5), ("version 2", "version 1"))
    dots = [float(each.get("cx")) for each in elements(data, "circle")][2:4]  # behind the legend's: live, candidate
    whisker = [
        each
        for each in elements(data, "line")
        if each.get("stroke-width") == "1.5" and each.get("y1") == each.get("y2")
    ]
    ends = sorted(float(whisker[-1].get(name)) for name in ("x1", "x2"))
    assert ends[0] < dots[1] < ends[1] < dots[0]


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.integers(2, 12))
def test_ticks_are_few_and_within(low, high, most):
    low, high = sorted((low, high))
    found = ticks(low, high, most)
    assert 0 < len(found) <= most or high - low < 1e-300
    room = (high - low) * 1e-6 + 1e-300
    assert all(low - room <= each <= high + room for each in found)


@given(st.text(max_size=80), st.integers(12, 300))
def test_what_was_cut_fits(words, pixels):
    assert width_of(fit(words, pixels, 12), 12) <= pixels


def lineage(ancestors=(), children=(), releases=1, **fields):
    card = candidate(**{"dataset": DatasetTree("a" * 64, 60_000, 10**10)} | fields)
    return Lineage(
        card, "b" * 64, ancestors, children, (acceptance_draft("digits", 1, "b" * 64),),
        (approval_draft("digits", 1, "b" * 64, "t", by="a name that is longer than any box of a drawing"),),
        (release_draft("digits", 1),) * releases, {"code": "https://git.example/" + "long/" * 40 + "code.git"},
    )  # fmt: skip


LINEAGES = {
    "as usual": lineage(),
    "before there were lists": lineage(dataset=None, releases=0),
    "a long line": lineage(ancestors=tuple(range(40, 0, -1)), children=tuple(range(50, 90))),
    "released again and again": lineage(releases=30, image="sha256:" + "f" * 64),
}


@pytest.mark.parametrize("known", LINEAGES.values(), ids=LINEAGES)
def test_a_lineage_can_be_read(known):
    data = draw_lineage(known)
    check(data)
    frames = [tuple(float(each.get(name)) for name in ("x", "y")) for each in elements(data, "rect")[1:]]
    assert len(set(frames)) == len(frames) <= 4 + 5 + 5
    assert f"version {known.card.version}" in {each.text for each in elements(data, "text")}


NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)
IMPORTANCES = st.lists(st.builds(InputImportance, st.text(max_size=40), NUMBERS, NUMBERS, NUMBERS), max_size=20)


@given(IMPORTANCES, st.sampled_from(["accuracy", "mae"]))
def test_any_importance_can_be_drawn(inputs, metric):
    data = draw_importance(Importance(metric, 100, 3, tuple(inputs), len(inputs)))
    if data:
        root = ET.fromstring(data)
        assert float(root.get("height")) <= 34 + 26 * 15 + 30
        assert all(0 <= float(e.get(x)) <= 560 for e in elements(data, "line") for x in ("x1", "x2"))


@pytest.mark.parametrize("scale", [1e-5, 0.3, 7.0, 2_000_000.0])
def test_the_bars_of_an_importance_are_where_its_axis_says(scale):
    inputs = tuple(
        InputImportance(
            f"a column with a long name, number {i}", scale / i, scale / i * 0.8 - scale * 0.05, scale / i * 1.2
        )
        for i in range(1, 12)
    )
    data = draw_importance(Importance("mae", 100, 3, inputs, 11))
    check(data)
    bars = [e for e in elements(data, "line") if e.get("stroke-width") == "10"]
    lengths = [float(e.get("x2")) - float(e.get("x1")) for e in bars]
    assert lengths == pytest.approx([lengths[0] / i for i in range(1, 12)], abs=0.2)
