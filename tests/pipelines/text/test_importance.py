"""What a model looks at, in the words of mail, report and card."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_parts import MODEL, evaluation
from versions import candidate

from pipelines.report.model_card import card_markdown
from pipelines.text.importance import blocks, in_words, remainder
from pipelines.text.markup import Paragraph, Section, Table, to_html, to_text
from registry.records import Importance, InputImportance

AGE, FARE, DECK = (
    InputImportance("age", 0.2, 0.1, 0.3),
    InputImportance("fare", 0.1, 0.05, 0.15),
    InputImportance("deck", 0.01, -0.02, 0.04),
)
FOUND = Importance("accuracy", 76, 3, (AGE, FARE, DECK), 3)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ((AGE, FARE, DECK), "The model relies most on `age` and `fare`."),
        ((AGE, FARE, replace(FARE, name="sex"), FARE), "The model relies most on `age`, `fare` and `sex`."),
        ((AGE,), "The model relies most on `age`."),
        ((DECK,), "The model relies on no single input more than chance explains."),
        (
            (replace(AGE, low=math.nan, high=math.nan),),
            "The model relies on no single input more than chance explains.",
        ),
        ((), "The model relies on no single input more than chance explains."),
    ],
)
def test_only_inputs_that_matter_more_than_chance_explains_are_named(inputs, said):
    assert in_words(replace(FOUND, inputs=inputs)) == said


def test_a_mail_has_the_first_three_with_their_intervals_and_counts_the_others():
    found = replace(FOUND, inputs=(AGE, FARE, DECK, DECK), total=9)
    text, table, more = blocks(found, 3)
    assert "Each was shuffled 3 times among 76 samples of the holdout" in text.text
    assert table == Table(
        ("shuffled", "accuracy lost", "95 % interval"),
        (("age", "0.200", "0.100 to 0.300"), ("fare", "0.100", "0.050 to 0.150"), ("deck", "0.010", "-0.020 to 0.040")),
        numbers=True,
    )
    assert more == Paragraph(
        "... and 1 more are less important, 5 more were not measured, or are less important than all these."
    )
    assert remainder(FOUND, 3) == ""


@given(st.text(max_size=200))
def test_the_names_of_columns_do_no_harm_in_mails_and_cards(name):
    found = replace(FOUND, inputs=(replace(AGE, name=name + "<script>`|"),))
    sections = [Section("What it looks at", tuple(blocks(found, 3)))]
    assert "<script" not in to_html("title", sections)
    assert to_text("title", sections)
    card = card_markdown(candidate(MODEL, 1, "0" * 12, {}, evaluation=replace(evaluation(), importance=found)), None)
    section = card.partition("## What it looks at")[2].partition("\n## ")[0]
    assert "<script" not in section
    assert sum(line.startswith("| ") for line in section.splitlines()) == 3


def test_a_card_of_a_version_without_importance_does_not_mention_it():
    assert "What it looks at" not in card_markdown(candidate(MODEL, 1, "0" * 12, {}, evaluation=evaluation()), None)
