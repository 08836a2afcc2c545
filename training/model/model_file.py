"""Looks into a `.keras` file without Keras, before anything in it is trusted; then loads it, in a worker.

A Keras file is a zip of `config.json` (which classes to build, with which arguments), weights in HDF5, and vocabularies.
Loading one means building whatever the config names, so the scan allows names one by one: the layers, optimizers, losses
and the like that Keras itself defines and that neither carry code nor read files. A class of a team's own may be in
the file when the team's `model.py` registered it; then the code comes from the repository, not from the file.
"""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath
from types import FunctionType
from typing import Any

from registry.errors import ConfigError, Corrupt, PipelineError, WorkerFailed

MAX_BYTES = 4 << 30
MAX_CONFIG_BYTES = 64 << 20
MAX_MEMBERS = 10_000
MAX_RATIO = 200
"""Keras stores without compression; a repacked file of zeros is denser than a real one, a bomb is denser still."""

HDF5 = b"\x89HDF\r\n\x1a\n"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
SAVE_HINT = 'save the model with model.save("model.keras")'
REGISTER_HINT = (
    "register your own class or function with @keras.saving.register_keras_serializable(), in model.py or in a module that "
    "model.py imports; beside a script of your own, model.py needs nothing else"
)
CONFIG_HINT = "let its get_config return every argument that its __init__ wants, or give those a default"
LIMITS_HINT = "use another layer, or a class of your own that is registered: docs/reference/limits.md"
LAMBDA_HINT = (
    "use keras.ops on the tensors, or write a class of your own (keras.layers.Layer) and register it with "
    "@keras.saving.register_keras_serializable(), in model.py or in a module that model.py imports"
)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED: dict[str, frozenset[str]] = {
    "keras": _names("Sequential Model Functional DTypePolicy FloatDTypePolicy"),
    "keras.models": _names("Sequential Model Functional"),
    "keras.src.models.functional": _names("Functional"),
    "keras.src.models.sequential": _names("Sequential"),
    "keras.src.applications.convnext": _names("LayerScale StochasticDepth"),
    "keras.src.applications.inception_resnet_v2": _names("CustomScaleLayer"),
    "keras.src.layers.preprocessing.feature_space": _names(
        "TFDConcat TFDIdentity"
    ),  # what keras.utils.FeatureSpace builds
    "keras.dtype_policies": _names(
        "AWQDTypePolicy DTypePolicy DTypePolicyMap FloatDTypePolicy GPTQDTypePolicy Int4DTypePolicy"
        " QuantizedDTypePolicy QuantizedFloat8DTypePolicy"
    ),
    "keras.random": _names("SeedGenerator"),
    "keras.layers": _names(
        "Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D"
        " AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout Attention"
        " AugMix AutoContrast Average AveragePooling1D AveragePooling2D AveragePooling3D AvgPool1D AvgPool2D AvgPool3D"
        " BatchNormalization Bidirectional CategoryEncoding CenterCrop Concatenate"
        " ContrastLimitedAdaptiveHistogramEqualization Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D"
        " Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Convolution1D Convolution1DTranspose Convolution2D"
        " Convolution2DTranspose Convolution3D Convolution3DTranspose Cropping1D Cropping2D Cropping3D CutMix Dense"
        " DepthwiseConv1D DepthwiseConv2D Discretization Dot Dropout ELU EinsumDense Embedding Equalization Flatten GRU"
        " GRUCell GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D"
        " GlobalAvgPool1D GlobalAvgPool2D GlobalAvgPool3D GlobalMaxPool1D GlobalMaxPool2D GlobalMaxPool3D"
        " GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GroupNormalization GroupQueryAttention GroupedQueryAttention HashedCrossing"
        " Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LayerNormalization LeakyReLU Masking MaxNumBoundingBoxes"
        " MaxPool1D MaxPool2D MaxPool3D MaxPooling1D MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp"
        " MultiHeadAttention Multiply Normalization PReLU Permute Pipeline RMSNormalization RNN RandAugment"
        " RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform"
        " RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert RandomPerspective"
        " RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom"
        " ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding STFTSpectrogram SeparableConv1D SeparableConv2D"
        " SeparableConvolution1D SeparableConvolution2D SimpleRNN SimpleRNNCell Softmax Solarization SpatialDropout1D"
        " SpatialDropout2D SpatialDropout3D SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization"
        " TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D"
        " ZeroPadding3D"
    ),
    "keras.optimizers": _names(
        "Adadelta Adafactor Adagrad Adam AdamW Adamax Ftrl Lamb Lion LossScaleOptimizer MultiOptimizer Muon Nadam"
        " OptimizerMap RMSprop SGD ScheduleFreeAdamW"
    ),
    "keras.optimizers.schedules": _names(
        "CosineDecay CosineDecayRestarts ExponentialDecay InverseTimeDecay PiecewiseConstantDecay PolynomialDecay"
    ),
    "keras.losses": _names(
        "BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy CategoricalFocalCrossentropy"
        " CategoricalGeneralizedCrossEntropy CategoricalHinge Circle CosineSimilarity Dice Hinge Huber KLDivergence LogCosh"
        " MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson"
        " SparseCategoricalCrossentropy SquaredHinge Tversky"
    ),
    "keras.metrics": _names(
        "AUC Accuracy BinaryAccuracy BinaryCrossentropy BinaryIoU CategoricalAccuracy CategoricalCrossentropy"
        " CategoricalHinge ConcordanceCorrelation CosineSimilarity F1Score FBetaScore FalseNegatives FalsePositives Hinge"
        " IoU KLDivergence LogCoshError Mean MeanAbsoluteError MeanAbsolutePercentageError MeanIoU MeanMetricWrapper"
        " MeanSquaredError MeanSquaredLogarithmicError OneHotIoU OneHotMeanIoU PearsonCorrelation Poisson Precision"
        " PrecisionAtRecall R2Score Recall RecallAtPrecision RootMeanSquaredError SensitivityAtSpecificity"
        " SparseCategoricalAccuracy SparseCategoricalCrossentropy SparseTopKCategoricalAccuracy SpecificityAtSensitivity"
        " SquaredHinge Sum TopKCategoricalAccuracy TrueNegatives TruePositives"
    ),
    "keras.initializers": _names(
        "Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones"
        " Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT STFTInitializer TruncatedNormal VarianceScaling"
        " Zeros"
    ),
    "keras.regularizers": _names("L1 L1L2 L2 OrthogonalRegularizer"),
    "keras.constraints": _names("MaxNorm MinMaxNorm NonNeg UnitNorm"),
    "keras.quantizers": _names(
        "AWQConfig AbsMaxQuantizer Float8QuantizationConfig GPTQConfig Int4QuantizationConfig Int8QuantizationConfig"
    ),
}
REFUSED = {
    "Lambda": "a Lambda layer carries Python code that would run when the file is loaded",
    "__lambda__": "a lambda is Python code that would run when the file is loaded",
    "TFSMLayer": "a TFSMLayer loads another model, from a place the file names",
    "TorchModuleWrapper": "a TorchModuleWrapper is unpickled, which can run any code",
    "JaxLayer": "a JaxLayer carries code",
    "FlaxLayer": "a FlaxLayer carries code",
}
VALUES = _names("__keras_tensor__ __tensor__ __numpy__ __bytes__ __ellipsis__ __slice__")
"""Plain values that Keras writes as if they were objects."""
OPERATIONS = re.compile(r"keras\.src\.ops\.[a-z_]+")
"""`keras.ops` used on the tensors of a functional model: nodes of the graph, tensor in, tensor out."""
FUNCTIONS = _names(
    "builtins keras.activations keras.losses keras.metrics keras.regularizers keras.initializers keras.constraints keras.ops"
)
LOOKUPS = _names("StringLookup IntegerLookup TextVectorization")
CAMEL, IDENTIFIER = re.compile(r"[A-Z][A-Za-z0-9]*"), re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def scan_model_file(path: Path, registered: Collection[str] = (), max_bytes: int = MAX_BYTES) -> None:
    """Refuse the file at `path` unless it is a `.keras` file that is safe to load.

    `registered`: names such as `Custom>Scale` that the code repository has registered. Raises ConfigError for a file of
    another kind and for what is not allowed, Corrupt for a damaged one. Reads the zip's directory and `config.json` only.
    """
    try:
        size = _regular_size(path)
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}", hint=SAVE_HINT) from None
    if size > max_bytes:
        raise ConfigError(f"{path}: {size:,} bytes; a model file may have {max_bytes:,}")
    if head == HDF5:
        raise ConfigError(
            f"{path}: an HDF5 file (.h5): loading one can run code that is hidden in it, so only .keras files are taken",
            hint=SAVE_HINT,
        )
    if head[:4] != b"PK\x03\x04":
        raise ConfigError(f"{path}: not a .keras file (its content is not a zip)", hint=SAVE_HINT)
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive, max_bytes)
            _json(path, archive, METADATA)
            check_config(_json(path, archive, CONFIG), str(path), registered)
            with archive.open(WEIGHTS) as weights:
                if weights.read(len(HDF5)) != HDF5:
                    raise Corrupt(f"{path}: {WEIGHTS} is not HDF5")
    except PipelineError:
        raise
    except RecursionError:
        raise ConfigError(f"{path}: {CONFIG} is nested too deeply") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise Corrupt(f"{path}: a damaged zip: {error}") from None


def check_config(config: object, where: str, registered: Collection[str] = ()) -> None:
    """Raise ConfigError unless every class and function that `config` names is allowed. See `scan_model_file`."""
    if not isinstance(config, dict) or "class_name" not in config:
        raise ConfigError(f"{where}: its config names no model", hint=SAVE_HINT)
    for each in _nodes(config):
        if "class_name" in each:
            _check_object(each, where, registered)
        elif "spec_name" in each or "module" in each:
            raise ConfigError(f"{where}: an object of unknown kind: {sorted(map(str, each))!r:.80}")


def check_saveable(model: Any, origin: str, registered: Collection[str] = ()) -> None:
    """Raise ConfigError, before anything is trained, when the file of this Keras model could not be loaded again."""
    import keras

    try:
        config = keras.saving.serialize_keras_object(model)
    except (NotImplementedError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ConfigError(f"{origin}: the model cannot be saved: {text:.300}", hint=CONFIG_HINT) from error
    _check_names(model, origin)
    check_config(config, origin, registered)
    _check_rebuilt(config, origin, registered)


def _check_names(model: Any, origin: str) -> None:
    """Raise ConfigError for a function of the team's own that has the name of one of Keras', which a file would give back."""
    import keras

    used = [(getattr(each, "activation", None), keras.activations) for each in model._flatten_layers()]  # noqa: SLF001
    for function, known in [*used, (getattr(model, "loss", None), keras.losses)]:
        name = getattr(function, "__name__", "")
        of_keras = getattr(function, "__module__", "").partition(".")[0] == "keras"
        if isinstance(function, FunctionType) and not of_keras and hasattr(known, name):
            raise ConfigError(
                f"{origin}: its function {name!r} has the name of one of Keras', which the model's file would name instead",
                hint="give your function a name of its own, and register it with @keras.saving.register_keras_serializable()",
            )


def _check_rebuilt(config: object, origin: str, registered: Collection[str]) -> None:
    """Build once more what is not Keras' own: a function that is not registered, or a class whose `get_config` leaves out
    what its `__init__` wants, would show only when the file is loaded."""
    import keras

    seen: set[str] = set()
    for node in _nodes(config):
        function = node.get("class_name") == "function"
        name = node.get("config" if function else "registered_name")
        if not (function or name in registered) or (text := json.dumps(node, default=str)) in seen:
            continue
        seen.add(text)
        try:
            keras.saving.deserialize_keras_object(node, safe_mode=True)
        except MemoryError:
            raise
        except Exception as error:  # own classes raise what they like
            known = name in registered
            text = " ".join(str(error).split())
            raise ConfigError(
                f"{origin}: {name!r:.80} is used in the model, and cannot be loaded again from the model's file: "
                + (f"{type(error).__name__}: {text:.300}" if known else "it is not registered"),
                hint=CONFIG_HINT if known else REGISTER_HINT,
            ) from error


def _nodes(config: object) -> Iterator[dict[str, Any]]:
    """Every dict in the config, the model itself first."""
    waiting: list[object] = [config]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            yield each
            waiting += each.values()
        elif isinstance(each, (list, tuple)):
            waiting += each


def load_model(path: Path, registered: Collection[str] = (), *, compiled: bool) -> Any:
    """Scan the file, then load it with Keras in safe mode: for workers only.

    Raises ConfigError or Corrupt by the scan, WorkerFailed when Keras cannot build it.
    """
    scan_model_file(path, registered)
    import keras

    try:
        return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises what its layers raise
        text = " ".join(str(error).split())
        raise WorkerFailed(
            f"{path}: Keras cannot load it: {type(error).__name__}: {text:.400}",
            hint="was it saved with another version of Keras, or with other code?",
        ) from error


def _regular_size(path: Path) -> int:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: not a regular file", hint=SAVE_HINT)
    return status.st_size


def _check_members(path: Path, archive: zipfile.ZipFile, max_bytes: int) -> None:
    """Only what Keras writes, each once, inside the archive, and not larger than it says it can be."""
    members = archive.infolist()
    names = [each.filename for each in members]
    if len(names) > MAX_MEMBERS or len(set(names)) != len(names):
        raise ConfigError(f"{path}: too many files inside, or two of one name")
    if missing := {CONFIG, METADATA, WEIGHTS} - set(names):
        raise ConfigError(f"{path}: {min(missing)} is missing inside", hint=SAVE_HINT)
    total = 0
    for each in members:
        parts = PurePosixPath(each.filename).parts
        inside = not each.filename.startswith("/") and ".." not in parts and "\\" not in each.filename
        if not inside or (each.filename not in {CONFIG, METADATA, WEIGHTS} and parts[:1] != ("assets",)):
            raise ConfigError(f"{path}: a file inside that Keras does not write: {each.filename!r:.80}")
        if stat.S_ISLNK(each.external_attr >> 16) or each.flag_bits & 1:
            raise ConfigError(f"{path}: {each.filename!r:.80} is a link or encrypted")
        total += each.file_size
        if total > max_bytes or each.file_size > MAX_RATIO * each.compress_size + (1 << 20):
            raise ConfigError(f"{path}: {each.filename!r:.80} unpacks to {each.file_size:,} bytes, which is too much")


def _json(path: Path, archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: {name} is larger than {MAX_CONFIG_BYTES:,} bytes")
    with archive.open(name) as file:
        data = file.read(MAX_CONFIG_BYTES + 1)  # the directory's size may lie
    if len(data) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: {name} is larger than {MAX_CONFIG_BYTES:,} bytes")
    try:
        return json.loads(data)
    except ValueError as error:
        raise Corrupt(f"{path}: {name} is not JSON: {error}") from None


def _check_object(node: dict[str, Any], where: str, registered: Collection[str]) -> None:
    name, module, known_as = node["class_name"], node.get("module"), node.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, str | None) or not isinstance(known_as, str | None):
        raise ConfigError(f"{where}: class {name!r:.80} has a name that is not text")
    if name in REFUSED:
        raise ConfigError(
            f"{where}: {REFUSED[name]}: not allowed", hint=LAMBDA_HINT if "ambda" in name else LIMITS_HINT
        )
    if name in VALUES:
        return
    if name == "function":
        _check_function(node, where, registered)
        return
    if known_as in registered:
        return
    if known_as not in {None, name}:
        raise ConfigError(f"{where}: {known_as!r:.80} is not registered by model.py: not allowed", hint=REGISTER_HINT)
    operation = module is not None and OPERATIONS.fullmatch(module) and CAMEL.fullmatch(name)
    if not operation and name not in ALLOWED.get(module or "", frozenset()):
        shown = f"{module}.{name}" if module else name
        hint = LIMITS_HINT if (module or "").partition(".")[0] == "keras" else REGISTER_HINT
        raise ConfigError(f"{where}: class {shown:.80} is not on the list of allowed ones", hint=hint)
    arguments = node.get("config")
    if name in LOOKUPS and isinstance(arguments, dict) and isinstance(arguments.get("vocabulary"), str):
        raise ConfigError(f"{where}: {name} reads its vocabulary from a file: not allowed", hint="pass it as a list")


def _check_function(node: dict[str, Any], where: str, registered: Collection[str]) -> None:
    name, module = node.get("config"), node.get("module")
    if name in registered:  # Keras, too, looks functions up by this and not by registered_name
        return
    if not isinstance(name, str) or not IDENTIFIER.fullmatch(name) or module not in FUNCTIONS:
        raise ConfigError(f"{where}: function {name!r:.80} of {module!r:.80} is not allowed", hint=REGISTER_HINT)
