"""Measure what docs/reference/benchmarks.md promises (`make bench`), against something well known, in turns, in one run.

A ratio taken side by side holds on other machines, seconds do not. Each benchmark is a module of this folder with
`measure(run) -> list[Row]`; its docstring says what is compared with what, and why that is fair. The table goes to
stdout, every single measurement to build/bench.json, a plot to build/bench.png and build/bench.svg.

    bench.py                       all that needs nothing but Trainyard (and a Docker engine, if there is one)
    bench.py --neighbours          also against other tools, installed under build/neighbours
    bench.py --only step_start push_to_mail
    bench.py --markdown build/bench.json      the tables of docs/reference/benchmarks.md, of an earlier run
    bench.py --plot build/bench.json          draw its plot again, and docs/bench.svg

The exit code is 0 also when a promise is missed (the table says so), 1 when something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path

from bench_run import BenchRun
from report import Report, from_json, markdown, table, to_json
from rows import Skipped

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BENCHMARKS = {
    "step_start": "how long a command or a light step takes, really doing its work",
    "jenkins_stage": "overhead per stage of Jenkins",
    "push_to_mail": "from git push to the mail, against the bare training script",
    "unchanged_push": "a push that changes nothing that matters, and a run that has ended",
    "runner_overhead": "what the docker runner adds to the process runner, per worker",
    "data_speed": "fetching and validating 20,000 small files, against `dvc add`",
    "table_speed": "reading and checking a table, against pandas.read_csv",
    "large_table": "validating and splitting a table of a million rows, against pyarrow.csv.read_csv and SHA-256",
    "outside_speed": "`trainyard data` with a bucket, against DVC, and a large file against s3transfer",
    "console_speed": "the pages of the console with 100 models, 5,000 versions and 1,000 runs",
    "registry_speed": "publishing, and what a long history costs",
    "s3_speed": "the registry in a bucket: publishing and promoting, against bare s3transfer",
    "s3_history": "what a long history in a bucket costs",
    "predict_speed": "POST /predict against an empty route on the same gunicorn settings",
    "wide_table_speed": "POST /predict of a table with 2,000 columns",
    "arrays_speed": "binary tensors and JPEG files over HTTP against LiteRT in process",
    "serving_memory": "what server processes of a model with large weights take together",
    "batching_speed": "POST /predict for a model that gains by batches, with and without them",
    "batch_speed": "trainyard batch on Parquet against LiteRT in process, and on CSV against mlflow models predict",
    "explain_speed": "POST /predict beside a client that asks for explanations without a pause",
    "prediction_log_speed": "POST /predict with every answer kept against none; size and reading speed of what is kept",
    "feedback_speed": "POST /predict beside a client that reports labels of its answers",
    "cbpe": "accuracy without labels against the true one on shifted windows of real data, and against NannyML",
    "drift_alarms": "false alarms and power of the checks of a window, against Evidently and NannyML",
    "drift_delay": "after how many labels a decay is found, against river",
    "monitor_speed": "a window of predictions checked against Evidently, and labels joined with a million lines",
    "swap_speed": "a promotion under load",
    "crash_speed": "a release whose model cannot be loaded, under load",
    "crowd_speed": "POST /predict beside a thousand connections that send nothing, or half a request",
    "refused_memory": "what refused bodies leave in memory",
    "five_steps": "five trivial steps, against DVC, Kedro and Metaflow",
    "neighbours_serving": "POST /predict against BentoML and MLflow",
    "forest_serving": "POST /predict of a random forest, as ONNX, against mlflow models serve",
}


def main() -> int:
    """Measure, report, draw."""
    arguments = read_arguments()
    if arguments.markdown:
        print(markdown(from_json(arguments.markdown.read_text(encoding="utf-8"))))
        return 0
    if arguments.plot:
        draw(arguments.plot)
        shutil.copyfile(arguments.plot.with_suffix(".svg"), ROOT / "docs" / "bench.svg")
        return 0
    report = Report(machine=machine())
    with tempfile.TemporaryDirectory(prefix="trainyard-bench-") as folder:
        run = BenchRun(Path(folder), quick=arguments.quick, neighbours=arguments.neighbours)
        for name in arguments.only or BENCHMARKS:
            measure(name, run, report)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(to_json(report), encoding="utf-8")
    print(table(report))
    print(f"\nevery measurement: {arguments.output}")
    if report.rows:
        draw(arguments.output)
    return 1 if report.failed else 0


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--neighbours", action="store_true", help="also those that need other tools (some 3 GB)")
    parser.add_argument("--quick", action="store_true", help="one round of everything: does it run at all?")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "bench.json")
    parser.add_argument(
        "--markdown", type=Path, metavar="FILE", help="print the tables of an earlier run for the documentation"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw an earlier run, and write docs/bench.svg")
    return parser.parse_args()


def measure(name: str, run: BenchRun, report: Report) -> None:
    """Run one benchmark; what hinders it is reported, and hinders no other."""
    started = time.perf_counter()
    run.say(f"{name}: {BENCHMARKS[name]} …")
    try:
        rows = import_module(name).measure(run)
    except Skipped as skipped:
        report.skipped[name] = str(skipped)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (of ten benchmarks, nine shall still be reported)
        if isinstance(error, SystemExit):
            run.say(str(error))
        else:
            traceback.print_exc()
        first, *others = str(error).splitlines() or [type(error).__name__]
        report.failed[name] = f"{first:.120} … {others[-1]:.200}" if others else f"{first:.300}"
    else:
        report.rows += [(name, row) for row in rows]
    report.seconds[name] = round(time.perf_counter() - started, 1)
    for kind in (report.skipped, report.failed):
        if name in kind:
            run.say(f"  {'failed' if kind is report.failed else 'skipped'}: {kind[name]}")


def draw(file: Path) -> None:
    """The plot, in a process of its own: this one stays light, and measures nothing but what it says."""
    done = subprocess.run([sys.executable, HERE / "plot.py", file], check=False)
    print(f"plot: {file.with_suffix('.png')}" if done.returncode == 0 else "the plot could not be drawn")


def machine() -> dict[str, object]:
    """Where and when it is measured."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
        "commit": commit.stdout.strip(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


if __name__ == "__main__":
    sys.exit(main())
