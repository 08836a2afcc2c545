"""Evidently's preset for drift, in its own environment: for each archive of the folder, of how many windows it says that there is
drift, as JSON: {archive: {"rows": …, "any": …, "dataset": …}} (any column; half of the columns, its rule for a data set).

    evidently_drift.py FOLDER MOST
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from evidently import Report  # noqa: E402
from evidently.presets import DataDriftPreset  # noqa: E402


def frame(rows: np.ndarray) -> pd.DataFrame:
    """Columns c0, c1, …"""
    return pd.DataFrame(rows.astype(np.float64), columns=[f"c{each}" for each in range(rows.shape[1])])


def drifted(window: np.ndarray, reference: pd.DataFrame) -> tuple[int, bool]:
    """How many columns have drifted, and whether the data set has."""
    found = Report([DataDriftPreset()]).run(frame(window), reference).dict()["metrics"]
    count = next(each["value"] for each in found if each["metric_name"].startswith("DriftedColumnsCount"))
    return int(count["count"]), count["share"] >= 0.5


answers: dict[str, dict[str, int]] = {}
for path in sorted(Path(sys.argv[1]).glob("*_0.npz")):  # of the first reference
    with np.load(path) as archive:
        reference, windows = frame(archive["reference"]), archive["windows"][: int(sys.argv[2])]
    said = [drifted(window, reference) for window in windows]
    answers[path.stem] = {
        "rows": len(said),
        "any": sum(count > 0 for count, _ in said),
        "dataset": sum(whole for _, whole in said),
    }
print(json.dumps(answers))
