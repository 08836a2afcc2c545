"""Added when the second scanner came: whoever reads light ink on dark paper must read dark ink on light paper, too."""

import numpy as np


def test_ink_may_be_light_or_dark(predict, holdout):
    images = np.stack(list(holdout.samples))
    answers = predict(255 - images)  # every image in the other ink: also one that no scanner has delivered
    right = [answer["class"] == label for answer, label in zip(answers, holdout.labels, strict=True)]
    assert np.mean(right) >= 0.85
