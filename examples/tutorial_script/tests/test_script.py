"""A first test for a model that had none."""


def test_most_digits_are_read(predict, holdout):
    answers = predict(holdout.samples)
    right = sum(answer["class"] == label for answer, label in zip(answers, holdout.labels, strict=True))
    assert right / len(holdout) >= 0.9
