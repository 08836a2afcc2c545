"""A candidate with everything that the page of a decision can show: metrics, slices, answers, importance, tests, commits."""

from __future__ import annotations

import base64
import io
from dataclasses import replace

from PIL import Image
from versions import measured_beside

from pipelines.repositories.changes import Changes, Commit, Fetched
from pipelines.workers.examples_file import FILE, Answer, Example, Examples
from registry import candidates, codec
from registry.records import (
    Comparison,
    Importance,
    InputImportance,
    LoadReport,
    Policy,
    Run,
    SliceMetrics,
    TestCase,
    TestReport,
    utc_now,
)

POLICY = Policy("accuracy", 0.9, slices={"hand": ("left", "right")})


def an_image(shade, side=12):
    file = io.BytesIO()
    image = Image.new("L", (side, side), shade)
    for at in range(side):
        image.putpixel((at, side // 2), 255 - shade)
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def measured(live=1):
    """With `live` None beside nothing."""
    found = measured_beside(live)
    values = {"accuracy": 0.972, "loss": 0.11, "macro_f1": 0.968}
    old = {"accuracy": 0.951, "loss": 0.16, "macro_f1": 0.944}
    inputs = (InputImportance("age", 0.21, 0.18, 0.24), InputImportance("income", 0.08, 0.05, 0.11))
    found = replace(
        found,
        candidate=replace(found.candidate, samples=1000, values=values),
        importance=Importance(
            "accuracy", 1000, 5, (*inputs, InputImportance("day of the week", 0.001, -0.004, 0.006)), 3
        ),
    )
    if live is None:
        return found
    before = replace(found.candidate, values=old)
    gap = Comparison(live, "accuracy", 0.021, 0.006, 0.036, 1000)

    def group(name, samples, new, then, *ends):
        return SliceMetrics(name, samples, new, then, Comparison(live, "accuracy", new - then, *ends, samples))

    slices = (
        group("hand=left", 420, 0.981, 0.944, 0.01, 0.06),
        group("hand=right", 180, 0.93, 0.95, -0.05, 0.01),
        group("hand=both", 44, 0.84, 0.93, -0.15, -0.03),
    )
    return replace(found, live=before, comparison=gap, slices=slices)


def answers(live=1):
    changed = tuple(
        Example(
            f"zeros/{place}.png",
            "left",
            Answer("left", True, 0.97),
            Answer("middle", False, 0.61),
            image=an_image(30 * place),
        )
        for place in range(1, 6)
    )
    worst = tuple(
        Example(
            f"row {place}", "right", Answer("left", False, 0.93), Answer("right", True, 0.55),
            (("age", "41"), ("income", "52300"), ("town", "Kungälv")),
        )
        for place in range(1, 4)
    )  # fmt: skip
    return Examples(1000, live, worst, changed, differ=37, fixed=30, broken=6)


def rich_version(project, kind="", *, live=1, parent=None, **more):
    """A new version with all of it; gives its number."""
    path = project.folder / FILE
    path.write_bytes(codec.to_json(answers(live)))
    version = project.publish(
        kind, parent=parent, evaluation=measured(live), policy=POLICY, authors=("Ada Lovelace <ada@company.example>",),
        extra={FILE: path}, tests=(), **more,
    )  # fmt: skip
    manifest, card = candidates.read_manifest(project.store, project.model, version)
    cases = tuple(TestCase(f"check {number}", "passed", 0.1) for number in range(38))
    load = LoadReport(400, 0, 2.0, 200.0, 4.0, 7.6, 9.9)
    project.test_again(version)
    draft = candidates.acceptances(project.store, project.model, version)[-1]
    reports = (TestReport("api", cases[:20]), TestReport("load", cases[:4]), TestReport("tests", cases[:14]))
    candidates.append_acceptance(
        project.store, replace(draft, number=0, previous="", reports=reports, load=load, card=card)
    )
    folder = project.config.runs / manifest.run
    folder.mkdir(parents=True, exist_ok=True)
    commit = Commit("c" * 40, "Ada Lovelace", "Rotate the training images by up to 15 degrees")
    news = (
        Changes("code", (commit,)),
        Changes("dataset", (Commit("d" * 40, "Grace Hopper", "Add 412 left-handed samples"),), 3),
    )
    codec.save(Fetched(news), folder / "fetched.json")
    codec.save(
        Run(manifest.run, project.model, "dataset", manifest.sources, "", parent, None, utc_now()), folder / "run.json"
    )
    return version
