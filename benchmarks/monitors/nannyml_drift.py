"""NannyML's univariate drift, in its own environment: for each archive of the folder, of how many windows it raises an alert for any
column, as JSON: {archive: {"rows": …, "any": …}}. Each window is a chunk; its thresholds come from the reference in chunks of
the same size, as its documentation has it.

    nannyml_drift.py FOLDER MOST
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import nannyml  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402


def frame(rows: np.ndarray) -> pd.DataFrame:
    """Columns c0, c1, …"""
    return pd.DataFrame(rows.astype(np.float64), columns=[f"c{each}" for each in range(rows.shape[1])])


def alerts(reference: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Of each window, whether any column has an alert."""
    names = [f"c{each}" for each in range(reference.shape[1])]
    calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=windows.shape[1])
    calculator.fit(frame(reference))
    found = calculator.calculate(frame(windows.reshape(-1, windows.shape[2]))).filter(period="analysis").to_df()
    return found.loc[:, [each for each in found.columns if each[-1] == "alert"]].to_numpy(dtype=bool).any(axis=1)


answers: dict[str, dict[str, int]] = {}
for path in sorted(Path(sys.argv[1]).glob("*.npz")):
    with np.load(path) as archive:
        said = alerts(archive["reference"], archive["windows"][: int(sys.argv[2])])
    answers[path.stem] = {"rows": len(said), "any": int(said.sum())}
print(json.dumps(answers))
