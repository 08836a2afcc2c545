"""The page Labels: one answer at a time, blind to what others have said of it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
from console_parts import TOKEN, ConsoleProject
from prediction_log_parts import image_answer, image_model, log_job, table_answer, table_model

from pipelines.console.labelling.question import question_of, report_of
from pipelines.deploy.serve_job import log_folder
from registry.label_queue import Item, LabelQueue
from registry.label_store import LabelStore, label_file
from registry.records.labels import Label
from serving.feedback.items import Invalid
from serving.prediction_log.writer import PredictionLog

ROLES = {
    **{f"a-{each}": each for each in ("viewer", "labeller", "engineer", "owner", "admin")},
    "b": "labeller",
    "c": "labeller",
}


def keep(config, answers):
    log = PredictionLog(log_job(log_folder(config), images="file"), lambda _: None)
    log.start()
    for each in answers:
        log.offer(each)
    log.close()


class Labelled(ConsoleProject):
    """A model whose log has r-0 to r-3, all in the queue."""

    def __init__(self, folder, labellers=1, answers=None):
        super().__init__(folder, roles=ROLES)
        found = self.config
        self.config = replace(
            found,
            labels=replace(found.labels, labellers=labellers),
            prediction_log=replace(found.prediction_log, enabled=True),
        )
        model = table_model(("<b>age", "city", "note"))
        answers = answers or [table_answer(model, f"r-{n}", age=200.0 + n) for n in range(4)]
        keep(self.config, answers)
        self.path = label_file(Path(self.config.home).absolute(), self.model)
        with LabelQueue(self.path) as queue:
            queue.offer(
                [
                    Item(f"r-{n}", 0, "random", 0.9 - n / 10, "yes", 2, "2026-11-30T10:00:00Z")
                    for n in range(len(answers))
                ]
            )
        self.here = f"/models/{self.model}/labels"
        self.console = self.app()

    def labels(self):
        with LabelStore(self.path) as store:
            return [(each.request, each.value, each.by) for each in store.all()]

    def person(self, name):
        return self.browser("", self.console).as_(name)

    def asked(self, browser):
        found = re.search(r'name="request" value="([^"]+)"', browser.get(self.here).text)
        return found and found[1]

    def answer(self, browser, what="1", request=None):
        form = {"request": request or self.asked(browser), "row": "0", "class": what}
        return browser.post(f"{self.here}/answer", form, page=self.here)


@pytest.fixture
def team(tmp_path):
    return Labelled(tmp_path)


def test_a_labeller_answers_one_after_the_other_and_the_store_has_it(team):
    browser = team.person("b")
    page = browser.get(team.here)
    assert page.status_code == 200
    assert "&lt;b&gt;age</th><td>200</td>" in page.text
    assert 'data-key="1"' in page.text
    for n in range(4):
        assert team.asked(browser) == f"r-{n}"
        assert team.answer(browser, "1").status_code == 303
    assert "Nothing waits for you" in browser.get(team.here).text
    assert team.labels() == [(f"r-{n}", "yes", "b") for n in range(4)]


def test_the_same_answer_twice_is_one_label_and_another_one_overrules_it(team):
    browser = team.person("b")
    for what in ("1", "1", "0"):
        assert team.answer(browser, what, "r-0").status_code == 303
    assert team.labels() == [("r-0", "yes", "b"), ("r-0", "no", "b")]


def test_the_last_answer_can_be_taken_back_once_and_is_asked_again(team):
    browser = team.person("b")
    team.answer(browser)
    form = dict(re.findall(r'name="(kind|number)" value="([^"]+)"', browser.get(team.here).text))
    for _ in range(2):
        assert browser.post(f"{team.here}/undo", form, page=team.here).status_code == 303
    assert team.labels() == []
    assert team.asked(browser) in {"r-0", "r-1"}


def test_who_not_sure_is_not_asked_again_and_who_skips_is(team):
    browser = team.person("b")
    browser.post(f"{team.here}/not-sure", {"request": "r-0", "row": "0"}, page=team.here)
    assert team.asked(browser) == "r-1"
    assert 'value="r-2"' in browser.get(f"{team.here}?after=r-1/0").text
    assert team.labels() == []


def test_two_at_once_are_asked_about_different_answers_where_one_is_enough(team):
    one, other = team.person("b"), team.person("c")
    assert (team.asked(one), team.asked(other), team.asked(one)) == ("r-0", "r-1", "r-0")
    team.answer(one)
    team.answer(other)
    assert {team.asked(one), team.asked(other)} == {"r-2", "r-3"}


def test_of_two_who_differ_a_third_decides(tmp_path):
    team = Labelled(tmp_path, labellers=2)
    one, other, third = (team.person(each) for each in ("b", "c", "a-engineer"))
    team.answer(one, "0", "r-0")
    team.answer(other, "1", "r-0")
    assert team.asked(third) == "r-0"
    assert team.asked(one) == "r-1"
    team.answer(third, "1", "r-0")
    assert re.search(r"accepted</th><td>1<", third.get(team.here).text)


@pytest.mark.parametrize("role", ["labeller", "engineer", "admin"])
def test_no_page_differs_by_what_another_has_answered_before_ones_own(tmp_path, role):
    seen = []
    for value in ("0", "1"):
        (tmp_path / value).mkdir()
        team = Labelled(tmp_path / value, labellers=2)
        assert team.answer(team.person("b"), value, "r-0").status_code == 303
        mine = team.person(f"a-{role}")
        pages = [
            team.here,
            f"{team.here}?after=r-3/0",
            f"/models/{team.model}/monitor",
            "/audit",
            "/",
            f"{team.here}/image/r-0/0",
        ]
        texts = [re.sub(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d", "", TOKEN.sub("", mine.get(each).text)) for each in pages]
        seen.append([re.sub(r'value="[A-Za-z0-9_.-]{60,}"', "", each) for each in texts])
        assert 'value="r-0"' in seen[-1][0]
    assert seen[0] == seen[1]


def test_while_somebody_looks_at_an_item_nothing_counts_what_others_say_of_it(team):
    one, other = team.person("a-owner"), team.person("c")
    assert team.asked(one) == "r-0"
    team.answer(other, "1", "r-0")
    assert "drawn at random" not in one.get(team.here).text or team.asked(one) != "r-0"


def test_what_a_viewer_sees_is_how_far_the_queue_is(team):
    viewer = team.browser("viewer", team.console)
    page = viewer.get(team.here).text
    assert "one of these roles is needed" in page
    assert "200" not in page
    assert viewer.get(f"{team.here}/image/r-0/0").status_code == 403
    for action in ("answer", "not-sure", "undo", "fill"):
        assert viewer.post(f"{team.here}/{action}", {"request": "r-0", "row": "0", "class": "1"}).status_code == 403
    assert team.labels() == []


@pytest.mark.parametrize(
    "form",
    [
        {"request": "r-9", "row": "0", "class": "1"},
        {"request": "r-0", "row": "1", "class": "1"},
        {"request": "../r-0", "row": "0", "class": "1"},
        {"request": "r-0", "row": "-1", "class": "1"},
        {"request": "r-0", "row": "9" * 40, "class": "1"},
        {"request": "r-0", "row": "0", "class": "7"},
        {"request": "r-0", "row": "0"},
    ],
    ids=["unknown", "row", "path", "negative", "huge", "class", "nothing"],
)
def test_what_is_no_answer_to_a_question_of_the_queue_is_refused(team, form):
    answer = team.person("b").post(f"{team.here}/answer", form, page=team.here)
    assert 400 <= answer.status_code < 500
    assert team.labels() == []


def test_an_image_is_shown_of_the_queue_alone(tmp_path):
    model = image_model()
    team = Labelled(tmp_path, answers=[image_answer(model, f"r-{n}") for n in range(2)])
    keep(team.config, [image_answer(model, "other")])
    browser = team.person("b")
    assert f"{team.here}/image/r-0/0" in browser.get(team.here).text
    image = browser.get(f"{team.here}/image/r-0/0")
    assert (image.mimetype, image.data[:4]) == ("image/png", b"\x89PNG")
    assert "no-store" in image.headers["Cache-Control"]
    assert browser.get(f"{team.here}/image/other/0").status_code == 404


def test_without_anything_to_label_the_page_says_so(tmp_path):
    project = ConsoleProject(tmp_path)
    page = project.browser("labeller").get(f"/models/{project.model}/labels")
    assert page.status_code == 200
    assert "Nothing waits for you" in page.text
    assert "keeps no log" in page.text


def test_names_of_classes_are_only_text():
    hostile = ['"><script>', "a'b", "x" * 80, "\u202egnp"]
    question = question_of({"classes": hostile}, "x")
    assert [each.name for each in question.choices] == hostile
    assert report_of(question, {"class": "3"}) == {"label": hostile[3]}


@pytest.mark.parametrize(
    ("about", "form", "report"),
    [
        ({"classes": [], "outputs": {"y": {"type": "float"}}}, {"value": "190.2"}, {"label": 190.2}),
        ({"classes": [], "outputs": {"y": {"type": "float"}}}, {"value": "190"}, {"label": 190}),
        ({"classes": [], "outputs": {"y": {"type": "float"}}}, {"value": "1,5"}, {"label": 1.5}),
        (
            {"classes": [], "outputs": {"y": {"type": "float"}, "z": {"type": "float"}}},
            {"right": "yes"},
            {"correct": True},
        ),
        ({"classes": [], "labels": ["a", "b"]}, {"right": "no"}, {"correct": False}),
        ({"classes": [str(n) for n in range(20)]}, {"class": "19"}, {"label": "19"}),
    ],
    ids=["number", "whole", "comma", "several numbers", "several labels", "many classes"],
)
def test_the_question_fits_what_the_model_answers(about, form, report):
    found = report_of(question_of(about, ""), form)
    assert found == report
    assert [type(each) for each in found.values()] == [type(each) for each in report.values()]


@pytest.mark.parametrize("form", [{}, {"value": ""}, {"value": "abc"}, {"value": "1" * 300}])
def test_what_is_not_a_number_is_said(form):
    with pytest.raises(Invalid):
        report_of(question_of({"classes": [], "outputs": {"y": {"type": "float"}}}, ""), form)


def test_who_labels_by_the_command_line_is_seen(team):
    with LabelStore(team.path) as store:
        store.add([Label("r-0", 0, "no", None, "dora", "2026-11-30T10:00:00Z", "import")])
    assert team.asked(team.person("b")) == "r-1"


@pytest.mark.slow
def test_ten_are_labelled_by_the_keyboard(browser, tmp_path):
    from console_browser import page_of, served, sign_in

    model = table_model()
    team = Labelled(tmp_path, answers=[table_answer(model, f"r-{n}", age=200.0 + n) for n in range(10)])
    with served(team.console) as address, page_of(browser, address) as page:
        sign_in(page, team, "labeller")
        page.goto(team.here)
        for n in range(10):
            page.get_by_text(f"{200 + n}", exact=True).wait_for()
            page.keyboard.press("12"[n % 2])
        page.get_by_text("Nothing waits for you").wait_for()
    assert team.labels() == [(f"r-{n}", ("no", "yes")[n % 2], "a-labeller") for n in range(10)]
