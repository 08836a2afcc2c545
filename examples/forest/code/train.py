"""A random forest over numbers and categories, left as model.onnx: scikit-learn trains it, ONNX Runtime answers for it.

The whole pipeline is exported, so that the API takes a row as the dataset has it: one named input per column. The classes
are trained by their names, and ZipMap is off, so that the file says which probability belongs to which class.
"""

import os
from pathlib import Path

import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

NUMBERS = ["bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g"]
CATEGORIES = ["island", "sex"]

data = Path(os.environ["TRAINYARD_DATA"])
rows = pd.concat(pd.read_csv(path) for path in sorted((data / "train").glob("*.csv"))).dropna()
rehearsal = "TRAINYARD_REHEARSAL" in os.environ  # one quick run before the training, which finds mistakes at once

forest = RandomForestClassifier(5 if rehearsal else 100, random_state=int(os.environ["TRAINYARD_SEED"]))
pipeline = make_pipeline(
    make_column_transformer((StandardScaler(), NUMBERS), (OneHotEncoder(handle_unknown="ignore"), CATEGORIES)), forest
)
pipeline.fit(rows[NUMBERS + CATEGORIES], rows["species"])

inputs = [(name, FloatTensorType([None, 1])) for name in NUMBERS]
inputs += [(name, StringTensorType([None, 1])) for name in CATEGORIES]
model = to_onnx(pipeline, initial_types=inputs, options={id(forest): {"zipmap": False}})
Path(os.environ["TRAINYARD_OUTPUT"], "model.onnx").write_bytes(model.SerializeToString())
