"""Run by the Python that has mlflow: asks the models at sys.argv[1:] with MLflow's scoring client.

The first takes three numbers a row, the second the columns `a` (numbers) and `b` (texts).
"""

import sys

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def client(url):
    host, _, port = url.removeprefix("http://").partition(":")
    return ScoringServerClient(host, int(port))


one, columns = client(sys.argv[1]), client(sys.argv[2])
one.ping()
one.wait_server_ready()
assert one.get_version()
rows = np.array([[1, 2, 3.5], [4, 5, 6]], np.float32)
assert (one.invoke(rows).get_predictions().to_numpy() == rows).all()
assert (one.invoke(pd.DataFrame(rows, columns=list("xyz"))).get_predictions().to_numpy() == rows).all()
frame = pd.DataFrame({"a": [1.5, 2.0], "b": ["é", "x"]})
found = columns.invoke(frame).get_predictions()
assert found["out a"].tolist() == [[1.5], [2.0]], found
assert found["out b"].tolist() == [["é"], ["x"]], found
for bad in (frame.assign(a=[1.0, None]), frame.drop(columns="a"), frame.assign(c=1)):
    try:
        columns.invoke(bad)
    except Exception as error:  # noqa: BLE001  (the client raises nothing narrower)
        assert "BAD_REQUEST" in str(error), error
    else:
        raise AssertionError("not refused")
sys.stdout.write("scored\n")
