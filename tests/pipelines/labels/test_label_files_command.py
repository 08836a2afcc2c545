"""`trainyard labels import|export|show`, as a person types them."""

import json
import subprocess
import sys

import pytest
from prediction_log_parts import log_job, table_answer, table_model

from serving.prediction_log.writer import PredictionLog

TOML = 'model = "m"\n[repositories]\ncode = "c"\ndataset = "d"\ntests = "t"\n'


@pytest.fixture
def call(tmp_path):
    """Runs the command in a project whose log has r-0, with two instances that were answered "yes"."""
    (tmp_path / "trainyard.toml").write_text(TOML)
    log = PredictionLog(log_job(tmp_path / ".trainyard" / "predictions" / "m"), lambda _: None)
    log.start()
    log.offer(table_answer(table_model(), "r-0", 2))
    log.close()

    def run(*words):
        command = [sys.executable, "-P", "-m", "pipelines", "labels", *words]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    return run


def test_labels_come_in_are_shown_and_go_out(call, tmp_path):
    assert call("show").stdout == "m: no labels for any of 2 answers\n"
    (tmp_path / "a.csv").write_text("request_id,row,label\nr-0,0,yes\nr-0,1,no\n")
    assert call("import", "a.csv", "--by", "ann").stdout == "m: 2 labels added, 0 were there already\n"
    assert json.loads(call("import", "a.csv", "--by", "ann", "--json").stdout)["same"] == 2
    shown = call("show").stdout
    assert "Labels for 2 answers, until " in shown
    assert "The model was right in 1 of 2 (50.0%)." in shown
    assert call("export", "--to", "out.csv").stdout == "m: 2 labels in out.csv\n"
    assert call("import", "out.csv", "--by", "bo").stdout == "m: 0 labels added, 2 were there already\n"


def test_of_many_people_those_with_the_most_labels_are_shown_and_the_others_are_counted(call, tmp_path):
    (tmp_path / "a.csv").write_text("request_id,row,label,by\n" + "".join(f"r-0,0,yes,p{n}\n" for n in range(23)))
    call("import", "a.csv")
    assert "  3 more  3\n" in call("show").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("import",), "labels import: no file"),
        (("import", "a.csv"), "line 2: request_id: never: there is no such answer"),
        (("export",), "--to: "),
        (("export", "--to", "a.jsonl", "--since", "soon"), "--since: 'soon' is not a time"),
        (("export", "--to", "a.jsonl", "--since", "9999-12-31T23:00-12:00"), "-12:00' is not a time"),
        (("export", "--to", "a.jsonl", "--since", "2026-11-30", "--history"), "--since with --history"),
    ],
    ids=str,
)
def test_a_mistake_is_named_with_the_next_action_and_exit_code_2(call, tmp_path, words, said):
    (tmp_path / "a.csv").write_text("request_id,row,label\nnever,0,yes\n")
    done = call(*words)
    assert done.returncode == 2
    assert said in done.stderr
    assert "hint: " in done.stderr
