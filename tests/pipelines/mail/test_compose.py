"""What the product owner reads."""

import dataclasses
import html.parser
import math
import re
from email import message_from_bytes, policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mail.compose import PNG, compose
from pipelines.mail.facts import MailFacts
from pipelines.repositories.changes import Changes, Commit
from pipelines.text.metrics import in_words
from registry.errors import ConfigError
from registry.records import (
    Acceptance,
    ClassMetrics,
    Comparison,
    Evaluation,
    Importance,
    InputImportance,
    LoadReport,
    Metrics,
    Policy,
    Run,
    Sources,
    TestCase,
    TestReport,
    Verdict,
)
from registry.records.evaluation import Recent

RUN = Run(
    "3f2a9c1b77de", "digits", "dataset", Sources("a" * 40, "b" * 40, "c" * 40), "d" * 64, 2, 3, "2026-11-21T00:00:00Z"
)
COMMAND = "trainyard promote digits 3 --approval .eJyrVspMUbJS." + "x" * 140 + " --config /srv/digits/trainyard.toml"
PLOT = PNG + b"plot"

ROLLBACK = "trainyard rollback digits --config /srv/digits/trainyard.toml"


def metrics(accuracy, **more):
    return Metrics("classification", 359, {"loss": 0.08, "accuracy": accuracy, **more})


def acceptance(version, *failures):
    cases = [TestCase("test_bright", "passed"), TestCase("test_dark", "skipped")]
    cases += [TestCase(name, "failed", message=why) for name, why in failures]
    reasons = (f"{len(failures)} tests failed",) if failures else ()
    load = LoadReport(812, 0, 2.0, 406.0, 2.1, 6.13, 9.2)
    report = TestReport("tests", tuple(cases))
    return Acceptance(
        "digits", version, 1, "e" * 64, "c" * 40, RUN.id, "process", not failures, reasons, (report,), load, "", ""
    )


def facts(**changes):
    everything = MailFacts(
        run=RUN,
        status="accepted",
        sender="trainyard@company.example",
        to=("owner@company.example",),
        version=3,
        live_version=2,
        note="It was fine-tuned from version 2.",
        verdict=Verdict(True, (), Policy()),
        evaluation=Evaluation(metrics(0.981), metrics(0.972), Comparison(2, "accuracy", 0.009, 0.002, 0.016, 359)),
        acceptance=acceptance(3),
        plot=PLOT,
        changes=(Changes("dataset", (Commit("b" * 40, "Ada Lovelace", "Add the second half"),), more=4),),
        seconds=(("fetch", 0.4), ("retrain", 74.0)),
        command=COMMAND,
        rollback=ROLLBACK,
        expires_at="2026-11-28T01:03:00Z",
        places=(("run folder", "/srv/digits/.trainyard/runs/3f2a9c1b77de"),),
    )
    return dataclasses.replace(everything, **changes)


def read(message):
    """Subject, plain text and HTML after a trip through bytes, as a mail program sees them."""
    got = message_from_bytes(bytes(message), policy=policy.default)
    return got["Subject"], got.get_body(("plain",)).get_content(), got.get_body(("html",)).get_content()


def words(text):
    return " ".join(text.split())


def test_a_comparison_on_recent_predictions_is_said_where_it_was_asked_for():
    recent = Recent(120, metrics(0.93), metrics(0.9), Comparison(2, "accuracy", 0.03, 0.01, 0.05, 120))
    evaluation = dataclasses.replace(facts().evaluation, recent=recent)
    asked = facts(evaluation=evaluation, verdict=Verdict(True, (), Policy(recent=True)))
    said = "On 120 labelled recent predictions that no training saw, accuracy is 0.930, and the live release's 0.900. That is better"
    assert said in words(read(compose(asked))[1])
    assert "recent predictions" not in words(read(compose(facts(evaluation=evaluation)))[1])


class Tags(html.parser.HTMLParser):
    """Every tag, and all text outside of tags."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data + " "


def test_an_accepted_candidate_says_whether_it_is_better_by_how_much_and_what_to_do():
    subject, text, page = read(compose(facts()))
    assert subject == "[digits] version 3 accepted: accuracy 0.981 (live 0.972) - waiting for your approval"
    for body in (words(text), words(Tags(page).text)):
        for said in (
            "Version 3 of digits was accepted and waits for your approval",
            "Started by a push to the data. It was fine-tuned from version 2.",
            "gives the right answer for 98.1 %; version 2, which is live now, for 97.2 % of the same samples",
            "better by 0.009, and more than chance explains (between 0.002 better and 0.016 better, with 95 % confidence)",
            "before 28 November 2026, 01:03 UTC:",
            COMMAND,
            "Version 2 keeps answering requests.",
            "1 passed, 0 failed, 1 skipped; under load it answered 406 requests/s, 95 % of them within 6.13 ms",
            "new in commit subject author dataset bbbbbbbb Add the second half Ada Lovelace",
            "and 4 more in dataset",
            "1 min 14 s in all: retrain 1 min 14 s.",
            "run folder /srv/digits/.trainyard/runs/3f2a9c1b77de",
        ):
            assert said in body


@pytest.mark.parametrize(
    ("trigger", "who", "said"),
    [
        ("code", "", "Started by a push to the model's code."),
        ("tests", "", "Started by a push to the tests."),
        ("dataset", "the schedule", "Started by the schedule. Reason given: scheduled"),
        ("code", "alice, in Jenkins", "Started by alice, in Jenkins. Reason given: scheduled"),
        ("code", "\x1b[31meve\nApproved", "Started by eve Approved. Reason given: scheduled"),
    ],
)
def test_it_says_what_started_the_run(trigger, who, said):
    run = dataclasses.replace(RUN, trigger=trigger, started_by=who, reason="scheduled" if who else "")
    _, text, _ = read(compose(facts(run=run)))
    assert said in words(text)


def test_the_command_can_be_copied_from_the_file_as_it_lies_in_the_outbox():
    assert f"\n    {COMMAND}\r\n".encode() in bytes(compose(facts()))


def test_it_says_what_the_candidate_looks_at_where_that_is_known():
    found = Importance("accuracy", 359, 3, (InputImportance("age", 0.2, 0.1, 0.3),), 1)
    known = dataclasses.replace(facts().evaluation, importance=found)
    _, text, page = read(compose(facts(evaluation=known)))
    for body in (words(text), words(Tags(page).text)):
        assert "What it looks at" in body
        assert "age 0.200 0.100 to 0.300" in body
    assert "What it looks at" not in read(compose(facts()))[1]


def test_the_first_class_listed_is_the_weakest():
    classes = {
        "one": ClassMetrics(1, 1, 1, 9),
        "seven": ClassMetrics(0.9, 0.6, 0.7, 8),
        "none": ClassMetrics(0, 0, math.nan, 0),
    }
    new = dataclasses.replace(metrics(0.95), classes=classes)
    _, text, _ = read(compose(facts(evaluation=Evaluation(new))))
    assert text.index("  none") < text.index("  seven") < text.index("  one ")


def test_the_plot_is_inside_the_mail_and_the_page_shows_it():
    message = message_from_bytes(bytes(compose(facts())), policy=policy.default)
    (plot,) = (part for part in message.walk() if part.get_content_type() == "image/png")
    assert plot.get_content() == PLOT
    assert plot["Content-Disposition"].startswith("inline")
    shown = [attrs["src"] for tag, attrs in Tags(read(message)[2]).tags if tag == "img"]
    assert shown == ["cid:" + plot["Content-ID"].strip("<>")]


@pytest.mark.parametrize("plot", [b"", b"GIF89a", PNG + bytes(5 << 20)], ids=["none", "no PNG", "too large"])
def test_a_plot_that_is_not_a_png_or_too_large_is_left_out(plot):
    message = compose(facts(plot=plot))
    assert not [part for part in message.walk() if part.get_content_maintype() == "image"]
    assert "cid:" not in read(message)[2]


def test_a_rejection_lists_every_failed_criterion_and_no_command():
    no = Verdict(False, ("accuracy 0.87 is under 0.9", "class '7': recall 0.61 is under the floor"), Policy())
    subject, text, page = read(compose(facts(status="rejected", version=None, verdict=no, acceptance=None, command="")))
    assert subject == "[digits] the new model rejected: accuracy 0.87 is under 0.9 (and 1 more)"
    for body in (words(text), words(Tags(page).text)):
        assert all(reason in body for reason in no.reasons)
        assert "The new model for digits was rejected" in body
        assert "Version 2 keeps answering requests" in body
        assert "--approval" not in body


def test_a_rejection_by_the_acceptance_tests_names_those_that_failed():
    subject, text, _ = read(
        compose(facts(status="rejected", command="", acceptance=acceptance(3, ("test_dark", "assert 0.4 > 0.9"))))
    )
    assert subject == "[digits] version 3 rejected: 1 tests failed"
    assert "test_dark: assert 0.4 > 0.9" in words(text)


def test_a_failure_names_the_step_the_error_and_what_helps():
    failure = facts(
        status="failed", version=None, command="", verdict=None, evaluation=None, acceptance=None, plot=b"",
        failed_step="train", error="model.py, line 3: name 'kreas' is not defined", hint="correct model.py and push again",
    )  # fmt: skip
    subject, text, _ = read(compose(failure))
    assert subject == "[digits] failed in train: model.py, line 3: name 'kreas' is not defined"
    for said in (
        "failed before there was a verdict",
        "The step 'train' failed: model.py, line 3",
        "correct model.py and push again",
        "Version 2 keeps answering requests. The team should check the error above.",
    ):
        assert said in words(text)


def test_a_first_failure_says_that_nothing_is_live():
    _, text, _ = read(compose(facts(status="failed", error="no", live_version=None, command="", evaluation=None)))
    assert "Nothing is live yet" in text
    assert "Version None" not in text


def test_a_kept_model_says_why_nothing_was_trained():
    kept = facts(status="kept", version=2, command="", acceptance=None, note="It still passes the gate.")
    subject, text, _ = read(compose(kept))
    assert subject == "[digits] version 2 stays: accuracy 0.981 (live 0.972)"
    assert "Nothing was retrained" in text


def test_a_live_release_that_fails_the_new_tests_comes_first():
    tests = dataclasses.replace(RUN, trigger="tests")
    broken = acceptance(2, ("test_dark", "assert 0.4 > 0.9"))
    mail = facts(run=tests, status="tested", verdict=None, evaluation=None, plot=b"", live_acceptance=broken,
                 earlier_version=1)  # fmt: skip
    subject, text, page = read(compose(mail))
    assert subject == "[digits] ALARM: live version 2 fails the tests"
    for body in (words(text), words(Tags(page).text)):
        alarm = body.index("ALARM: version 2, which answers requests right now, fails the newest tests.")
        assert alarm < 200
        assert alarm < body.index("test_dark: assert 0.4 > 0.9") < body.index("What to do now")
        assert f"To return to version 1 within seconds: {ROLLBACK}" in body
        assert COMMAND in body  # version 3 passes, and may replace it


def test_tests_that_cannot_be_run_raise_no_alarm_and_say_why():
    case = TestCase("test_it.py::test_a", "error", message="fixture 'predikt' not found")
    broken = dataclasses.replace(
        acceptance(2, ("test_a", "x")),
        reports=(TestReport("tests", (case,)),),
        reasons=("tests: fixture 'predikt' not found",),
    )
    mail = facts(run=dataclasses.replace(RUN, trigger="tests"), status="tested", verdict=None, evaluation=None, plot=b"",
                 version=2, live_version=2, acceptance=broken, live_acceptance=broken, command="")  # fmt: skip
    subject, text, _ = read(compose(mail))
    assert subject == "[digits] new tests: they could not be run: see the errors below"
    assert "ALARM" not in text
    assert "fixture 'predikt' not found" in text
    assert "see the alarm" not in text


def test_an_alarm_about_a_first_release_promises_no_rollback():
    tests = dataclasses.replace(RUN, trigger="tests")
    mail = facts(run=tests, status="tested", live_acceptance=acceptance(2, ("test_dark", "no")), command="")
    assert "rollback" not in words(read(compose(mail))[1])


def test_an_alarm_does_not_hide_behind_an_accepted_candidate():
    subject, _, _ = read(compose(facts(live_acceptance=acceptance(2, ("test_dark", "no")))))
    assert subject == "[digits] ALARM: live version 2 fails the tests; version 3 accepted"


def test_new_tests_that_all_pass_raise_no_alarm():
    mail = facts(
        run=dataclasses.replace(RUN, trigger="tests"), status="tested", live_acceptance=acceptance(2), command=""
    )
    subject, text, _ = read(compose(mail))
    assert subject == "[digits] new tests: version 3 passes, live version 2 passes"
    assert "ALARM" not in text


def test_the_same_run_and_verdict_have_the_same_message_id_and_another_has_another():
    ids = [
        compose(mail)["Message-ID"]
        for mail in (
            facts(),
            facts(),
            facts(status="rejected"),
            facts(run=dataclasses.replace(RUN, id="000000000000")),
            facts(status="failed", error="one"),
            facts(status="failed", error="two"),
        )
    ]
    assert ids[0] == ids[1] == "<3f2a9c1b77de.accepted@company.example>"
    assert len(set(ids)) == 5


def test_no_out_of_office_reply_is_sent_to_a_machine():
    message = compose(facts(to=("owner@company.example", "Deputy <deputy@company.example>")))
    assert message["Auto-Submitted"] == "auto-generated"
    assert [each.addr_spec for each in message["To"].addresses] == ["owner@company.example", "deputy@company.example"]
    assert message["Date"].datetime.tzinfo


@pytest.mark.parametrize(
    "address",
    ["", "owner", "owner@", "@company.example", "a@b.example\nBcc: all@b.example", "jürgen@b.example", "a@b, c@d"],
)
def test_what_is_not_an_address_is_refused_with_its_setting(address):
    with pytest.raises(ConfigError, match=r"\[mail\] to: .* is not a mail address"):
        compose(facts(to=(address,)))
    with pytest.raises(ConfigError, match=r"\[mail\] sender"):
        compose(facts(sender=address))


def test_a_command_within_a_sentence_is_set_as_code_in_html():
    _, text, page = read(
        compose(facts(status="failed", failed_step="train", error="no `model.py`", hint="run `a <b>`"))
    )
    assert "`" not in page
    assert "no <code>model.py</code>" in page
    assert "run <code>a &lt;b&gt;</code>" in page
    assert "no `model.py`" in text


def test_a_failure_says_to_authors_that_it_is_for_them_and_to_others_that_nothing_is():
    failed = facts(status="failed", failed_step="train", error="no model.py", command="")
    assert "Nothing from you." in read(compose(failed))[1]
    text = words(read(compose(dataclasses.replace(failed, to_authors=True)))[1])
    assert "Commits of yours are new in this run, so this is for you" in text
    assert "Nothing from you." not in text


NASTY = "<script>alert('x')</script>\r\nBcc: all@company.example\x1b[31m\u202egnp.exe \udcff&amp;"


def test_foreign_text_can_neither_add_a_header_nor_markup_nor_move_the_cursor():
    case = acceptance(3, (NASTY, NASTY))
    mail = facts(
        run=dataclasses.replace(RUN, reason=NASTY), status="rejected", verdict=Verdict(False, (NASTY,), Policy()),
        acceptance=case, live_acceptance=dataclasses.replace(case, version=2), note=NASTY, hint=NASTY, error=NASTY,
        changes=(Changes(NASTY, (Commit(NASTY, NASTY, NASTY),)),), places=((NASTY, NASTY),), seconds=((NASTY, 1.0),),
        evaluation=Evaluation(metrics(0.5), live_note=NASTY),
    )  # fmt: skip
    message = message_from_bytes(bytes(compose(mail)), policy=policy.default)
    assert message["Bcc"] is None
    subject, text, page = read(message)
    ours = re.compile("html|head|meta|title|body|div|h[12]|p|[uo]l|li|table|t[rhd]|pre|img|strong|code")
    assert all(ours.fullmatch(tag) for tag, _ in Tags(page).tags)
    assert not [name for _, attrs in Tags(page).tags for name in attrs if name.startswith("on")]
    for said in (subject, text, page):
        assert not set(said) & {"\x1b", "\u202e", "\udcff", "\x00"}
    assert "<script>alert('x')</script> Bcc: all@company.example" in Tags(page).text


@given(st.text(max_size=400), st.text(max_size=400))
def test_any_text_makes_a_mail_that_can_be_sent_and_read(reason, author):
    mail = facts(
        status="rejected",
        verdict=Verdict(False, (reason,), Policy()),
        changes=(Changes("code", (Commit("a" * 40, author, reason),)),),
    )
    data = bytes(compose(mail))
    assert data.isascii()
    assert max(map(len, data.split(b"\r\n"))) <= 998  # what SMTP carries
    assert len(read(compose(mail))[0]) <= 140


def test_ten_thousand_commits_and_reasons_make_a_short_mail():
    commits = tuple(Commit(f"{n:040d}", "Ada", f"change {n} " + "x" * 3000) for n in range(10_000))
    reasons = tuple(f"reason {n} " + "y" * 3000 for n in range(10_000))
    data = bytes(
        compose(
            facts(status="rejected", changes=(Changes("code", commits),), verdict=Verdict(False, reasons, Policy()))
        )
    )
    assert len(data) < 200_000
    assert b"9970 more in code" in data


@pytest.mark.parametrize(
    ("comparison", "said"),
    [
        (Comparison(2, "accuracy", 0.01, 0.001, 0.02, 99), "That is better by 0.01, and more than chance explains"),
        (Comparison(2, "accuracy", -0.01, -0.02, -0.001, 99), "That is worse by 0.01, and more than chance explains"),
        (Comparison(2, "accuracy", 0.01, -0.001, 0.02, 99), "looks better by 0.01, but that may well be chance"),
        (Comparison(2, "accuracy", -0.01, -0.02, 0.001, 99), "looks worse by 0.01, but that may well be chance"),
        (
            Comparison(2, "accuracy", 0.0, -0.001, 0.001, 99),
            "neither better nor worse; any difference may well be chance",
        ),
        (Comparison(2, "accuracy", math.nan, math.nan, math.nan, 99), "could not be computed"),
    ],
    ids=["better", "worse", "perhaps better", "perhaps worse", "equal", "not a number"],
)
def test_chance_is_distinguished_from_progress(comparison, said):
    evaluation = Evaluation(metrics(0.98), metrics(0.97), comparison)
    assert said in in_words(evaluation, "accuracy", "version 3", "version 2")


def test_regression_reads_well_too():
    new = Metrics("regression", 1204, {"mae": 12345.678, "r2": 0.8})
    said = in_words(Evaluation(new, live_note="nothing is live"), "mae", "version 1", "nothing yet")
    assert said == (
        "On 1,204 samples that it had never seen, version 1 has mean absolute error (less is better) 12,346. Nothing is live."
    )


def test_a_mail_leads_to_the_page_of_the_decision_where_there_is_one():
    where = "https://trainyard.company.example/models/digits/decision/3"
    _, text, page = read(compose(facts(page=where)))
    assert f"    {where}\r\n" in text
    assert where in page
    assert text.index(where) < text.index(COMMAND)
    assert "open this page" not in read(compose(facts()))[1]
