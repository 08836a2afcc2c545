"""`POST /predict` of a random forest over 30 columns against `mlflow models serve` of the same forest.

100 trees, trained by scikit-learn on 5,000 rows. Ours is served as ONNX by ONNX Runtime, as a script of a team's would leave
it (docs/how-to/onnx.md); MLflow gets the very forest by `mlflow.sklearn.save_model` with a signature, and serves it with
`mlflow models serve --workers 2 --env-manager local` in an environment of its own (`--neighbours`). One row with 30 named
columns as JSON in each request, 16 clients on kept connections, in turns. Needs skl2onnx, which `make setup-dev` installs.

    forest_serving.py FOLDER        writes the registry, the forest and the bodies
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import sys
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path

from bench_run import BenchRun, done
from image_model import MODEL, ModelRegistry, publish
from neighbours import PINNED, quiet
from neighbours_serving import serve_mlflow
from rows import Row, Skipped
from servers import CLIENTS, Load, api, measure_load

COLUMNS, TREES, SAMPLES, CLASSES = 30, 100, 5000, ("no", "yes")
ROUNDS, SECONDS, WARM, LIMIT = 5, 4.0, 3.0, 20.0
SAVE = """
import pickle, sys, mlflow, pandas
with open(sys.argv[1], "rb") as file:
    forest, rows = pickle.load(file)
rows = pandas.DataFrame(rows, columns=forest.feature_names_in_)
described = mlflow.models.infer_signature(rows, forest.predict(rows))
mlflow.sklearn.save_model(forest, sys.argv[2], signature=described, serialization_format="cloudpickle")
"""


def measure(run: BenchRun) -> list[Row]:
    """Requests per second and CPU time per answer, medians of the rounds."""
    if find_spec("skl2onnx") is None:
        raise Skipped("needs skl2onnx: run `make setup-dev`")
    python = run.neighbour("mlflow-forest")
    folder = run.space("forest_serving")
    done([sys.executable, __file__, str(folder)])
    models = ModelRegistry(folder)
    done([str(python), "-c", SAVE, str(folder / "forest.pkl"), str(folder / "mlflow-model")], env=quiet())
    requests = {"ours": ("/predict", models.body), "mlflow": ("/invocations", folder / "mlflow.json")}
    taken: dict[str, list[Load]] = {name: [] for name in requests}
    with ExitStack() as stack:
        servers = {
            "ours": stack.enter_context(api(folder / "ours", model=MODEL, registry=models.url)),
            "mlflow": stack.enter_context(serve_mlflow(python, folder)),
        }
        for number in range(run.rounds(ROUNDS)):
            for name, server in servers.items():
                path, body = requests[name]
                if not number:
                    measure_load(server, WARM, body, path)
                taken[name].append(measure_load(server, SECONDS, body, path))
    raw: dict[str, object] = {name: [asdict(each) for each in loads] for name, loads in taken.items()}
    rates = {name: statistics.median(each.per_second for each in loads) for name, loads in taken.items()}
    costs = {name: statistics.median(each.cpu_us for each in loads) for name, loads in taken.items()}
    title = f"POST /predict, a forest of {TREES} trees over {COLUMNS} columns, {CLIENTS} clients"
    text = f"mlflow models serve {PINNED['mlflow-forest'][0].partition('==')[2]}"
    return [
        Row(title, rates["ours"], "requests/s", text, rates["mlflow"], None if run.quick else LIMIT, "more", raw),
        Row(f"{title}: CPU per answer", costs["ours"], "µs", text, costs["mlflow"], None, "less", raw),
    ]


def main(folder: Path) -> None:
    """Train, export, publish, release."""
    import numpy as np
    import pandas as pd
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import RandomForestClassifier

    from registry.records import OnnxWiring, Served, Signature, TensorSpec

    models, files = ModelRegistry(folder), folder / "files"
    files.mkdir()
    chance = np.random.default_rng(1)
    names = [f"column_{i}" for i in range(COLUMNS)]
    x = chance.normal(size=(SAMPLES, COLUMNS)).astype(np.float32)
    y = np.array(CLASSES)[(x[:, 0] + x[:, 1] * x[:, 2] + chance.normal(0, 0.5, SAMPLES) > 0).astype(int)]
    forest = RandomForestClassifier(TREES, random_state=1).fit(pd.DataFrame(x, columns=names), y)
    exported = to_onnx(forest, initial_types=[("x", FloatTensorType([None, COLUMNS]))], options={"zipmap": False})
    (files / "model.onnx").write_bytes(exported.SerializeToString())
    golden = {f"in_{i}": x[:16, i : i + 1] for i in range(COLUMNS)}
    np.savez(files / "golden.npz", out_0=forest.predict_proba(pd.DataFrame(x[:16], columns=names)), **golden)
    inputs = tuple(TensorSpec(name, (None, 1), "float32") for name in names)
    answers = TensorSpec("probabilities", (None, len(CLASSES)), "float32", 0.0, 1.0)
    served = Served("onnx", "model.onnx", "a benchmark", onnx=OnnxWiring("probabilities", (0, 1), "x"))
    described = Signature("classification", "table", inputs, (answers,), CLASSES, target="y")
    publish(models, files, 1, described, served)
    models.promote(1)
    with (folder / "forest.pkl").open("wb") as file:
        pickle.dump((forest, x[:16]), file)
    row = dict(zip(names, x[0].tolist(), strict=True))
    models.body.write_text(json.dumps({"instances": [row]}), encoding="utf-8")
    (folder / "mlflow.json").write_text(json.dumps({"dataframe_records": [row]}), encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(Path(sys.argv[1]))
