"""What a model of penguins must be able to do. Samples of a table are dicts: column name → value."""

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


def test_an_island_that_was_never_seen_is_no_reason_to_fall_over(predict):
    assert predict(GENTOO | {"island": "Deception"})["class"] == "Gentoo"
