"""What the candidate must do beyond its metrics."""

WELL = {"flow": 42.0, "pressure": 3.95, "current": 9.3, "temperature": 49.0, "vibration": 0.97}


def test_a_pump_that_is_well_raises_no_alarm(predict):
    """Everything fits together, at two thirds of the load."""
    assert predict(WELL)["anomalous"] is False


def test_a_pump_that_runs_dry_is_noticed(predict):
    """No water, and the motor turns as before."""
    answer = predict(WELL | {"flow": 10.0, "vibration": 1.6})
    assert answer["anomalous"] is True
    assert answer["score"] > answer["threshold"]


def test_most_of_what_the_mechanic_has_marked_is_found(predict, holdout):
    """`holdout` gives True, False, or None where nobody has looked."""
    marked = [sample for sample, label in holdout if label]
    assert sum(each["anomalous"] for each in predict(marked)) >= 0.7 * len(marked)
