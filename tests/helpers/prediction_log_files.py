"""Folders of a prediction log, written by hand: what readers of it meet."""

import gzip
import io
import json
import tarfile


def write_segment(folder, inputs, lines, number=1, images=(), **header):
    """A closed segment. `inputs`: name → (rule, type); `lines`: dicts with at least `id`; `images`: name → PNG."""
    stem = f"20261130T040149123Z-abc-{number:06d}"
    facts = {"prediction_log": 1, "model": "m", "version": 1, "release": 1, **header}
    facts["inputs"] = {name: {"kept": kept, "type": kind} for name, (kept, kind) in inputs.items()}
    facts.setdefault("outputs", {"p": {"kept": "value", "type": "float[]"}})
    usual = {
        "row": 0,
        "time": "2026-11-30T04:01:49.123Z",
        "status": 200,
        "ms": 1.0,
        "model": "m",
        "version": 1,
        "release": 1,
    }
    text = "".join(json.dumps(each) + "\n" for each in (facts, *({**usual, **line} for line in lines)))
    (folder / "segments").mkdir(parents=True, exist_ok=True)
    path = folder / "segments" / f"{stem}-{len(lines)}.v1.jsonl.gz"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    if images:
        (folder / "images").mkdir(exist_ok=True)
        with tarfile.open(folder / "images" / f"{stem}.tar", "w") as tar:
            for name, data in dict(images).items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    return path
