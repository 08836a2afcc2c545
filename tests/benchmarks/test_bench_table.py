"""The table, the Markdown and the plot of `make bench` say what was measured, and every benchmark is in the list."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def among_the_benchmarks():
    """They import each other from their own folder, as `python benchmarks/bench.py` does."""
    before = list(sys.path)
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path[:] = before


def row(**changes):
    from rows import Row

    values = {"title": "a push", "ours": 12.0, "unit": "s", "against": "the script", "theirs": 10.0, "limit": 1.6}
    return Row(**values | changes)


@pytest.mark.parametrize(
    ("changes", "kept", "promise"),
    [
        ({}, True, "≤ 1.6 ×"),
        ({"ours": 17.0}, False, "≤ 1.6 ×"),
        ({"limit": None}, None, ""),
        ({"better": "more", "limit": 0.7}, True, "≥ 0.7 ×"),
        ({"better": "more", "limit": 20.0}, False, "≥ 20 ×"),
        ({"rule": "difference", "limit": 1.5}, False, "≤ +1.5 s"),
        ({"rule": "difference", "limit": 2.0}, True, "≤ +2 s"),
        ({"rule": "value", "limit": 20_000.0, "better": "more", "unit": "files/s"}, False, "≥ 20,000 files/s"),
        ({"rule": "value", "limit": 12.0, "against": "", "theirs": 0.0}, True, "≤ 12 s"),
        ({"ours": float("nan")}, False, "≤ 1.6 ×"),
    ],
    ids=str,
)
def test_a_promise_is_kept_or_not(changes, kept, promise):
    assert (row(**changes).kept, row(**changes).promise) == (kept, promise)


@pytest.fixture
def report():
    from report import Report

    rows = [
        ("push_to_mail", row(raw={"push": [12.0]})),
        ("registry_speed", row(title="publish", ours=300.0, unit="ms", theirs=100.0, limit=2.0)),
        ("unchanged_push", row(title="a push of notes", ours=0.5, against="", theirs=0.0, limit=1.5, rule="value")),
        ("predict_speed", row(title="only shown", ours=4321.0, unit="requests/s", theirs=100.0, limit=None)),
    ]
    return Report(
        {"cores": 2, "python": "3.11", "load": 0.1, "commit": "abc"}, rows,
        {"five_steps": "needs dvc"}, {"data_speed": "fell over"}, {"push_to_mail": 60.0},
    )  # fmt: skip


def test_the_table_shows_what_was_kept_missed_skipped_and_what_failed(report):
    from report import table

    shown = table(report)
    assert "12.0 s" in shown
    assert "the script, 10.0 s" in shown
    assert "1.20" in shown
    assert "2 of 3 promises kept" in shown
    assert "MISSED: publish" in shown
    assert "4,320 requests/s" in shown
    assert "skipped: five_steps: needs dvc" in shown
    assert "FAILED: data_speed: fell over" in shown


def test_the_json_gives_the_same_report_back(report):
    from report import from_json, table, to_json

    text = to_json(report)
    assert json.loads(text)["rows"][0]["kept"] is True
    again = from_json(text)
    assert (again.rows, table(again)) == (report.rows, table(report))


def test_the_markdown_has_a_table_per_kind_of_promise_and_one_row_per_figure(report, tmp_path):
    from report import to_json

    report.rows.append(
        ("step_start", row(title="a start", ours=40.0, unit="ms", theirs=30.0, limit=150.0, rule="difference"))
    )
    (tmp_path / "bench.json").write_text(to_json(report), encoding="utf-8")
    command = [sys.executable, BENCHMARKS / "bench.py", "--markdown", tmp_path / "bench.json"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    ratios, differences, values = text.split("## ")[1:]
    assert [part.splitlines()[0] for part in (ratios, differences, values)] == ["Ratios", "Differences", "Fixed values"]
    assert "| publish | 300 ms | the script, 100 ms | 3.00 | ≤ 2 × MISSED |" in ratios
    assert "| a start | 40.0 ms | the script, 30.0 ms | +10.0 ms | ≤ +150 ms kept |" in differences
    assert "| a push of notes | 0.5 s | ≤ 1.5 s kept |" in values
    for part, columns in ((ratios, 5), (differences, 5), (values, 3)):
        assert {line.count("|") for line in part.splitlines()[2:] if line} == {columns + 1}
    assert sum(line.startswith("| ") for line in text.splitlines()) == len(report.rows) + 2 * 3


def test_the_plot_shows_every_promise_and_no_more(report, tmp_path):
    from report import to_json

    (tmp_path / "bench.json").write_text(to_json(report), encoding="utf-8")
    for _ in range(2):
        before = (tmp_path / "bench.svg").read_bytes() if (tmp_path / "bench.svg").exists() else None
        subprocess.run([sys.executable, BENCHMARKS / "plot.py", tmp_path / "bench.json"], check=True)
    assert (tmp_path / "bench.svg").read_bytes() == before, "the same numbers gave another file"
    assert (tmp_path / "bench.png").stat().st_size > 5000
    drawn = (tmp_path / "bench.svg").read_text(encoding="utf-8")
    for words in ("a push", "publish", "a push of notes"):
        assert f"<!-- {words} -->" in drawn
    assert "only shown" not in drawn


def modules():
    """Every file of benchmarks/ that offers `measure(run)`."""
    for path in sorted(BENCHMARKS.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.stem != "bench" and any(
            isinstance(each, ast.FunctionDef) and each.name == "measure" for each in tree.body
        ):
            yield path.stem


def test_every_benchmark_is_in_the_list_and_says_what_it_compares():
    code = """
import bench, importlib, json, sys
json.dump({name: importlib.import_module(name).__doc__ for name in bench.BENCHMARKS}, sys.stdout)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    docs = json.loads(done.stdout)
    assert set(docs) == set(modules())
    assert all(len(text or "") > 100 for text in docs.values())


def test_a_benchmark_that_cannot_run_or_fails_hinders_no_other(tmp_path):
    code = """
import sys, types
import bench
from bench_run import BenchRun
from report import Report
from rows import Row, Skipped
def skip(run): raise Skipped("no engine")
def fall(run): raise RuntimeError("fell over")
def leave(run): sys.exit("left")
def well(run): return [Row("well", 1.0, "s", "", 0.0)]
report = Report()
for work in (skip, fall, leave, well):
    bench.BENCHMARKS[work.__name__] = "a sample"
    sys.modules[work.__name__] = types.SimpleNamespace(measure=work)
    bench.measure(work.__name__, BenchRun(None), report)
assert report.skipped == {"skip": "no engine"}, report
assert report.failed == {"fall": "fell over", "leave": "left"}, report
assert [row.title for _, row in report.rows] == ["well"], report
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=BENCHMARKS, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_neighbours_a_benchmark_that_needs_them_says_so():
    from bench_run import BenchRun
    from rows import Skipped

    with pytest.raises(Skipped, match="--neighbours"):
        BenchRun(Path()).neighbour("dvc")
