"""NannyML's CBPE, in its own environment: for each archive of the folder the estimated accuracy of its windows, as JSON.

nannyml_cbpe.py FOLDER COUNT
"""

import json
import sys
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")

import nannyml  # noqa: E402
import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402


def estimates(path: Path) -> list[float]:
    """Of each window, with what the package does by default."""
    with np.load(path) as found:
        p, y, holdout, windows = (found[name] for name in ("p", "y", "holdout", "windows"))
    classes = p.shape[1]

    def frame(rows: np.ndarray) -> pd.DataFrame:
        if classes == 2:
            return pd.DataFrame({"truth": y[rows], "answer": p[rows].argmax(axis=1), "p": p[rows, 1]})
        columns = {f"p{each}": p[rows, each] for each in range(classes)}
        return pd.DataFrame({"truth": y[rows], "answer": p[rows].argmax(axis=1), **columns})

    size = windows.shape[1]
    estimator = nannyml.CBPE(
        y_pred_proba="p" if classes == 2 else {each: f"p{each}" for each in range(classes)},
        y_pred="answer",
        y_true="truth",
        problem_type="classification_binary" if classes == 2 else "classification_multiclass",
        metrics=["accuracy"],
        chunk_size=size,
    )
    estimator.fit(frame(holdout))
    result = estimator.estimate(frame(windows.reshape(-1))).filter(period="analysis").to_df()
    return [float(each) for each in result[("accuracy", "value")]]


print(json.dumps([estimates(Path(sys.argv[1]) / f"{number}.npz") for number in range(int(sys.argv[2]))]))
