"""Classes in order, from a CSV to an answer with curl: what ordered = true adds to verdict, mail, report and manifest on the way."""

from __future__ import annotations

import json
import shutil

import pytest
from newcomer import newcomer_in, token_in

TRAIN = r"""
mkdir -p ~/tasting && cd ~/tasting
git init --quiet --bare --initial-branch=main tasting.git
git clone --quiet tasting.git work && git -C work checkout --quiet -B main
mkdir -p work/{code,data,tests}
python - work/data/wines.csv <<'END'
import random, sys
random.seed(1)
with open(sys.argv[1], "w") as file:
    print("sugar,acid,grade", file=file)
    for _ in range(600):
        sugar, acid = random.gauss(0, 1), random.gauss(0, 1)
        grade = ["poor", "fair", "good", "excellent"][sum(sugar + acid > limit for limit in (-1, 0, 1))]
        print(f"{sugar:.4f},{acid:.4f},{grade}", file=file)
END
cat > work/data/dataset.toml <<'END'
format = "table"
classes = ["poor", "fair", "good", "excellent"]
ordered = true
[table]
file = "wines.csv"
target = "grade"
END
cat > work/code/model.py <<'END'
import keras
from keras import layers


def build_model(spec, attempt):
    inputs = [keras.Input((1,), name=column.input_name) for column in spec.columns]
    hidden = layers.Dense(16, activation="relu")(layers.Concatenate()(inputs))
    model = keras.Model(inputs, layers.Dense(len(spec.classes), activation="softmax")(hidden))
    model.compile(optimizer=keras.optimizers.Adam(0.03), loss="sparse_categorical_crossentropy")
    return model
END
cat > work/tests/test_grades.py <<'END'
def test_no_answer_is_far_off(predict, holdout):
    order = list(holdout.classes)
    answers = predict(list(holdout.samples))
    off = [abs(order.index(each["class"]) - order.index(truth)) for each, truth in zip(answers, holdout.labels)]
    assert max(off) <= 1
END
cat > trainyard.toml <<'END'
model = "tasting"
[repositories]
code = "tasting.git#code"
dataset = "tasting.git#data"
tests = "tasting.git#tests"
branch = "main"
[training]
epochs = 15
max_attempts = 1
[gate]
metric = "rank_mae"
threshold = 0.3
[[gate.rule]]
metric = "quadratic_kappa"
min = 0.7
[[gate.rule]]
metric = "within_one"
min = 0.95
[serving]
port = 8500
END
git -C work add --all && git -C work commit --quiet -m "Wines" && git -C work push --quiet origin main
trainyard run code
"""
ASK = r"""
trainyard promote tasting 1 --approval "$TOKEN"
echo '{"instances": [{"sugar": 2.0, "acid": 2.0}, {"sugar": -2.0, "acid": -2.0}]}' > two.json
curl -s --data-binary @two.json http://127.0.0.1:8500/predict
trainyard serve tasting --stop
"""
GRADES = ["poor", "fair", "good", "excellent"]


@pytest.fixture
def newcomer(tmp_path):
    """See `newcomer_in`; the API is stopped at the end."""
    run = newcomer_in(tmp_path, "tasting")
    yield run
    if (run.folder / "trainyard.toml").exists():
        run("trainyard serve tasting --stop")


@pytest.mark.skipif(not shutil.which("curl"), reason="the API is asked with curl, which is not installed")
@pytest.mark.tensorflow
@pytest.mark.timeout(900)
@pytest.mark.slow
def test_grades_of_wines_that_have_an_order(newcomer):
    accepted = newcomer(TRAIN)
    said = accepted.stdout + accepted.stderr
    assert "gate: accepted: rank_mae" in said
    card = next((newcomer.folder / ".trainyard" / "registry" / "test").rglob("card.json"))
    manifest = json.loads(card.read_bytes())
    assert (manifest["signature"]["ordered"], manifest["signature"]["classes"]) == (True, GRADES)
    assert manifest["evaluation"]["candidate"]["values"].keys() >= {
        "rank_mae",
        "quadratic_kappa",
        "within_one",
        "accuracy",
    }
    (report,) = (newcomer.folder / ".trainyard" / "runs").glob("*/report/index.html")
    assert "mean error in ranks (how many classes off, less is better)" in report.read_text(encoding="utf-8")
    assert "Classes, in their order: poor, fair, good, excellent." in (report.parent / "card.md").read_text(
        encoding="utf-8"
    )
    newcomer(f"export TOKEN={token_in(newcomer.folder)}")
    asked = newcomer(ASK)
    answer, _ = json.JSONDecoder().raw_decode(asked.stdout[asked.stdout.index('{"model"') :])
    assert [each["class"] for each in answer["predictions"]] == ["excellent", "poor"]
    assert all(list(each["probabilities"]) == GRADES for each in answer["predictions"])
