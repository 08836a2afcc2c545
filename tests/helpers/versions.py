"""A version's manifest with a sensible value in every field, for tests that care about one or two of them."""

from registry.files import sha256_file
from registry.records import Candidate, Evaluation, Metrics, Policy, Served, Signature, Sources, TensorSpec, Verdict

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
        "evaluation": Evaluation(Metrics("classification", 100, {"accuracy": 0.97, "loss": 0.1})),
        "verdict": Verdict(accepted=True, reasons=(), policy=Policy()),
    }
    return Candidate(model=model, version=version, run=run, files=files or {}, **defaults | fields)
