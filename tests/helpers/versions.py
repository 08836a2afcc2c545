"""Records of a version with a sensible value in every field, for tests that care about one or two of them."""

from registry import candidates, releases
from registry.files import sha256_file
from registry.records import (
    Acceptance,
    Approval,
    Candidate,
    Comparison,
    Decided,
    Evaluation,
    Metrics,
    Policy,
    Release,
    Served,
    Signature,
    Sources,
    TensorSpec,
    Verdict,
)

SOURCES = Sources("c" * 40, "d" * 40, "e" * 40)
CREATED_AT = "2026-11-21T00:00:00Z"


def image_signature(side=8, classes=("zero", "one")):
    """Grey images of `side` x `side` pixels in, a probability per class out."""
    return Signature(
        task="classification",
        kind="image",
        inputs=(TensorSpec("image", (None, side, side, 1), "uint8", 0, 255),),
        outputs=(TensorSpec("probabilities", (None, len(classes)), "float32"),),
        classes=classes,
        image_mode="L",
    )


def digests(folder):
    """Name → SHA-256 of every file below `folder`."""
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def measured_beside(live_version=None):
    """An evaluation of 100 samples, compared with the live version if there is one."""
    metrics = Metrics("classification", 100, {"accuracy": 0.97, "loss": 0.1})
    if live_version is None:
        return Evaluation(metrics)
    return Evaluation(metrics, metrics, Comparison(live_version, "accuracy", 0.0, -0.01, 0.01, 100))


def candidate(model="digits", version=1, run="run", files=None, **fields):
    """A trained image classifier that passed the gate; `files` is name → SHA-256, `fields` replace the defaults."""
    defaults = {
        "sources": SOURCES,
        "created_at": CREATED_AT,
        "how": "trained",
        "note": "",
        "seed": 1,
        "parent": None,
        "image": None,
        "packages": {},
        "signature": image_signature(),
        "served": Served("litert", "model.tflite", "a test"),
        "evaluation": measured_beside(),
        "verdict": Verdict(accepted=True, reasons=(), policy=Policy()),
    }
    return Candidate(model=model, version=version, run=run, files=files or {}, **defaults | fields)


def acceptance_draft(model, version, card, reasons=(), **fields):
    """An acceptance test that is yet to be appended, accepted unless there are `reasons`; `fields` replace the defaults."""
    defaults = {
        "tests": SOURCES.tests, "run": "run", "engine": "process", "accepted": not reasons, "reasons": tuple(reasons),
        "reports": (), "load": None, "at": CREATED_AT,
    }  # fmt: skip
    return Acceptance(model=model, version=version, card=card, number=0, previous="", **defaults | fields)


def approval_draft(model, version, card, token, by="ada", **fields):
    return Approval(0, model, version, card, token, by, **{"at": CREATED_AT, "previous": ""} | fields)


def decision_draft(model, version, card, kind="rejected", by="ada <ada@company.example>", **fields):
    """A decision on the console that is yet to be appended."""
    defaults = {"how": "password", "at": CREATED_AT, "reason": "" if kind == "approved" else "too weak", "over": 0}
    return Decided(0, model, version, card, kind, by, **{"previous": ""} | defaults | fields)


def release_draft(model, version, card="", *, by="ada", approval=None, kind="", reason="", **fields):
    """A release that is yet to be appended; its kind is the usual one for its version and approval."""
    kind = kind or ("withdrawal" if version is None else "rollback" if approval is None else "promotion")
    return Release(0, model, kind, version, card, by, CREATED_AT, reason, approval, "", **fields)


def append_release(store, model, version, *, after=None, **fields):
    """Release a version that is in production, or withdraw with None; after the latest release unless `after` is given."""
    if after is None:
        latest = releases.latest(store, model)
        after = latest.number if latest else 0
    if version is not None:
        fields = {"card": candidates.manifest_digest(store, model, version, "production")} | fields
    return releases.append_release(store, release_draft(model, version, **fields), after)
