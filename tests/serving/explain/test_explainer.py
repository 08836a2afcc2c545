"""Which number is explained, by which method, within which bounds."""

import math

import numpy as np
import pytest

from registry.records import Signature, TensorSpec
from serving.explain.explanation import Explainer, Wanted
from serving.explain.target import CannotExplain, choose_target
from training.data.spec import Column, DataSpec

AGE, COLOUR, NOTE = (
    TensorSpec(n, (None, 1), k) for n, k in (("age", "float32"), ("colour", "string"), ("note", "string"))
)
COLUMNS = (
    Column("age", "numeric", 40.0, 100.0, levels=tuple(range(20, 60, 2))),
    Column("colour", "categorical", vocabulary=("blue", "red"), common=("blue", "red"), shares=(0.5, 0.5)),
    Column("note", "categorical", vocabulary=("x",)),
)
CLASSES = ("yes", "no")


def shop(inputs, rows):
    """As the tests' tiny model of that name; a note with `please` is a yes."""
    red = (inputs["colour"] == "red").astype(float)
    please = np.array([["please" in each] for each in inputs["note"][:, 0]], float) if "note" in inputs else 0
    no = 1 / (1 + np.exp(-((inputs["age"] - 40) / 10 - 3 * red - 5 * please)))
    return {"probabilities": np.hstack([1 - no, no]).astype(np.float32)}


def explainer(specs=(AGE, COLOUR), outputs=((None, 2),), classes=CLASSES, data=COLUMNS, run=shop, warm=None):
    """`warm` are outputs for good rows; None: all classes are equally likely."""
    named = tuple(
        TensorSpec(name, shape, "float32") for name, shape in zip(("probabilities", "other"), outputs, strict=False)
    )
    signature = Signature("classification" if classes else "regression", "table", specs, named, classes)
    warm = warm or {each.name: np.full((1, each.shape[1]), 1 / each.shape[1]) for each in named}
    return Explainer(run, signature, DataSpec("table", "classification", specs, classes, data), warm)


def rows(*pairs):
    return {"age": np.array([[a] for a, _ in pairs], np.float32), "colour": np.array([[c] for _, c in pairs])}


def test_each_row_is_explained_by_the_class_that_it_got():
    old, young = explainer()(rows((70, "blue"), (20, "red")), 2, Wanted(5))
    assert (old.target.name, young.target.name) == ("no", "yes")
    assert old.method == young.method == "shapley, exact"
    assert old.draws == 100
    for each in (old, young):
        values = {part["column"]: part["value"] for part in each.parts}
        assert min(values.values()) > 0
        assert each.base + math.fsum(values.values()) == pytest.approx(each.output)
    assert old.output == pytest.approx(1 / (1 + math.exp(-3)))


def test_another_class_can_be_asked_for_and_with_two_classes_it_is_the_mirror_image():
    ours, theirs = (explainer()(rows((70, "blue")), 1, Wanted(5, name=name))[0] for name in CLASSES)
    assert ours.output == pytest.approx(1 - theirs.output)
    assert [p["value"] for p in ours.parts] == pytest.approx([-p["value"] for p in theirs.parts], abs=1e-6)


def test_the_probability_of_the_second_class_alone_explains_both():
    both = explainer(outputs=((None, 1),), run=lambda x, n: {"probabilities": shop(x, n)["probabilities"][:, 1:]})
    for name in CLASSES:
        one, other = (each(rows((70, "blue")), 1, Wanted(5, name=name))[0] for each in (both, explainer()))
        assert one.output == pytest.approx(other.output)
        assert one.target.name == name


def test_a_logit_between_0_and_1_is_not_taken_for_a_probability():
    def logit(inputs, count):
        return {"probabilities": (inputs["age"] - 40) / 10}

    warm = {"probabilities": np.array([[-3.0], [0.4]])}
    explain = explainer(outputs=((None, 1),), run=logit, warm=warm)
    for age in (41, 49, 70, 20):
        found = explain(rows((age, "blue")), 1, Wanted(5))[0]
        assert (found.target.name, found.target.opposite) == ("", False)
        assert found.output == pytest.approx((age - 40) / 10)


def test_a_probability_of_the_second_class_stays_one_when_a_row_is_slightly_beyond_1():
    warm = {"probabilities": np.array([[0.0], [1.0]])}
    explain = explainer(outputs=((None, 1),), run=lambda x, n: {"probabilities": np.full((n, 1), 1.001)}, warm=warm)
    assert explain(rows((70, "blue")), 1, Wanted(5))[0].target.name == "no"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"name": "maybe"}, "class 'maybe': not known"),
        ({"name": "x" * 9999}, "class 'xxx"),
        ({"output": "nothing"}, "output 'nothing': not known"),
    ],
)
def test_what_the_model_does_not_have_is_refused_with_what_it_has(wanted, said):
    with pytest.raises(CannotExplain, match=said) as caught:
        explainer()(rows((70, "blue")), 1, Wanted(5, **wanted))
    assert len(str(caught.value)) < 200
    assert "yes" in caught.value.hint or "probabilities" in caught.value.hint


@pytest.mark.parametrize("wanted", ["2", "-1", "1.0", "٣", "9" * 5000])
def test_of_several_numbers_one_is_asked_for_by_its_position(wanted):
    signature = Signature("regression", "array", (AGE,), (TensorSpec("out", (None, 2), "float32"),))
    outputs = {"out": np.array([[1.0, 2.0]])}
    assert choose_target(signature, {"out": "numbers"}, outputs, 0, wanted="1").of(outputs).tolist() == [2.0]
    with pytest.raises(CannotExplain):
        choose_target(signature, {"out": "numbers"}, outputs, 0, wanted=wanted)


@pytest.mark.parametrize("array", [np.array([["text"]]), np.zeros((1, 3, 2))])
def test_an_output_that_is_not_a_number_is_refused(array):
    signature = Signature("regression", "array", (AGE,), (TensorSpec("out", (None, *array.shape[1:]), "float32"),))
    with pytest.raises(CannotExplain, match="can be explained"):
        choose_target(signature, {"out": "numbers"}, {"out": array}, 0)


def test_a_text_among_the_columns_is_explained_word_by_word():
    inputs = rows((45, "blue")) | {"note": np.array([["the red one please now"]])}
    found = explainer((AGE, COLOUR, NOTE))(inputs, 1, Wanted(5))[0]
    note = found.parts[2]
    assert note["column"] == "note"
    words = {each["text"]: each["value"] for each in note["words"]}
    assert list(words) == ["the", "red", "one", "please", "now"]
    assert words["please"] == max(words.values()) > 0.3
    assert note["value"] == max(each["value"] for each in found.parts)


def test_a_value_longer_than_any_other_is_not_cut():
    inputs = {"age": np.array([[45]], np.float32), "colour": np.array([["red"]])}  # its dtype holds three letters
    seen = set()

    def run(arrays, count):
        seen.update(arrays["colour"][:, 0].tolist())
        return shop(arrays, count)

    explainer(run=run)(inputs, 1, Wanted(5))
    assert seen == {"red", "blue"}


def test_columns_that_the_dataset_does_not_describe_are_covered_one_by_one():
    found = explainer(data=())(rows((70, "blue")), 1, Wanted(5))[0]
    assert found.method == "occlusion"
    assert [each["input"] for each in found.parts] == ["age", "colour"]


def test_the_budget_is_for_all_rows_together():
    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()

    def slow(arrays, count):
        clock.now += 1e-3 * count
        return shop(arrays, count)

    specs = (AGE, COLOUR)
    signature = Signature(
        "classification", "table", specs, (TensorSpec("probabilities", (None, 2), "float32"),), CLASSES
    )
    warm = {"probabilities": np.array([[0.5, 0.5]])}
    explain = Explainer(slow, signature, DataSpec("table", "classification", specs, CLASSES, COLUMNS), warm, clock)
    found = explain(rows(*[(each, "red") for each in range(20, 36)]), 16, Wanted(0.5))
    assert len(found) == 16
    assert all("background rows" in each.degraded for each in found)
    assert clock.now <= 1.5 * 0.5


def test_of_several_targets_one_is_asked_for_by_its_name():
    out = (TensorSpec("out", (None, 2), "float32"),)
    signature = Signature("regression", "array", (AGE,), out, targets=("wing", "weight"))
    outputs, forms = {"out": np.array([[1.0, 2.0]])}, {"out": "numbers"}
    first, second = (choose_target(signature, forms, outputs, 0, wanted=wanted) for wanted in ("", "weight"))
    assert [(each.name, each.kind, each.of(outputs).tolist()) for each in (first, second)] == [
        ("wing", "target", [1.0]),
        ("weight", "target", [2.0]),
    ]
    with pytest.raises(CannotExplain, match="target '1': not known") as refused:
        choose_target(signature, forms, outputs, 0, wanted="1")
    assert refused.value.hint == "targets: wing, weight"
