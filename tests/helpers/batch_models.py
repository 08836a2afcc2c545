"""Versions of small classifiers for batch predictions, their `.tflite` files built without TensorFlow."""

import json

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from tflite_models import buffer, code, graph, operator
from versions import append_release, candidate, digests

from pipelines.batch.inputs import kind_of
from registry import candidates, codec, releases
from registry.records import Served, Signature, TensorSpec
from registry.stores import open_store
from serving.batch.job import BatchFile, BatchJob, PartRecord
from training.data.spec import Column, DataSpec

CONCATENATION, FULLY_CONNECTED, SOFTMAX, RESHAPE = 2, 9, 25, 22
FLOAT = 0


def _tensor(name, shape, at=0):
    found = schema.TensorT()
    found.name, found.buffer, found.type = name.encode(), at, FLOAT
    found.shape, found.shapeSignature = [abs(each) for each in shape], list(shape)
    return found


def classifier(path, inputs, hidden=(), classes=2, seed=1):
    """A dense network: `inputs` is name -> shape of a sample; several are concatenated. Its output is called `probabilities`."""
    chance = np.random.default_rng(seed)
    tensors, buffers, operators = [], [buffer()], []
    options = {
        "concat": schema.ConcatenationOptionsT(),
        "dense": schema.FullyConnectedOptionsT(),
        "soft": schema.SoftmaxOptionsT(),
    }
    options["concat"].axis, options["soft"].beta = 1, 1.0
    for name, shape in inputs.items():
        tensors.append(_tensor(name, (-1, *shape)))
    last, width = 0, sum(int(np.prod(shape)) for shape in inputs.values())
    if len(inputs) > 1:
        tensors.append(_tensor("joined", (-1, width)))
        last = len(tensors) - 1
        operators.append(operator(range(len(inputs)), [last], 0, options["concat"]))
    for i, wide in enumerate((*hidden, classes)):
        weights = chance.normal(0, 1 / np.sqrt(width), (wide, width)).astype(np.float32)
        for name, array in ((f"w{i}", weights), (f"b{i}", np.zeros(wide, np.float32))):
            buffers.append(buffer(array.tobytes()))
            tensors.append(_tensor(name, array.shape, len(buffers) - 1))
        tensors.append(_tensor(f"h{i}", (-1, wide)))
        dense = schema.FullyConnectedOptionsT()
        dense.fusedActivationFunction = 1 if i < len(hidden) else 0
        operators.append(operator([last, len(tensors) - 3, len(tensors) - 2], [len(tensors) - 1], 1, dense))
        last, width = len(tensors) - 1, wide
    tensors.append(_tensor("probabilities", (-1, classes)))
    operators.append(operator([last], [len(tensors) - 1], 2, options["soft"]))
    last = len(tensors) - 1
    model = schema.ModelT()
    model.version, model.buffers = 3, buffers
    model.operatorCodes = [code(CONCATENATION), code(FULLY_CONNECTED), code(SOFTMAX)]
    model.subgraphs = [graph(tensors, operators, range(len(inputs)), [last])]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_named(name, i) for i, name in enumerate(inputs)]
    signature.outputs = [_named("probabilities", last)]
    model.signatureDefs = [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def _named(name, number):
    found = schema.TensorMapT()
    found.name, found.tensorIndex = name.encode(), number
    return found


def table_signature(columns, classes, low=None, high=None):
    """A table of float32 columns in, a probability per class out."""
    inputs = tuple(TensorSpec(each, (None, 1), "float32", low, high) for each in columns)
    outputs = (TensorSpec("probabilities", (None, len(classes)), "float32"),)
    return Signature("classification", "table", inputs, outputs, tuple(classes), target="label")


def image_signature(side=8, classes=("zero", "one"), mode="L"):
    inputs = (TensorSpec("image", (None, side, side, 1), "float32", 0, 255),)
    outputs = (TensorSpec("probabilities", (None, len(classes)), "float32"),)
    return Signature("classification", "image", inputs, outputs, tuple(classes), image_mode=mode)


def array_signature(shape=(4,), classes=("zero", "one")):
    inputs = (TensorSpec("x", (None, *shape), "float32"),)
    outputs = (TensorSpec("probabilities", (None, len(classes)), "float32"),)
    return Signature("classification", "array", inputs, outputs, tuple(classes))


def write_version(folder, signature, hidden=()):
    """The served file of a version with this signature, built without TensorFlow."""
    folder.mkdir(parents=True)
    shapes = {each.name: each.shape[1:] for each in signature.inputs}
    classifier(folder / "model.tflite", shapes, hidden, len(signature.classes))
    columns = tuple(Column(each.name, "numeric") for each in signature.inputs)
    data = DataSpec(
        "table", signature.task, signature.inputs, signature.classes, columns if signature.kind == "table" else ()
    )
    codec.save(data, folder / "data.json")


def registered(root, signature, model="digits", hidden=(), release=True):
    """A registry in `root` with the next version of `model`, released unless `release` is false; its URL and the version."""
    url = f"file://{root / 'registry'}"
    store = open_store(url)
    run = f"{len(candidates.versions(store, model)):016x}" if candidates.newest(store, model) else "0" * 16
    number = candidates.claim(store, model, run)
    folder = root / f"files-{model}-{number}"
    write_version(folder, signature, hidden)
    served = Served("litert", "model.tflite", "a test")
    candidates.publish(
        store, candidate(model, number, run, digests(folder), signature=signature, served=served), folder
    )
    if release:
        releases.copy_to_production(store, model, number)
        append_release(store, model, number, by="a test")
    return url, number


class Worker:
    """The batch worker in this process, on the version that `signature` describes."""

    def __init__(self, root, signature, **how):
        _, number = registered(root, signature, **how)
        self.root, self._tries = root, 0
        self.version = root / "registry" / "production" / "digits" / str(number)

    def run(self, *paths, form="parquet", rows_per_part=1000, kinds=(), **job):
        """Records of the parts, the folder that holds them, and the result."""
        from serving.batch.work import main

        self._tries += 1
        folder = self.root / f"job-{self._tries}"
        for each in ("inputs", "outputs", "scratch"):
            (folder / each).mkdir(parents=True)
        (folder / "inputs" / "model").symlink_to(self.version)
        files = []
        for i, path in enumerate(paths):
            (folder / "inputs" / f"file-{i:05d}").symlink_to(path)
            files.append(BatchFile(path.name, kinds[i] if kinds else kind_of(path.name), 0, ""))
        codec.save(BatchJob(1, tuple(files), form, rows_per_part, **job), folder / "job.json")
        result = main(folder)
        records = [codec.read(PartRecord, each) for each in sorted((folder / "outputs").glob("*.part.json"))]
        return records, folder / "outputs", result

    def predicted(self, *paths, **job):
        """All predictions as one pyarrow.Table, and file, row and reason of what is rejected."""
        records, folder, _ = self.run(*paths, **job)
        assert all(each.rows == each.predicted + each.rejected for each in records)
        return table_of(folder, records), rejected(folder, records)


def table_of(folder, records):
    """The parts in Parquet as one pyarrow.Table."""
    import pyarrow as pa
    from pyarrow import parquet

    tables = [parquet.read_table(folder / each.name) for each in records if each.name]
    return pa.concat_tables(tables) if tables else None


def rejected(folder, records):
    """(file, row, reason) of the rejected rows, in their order."""
    lines = [line for each in records if each.rejects for line in (folder / each.rejects).read_text().splitlines()]
    return [(each["file"], each["row"], each["reason"]) for each in map(json.loads, lines)]
