"""What real exporters write, where they are installed: matched with the dataset, answered as the framework answers."""

import json
import warnings

import numpy as np
import pytest
from training_parts import numbers, shop

from registry.errors import ConfigError
from training.model.samples import Samples

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
import onnx

from training.model.onnx_wiring import wire_onnx


def wired(tmp_path, model, spec, x, y):
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return wire_onnx(path, spec, Samples(spec.inputs, x, y), "the model").answers


def side_by_side(x):
    return np.concatenate(list(x.values()), axis=1)


@pytest.fixture
def skl2onnx():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pytest.importorskip("skl2onnx")


def forest(skl2onnx, spec, x, y, **options):
    import pandas as pd
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = pd.DataFrame({name: each[:, 0] for name, each in x.items()})
    classifier = RandomForestClassifier(20, random_state=1)
    pipeline = make_pipeline(
        make_column_transformer((StandardScaler(), ["age"]), (OneHotEncoder(), ["colour"])), classifier
    )
    pipeline.fit(rows, np.array(spec.classes)[y])
    inputs = [("age", FloatTensorType([None, 1])), ("colour", StringTensorType([None, 1]))]
    model = skl2onnx.to_onnx(pipeline, initial_types=inputs, options={id(classifier): options} if options else None)
    return model, pipeline.predict_proba(rows)


def test_a_forest_over_mixed_columns_answers_as_scikit_learn_does(tmp_path, skl2onnx):
    spec, x, y = shop(80, 1)
    model, expected = forest(skl2onnx, spec, x, y, zipmap=False)
    np.testing.assert_allclose(wired(tmp_path, model, spec, x, y), expected, atol=1e-5)


def test_a_forest_with_zipmap_is_refused_with_the_way_out(tmp_path, skl2onnx):
    spec, x, y = shop(80, 1)
    model, _ = forest(skl2onnx, spec, x, y)
    with pytest.raises(ConfigError, match="made by ZipMap") as error:
        wired(tmp_path, model, spec, x, y)
    assert '"zipmap": False' in error.value.hint


def test_a_regression_answers_as_scikit_learn_does(tmp_path, skl2onnx):
    from sklearn.ensemble import GradientBoostingRegressor

    spec, x, y = numbers(80, 1)
    model = GradientBoostingRegressor(random_state=1).fit(side_by_side(x), y)
    found = wired(tmp_path, skl2onnx.to_onnx(model, side_by_side(x)[:1]), spec, x, y)
    np.testing.assert_allclose(found[:, 0], model.predict(side_by_side(x)), atol=1e-4)


def named(model, classes):
    onnx.helper.set_model_props(model, {"classes": json.dumps(list(classes))})
    return model


def test_xgboost_answers_as_it_does_itself(tmp_path):
    xgboost, onnxmltools = pytest.importorskip("xgboost"), pytest.importorskip("onnxmltools")
    from onnxmltools.convert.common.data_types import FloatTensorType

    spec, x, y = shop(80, 1, text=False)
    model = xgboost.XGBClassifier(n_estimators=10).fit(side_by_side(x), y)
    exported = onnxmltools.convert_xgboost(model, initial_types=[("x", FloatTensorType([None, 2]))])
    found = wired(tmp_path, named(exported, spec.classes), spec, x, y)
    np.testing.assert_allclose(found, model.predict_proba(side_by_side(x)), atol=1e-5)


def test_pytorch_answers_as_it_does_itself(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnxscript")
    spec, x, y = shop(80, 1, text=False)
    network = torch.nn.Sequential(
        torch.nn.Linear(2, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2), torch.nn.Softmax(dim=1)
    )
    given = torch.from_numpy(side_by_side(x))
    path = tmp_path / "exported.onnx"
    torch.onnx.export(
        network.eval(), (given[:2],), path, input_names=["x"], dynamic_shapes=({0: "batch"},), external_data=False
    )
    found = wired(tmp_path, named(onnx.load(path), spec.classes), spec, x, y)
    np.testing.assert_allclose(found, network(given).detach().numpy(), atol=1e-5)
