"""`trainyard predict`: a terminal asks the API with files, and shows the API's own words about what is wrong with them."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from batch_models import registered, table_signature
from echo_model import echo_model, echo_table, served

from pipelines.commands.predict import line

CONFIG = """
model = "m"
[repositories]
code = "c"
dataset = "d"
tests = "t"
"""


@pytest.fixture
def trainyard(tmp_path):
    (tmp_path / "trainyard.toml").write_text(CONFIG)

    def call(*arguments, stdin="", **environment):
        command = [sys.executable, "-P", "-m", "pipelines", "predict", *arguments]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])} | environment
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, input=stdin
        )

    return call


@pytest.fixture(scope="module")
def url():
    with served(echo_table({"a": "float32", "b": "string"})) as url:
        yield url


def test_each_row_of_each_file_is_a_line(trainyard, tmp_path, url):
    (tmp_path / "rows.csv").write_text("a,b\n1.5,x\n2,é\n")
    (tmp_path / "one.JSON").write_text(json.dumps({"instances": [{"a": 3, "b": "y"}]}))
    done = trainyard("m", "rows.csv", "one.JSON", "--url", f"{url}/")
    assert (done.returncode, done.stderr) == (0, "")
    first, second, third = done.stdout.splitlines()
    assert first.startswith("rows.csv [0]  ")
    assert "é" in second
    assert third.startswith("one.JSON  ")


def test_json_has_the_answers_and_comes_from_standard_input_too(trainyard, url):
    done = trainyard("m", "-", "--url", url, "--json", stdin=json.dumps({"instances": [{"a": 3, "b": "y"}]}))
    found = json.loads(done.stdout)
    assert (found["file"], found["version"], len(found["predictions"])) == ("-", 7, 1)


def test_an_array_file_is_sent_as_it_is(trainyard, tmp_path):
    file = io.BytesIO()
    np.save(file, np.ones((2, 3), np.float32))
    (tmp_path / "x.npy").write_bytes(file.getvalue())
    with served(echo_model(("float32",))) as url:
        assert trainyard("m", "x.npy", "--url", url).stdout.splitlines()[1] == "x.npy [1]  [1.0, 1.0, 1.0]"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["m", "missing.csv"], 2, "missing.csv: No such file"),
        (["m", "rows.txt"], 2, "rows.txt: the API does not take such files"),
        (["m", "bad.csv"], 2, "'c': no such column"),
        (["m", "bad.csv", "--url", "ftp://x"], 2, "is not an address"),
        (["m", "bad.csv", "--url", "http://127.0.0.1:1"], 75, "ConnectionError"),
        (["other", "bad.csv"], 2, "other"),
    ],
)
def test_what_is_wrong_ends_with_the_right_code(trainyard, tmp_path, url, arguments, code, message):
    (tmp_path / "bad.csv").write_text("a,c\n1,x\n")
    (tmp_path / "rows.txt").write_text("")
    done = trainyard(*(arguments if "--url" in arguments else [*arguments, "--url", url]))
    assert (done.returncode, message in done.stderr) == (code, True), done.stderr


def test_without_an_api_it_says_how_to_start_one_once_there_is_a_release(trainyard, tmp_path):
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n")
    done = trainyard("m", "rows.csv")
    assert (done.returncode, "no version of m is live" in done.stderr) == (2, True), done.stderr
    assert "trains a first candidate; the mail about it holds the command that promotes it" in done.stderr
    url, _ = registered(tmp_path, table_signature(("a", "b"), ("no", "yes")), "m", release=False)
    settings = f'[registry]\nurl = "{url}"\nrequire_signatures = false\n'
    (tmp_path / "trainyard.toml").write_text(CONFIG + settings)
    assert "promote a candidate first" in trainyard("m", "rows.csv").stderr
    registered(tmp_path, table_signature(("a", "b"), ("no", "yes")), "m")
    done = trainyard("m", "rows.csv")
    assert (done.returncode, "trainyard serve m --background" in done.stderr) == (75, True), done.stderr


@pytest.mark.parametrize(
    ("prediction", "wanted"),
    [
        ({"class": "7", "probability": 0.98, "probabilities": {"1": 0.02, "7": 0.98}}, "7  98.0%  (1 2.0%)"),
        ({"class": "a", "scores": {"a": 3.5}}, 'a  scores {"a": 3.5}'),
        ({"value": 1.5}, "1.5"),
        ({"values": [1, 2]}, "[1, 2]"),
        ({"x": {"value": 1}}, '{"x": {"value": 1}}'),
    ],
)
def test_a_line_says_what_matters(prediction, wanted):
    assert line(prediction) == wanted
