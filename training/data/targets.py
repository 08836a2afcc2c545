"""What a model may know of the numbers that it is to predict: measured on the train split alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from training.data.spec import DataSpec


def with_targets(spec: DataSpec, names: tuple[str, ...], train: Any) -> DataSpec:
    """The description of a regression with `names` of several targets, empty for one, and mean and standard deviation of each.

    `train`: the numbers of the train split, shape (samples,) or (samples, targets)."""
    columns = train.astype(np.float32).astype(np.float64).reshape(len(train), -1)  # as the model gets them
    means, deviations = (tuple(each(axis=0).tolist()) for each in (columns.mean, columns.std))
    return replace(spec, targets=names, target_means=means, target_deviations=deviations)
