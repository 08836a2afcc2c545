"""`POST /predict` with one 28x28 image as JSON against BentoML and `mlflow models serve`, with the same Keras model.

Each of them in an environment of its own (`--neighbours`, some 3 GB), with two worker processes as ours has, and 16
clients on kept connections, in turns. BentoML is used as its documentation shows for new services, see bento_service.py,
with its adaptive batching and without; the better one counts. MLflow gets the model by `mlflow.tensorflow.save_model`,
with a signature, and serves it with `mlflow models serve --workers 2 --env-manager local`. Both answer the same body
(`instances`, for MLflow with the channel that its model wants), and both run Keras on TensorFlow: neither has a
documented way to serve the file that we serve. Logs of requests are off where that is an option; ours are on.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict
from pathlib import Path

from bench_run import BenchRun, done
from image_model import MODEL, ModelRegistry, write_registry
from neighbours import PINNED, quiet
from rows import Row
from servers import CLIENTS, WORKERS, Load, Server, answers_at, api, free_port, measure_load, serve

HERE = Path(__file__).resolve().parent
ROUNDS, SECONDS, WARM = 5, 4.0, 3.0
SAVE = """
import sys, keras, mlflow, numpy as np
model = keras.saving.load_model(sys.argv[1])
given = np.zeros((1, *model.input_shape[1:]), np.float32)
described = mlflow.models.infer_signature(given, model.predict(given, verbose=0))
mlflow.tensorflow.save_model(model, sys.argv[2], signature=described)
"""


def measure(run: BenchRun) -> list[Row]:
    """Requests per second and CPU time per answer, medians of the rounds."""
    pythons = {name: run.neighbour(f"{name}-serving") for name in ("bentoml", "mlflow")}
    folder = run.space("neighbours_serving")
    models = write_registry(folder / "models")
    _store(pythons["bentoml"], folder, models)
    done([str(pythons["mlflow"]), "-c", SAVE, str(models.keras), str(folder / "mlflow-model")], env=_environ(folder))
    bodies = dict.fromkeys(("ours", "bentoml", "bentoml, batches"), models.body)
    bodies["mlflow"] = _with_channel(models, folder / "mlflow.json")
    taken: dict[str, list[Load]] = {name: [] for name in bodies}
    with ExitStack() as stack:
        servers = {
            "ours": stack.enter_context(api(folder / "ours", model=MODEL, registry=models.url)),
            "bentoml": stack.enter_context(_bentoml(pythons["bentoml"], folder, batched="no")),
            "bentoml, batches": stack.enter_context(_bentoml(pythons["bentoml"], folder, batched="yes")),
            "mlflow": stack.enter_context(serve_mlflow(pythons["mlflow"], folder)),
        }
        for number in range(1, run.rounds(ROUNDS) + 1):
            run.say(f"  load, round {number}")
            for name, server in servers.items():
                path = "/invocations" if name == "mlflow" else "/predict"
                if number == 1:
                    measure_load(server, WARM, bodies[name], path)  # TensorFlow traces, pools fill
                taken[name].append(measure_load(server, SECONDS, bodies[name], path))
    raw: dict[str, object] = {name: [asdict(each) for each in loads] for name, loads in taken.items()}
    rates = {name: statistics.median(each.per_second for each in loads) for name, loads in taken.items()}
    costs = {name: statistics.median(each.cpu_us for each in loads) for name, loads in taken.items()}
    bento = max(("bentoml", "bentoml, batches"), key=lambda name: rates[name])
    title = f"POST /predict, 28x28 as JSON, {CLIENTS} clients"
    rows = []
    for name, text, limit in (
        (bento, f"BentoML {_version('bentoml')}", 3.0),
        ("mlflow", f"mlflow models serve {_version('mlflow')}", 20.0),
    ):
        rows += [
            Row(title, rates["ours"], "requests/s", text, rates[name], limit, "more", raw),
            Row(f"{title}: CPU per answer", costs["ours"], "µs", text, costs[name], None, "less", raw),
        ]
    return rows


def _store(python: Path, folder: Path, models: ModelRegistry) -> None:
    done([str(python), str(HERE / "bento_service.py"), str(models.keras)], env=_environ(folder))


def _bentoml(python: Path, folder: Path, batched: str) -> AbstractContextManager[Server]:
    port = free_port()
    command = [str(python), "-m", "bentoml", "serve", "bento_service:Images", "--working-dir", str(HERE)]
    environ = _environ(folder) | {"BENTO_WORKERS": str(WORKERS), "BENTO_BATCHED": batched}
    ready = _ready(port, "/readyz")
    return serve([*command, "--host", "127.0.0.1", "--port", str(port)], folder / f"bentoml-{batched}", ready, environ)


def serve_mlflow(python: Path, folder: Path) -> AbstractContextManager[Server]:
    """The model in `folder/mlflow-model`, by MLflow's own server."""
    port = free_port()
    command = [
        str(python),
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        str(folder / "mlflow-model"),
        "--env-manager",
        "local",
    ]
    environ = _environ(folder) | {"PATH": f"{python.parent}:{os.environ['PATH']}"}
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", str(WORKERS)]
    return serve([*command, *options], folder / "mlflow", _ready(port, "/ping"), environ)


def _ready(port: int, path: str) -> Callable[[Path], int | None]:
    return lambda _: port if answers_at(f"http://127.0.0.1:{port}{path}") else None


def _with_channel(models: ModelRegistry, path: Path) -> Path:
    """MLflow takes no 28x28 for 28x28x1."""
    images = json.loads(models.body.read_bytes())["instances"]
    path.write_text(json.dumps({"instances": [[[[x] for x in row] for row in each] for each in images]}), "utf-8")
    return path


def _environ(folder: Path) -> dict[str, str]:
    return quiet() | {"BENTOML_HOME": str(folder / "bentoml-home"), "TF_CPP_MIN_LOG_LEVEL": "2"}


def _version(name: str) -> str:
    return PINNED[f"{name}-serving"][0].partition("==")[2]
