"""The package shap finds the same Shapley values, where `.ci/clients` has installed it.

Without numba, a compiler of 150 MB: what it would compile is run as it is written, which these small games can afford.
"""

import json
import os
import subprocess

import numpy as np
import pytest
from explain_parts import network, values_of

PYTHON = os.environ.get("TRAINYARD_TEST_TOOLS", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="TRAINYARD_TEST_TOOLS names no Python with shap"),
]
THEIRS = """
import json, sys
from types import ModuleType
numba = ModuleType("numba")
numba.typed = ModuleType("numba.typed")
numba.njit = lambda *found, **_: found[0] if found else lambda function: function
sys.modules |= {"numba": numba, "numba.typed": numba.typed}
import numpy as np, shap
for game in json.load(sys.stdin):
    inner, outer, row, background = (np.array(game[each]) for each in ("inner", "outer", "row", "background"))
    masker = shap.maskers.Independent(background, max_samples=len(background))
    found = shap.explainers.Exact(lambda table: np.tanh(table @ inner) @ outer, masker)(row[None])
    print(json.dumps([found.values[0].tolist(), float(np.ravel(found.base_values)[0])]))
"""


def test_shap_finds_the_same_values():
    games = []
    for columns in (1, 3, 6, 10, 12):
        random, (inner, outer, _) = np.random.default_rng(columns), network(columns)
        row, background = random.normal(size=columns), random.normal(size=(60, columns))
        games.append({"inner": inner, "outer": outer, "row": row, "background": background})
    sent = json.dumps([{name: array.tolist() for name, array in game.items()} for game in games])
    command = [PYTHON, "-W", "ignore", "-c", THEIRS]
    done = subprocess.run(command, input=sent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for game, line in zip(games, done.stdout.splitlines(), strict=True):
        values, base = json.loads(line)
        ours = values_of(network(len(game["row"]))[2], game["row"], game["background"])
        assert ours.base == pytest.approx(base, abs=1e-9)
        if len(values) <= 10:
            assert ours.method == "exact"
            assert ours.values == pytest.approx(values, abs=1e-9)
        else:
            assert ours.method == "permutation"
            assert (np.abs(ours.values - values) <= 3 * ours.errors).all()
