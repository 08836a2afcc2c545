"""The splits hold the dataset's own files when the team's code reads them, and only then."""

from __future__ import annotations

import pytest
from digits_model import MODEL

pytestmark = pytest.mark.tensorflow

# Reads what it is given as files, and prints how many there were.
READS_FILES = (
    MODEL
    + """

def load_data(folder):
    import numpy as np
    from PIL import Image

    paths = sorted(folder.rglob("*.png"))
    print(f"load_data reads {len(paths)} files")
    x = np.stack([np.asarray(Image.open(path))[..., None] for path in paths])
    return x, [("1", "4", "7").index(path.parent.name) for path in paths]
"""
)


def prepared(team, *, model=MODEL, command=""):
    """The validate step of a run of this model, with `[training] command` when one is given; gives the run's folder."""
    team.write("code", {"model.py": model})
    team.push("code")
    if command:
        text = team.config.read_text(encoding="utf-8")
        team.config.write_text(text.replace("[training]\n", f"[training]\ncommand = {command}\n", 1), encoding="utf-8")
    run = team.folder / "run"
    for step, more in (("resolve", ["--trigger", "code"]), ("fetch", []), ("validate", [])):
        team.trainyard("step", step, "--run", str(run), *more)
    return run


def files(run):
    return list(run.glob("validate/outputs/data/*/files"))


def test_nobody_reads_them(new_team):
    assert not files(prepared(new_team))


def test_a_script_of_the_team_reads_them(new_team):
    assert len(files(prepared(new_team, command='["python", "train.py"]'))) == 3


@pytest.mark.slow
def test_load_data_reads_them_where_the_model_is_trained_and_where_it_is_measured(new_team):
    run = prepared(new_team, model=READS_FILES)
    new_team.trainyard("step", "train", "--run", str(run))
    new_team.trainyard("step", "evaluate", "--run", str(run))
    for split, job in (("train", "train"), ("validation", "train"), ("holdout", "evaluate")):
        count = len(list((run / "validate/outputs/data" / split / "files").rglob("*.png")))
        assert f"load_data reads {count} files" in (run / job / "worker.log").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_load_data_that_nobody_could_foresee_is_refused_with_how_to_be_seen(new_team):
    run = prepared(new_team, model=MODEL + "\nglobals()['load_' + 'data'] = lambda folder: 1\n")
    done = new_team.trainyard("step", "train", "--run", str(run), code=2)
    assert "was prepared without the dataset's files" in done.stderr
    assert "mention load_data in a .py file" in done.stderr
