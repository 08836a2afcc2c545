"""What a model must be able to do before anyone is asked to approve it.

Plain pytest. The fixtures come from Trainyard: `predict` asks the running API, `holdout` are images that training
never saw, `metrics` is what evaluation measured, `card` says where the model comes from.
"""

import numpy as np
import pytest


def accuracy(answers, labels):
    return np.mean([answer["class"] == label for answer, label in zip(answers, labels, strict=True)])


@pytest.fixture(scope="session")
def images(holdout):
    """All images of the holdout in one array of shape (images, 8, 8, 1), uint8."""
    return np.stack(list(holdout.samples))


@pytest.fixture(scope="session")
def answers(predict, images):
    return predict(images)


def test_the_api_is_as_good_as_the_evaluation_says(answers, holdout, metrics):
    assert accuracy(answers, holdout.labels) == pytest.approx(metrics.values["accuracy"], abs=0.005)


def test_every_digit_is_found(answers, holdout):
    for digit in holdout.classes:
        of_this_digit = [
            answer["class"] for answer, label in zip(answers, holdout.labels, strict=True) if label == digit
        ]
        assert of_this_digit.count(digit) / len(of_this_digit) >= 0.75, f"too few of the {digit}s are found"


def test_it_is_sure_where_it_is_right(answers, holdout):
    right = [
        answer["probability"] for answer, label in zip(answers, holdout.labels, strict=True) if answer["class"] == label
    ]
    assert np.median(right) >= 0.9


def test_probabilities_add_up(answers):
    for answer in answers:
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-3)


def test_a_little_noise_changes_little(predict, images, holdout):
    noise = np.random.default_rng(1).normal(0, 16, images.shape)
    noisy = np.clip(images + noise, 0, 255).round().astype("uint8")
    assert accuracy(predict(noisy), holdout.labels) >= 0.9


@pytest.mark.parametrize("pixels", [1, -1], ids=["right", "left"])
def test_a_digit_may_be_one_pixel_aside(predict, images, holdout, pixels):
    wider = np.pad(images, ((0, 0), (0, 0), (1, 1), (0, 0)), mode="edge")
    moved = wider[:, :, 1 - pixels : 9 - pixels]
    assert accuracy(predict(moved), holdout.labels) >= 0.75


def test_the_manifest_names_where_it_comes_from(card):
    assert len(card.sources.code) == len(card.sources.dataset) == 40
    assert "model.keras" in card.files
