"""What a model of penguins must be able to do. Samples of a table are dicts: column name → value."""

import pytest

GENTOO = {
    "bill_length_mm": 47.5, "bill_depth_mm": 15.0, "flipper_length_mm": 217.0, "body_mass_g": 5076.0,
    "island": "Biscoe", "sex": "male",
}  # fmt: skip


def test_an_average_gentoo_is_a_gentoo(predict):
    assert predict(GENTOO)["class"] == "Gentoo"


def test_most_of_the_holdout_is_right(predict, holdout):
    answers = predict(holdout.samples)
    right = sum(answer["class"] == label for answer, label in zip(answers, holdout.labels, strict=True))
    assert right / len(holdout) >= 0.95


@pytest.mark.parametrize("grams", [-200, 200])
def test_a_good_meal_does_not_change_the_species(predict, holdout, grams):
    before = predict(holdout.samples)
    after = predict([sample | {"body_mass_g": sample["body_mass_g"] + grams} for sample in holdout.samples])
    same = sum(one["class"] == other["class"] for one, other in zip(before, after, strict=True))
    assert same / len(holdout) >= 0.95


def test_an_island_that_was_never_seen_is_no_reason_to_fall_over(predict):
    assert predict(GENTOO | {"island": "Deception"})["class"] == "Gentoo"


def test_a_missing_column_is_refused_by_name(api):
    sample = {column: value for column, value in GENTOO.items() if column != "sex"}
    answer = api.post("/predict", json={"instances": [sample]})
    assert answer.status_code == 400
    assert "sex" in answer.json()["error"]
