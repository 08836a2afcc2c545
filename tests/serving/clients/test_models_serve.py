"""`mlflow models serve` on the folder of a version, beside our API on the same one: the same requests, the same numbers."""

import numpy as np
import pytest
import real_clients
import requests
from attested import REPOSITORIES
from serving_parts import card, samples, version_folder
from versions import CREATED_AT, SOURCES

from pipelines.exports import version_files
from registry import codec
from registry.records import Run
from serving.job import ServeJob
from serving.server import control

pytestmark = [pytest.mark.slow, pytest.mark.tensorflow]
RUN = Run("run", "m", "code", SOURCES, "f" * 64, None, None, CREATED_AT)


@pytest.fixture(scope="module", params=["digits", "table"])
def asked(request, served_models, tmp_path_factory):
    """The URL of MLflow's server, that of our API, and inputs by name."""
    root = tmp_path_factory.mktemp("both")
    folder = version_folder(served_models / request.param, root / "version")
    manifest = card(folder)
    for name, data in version_files.build(RUN, manifest, REPOSITORIES).files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "card.json").write_bytes(codec.with_checksum(manifest))
    ours = control.start(ServeJob("m", folder=str(folder), port=0, workers=1, threads=1), root / "api")
    try:
        (root / "mlflow").mkdir()
        serve = ("models", "serve", "--env-manager", "local", "--model-uri", str(folder))
        with real_clients.mlflow(root / "mlflow", *serve) as theirs:
            inputs, _ = samples(served_models / request.param)
            yield theirs, ours, {name: np.concatenate([array, array]).tolist() for name, array in inputs.items()}
    finally:
        control.stop(root / "api", 5.0)


def numbers(url, body):
    done = requests.post(f"{url}/invocations", json=body, timeout=60)
    assert done.status_code == 200, done.text
    return np.asarray(done.json()["predictions"], np.float32)


def bodies(inputs):
    """The forms in which these inputs can be sent; more rows than go into the engine at once."""
    if len(inputs) == 1:
        (rows,) = inputs.values()
        return {"instances": rows}, {"inputs": rows}
    columns = {name: [value for (value,) in rows] for name, rows in inputs.items()}
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    split = {"columns": list(columns), "data": rows}
    return {"dataframe_split": split}, {"dataframe_records": records}, {"inputs": columns}


def test_both_servers_give_the_same_numbers(asked):
    theirs, ours, inputs = asked
    for body in bodies(inputs):
        wanted = numbers(theirs, body)
        assert len(wanted) > 32
        np.testing.assert_array_equal(numbers(ours, body), wanted)
