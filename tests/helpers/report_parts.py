"""Runs with real records, as the steps leave them, and no step run: what the tests of the report share."""

from __future__ import annotations

import html.parser
import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

from versions import acceptance_draft, candidate, digests

from pipelines import flows
from pipelines.config.schema import Config, Mail, Registry, Repositories
from pipelines.context import Context
from pipelines.gate import decide, gate_report
from pipelines.progress.view import open_progress
from pipelines.repositories.changes import Changes, Commit, Fetched
from pipelines.runs import RunFolder, StepRecord
from registry import candidates, codec
from registry.records import (
    Acceptance,
    ClassMetrics,
    Comparison,
    Evaluation,
    Importance,
    InputImportance,
    LoadReport,
    Metrics,
    Policy,
    Run,
    Served,
    Signature,
    Sources,
    TensorSpec,
    TestCase,
    TestReport,
    Verdict,
)
from training.data.spec import FailedCheck, Validation
from training.junit import write_junit
from training.loop.history import AttemptHistory, History, Progress

MODEL = "digits"
AT = "2026-11-21T00:47:04Z"
SOURCES = Sources("a" * 40, "b" * 40, "c" * 40)
POLICY = Policy(threshold=0.95)
HOSTILE = "</td></p><script>alert(1)</script><img src=x onerror=alert(1)>\"'\n\r\x1b[31m\u202e\x00]]>&amp;\ufffe"
VOID = {"meta", "link", "img", "br", "hr"}


def png(width=440, height=420, shade=200):
    """A PNG image."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = zlib.compress((b"\0" + bytes([shade]) * width) * height)
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def metrics(accuracy, classes=("one", "seven")):
    """Of a classifier, with all that an evaluation holds."""
    values = {"accuracy": accuracy, "loss": 1.08 - accuracy, "macro_f1": accuracy - 0.01, "brier": 0.021, "ece": 0.0098}
    each = {name: ClassMetrics(accuracy, accuracy - 0.01 * i, accuracy, 180) for i, name in enumerate(classes)}
    return Metrics("classification", 360, values, each, ((178, 2), (3, 177)))


def evaluation(new=0.981, live=0.972):
    """A candidate against the live release, or against nothing."""
    if live is None:
        return Evaluation(metrics(new), live_note="nothing is live")
    comparison = Comparison(1, "accuracy", new - live, new - live - 0.007, new - live + 0.007, 360)
    return Evaluation(metrics(new), metrics(live), comparison)


def importance(*names):
    """Of inputs, each less important than the one before."""
    found = (InputImportance(name, 0.4 / i, 0.4 / i - 0.1, 0.4 / i + 0.1) for i, name in enumerate(names, 1))
    return Importance("accuracy", 360, 3, tuple(found), len(names))


def history(attempts=2, epochs=12, metric="accuracy"):
    """A training that gets better."""

    def epoch(number, share):
        return {
            "loss": 2.3 * share**number, "val_loss": 2.5 * share**number, "accuracy": 1 - share**number,
            "val_accuracy": 0.99 - share**number, "value": 0.99 - share**number, "seconds": 0.1,
        }  # fmt: skip

    rounds = [
        AttemptHistory(
            "trained", i, 8_000 * (i + 1), tuple(epoch(n, 0.9 - 0.1 * i) for n in range(1, epochs + 1)), True
        )
        for i in range(attempts)
    ]
    return History(metric, 0.95, 1, tuple(rounds))


def reports(*failures):
    """The three suites of acceptance tests."""
    tests = [TestCase("test_bright", "passed", 0.02), TestCase("test_dark", "skipped", message="no dark images")]
    tests += [TestCase(name, "failed", 0.1, why) for name, why in failures]
    return (
        TestReport("api", (TestCase("answers /predict", "passed", 0.01),)),
        TestReport("load", (TestCase("p95 under 1000 ms", "passed"),)),
        TestReport("tests", tuple(tests)),
    )


class Team:
    """The config and the registry of one team."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said = folder, io.StringIO()
        config = Config(
            MODEL,
            Repositories("code", "dataset", "tests"),
            gate=POLICY,
            mail=Mail(sender="trainyard@company.example", to=("owner@company.example",)),
            registry=Registry(f"file://{folder / 'registry'}"),
            home=str(folder / "home"),
            file=str(folder / "trainyard.toml"),
        )
        self.context = Context(config, open_progress(self.said, live=False))

    def publish(self, run: str, found: Evaluation | None = None, **changes) -> int:
        """A version; its files are of no interest."""
        store, found = self.context.store, found or evaluation(0.972, None)
        version = candidates.claim(store, MODEL, run)
        files = self.folder / f"version-{version}"
        files.mkdir(exist_ok=True)
        (files / "model.tflite").write_bytes(b"served")
        fields = {
            "sources": SOURCES, "created_at": AT, "note": "from scratch", "packages": {"keras": "3.15.1"},
            "signature": Signature(
                "classification", "image", (TensorSpec("image", (None, 28, 28, 1), "uint8"),),
                (TensorSpec("probabilities", (None, 2), "float32"),), ("one", "seven"), "L",
            ),
            "served": Served("litert", "model.tflite", "it gives equal answers"), "evaluation": found,
            "verdict": decide(found, POLICY),
        }  # fmt: skip
        card = candidate(MODEL, version, run, digests(files), **fields | changes)
        candidates.publish(store, card, files)
        return version

    def accept(self, run: str, version: int, *failures) -> Acceptance:
        """The record of a version's acceptance tests."""
        reasons = tuple(f"tests: {name}: {why}" for name, why in failures)
        card = candidates.manifest_digest(self.context.store, MODEL, version)
        load = LoadReport(812, 0, 2.0, 406.0, 2.1, 6.13, 9.2)
        fields = {"tests": SOURCES.tests, "run": run, "reports": reports(*failures), "load": load, "at": AT}
        draft = acceptance_draft(MODEL, version, card, reasons, **fields)
        return candidates.append_acceptance(self.context.store, draft)

    def run(self, trigger="code", run="3f2a9c1b77de", **changes) -> RunFolder:
        """A run that has just been resolved."""
        folder = RunFolder(Path(self.context.config.home) / "runs" / run)
        noun = Run(run, MODEL, trigger, SOURCES, "d" * 64, None, None, AT)
        codec.save(replace(noun, **changes), folder.root / "run.json")
        return folder


def end(folder: RunFolder, last: str, outcome="done", note="so it is", hint="") -> None:
    """Records of all steps up to `last`, which has this outcome."""
    flow_ = flows.names(folder.run.trigger)
    for step in flow_[: flow_.index(last)]:
        folder.keep(StepRecord(step, "done", f"{step} is done", AT, 0.4))
    folder.keep(StepRecord(last, outcome, note, AT, 74.0, hint))


def fetched(folder: RunFolder, subject="Add the second half", author="Ada Lovelace") -> None:
    """One new commit in each repository."""
    commits = [
        Changes(name, (Commit(getattr(SOURCES, name), author, subject),)) for name in ("code", "dataset", "tests")
    ]
    codec.save(Fetched(tuple(commits)), folder.root / "fetched.json")


def prepared(folder: RunFolder, *failed: FailedCheck) -> None:
    """What `validate` leaves."""
    classes = {split: {"one": count, "seven": count} for split, count in (("train", 580), ("holdout", 180))}
    samples = {"holdout": 360, "train": 1160, "validation": 280}
    found = Validation(not failed, "dataset", "images", samples, classes, failed, ("12 images are very dark",))
    codec.save(found, folder.job("validate") / "result.json")
    cases = tuple(TestCase(each.check, "failed", message=each.messages[0]) for each in failed)
    write_junit(
        folder.outputs("validate") / "junit.xml", [TestReport("data", (*cases, TestCase("readable", "passed")))]
    )


def expected(folder: RunFolder) -> None:
    """What the dataset's own expectations leave."""
    report = TestReport("expectations", (TestCase("expect no nulls in label", "passed", 0.2),))
    codec.save(report, folder.job("expectations") / "result.json")
    write_junit(folder.outputs("expectations") / "junit.xml", [report])


def trained(folder: RunFolder, found: History | None = None) -> None:
    """What a training leaves."""
    codec.save(found or history(), folder.outputs("train") / "history.json")


def broken_off(folder: RunFolder, found: History) -> None:
    """What a training leaves that has failed."""
    codec.save(Progress("job", found), folder.root / "train" / "checkpoints" / "progress.json")


def measured(folder: RunFolder, found: Evaluation, where="evaluate") -> Verdict:
    """What `evaluate` and `gate` leave; gives the verdict."""
    codec.save(found, folder.job(where) / "result.json")
    folder.outputs(where).mkdir(exist_ok=True)
    for name in ("confusion.png", "calibration.png"):
        (folder.outputs(where) / name).write_bytes(png())
    verdict = decide(found, POLICY)
    if where == "evaluate":
        write_junit(folder.job("gate") / "junit.xml", [gate_report(found, POLICY)])
        codec.save(verdict, folder.job("gate") / "verdict.json")
    return verdict


def with_acceptance(folder: RunFolder, acceptance: Acceptance) -> None:
    """What the acceptance tests of a version leave."""
    path = folder.root / "accept" / f"version-{acceptance.version}" / "outputs" / "junit.xml"
    write_junit(path, acceptance.reports)


def accepted(team: Team, found: Evaluation | None = None, **changes) -> RunFolder:
    """A run that ended well: version 2, with this evaluation, while version 1 is live."""
    found = found or evaluation()
    live = team.publish("0" * 12)
    folder = team.run(parent=live, candidate=live, **changes)
    fetched(folder)
    prepared(folder)
    expected(folder)
    trained(folder)
    measured(folder, found)
    version = team.publish(folder.run.id, found)
    with_acceptance(folder, team.accept(folder.run.id, version))
    end(folder, "accept")
    return folder


class Page(html.parser.HTMLParser):
    """A page taken apart, strictly: tags that are not closed in order, or written by the text of others, show."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.text, self.open, self.errors, self.ids = [], "", [], [], []
        self.feed(path.read_text("utf-8"))
        self.close()
        self.errors += [f"<{name}> is not closed" for name in self.open]
        self.errors += [f"id {each} twice" for each in set(self.ids) if self.ids.count(each) > 1]

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.open += [] if tag in VOID else [tag]
        self.errors += [f"attribute {name} of <{tag}>" for name, _ in attrs if name == "style" or name.startswith("on")]

    def handle_endtag(self, tag):
        if self.open[-1:] != [tag]:
            self.errors.append(f"</{tag}> closes {self.open[-1:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        self.text += f"{data} "

    @property
    def words(self) -> str:
        """What a person reads."""
        return " ".join(self.text.split())

    def all(self, tag, attribute):
        """The values of an attribute."""
        return [attributes[attribute] for name, attributes in self.tags if name == tag and attribute in attributes]
