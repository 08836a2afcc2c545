"""The rule for what is served, with one model of each kind. All are trained and exported by real workers' code."""

from dataclasses import replace

import numpy as np
import pytest
from training_parts import CNN, PARITY, TABLE, make_job, numbers, run_jobs, sentences, shop, waves

from registry import codec
from registry.files import sha256_file
from registry.records import Served, Signature
from serving.engines.base import cast_inputs, load_engine
from training.data.spec import load_split

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]

AUGMENTED = CNN.replace(
    "layers.Rescaling(1 / 255),",
    "layers.Rescaling(1 / 255), layers.RandomContrast(0.2), layers.RandomRotation(0.1), layers.RandomZoom(0.1),",
)
BATCH_NORM_AND_HOOKS = """
import tensorflow as tf
import keras
from helper_of_mine import head

def augment(x, y):
    return tf.image.random_brightness(x, 10.0), y

def fit(model, train, validation, *, epochs, callbacks):
    model.fit(train, validation_data=validation, epochs=epochs, callbacks=callbacks, verbose=0)

def build_model(spec, attempt):
    model = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), *head(spec)])
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
HELPER = """
import keras

def head(spec):
    return [keras.layers.Flatten(), keras.layers.Dense(len(spec.classes), activation="softmax")]
"""
RECURRENT = """
import keras
def build_model(spec, attempt):
    model = keras.Sequential([
        keras.Input(spec.input_shape),
        keras.layers.LSTM(8),
        keras.layers.Dense(2, activation="softmax"),
    ])
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model
"""
SIXTEEN = "import keras\nkeras.config.set_dtype_policy('mixed_{kind}')\n" + CNN
TEXT = """
import keras
def build_model(spec, attempt):
    text = keras.Input((1,), dtype="string", name="text")
    ids = keras.layers.TextVectorization(vocabulary=list(spec.columns[0].vocabulary), output_sequence_length=4)(text)
    hidden = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(10, 4)(ids))
    model = keras.Model(text, keras.layers.Dense(2, activation="softmax")(hidden))
    model.compile(keras.optimizers.Adam(0.05), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
MIXED_COLUMNS = """
import keras
def build_model(spec, attempt):
    age = keras.Input((1,), name="age")
    colour = keras.Input((1,), name="colour", dtype="string")
    number, words = spec.columns
    features = [
        keras.layers.StringLookup(vocabulary=list(words.vocabulary), output_mode="one_hot")(colour),
        keras.layers.Normalization(mean=[number.mean], variance=[number.variance])(age),
    ]
    buys = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Concatenate()(features))
    model = keras.Model([colour, age], buys)  # another order than that of the dataset
    model.compile(keras.optimizers.Adam(0.05), loss="binary_crossentropy", metrics=["accuracy"])
    return model
"""
ONE_VECTOR = """
import keras
def build_model(spec, attempt):
    model = keras.Sequential([keras.Input((len(spec.inputs),)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.3), loss="mse")
    return model
"""
SUBCLASS = """
import keras

@keras.saving.register_keras_serializable("mine")
class Net(keras.Model):
    def __init__(self, classes, **more):
        super().__init__(**more)
        self.classes = classes
        self.flat, self.out = keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax")

    def call(self, x):
        return self.out(self.flat(x / 255.0))

    def get_config(self):
        return super().get_config() | {"classes": self.classes}

def build_model(spec, attempt):
    model = Net(len(spec.classes))
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
LOADED = """
import numpy as np
import keras
from PIL import Image
CLASSES = ["left", "middle", "right"]

def load_data(folder):
    paths = sorted(folder.rglob("*.png"))
    x = np.stack([np.asarray(Image.open(path), np.float32).reshape(36) / 255 for path in paths])
    return x, np.array([CLASSES.index(path.parent.name) for path in paths])

def build_model(spec, attempt):
    model = keras.Sequential([keras.Input((36,)), keras.layers.Dense(3, activation="softmax")])
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""
INVERTED = (
    CNN
    + """
import numpy as np
from PIL import Image

def load_data(folder):
    paths = sorted(folder.rglob("*.png"))
    x = np.stack([255 - np.asarray(Image.open(path))[..., None] for path in paths])
    return x, np.array([["left", "middle", "right"].index(path.parent.name) for path in paths])
"""
)
RANDOM = """
import keras

@keras.saving.register_keras_serializable("mine")
class Noise(keras.layers.Layer):
    def call(self, x):  # not only while it trains
        return x + keras.random.normal((3,), stddev=0.5)

def build_model(spec, attempt):
    model = keras.Sequential([
        keras.Input(spec.input_shape), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
        keras.layers.Dense(3), Noise(), keras.layers.Softmax(),
    ])
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model
"""
UINT8 = """
import keras
def build_model(spec, attempt):
    pixels = keras.Input(spec.input_shape, dtype="uint8")
    flat = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(3, activation="softmax")(flat))
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


def birds(samples, seed):
    """The columns of the shop, with names as a spreadsheet has them."""
    spec, x, y = shop(samples, seed)
    names = ("bill length (mm)", "größe")
    columns = tuple(replace(each, name=name) for each, name in zip(spec.columns, names, strict=True))
    inputs = tuple(replace(each, name=name) for each, name in zip(spec.inputs, names, strict=True))
    return replace(spec, columns=columns, inputs=inputs), dict(zip(names, x.values(), strict=True)), y


def with_holes(missing):
    """The columns of the shop, each with a hole in some rows."""

    def make(samples, seed):
        spec, x, y = shop(samples, seed)
        x["age"][::5] = np.nan
        x["colour"][::7] = ""
        age, colour = spec.columns
        columns = (
            replace(age, has_missing=True, median=41.0),
            replace(colour, has_missing=True, mode="red", shares=(0.3, 0.3, 0.3)),
        )
        inputs = tuple(replace(each, may_miss=True) for each in spec.inputs)
        return replace(spec, columns=columns, inputs=inputs, missing=missing), x, y

    return make


NOT_THERE = """
import keras
def build_model(spec, attempt):
    age, colour = (
        keras.Input((1,), name=each.name, dtype="float32" if each.kind == "numeric" else "string") for each in spec.columns
    )
    number, words = spec.columns
    missing = keras.ops.isnan(age)
    features = [
        keras.layers.StringLookup(vocabulary=list(words.vocabulary), output_mode="one_hot")(colour),
        keras.layers.Normalization(mean=[40.0], variance=[133.0])(keras.ops.where(missing, number.median, age)),
        keras.ops.cast(missing, "float32"),
    ]
    buys = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Concatenate()(features))
    model = keras.Model([age, colour], buys)
    model.compile(keras.optimizers.Adam(0.05), loss="binary_crossentropy", metrics=["accuracy"])
    return model
"""
FEATURE_SPACE = """
import keras
import numpy as np
import tensorflow as tf
from keras.utils import FeatureSpace
def build_model(spec, attempt):
    kinds = {"numeric": FeatureSpace.float_normalized(), "categorical": FeatureSpace.string_categorical()}
    space = FeatureSpace({each.name: kinds[each.kind] for each in spec.columns}, output_mode="concat")
    rows = {each.name: list(each.vocabulary) * 2 or np.linspace(20.0, 60.0, 6, dtype="float32") for each in spec.columns}
    space.adapt(tf.data.Dataset.from_tensor_slices(rows).batch(3))
    model = keras.Model(space.get_inputs(), keras.layers.Dense(2, activation="softmax")(space.get_encoded_features()))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Every kind of model, trained for a moment; name → what its worker left."""
    at = tmp_path_factory.mktemp("kinds")

    def job(name, *given, **settings):
        return make_job(at / name, *given, **({"parity_command": PARITY} | settings))

    jobs = [
        job(
            "plain", epochs=6, metric="macro_f1", files={"requirements.txt": "# ours\nh5py>=3\n-r x\nno-such-package\n"}
        ),
        job("augmented", AUGMENTED),
        job("hooks", BATCH_NORM_AND_HOOKS, files={"helper_of_mine.py": HELPER}),
        job("recurrent", RECURRENT, waves),
        job("float16", SIXTEEN.format(kind="float16")),
        job("bfloat16", SIXTEEN.format(kind="bfloat16")),
        job("text", TEXT, sentences),
        job("columns", MIXED_COLUMNS, shop),
        job("any_names", TABLE, birds),
        job("vector", ONE_VECTOR, numbers, metric="mae", threshold=0.5, epochs=12),
        job("subclass", SUBCLASS),
        job("loaded", LOADED, png=True, parity_command=()),
        job("inverted", INVERTED, png=True, parity_command=()),
        job("uint8", UINT8, parity_command=("{python}", "-c", "raise SystemExit('they differ')")),
        job("random", RANDOM),
        job("feature_space", FEATURE_SPACE, shop),
        job("imputed", TABLE, with_holes("impute")),
        job("kept", NOT_THERE, with_holes("keep")),
        job("not_a_number", TABLE, with_holes("keep")),
        job("whole", TABLE.replace('"float32"))', '"int32"))'), with_holes("keep")),
    ]
    return run_jobs(jobs)


def served_answers(outcome, name="validation"):
    """The answers of the engine that the API uses, the truth, and the folder's signature."""
    result = outcome.result
    split = load_split(outcome.folder / "inputs" / name)
    engine = load_engine(outcome.outputs, result.signature, result.served)
    answers = engine(cast_inputs(result.signature, split.x))
    return answers[result.signature.outputs[0].name], np.asarray(split.y)


@pytest.mark.parametrize(
    "kind", ["plain", "augmented", "hooks", "float16", "bfloat16", "columns", "any_names", "vector", "subclass"]
)
def test_what_litert_can_do_is_served_by_litert(kinds, kind):
    result = kinds[kind].result
    assert (result.served.engine, result.served.path, result.served.batches) == ("litert", "model.tflite", ())
    assert not (kinds[kind].outputs / "saved_model").exists()


def test_a_recurrent_model_gets_signatures_for_fixed_batches(kinds):
    served = kinds["recurrent"].result.served
    assert (served.engine, served.batches) == ("litert", (1, 8))
    assert "recurrent" in served.reason
    answers, y = served_answers(kinds["recurrent"])
    assert answers.shape == (len(y), 2)


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_a_16_bit_model_is_rebuilt_in_32_bits(kinds, kind):
    result = kinds[kind].result
    assert kind in result.served.reason
    assert "float32" in result.served.reason
    assert result.signature.inputs[0].dtype == "float32"


def test_a_feature_space_of_keras_is_taken(kinds):
    result = kinds["feature_space"].result
    answers, y = served_answers(kinds["feature_space"])
    assert answers.shape == (len(y), 2)
    assert [each.name for each in result.signature.inputs] == ["age", "colour"]


def test_text_operators_are_served_by_tensorflow_and_the_card_says_which(kinds):
    outcome = kinds["text"]
    served = outcome.result.served
    assert (served.engine, served.path) == ("saved_model", "saved_model")
    assert "RegexReplace" in served.reason
    assert not (outcome.outputs / "model.tflite").exists()
    assert {"saved_model/saved_model.pb", "saved_model/variables/variables.index"} <= outcome.result.files.keys()


def test_augmentation_is_off_in_what_is_served(kinds):
    first, _ = served_answers(kinds["augmented"])
    second, _ = served_answers(kinds["augmented"])
    np.testing.assert_array_equal(first, second)


def test_a_file_that_was_not_checked_is_not_served(kinds):
    assert kinds["loaded"].result.served == Served(
        "saved_model", "saved_model", "not LiteRT: there is no command to check it with"
    )


def test_a_file_that_differs_from_keras_is_not_served(kinds):
    served = kinds["uint8"].result.served
    assert served.engine == "saved_model"
    assert "they differ" in served.reason


def test_a_model_that_answers_at_random_is_refused(kinds):
    failure = kinds["random"].failure
    assert "differs from the Keras model" in str(failure)
    assert "random" in failure.hint


def test_the_served_file_is_as_good_as_the_worker_says(kinds):
    answers, y = served_answers(kinds["plain"])
    result = kinds["plain"].result
    assert (answers.argmax(axis=1) == y).mean() == pytest.approx(result.validation["accuracy"])
    assert result.validation["accuracy"] > 0.9


def test_one_probability_of_two_classes_is_served_as_two(kinds):
    signature = kinds["columns"].result.signature
    assert signature.outputs[0].shape == (None, 2)
    answers, y = served_answers(kinds["columns"])
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-6)
    assert (answers.argmax(axis=1) == y).mean() == pytest.approx(kinds["columns"].result.validation["accuracy"])


def test_inputs_have_the_names_and_the_order_of_the_dataset(kinds):
    signature = kinds["columns"].result.signature
    assert [(each.name, each.dtype, each.shape) for each in signature.inputs] == [
        ("age", "float32", (None, 1)),
        ("colour", "string", (None, 1)),
    ]
    assert signature.kind == "table"
    assert signature.target == "buys"


def test_columns_may_have_any_name(kinds):
    result = kinds["any_names"].result
    assert [(each.name, each.dtype) for each in result.signature.inputs] == [
        ("bill length (mm)", "float32"),
        ("größe", "string"),
    ]
    assert "answers like Keras" in result.served.reason
    answers, y = served_answers(kinds["any_names"])
    assert (answers.argmax(axis=1) == y).mean() == pytest.approx(result.validation["accuracy"])


def test_a_model_of_one_vector_still_takes_named_columns(kinds):
    result = kinds["vector"].result
    assert [each.name for each in result.signature.inputs] == ["a", "b"]
    assert result.signature.outputs[0].name == "prediction"
    answers, y = served_answers(kinds["vector"])
    assert np.abs(answers[:, 0] - y).mean() == pytest.approx(result.validation["mae"], abs=1e-4)
    assert result.reached
    assert result.validation["mae"] < 0.5


def test_an_image_model_takes_pixels_in_the_dtype_of_the_model(kinds):
    for kind, dtype in (("plain", "float32"), ("uint8", "uint8")):
        signature = kinds[kind].result.signature
        spec = signature.inputs[0]
        assert (spec.name, spec.shape, spec.dtype, spec.low, spec.high) == ("image", (None, 6, 6, 1), dtype, 0, 255)
        assert (signature.kind, signature.image_mode) == ("image", "L")


def test_data_of_the_teams_own_making_is_asked_for_as_an_array(kinds):
    signature = kinds["loaded"].result.signature
    assert signature.kind == "array"
    assert [(each.name, each.shape) for each in signature.inputs] == [("image", (None, 36))]


def test_an_image_that_load_data_alters_is_asked_for_as_load_data_makes_it(kinds):
    """A raw image sent to the API would not be what the model knows, though it has the same shape and dtype."""
    signature = kinds["inverted"].result.signature
    assert (signature.kind, signature.image_mode) == ("array", "")
    assert [(each.name, each.shape, each.low) for each in signature.inputs] == [("image", (None, 6, 6, 1), None)]


def test_what_is_missing_is_filled_in_inside_of_what_is_served(kinds):
    """With what the train split measured: the answer is that for the value itself."""
    result = kinds["imputed"].result
    assert [each.may_miss for each in result.signature.inputs] == [True, True]
    assert result.served.engine == "litert"
    engine = load_engine(kinds["imputed"].outputs, result.signature, result.served)
    ages = ([[np.nan], [25.0], [25.0]], [[41.0], [25.0], [25.0]])
    colours = ([["green"], [""], ["pink"]], [["green"], ["red"], ["grey"]])
    holes, values = ({"age": np.array(ages[i], np.float32), "colour": np.array(colours[i], object)} for i in range(2))
    found, wanted = (engine(each)["probabilities"] for each in (holes, values))
    np.testing.assert_array_equal(found, wanted)
    answers, y = served_answers(kinds["imputed"])
    assert (answers.argmax(axis=1) == y).mean() == pytest.approx(result.validation["accuracy"])


def test_what_is_missing_reaches_a_model_that_wants_it(kinds):
    result = kinds["kept"].result
    assert result.served.engine == "litert"
    answers, y = served_answers(kinds["kept"])
    assert np.isfinite(answers).all()
    assert (answers.argmax(axis=1) == y).mean() == pytest.approx(result.validation["accuracy"])


@pytest.mark.parametrize(
    ("kind", "said", "hint"),
    [
        ("not_a_number", "answers NaN where 'age' is missing", "column.median"),
        ("whole", "int32 as 'age', which has missing values", "float32"),
    ],
)
def test_a_model_that_cannot_take_what_is_missing_is_refused_before_the_training(kinds, kind, said, hint):
    failure = kinds[kind].failure
    assert said in str(failure)
    assert hint in failure.hint


def test_every_file_is_listed_with_its_hash(kinds):
    for kind in ("plain", "text"):
        outcome = kinds[kind]
        there = {
            path.relative_to(outcome.outputs).as_posix(): sha256_file(path)
            for path in outcome.outputs.rglob("*")
            if path.is_file()
        }
        assert outcome.result.files == there
        assert {"model.keras", "signature.json", "history.json", "curves.png"} <= there.keys()
        assert codec.read(Signature, outcome.outputs / "signature.json") == outcome.result.signature


def test_the_worker_names_the_versions_it_used(kinds):
    packages = kinds["plain"].result.packages
    assert {"python", "keras", "numpy", "ai-edge-litert"} <= packages.keys()
    assert {"tensorflow", "tensorflow-cpu"} & packages.keys()
    assert "h5py" in packages, "the team's requirements.txt names it"
    assert "no-such-package" not in packages
