"""An installation of many models with long histories, written as the registry, the runs and the monitor would have."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.config.console_sections import Console
from pipelines.config.schema import Config, Registry, Repositories
from pipelines.console.installation import Installation
from pipelines.monitor.decide import stamp
from pipelines.monitor.state import MonitorState, Numbered
from pipelines.monitor.trend import Charts, extended
from pipelines.runs import ORDER, StepRecord
from registry import codec
from registry.files import sha256_bytes
from registry.records import (
    Acceptance,
    Approval,
    Candidate,
    Claim,
    Comparison,
    Evaluation,
    Metrics,
    Policy,
    Release,
    Run,
    Served,
    Signature,
    Sources,
    TensorSpec,
    Verdict,
)
from registry.records.monitoring import Alarm, Check, Health, Window

NAMES = ("churn", "fraud", "prices", "digits", "returns", "routing", "credit", "spam", "demand", "claims")
PEOPLE = ("Ada Byron <ada@company.example>", "Grace Hopper <grace@company.example>", "Emmy <emmy@company.example>")
SOURCES = Sources("c" * 40, "d" * 40, "e" * 40)
WINDOWS = 96


def write(folder: Path, models: int, versions: int, runs: int) -> Installation:
    """So many models; versions and runs are of all together."""
    now = datetime.now(UTC).replace(microsecond=0)
    configs = []
    for number in range(models):
        name = f"{NAMES[number % len(NAMES)]}{f'-{number // len(NAMES)}' if number >= len(NAMES) else ''}"
        config = Config(
            name,
            Repositories("code", "dataset", "tests"),
            registry=Registry(f"file://{folder / 'registry'}"),
            console=Console(roles={"*": "admin"}),
            home=str(folder / "home"),
            file=str(folder / "models" / name / "trainyard.toml"),
            shared=str(folder / "trainyard.toml"),
        )
        _versions(folder / "registry", name, versions // models, now, number)
        _runs(config.runs, name, runs // models, now)
        if number % 7 != 6:
            _monitor(folder / "home" / "monitor" / name, name, max(1, versions // models - number % 3), now, number)
        configs.append(config)
    return Installation(configs)


def _text(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _put(path: Path, record: object) -> str:
    data = codec.with_checksum(record)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha256_bytes(data)


def _versions(root: Path, name: str, count: int, now: datetime, model: int) -> None:
    approved, released = "", ""
    last = count - model % 3  # of some models, one or two versions wait
    for number in range(1, count + 1):
        at = now - timedelta(days=3.0 * (count - number) + 1.3)
        card = _put(root / f"test/{name}/{number}/card.json", _manifest(name, number, at, model))
        (root / f"production/{name}/{number}").mkdir(parents=True, exist_ok=True)
        (root / f"production/{name}/{number}/card.json").write_bytes(
            (root / f"test/{name}/{number}/card.json").read_bytes()
        )
        _put(root / f"test/{name}/{number}/claim.json", Claim(name, number, f"{number:012x}"))
        tested = Acceptance(
            name, number, 1, card, "e" * 40, f"{number:012x}", "process", True, (), (), None, _text(at), card
        )
        _put(root / f"test/{name}/{number}/acceptances/000001.json", tested)
        if number > max(last, 1):
            continue
        by, at = PEOPLE[number % 3], at + timedelta(hours=5)
        approval = Approval(number, name, number, card, f"token-{number}", by, _text(at), approved, "token", "ada@desk")
        approved = _put(root / f"production/{name}/approvals/{number:06d}.json", approval)
        made = Release(
            number, name, "promotion", number, card, by, _text(at + timedelta(minutes=2)),
            f"promoted with approval {number}, the autumn data are in", number, released,
        )  # fmt: skip
        released = _put(root / f"production/{name}/releases/{number:06d}.json", made)


def _manifest(name: str, number: int, at: datetime, model: int) -> Candidate:
    value = 0.9 + 0.001 * min(number, 40) + 0.002 * (model % 9)
    metrics = Metrics("classification", 2000, {"accuracy": value, "loss": 0.2, "macro_f1": value - 0.02})
    gap = Comparison(number - 1, "accuracy", 0.004, -0.001, 0.009, 2000) if number > 1 else None
    signature = Signature(
        "classification", "table", (TensorSpec("inputs", (None, 8), "float32"),),
        (TensorSpec("probabilities", (None, 2), "float32"),), ("no", "yes"),
    )  # fmt: skip
    return Candidate(
        name, number, f"{number:012x}", SOURCES, _text(at), "trained", "retrained with the data of the week", 1, number - 1 or None,
        None, {"keras": "3"}, {}, signature, Served("litert", "model.tflite", "as good"),
        Evaluation(metrics, replace(metrics), gap), Verdict(True, (), Policy()), authors=(PEOPLE[0],),
    )  # fmt: skip


def _runs(folder: Path, name: str, count: int, now: datetime) -> None:
    for number in range(count):
        root, at = folder / f"{number:012x}", _text(now - timedelta(days=count - number))
        root.mkdir(parents=True)
        codec.save(Run(f"{number:012x}", name, "dataset", SOURCES, "", None, None, at), root / "run.json")
        for step in (*ORDER, "notify"):
            codec.save(StepRecord(step, "done", "as it should be", at, 1.5), root / "steps" / f"{step}.json")
        (root / ".lock").touch()


def _monitor(folder: Path, name: str, release: int, now: datetime, model: int) -> None:
    bad, hour = model % 5 == 1, timedelta(hours=2)
    found = []
    for number in range(WINDOWS):
        until, drop = now - hour * (WINDOWS - number), 0.0012 * number if bad else 0.0
        since, wave = until - hour, math.sin(number / 4)
        quality = 0.93 - drop + 0.006 * wave
        failed = "failed" if bad and number > WINDOWS - 14 else "passed"
        checks = (
            Check("decay", "accuracy", failed, f"accuracy is {quality:.3f}, and was 0.930 on the holdout: 412 labels say so",
                  threshold=0.88, then=0.93, now=quality, low=quality - 0.021, high=quality + 0.019, rows=412),
            Check("decay", "estimated accuracy", "passed", "as the model itself expects", then=0.93,
                  now=quality + 0.008, low=quality - 0.006, high=quality + 0.021, rows=2000),
            Check("service", "latency", "passed", "95 % of the answers within 21 ms", now=21 + 4 * wave, threshold=100.0, rows=2000),
        )  # fmt: skip
        of = max(1, release - 1) if number < WINDOWS // 2 else release
        window = Window(name, of, of, _text(since), _text(until), int(1900 + 700 * wave), 412)
        found.append(Health(window, tuple(sorted(checks, key=lambda each: each.outcome != "failed")), _text(until)))
    for each in found:
        name_ = stamp(each.window.until, each.window.release)
        _put(folder / "health" / f"{name_}.json", each)
    _put(folder / "charts.json", Charts((), extended((), found)))
    newest, alarms = found[-1], ()
    if bad:
        check = newest.failed[0]
        alarm = Alarm(check.cause, name, release, release, found[-13].window.until, found[-12].window.until, check)
        _put(folder / "alarms" / "000001.json", alarm)
        alarms = (Numbered(1, alarm),)
    positions = {str(each.window.release): each.window.until for each in found}
    _put(folder / "state.json", MonitorState(positions, {}, alarms, 2, (), newest.at))
