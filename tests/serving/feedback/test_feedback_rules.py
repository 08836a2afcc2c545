"""What may be reported of an answer: each wrong report is refused by its own status, with its field."""

from datetime import UTC, datetime, timedelta

import pytest

from registry.records.labels import Label
from serving.errors import Refused
from serving.feedback.items import Invalid, Item, entries, read_item
from serving.feedback.rules import label_for, value_of
from serving.prediction_log.find import Found

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
CLASSES = {"version": 3, "classes": ["cat", "dog", "3"], "outputs": {"p": {"type": "float[]"}}}
NUMBER = {"version": 3, "classes": [], "outputs": {"p": {"type": "float"}}}
LIST = {"version": 3, "classes": [], "outputs": {"p": {"type": "float[]"}}}
TWO = {"version": 3, "classes": [], "outputs": {"p": {"type": "float"}, "q": {"type": "int"}}}
HIDDEN = {"version": 3, "classes": [], "outputs": {}}
GOOD = {"request_id": "r-1", "row": 0, "label": "cat"}


def test_a_report_is_read_with_all_that_it_says():
    found = read_item(GOOD | {"at": "2026-11-30T12:00:00.9+01:00", "by": "Ann Lee", "sure": 1}, "shop", NOW)
    assert found == Item("r-1", 0, "cat", None, "Ann Lee", "2026-11-30T11:00:00Z", 1.0)


def test_what_is_not_said_is_the_callers_now_and_of_the_only_instance():
    found = read_item({"request_id": "r-1", "correct": False}, "shop", NOW)
    assert found == Item("r-1", None, None, False, "shop", "", None)
    assert read_item(GOOD, "", NOW).by == "anonymous"


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"request_id": None}, "request_id"),
        ({"request_id": 7}, "request_id"),
        ({"request_id": "a b"}, "request_id"),
        ({"request_id": "r" * 129}, "request_id"),
        ({"row": -1}, "row"),
        ({"row": 1.0}, "row"),
        ({"row": True}, "row"),
        ({"row": "0"}, "row"),
        ({"label": True}, "label"),
        ({"label": ["cat"]}, "label"),
        ({"label": ""}, "label"),
        ({"label": "c\nat"}, "label"),
        ({"label": "c" * 201}, "label"),
        ({"label": float("nan")}, "label"),
        ({"label": None}, "label or correct"),
        ({"correct": True}, "label or correct"),
        ({"label": None, "correct": 1}, "correct"),
        ({"at": 7}, "at"),
        ({"at": "yesterday"}, "at"),
        ({"at": "2026-11-30T12:00:00"}, "at"),
        ({"at": "1900-01-01T00:00:00Z"}, "at"),
        ({"by": ""}, "by"),
        ({"by": 7}, "by"),
        ({"by": "a\x00"}, "by"),
        ({"sure": 1.1}, "sure"),
        ({"sure": "1"}, "sure"),
        ({"sure": True}, "sure"),
        ({"lable": "cat"}, "'lable'"),
    ],
    ids=str,
)
def test_what_can_be_so_of_no_answer_is_400_with_its_field(more, field):
    with pytest.raises(Invalid) as refused:
        read_item(GOOD | more, "", NOW)
    assert refused.value.status == 400
    assert str(refused.value).startswith(f"{field}:") or field in str(refused.value)


def test_a_time_before_there_were_models_is_called_that():
    with pytest.raises(Invalid, match="is before 1971"):
        read_item(GOOD | {"at": "1970-12-31T00:00:00Z"}, "", NOW)


@pytest.mark.parametrize("found", [None, 7, "x", [GOOD]])
def test_a_report_is_an_object(found):
    with pytest.raises(Invalid, match="not an object"):
        read_item(found, "", NOW)


def test_a_label_from_the_future_is_refused_and_a_clock_that_is_a_little_ahead_is_not():
    ahead = (NOW + timedelta(seconds=59)).isoformat()
    assert read_item(GOOD | {"at": ahead}, "", NOW).at == "2026-11-30T12:00:59Z"
    with pytest.raises(Invalid, match="in the future") as refused:
        read_item(GOOD | {"at": (NOW + timedelta(seconds=61)).isoformat()}, "", NOW)
    assert refused.value.status == 422


def test_one_report_or_several_in_an_object_or_a_list():
    assert entries(GOOD) == ([GOOD], True)
    assert entries({"feedback": [GOOD, 7]}) == ([GOOD, 7], False)
    assert entries([GOOD]) == ([GOOD], False)
    for wrong in ({"feedback": GOOD}, {"feedback": []}, [], {"feedback": [GOOD], "more": 1}):
        with pytest.raises(Refused) as refused:
            entries(wrong)
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("label", "about", "kept"),
    [
        ("cat", CLASSES, "cat"), (3, CLASSES, "3"), (3.0, CLASSES, "3"), ("fox", CLASSES, None), (4, CLASSES, None),
        (1.5, NUMBER, "1.5"), (2, NUMBER, "2"), ("1.5", NUMBER, None), (7, HIDDEN, "7"), (1.0, LIST, None), (1, TWO, None),
        ("any", {}, "any"), (1.5, {}, "1.5"), ("t", {"classes": [], "outputs": {"p": {"type": "text"}}}, "t"),
    ],
)  # fmt: skip
def test_a_label_is_a_class_of_the_version_that_answered_or_a_number(label, about, kept):
    if kept is not None:
        assert value_of(label, about) == kept
        return
    with pytest.raises(Invalid) as refused:
        value_of(label, about)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("found", "row", "status"),
    [
        (Found("unknown"), 0, 404),
        (Found("gone"), 0, 410),
        (Found("refused", 0, CLASSES), 0, 409),
        (Found("answered", 2, CLASSES), None, 400),
        (Found("answered", 2, CLASSES), 2, 422),
    ],
)
def test_a_report_of_no_answer_is_refused_by_its_status(found, row, status):
    with pytest.raises(Invalid) as refused:
        label_for(Item("r-1", row, "cat", None, "ann", "", None), found, "feedback")
    assert refused.value.status == status


def test_the_row_of_a_request_with_one_instance_need_not_be_said():
    item = Item("r-1", None, None, True, "ann", "2026-11-30T11:00:00Z", 0.5)
    found = label_for(item, Found("answered", 1, CLASSES), "import")
    assert found == Label("r-1", 0, "", True, "ann", "2026-11-30T11:00:00Z", "import", 0.5)
