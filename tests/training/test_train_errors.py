"""Errors of a code repository: each is reported with file, line and the next action, and never as a bug of Trainyard."""

import pytest
from training_parts import CNN, TWO_SUMS, images, make_job, run_jobs, shop, two_sums

from registry.errors import ConfigError, WorkerFailed

pytestmark = pytest.mark.tensorflow

RAISES = "def build_model(spec, attempt):\n    sizes = []\n    return sizes[attempt]\n"
NAN = CNN.replace("Adam(0.01)", "SGD(1e30)")
LOGITS = CNN.replace(', activation="softmax"', "")
LAMBDA = CNN.replace("layers.Flatten()", "layers.Flatten(), layers.Lambda(lambda x: x * 2)")
OWN_LAYER = (
    CNN.replace("layers.Flatten()", "layers.Flatten(), Twice()")
    + """
class Twice(layers.Layer):
    def call(self, x):
        return 2 * x
"""
)
TWO_OUTPUTS = """
import keras
def build_model(spec, attempt):
    pixels = keras.Input(spec.input_shape)
    flat = keras.layers.Flatten()(pixels)
    model = keras.Model(pixels, [keras.layers.Dense(3)(flat), keras.layers.Dense(3)(flat)])
    model.compile("adam", loss=["mse", "mse"])
    return model
"""
AUGMENT = CNN + "\ndef augment(x, y):\n    return x.no_such_thing(), y\n"
HOOK = (
    CNN
    + "\ndef fit(model, train, validation, *, epochs, callbacks):\n    raise RuntimeError('the disk of the team is full')\n"
)
LOAD = CNN + "\ndef load_data(folder):\n    return [1, 2, 3]\n"
OTHER_NAMES = """
import keras
def build_model(spec, attempt):
    inputs = [keras.Input((1,), name=name) for name in ("age", "size_of_shoe")]
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(keras.layers.Concatenate()(inputs)))
    model.compile("adam", loss="sparse_categorical_crossentropy")
    return model
"""


LATE_LOGITS = """
import keras
def build_model(spec, attempt):  # before it is trained it answers 0, which might be a probability
    flat = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input(spec.input_shape), *flat, keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.Adam(0.3), loss=keras.losses.BinaryCrossentropy(from_logits=True))
    return model
"""


REGISTERED = '@keras.saving.register_keras_serializable("Own")\n'
OWN_FUNCTION = CNN.replace('activation="relu"', "activation=soft") + "\ndef soft(x): return x * keras.ops.tanh(x)\n"
OWN_LOSS = (
    CNN.replace('loss="sparse_categorical_crossentropy"', "loss=gap") + "\ndef gap(y, p): return keras.ops.mean(p)\n"
)
FORGETS = CNN.replace("layers.Flatten()", "layers.Flatten(), Times(2)").replace(
    "def build",
    REGISTERED
    + """class Times(layers.Layer):
    def __init__(self, factor, **more):
        super().__init__(**more)
        self.factor = factor
    def call(self, x):
        return self.factor * x
    def get_config(self):
        return keras.layers.Layer.get_config(keras.layers.Layer())

def build""",
    1,
)
KEEPS_A_SET = CNN.replace("layers.Flatten()", "layers.Flatten(), Times({2})").replace(
    "def build",
    REGISTERED
    + """class Times(layers.Layer):
    def __init__(self, factors, **more):
        super().__init__(**more)
        self.factors = factors
    def call(self, x):
        return max(self.factors) * x

def build""",
    1,
)
TORCH = """
Linear = type("Linear", (), {"__module__": "torch.nn"})
def build_model(spec, attempt): return Linear()
"""
BAD_METRIC = (
    CNN.replace('metrics=["accuracy"])', 'metrics=["accuracy"], run_eagerly=True)').replace(
        "    return model", "    model.add_loss = None\n    model.train_step = Step()\n    return model"
    )
    + """
class Step:
    def __call__(self, data):
        raise ValueError("bad metric")
"""
)


CASES = {
    # name: (kind of error, what the message says, what the hint says, the job)
    "missing": (ConfigError, ["no model.py"], "build_model", {"code": None}),
    "syntax": (ConfigError, ["model.py, line 2", "def build_model(spec"], "", {"code": "import keras\ndef build_model(spec\n"}),
    "no_function": (ConfigError, ["model.py", "no function build_model"], "compiled", {"code": "x = 1\n"}),
    "no_package": (WorkerFailed, ["model.py, line 1", "flying_carpet"], "not installed", {"code": "import flying_carpet\n"}),
    "shadowed": (
        WorkerFailed,
        ["model.py, line 1", "training.parts"],
        "rename training/",
        {"code": "import training.parts\n", "files": {"training/parts.py": ""}},
    ),
    "import_raises": (WorkerFailed, ["model.py, line 2", "ValueError: bad day"], "", {"code": "\nraise ValueError('bad day')\n"}),
    "build_raises": (
        WorkerFailed,
        ["model.py, line 3, in build_model", "IndexError: list index out of range", "return sizes[attempt]"],
        "commit",
        {"code": RAISES},
    ),
    "exits": (WorkerFailed, ["model.py, line 2", "SystemExit"], "", {"code": "import sys\nsys.exit(0)\n"}),
    "in_a_module": (
        WorkerFailed,
        ["layers_of_mine.py, line 1", "ZeroDivisionError"],
        "",
        {"code": "import layers_of_mine\n", "files": {"layers_of_mine.py": "1 / 0\n"}},
    ),
    "nothing": (ConfigError, ["model.py", "returned nothing"], "return model", {"code": "def build_model(spec, attempt): pass\n"}),
    "not_a_model": (ConfigError, ["model.py", "a dict"], "return model", {"code": "def build_model(spec, attempt): return {}\n"}),
    "not_compiled": (ConfigError, ["model.py", "not compiled"], "compile", {"code": CNN.replace("    model.compile", "    dict")}),
    "input_shape": (
        ConfigError,
        ["model.py", "float32 [None, 7, 6, 1]", "uint8 [None, 6, 6, 1]"],
        "spec.inputs",
        {"code": CNN.replace("spec.input_shape", "(7, 6, 1)")},
    ),
    "input_names": (
        ConfigError,
        ["model.py", "age, size_of_shoe", "age, size"],
        "name each",
        {"code": OTHER_NAMES, "data": lambda samples, seed: shop(samples, seed, text=False)},
    ),
    "output_shape": (
        ConfigError,
        ["model.py", "[2, 5]", "3 probabilities"],
        "len(spec.classes)",
        {"code": CNN.replace("len(spec.classes)", "5")},
    ),
    "answer_per_pixel": (
        ConfigError, ["model.py", "[2, 4, 4, 3]"], "docs/reference/limits.md",
        {"code": CNN.replace("        layers.Flatten(),\n", "")},
    ),
    "argument_that_no_file_holds": (
        ConfigError, ["model.py", "cannot be saved"], "get_config", {"code": KEEPS_A_SET},
    ),
    "two_outputs": (ConfigError, ["model.py", "2 outputs"], "docs/reference/limits.md", {"code": TWO_OUTPUTS}),
    "logits": (ConfigError, ["model.py", "not probabilities"], "softmax", {"code": LOGITS}),
    "late_logits": (
        ConfigError,
        ["the trained model answers with numbers outside 0 to 1, not with probabilities"],
        "sigmoid or softmax, and compile with from_logits=False",
        {"code": LATE_LOGITS, "classes": ("left", "right"), "epochs": 5},
    ),
    "lambda": (ConfigError, ["model.py", "Lambda", "Python code"], "register", {"code": LAMBDA}),
    "own_layer": (ConfigError, ["model.py", "Twice"], "register", {"code": OWN_LAYER}),
    "own_function": (
        ConfigError, ["model.py", "'soft'", "not registered"], "register", {"code": OWN_FUNCTION},
    ),
    "name_of_keras": (
        ConfigError, ["model.py", "'mish'", "name of one of Keras'"], "a name of its own",
        {"code": OWN_FUNCTION.replace("soft", "mish").replace("mishmax", "softmax")},
    ),
    "own_loss": (
        ConfigError, ["model.py", "'gap'", "not registered"], "register", {"code": OWN_LOSS},
    ),
    "forgets_arguments": (
        ConfigError, ["model.py", "'Own>Times'", "cannot be loaded again"], "get_config", {"code": FORGETS},
    ),
    "no_keras_model": (ConfigError, ["model.py", "a Linear"], "docs/reference/limits.md", {"code": TORCH}),
    "three_parameters": (
        ConfigError, ["model.py: build_model(spec, attempt, size) cannot be called"], "build_model(spec, attempt)",
        {"code": "def build_model(spec, attempt, size): pass\n"},
    ),
    "fit_without_callbacks": (
        ConfigError, ["model.py: fit(model, train, epochs) cannot be called"], "callbacks",
        {"code": CNN + "\ndef fit(model, train, epochs): pass\n"},
    ),
    "other_loss": (
        WorkerFailed, ["bad metric"], "correct it", {"code": BAD_METRIC},
    ),
    "nan": (WorkerFailed, ["the loss became", "epoch 1 of attempt 1"], "learning rate", {"code": NAN}),
    "augment": (WorkerFailed, ["model.py, line 17, in augment", "no_such_thing"], "", {"code": AUGMENT}),
    "hook": (WorkerFailed, ["model.py, line 17, in fit", "the disk of the team is full"], "", {"code": HOOK}),
    "wrong_loss": (
        WorkerFailed,
        ["model.py: the model could not be trained", "shape"],
        "sparse_categorical_crossentropy",
        {"code": CNN.replace("sparse_categorical", "categorical")},
    ),
    "load_data": (ConfigError, ["model.py: load_data did not return (x, y)"], "return x, y", {"code": LOAD}),
    "too_few_numbers": (
        ConfigError, ["model.py", "the model answers with shape [2, 1] for 2 samples; wanted: 2 numbers, one per target"],
        "end with Dense(len(spec.targets))",
        {"code": TWO_SUMS.replace("len(spec.targets)", "1").replace("list(spec.target_deviations)", "1.0"), "data": two_sums, "metric": "mae", "threshold": 9.0},
    ),
    "too_few_in_load_data": (
        ConfigError, ["model.py: load_data returned y with 1 numbers per sample; the dataset has 2"], "(samples, 2)",
        {
            "code": TWO_SUMS + "\ndef load_data(folder):\n    import numpy\n    return numpy.zeros((9, 2)), numpy.zeros(9)\n",
            "data": two_sums, "metric": "mae", "threshold": 9.0,
        },
    ),
    "other_target": (
        ConfigError, ["there is no target 'third'; the dataset has 'sum', 'difference'"], "correct it in [gate]",
        {"code": TWO_SUMS, "data": two_sums, "metric": 'mae(target="third")', "threshold": 9.0},
    ),
    "metric": (ConfigError, ["[gate] metric: 'rmse'", "classification"], "macro_f1", {"metric": "rmse"}),
}  # fmt: skip


@pytest.fixture(scope="module")
def failures(tmp_path_factory):
    at = tmp_path_factory.mktemp("errors")
    jobs = [make_job(at / name, **({"data": images, "samples": 24} | more)) for name, (_, _, _, more) in CASES.items()]
    return run_jobs(jobs)


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_reported_with_its_place_and_the_next_action(failures, name):
    kind, words, hint, _ = CASES[name]
    failures[name].must_have_failed(kind, words, hint)
    assert failures[name].failure.exit_code == failures[name].code == 2
    assert not (failures[name].folder / "result.json").exists()


def test_sources_are_not_written_into(failures):
    for outcome in failures.values():
        assert not list((outcome.folder / "inputs" / "code").rglob("__pycache__"))
